//! Access to the server: credentials, and bounds on files, bodies and numbers.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::world::{World, capture};

#[test]
fn everything_but_health_needs_the_token_and_a_session_stands_for_it() {
    let world = World::new();
    let server = world.serve(&[]);
    let token = world.sandbox.path("state/waterspout-server/token");
    assert_eq!(token.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.raw("GET", path, &[], "").with(200).body, "ok\n");
    }
    for path in ["/api/v1/topologies", "/api/v1/openapi.json", "/metrics"] {
        let refused = server.raw("GET", path, &[], "").with(401);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    server.raw("GET", "/api/v1/topologies", &[("Authorization", "Bearer wrong")], "").with(401);
    let json_type = ("Content-Type", "application/json");
    let login = |token: &str| {
        let body = json!({ "token": token }).to_string();
        server.raw("POST", "/api/v1/session", &[json_type], &body)
    };
    login("wrong").with(401);
    let cookie = login(&world.token()).with(204).header("set-cookie").unwrap().to_owned();
    assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    let with_cookie = |method: &str, path: &str, more: &[(&str, &str)], body: &str| {
        let headers = [&[("Cookie", pair), json_type][..], more].concat();
        server.raw(method, path, &headers, body)
    };
    with_cookie("GET", "/api/v1/topologies", &[], "").with(200);
    // A page of another site has no say, whatever the browser sends along.
    let empty = "{\"topology\":\"\"}";
    let evil = ("Origin", "http://evil.example");
    with_cookie("POST", "/api/v1/validate", &[evil], empty).with(403);
    let cross = ("Sec-Fetch-Site", "cross-site");
    with_cookie("POST", "/api/v1/validate", &[cross], empty).with(403);
    let rebound = ("Host", "evil.example");
    with_cookie("GET", "/api/v1/topologies", &[rebound], "").with(403);
    let own = format!("http://{}", server.address);
    with_cookie("POST", "/api/v1/validate", &[("Origin", &own)], empty).with(200);
    let over = server.raw("DELETE", "/api/v1/session", &[("Cookie", pair)], "").with(204);
    assert!(over.header("set-cookie").unwrap().contains("Max-Age=0"));
    server.stop().with(0);
}

#[test]
fn wrong_tokens_wait_longer_each_time_and_the_right_one_never() {
    let world = World::new();
    let server = world.serve(&[]);
    let begin = Instant::now();
    for _ in 0..3 {
        server.raw("GET", "/api/v1/topologies", &[("Authorization", "Bearer x")], "").with(401);
    }
    let waited = begin.elapsed();
    // 250 ms, 500 ms and 1 s.
    assert!(waited > Duration::from_millis(1700), "{waited:?}");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let wrong = || {
            let shown = [("Authorization", "Bearer x")];
            server.raw("GET", "/api/v1/topologies", &shown, "").status
        };
        let flood: Vec<_> = (0..40).map(|_| scope.spawn(wrong)).collect();
        server.get("/api/v1/topologies").with(200);
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        let statuses: Vec<u16> = flood.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(statuses.contains(&429) && statuses.contains(&401), "{statuses:?}");
    });
    server.stop().with(0);
}

#[test]
fn other_machines_need_tls_or_a_proxy() {
    let world = World::new();
    world
        .sandbox
        .run(&["serve", "--listen", "0.0.0.0:0"])
        .with(2)
        .says(&["--tls-cert", "--behind-proxy"]);
    let mut process = world.sandbox.start(&["serve", "--listen", "0.0.0.0:0", "--behind-proxy"]);
    process.wait_for("it listens", |line| line["url"].is_string());
    process.terminate();
    process.end().with(0).says(&["WARNING: 0.0.0.0:0 can be reached from other machines"]);
}

fn problem(topology: &str, file: &str) -> Value {
    json!({ "topology": topology, "file": file })
}

#[test]
fn problems_have_the_places_that_validate_prints() {
    let world = World::new();
    let server = world.serve(&[]);
    let bad = "Topology(\n    name: \"bad\",\n    spouts: {\"in\": Spout(run: Genrate())},\n)";
    world.sandbox.write("bad.ron", bad);
    let said = world.sandbox.run(&["validate", "bad.ron"]).with(3).err;
    let refused = server.post("/api/v1/topologies", &problem(bad, "bad.ron")).with(422);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let refused = refused.json();
    assert_eq!(refused["status"], 422);
    for one in refused["problems"].as_array().unwrap() {
        let place = format!("{}:{}:{}:", one["file"].as_str().unwrap(), one["line"], one["column"]);
        let first = format!("{place} {}", one["what"].as_str().unwrap());
        assert!(said.contains(&first), "{first}\n{said}");
    }
    let looked = server.post("/api/v1/validate", &problem(bad, "bad.ron")).with(200).json();
    assert_eq!((&looked["valid"], &looked["problems"]), (&json!(false), &refused["problems"]));
    // The command finds them itself, before anything is sent.
    server.run(&world, &["submit", "bad.ron"]).with(3).says(&["bad.ron:3:31: spout \"in\""]);
    server.stop().with(0);
}

#[test]
fn a_topology_names_only_what_the_server_allows() {
    let world = World::new();
    let server = world.serve(&["--allow-env", "ALLOWED_*"]);
    let refused = |topology: &str, expected: &str| {
        let answer = server.submit(topology).with(422).json();
        let problems = answer["problems"].to_string();
        assert!(problems.contains(expected), "{expected}: {problems}");
    };
    refused(&capture("x", "/nonexistent/lake", 1, 1), "is outside of what may be named");
    refused(&capture("x", "lake", 1, 1), "expected an absolute path");
    refused(&capture("x", &world.path("state/waterspout-server/x"), 1, 1), "outside");
    std::os::unix::fs::symlink("/etc", world.sandbox.path("link")).unwrap();
    refused(&capture("x", &world.path("link/lake"), 1, 1), "outside");
    refused("Topology(include: [\"/etc/passwd\"])", "include: a server has no files");
    let reads = |paths: &str| {
        format!(
            "Topology(name: \"x\", spouts: {{\"in\": Spout(run: Lines(paths: [\"{paths}\"]))}}, \
             bolts: {{\"out\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])}})"
        )
    };
    refused(&reads("-"), "no standard input");
    refused(&reads("/etc/passwd"), "outside");
    refused(&reads(&world.path("*/passwd")), "outside");
    let named = |call: &str| {
        capture("x", &world.path("lake"), 1, 1).replace("name: \"x\"", &format!("name: {call}"))
    };
    refused(&named("Env(\"HOME\")"), "--allow-env HOME");
    refused(&named("Env(\"ALLOWED_X\")"), "\\\"ALLOWED_X\\\" is not set");
    refused(&named("File(\"/etc/hostname\")"), "outside");
    server.stop().with(0);
}

#[test]
fn there_are_bounds_on_bodies_topologies_and_tasks() {
    let world = World::new();
    let server = world.serve(&["--max-topologies", "1", "--max-tasks", "5", "--max-body", "10KiB"]);
    let large = format!("// {}\n", "x".repeat(20_000));
    server.submit(&large).with(413);
    let wide = capture("a", &world.path("a"), 1_000_000, 10).replace(
        "inputs: [Shuffle(\"posts\")]",
        "inputs: [Shuffle(\"posts\")], parallelism_hint: 5",
    );
    let refused = server.submit(&wide).with(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("6 tasks"), "{refused}");
    server.submit(&capture("a", &world.path("a"), 1_000_000, 10)).with(201);
    let refused = server.submit(&capture("b", &world.path("b"), 1, 1)).with(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("1 topologies at most"), "{refused}");
    let rebalance = json!({ "tasks": { "lake": 5 } });
    server.post("/api/v1/topologies/a/rebalance", &rebalance).with(409);
    let rebalance = json!({ "tasks": { "lake": 2 } });
    server.post("/api/v1/topologies/a/rebalance", &rebalance).with(200);
    for (body, status) in [
        (json!({ "tasks": { "nonesuch": 1 } }), 409),
        (json!({ "tasks": { "lake": 0 } }), 400),
        (json!({ "tasks": {} }), 400),
        (json!({ "tasks": { "lake": 70_000 } }), 400),
        (json!({ "task": {} }), 400),
    ] {
        server.post("/api/v1/topologies/a/rebalance", &body).with(status);
    }
    server.post("/api/v1/topologies/nonesuch/activate", &json!({})).with(404);
    let other = server.ask("DELETE", "/api/v1/topologies", None).with(405);
    assert_eq!(other.header("allow"), Some("GET, POST"));
    server.get("/api/v1/nonesuch").with(404);
    server.stop().with(0);
}

#[test]
fn slow_and_flooding_clients_keep_nobody_else_waiting() {
    let world = World::new();
    let server = world.serve(&[]);
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\n"][number % 3];
        stream.write_all(head.as_bytes()).unwrap();
        slow.push(stream);
    }
    let begin = Instant::now();
    for _ in 0..50 {
        server.get("/api/v1/topologies").with(200);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(slow);
    server.stop().with(0);
}

//! The views of topologies on a server: logs, numbers, tuples as they pass, metrics.

use serde_json::{Value, json};

use super::support;
use super::world::{Server, World, capture};

fn words(name: &str) -> String {
    format!(
        r#"Topology(
            name: "{name}",
            spouts: {{"posts": Spout(run: Generate(rate: 500))}},
            bolts: {{
                "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("posts")]),
                "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
                "out": Bolt(run: Null(), inputs: [Shuffle("count")]),
            }},
            checkpoint: Checkpoint(every: "50ms"),
        )"#
    )
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the first events of a stream, as names and data.
pub(crate) fn events(server: &Server, path: &str, count: usize) -> Vec<(String, Value)> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let token = server.token();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        server.address
    )
    .unwrap();
    let (mut found, mut name) = (Vec::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            found.push((name.clone(), serde_json::from_str(data).unwrap()));
            if found.len() == count {
                break;
            }
        }
    }
    found
}

#[test]
fn tuples_are_seen_as_they_pass_on_a_server_and_on_a_foreground_run() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&words("words")).with(201);
    let seen = server.run(&world, &["tap", "words", "words", "-n", "5"]).with(0).out;
    for line in lines(&seen) {
        assert_eq!(line["from"], "words");
        assert!(line["tuple"]["word"].is_string(), "{line}");
    }
    assert_eq!(lines(&seen).len(), 5);
    let filtered = ["tap", "words", "count", "--where", ".count > 3", "--sample", "2", "-n", "3"];
    for line in lines(&server.run(&world, &filtered).with(0).out) {
        assert!(line["tuple"]["count"].as_i64().unwrap() > 3, "{line}");
    }
    // Of a sink it is what the sink takes.
    let taken = server.run(&world, &["tap", "words", "out", "-n", "1"]).with(0).out;
    assert_eq!(lines(&taken)[0]["from"], "count");
    for (component, said) in [
        ("nonesuch", "no component \"nonesuch\", but \"posts\""),
        ("words:late", "no bolt takes such a stream of \"words\""),
    ] {
        server.run(&world, &["tap", "words", component]).with(1).says(&[said]);
    }
    server
        .run(&world, &["tap", "words", "words", "--where", ".["])
        .with(1)
        .says(&["bad jq filter"]);
    server.stop().with(0);

    world.sandbox.write("t.ron", words("foreground"));
    let mut running = world.sandbox.start(&["run", "t.ron", "--interval", "50ms"]);
    running.wait_for("it runs", |report| support::total(report, "out", "received") > 10);
    let seen = world.sandbox.run(&["tap", "t.ron", "posts", "-n", "2"]).with(0).out;
    assert!(lines(&seen)[0]["tuple"]["post"].is_object(), "{seen}");
    world.sandbox.run(&["logs", "t.ron"]).with(0);
    world.sandbox.run(&["stop", "t.ron"]).with(0);
    running.end().with(0);
}

#[test]
fn logs_numbers_and_events_tell_what_a_topology_does() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&words("words")).with(201);
    let logs = server.run(&world, &["logs", "words"]).with(0).out;
    assert!(logs.contains("running") && logs.contains("info"), "{logs}");
    let top = server.run(&world, &["top", "--interval", "200ms"]).with(0).out;
    assert!(top.contains("words  running") && top.contains("MB"), "{top}");
    let one = server.run(&world, &["top", "words", "--interval", "200ms"]).with(0).out;
    assert!(one.contains("words: running"), "{one}");
    let path = "/api/v1/topologies/words/events?interval=200ms";
    let found = events(&server, path, 8);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"summary") && names.contains(&"report"), "{names:?}");
    let reports = found.iter().filter(|(name, _)| name == "report");
    let emitted = reports.map(|(_, report)| support::total(report, "posts", "emitted"));
    let emitted: Vec<u64> = emitted.collect();
    assert!(emitted.windows(2).all(|pair| pair[0] < pair[1]), "{emitted:?}");
    let followed = events(&server, "/api/v1/topologies/words/logs/follow", 1);
    assert_eq!(followed[0].0, "line");
    let tapped = events(&server, "/api/v1/topologies/words/tap?component=posts", 2);
    assert!(tapped[0].1["tuple"]["post"].is_object(), "{tapped:?}");
    server.get("/api/v1/topologies/words/tap?component=posts&sample=x").with(400);
    server.get("/api/v1/topologies/words/tap").with(400);
    let detail = server.get("/api/v1/topologies/words").with(200).json();
    assert_eq!(detail["flow"], json!([["posts", "words"], ["words", "count"], ["count", "out"]]));
    assert!(detail["rates"]["all"][0]["out_per_s"].as_f64().unwrap() > 1.0, "{detail}");
    server.stop().with(0);
}

#[test]
fn an_upgrade_goes_on_with_the_state_and_a_failed_one_leaves_the_old_version_running() {
    let world = World::new();
    let server = world.serve(&[]);
    let old = capture("up", &world.path("lake"), 100_000, 500);
    world.sandbox.write("old.ron", &old);
    server.run(&world, &["submit", "old.ron"]).with(0);
    server.wait_for_count("up", "lake", "received", 100);
    // It can't be started: there is a file in the place of the folder.
    world.sandbox.write("file", "");
    world.sandbox.write("bad.ron", old.replace(&world.path("lake"), &world.path("file/lake")));
    let failed = server.run(&world, &["upgrade", "up", "bad.ron"]).with(1);
    assert!(failed.err.contains("the new version failed"), "{}", failed.err);
    server.wait_for_state("up", "running");
    let before = std::fs::read_dir(world.sandbox.path("lake")).unwrap().count();
    assert!(before > 0);
    server.wait_for_count("up", "lake", "received", 50);
    world.sandbox.write("other.ron", old.replace("name: \"up\"", "name: \"down\""));
    server
        .run(&world, &["upgrade", "up", "other.ron"])
        .with(1)
        .says(&["an upgrade keeps the name"]);
    let new = old.replace("posts: 100000", "posts: 1500").replace(
        "inputs: [Shuffle(\"posts\")]",
        "inputs: [Shuffle(\"posts\")], parallelism_hint: 2",
    );
    world.sandbox.write("new.ron", new);
    let diff = server.run(&world, &["diff", "up", "new.ron"]).with(0).out;
    assert!(diff.contains("lake   survives\n       parallelism_hint 1 → 2"), "{diff}");
    let upgraded = server.run(&world, &["upgrade", "up", "new.ron"]).with(0).out;
    assert!(upgraded.starts_with("upgraded: "), "{upgraded}");
    server.wait_for_state("up", "finished");
    let mut posts = support::lake(&world.sandbox.path("lake"), false);
    let all = posts.len();
    posts.dedup();
    assert_eq!((all, posts.len()), (1500, 1500));
    server.stop().with(0);
}

#[test]
fn numbers_of_a_rebalance_outlive_the_server() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&words("words")).with(201);
    let done = server.run(&world, &["rebalance", "words", "count=3", "posts=2"]).with(0).out;
    assert!(done.contains("count 1 → 3, posts 1 → 2"), "{done}");
    server.kill();
    let server = world.serve(&[]);
    server.wait_for_count("words", "count", "tasks", 3);
    server.wait_for_count("words", "posts", "tasks", 2);
    server.stop().with(0);
}

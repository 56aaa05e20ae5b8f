//! The operations on topologies of a server.

use serde_json::json;

use super::support;
use super::world::{World, capture};

#[test]
fn a_topology_is_submitted_listed_shown_and_killed_and_goes_on_where_it_was() {
    let world = World::new();
    let server = world.serve(&[]);
    assert_eq!(server.run(&world, &["list"]).with(0).out, "no topologies\n");
    // Includes are united, and paths made absolute, before it is sent.
    world.sandbox.write(
        "main.ron",
        r#"Topology(
            name: "capture",
            include: ["part.ron"],
            bolts: {"lake": Bolt(run: Local(root: "./x/../lake"), inputs: [Shuffle("posts")])},
            checkpoint: Checkpoint(every: "50ms"),
        )"#,
    );
    world.sandbox.write(
        "part.ron",
        r#"Topology(spouts: {"posts": Spout(run: Generate(posts: 2000, rate: 500))})"#,
    );
    let submitted = server.run(&world, &["submit", "main.ron"]).with(0);
    assert_eq!(submitted.out, "submitted \"capture\": running\n");
    let listed = server.run(&world, &["list", "--json"]).with(0).out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed["name"], &listed["tasks"]), (&json!("capture"), &json!(2)));
    assert!(server.run(&world, &["list"]).with(0).out.contains("capture  running"));
    server.wait_for_count("capture", "lake", "received", 200);
    let status = server.run(&world, &["status", "capture"]).with(0).out;
    assert!(status.contains("capture: running") && status.contains("lake"), "{status}");
    let again = server.run(&world, &["submit", "main.ron"]).with(1);
    assert!(again.err.contains("there is a topology \"capture\" already"), "{}", again.err);
    assert_eq!(server.run(&world, &["kill", "capture"]).with(0).out, "killed\n");
    server.run(&world, &["status", "capture"]).with(1).says(&["no topology \"capture\""]);
    let before = support::lake(&world.sandbox.path("lake"), false).len();
    assert!((200..2000).contains(&before), "{before}");
    server.run(&world, &["submit", "main.ron"]).with(0);
    server.wait_for_state("capture", "finished");
    let mut posts = support::lake(&world.sandbox.path("lake"), false);
    posts.dedup();
    assert_eq!(posts.len(), 2000);
    assert_eq!(
        server.run(&world, &["kill", "capture", "--purge"]).with(0).out,
        "killed and purged\n"
    );
    let left = std::fs::read_dir(world.sandbox.path("state/waterspout-server/topologies")).unwrap();
    assert_eq!(left.count(), 0);
    server.stop().with(0);
}

#[test]
fn spouts_pause_and_go_on_also_over_a_restart_of_the_server() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&capture("paused", &world.path("lake"), 1000, 1000)).with(201);
    let paused = server.run(&world, &["deactivate", "paused"]).with(0);
    assert_eq!(paused.out, "inactive\n");
    let report = |server: &super::world::Server| {
        let detail = server.get("/api/v1/topologies/paused").json();
        let emitted = detail["report"]["components"][0]["emitted"].as_u64().unwrap();
        (emitted, detail["report"]["uptime_s"].as_f64().unwrap())
    };
    let count = |server: &super::world::Server| report(server).0;
    // Tuples that were on their way may still be emitted.
    let first = std::cell::Cell::new((0, 0.0));
    let before = server.wait("nothing is emitted any more", || {
        let (emitted, uptime_s) = report(&server);
        if emitted != first.get().0 {
            first.set((emitted, uptime_s));
        }
        (uptime_s > first.get().1 + 0.3).then_some(emitted)
    });
    assert!(before < 1000, "{before}");
    assert_eq!(server.summary("paused")["state"], "inactive");
    server.stop().with(0);
    let server = world.serve(&[]);
    server.wait_for_state("paused", "inactive");
    assert_eq!(count(&server), 0, "this process has emitted nothing");
    server.post("/api/v1/topologies/paused/activate", &json!({})).with(200);
    server.wait_for_state("paused", "finished");
    let mut posts = support::lake(&world.sandbox.path("lake"), false);
    posts.dedup();
    assert_eq!(posts.len(), 1000);
}

#[test]
fn commands_that_attach_work_on_a_foreground_run_too() {
    let world = World::new();
    world.sandbox.write("t.ron", capture("foreground", "lake", 100_000, 1000));
    let mut running = world.sandbox.start(&["run", "t.ron", "--interval", "50ms"]);
    running.wait_for("it runs", |report| support::total(report, "lake", "received") > 10);
    assert_eq!(world.sandbox.run(&["deactivate", "t.ron"]).with(0).out, "inactive\n");
    running.wait_for("it is inactive", |report| report["phase"] == "inactive");
    let status = world.sandbox.run(&["status", "t.ron", "--json"]).with(0).out;
    assert!(status.contains("\"phase\":\"inactive\""), "{status}");
    assert_eq!(world.sandbox.run(&["activate", "t.ron"]).with(0).out, "active\n");
    running.wait_for("it goes on", |report| report["phase"] == "running");
    world.sandbox.run(&["rebalance", "t.ron", "lake=2"]).with(0);
    assert_eq!(world.sandbox.run(&["kill", "t.ron"]).with(0).out, "stopped\n");
    running.end().with(0);
}

#[test]
fn one_topology_that_fails_panics_or_hangs_harms_no_other() {
    let world = World::new();
    let server = world.serve(&[]);
    // No such folder below a file: it fails at each start.
    world.sandbox.write("file", "");
    let failing = capture("failing", &world.path("file/lake"), 10, 10);
    let answer = server.submit(&failing).with(201).json();
    assert_eq!(answer["state"], "failed", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("file/lake"), "{answer}");
    server.submit(&capture("stopped", &world.path("stopped"), 1_000_000, 100)).with(201);
    server.submit(&capture("good", &world.path("good"), 500, 500)).with(201);
    // A stopped process answers no request.
    let pid = server.summary("stopped")["pid"].as_u64().unwrap().to_string();
    let signal = |name: &str, pid: &str| {
        assert!(std::process::Command::new("kill").args([name, pid]).status().unwrap().success());
    };
    signal("-STOP", &pid);
    let silent = server.get("/api/v1/topologies/stopped").with(200).json();
    assert_eq!(silent["report"], json!(null));
    server.wait_for_state("good", "finished");
    server.wait("it was tried again", || {
        (server.summary("failing")["failures"].as_u64()? > 1).then_some(())
    });
    signal("-CONT", &pid);
    // A process that is killed comes again.
    signal("-KILL", &pid);
    server.wait("another process runs", || {
        let now = server.summary("stopped");
        (now["state"] == "running" && now["pid"].as_u64()?.to_string() != pid).then_some(())
    });
    server.stop().with(0);
}

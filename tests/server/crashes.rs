//! kill -9 of a server, again and again.

use super::support;
use super::world::{Server, World, capture};

const TOPOLOGIES: u64 = 10;
const POSTS: u64 = 1500;

fn name(number: u64) -> String {
    format!("capture-{number}")
}

fn received(server: &Server, number: u64) -> Option<u64> {
    let detail = server.get(&format!("/api/v1/topologies/{}", name(number))).json();
    let rows = detail["report"]["components"].as_array()?;
    rows.iter().find(|row| row["id"] == "lake")?["received"].as_u64()
}

#[test]
fn all_topologies_come_back_after_a_kill_and_write_each_post_once() {
    let is_long = std::env::var_os("WATERSPOUT_LONG").is_some();
    let kills = if is_long { 20 } else { 5 };
    let world = World::new();
    let mut server = world.serve(&[]);
    for number in 0..TOPOLOGIES {
        let lake = world.path(&format!("lake-{number}"));
        let rate = if is_long { 30 } else { 300 };
        server.submit(&capture(&name(number), &lake, POSTS, rate)).with(201);
    }
    for kill in 0..kills {
        // Each time it has come a bit further before it is killed.
        server.wait("all are at work", || {
            let at_work = (0..TOPOLOGIES).filter(|number| {
                let is_done = || server.summary(&name(*number))["state"] == "finished";
                received(&server, *number).is_some_and(|posts| posts > 5 + kill % 7) || is_done()
            });
            (at_work.count() as u64 == TOPOLOGIES).then_some(())
        });
        server.kill();
        server = world.serve(&[]);
        let list = server.get("/api/v1/topologies").json();
        assert_eq!(list["topologies"].as_array().unwrap().len() as u64, TOPOLOGIES);
    }
    for number in 0..TOPOLOGIES {
        server.wait_for_state(&name(number), "finished");
        let mut posts = support::lake(&world.sandbox.path(&format!("lake-{number}")), false);
        let all = posts.len() as u64;
        posts.dedup();
        assert_eq!((all, posts.len() as u64), (POSTS, POSTS), "of {}", name(number));
    }
    server.stop().with(0);
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_with_the_process() {
    let world = World::new();
    let server = world.serve(&[]);
    let pid = format!("in use by process {}", server.process.id());
    world.sandbox.run(&["serve", "--listen", "127.0.0.1:0"]).with(1).says(&[&pid]);
    server.stop().with(0);
}

#[test]
fn a_damaged_record_is_named_and_keeps_no_other_from_running() {
    let world = World::new();
    let server = world.serve(&[]);
    for name in ["bad", "good"] {
        server.submit(&capture(name, &world.path(name), 100_000, 100)).with(201);
    }
    server.kill();
    let folders = world.sandbox.path("state/waterspout-server/topologies");
    for entry in std::fs::read_dir(folders).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("bad-") {
            std::fs::write(path.join("record.json"), "{\"version\":").unwrap();
        }
    }
    let server = world.serve(&[]);
    server.wait_for_state("good", "running");
    assert!(server.summary("bad").is_null());
    server.stop().with(0).says(&["record.json", "is damaged"]);
}

#[test]
fn a_server_is_ready_once_everything_that_ran_before_has_been_started() {
    let world = World::new();
    let server = world.serve(&[]);
    assert_eq!(server.raw("GET", "/readyz", &[], "").with(200).body, "ok\n");
    for number in 0..TOPOLOGIES {
        let lake = world.path(&format!("lake-{number}"));
        server.submit(&capture(&name(number), &lake, 1_000_000, 10)).with(201);
    }
    server.kill();
    // It listens before the processes of ten topologies have begun, four at a time.
    let server = world.serve(&[]);
    let first = server.raw("GET", "/readyz", &[], "").with(503);
    assert_eq!(first.header("content-type"), Some("application/problem+json"));
    let detail = first.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("topologies that ran before are still being started"), "{detail}");
    server.raw("GET", "/healthz", &[], "").with(200);
    server.wait("it is ready", || {
        let answer = server.raw("GET", "/readyz", &[], "");
        assert!([200, 503].contains(&answer.status), "{answer:?}");
        (answer.status == 200).then_some(())
    });
    for number in 0..TOPOLOGIES {
        assert_eq!(server.summary(&name(number))["state"], "running");
    }
    server.stop().with(0);
}

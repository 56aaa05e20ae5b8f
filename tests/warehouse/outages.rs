//! A server that is away, hangs, or comes back elsewhere: nothing is lost, and nothing else waits.

use std::cell::Cell;

use serde_json::Value;
use waterspout::warehouse::ledger::Ledger;

use crate::capture::Capture;
use crate::postgres_proxy::PostgresProxy;
use crate::runs::{is_equal, is_long, until};
use crate::support::postgres_server::PostgresServer;
use crate::tuples::{self, Row};

const ENDLESS: &str = "Generate(rate: 1000, platforms: [X])";

fn received_by_lake(report: &Value) -> u64 {
    let components = report["components"].as_array().into_iter().flatten();
    let mut lakes = components.filter(|one| one["id"] == "lake");
    lakes.next().and_then(|lake| lake["received"].as_u64()).unwrap_or_default()
}

#[test]
fn a_server_that_is_away_for_a_whole_run_and_its_end_is_caught_up_with() {
    let server = PostgresServer::start();
    let database = server.database();
    let capture = Capture::new(&database, 2_000);
    server.tell("stop immediate");
    // Its promises stay, as the exit code says.
    let ended = capture.run().with(5);
    assert!(ended.err.contains("waiting for Postgres at"), "{}", ended.err);
    assert_eq!(capture.lake_ids().len(), 2_000, "the lake waits for nobody");
    server.tell("start");
    let ended = capture.run();
    assert!(matches!(ended.code, Some(0 | 6)), "{:?}: {}", ended.code, ended.err);
    capture.check("a whole run without the server");
}

#[test]
fn a_connection_that_hangs_holds_up_nothing_but_the_warehouse() {
    let server = PostgresServer::shared();
    let database = server.database();
    let proxy = PostgresProxy::start(server.socket());
    let url = format!("postgresql://postgres@127.0.0.1:{}/{}", proxy.port, database.name);
    let capture = Capture::new(&database, 0);
    capture.write(ENDLESS, "");
    let mut running = capture.start_at(&url);
    until(&database, "select count(*) > 0 from posts", |answer| answer == "t");
    proxy.hang();
    let before = Cell::new(None);
    running.wait_for("the lake goes on", |report| {
        let received = received_by_lake(report);
        let first = before.get().unwrap_or(received);
        before.set(Some(first));
        received > first + 3_000
    });
    running.kill();
    running.end();
    let count = database.ask("select count(*) from posts");
    proxy.end_all();
    proxy.serve();
    let running = capture.start_at(&url);
    until(&database, &format!("select count(*) > {count} + 3000 from posts"), |more| more == "t");
    running.terminate();
    running.end().with(0);
    is_equal(&capture);
}

/// It takes the three minutes after which a silent server is left.
#[test]
fn a_session_that_hangs_is_left_and_the_next_one_loads_the_same() {
    if !is_long() {
        println!("skipped: only with WATERSPOUT_LONG");
        return;
    }
    let server = PostgresServer::shared();
    let database = server.database();
    let proxy = PostgresProxy::start(server.socket());
    let url = format!("postgresql://postgres@127.0.0.1:{}/{}", proxy.port, database.name);
    tuples::session(&database);
    let mut session = tuples::warehouse(&url).connect().unwrap();
    proxy.hang();
    let rows = tuples::rows(&[Row::tweet("1")]);
    let ledger = Ledger::History("test".into());
    let error = session.load(&rows, &ledger).unwrap_err().transient("load");
    assert!(error.chain().contains("no answer within 180 s"), "{}", error.chain());
    proxy.serve();
    let mut session = tuples::warehouse(&url).connect().unwrap();
    session.load(&rows, &ledger).unwrap();
    assert_eq!(database.ask("select post_id from posts"), "1");
}

#[test]
fn a_failover_to_another_address_goes_on_with_the_same_segment() {
    let server = PostgresServer::shared();
    let database = server.database();
    let (first, second) =
        (PostgresProxy::start(server.socket()), PostgresProxy::start(server.socket()));
    let (first_port, second_port) = (first.port, second.port);
    second.down();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{first_port},127.0.0.1:{second_port}/{}",
        database.name
    );
    let capture = Capture::new(&database, 0);
    capture.write(ENDLESS, "");
    let running = capture.start_at(&url);
    let mut ports = [first_port, second_port];
    let mut up = first;
    for _ in 0..3 {
        let count = database.ask("select count(*) from posts");
        let more = format!("select count(*) > {count} + 200 from posts");
        until(&database, &more, |answer| answer == "t");
        up.down();
        ports.reverse();
        up = PostgresProxy::start_at(server.socket(), ports[0]);
    }
    running.terminate();
    running.end().with(0);
    is_equal(&capture);
}

#[test]
fn retention_drops_old_months_and_loads_none_of_them() {
    let database = PostgresServer::shared().database();
    let capture = Capture::new(&database, 300);
    capture.run().with(0);
    assert_eq!(database.ask("select count(*) from posts"), "300");
    // The same posts of 2015, and new ones.
    let now = database.ask("select to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let old = std::fs::read_to_string(capture.sandbox.path("in.ndjson")).unwrap();
    let new = old.replace("\"id_str\":\"0", "\"id_str\":\"9").replace("2015-12-18T00:00:00Z", &now);
    capture.sandbox.write("all.ndjson", old + &new);
    capture.write("Lines(paths: [\"all.ndjson\"])", ", retention: \"90d\"");
    capture
        .sandbox
        .run_with(&["run", "t.ron", "--state", "other"], &[("DATABASE_URL", &database.url())])
        .with(0);
    let posts = "select count(*), count(*) filter (where post_id like '9%') from posts";
    assert_eq!(database.ask(posts), "300|300");
    assert_eq!(database.ask("select count(*) from post_keys where created_at < '2016-01-01'"), "0");
}

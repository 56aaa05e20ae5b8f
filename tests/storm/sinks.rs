//! Sinks of an exported topology on a real Storm: rows in PostgreSQL, and files in a bucket.

use std::collections::BTreeMap;
use std::fs;

use super::local::{Storm, export, posts};
use super::support::Sandbox;
use super::support::postgres_server::{Database, PostgresServer};
use super::support::s3_server::{ID, KEY, S3Server};

const POSTS: usize = 6_000;

fn post(number: usize) -> String {
    format!(
        "{{\"tweet\":{{\"id_str\":\"{number:06}\",\"text\":\"größer #tag\",\
         \"created_at\":\"2015-12-18T00:00:00Z\",\"user\":{{\"id_str\":\"1\"}}}}}}"
    )
}

/// Writes a topology from a file into a warehouse and a bucket, and its replay from that bucket
/// into the folder `clean`.
fn write_topologies(sandbox: &Sandbox, endpoint: &str) {
    let input = sandbox.path("in.ndjson");
    let bucket = format!(
        "bucket: \"lake\", prefix: \"root\", endpoint: \"{endpoint}\", region: \"us-east-1\", \
         access_key_id: Env(\"WATERSPOUT_TEST_ID\"), secret_access_key: \
         Env(\"WATERSPOUT_TEST_KEY\")"
    );
    sandbox.write(
        "capture.ron",
        format!(
            r#"Topology(
                name: "capture",
                spouts: {{"in": Spout(run: Lines(paths: [{input:?}]))}},
                bolts: {{
                    "warehouse": Bolt(run: Postgres(url: Env("DATABASE_URL")),
                                      inputs: [LocalOrShuffle("in")], parallelism_hint: 2),
                    "lake": Bolt(run: S3({bucket}),
                                 inputs: [LocalOrShuffle("in")], parallelism_hint: 2),
                }},
                micro_batch: MicroBatch(posts: 500),
            )"#
        ),
    );
    sandbox.write(
        "replay.ron",
        format!(
            r#"Topology(
                name: "replay",
                spouts: {{"in": Spout(run: S3Replay({bucket}))}},
                bolts: {{
                    "once": Bolt(run: Dedup(), inputs: [Global("in")]),
                    "lake": Bolt(run: Local(root: "clean"), inputs: [LocalOrShuffle("once")]),
                }},
            )"#
        ),
    );
}

/// Returns the number of posts in the warehouse, or 0 before it has tables.
fn rows(database: &Database<'_>) -> usize {
    let found = database.try_ask("select count(*) from posts");
    found.map_or(0, |count| count.parse().unwrap())
}

/// Returns the number of rows that were loaded, repeated loads included.
fn loaded(database: &Database<'_>) -> usize {
    let sum = "(select coalesce(sum(rows), 0) from {})";
    let sums = [sum.replace("{}", "loads"), sum.replace("{}", "load_history")];
    database.ask(&format!("select {}", sums.join(" + "))).parse().unwrap()
}

/// Returns the posts in the bucket, each with the number of times it is there.
fn in_bucket(server: &S3Server) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    server.download("lake", folder.path());
    posts(&folder.path().join("root"))
}

#[test]
fn a_row_is_there_once_and_a_replay_removes_what_is_twice_in_a_bucket() {
    let server = S3Server::with_bucket("lake");
    let database = PostgresServer::shared().database();
    let sandbox = Sandbox::new();
    let wanted: BTreeMap<String, usize> = (0..POSTS).map(|number| (post(number), 1)).collect();
    let lines: String = wanted.keys().map(|post| format!("{post}\n")).collect();
    sandbox.write("in.ndjson", lines);
    write_topologies(&sandbox, &server.endpoint());
    export(&sandbox, "capture.ron", "flux", &[]);
    let (url, keys) = (database.url(), [("WATERSPOUT_TEST_ID", ID), ("WATERSPOUT_TEST_KEY", KEY)]);
    let environment = [("DATABASE_URL", url.as_str()), keys[0], keys[1]];

    let mut storm = Storm::start_with(&sandbox, "flux", &environment);
    storm.until("some rows", || rows(&database) > 0);
    storm.kill_component("warehouse");
    storm.until_gone();
    let mut storm = Storm::start_with(&sandbox, "flux", &environment);
    storm.until("all rows", || rows(&database) == POSTS);
    storm.until("all posts", || in_bucket(&server).len() == POSTS);
    drop(storm);

    // A worker that starts on another machine, without the cursor, sends everything again.
    fs::remove_dir_all(sandbox.path("cluster-state")).unwrap();
    let before = loaded(&database);
    let mut storm = Storm::start_with(&sandbox, "flux", &environment);
    storm.until("each post twice", || in_bucket(&server).values().all(|times| *times > 1));
    storm.until("each row loaded again", || loaded(&database) >= before + POSTS);
    drop(storm);
    assert_eq!(rows(&database), POSTS);
    assert_eq!(database.ask("select count(distinct post_id) from posts"), POSTS.to_string());

    sandbox.run_with(&["run", "replay.ron"], &keys).with(0);
    assert_eq!(posts(&sandbox.path("clean")), wanted);
}

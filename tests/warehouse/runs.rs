//! Whole runs: kills of the engine, restarts of the server, sessions that end in the middle of a
//! COMMIT, several writers, bad rows, dumps.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::capture::Capture;
use crate::support::postgres_server::{Database, PostgresServer};
use crate::support::random::Random;
use crate::support::s3_server::{ID, KEY, S3Server};
use crate::support::{Sandbox, repository};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn is_long() -> bool {
    std::env::var_os("WATERSPOUT_LONG").is_some()
}

pub(crate) fn seed() -> u64 {
    std::env::var("WATERSPOUT_SEED").map_or(1, |seed| seed.parse().expect("a number"))
}

/// The last of many lines.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("\n")
}

/// Asks until an answer is as wanted.
#[track_caller]
pub(crate) fn until(database: &Database<'_>, query: &str, wanted: impl Fn(&str) -> bool) {
    let began = Instant::now();
    loop {
        match database.try_ask(query) {
            Ok(answer) if wanted(&answer) => return,
            answer => assert!(began.elapsed() < PATIENCE, "{query}: {answer:?}"),
        }
        thread::yield_now();
    }
}

#[test]
fn lake_and_warehouse_hold_the_same_and_another_load_changes_nothing() {
    let database = PostgresServer::shared().database();
    let capture = Capture::new(&database, 3_000);
    capture.run().with(0);
    capture.check("a run");
    let before = capture.fingerprint();
    let ended = capture.warehouse(&["load", "lake/*", "--json"]).with(0);
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!([&report["posts"], &report["rows"], &report["refused"]], [3_000, 3_000, 0]);
    assert_eq!(capture.fingerprint(), before);
    let status = capture.warehouse(&["status", "--json"]).with(0);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["tables"][0]["rows"], 3_000);
    assert!(status["last_loads"].as_array().unwrap().len() >= 2, "{status}");
    assert!(status["load_lag_seconds"].as_i64().unwrap() < 60);
    capture.warehouse(&["status"]).with(0);
    assert_eq!(
        database.ask("select count(*) from loads where segment not like '%/warehouse-%'"),
        "0"
    );
    // From the lake alone it is the same.
    let other = PostgresServer::shared().database();
    let url = other.url();
    capture.warehouse(&["load", "lake", "--url", &url]).with(0);
    let other =
        Capture { database: &other, sandbox: capture.sandbox, ..Capture::new(&database, 0) };
    assert_eq!(other.fingerprint(), before);
}

#[test]
fn kills_of_the_engine_lose_nothing_and_repeat_nothing() {
    let points = [
        "pg.commit",
        "pg.committed",
        "pg.commit",
        "pg.committed",
        "coordinator.save",
        "state.commit",
        "state.committed",
        "lake.write",
        "lake.sync",
        "disk.rename",
    ];
    let wanted = if is_long() { 50 } else { 6 };
    let (mut kills, mut seed) = (0, seed());
    while kills < wanted {
        let database = PostgresServer::shared().database();
        let capture = Capture::with_bad(&database, 2_000, 500);
        let mut random = Random(seed);
        let mut story = format!("WATERSPOUT_SEED={seed}");
        for _ in 0..6 {
            let point = points[random.below(points.len() as u64) as usize];
            let after = random.below(12);
            story += &format!(" {point}={after}");
            if capture.run_with_fault(point, after) {
                break;
            }
            kills += 1;
        }
        let ended = capture.run();
        let (code, said) = (ended.code, last_lines(&ended.err));
        assert!(matches!(code, Some(0 | 4 | 6)), "{code:?} after {story}:\n{said}");
        capture.check(&story);
        seed += 1;
    }
    println!("{kills} kills");
}

#[test]
fn restarts_of_the_server_and_ends_of_sessions_repeat_the_same_segment() {
    let server = PostgresServer::start();
    let database = server.database();
    let capture = Capture::new(&database, 0);
    let restarts = if is_long() { 20 } else { 2 };
    let ends = if is_long() { 50 } else { 5 };
    capture.write("Generate(rate: 2000, platforms: [X])", "");
    // The commit takes so long that it can be met.
    let running = capture.start();
    until(&database, "select count(*) > 0 from posts", |answer| answer == "t");
    database.ask(
        "create function waits() returns trigger language plpgsql as $$ begin perform pg_sleep(0.05); return null; end $$; \
         create constraint trigger waits after insert on loads deferrable initially deferred \
         for each row execute function waits()",
    );
    for _ in 0..ends {
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where application_name = 'waterspout' and state = 'active' and query = 'commit'";
        until(&database, end, |ended| ended != "0");
    }
    for _ in 0..restarts {
        let count = database.ask("select count(*) from posts");
        server.tell("restart immediate");
        until(&database, &format!("select count(*) > {count} from posts"), |answer| answer == "t");
    }
    database.ask("drop trigger waits on loads");
    running.terminate();
    running.end().with(0);
    is_equal(&capture);
}

/// All ids of the lake are in the warehouse, each once, and no others.
#[track_caller]
pub(crate) fn is_equal(capture: &Capture<'_>) {
    let lake: Vec<String> = capture.lake_ids().into_iter().collect();
    let found = capture.database.ask("select post_id from posts order by post_id");
    let found: Vec<&str> = found.lines().collect();
    assert!(!lake.is_empty() && found == lake, "{} rows, {} posts", found.len(), lake.len());
}

#[test]
fn three_writers_of_the_same_posts_write_each_once() {
    let database = PostgresServer::shared().database();
    let captures = [(); 3].map(|()| Capture::with_bad(&database, 2_000, 1_000));
    let running: Vec<_> = captures.iter().map(Capture::start).collect();
    for running in running {
        let ended = running.end();
        assert_eq!(ended.code, Some(4), "{}", last_lines(&ended.err));
    }
    for capture in &captures {
        capture.check("three writers");
    }
}

#[test]
fn one_row_in_a_thousand_that_is_bad_is_a_dead_letter() {
    let database = PostgresServer::shared().database();
    let capture = Capture::with_bad(&database, 5_000, 1_000);
    capture.run().with(4);
    capture.check("bad rows");
    let loaded = capture.warehouse(&["load", "lake/2*"]).with(4);
    let loaded = loaded.says(&["refused: tweet \"000999\"", "22003"]);
    assert!(loaded.out.contains("4995 rows loaded, 5 refused"), "{}", loaded.out);
    capture.warehouse(&["status"]).with(0);
}

#[test]
fn a_warehouse_that_was_dumped_and_restored_stays_loadable() {
    let server = PostgresServer::shared();
    let database = server.database();
    let capture = Capture::new(&database, 500);
    capture.run().with(0);
    let restored = server.database();
    let mut dump = server
        .program("pg_dump")
        .args(["-d", &database.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restore = server
        .program("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &restored.url()])
        .stdin(dump.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(dump.wait().unwrap().success() && restore.success());
    let before = capture.fingerprint();
    let (lines, sandbox) = (Capture::new(&restored, 700), capture.sandbox);
    let capture = Capture { sandbox, ..lines };
    assert_eq!(capture.fingerprint(), before);
    capture.warehouse(&["load", "lake/*"]).with(0);
    assert_eq!(capture.fingerprint(), before);
    // New posts come in, too.
    let more = Capture::new(&restored, 700);
    more.run().with(0);
    more.check("a run into what was restored");
}

#[test]
fn a_server_that_is_down_for_a_whole_run_is_told_and_caught_up_with() {
    let server = PostgresServer::start();
    let database = server.database();
    let capture = Capture::new(&database, 0);
    capture.write("Generate(rate: 2000, platforms: [X])", "");
    server.tell("stop immediate");
    let mut running = capture.start();
    running.wait_for("the state", |report| {
        let text = report.to_string();
        text.contains("waiting for Postgres at") && text.contains("since 20")
    });
    running.wait_for("the lake goes on", |report| {
        report["components"].as_array().is_some_and(|all| {
            all.iter().any(|one| one["id"] == "lake" && one["received"].as_u64() > Some(2_000))
        })
    });
    running.kill();
    running.end();
    // The same command again, with the server.
    server.tell("start");
    let running = capture.start();
    until(&database, "select count(*) > 2000 from posts", |answer| answer == "t");
    running.terminate();
    running.end().with(0);
    is_equal(&capture);
}

#[test]
fn a_topology_is_checked_online_and_names_what_is_wrong() {
    let database = PostgresServer::shared().database();
    let capture = Capture::new(&database, 1);
    let validate = |url: &str| {
        capture.sandbox.run_with(&["validate", "t.ron", "--online"], &[("DATABASE_URL", url)])
    };
    let ended = validate(&database.url()).with(0);
    assert!(ended.out.contains("will be made at the start"), "{} {}", ended.out, ended.err);
    assert!(database.try_ask("select * from posts").is_err(), "nothing is made");
    capture.warehouse(&["status"]).with(4);
    capture.warehouse(&["init"]).with(0);
    let again = capture.warehouse(&["init"]).with(0);
    assert!(again.out.contains("has version 1: it was there already"), "{}", again.out);
    assert!(validate(&database.url()).with(0).out.contains("has version 1"));
    let absent = database.url().replace(&database.name, "nonesuch");
    validate(&absent).with(1).says(&["nonesuch", "does not exist"]);
    let hidden = "postgres://user:hunter2@127.0.0.1:1/db";
    let refused = validate(hidden).with(1).says(&["127.0.0.1:1/db", "refused"]);
    assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    database.ask("insert into schema_versions values (99)");
    let newer = ["version 99", "newer waterspout"];
    validate(&database.url()).with(1).says(&newer);
    capture.warehouse(&["init"]).with(1).says(&newer);
    capture.run().with(1).says(&newer);
    capture.sandbox.run(&["warehouse", "status"]).with(2).says(&["DATABASE_URL", "--url"]);
}

#[test]
fn the_topology_of_the_repository_fills_a_warehouse_beside_a_lake() {
    let database = PostgresServer::shared().database();
    let sandbox = Sandbox::new();
    let (file, url) = (repository("topologies/warehouse.ron"), database.url());
    let environment = [("DATABASE_URL", url.as_str())];
    let run = ["run", &file, "--state", "state", "--set", "spouts.posts.run.posts=1000"];
    sandbox.run_with(&["validate", &file], &[]).with(0);
    sandbox.run_with(&run, &environment).with(0);
    let posts =
        "select count(*), count(distinct (platform, post_id)), count(distinct platform) from posts";
    let found = database.ask(posts);
    let lake = crate::support::lake(&sandbox.path("lake"), false).len();
    assert_eq!((lake, found.as_str()), (1000, "1000|1000|5"));
    // Posts without Features in between get it put in front.
    let raw = ["--set", "bolts.warehouse.inputs=[Shuffle(\"posts\")]"];
    sandbox.run_with(&[&["graph", &file], &raw[..]].concat(), &[]).with(0);
    let again = [&run[..], &raw[..], &["--fresh"]].concat();
    sandbox.run_with(&again, &environment).with(0);
    assert_eq!(database.ask(posts), found, "the same posts change nothing");
}

#[test]
fn a_lake_in_a_bucket_is_loaded_as_one_in_a_folder() {
    let server = S3Server::with_bucket("lake");
    let database = PostgresServer::shared().database();
    let endpoint = server.endpoint();
    let url = database.url();
    let environment = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("DATABASE_URL", url.as_str()),
    ];
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(
            name: "s3",
            spouts: {"in": Spout(run: Generate(posts: 700))},
            bolts: {"bucket": Bolt(run: S3(bucket: "lake", prefix: "root"), inputs: [Shuffle("in")])},
            micro_batch: MicroBatch(posts: 100),
        )"#,
    );
    sandbox.run_with(&["run", "t.ron", "--state", "state"], &environment).with(0);
    for glob in ["s3://lake/root", "s3://lake/root/2*"] {
        sandbox.run_with(&["warehouse", "load", glob], &environment).with(0);
        assert_eq!(database.ask("select count(*) from posts"), "700");
    }
    sandbox.run_with(&["warehouse", "load", "s3://lake/nonesuch/2*"], &environment).with(1);
}

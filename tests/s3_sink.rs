//! A lake in S3 (`support/s3_server.rs`): captures, kill -9 between and during uploads, a server
//! that is down, and one behind a network that does everything wrong. What the bucket holds is read
//! by plain HTTP.
//!
//! `WATERSPOUT_LONG=1` makes more kills; `WATERSPOUT_SEED=n` begins with that seed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::collections::BTreeSet;

use support::proxy::Proxy;
use support::random::Random;
use support::s3_server::{ID, KEY, S3Server};
use support::sign::escape;
use support::{Ended, Sandbox, lake_by_partition};

/// The number of posts that are captured.
const POSTS: usize = 4_000;

const ARGUMENTS: [&str; 6] = ["run", "t.ron", "--state", "state", "--interval", "50ms"];

fn post(number: usize) -> String {
    format!("{{\"tweet\":{{\"id\":\"{number:06}\",\"text\":\"größer\"}}}}")
}

/// A topology that captures into the bucket `lake` behind this endpoint, and beside it into a
/// folder.
fn capture(endpoint: &str, posts: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", (0..posts).map(|number| post(number) + "\n").collect::<String>());
    write_topology(&sandbox, endpoint, "");
    sandbox
}

fn write_topology(sandbox: &Sandbox, endpoint: &str, more: &str) {
    sandbox.write(
        "t.ron",
        format!(
            r#"Topology(
                name: "s3",
                spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"]), batch: 8)}},
                bolts: {{
                    "bucket": Bolt(
                        run: S3(bucket: "lake", prefix: "root", endpoint: "{endpoint}", region: "us-east-1",
                                access_key_id: Env("WATERSPOUT_TEST_ID"), secret_access_key: Env("WATERSPOUT_TEST_KEY")),
                        inputs: [Shuffle("in")], parallelism_hint: 2),
                    "folder": Bolt(run: Local(root: "local"), inputs: [Shuffle("in")]),
                }},
                checkpoint: Checkpoint(every: "10ms"),
                micro_batch: MicroBatch(posts: 100),
                {more}
            )"#
        ),
    );
}

const KEYS: [(&str, &str); 2] = [("WATERSPOUT_TEST_ID", ID), ("WATERSPOUT_TEST_KEY", KEY)];

fn run(sandbox: &Sandbox, faults: &str) -> Ended {
    let environment = [KEYS[0], KEYS[1], ("FAILPOINTS", faults)];
    let ended = sandbox.run_with(&ARGUMENTS, &environment[..if faults.is_empty() { 2 } else { 3 }]);
    assert!(!ended.err.contains(KEY), "a secret is printed:\n{}", ended.err);
    ended
}

/// All posts in the bucket, sorted; it has to be a whole lake.
fn bucket(server: &S3Server) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    server.download("lake", folder.path());
    let mut posts: Vec<_> =
        lake_by_partition(&folder.path().join("root"), &[]).into_values().flatten().collect();
    posts.sort();
    posts
}

fn is_exact(found: &[String], posts: usize, story: &[String]) {
    let wanted: Vec<_> = (0..posts).map(post).collect();
    assert!(found == wanted, "{} posts instead of {posts} after {story:?}", found.len());
}

#[track_caller]
fn check(server: &S3Server, sandbox: &Sandbox, story: &[String]) {
    check_posts(server, sandbox, story);
    let keys: BTreeSet<String> = server.keys("lake").into_iter().collect();
    for key in data(server) {
        let partition = key.split('/').nth(1).unwrap();
        assert!(
            keys.contains(&format!("root/_index/{partition}.json")),
            "{partition} has no index after {story:?}"
        );
    }
}

/// Without the indexes, for which nothing waits where the network fails.
#[track_caller]
fn check_posts(server: &S3Server, sandbox: &Sandbox, story: &[String]) {
    is_exact(&bucket(server), POSTS, story);
    is_exact(&support::lake(&sandbox.path("local"), false), POSTS, story);
    assert!(!sandbox.path("state/outbox").exists(), "the outbox isn't empty after {story:?}");
}

#[test]
fn a_capture_arrives_once_and_gapless() {
    let server = S3Server::with_bucket("lake");
    let sandbox = capture(&server.endpoint(), POSTS);
    run(&sandbox, "").with(0);
    check(&server, &sandbox, &[]);
    assert!(data(&server).len() >= POSTS / 100);
    let indexed: Vec<_> =
        server.keys("lake").into_iter().filter(|key| key.starts_with("root/_index/")).collect();
    assert!(indexed.len() >= 2, "one for each partition, and so for each task: {indexed:?}");
    sandbox.run(&["validate", "t.ron", "--explain"]).with(0);
}

/// A server that answers 501 to a conditional PUT: `run` says it long before the first file closes.
#[test]
fn a_server_without_conditional_put_is_named_at_the_start_with_what_to_do() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::without_conditions(server.port);
    let sandbox = capture(&proxy.endpoint(), 1);
    // It goes on for ever, and no file closes within an hour.
    let spout = "spouts.in.run=Generate(rate: 10)";
    let endless =
        [&ARGUMENTS[..], &["--set", spout, "--set", "micro_batch=MicroBatch(age: \"1h\")"]]
            .concat();
    let wanted = [
        "no conditional PUT",
        "501",
        "conditional_put: HeadThenPut",
        "WATERSPOUT_S3_CONDITIONAL_PUT",
    ];
    sandbox.run_with(&endless, &KEYS).with(1).says(&wanted);
    assert!(proxy.refused() > 0 && server.keys("lake").is_empty());
    sandbox.run_with(&["validate", "t.ron", "--online"], &KEYS).with(1).says(&wanted);
    assert_eq!(server.keys("lake"), Vec::<String>::new(), "nothing is left");
}

/// There, HEAD and then PUT work from end to end: for the sink, also by the environment, and for
/// the tools.
#[test]
fn head_then_put_loses_nothing_and_repeats_nothing_where_there_is_no_conditional_put() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::without_conditions(server.port);
    let in_environment = ("WATERSPOUT_S3_CONDITIONAL_PUT", "HeadThenPut");
    for (number, point) in ["s3.put", "s3.stored", "s3.deleted", "lake.synced"].iter().enumerate() {
        server.clear("lake");
        let sandbox = capture(&proxy.endpoint(), POSTS);
        let option = ["--set", "bolts.bucket.run.conditional_put=HeadThenPut"];
        let by_option = number % 2 == 0;
        let arguments = [&ARGUMENTS[..], if by_option { &option } else { &[] }].concat();
        let mut story = Vec::new();
        for faults in [
            format!("{point}={number}*off->return"),
            format!("{point}=2*off->return"),
            String::new(),
        ] {
            let mut environment = vec![KEYS[0], KEYS[1], ("FAILPOINTS", faults.as_str())];
            environment.extend((!by_option).then_some(in_environment));
            environment.retain(|(_, value)| !value.is_empty());
            let ended = sandbox.run_with(&arguments, &environment);
            assert!(matches!(ended.code, None | Some(0)), "after {story:?}:\n{}", ended.err);
            story.push(faults.clone());
        }
        check(&server, &sandbox, &story);
    }
    assert_eq!(proxy.refused(), 0, "nobody asked for a condition");
    let (endpoint, sandbox) = (proxy.endpoint(), Sandbox::new());
    let access = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_ENDPOINT_URL", &*endpoint),
    ];
    let compact = ["lake", "compact", "s3://lake/root", "--closed-before", "9000-01-01"];
    sandbox
        .run_with(&compact, &access)
        .with(1)
        .says(&["no conditional PUT", "WATERSPOUT_S3_CONDITIONAL_PUT"]);
    let with_way = |way: (&'static str, &'static str)| [access[0], access[1], access[2], way];
    sandbox
        .run_with(&compact, &with_way((in_environment.0, "maybe")))
        .with(1)
        .says(&["HeadThenPut", "maybe"]);
    sandbox.run_with(&compact, &with_way(in_environment)).with(0);
    assert!(data(&server).len() < 4, "{:?}", data(&server));
    sandbox.run_with(&["lake", "verify", "s3://lake/root"], &access).with(0);
    is_exact(&bucket(&server), POSTS, &["compacted".into()]);
    // Whoever erases is told whose outbox may hold a copy: the sink has left a note at its start.
    sandbox.write("ids", "tweet none\n");
    let erase = ["lake", "erase", "s3://lake/root", "--ids", "ids"];
    let said = sandbox.run_with(&erase, &with_way(in_environment)).with(4).out;
    assert!(said.contains("a topology that wrote here has its state in /"), "{said}");
}

/// An object of the same key and other bytes is refused, also where HEAD and PUT are two requests.
#[test]
fn head_then_put_refuses_the_object_of_another_writer() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::without_conditions(server.port);
    let sandbox = capture(&proxy.endpoint(), POSTS);
    let arguments =
        [&ARGUMENTS[..], &["--set", "bolts.bucket.run.conditional_put=HeadThenPut"]].concat();
    let killed = [KEYS[0], KEYS[1], ("FAILPOINTS", "s3.put=3*off->return")];
    assert_eq!(sandbox.run_with(&arguments, &killed).code, None);
    let staged =
        glob::glob(&format!("{}/state/outbox/*/*/2*/0*", sandbox.path("").display())).unwrap();
    for staged in staged.map(Result::unwrap) {
        let key: Vec<_> = staged.iter().rev().take(2).map(|part| part.to_str().unwrap()).collect();
        let path = format!("/lake/root/{}/{}", escape(key[1], "/"), key[0]);
        server.request("PUT", &path, b"[{\"tweet\":{\"id\":\"other\"}}]");
    }
    sandbox.run_with(&arguments, &KEYS).with(1).says(&["was written by somebody else"]);
}

#[test]
fn without_checkpoints_files_are_uploaded_when_they_close() {
    let server = S3Server::with_bucket("lake");
    let sandbox = capture(&server.endpoint(), POSTS);
    let off = ["--set", "checkpoint=Off"];
    sandbox.run_with(&[&ARGUMENTS[..], &off].concat(), &KEYS).with(0);
    check(&server, &sandbox, &[]);
}

#[test]
fn what_is_wrong_is_found_before_anything_runs() {
    let sandbox = capture("nowhere", 1);
    let sets = ["--set", "bolts.bucket.run.bucket=Lake", "--set", "bolts.bucket.run.outbox=0B"];
    let ended = sandbox.run(&[&["validate", "t.ron"], &sets[..]].concat()).with(3);
    ended.says(&["bad bucket name", "expected an address such as", "expected a size above 0"]);
}

/// Runs it with kills at these points until it is done, and checks what is in the bucket.
fn survive(server: &S3Server, points: impl IntoIterator<Item = String>) -> usize {
    server.clear("lake");
    let sandbox = capture(&server.endpoint(), POSTS);
    let (mut story, mut kills) = (Vec::new(), 0);
    for faults in points {
        story.push(faults.clone());
        let ended = run(&sandbox, &faults);
        if ended.code == Some(0) {
            break;
        }
        assert_eq!(ended.code, None, "after {story:?}:\n{}", ended.err);
        kills += 1;
        let found = bucket_now(server);
        assert_eq!(
            found.iter().collect::<BTreeSet<_>>().len(),
            found.len(),
            "a post is there twice after {story:?}"
        );
    }
    let ended = run(&sandbox, "");
    assert_eq!(ended.code, Some(0), "after {story:?}:\n{}", ended.err);
    check(server, &sandbox, &story);
    kills
}

/// The keys of all objects that hold posts.
fn data(server: &S3Server) -> Vec<String> {
    server.keys("lake").into_iter().filter(|key| !key.starts_with("root/_index/")).collect()
}

/// Returns the visible posts, which may have gaps: uploads run beside each other.
fn bucket_now(server: &S3Server) -> Vec<String> {
    let read = |key: String| {
        let (status, body) = server.request("GET", &format!("/lake/{}", escape(&key, "/")), b"");
        assert_eq!(status, 200, "{key}");
        let posts: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(&body).unwrap();
        posts.into_iter().map(|post| post.get().to_owned()).collect::<Vec<_>>()
    };
    data(server).into_iter().flat_map(read).collect()
}

#[test]
fn kills_between_and_during_uploads_lose_nothing_and_repeat_nothing() {
    let server = S3Server::with_bucket("lake");
    let long = std::env::var_os("WATERSPOUT_LONG").is_some();
    let wanted = if long { 150 } else { 50 };
    let points = ["s3.put", "s3.stored", "s3.deleted"];
    let mut kills = 0;
    for point in points {
        for after in [0, 5] {
            // Again and again at the same place, also while it recovers.
            let here = survive(&server, (0..2).map(|_| format!("{point}={after}*off->return")));
            assert!(here > 0, "{point} was never passed");
            kills += here;
        }
    }
    let mut seed =
        std::env::var("WATERSPOUT_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    while kills < wanted {
        let mut random = Random(seed);
        let others = ["lake.synced", "recover.delete", "disk.rename"];
        let points: Vec<_> = points.into_iter().cycle().take(9).chain(others).collect();
        let at = move |_| {
            let point = points[random.below(points.len() as u64) as usize];
            format!("{point}={}*off->return", random.below(8))
        };
        kills += survive(&server, (0..8).map(at));
        seed += 1;
    }
    println!("{kills} kills, seeds below {seed}");
}

#[test]
fn a_server_that_is_down_holds_up_nobody_else_and_gets_everything_later() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::down();
    let sandbox = capture(&proxy.endpoint(), POSTS);
    let mut running = sandbox.start_with(&ARGUMENTS, &KEYS);
    let captured =
        || lake_by_partition(&sandbox.path("local"), &["_staging"]).into_values().flatten().count();
    running.wait_for("it runs", |report| report["phase"] != "starting");
    while captured() < POSTS {
        running.wait_for("another report", |_| true);
    }
    // The drain would wait for 30 s: the second signal says not to.
    running.terminate();
    running.wait_for("another report", |_| true);
    running.terminate();
    running.end().with(5);
    assert!(sandbox.path("state/outbox").exists());
    assert_eq!(server.keys("lake"), Vec::<String>::new());
    proxy.up(server.port);
    run(&sandbox, "").with(0);
    check(&server, &sandbox, &["up again".into()]);
}

#[test]
fn what_does_not_fit_into_the_outbox_is_dropped_and_counted_if_it_may_be() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::down();
    let sandbox = capture(&proxy.endpoint(), POSTS);
    let sets = ["--set", "bolts.bucket.run.outbox=20KiB", "--set", "bolts.bucket.run.on_full=Drop"];
    let mut running = sandbox.start_with(&[&ARGUMENTS[..], &sets].concat(), &KEYS);
    // The sink beside it commits at the same time, and tidies up when it is done.
    let staging = sandbox.path("local/_staging");
    running.wait_for("its end waits for the server, and for nothing else", |report| {
        report["phase"] == "committing" && !staging.exists()
    });
    assert_eq!(support::lake(&sandbox.path("local"), false).len(), POSTS, "nobody else is held up");
    proxy.up(server.port);
    let ended = running.end().with(0);
    let dropped = ended.total("bucket", "dropped") as usize;
    ended.says(&[&format!("bucket dropped {dropped} tuples")]);
    let found = bucket(&server);
    assert!(
        dropped > 0 && found.len() == POSTS - dropped,
        "{} posts, and {dropped} dropped",
        found.len()
    );
    let bytes: usize = found.iter().map(|post| post.len() + 1).sum();
    assert!(
        (30 << 10..=40 << 10).contains(&bytes),
        "two tasks keep 20 KiB each, found {bytes} bytes"
    );
    assert!(found.iter().collect::<BTreeSet<_>>().len() == found.len(), "a post is there twice");
}

#[test]
fn a_network_that_does_everything_wrong_changes_nothing() {
    let server = S3Server::with_bucket("lake");
    let proxy = Proxy::start(server.port, 7, 3);
    let sandbox = capture(&proxy.endpoint(), POSTS);
    let arguments = [&ARGUMENTS[..], &["--set", "micro_batch=MicroBatch(posts: 20)"]].concat();
    sandbox.run_with(&arguments, &KEYS).with(0);
    check_posts(&server, &sandbox, &[format!("{:?}", proxy.met())]);
    assert!(proxy.met().iter().all(|(_, times)| *times > 0), "{:?}", proxy.met());
}

#[test]
fn three_instances_write_one_bucket_and_roll_over() {
    const EACH: usize = 3_000;
    let server = S3Server::with_bucket("lake");
    let one = |seed: usize| {
        let sandbox = capture(&server.endpoint(), 1);
        let spout = format!("spouts.in.run=Generate(posts: {EACH}, rate: 1000, seed: {seed})");
        let sets = ["--set", &spout, "--set", "partition=Partition(every: \"1s\")"];
        let running = sandbox.start_with(&[&ARGUMENTS[..], &sets].concat(), &KEYS);
        (sandbox, running)
    };
    let instances: Vec<_> = (0..3).map(one).collect();
    let mut wanted = Vec::new();
    for (sandbox, running) in instances {
        running.end().with(0);
        wanted.extend(support::lake(&sandbox.path("local"), false));
    }
    wanted.sort();
    let found = bucket(&server);
    assert!(
        found == wanted && found.len() == 3 * EACH,
        "{} posts instead of {}",
        found.len(),
        wanted.len()
    );
    let keys = data(&server);
    let boundaries: BTreeSet<_> = keys.iter().map(|key| &key["root/".len()..][..19]).collect();
    assert!(boundaries.len() > 2, "{boundaries:?}");
    // The glob of a boundary replays all that the three wrote between it and the next, and nothing
    // else.
    let folder = tempfile::tempdir().unwrap();
    server.download("lake", folder.path());
    let partitions = lake_by_partition(&folder.path().join("root"), &[]);
    let endpoint = server.endpoint();
    let access = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_ENDPOINT_URL", &*endpoint),
    ];
    for boundary in boundaries {
        let of_it: Vec<_> =
            partitions.iter().filter(|(name, _)| name.starts_with(boundary)).collect();
        let mut wanted: Vec<_> =
            of_it.iter().flat_map(|(_, posts)| posts.iter().cloned()).collect();
        wanted.sort();
        let replayed = Sandbox::new()
            .run_with(&["replay", &format!("s3://lake/root/{boundary}-*")], &access)
            .with(0);
        assert!(replayed.sorted_lines() == wanted, "{boundary}: {} posts wanted", wanted.len());
    }
}

/// Killed before, between and after the steps by which a file is packed and uploaded, and while
/// what a recovery has uploaded is still promised as open.
#[test]
fn packed_objects_arrive_once_whatever_is_killed() {
    for (number, point) in
        ["encode.delete", "encode.restore", "s3.put", "s3.stored", "s3.deleted"].iter().enumerate()
    {
        let server = S3Server::with_bucket("lake");
        let sandbox = capture(&server.endpoint(), POSTS);
        let compression = format!("bolts.bucket.run.compression={}", ["Zstd", "Gzip"][number % 2]);
        let options = ["--set", &compression, "--set", "bolts.bucket.run.names=Basic"];
        let arguments = [&ARGUMENTS[..], &options].concat();
        let (mut story, mut kills) = (vec![compression.clone()], 0);
        for faults in [
            &format!("encode.deleted={number}*off->return"),
            &format!("{point}=1*off->return"),
            "state.commit=1*off->return",
            "",
        ] {
            let environment = [KEYS[0], KEYS[1], ("FAILPOINTS", faults)];
            story.push(faults.to_owned());
            let ended =
                sandbox.run_with(&arguments, &environment[..if faults.is_empty() { 2 } else { 3 }]);
            assert!(matches!(ended.code, None | Some(0)), "after {story:?}:\n{}", ended.err);
            kills += usize::from(ended.code.is_none());
        }
        check(&server, &sandbox, &story);
        assert!(kills > 0, "nothing was killed: {story:?}");
        let extension = [".json.zst", ".json.gz"][number % 2];
        assert!(data(&server).iter().all(|key| key.ends_with(extension) && !key.contains(':')));
    }
}

//! A lake in S3 (`support/s3_server.rs`) as others use it: replayed, also by a topology that is
//! killed or behind a bad network, listed, checked, compacted, erased and pruned. It is put there
//! by plain HTTP.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use support::proxy::Proxy;
use support::s3_server::{ID, KEY, S3Server};
use support::sign::escape;
use support::{Ended, Sandbox, lake_by_partition};

const PARTITIONS: usize = 6;
const FILES: usize = 4;
const POSTS: usize = 50;

/// One partition each hour, from this on.
fn partition(number: usize) -> String {
    format!("2015-12-18T{number:02}:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed{number}")
}

/// Posts that come every ten seconds, in each partition those of its hour.
fn post(partition: usize, number: usize) -> String {
    let (minute, second) = (number / 6, number % 6 * 10);
    format!(
        "{{\"tweet\":{{\"created_at\":\"2015-12-18T{partition:02}:{minute:02}:{second:02}Z\",\
         \"id\":\"{partition}-{number:03}\",\"text\":\"größer\"}}}}"
    )
}

fn posts(partitions: impl IntoIterator<Item = usize>) -> Vec<String> {
    let each = |partition| (0..FILES * POSTS).map(move |number| post(partition, number));
    partitions.into_iter().flat_map(each).collect()
}

fn all() -> Vec<String> {
    posts(0..PARTITIONS)
}

/// A server with the lake in the bucket `lake`, below `root`.
fn lake() -> S3Server {
    let server = S3Server::with_bucket("lake");
    for number in 0..PARTITIONS {
        for (file, posts) in posts([number]).chunks(POSTS).enumerate() {
            let key = escape(&format!("root/{}/{file:07}", partition(number)), "/");
            assert_eq!(
                server
                    .request(
                        "PUT",
                        &format!("/lake/{key}"),
                        format!("[{}]", posts.join(",")).as_bytes()
                    )
                    .0,
                200
            );
        }
    }
    server
}

/// Runs it with credentials and endpoint in the environment.
fn run(sandbox: &Sandbox, endpoint: &str, faults: &str, arguments: &[&str]) -> Ended {
    let environment = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("FAILPOINTS", faults),
    ];
    let ended = sandbox.run_with(arguments, &environment[..if faults.is_empty() { 4 } else { 5 }]);
    assert!(!ended.err.contains(KEY), "a secret is printed:\n{}", ended.err);
    ended
}

#[test]
fn replay_prints_what_is_there_by_glob_time_and_share() {
    let (server, sandbox) = (lake(), Sandbox::new());
    let replay = |arguments: &[&str]| {
        run(&sandbox, &server.endpoint(), "", &[&["replay"], arguments].concat())
            .with(0)
            .sorted_lines()
    };
    assert_eq!(replay(&["s3://lake/root"]), all());
    assert_eq!(replay(&["s3://lake/root/2*"]), all());
    assert_eq!(replay(&["s3://lake/root/2015-12-18T03:00:00-*"]), posts([3]));
    let between = ["--from", "2015-12-18T01:00:00", "--to", "2015-12-18T04:00:00"];
    assert_eq!(replay(&[&["s3://lake/root"], &between[..]].concat()), posts(1..4));
    let shares: Vec<_> =
        (0..3).map(|share| replay(&["s3://lake/root", "--shard", &format!("{share}/3")])).collect();
    assert!(shares.iter().all(|share| share.len() < all().len()), "nobody gets everything");
    let mut together = shares.concat();
    together.sort();
    assert_eq!(together, all());
    let by_time =
        run(&sandbox, &server.endpoint(), "", &["replay", "s3://lake/root", "--order", "time"])
            .with(0);
    assert_eq!(by_time.out.lines().collect::<Vec<_>>(), all());
}

/// A topology that copies the lake into the folder `copy`.
fn copying(endpoint: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        format!(
            r#"Topology(
                name: "copy",
                spouts: {{"from": Spout(run: S3Replay(bucket: "lake", prefix: "root", endpoint: "{endpoint}" {more}),
                                        parallelism_hint: 2, batch: 8)}},
                bolts: {{"to": Bolt(run: Local(root: "copy"), inputs: [Shuffle("from")], parallelism_hint: 2)}},
                checkpoint: Checkpoint(every: "5ms"),
                micro_batch: MicroBatch(posts: 40),
            )"#
        ),
    );
    sandbox
}

fn copied(root: &Path) -> Vec<String> {
    let mut posts: Vec<_> = lake_by_partition(root, &[]).into_values().flatten().collect();
    posts.sort();
    posts
}

const COPY: [&str; 4] = ["run", "t.ron", "--state", "state"];

#[test]
fn a_replay_that_is_killed_goes_on_behind_its_checkpoint() {
    let server = lake();
    for more in ["", ", order: Time, buffer: \"8KiB\""] {
        let (sandbox, mut kills) = (copying(&server.endpoint(), more), 0);
        for after in [0, 2, 5, 1, 9, 4] {
            let faults = format!("lake.synced={after}*off->return");
            let ended = run(&sandbox, &server.endpoint(), &faults, &COPY);
            kills += usize::from(ended.code.is_none());
            assert!(matches!(ended.code, None | Some(0)), "{}", ended.err);
        }
        assert!(kills > 2, "{kills} kills");
        run(&sandbox, &server.endpoint(), "", &COPY).with(0);
        assert_eq!(copied(&sandbox.path("copy")), all());
    }
}

#[test]
fn a_replay_over_a_bad_network_brings_each_post_once() {
    let server = lake();
    let proxy = Proxy::start(server.port, 3, 4);
    let sandbox = copying(&proxy.endpoint(), "");
    run(&sandbox, &proxy.endpoint(), "", &COPY).with(0);
    assert_eq!(copied(&sandbox.path("copy")), all());
    assert!(proxy.met().iter().map(|(_, times)| times).sum::<usize>() > 5, "{:?}", proxy.met());
}

#[test]
fn instances_with_a_share_each_replay_the_whole_together() {
    let server = lake();
    let mut together = Vec::new();
    for share in 0..2 {
        let sandbox = copying(&server.endpoint(), &format!(", shard: ({share}, 2)"));
        run(&sandbox, &server.endpoint(), "", &COPY).with(0);
        together.extend(copied(&sandbox.path("copy")));
    }
    together.sort();
    assert_eq!(together, all());
}

/// The tools over the lake, with its address behind their names.
struct Tools {
    server: S3Server,
    sandbox: Sandbox,
}

impl Tools {
    fn run(&self, arguments: &[&str]) -> Ended {
        run(&self.sandbox, &self.server.endpoint(), "", &[&["lake"], arguments].concat())
    }

    fn json(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let out = self.run(&[arguments, &["--json"]].concat()).with(code).out;
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the contents of a bucket's partitions, read by plain HTTP.
    fn stored(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        self.server.download("lake", folder.path());
        let mut posts: Vec<_> = lake_by_partition(&folder.path().join("root"), &["_index"])
            .into_values()
            .flatten()
            .collect();
        posts.sort();
        posts
    }
}

const ROOT: &str = "s3://lake/root";

/// Later than any partition here.
const LATER: &str = "9000-01-01";

#[test]
fn the_tools_read_and_change_it_like_a_folder() {
    let tools = Tools { server: lake(), sandbox: Sandbox::new() };
    let verified = |code| tools.json(&["verify", ROOT], code).swap_remove(0);
    assert_eq!(verified(0)["findings"].as_array().unwrap().len(), 0);
    tools.run(&["index", ROOT]).with(0);
    let listed = tools.json(&["ls", ROOT], 0);
    let sum =
        |key: &str| listed.iter().map(|line| line[key].as_u64().unwrap()).sum::<u64>() as usize;
    assert_eq!(
        (listed.len(), sum("posts"), sum("micro_batches")),
        (PARTITIONS, all().len(), PARTITIONS * FILES)
    );
    assert_eq!(
        tools.run(&["cat", "s3://lake/root/2015-12-18T02*"]).with(0).sorted_lines(),
        posts([2])
    );

    tools.run(&["compact", ROOT, "--closed-before", LATER]).with(0);
    assert_eq!(tools.stored(), all());
    let data: BTreeSet<_> =
        tools.server.keys("lake").into_iter().filter(|key| key.starts_with("root/2")).collect();
    assert_eq!(data.len(), PARTITIONS, "each partition is one file now: {data:?}");
    verified(0);

    tools.sandbox.write("ids", "tweet 1-017\n5-199\n");
    let erased = tools.run(&["erase", ROOT, "--ids", "ids", "--closed-before", LATER]).with(0).out;
    assert!(erased.contains("2 posts of 2 ids erased"), "{erased}");
    let mut rest = all();
    rest.retain(|post| !post.contains("\"1-017\"") && !post.contains("\"5-199\""));
    assert_eq!(tools.stored(), rest);
    verified(0);

    let key = tools.server.keys("lake").into_iter().find(|key| key.starts_with("root/2")).unwrap();
    let path = format!("/lake/{}", escape(&key, "/"));
    let whole = tools.server.request("GET", &path, b"").1;
    assert_eq!(tools.server.request("PUT", &path, &whole[..whole.len() - 1]).0, 200);
    let findings = &verified(4)["findings"];
    assert_eq!(
        (findings[0]["what"].as_str(), findings.as_array().unwrap().len()),
        (Some("torn"), 1),
        "{findings}"
    );

    // The newest stays, since nobody knows whether it is being written.
    tools.run(&["prune", ROOT, "--older-than", "90d", "--dry-run"]).with(4);
    assert_eq!(tools.json(&["ls", ROOT], 0).len(), PARTITIONS, "a dry run deletes nothing");
    tools.run(&["prune", ROOT, "--older-than", "90d"]).with(4);
    assert_eq!(tools.json(&["ls", ROOT], 0).len(), 1);
}

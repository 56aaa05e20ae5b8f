//! `run FILE --replay`: the same topology over what it captured.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::s3_server::S3Server;
use support::{Ended, Sandbox, lake};

/// Posts of two sources into one lake, and the words of one of them counted.
const TOPOLOGY: &str = r#"Topology(
    name: "pipeline",
    spouts: {
        "tweets": Spout(run: Generate(posts: 3000, platforms: [X], seed: 1)),
        "others": Spout(run: Generate(posts: 500, platforms: [Bluesky, Mastodon], seed: 2), parallelism_hint: 2),
    },
    bolts: {
        "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("tweets")], parallelism_hint: 2),
        "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])], parallelism_hint: 2),
        "print": Bolt(run: Stdout(), inputs: [Global("count")]),
        "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("tweets"), Shuffle("others")], parallelism_hint: 2),
    },
    micro_batch: MicroBatch(posts: 100),
)"#;

const ELSEWHERE: [&str; 2] = ["--set", "bolts.lake.run.root=second"];

fn captured() -> (Sandbox, BTreeMap<String, u64>) {
    let sandbox = Sandbox::new();
    sandbox.write("t.ron", TOPOLOGY);
    let live = sandbox.run(&["run", "t.ron"]).with(0);
    (sandbox, counts(&live))
}

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["run", "t.ron", "--replay", "lake/2*"], &ELSEWHERE[..], more].concat()
}

/// Returns the count of each word: the largest number that was printed for the word.
fn counts(ended: &Ended) -> BTreeMap<String, u64> {
    let counts = printed(ended);
    assert!(!counts.is_empty());
    counts
}

/// The same of one that may have been killed while it printed.
fn printed(ended: &Ended) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in ended.out.lines() {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let count = counts.entry(line["word"].as_str().unwrap().to_owned()).or_insert(0);
        *count = line["count"].as_u64().unwrap().max(*count);
    }
    counts
}

/// All files below a folder, with what is in them.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = glob(&format!("{}/**/*", folder.display()));
    files
        .into_iter()
        .filter(|path| Path::new(path).is_file())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn glob(pattern: &str) -> Vec<String> {
    ::glob::glob(pattern).unwrap().map(|path| path.unwrap().display().to_string()).collect()
}

#[test]
fn the_same_topology_over_its_lake_gives_the_same_and_leaves_the_live_run_as_it_was() {
    let (sandbox, live) = captured();
    let before = (tree(&sandbox.path("state")), tree(&sandbox.path("lake")));
    let ended =
        sandbox.run(&replay(&[])).with(0).says(&["replaying lake/2*", "pipeline-", "-replay-"]);
    assert_eq!(counts(&ended), live);
    assert_eq!(lake(&sandbox.path("second"), false), lake(&sandbox.path("lake"), false));
    assert_eq!((ended.total("tweets", "emitted"), ended.total("others", "emitted")), (3000, 500));
    assert!(!ended.err.contains("no spout takes"), "{}", ended.err);

    let after = tree(&sandbox.path("state"));
    assert!(
        before.0.iter().all(|(path, bytes)| after.get(path) == Some(bytes)),
        "the live run's state was touched"
    );
    assert_eq!(before.1, tree(&sandbox.path("lake")));
    let states = sandbox.run(&["state", "ls"]).with(0).out;
    assert!(states.contains("t.ron --replay ") && states.lines().count() == 3, "{states}");

    // The live run has finished, and so has this replay; another one hasn't.
    sandbox.run(&replay(&[])).with(0).says(&["nothing new"]);
    assert_eq!(lake(&sandbox.path("second"), false).len(), 3500, "nothing was added");
    let again = sandbox.run(&replay(&["--only", "count", "--order", "time"])).with(0);
    assert_eq!(again.total("count", "received"), ended.total("count", "received"));
    assert!(
        again.reports().last().unwrap()["components"]
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["id"] != "others")
    );
    fs::remove_dir_all(sandbox.path("second")).unwrap();
    let fresh = sandbox.run(&replay(&["--fresh"])).with(0);
    assert_eq!(counts(&fresh), live);
    assert_eq!(lake(&sandbox.path("second"), false).len(), 3500);
}

#[test]
fn posts_that_no_spout_takes_are_counted_by_their_kinds() {
    let (sandbox, live) = captured();
    let set = ["--set", "spouts.others.run.platforms=[Bluesky]"];
    let ended = sandbox
        .run(&replay(&set))
        .with(0)
        .says(&["posts are of a kind", "that no spout takes"][1..]);
    let toots = lake(&sandbox.path("lake"), false)
        .iter()
        .filter(|post| post.starts_with("{\"toot\""))
        .count();
    assert!(
        toots > 0 && ended.err.contains(&format!("takes: {toots} \\\"toot\\\"")),
        "{toots}: {}",
        ended.err
    );
    assert_eq!(counts(&ended), live);
}

#[test]
fn what_would_double_the_lake_or_is_not_clear_is_refused() {
    let (sandbox, _) = captured();
    std::os::unix::fs::symlink(sandbox.path("lake"), sandbox.path("link")).unwrap();
    for given in ["lake/2*", "lake", "link/2*", "./x/../lake/*"] {
        let ended = sandbox.run(&["run", "t.ron", "--replay", given]).with(1);
        ended.says(&[
            "sink \\\"lake\\\" would write into the lake that is read".replace('\\', "").as_str(),
            given,
        ]);
    }
    sandbox.run(&["run", "t.ron", "--replay", "lake/2*", "--only", "count"]).with(0);
    let same = ["--set", "spouts.others.run.platforms=[X]"];
    sandbox
        .run(&replay(&same))
        .with(1)
        .says(&["--replay tweets=lake/2* or --replay others=lake/2*"]);
    let named = [&replay(&same)[..], &["--replay", "tweets=lake/2*"]].concat();
    sandbox.run(&named).with(0);
    sandbox.run(&["run", "t.ron", "--only", "count"]).with(2);
    sandbox.run(&["run", "t.ron", "--replay", "lake/2*", "--dead-letters"]).with(2);
    assert_eq!(lake(&sandbox.path("lake"), false).len(), 3500, "nothing was added");
}

#[test]
fn a_state_is_a_replays_or_the_live_runs_and_never_both() {
    let (sandbox, _) = captured();
    let live = glob(&format!("{}/waterspout/*", sandbox.path("state").display())).pop().unwrap();
    sandbox.run(&replay(&["--state", &live])).with(1).says(&["is the state of another run"]);
    sandbox
        .run(&replay(&["--state", &live, "--fresh"]))
        .with(1)
        .says(&["is the state of another run"]);
    sandbox.run(&replay(&["--state", "own"])).with(0);
    sandbox.run(&["run", "t.ron", "--state", "own"]).with(1).says(&["is the state of another run"]);
    sandbox.run(&["run", "t.ron"]).with(6).says(&["nothing new"]);
}

#[test]
fn a_replay_needs_no_secrets_of_the_sources_that_it_replaces() {
    let sandbox = Sandbox::new();
    let source = "S3Replay(bucket: \"lake\", access_key_id: Env(\"NOBODY_SETS_THIS\"), secret_access_key: File(\"none\"))";
    let topology = TOPOLOGY.replace("Generate(posts: 3000, platforms: [X], seed: 1)", source);
    sandbox.write("t.ron", TOPOLOGY);
    sandbox.run(&["run", "t.ron"]).with(0);
    sandbox.write("t.ron", topology);
    sandbox.run(&["run", "t.ron", "--fresh"]).with(3).says(&["\"NOBODY_SETS_THIS\" is not set"]);
    let given = [&["--replay", "tweets=lake"], &ELSEWHERE[..]].concat();
    let ended = sandbox.run(&[&["run", "t.ron"], &given[..]].concat()).with(0);
    assert_eq!((ended.total("tweets", "emitted"), ended.total("others", "emitted")), (3500, 0));
    ended.says(&["spout \\\"others\\\" sends nothing"]);
}

#[test]
fn a_replay_that_is_killed_goes_on_where_it_was() {
    for order in ["partition", "time"] {
        let (sandbox, live) = captured();
        let fast = [
            "--set",
            "checkpoint.every=2ms",
            "--set",
            "micro_batch.posts=20",
            "--set",
            "memory=1MiB",
        ];
        let arguments = replay(&[&fast[..], &["--order", order]].concat());
        let (mut kills, mut counted) = (0, BTreeMap::new());
        let mut take = |ended: &Ended| {
            for (word, count) in printed(ended) {
                let known = counted.entry(word).or_insert(0);
                *known = count.max(*known);
            }
        };
        for (point, after) in
            [("lake.write", 20), ("state.committed", 3), ("disk.rename", 13), ("lake.sync", 5)]
        {
            let faults = format!("{point}={after}*off->return");
            let ended = sandbox.run_with(&arguments, &[("FAILPOINTS", &faults)]);
            kills += usize::from(ended.code.is_none());
            take(&ended);
        }
        assert!(kills > 2, "it was killed {kills} times");
        take(&sandbox.run(&arguments).with(0));
        assert_eq!(
            lake(&sandbox.path("second"), false),
            lake(&sandbox.path("lake"), false),
            "{order}"
        );
        assert_eq!(counted, live, "over all of these runs each word was counted once, {order}");
    }
}

#[test]
fn a_replay_has_its_own_tempo() {
    let sandbox = Sandbox::new();
    // Posts of an hour, and 3,600 times as fast is a second.
    let topology = TOPOLOGY
        .replace("posts: 3000", "posts: 3000, rate: 1000000")
        .replace("posts: 500", "posts: 1");
    sandbox.write("t.ron", topology);
    sandbox.run(&["run", "t.ron"]).with(0);
    let slow = sandbox.run(&replay(&["--speed", "0.01", "--only", "count"])).with(0);
    let fast = sandbox.run(&replay(&["--only", "words"])).with(0);
    assert_eq!(slow.total("tweets", "emitted"), fast.total("tweets", "emitted"));
    let took = |ended: &Ended| ended.reports().last().unwrap()["uptime_s"].as_f64().unwrap();
    assert!(
        took(&slow) >= 0.25,
        "3 ms of posts at a hundredth of their tempo take {}",
        took(&slow)
    );
}

#[test]
fn a_lake_in_a_bucket_is_replayed_and_never_written_into() {
    let server = S3Server::with_bucket("lake");
    let sandbox = Sandbox::new();
    let bucket = "S3(bucket: \"lake\", prefix: \"root\")";
    sandbox.write("t.ron", TOPOLOGY.replace("Local(root: \"lake\")", bucket));
    let endpoint = server.endpoint();
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("AWS_REGION", "us-east-1"),
    ];
    let live = sandbox.run_with(&["run", "t.ron"], &environment).with(0);
    let keys = server.keys("lake");
    assert!(keys.iter().any(|key| key.starts_with("root/_index/")), "{keys:?}");
    for given in ["s3://lake/root", "s3://lake/root/2*", "s3://lake"] {
        let ended = sandbox.run_with(&["run", "t.ron", "--replay", given], &environment).with(1);
        ended.says(&["sink \"lake\" would write into the lake that is read", "s3://lake/root"]);
    }
    let elsewhere = ["--set", "bolts.lake.run=Local(root: \"second\")"];
    for order in ["partition", "time"] {
        let replay = ["run", "t.ron", "--replay", "s3://lake/root/2*", "--order", order];
        let ended = sandbox.run_with(&[&replay[..], &elsewhere].concat(), &environment).with(0);
        assert_eq!(counts(&ended), counts(&live));
        assert_eq!(lake(&sandbox.path("second"), false).len(), 3500);
        fs::remove_dir_all(sandbox.path("second")).unwrap();
    }
    assert_eq!(server.keys("lake"), keys, "nothing was added");
}

#[test]
fn shards_and_ranges_of_time_are_replays_of_their_own() {
    let (sandbox, _) = captured();
    let tweets = |more: &[&str]| {
        let ended = sandbox.run(&replay(&[more, &["--only", "words"]].concat())).with(0);
        ended.total("tweets", "emitted")
    };
    assert_eq!(tweets(&["--shard", "0/2"]) + tweets(&["--shard", "1/2"]), 3000);
    assert_eq!(tweets(&["--from", "9000-01-01"]), 0);
    assert_eq!(tweets(&["--to", "9000-01-01"]), 3000);
}

#[test]
fn a_file_that_is_not_what_the_index_says_stops_a_replay_or_is_named() {
    let (sandbox, live) = captured();
    let file = glob(&format!("{}/2*/0000003", sandbox.path("lake").display())).pop().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let altered = text.replacen("\":{", "\": {", 1);
    assert_ne!(altered, text);
    fs::write(&file, altered).unwrap();
    sandbox.run(&replay(&[])).with(1).says(&["0000003\" is damaged", "in the index"]);
    fs::remove_dir_all(sandbox.path("second")).unwrap();
    let ended = sandbox.run(&replay(&["--skip-damaged", "--fresh"])).with(0);
    assert_eq!(counts(&ended), live);
    ended.says(&["its posts are handed over"]);
}

/// Lakes whose paths and folders have every kind of name, with three posts each.
const NAMES: [&str; 6] =
    ["lake [2025]", "größe ü/lake", "a*b?", "[x]/{a,b}", "with space", "plain"];

/// A topology that reads lines into a lake.
fn capture(root: &str) -> String {
    format!(
        "Topology(name: \"t\", spouts: {{\"in\": Spout(run: Lines(paths: [\"in.ndjson\"]))}},
         bolts: {{\"lake\": Bolt(run: Local(root: {root:?}), inputs: [Shuffle(\"in\")])}})"
    )
}

fn three_posts(sandbox: &Sandbox) {
    let post = |i: i64| {
        format!("{{\"tweet\":{{\"id\":\"{i}\",\"created_at\":\"2025-11-24T00:00:0{i}Z\"}}}}\n")
    };
    sandbox.write("in.ndjson", (1..4).map(post).collect::<String>());
}

#[test]
fn what_exists_is_a_path_for_replays_and_tools_alike() {
    let sandbox = Sandbox::new();
    three_posts(&sandbox);
    for (number, name) in NAMES.into_iter().enumerate() {
        sandbox.write("t.ron", capture(name));
        sandbox.run(&["run", "t.ron", "--state", &format!("st{number}")]).with(0);
        let folder =
            fs::read_dir(sandbox.path(name)).unwrap().map(|entry| entry.unwrap().file_name());
        let partition = folder
            .map(|name| name.into_string().unwrap())
            .find(|name| name.starts_with("2"))
            .unwrap();
        let whole = sandbox.path(name).display().to_string();
        let (one, glob) = (format!("{name}/{partition}"), format!("./{name}/2*"));
        for address in [name, &format!("{name}//"), &whole, &one, &glob] {
            for command in [&["replay"][..], &["lake", "cat"], &["replay", "--order", "time"]] {
                let ended = sandbox.run(&[command, &[address]].concat()).with(0);
                assert_eq!(ended.out.lines().count(), 3, "{command:?} {address}");
            }
            for tool in ["ls", "verify"] {
                sandbox.run(&["lake", tool, address]).with(0);
            }
            let _ = fs::remove_dir_all(sandbox.path("second"));
            let replay = [
                "run",
                "t.ron",
                "--replay",
                address,
                "--set",
                "bolts.lake.run.root=second",
                "--fresh",
            ];
            sandbox.run(&replay).with(0).says(&["replaying"]);
            assert_eq!(lake(&sandbox.path("second"), false).len(), 3, "{address}");
            let own = sandbox.run(&["run", "t.ron", "--replay", address, "--fresh"]).with(1);
            own.says(&["would write into the lake that is read"]);
        }
        sandbox.write(
            "again.ron",
            format!(
                "Topology(name: \"a\", spouts: {{\"in\": Spout(run: LocalReplay(root: {name:?}))}},
             bolts: {{\"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"in\")])}})"
            ),
        );
        let again =
            sandbox.run(&["run", "again.ron", "--state", &format!("again{number}")]).with(0);
        assert_eq!(again.out.lines().count(), 3, "{name}");
    }
    // A folder of numbered files is a partition, whatever its name.
    let plain = glob(&format!("{}/2*", sandbox.path("plain").display())).pop().unwrap();
    fs::create_dir_all(sandbox.path("others")).unwrap();
    fs::rename(plain, sandbox.path("others/file with [x]")).unwrap();
    for address in ["others/file with [x]", "others", "others/file*", "others/file with [x]/"] {
        assert_eq!(sandbox.run(&["replay", address]).with(0).out.lines().count(), 3, "{address}");
    }
    sandbox.run(&["replay", "others/nothing*"]).with(1).says(&["matches \"nothing*\""]);
    sandbox.run(&["replay", "nowhere/*"]).with(1).says(&["no lake at \"nowhere/*\""]);
    sandbox
        .run(&["replay", "*/2*"])
        .with(1)
        .says(&["only the last part of an address can be a glob"]);
    sandbox.run(&["run", "t.ron", "--replay", "nowhere"]).with(1).says(&["no lake at \"nowhere\""]);
}

#[test]
fn posts_are_chosen_by_their_own_time_and_times_may_lie_before_now() {
    let sandbox = Sandbox::new();
    three_posts(&sandbox);
    sandbox.write("t.ron", capture("lake"));
    sandbox.run(&["run", "t.ron"]).with(0);
    let printed = |more: &[&str]| {
        sandbox.run(&[&["replay", "lake"], more].concat()).with(0).out.lines().count()
    };
    assert_eq!(printed(&["--posts-from", "2025-11-24T00:00:02Z"]), 2);
    assert_eq!(printed(&["--posts-to", "2025-11-24T00:00:02Z", "--order", "time"]), 1);
    assert_eq!(printed(&["--posts-from", "-1h"]), 0);
    assert_eq!(printed(&["--posts-to", "-1h"]), 3);
    // The partition is of now.
    assert_eq!(printed(&["--from", "-2h"]), 3);
    assert_eq!(printed(&["--to", "-2h"]), 0);
    let set = ["--set", "bolts.lake.run.root=second"];
    let run = ["run", "t.ron", "--replay", "lake", "--posts-from", "2025-11-24T00:00:03Z"];
    sandbox.run(&[&run[..], &set].concat()).with(0);
    assert_eq!(lake(&sandbox.path("second"), false).len(), 1);
    // A time before now is another in the next minute: what goes on after a crash is printed, and
    // does.
    let hour = |from: &str| {
        let run = [
            "run",
            "t.ron",
            "--replay",
            "lake",
            "--from",
            from,
            "--set",
            "bolts.lake.run.root=third",
        ];
        sandbox.run(&run).with(0)
    };
    let said = hour("-1h")
        .says(&["-1h counted from now: the command that goes on after a crash has --from 2"])
        .err;
    let time: String =
        said.split("has --from ").nth(1).unwrap().chars().take_while(|c| *c != '"').collect();
    let time = time.split(|c: char| c.is_whitespace() || c == ';').next().unwrap();
    hour(time).says(&["nothing new"]);
    assert_eq!(lake(&sandbox.path("third"), false).len(), 3, "each once");
    for (arguments, why) in [
        (
            ["--speed", "fast"],
            "a factor of the original tempo from 0.000001 to 1000000000 such as 60",
        ),
        (["--speed", "1e-300"], "a factor of the original tempo from"),
        (["--shard", "2/2"], "expected I/N with I from 0 to N - 1, such as 0/2 and 1/2"),
        (["--from", "-1y"], "a time before now, such as -1h"),
        (["--max-pause", "9999999d"], "at most 36600d (100 years)"),
    ] {
        sandbox.run(&[&["replay", "lake"][..], &arguments].concat()).with(2).says(&[why]);
    }
    sandbox
        .run(&["lake", "prune", "lake", "--older-than", "9999999d"])
        .with(2)
        .says(&["at most 36600d"]);
    sandbox.run(&["lake", "compact", "lake", "--closed-before", "-36600d"]).with(0);
}

#[test]
fn a_stray_post_holds_up_no_paced_replay() {
    let sandbox = Sandbox::new();
    let times = [
        "1970-01-01T00:00:00Z",
        "2025-11-24T00:00:00Z",
        "2099-01-01T00:00:00Z",
        "2025-11-24T00:00:01Z",
    ];
    let post = |(id, time): (usize, &&str)| {
        format!("{{\"tweet\":{{\"id\":\"{id}\",\"created_at\":\"{time}\"}}}}\n")
    };
    sandbox.write("in.ndjson", times.iter().enumerate().map(post).collect::<String>());
    sandbox.write("t.ron", capture("lake"));
    sandbox.run(&["run", "t.ron"]).with(0);
    for order in ["partition", "time"] {
        let tempo = ["--speed", "60", "--max-pause", "1s", "--order", order];
        let ended = sandbox.run(&[&["replay", "lake"][..], &tempo].concat()).with(0);
        assert_eq!(ended.out.lines().count(), 4);
        let ended = ended
            .says(&["pauses for 1s before the next post, which is due in 340d (see max_pause)"]);
        assert_eq!(
            ended.err.contains("1 post came out of order"),
            order == "partition",
            "{}",
            ended.err
        );
        let _ = fs::remove_dir_all(sandbox.path("second"));
        let run =
            ["run", "t.ron", "--replay", "lake", "--set", "bolts.lake.run.root=second", "--fresh"];
        let ended = sandbox.run(&[&run[..], &tempo].concat()).with(0);
        assert_eq!(lake(&sandbox.path("second"), false).len(), 4);
        assert_eq!(ended.total("in", "out_of_order"), u64::from(order == "partition"));
    }
}

/// Counts of many more words than are kept: what is known stays within its bound, and so does the
/// state's file.
#[test]
fn a_count_keeps_as_many_keys_as_it_may_and_its_state_stops_growing() {
    let sandbox = Sandbox::new();
    let words = |from: usize, to: usize| -> String {
        (from..to).map(|i| format!("{{\"tweet\":{{\"text\":\"w{i}\"}}}}\n")).collect()
    };
    sandbox.write("in.ndjson", words(0, 60_000));
    sandbox.write(
        "t.ron",
        r#"Topology(
        name: "t",
        spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"], follow: true))},
        bolts: {
            "words": Bolt(run: Words(field: "text"), inputs: [Shuffle("in")]),
            "count": Bolt(run: Count(fields: ["word"], max_keys: 2000), inputs: [Fields("words", ["word"])]),
            "null": Bolt(run: Null(), inputs: [Shuffle("count")]),
        },
        checkpoint: Checkpoint(every: "20ms"),
    )"#,
    );
    let mut running = sandbox.start(&["run", "t.ron", "--interval", "100ms"]);
    let of = |report: &serde_json::Value, key: &str| {
        let components = report["components"].as_array().unwrap().clone();
        components.iter().find(|component| component["id"] == "count").unwrap()[key]
            .as_u64()
            .unwrap_or(0)
    };
    let mut lengths = Vec::new();
    for total in [60_000, 120_000, 180_000, 240_000] {
        let length = std::cell::Cell::new(0);
        running.wait_for("the counts", |report| {
            length.set(report["state_file_bytes"].as_u64().unwrap_or(0));
            assert!(of(report, "keys") <= 2_000);
            of(report, "received") == total
        });
        lengths.push(length.get());
        let mut file = fs::OpenOptions::new().append(true).open(sandbox.path("in.ndjson")).unwrap();
        std::io::Write::write_all(
            &mut file,
            words(total as usize, total as usize + 60_000).as_bytes(),
        )
        .unwrap();
    }
    running.terminate();
    let ended = running.end().with(0);
    ended.says(&["count has as many keys as its max_keys allows"]);
    assert!(lengths[3] <= lengths[1] * 2, "the file of a state of 2,000 keys grows: {lengths:?}");
}

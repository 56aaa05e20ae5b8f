//! Commands that attach to a running topology: what they do to it, and what they say.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "control/border.rs"]
mod border;
mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::Sandbox;

/// Counts words without an end, and prints each count.
const COUNTING: &str = r#"Topology(
    name: "counting",
    spouts: {"posts": Spout(run: Generate(rate: 2000), parallelism_hint: 2)},
    bolts: {
        "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("posts")]),
        "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
        "out": Bolt(run: Stdout(), inputs: [Shuffle("count")]),
    },
    checkpoint: Checkpoint(every: "20ms"),
)"#;

/// How often each word was counted, and how often it was printed: the same, if nothing is lost or
/// repeated.
fn counts(lines: &str) -> BTreeMap<String, (i64, i64)> {
    let mut counts: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for line in lines.lines() {
        let tuple: serde_json::Value = serde_json::from_str(line).unwrap();
        let entry = counts.entry(tuple["word"].as_str().unwrap().to_owned()).or_default();
        *entry = (entry.0.max(tuple["count"].as_i64().unwrap()), entry.1 + 1);
    }
    counts
}

#[test]
fn a_running_topology_is_rebalanced_shown_and_stopped_by_other_commands() {
    let sandbox = Sandbox::new();
    sandbox.write("t.ron", COUNTING);
    let mut running = sandbox.start(&["run", "t.ron", "--state", "state", "--interval", "50ms"]);
    running.wait_for("words are counted", |report| support::total(report, "out", "received") > 100);
    for (changes, said) in [
        (&["count=3"][..], "count 1 → 3"),
        (&["words=2", "count=2"], "count 3 → 2, words 1 → 2"),
        (&["posts=1", "words=1", "count=1", "out=2"], "words 2 → 1"),
    ] {
        let ended = sandbox.run(&[&["rebalance", "--state", "state"], changes].concat()).with(0);
        assert!(ended.out.contains("rebalanced in ") && ended.out.contains(said), "{}", ended.out);
        let before = std::cell::Cell::new(None);
        running.wait_for("it goes on", |report| {
            let received = support::total(report, "out", "received");
            received > *before.get().get_or_insert(received) || {
                before.set(before.get().or(Some(received)));
                false
            }
        });
    }
    let status = sandbox.run(&["status", "--state", "state", "--json"]).with(0);
    assert_eq!(
        support::total(&serde_json::from_str(status.out.trim()).unwrap(), "count", "tasks"),
        1
    );
    sandbox
        .run(&["rebalance", "--state", "state", "cuont=2"])
        .with(1)
        .says(&["no component \"cuont\"", "\"count\""]);
    sandbox
        .run(&["rebalance", "--state", "state", "count=2000"])
        .with(1)
        .says(&["1024 tasks at most"]);
    sandbox.run(&["stop", "--state", "state"]).with(0);
    let ended = running.end().with(0);
    for (word, (highest, lines)) in counts(&ended.out) {
        assert_eq!(highest, lines, "of {word}");
    }
    sandbox.run(&["status", "--state", "state"]).with(1);
    sandbox.run(&["stop", "t.ron"]).with(1);
}

#[test]
fn a_changed_file_on_an_old_state_is_refused_until_the_state_is_let_go_of() {
    let sandbox = Sandbox::new();
    let old = COUNTING.replace("rate: 2000", "posts: 100");
    sandbox.write("t.ron", &old);
    sandbox.run(&["run", "t.ron", "--state", "state"]).with(0);
    let new = old.replace(
        "Count(fields: [\"word\"]), inputs: [Fields(\"words\", [\"word\"])]",
        "Null(), inputs: [Shuffle(\"words\")]",
    );
    sandbox.write(
        "new.ron",
        new.replace("\"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"count\")]),", ""),
    );
    let diff = sandbox.run(&["diff", "t.ron", "new.ron"]).with(4).out;
    assert!(diff.contains("count  dropped: it was a Count, and is a Null"), "{diff}");
    // It has finished, and says so; what another file would drop is refused all the same.
    sandbox.run(&["run", "t.ron", "--state", "state"]).with(6).says(&["nothing new", "--fresh"]);
    sandbox.run(&["run", "new.ron", "--state", "state"]).with(1).says(&["--drop-state count"]);
    sandbox.run(&["run", "t.ron", "--state", "state", "--fresh"]).with(0);
    sandbox.run(&["state", "rm", "state"]).with(0);
    assert!(!sandbox.path("state").exists());
}

#[test]
fn a_state_whose_lake_is_gone_is_refused() {
    let sandbox = Sandbox::new();
    let lake = r#"Topology(name: "lake", spouts: {"in": Spout(run: Generate(posts: POSTS))},
        bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])})"#;
    sandbox.write("t.ron", lake.replace("posts: POSTS", "rate: 1000"));
    let arguments = ["run", "t.ron", "--state", "state", "--interval", "50ms"];
    let mut running = sandbox.start(&arguments);
    running.wait_for("a checkpoint", |report| report["epoch"].as_u64() > Some(0));
    running.terminate();
    running.end().with(0);
    std::fs::remove_dir_all(sandbox.path("lake")).unwrap();
    sandbox.run(&arguments).with(1).says(&["lake\" is gone", "--fresh"]);
    sandbox.write("t.ron", lake.replace("POSTS", "10"));
    sandbox.run(&["run", "t.ron", "--state", "state", "--fresh"]).with(0);
}

/// A source whose spool lies in the folder for temporary files, with others beside it.
const NOT_DURABLE: &str = r##"Topology(
    name: "off",
    spouts: {
        "in": Spout(run: Mastodon(
            instance: "fake.example", base_url: "http://127.0.0.1:9", access_token: Env("MASTODON_TOKEN"), topics: ["#storm"],
        )),
        "posts": Spout(run: Generate(rate: 100)),
    },
    bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in"), Shuffle("posts")])},
    checkpoint: Off,
)"##;

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn without_checkpoints_nothing_is_left_in_temporary_folders_however_the_run_ends() {
    let arguments = ["run", "off.ron", "--state", "off-state", "--interval", "50ms"];
    // A source that never got anything is exit code 1; the second signal comes in a drain that
    // hangs.
    let ways = [("", 1, 1), ("disk.rename=sleep(100000)", 2, 5), ("lake.write=return(EIO)", 0, 1)];
    for (faults, signals, code) in ways {
        let sandbox = Sandbox::new();
        sandbox.write("off.ron", NOT_DURABLE);
        let temporary = sandbox.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let environment = [
            ("TMPDIR", temporary.to_str().unwrap()),
            ("MASTODON_TOKEN", "token"),
            ("FAILPOINTS", faults),
        ];
        let mut running = sandbox.start_with(&arguments, &environment);
        running.wait_for("the source has begun", |report| {
            report["message"].as_str().is_some_and(|message| message.contains("is tried again"))
        });
        let folders = names_in(&temporary);
        assert!(folders.len() == 1 && folders[0].starts_with("waterspout-"), "{folders:?}");
        assert_eq!(mode(&temporary.join(&folders[0])), 0o700);
        assert_eq!(mode(&sandbox.path("off-state")), 0o700);
        if signals > 0 {
            running.terminate();
        }
        if signals > 1 {
            running.wait_for("the drain", |report| report["phase"] != "running");
            running.terminate();
        }
        running.end().with(code);
        assert_eq!(names_in(&temporary), [""; 0], "after {faults:?} and {signals} signals");
        assert!(signals == 2 || !sandbox.path("off-state").exists());
    }
}

//! The program from outside: what is typed, what comes out, and with which exit code.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "cli/book.rs"]
mod book;
#[path = "cli/features.rs"]
mod features;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/packaging.rs"]
mod packaging;
mod support;
#[path = "cli/topology_tests.rs"]
mod topology_tests;
#[path = "cli/usage.rs"]
mod usage;

use std::collections::{BTreeMap, HashSet};
use std::fs;

use serde_json::Value;

use support::{Sandbox, files_by_partition, lake, repository, sorted, topologies, total};

const CAPTURE: &str = "topologies/capture.ron";

/// What the topologies of the platforms take from the environment.
const TOKENS: [(&str, &str); 1] = [("X_BEARER_TOKEN", "token")];

/// Posts of which many are awkward: escapes, scripts, space within them, numbers of many digits.
fn posts(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| match n % 6 {
            0 => format!(r#"{{"tweet":{{"id":{n},"text":"one two {n}"}}}}"#),
            1 => format!(r#"{{ "note" : {{ "n": {n} , "list": [1, 2.50, -0e0] }} }}"#),
            2 => format!(r#"{{"note":{{"lone":"\ud800","nul":"\u0000","n":{n}}}}}"#),
            3 => format!(r#"{{"post":{{"id":"{n}","message":"žluťoučký 日本語 🐎 \\ \" \/"}}}}"#),
            4 => format!(r#"{{"note":"{n}{}"}}"#, "x".repeat(n % 900)),
            _ => r#"{"note":"always the same"}"#.to_owned(),
        })
        .collect()
}

fn lines_of(posts: &[String]) -> String {
    posts.iter().map(|post| format!("{post}\n")).collect()
}

fn sorted_posts(posts: &[String]) -> Vec<String> {
    sorted(posts.iter().map(String::as_str))
}

/// The arguments that run a file with some values changed.
fn run<'a>(file: &'a str, sets: &[&'a str]) -> Vec<&'a str> {
    ["run", file].into_iter().chain(sets.iter().flat_map(|set| ["--set", *set])).collect()
}

/// `capture.ron` with a file as its source.
fn capture(file: &str, posts: &str) -> Vec<String> {
    let paths = format!("spouts.input.run.paths=[\"{posts}\"]");
    run(file, &[&paths]).into_iter().map(str::to_owned).collect()
}

#[test]
fn every_topology_of_the_repository_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    sandbox.run(&run("one.ron", &[])).with(0);
    fs::rename(sandbox.path("lake"), sandbox.path("lake-before")).unwrap();

    for name in topologies() {
        let (sets, input): (&[&str], &str) = match name.as_str() {
            "capture.ron" => (&[], "{\"note\":1}\n{\"note\":2}\n"),
            "files.ron" => (
                &["spouts.input.run.paths=[\"-\"]", "bolts.lake.run.root=files-lake"],
                "{\"note\":1}\n{\"note\":2}\n",
            ),
            // tests/s3_sink.rs has a server; here the lake is a folder.
            "s3.ron" => (
                &[
                    "spouts.posts.run=Generate(posts: 50)",
                    "bolts.lake.run=Local(root: \"s3-lake\")",
                ],
                "",
            ),
            "demo.ron" => (&["spouts.posts.run=Generate(posts: 50)"], ""),
            "alerts.ron" => (&["spouts.posts.run.posts=50", "bolts.alert.run=Null()"], ""),
            "groupings.ron" | "hashtags.ron" | "keys.ron" => (&["spouts.posts.run.posts=50"], ""),
            "quickstart.ron" => (&["spouts.posts.run=Generate(posts: 50)"], ""),
            "replay.ron" => (&["spouts.posts.run.root=lake-before"], ""),
            "trends.ron" => (&["spouts.posts.run.posts=50"], ""),
            "wordcount.ron" => (&["spouts.posts.run.posts=50"], ""),
            // It needs a server: tests/warehouse/runs.rs runs it.
            "warehouse.ron" => continue,
            // Those of the platforms are run by tests of their own, against the fake.
            "x.ron" | "facebook.ron" | "youtube.ron" | "bluesky.ron" | "mastodon.ron" => continue,
            // It waits for a reader: tests/readers/socket.rs is one.
            "replay_to_spark.ron" => continue,
            _ => panic!("topologies/{name} is run by no test: add it here"),
        };
        let file = repository(&format!("topologies/{name}"));
        sandbox.run(&["validate", &file]).with(0);
        let ended = sandbox.run_with_input(&run(&file, sets), input.as_bytes()).with(0);
        let has_lines = name == "capture.ron" || name == "files.ron";
        let (spout, expected) = if has_lines { ("input", 2) } else { ("posts", 50) };
        assert_eq!(ended.total(spout, "emitted"), expected, "{name}");
    }
    assert_eq!(lake(&sandbox.path("lake"), false).len(), 52, "of capture and quickstart");
    assert_eq!(lake(&sandbox.path("demo-lake"), false).len(), 50);
}

const ONE_LAKE: &str = r#"Topology(
    name: "one",
    spouts: {"posts": Spout(run: Generate(posts: 50))},
    bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("posts")])},
)"#;

#[test]
fn what_goes_into_a_lake_is_in_it_byte_for_byte_and_comes_out_again() {
    let sandbox = Sandbox::new();
    let posts = posts(5_000);
    sandbox.write("posts.ndjson", lines_of(&posts));
    let capture = capture(&repository(CAPTURE), "posts.ndjson");
    let mut arguments: Vec<&str> = capture.iter().map(String::as_str).collect();
    arguments.extend(["--set", "micro_batch=MicroBatch(posts: 300)"]);
    let ended = sandbox.run(&arguments).with(0);
    assert_eq!(ended.out, "", "standard output is for data");
    assert_eq!(ended.total("lake", "received"), 5_000);

    assert_eq!(lake(&sandbox.path("lake"), false), sorted_posts(&posts));
    let files = files_by_partition(&sandbox.path("lake"));
    assert!(
        files.len() >= 2,
        "a partition for each of the two tasks, and more when an hour ends: {files:?}"
    );
    assert!(files.iter().sum::<usize>() >= 17, "at most 300 posts in each: {files:?}");

    let replayed = sandbox.run(&["replay", "lake/2*"]).with(0);
    assert_eq!(replayed.sorted_lines(), sorted_posts(&posts));
    assert_eq!(replayed.err, "");
}

#[test]
fn a_lake_goes_into_another_lake() {
    let sandbox = Sandbox::new();
    let posts = posts(2_000);
    sandbox.write("posts.ndjson", lines_of(&posts));
    sandbox.run(&capture(&repository(CAPTURE), "posts.ndjson")).with(0);
    let copy = r#"Topology(
        name: "copy",
        spouts: {"from": Spout(run: LocalReplay(root: "lake"), parallelism_hint: 2)},
        bolts: {"to": Bolt(run: Local(root: "second"), inputs: [Shuffle("from")], parallelism_hint: 3)},
        micro_batch: MicroBatch(posts: 70),
    )"#;
    sandbox.write("copy.ron", copy);
    sandbox.run(&run("copy.ron", &[])).with(0);
    assert_eq!(lake(&sandbox.path("second"), false), sorted_posts(&posts));
    assert_eq!(
        lake(&sandbox.path("lake"), false),
        sorted_posts(&posts),
        "and the first one is as it was"
    );
}

#[test]
fn standard_input_may_have_a_mark_carriage_returns_and_empty_lines() {
    let sandbox = Sandbox::new();
    let posts = posts(200);
    let input =
        format!("\u{feff}{}\r\n\r\n\n{}\n  \n{}", posts[0], posts[1..199].join("\r\n"), posts[199]);
    sandbox.run_with_input(&run(&repository(CAPTURE), &[]), input.as_bytes()).with(0);
    assert_eq!(lake(&sandbox.path("lake"), false), sorted_posts(&posts));
}

#[test]
fn nothing_on_standard_input_is_a_clean_end() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&run(&repository(CAPTURE), &[])).with(0);
    assert_eq!(ended.total("input", "emitted"), 0);
}

#[test]
fn lines_that_are_no_posts_become_dead_letters() {
    let sandbox = Sandbox::new();
    let good = ["{\"note\":1}", "{\"note\":2}", "{\"note\":{\"lone\":\"\\ud800\\u0000\"}}"];
    let deep = format!("{{\"note\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let long = format!("{{\"note\":\"{}\"}}", "x".repeat(5_000));
    let bad: [&[u8]; 6] = [
        b"not json",
        b"[1]",
        b"{\"note\":\"\xff\"}",
        deep.as_bytes(),
        long.as_bytes(),
        b"{\"note\":1",
    ];
    let mut input = Vec::new();
    for line in
        [good[0].as_bytes()].into_iter().chain(bad).chain([good[1].as_bytes(), good[2].as_bytes()])
    {
        input.extend_from_slice(line);
        input.push(b'\n');
    }
    sandbox.write("posts.ndjson", input);
    let file = repository(CAPTURE);
    let sets =
        ["spouts.input.run.paths=[\"posts.ndjson\"]", "spouts.input.run.max_post_bytes=1KiB"];
    let ended = sandbox.run(&run(&file, &sets)).with(4);
    assert_eq!(ended.total("input", "dead_letters"), 6);

    assert_eq!(lake(&sandbox.path("lake"), true), sorted(good));
    let letters: Vec<Value> = lake(&sandbox.path("lake/_dead"), false)
        .iter()
        .map(|letter| serde_json::from_str(letter).unwrap())
        .collect();
    let mut by_line = BTreeMap::new();
    for letter in &letters {
        let dead = &letter["dead"];
        assert_eq!(dead["component"], "input");
        let error = dead["error"].as_str().unwrap();
        let (_, place) =
            error.split_once("posts.ndjson:").unwrap_or_else(|| panic!("no file in {error:?}"));
        let (line, reason) = place.split_once(": ").unwrap();
        by_line.insert(line.parse::<usize>().unwrap(), (reason, dead));
    }
    assert_eq!(by_line.keys().copied().collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
    assert_eq!(by_line[&2].1["raw"], "not json");
    assert_eq!(by_line[&3].1["raw"], "[1]");
    assert_eq!(by_line[&4].1["base64"], "eyJub3RlIjoi/yJ9");
    assert_eq!(by_line[&5].1["raw"], deep.as_str());
    assert_eq!(by_line[&6].1["raw"], &long[..1024], "as much of it as is allowed");
    assert_eq!(by_line[&7].1["raw"], "{\"note\":1");
    for (line, reason) in [(3, "array"), (4, "UTF-8"), (5, "deep"), (6, "max_post_bytes")] {
        assert!(by_line[&line].0.contains(reason), "line {line}: {}", by_line[&line].0);
    }
}

#[test]
fn two_processes_write_one_lake_at_once() {
    let sandbox = Sandbox::new();
    let posts = posts(4_000);
    let (first, second) = posts.split_at(2_000);
    sandbox.write("first.ndjson", lines_of(first));
    sandbox.write("second.ndjson", lines_of(second));
    let processes = ["first", "second"].map(|name| {
        let mut arguments = capture(&repository(CAPTURE), &format!("{name}.ndjson"));
        arguments.extend(["--state".to_owned(), format!("state-{name}")]);
        sandbox.start(&arguments)
    });
    for process in processes {
        process.end().with(0);
    }
    assert_eq!(lake(&sandbox.path("lake"), false), sorted_posts(&posts));
}

#[test]
fn a_signal_drains_and_the_lake_is_complete() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    let sets = [
        "spouts.posts.run=Generate(rate: 20000)",
        "bolts.lake.parallelism_hint=2",
        "checkpoint=Checkpoint(every: \"100ms\")",
        "micro_batch=MicroBatch(posts: 100)",
    ];
    let mut arguments = run("one.ron", &sets);
    arguments.extend(["--interval", "50ms"]);
    let mut running = sandbox.start(&arguments);
    running.wait_for("two checkpoints with posts", |report| {
        report["epoch"].as_u64() >= Some(2) && total(report, "lake", "received") > 500
    });
    running.terminate();
    let ended = running.end().with(0);
    assert_eq!(ended.reports().last().unwrap()["phase"], "stopped");
    let posts = lake(&sandbox.path("lake"), false);
    assert_eq!(
        posts.len() as u64,
        ended.total("posts", "emitted"),
        "everything that was emitted is there"
    );
    assert_eq!(posts.iter().collect::<HashSet<_>>().len(), posts.len(), "and nothing twice");
}

#[test]
fn a_second_signal_ends_at_once() {
    let sandbox = Sandbox::new();
    let file = repository("topologies/wordcount.ron");
    let mut arguments = run(&file, &["spouts.posts.run=Generate()"]);
    arguments.extend(["--interval", "50ms"]);
    let mut running = sandbox.start(&arguments);
    // Nobody reads standard output, so `print` stands still before the millionth word, and can't be
    // drained.
    running.stop_reading();
    running.wait_for("words", |report| total(report, "count", "received") > 5_000);
    running.terminate();
    running.wait_for("the drain", |report| report["phase"] == "draining");
    running.terminate();
    running.end().with(5);
}

#[test]
fn a_terminal_that_closes_is_a_signal_to_drain() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    let mut arguments = run("one.ron", &["spouts.posts.run=Generate(rate: 20000)"]);
    arguments.extend(["--interval", "50ms"]);
    let mut running = sandbox.start(&arguments);
    running.wait_for("a checkpoint with posts", |report| report["epoch"].as_u64() >= Some(1));
    running.signal("HUP");
    running.signal("HUP");
    let ended = running.end().with(0);
    assert_eq!(ended.reports().last().unwrap()["phase"], "stopped");
    assert_eq!(lake(&sandbox.path("lake"), false).len() as u64, ended.total("posts", "emitted"));
}

/// The lake's posts after a run of `files.ron`, which must end with a code.
fn lake_after(sandbox: &Sandbox, sets: &[&str], code: i32, says: &[&str]) -> usize {
    sandbox.run(&run("files.ron", sets)).with(code).says(says);
    lake(&sandbox.path("lake"), false).len()
}

#[test]
fn a_topology_that_has_finished_reads_what_is_new() {
    let sandbox = Sandbox::new();
    let text = r#"Topology(name: "files", spouts: {"in": Spout(run: Lines(paths: ["*.ndjson"]))},
        bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])})"#;
    sandbox.write("files.ron", text);
    sandbox.write("monday.ndjson", "{\"note\":1}\n{\"note\":2}\n");
    assert_eq!(lake_after(&sandbox, &[], 0, &["2 tuples"]), 2);
    assert_eq!(lake_after(&sandbox, &[], 0, &["nothing new"]), 2);
    sandbox.write("tuesday.ndjson", "{\"note\":3}\n");
    assert_eq!(lake_after(&sandbox, &[], 0, &["1 tuple "]), 3);
    sandbox.write("monday.ndjson", "{\"note\":1}\n{\"note\":2}\n{\"note\":4}\n{\"note\":5}\n");
    assert_eq!(lake_after(&sandbox, &[], 0, &["2 tuples"]), 5);
    sandbox.write("more.txt", "{\"note\":6}\n");
    let other = "spouts.in.run.paths=[\"more.txt\"]";
    assert_eq!(lake_after(&sandbox, &[other], 0, &["1 tuple "]), 6);
    assert_eq!(lake_after(&sandbox, &[other], 0, &["nothing new"]), 6);
    // What was read before, under another configuration, was asked for and isn't done.
    assert_eq!(
        lake_after(&sandbox, &["spouts.in.run.kind=x"], 6, &["configuration of", "--fresh"]),
        6
    );
    sandbox.write("monday.ndjson", "{\"note\":\"another file\"}\n");
    // The name has another file, and what was written to the one before isn't known.
    assert_eq!(lake_after(&sandbox, &[], 0, &["1 tuple ", "another file is there", "1 gap"]), 7);
    assert_eq!(lake_after(&sandbox, &[], 0, &["nothing new"]), 7);
    fs::remove_dir_all(sandbox.path("lake")).unwrap();
    sandbox.run(&run("files.ron", &[other])).with(1).says(&["is gone"]);
}

#[test]
fn a_file_that_is_rotated_between_two_runs_is_read_to_its_end() {
    for (paths, tasks) in [("x.log", 1), ("x.log*", 1), ("x.log*", 3)] {
        let sandbox = Sandbox::new();
        let text = format!(
            r#"Topology(name: "files", spouts: {{"in": Spout(run: Lines(paths: ["{paths}"]), parallelism_hint: {tasks})}},
                bolts: {{"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])}})"#
        );
        sandbox.write("files.ron", text);
        sandbox.write("x.log", "{\"note\":1}\n{\"note\":2}\n");
        assert_eq!(lake_after(&sandbox, &[], 0, &["2 tuples"]), 2);
        sandbox.write("x.log", "{\"note\":1}\n{\"note\":2}\n{\"note\":\"rest\"}\n");
        fs::rename(sandbox.path("x.log"), sandbox.path("x.log.1")).unwrap();
        sandbox.write("x.log", "{\"note\":\"new\"}\n");
        assert_eq!(lake_after(&sandbox, &[], 0, &["2 tuples"]), 4, "{paths} {tasks}");
        assert_eq!(lake_after(&sandbox, &[], 0, &["nothing new"]), 4);
        sandbox.run(&["gaps", "files.ron"]).with(0);
        // The rest is found nowhere: it is told, and in the ledger.
        fs::remove_file(sandbox.path("x.log")).unwrap();
        sandbox.write("x.log", "{\"note\":\"newer\"}\n");
        assert_eq!(
            lake_after(&sandbox, &[], 0, &["1 tuple ", "another file is there", "1 gap"]),
            5
        );
        let gaps = sandbox.run(&["gaps", "files.ron"]).with(4).out;
        assert!(gaps.contains("x.log") && gaps.contains("(line 1, byte 15)"), "{gaps}");
    }
}

#[test]
fn made_up_posts_are_made_once_and_more_or_others_when_they_are_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    let posts = |sets: &[&str], code, says: &[&str]| {
        sandbox.run(&run("one.ron", sets)).with(code).says(says);
        let posts = lake(&sandbox.path("lake"), false);
        assert_eq!(posts.iter().collect::<HashSet<_>>().len(), posts.len(), "nothing twice");
        posts.len()
    };
    assert_eq!(posts(&["spouts.posts.run=Generate(posts: 100)"], 0, &[]), 100);
    assert_eq!(
        posts(
            &["spouts.posts.run=Generate(posts: 100)"],
            6,
            &["nothing new", "run.seed=", "--fresh"]
        ),
        100
    );
    assert_eq!(posts(&["spouts.posts.run=Generate(posts: 150)"], 0, &["50 tuples"]), 150);
    assert_eq!(posts(&["spouts.posts.run=Generate(posts: 100, seed: 2)"], 0, &["100 tuples"]), 250);
    assert_eq!(posts(&["spouts.posts.run=Generate(posts: 150)"], 6, &["nothing new"]), 250);
}

#[test]
fn a_lake_that_grew_is_replayed_on() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    let replay = r#"Topology(name: "again", spouts: {"in": Spout(run: LocalReplay(root: "lake"))},
        bolts: {"second": Bolt(run: Local(root: "second"), inputs: [Shuffle("in")])})"#;
    sandbox.write("again.ron", replay);
    for (order, count) in [("Partition", 100), ("Time", 200), ("Partition", 300)] {
        let make = format!("spouts.posts.run=Generate(posts: {count})");
        sandbox.run(&run("one.ron", &[&make])).with(0);
        let order = format!("spouts.in.run.order={order}");
        sandbox.run(&run("again.ron", &[&order])).with(0).says(&["100 tuples"]);
        assert_eq!(lake(&sandbox.path("second"), false), lake(&sandbox.path("lake"), false));
    }
    sandbox.run(&run("again.ron", &[])).with(0).says(&["nothing new"]);
}

#[test]
fn a_copy_of_a_topology_is_told_of_and_a_moved_one_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ron", ONE_LAKE);
    sandbox.run(&run("a.ron", &["spouts.posts.run=Generate(posts: 10)"])).with(0);
    fs::copy(sandbox.path("a.ron"), sandbox.path("b.ron")).unwrap();
    let other =
        sandbox.run(&run("b.ron", &["spouts.posts.run=Generate(posts: 10, seed: 2)"])).with(0);
    assert!(!other.err.contains("warning"), "{}", other.err);
    fs::rename(sandbox.path("a.ron"), sandbox.path("c.ron")).unwrap();
    let moved = run("c.ron", &["spouts.posts.run=Generate(posts: 10)"]);
    let states = sandbox.run(&["state", "ls"]).out.lines().count();
    sandbox.run(&moved).with(1).says(&["was moved", "--state", "--fresh"]);
    assert_eq!(
        sandbox.run(&["state", "ls"]).out.lines().count(),
        states,
        "a start that failed leaves no state"
    );
    fs::copy(sandbox.path("c.ron"), sandbox.path("a.ron")).unwrap();
    sandbox.run(&moved).with(0).says(&["warning: the lake", "come a second time"]);
}

/// How often each word of the test's posts was counted in the end.
fn final_counts(lines: &str) -> BTreeMap<String, u64> {
    let mut seen: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
    for line in lines.lines() {
        let tuple: Value = serde_json::from_str(line).unwrap();
        let (word, count) =
            (tuple["word"].as_str().unwrap().to_owned(), tuple["count"].as_u64().unwrap());
        assert!(seen.entry(word).or_default().insert(count), "{line} came twice");
    }
    let last = |(word, counts): (String, HashSet<u64>)| {
        let last = counts.into_iter().max().unwrap();
        (word, last)
    };
    seen.into_iter().map(last).collect()
}

#[test]
fn counts_depend_neither_on_parallelism_nor_on_the_size_of_batches() {
    let sandbox = Sandbox::new();
    let mut expected = BTreeMap::new();
    let mut input = String::new();
    for post in 0_u64..600 {
        let words: Vec<_> =
            (0..10).map(|n| format!("w{}", (post * 7 + n * n) % (3 + post % 50))).collect();
        for word in &words {
            *expected.entry(word.clone()).or_default() += 1;
        }
        input += &format!("{{\"tweet\":{{\"text\":\"{}\"}}}}\n", words.join(" "));
    }
    sandbox.write("posts.ndjson", &input);
    let file = repository("topologies/wordcount.ron");
    for hint in [1, 2, 4] {
        for batch in [1, 7, 1024] {
            let mut sets = vec!["spouts.posts.run=Lines(paths: [\"posts.ndjson\"])".to_owned()];
            sets.extend(
                ["bolts.words", "bolts.count"].map(|id| format!("{id}.parallelism_hint={hint}")),
            );
            sets.extend(
                ["spouts.posts", "bolts.words", "bolts.count"]
                    .map(|id| format!("{id}.batch={batch}")),
            );
            let sets: Vec<_> = sets.iter().map(String::as_str).collect();
            let ended = sandbox.run(&[&run(&file, &sets)[..], &["--fresh"]].concat()).with(0);
            assert_eq!(ended.out.lines().count(), 6_000, "hints {hint}, batches of {batch}");
            assert_eq!(final_counts(&ended.out), expected, "hints {hint}, batches of {batch}");
        }
    }
}

#[test]
fn reports_are_a_line_of_json_each() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    let ended = sandbox.run(&run("one.ron", &[])).with(0);
    let reports = ended.reports();
    assert!(reports.len() >= 2, "the first and the last");
    assert!(
        reports.iter().all(|report| report["topology"] == "one" && report["components"].is_array())
    );
    assert_eq!(reports[0]["phase"], "running");
    assert_eq!(reports.last().unwrap()["phase"], "finished");
}

#[test]
fn what_is_missing_is_named_with_exit_code_1() {
    let sandbox = Sandbox::new();
    sandbox.run(&["run", "nowhere.ron"]).with(1).says(&["nowhere.ron"]);
    sandbox.run(&capture(&repository(CAPTURE), "nowhere.ndjson")).with(1).says(&["nowhere.ndjson"]);
    sandbox.run(&["replay", "no-lake/2*"]).with(1).says(&["no-lake"]);
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    let sandbox = Sandbox::new();
    sandbox.run(&["walk"]).with(2);
    sandbox.run(&["run"]).with(2);
    sandbox.run(&["run", "x.ron", "--set", "nothing"]).with(2);
    sandbox.run(&["graph", "x.ron", "--format", "png"]).with(2).says(&["mermaid"]);
    sandbox.run(&["components", "show", "Nonesuch"]).with(2);
    assert!(sandbox.run(&["--help"]).with(0).out.contains("Exit codes:"));
}

const WRONG: &str = r#"Topology(
    name: "wrong",
    spouts: {
        "posts": Spout(run: Genrate(posts: 10)),
    },
    bolts: {
        "words": Bolt(run: Words(feild: "text"), inputs: [Shuffle("posts")]),
        "count": Bolt(run: Null(), inputs: [Shuffle("wrods")], parallelism_hint: 0),
        "sink": Bolt(run: Null(), inputs: []),
    },
    checkpoint: Checkpoint(every: "1x"),
)
"#;

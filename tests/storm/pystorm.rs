//! Unmodified components of pystorm and Streamparse.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::project::{ids, input, nothing_is_lost, part, python, quickstart, topology};
use super::support::{Ended, Running, Sandbox, total};

const POSTS: usize = 1_000;

#[test]
fn a_drawing_says_that_tuples_may_come_again() {
    let sandbox = Sandbox::new();
    topology(&sandbox, "command: [\"x\"], fields: [\"id\"]", "");
    let drawn = sandbox.run(&["graph", "shell.ron"]).with(0).out;
    assert!(drawn.contains("guarantee: at least once"), "{drawn}");
    let shown = sandbox.run(&["components", "show", "Shell"]).with(0).out;
    assert!(shown.contains("Shell, a spout") && shown.contains("Shell, a bolt"), "{shown}");
}

/// Runs a bolt of parts/bolts.py over all posts.
fn run_bolt(sandbox: &Sandbox, class: &str, options: &str, more: &str) -> Ended {
    input(sandbox, POSTS);
    let (python, bolts) = (python("python"), part("bolts.py"));
    let shell =
        format!("command: [\"{python}\", \"{bolts}\", \"{class}\"], fields: [\"id\"]{options}");
    topology(sandbox, &shell, more);
    sandbox.run(&["run", "shell.ron"])
}

fn each_once(ended: &Ended) {
    nothing_is_lost(ended, POSTS);
    assert!(ids(ended).values().all(|times| *times == 1), "nothing failed, so nothing comes twice");
}

#[test]
fn streamparse_quickstart_runs_unmodified() {
    let sandbox = Sandbox::new();
    let source = quickstart(&sandbox).join("src");
    let (run, dir) = (python("streamparse_run"), source.display());
    let shell = |class: &str, fields: &str| {
        format!("Shell(command: [\"{run}\", \"{class}\"], dir: \"{dir}\", fields: [{fields}])")
    };
    sandbox.write(
        "wordcount.ron",
        format!(
            "Topology(name: \"wordcount\", \
                spouts: {{ \"word_spout\": Spout(run: {}) }}, \
                bolts: {{ \
                    \"count_bolt\": Bolt(run: {}, inputs: [Fields(\"word_spout\", [\"word\"])], \
                                         parallelism_hint: 2), \
                    \"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"count_bolt\")]), \
                }})",
            shell("spouts.words.WordSpout", "\"word\""),
            shell("bolts.wordcount.WordCountBolt", "\"word\", \"count\""),
        ),
    );
    counts_of_the_quickstart_are_right(&sandbox, "out", &[]);
}

#[test]
fn what_to_flux_dict_writes_is_imported_and_counts_the_same() {
    let sandbox = Sandbox::new();
    let project = quickstart(&sandbox);
    let show = "import json, sys; sys.path[:0] = ['src', 'topologies']; \
                from wordcount import WordCount; \
                print(json.dumps(WordCount.to_flux_dict('wordcount')))";
    let written = std::process::Command::new(python("python"))
        .args(["-c", show])
        .current_dir(&project)
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    sandbox.write("wordcount.yaml", written.stdout);
    let imported = sandbox.run(&["storm", "import", "wordcount.yaml"]).with(0);
    assert!(imported.out.contains("run: Null()"), "{}", imported.out);
    sandbox.write("wordcount.ron", imported.out.replace("run: Null()", "run: Stdout()"));
    // Streamparse's users set both variables: for the components, and for the program that runs
    // them.
    let programs = Path::new(&python("streamparse_run")).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let source = project.join("src").display().to_string();
    let environment = [("PATH", path.as_str()), ("PYTHONPATH", &source)];
    counts_of_the_quickstart_are_right(&sandbox, "end", &environment);
}

/// Runs `wordcount.ron` for some words, and fails unless each count of each word came once.
#[track_caller]
fn counts_of_the_quickstart_are_right(sandbox: &Sandbox, sink: &str, environment: &[(&str, &str)]) {
    let arguments = ["run", "wordcount.ron", "--interval", "100ms"];
    let mut running = sandbox.start_with(&arguments, environment);
    running.wait_for("some words", |report| total(report, sink, "received") > 2_000);
    running.terminate();
    let ended = running.end().with(0);
    let mut counts: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in ended.out.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let count = row["count"].as_i64().unwrap();
        counts.entry(row["word"].as_str().unwrap().into()).or_default().push(count);
    }
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["cat", "dog", "elephant", "zebra"]);
    for (word, mut found) in counts {
        found.sort_unstable();
        let step = if word == "dog" { 10 } else { 1 };
        let expected: Vec<i64> = (1..=found.len() as i64).map(|number| number * step).collect();
        assert_eq!(found, expected, "every count of {word}, once");
    }
}

#[test]
fn a_bolt_hands_on_each_tuple_once_while_nothing_fails() {
    for class in ["Echo", "Told"] {
        each_once(&run_bolt(&Sandbox::new(), class, "", "").with(0));
    }
}

#[test]
fn pipes_that_are_full_in_both_directions_do_not_block_each_other() {
    const LARGE: usize = 120;
    let sandbox = Sandbox::new();
    // A pipe of Linux holds 64 KiB.
    let text = "x".repeat(100_000);
    let post = |id: usize| format!("{{\"n\":{{\"id\":{id},\"text\":\"{text}\"}}}}\n");
    sandbox.write("in.ndjson", (0..LARGE).map(post).collect::<String>());
    let (python, bolts) = (python("python"), part("bolts.py"));
    sandbox.write(
        "full.ron",
        format!(
            r#"Topology(
                name: "full",
                spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"]))}},
                bolts: {{
                    "id": Bolt(run: Pick(fields: {{"id": "/n/id", "text": "/n/text"}}),
                               inputs: [Shuffle("in")]),
                    "child": Bolt(
                        run: Shell(command: [{python:?}, {bolts:?}, "Grows"],
                                   fields: ["id", "text"]),
                        inputs: [Shuffle("id")],
                    ),
                    "out": Bolt(run: Stdout(), inputs: [Shuffle("child")]),
                }},
                checkpoint: Checkpoint(every: "100ms"),
            )"#
        ),
    );
    let ended = sandbox.run(&["run", "full.ron"]).with(0);
    each(&ended, LARGE);
    assert!(ended.out.lines().all(|row| row.len() > 3 * text.len()));
}

#[test]
fn a_batching_bolt_works_on_ticks_while_a_barrier_waits() {
    each_once(&run_bolt(&Sandbox::new(), "Batches", ", ticks: \"200ms\"", "").with(0));
}

#[test]
fn a_batching_bolt_without_ticks_works_on_a_thread_of_its_own() {
    each_once(&run_bolt(&Sandbox::new(), "Tickless", "", "").with(0));
}

#[test]
fn a_batching_bolt_that_gets_no_ticks_fails_its_tuples() {
    let sandbox = Sandbox::new();
    let options = ", ack_within: \"300ms\"";
    let ended = run_bolt(&sandbox, "Batches", options, "on_error: DeadLetter").with(4);
    for reason in ["didn't acknowledge", "a batching bolt needs `ticks`"] {
        let found = std::process::Command::new("grep")
            .args(["-r", "-q", reason])
            .arg(sandbox.path("state"))
            .status();
        assert!(found.unwrap().success(), "the dead letters say {reason:?}");
    }
    assert_eq!(ended.total("child", "dead_letters"), POSTS as u64);
}

#[test]
fn a_tuple_that_is_failed_again_and_again_follows_on_error() {
    let ended = run_bolt(&Sandbox::new(), "Refuses", "", "on_error: Retry(times: 2)").with(4);
    assert_eq!(ended.total("child", "dead_letters"), 1);
    assert_eq!(ended.total("child", "failed"), 3, "the first time and two retries");
    assert_eq!(ids(&ended).len(), POSTS - 1);
    let ended = run_bolt(&Sandbox::new(), "Refuses", "", "on_error: Stop").with(1);
    ended.says(&["the child failed the tuple"]);
}

#[test]
fn an_exception_that_ends_the_process_condemns_its_tuple_only() {
    let ended = run_bolt(&Sandbox::new(), "Poisoned", "", "on_error: Retry(times: 1)").with(4);
    assert_eq!(ended.total("child", "dead_letters"), 1);
    assert_eq!(ids(&ended).len(), POSTS - 1);
    ended.says(&["seven is refused", "going back to the newest checkpoint"]);
}

#[test]
fn a_reliable_spout_hears_what_was_rolled_back_and_what_is_safe() {
    const COUNT: usize = 1_000;
    let sandbox = Sandbox::new();
    let python = python("python");
    let (spout, bolts) = (part("reliable.py"), part("bolts.py"));
    sandbox.write(
        "reliable.ron",
        format!(
            "Topology(name: \"reliable\", \
                spouts: {{ \"numbers\": Spout(run: Shell(command: [\"{python}\", \"{spout}\", \
                \"{COUNT}\"], \
                                                         fields: [\"id\"])) }}, \
                bolts: {{ \
                    \"child\": Bolt(run: Shell(command: [\"{python}\", \"{bolts}\", \"DiesOnce\"], \
                                               fields: [\"id\"]), inputs: [Shuffle(\"numbers\")]), \
                    \"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"child\")]), \
                }}, \
                checkpoint: Checkpoint(every: \"100ms\"))"
        ),
    );
    let running = sandbox.start(&["run", "reliable.ron", "--interval", "100ms"]);
    let ended = until_acked(&sandbox, running);
    nothing_is_lost(&ended, COUNT);
    ended.says(&["signal: 9", "going back to the newest checkpoint"]);
    let failed = fs::read_to_string(sandbox.path("failed")).unwrap();
    assert!(failed.contains("n300\n"), "the tuple that was lost came back: {failed}");
}

/// Waits until the spout's child knows that all of its tuples are safe, and stops.
fn until_acked(sandbox: &Sandbox, mut running: Running) -> Ended {
    running.wait_for("all is acknowledged", |_| sandbox.path("acked").exists());
    running.terminate();
    running.end().with(0)
}

#[test]
fn a_spout_with_a_spool_is_acknowledged_from_there() {
    const COUNT: usize = 1_000;
    let sandbox = Sandbox::new();
    let (python, spout) = (python("python"), part("reliable.py"));
    sandbox.write(
        "spooled.ron",
        format!(
            "Topology(name: \"spooled\", \
                spouts: {{ \"numbers\": Spout(run: Shell(command: [\"{python}\", \"{spout}\", \
                \"{COUNT}\"], \
                                                         fields: [\"id\"], spool: (sync_every: \
                                                         \"50ms\"))) }}, \
                bolts: {{ \"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"numbers\")]) }}, \
                checkpoint: Checkpoint(every: \"100ms\"))"
        ),
    );
    let running = sandbox.start(&["run", "spooled.ron", "--interval", "100ms"]);
    let ended = until_acked(&sandbox, running);
    each(&ended, COUNT);
    assert!(!sandbox.path("failed").exists());
}

#[track_caller]
fn each(ended: &Ended, count: usize) {
    nothing_is_lost(ended, count);
    assert_eq!(ended.out.lines().count(), count);
}

//! Tests of standard error: levels and formats of the log.

use serde_json::Value;

use super::{Sandbox, run};

const ENDLESS: &str = r#"Topology(
    name: "endless",
    spouts: {"in": Spout(run: Generate(rate: 200))},
    bolts: {"out": Bolt(run: Null(), inputs: [Shuffle("in")])},
    checkpoint: Checkpoint(every: "50ms"),
)"#;

const FAILING: &str = r#"Topology(
    name: "failing",
    spouts: {"in": Spout(run: Generate(posts: 10))},
    bolts: {
        "jq": Bolt(run: Jq(filter: "error(\"no\")"), inputs: [Shuffle("in")], on_error: Stop),
        "out": Bolt(run: Null(), inputs: [Shuffle("jq")]),
    },
)"#;

/// Writes a topology, runs it with more arguments, and gives its lines of standard error, raw.
fn lines_of(topology: &str, more: &[&str], code: i32) -> Vec<String> {
    let sandbox = Sandbox::new();
    sandbox.write("a.ron", topology);
    let ended = sandbox.run(&[&run("a.ron", &[])[..], more].concat()).with(code);
    ended.err.lines().map(str::to_owned).collect()
}

#[test]
fn a_piped_run_that_fails_ends_with_a_line_of_json() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ron", FAILING);
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_waterspout"));
    program.current_dir(sandbox.path("")).env("XDG_STATE_HOME", sandbox.path("state"));
    let output = program.args(["run", "a.ron"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error", "{text}");
    assert!(last["message"].as_str().unwrap().contains("jq[0] failed"), "{text}");
    assert!(last["time"].is_string(), "{text}");
}

#[test]
fn a_plain_log_has_messages_only() {
    let posts = "Generate(posts: 10)";
    let topology = ENDLESS.replace("Generate(rate: 200)", posts);
    let lines = lines_of(&topology, &["--log-format", "plain"], 0);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("running a.ron; state: "), "{lines:?}");
    assert!(lines[1].starts_with("finished in "), "{lines:?}");
    let warnings = lines_of(&topology, &["--log-format", "plain", "--log-level", "warn"], 0);
    assert_eq!(warnings.len(), 1, "the summary alone: {warnings:?}");
    let steps = lines_of(&topology, &["--log-format", "plain", "--log-level", "debug"], 0);
    for part in ["debug: engine::supervisor: tasks start", "checkpoint is complete epoch=1"] {
        assert!(steps.iter().any(|line| line.contains(part)), "{part}: {steps:?}");
    }
}

#[test]
fn each_step_is_a_line_of_json_that_names_its_topology() {
    let topology = ENDLESS.replace("Generate(rate: 200)", "Generate(posts: 10)");
    let lines = lines_of(&topology, &["--log-level", "debug"], 0);
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<_> = lines.iter().filter(|line| line["level"] == "debug").collect();
    assert!(!steps.is_empty());
    for step in steps {
        assert_eq!(step["topology"], "endless");
        assert!(step["time"].is_string() && step["message"].is_string(), "{step}");
    }
}

#[test]
fn the_level_is_changed_while_it_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("a.ron", ENDLESS);
    let mut running = sandbox.start_with(&["run", "a.ron"], &[("WATERSPOUT_LOG", "warn")]);
    running.wait_for("a report", |report| report["epoch"].as_u64() > Some(0));
    let level = |arguments: &[&str]| {
        let arguments = [&["log-level"], arguments].concat();
        sandbox.run(&arguments).with(0).out
    };
    assert_eq!(level(&["a.ron"]), "warn\n");
    assert_eq!(level(&["a.ron", "debug"]), "warn → debug\n");
    running.wait_for("a step", |line| {
        line["level"] == "debug" && line["message"].as_str().unwrap().contains("checkpoint")
    });
    assert_eq!(level(&["a.ron", "info"]), "debug → info\n");
    running.terminate();
    running.end().with(0);
    let ended = sandbox.run(&["log-level", "a.ron"]).with(1);
    assert!(ended.err.contains("no topology runs"), "{}", ended.err);
    sandbox.run(&["log-level", "a.ron", "loud"]).with(2).says(&["expected off, error, warn"]);
}

#[test]
fn a_level_that_is_none_is_a_matter_of_usage() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run_with(&["components"], &[("WATERSPOUT_LOG", "loud")]).with(2);
    assert!(ended.err.contains("WATERSPOUT_LOG: expected off, error, warn"), "{}", ended.err);
    sandbox.run(&["components", "--log-level", "loud"]).with(2);
}

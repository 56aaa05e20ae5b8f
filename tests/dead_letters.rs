//! `run --dead-letters` from outside.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use support::{Sandbox, lake, sorted};

const TOPOLOGY: &str = r#"Topology(
    name: "lines",
    spouts: {"input": Spout(run: Lines(paths: ["in.ndjson"]))},
    bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("input")])},
)"#;

const KIND: &str = "spouts.input.run.kind=note";

/// The last message of a run.
fn says(ended: &support::Ended) -> String {
    ended.reports().last().unwrap()["message"].as_str().unwrap().to_owned()
}

#[test]
fn corrected_lines_come_into_the_lake_once_and_the_rest_are_new_letters() {
    let sandbox = Sandbox::new();
    sandbox.write("lines.ron", TOPOLOGY);
    sandbox.write("in.ndjson", "{\"note\":1}\n{\"a\":1,\"b\":2}\nno json\n{\"c\":3,\"d\":4}\n");
    let ended = sandbox.run(&["run", "lines.ron"]).with(4);
    assert_eq!(ended.total("input", "dead_letters"), 3);
    assert_eq!(lake(&sandbox.path("lake"), true), ["{\"note\":1}"]);

    let ended = sandbox.run(&["run", "lines.ron", "--set", KIND, "--dead-letters"]).with(4);
    assert!(ended.err.contains("sending 3 dead letters again"), "{}", ended.err);
    assert!(
        says(&ended).ends_with("; sent 3 dead letters again, 1 refused again"),
        "{}",
        says(&ended)
    );
    let expected = ["{\"note\":1}", "{\"note\":{\"a\":1,\"b\":2}}", "{\"note\":{\"c\":3,\"d\":4}}"];
    assert_eq!(
        lake(&sandbox.path("lake"), true),
        sorted(expected),
        "each once, and the file wasn't read again"
    );
    let letters = lake(&sandbox.path("lake/_dead"), false);
    assert_eq!(letters.len(), 4);
    assert_eq!(letters.iter().filter(|letter| letter.contains("; refused before: ")).count(), 1);
}

#[test]
fn without_dead_letters_it_says_so() {
    let sandbox = Sandbox::new();
    sandbox.write("lines.ron", TOPOLOGY);
    sandbox.write("in.ndjson", "{\"note\":1}\n");
    let ended = sandbox.run(&["run", "lines.ron", "--dead-letters"]).with(0);
    assert!(ended.err.contains("no dead letters to send again"), "{}", ended.err);
    assert!(
        says(&ended).contains("sent 0 dead letters again, 0 refused again"),
        "{}",
        says(&ended)
    );
}

#[test]
fn what_has_no_way_is_named_and_is_a_finding() {
    let sandbox = Sandbox::new();
    sandbox.write("lines.ron", TOPOLOGY);
    sandbox.write("in.ndjson", "no json\n");
    sandbox.run(&["run", "lines.ron"]).with(4);
    sandbox.write("lines.ron", TOPOLOGY.replace("\"input\"", "\"other\""));
    let ended = sandbox.run(&["run", "lines.ron", "--state", "other", "--dead-letters"]).with(4);
    assert!(
        ended.err.contains("1 dead letter of \\\"input\\\" stays: there is no such component"),
        "{}",
        ended.err
    );
}

#[test]
fn without_checkpoints_it_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("lines.ron", TOPOLOGY);
    let off = ["run", "lines.ron", "--dead-letters", "--set", "checkpoint=Off"];
    sandbox.run(&off).with(1).says(&["dead letters can't be sent again under `checkpoint: Off`"]);
}

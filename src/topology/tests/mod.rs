//! Tests of the loader, with small components of their own.

mod components;
mod files;
mod fuzz;
mod in_front;
mod mistakes;
mod outside;
mod printing;
mod problems;
mod secrets;
mod sets;
mod syntax;

use expect_test::Expect;

use super::{LoadOptions, Problems, Topology, parse};
use components::registry;

/// A topology that uses everything once.
const GOOD: &str = r#"
Topology(
    name: "good",
    spouts: {
        "in": Spout(run: Numbers(count: 10, order: Random(seed: 3)), parallelism_hint: 2),
    },
    bolts: {
        "shout": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in"), LocalOrShuffle("in:odd")], linger: "5ms"),
        "again": Bolt(
            run: Shout(field: "loud", env: { "LANG": "C" }),
            inputs: [Fields("shout", ["number"])],
            on_error: Retry(times: 5, then: Stop),
        ),
        "out": Bolt(run: Void(), inputs: [PartialKey("again", ["loud"]), All("in"), Global("shout")], batch: 7),
    },
    checkpoint: Checkpoint(every: "5s"),
    micro_batch: MicroBatch(bytes: "1MiB"),
)
"#;

fn parse_offline(text: &str) -> Result<Topology, Problems> {
    parse("t.ron", text, &registry(), &LoadOptions::default())
}

fn outcome(loaded: &Result<Topology, Problems>) -> String {
    match loaded {
        Ok(topology) => format!("ok: {} components", topology.components.len()),
        Err(problems) => problems.to_string(),
    }
}

/// Loads a text and compares the result with the expected one.
#[expect(clippy::needless_pass_by_value, reason = "reads better at the many places that call it")]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&outcome(&parse_offline(text)));
}

/// Checks a topology that has these bolts after a spout `in`, and a sink.
fn check_bolts(bolts: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", spouts: {{ \"in\": Spout(run: Numbers()) }}, bolts: {{\n{bolts}\n\
         \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }})"
    );
    check(&text, expected);
}

/// Checks a topology with these settings.
fn check_settings(settings: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", spouts: {{ \"in\": Spout(run: Numbers()) }},\n\
         bolts: {{ \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }},\n{settings}\n)"
    );
    check(&text, expected);
}

/// Checks a topology whose spout has this configuration.
fn check_config(run: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", bolts: {{ \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }},\n\
         spouts: {{ \"in\": Spout(run:\n{run}\n) }})"
    );
    check(&text, expected);
}

/// Returns the configuration for this number of cases of a property, and for ten times as many in a
/// long run.
fn cases(count: u32) -> proptest::test_runner::Config {
    let long = std::env::var_os("WATERSPOUT_LONG").is_some();
    proptest::test_runner::Config {
        cases: if long { count * 10 } else { count },
        // A failure is printed in full, so no file of failures is written beside the sources.
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

//! The loader against small components of its own.

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

/// Loads a text, and holds what becomes of it against what is expected.
#[expect(clippy::needless_pass_by_value, reason = "reads better at the many places that call it")]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&outcome(&parse_offline(text)));
}

/// The same for a topology with these bolts behind a spout `in`, and a sink.
fn check_bolts(bolts: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", spouts: {{ \"in\": Spout(run: Numbers()) }}, bolts: {{\n{bolts}\n\
         \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }})"
    );
    check(&text, expected);
}

/// The same for a topology with other settings.
fn check_settings(settings: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", spouts: {{ \"in\": Spout(run: Numbers()) }},\n\
         bolts: {{ \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }},\n{settings}\n)"
    );
    check(&text, expected);
}

/// The same for the configuration of the spout.
fn check_config(run: &str, expected: Expect) {
    let text = format!(
        "Topology(name: \"t\", bolts: {{ \"void\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }},\n\
         spouts: {{ \"in\": Spout(run:\n{run}\n) }})"
    );
    check(&text, expected);
}

/// How often a property is tried; ten times as often if there is time.
fn cases(count: u32) -> proptest::test_runner::Config {
    let long = std::env::var_os("WATERSPOUT_LONG").is_some();
    proptest::test_runner::Config {
        cases: if long { count * 10 } else { count },
        // A failure is printed in full, and the sources stay as they are.
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

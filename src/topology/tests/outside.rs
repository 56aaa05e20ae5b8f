//! Tests of `Env("…")` and `File("…")`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use expect_test::expect;

use super::super::{explain, parse};
use super::components::registry;
use super::{LoadOptions, outcome};
use crate::topology::{Problems, Topology};

const ONLINE: LoadOptions = LoadOptions {
    sets: Vec::new(),
    online: true,
    spared: BTreeSet::new(),
    spares_settings: false,
    reads_tests: false,
    env: BTreeMap::new(),
    guard: None,
};
const OFFLINE: LoadOptions = LoadOptions {
    sets: Vec::new(),
    online: false,
    spared: BTreeSet::new(),
    spares_settings: false,
    reads_tests: false,
    env: BTreeMap::new(),
    guard: None,
};

/// Loads a topology with this configuration of the spout and these settings.
fn load(run: &str, settings: &str, options: &LoadOptions) -> Result<Topology, Problems> {
    let text = format!(
        "Topology(spouts: {{ \"in\": Spout(run:\n{run}\n) }},\n\
         bolts: {{ \"out\": Bolt(run: Void(), inputs: [Shuffle(\"in\")]) }},\n{settings}\n)"
    );
    parse("t.ron", &text, &registry(), options)
}

#[test]
fn what_is_missing_is_a_problem_online_only() {
    let run = r#"Numbers(token: Env("WATERSPOUT_NO_SUCH"), topics: [File("no/such/file")], every: Env("WATERSPOUT_NO_SUCH"))"#;
    let settings = r#"name: "t", memory: Env("WATERSPOUT_NO_SUCH"), partition: Partition(every: File("no/such/file"))"#;
    expect!["ok: 2 components"].assert_eq(&outcome(&load(run, settings, &OFFLINE)));
    expect![[r#"
        t.ron:2:16: the environment variable "WATERSPOUT_NO_SUCH" is not set
            2 | Numbers(token: Env("WATERSPOUT_NO_SUCH"), topics: [File("no/such/file")], every: Env("WATERSPOUT_NO_SUCH"))
              |                ^^^^^^^^^^^^^^^^^^^^^^^^^
        t.ron:2:52: can't read "no/such/file": No such file or directory (os error 2)
            2 | Numbers(token: Env("WATERSPOUT_NO_SUCH"), topics: [File("no/such/file")], every: Env("WATERSPOUT_NO_SUCH"))
              |                                                    ^^^^^^^^^^^^^^^^^^^^
        t.ron:2:82: the environment variable "WATERSPOUT_NO_SUCH" is not set
            2 | umbers(token: Env("WATERSPOUT_NO_SUCH"), topics: [File("no/such/file")], every: Env("WATERSPOUT_NO_SUCH"))
              |                                                                                 ^^^^^^^^^^^^^^^^^^^^^^^^^
        t.ron:5:20: the environment variable "WATERSPOUT_NO_SUCH" is not set
            5 | name: "t", memory: Env("WATERSPOUT_NO_SUCH"), partition: Partition(every: File("no/such/file"))
              |                    ^^^^^^^^^^^^^^^^^^^^^^^^^
        t.ron:5:75: can't read "no/such/file": No such file or directory (os error 2)
            5 | name: "t", memory: Env("WATERSPOUT_NO_SUCH"), partition: Partition(every: File("no/such/file"))
              |                                                                           ^^^^^^^^^^^^^^^^^^^^"#]].assert_eq(&outcome(&load(run, settings, &ONLINE)));
}

#[test]
fn what_is_there_is_used_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "7s\r\n").unwrap();
    let file = format!("File({:?})", path.display().to_string());
    // PATH is set wherever tests run.
    let run = format!(
        "Numbers(token: Some(Env(\"PATH\")), every: {file}, topics: [\"a\", Env(\"PATH\")])"
    );
    let settings = format!("name: \"t\", restarts: Restarts(within: {file})");
    let topology = load(&run, &settings, &ONLINE).unwrap();
    assert_eq!(topology.restarts.within.as_secs(), 7);
    let explained = explain(&topology).replace(&path.display().to_string(), "secret");
    expect![[r#"
        Topology(
            name: "t",
            spouts: {
                "in": Spout(
                    run: Numbers(
                        count: None,
                        every: File("secret"),
                        order: Up,
                        token: Env("PATH"),
                        topics: ["a", Env("PATH")],
                    ),
                    parallelism_hint: 1,
                    batch: 256,
                    linger: None,
                ),
            },
            bolts: {
                "out": Bolt(
                    run: Void(limit: "1MiB", needs: None),
                    inputs: [Shuffle("in")],
                    parallelism_hint: 1,
                    on_error: Retry(times: 3, then: DeadLetter),
                    batch: 256,
                    linger: None,
                ),
            },
            include: [],
            checkpoint: Checkpoint(every: "1s"),
            micro_batch: MicroBatch(posts: 10000, bytes: "32MiB", age: "1m"),
            partition: Partition(every: "1h"),
            memory: "256MiB",
            restarts: Restarts(max: 5, within: File("secret")),
        )
    "#]]
    .assert_eq(&explained);
    assert!(!explained.contains(&std::env::var("PATH").unwrap()));
}

#[test]
fn what_is_written_is_printed_offline_too() {
    let run = r#"Numbers(every: Env("EVERY"), order: Random(seed: 1, within: Env("WITHIN")))"#;
    let topology = load(run, r#"name: Env("NAME"), memory: Env("MEMORY")"#, &OFFLINE).unwrap();
    expect![[r#"
        Topology(
            name: Env("NAME"),
            spouts: {
                "in": Spout(
                    run: Numbers(
                        count: None,
                        every: Env("EVERY"),
                        order: Random(seed: 1, within: Env("WITHIN")),
                        token: None,
                        topics: [],
                    ),
                    parallelism_hint: 1,
                    batch: 256,
                    linger: None,
                ),
            },
            bolts: {
                "out": Bolt(
                    run: Void(limit: "1MiB", needs: None),
                    inputs: [Shuffle("in")],
                    parallelism_hint: 1,
                    on_error: Retry(times: 3, then: DeadLetter),
                    batch: 256,
                    linger: None,
                ),
            },
            include: [],
            checkpoint: Checkpoint(every: "1s"),
            micro_batch: MicroBatch(posts: 10000, bytes: "32MiB", age: "1m"),
            partition: Partition(every: "1h"),
            memory: Env("MEMORY"),
            restarts: Restarts(max: 5, within: "10m"),
        )
    "#]]
    .assert_eq(&explain(&topology));
}

#[test]
fn a_value_that_does_not_fit_is_not_repeated() {
    let loaded = load(r#"Numbers(every: Env("PATH"))"#, r#"name: "t""#, &ONLINE);
    expect![[r#"
        t.ron:2:16: spout "in": Numbers: every: the text of Env("PATH") doesn't fit here
            2 | Numbers(every: Env("PATH"))
              |                ^^^^^^^^^^^"#]]
    .assert_eq(&outcome(&loaded));
    let loaded = load("Numbers()", r#"name: "t", memory: Env("PATH")"#, &ONLINE);
    expect![[r#"
        t.ron:5:20: memory: expected text such as "32MiB" from Env("PATH")
            5 | name: "t", memory: Env("PATH")
              |                    ^^^^^^^^^^^"#]]
    .assert_eq(&outcome(&loaded));
}

#[test]
fn a_value_that_does_not_fit_the_input_is_not_repeated() {
    let text = r#"Topology(name: "t", spouts: { "in": Spout(run: Numbers()) }, bolts: {
        "a": Bolt(run: Shout(field: Env("PATH")), inputs: [Shuffle("in")]),
        "out": Bolt(run: Void(), inputs: [Shuffle("in")]) })"#;
    expect![[r#"
        t.ron:2:37: bolt "a": Shout: field: what comes from outside doesn't fit here
            2 |         "a": Bolt(run: Shout(field: Env("PATH")), inputs: [Shuffle("in")]),
              |                                     ^^^^^^^^^^^"#]]
    .assert_eq(&outcome(&parse("t.ron", text, &registry(), &ONLINE)));
}

#[test]
fn what_only_the_outside_can_tell_is_not_guessed() {
    // An unread number can't be checked. If its field is optional, the others can.
    expect!["ok: 2 components"].assert_eq(&outcome(&load(
        r#"Numbers(count: Env("N"))"#,
        r#"name: "t""#,
        &OFFLINE,
    )));
    expect!["ok: 2 components"].assert_eq(&outcome(&load(
        r#"Numbers(order: Env("N"))"#,
        r#"name: "t""#,
        &OFFLINE,
    )));
    expect!["ok: 2 components"].assert_eq(&outcome(&load(
        r#"Numbers(order: Random(seed: Env("N")))"#,
        r#"name: "t""#,
        &OFFLINE,
    )));
}

#[test]
fn calls_in_another_shape_are_named() {
    let run =
        r#"Numbers(token: Env(), topics: [Env(NAME), File("a", "b"), Env("")], count: Env("N"))"#;
    expect![[r#"
        t.ron:2:16: expected one text, such as `Env("…")`
            2 | Numbers(token: Env(), topics: [Env(NAME), File("a", "b"), Env("")], count: Env("N"))
              |                ^^^
        t.ron:2:32: expected one text, such as `Env("…")`
            2 | Numbers(token: Env(), topics: [Env(NAME), File("a", "b"), Env("")], count: Env("N"))
              |                                ^^^
        t.ron:2:43: expected one text, such as `File("…")`
            2 | Numbers(token: Env(), topics: [Env(NAME), File("a", "b"), Env("")], count: Env("N"))
              |                                           ^^^^
        t.ron:2:59: expected one text, such as `Env("…")`
            2 | Numbers(token: Env(), topics: [Env(NAME), File("a", "b"), Env("")], count: Env("N"))
              |                                                           ^^^"#]]
    .assert_eq(&outcome(&load(run, r#"name: "t""#, &OFFLINE)));
}

#[test]
fn wiring_is_written_in_the_file() {
    let text = r#"Topology(name: "t", spouts: { "in": Spout(run: Numbers()) },
        bolts: { "out": Bolt(run: Void(), inputs: [Shuffle(Env("IN"))], parallelism_hint: Env("N")) })"#;
    expect![[r#"
        t.ron:2:52: bolt "out": expected `Shuffle("id")`
            2 |         bolts: { "out": Bolt(run: Void(), inputs: [Shuffle(Env("IN"))], parallelism_hint: Env("N")) })
              |                                                    ^^^^^^^^^^^^^^^^^^
        t.ron:2:91: bolt "out": parallelism_hint: expected a whole number from 1 to 1024, found `Env(…)`
            2 | lts: { "out": Bolt(run: Void(), inputs: [Shuffle(Env("IN"))], parallelism_hint: Env("N")) })
              |                                                                                 ^^^"#]]
    .assert_eq(&outcome(&parse("t.ron", text, &registry(), &OFFLINE)));
}

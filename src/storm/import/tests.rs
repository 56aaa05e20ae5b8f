//! Flux files that become topologies, and what can't.

use expect_test::expect;

use super::*;

const FLUX: &str = include_str!("../../../tests/storm/parts/flux.yaml");

#[test]
fn a_flux_file_becomes_a_topology_that_loads() {
    let imported = import(FLUX).unwrap();
    let options = crate::topology::LoadOptions::default();
    let registry = crate::components::standard();
    crate::topology::parse("flux", &imported.ron, &registry, &options)
        .unwrap_or_else(|problems| panic!("{problems}\n{}", imported.ron));
    expect![[r#"
        Topology(
            name: "words",
            spouts: {
                "sentence_spout": Spout(
                    run: Shell(command: ["node", "randomsentence.js"], fields: ["sentence"], conf: {"my.option": {"a": [1, 2.5, None, true], "b": "x"}, "topology.workers": 2}, max_pending: 500),
                    parallelism_hint: 1,
                ),
            },
            bolts: {
                "split": Bolt(
                    run: Shell(command: ["python3", "split.py"], fields: ["word"], streams: {"errors": ["line", "why"]}, conf: {"my.option": {"a": [1, 2.5, None, true], "b": "x"}, "rabbitmq.configfile": "etc/rabbit.yml", "topology.workers": 2}, ticks: "5s", ack_within: "60s"),
                    inputs: [Shuffle("sentence_spout")],
                    parallelism_hint: 2,
                ),
                "count": Bolt(
                    run: Shell(command: ["python3", "count.py"], fields: ["word", "count"], conf: {"my.option": {"a": [1, 2.5, None, true], "b": "x"}, "topology.workers": 2}, ack_within: "60s"),
                    inputs: [Fields("split", ["word"])],
                    parallelism_hint: 4,
                ),
                // What no other component takes is dropped, as on Storm; `Stdout()` would print it.
                "end": Bolt(run: Null(), inputs: [Shuffle("split:errors"), Shuffle("count")]),
            },
        )
    "#]]
    .assert_eq(&imported.ron);
}

#[test]
fn what_cannot_be_carried_over_is_said_with_its_place() {
    let text = "name: x\nspouts:\n  - id: a\n    className: com.example.Spout\nbolts:\n  - id: b\n    \
                className: org.apache.storm.flux.wrappers.bolts.FluxShellBolt\n    constructorArgs: [[b, \"${C}\"]]\n\
                streams:\n  - {from: a, to: b, grouping: {type: CUSTOM}}\nincludes:\n  - file: y.yaml\n";
    let problems = import(text).unwrap_err();
    let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for expected in [
        "4:16: component \"a\" is the Java class",
        "8:27: \"${C}\"",
        "10:5: ",
        "11:1: \"includes\"",
    ] {
        assert!(said.contains(expected), "{expected} in:\n{said}");
    }
    assert!(import("a: [").unwrap_err()[0].what.contains("not YAML"));
    assert!(import("").is_err() && import("[]").is_err());
}

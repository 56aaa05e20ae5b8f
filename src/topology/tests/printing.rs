//! Tests of printing a topology as RON and as a drawing.

use expect_test::expect;

use super::super::{explain, graph_dot, graph_mermaid, graph_text};
use super::{GOOD, parse_offline};

#[test]
fn an_explained_topology_has_every_default_and_loads_to_the_same() {
    let first = parse_offline(GOOD).unwrap();
    let explained = explain(&first);
    expect![[r#"
        Topology(
            name: "good",
            spouts: {
                "in": Spout(
                    run: Numbers(
                        count: 10,
                        every: "1s",
                        order: Random(seed: 3, within: None),
                        token: None,
                        topics: [],
                    ),
                    parallelism_hint: 2,
                    batch: 256,
                    linger: None,
                ),
            },
            bolts: {
                "shout": Bolt(
                    run: Shout(field: "number", env: {}),
                    inputs: [Shuffle("in"), LocalOrShuffle("in:odd")],
                    parallelism_hint: 1,
                    on_error: Retry(times: 3, then: DeadLetter),
                    batch: 256,
                    linger: "5ms",
                ),
                "again": Bolt(
                    run: Shout(field: "loud", env: {"LANG": "C"}),
                    inputs: [Fields("shout", ["number"])],
                    parallelism_hint: 1,
                    on_error: Retry(times: 5, then: Stop),
                    batch: 256,
                    linger: None,
                ),
                "out": Bolt(
                    run: Void(limit: "1MiB", needs: None),
                    inputs: [PartialKey("again", ["loud"]), All("in"), Global("shout")],
                    parallelism_hint: 1,
                    on_error: Retry(times: 3, then: DeadLetter),
                    batch: 7,
                    linger: None,
                ),
            },
            include: [],
            checkpoint: Checkpoint(every: "5s"),
            micro_batch: MicroBatch(posts: 10000, bytes: "1MiB", age: "1m"),
            partition: Partition(every: "1h"),
            memory: "256MiB",
            restarts: Restarts(max: 5, within: "10m"),
        )
    "#]]
    .assert_eq(&explained);
    let again = parse_offline(&explained).unwrap();
    assert_eq!(explain(&again), explained);
    for (a, b) in first.components.iter().zip(&again.components) {
        assert_eq!(
            (&a.id, a.type_name, &a.explained, a.parallelism_hint),
            (&b.id, b.type_name, &b.explained, b.parallelism_hint)
        );
        assert_eq!(
            (&a.streams, &a.on_error, a.batch, a.linger),
            (&b.streams, &b.on_error, b.batch, b.linger)
        );
        assert_eq!(format!("{:?}", a.inputs), format!("{:?}", b.inputs));
    }
}

#[test]
fn components_stand_behind_their_inputs_and_otherwise_as_written() {
    let text = r#"Topology(name: "t", spouts: { "s": Spout(run: N), "r": Spout(run: N) }, bolts: {
        "z": Bolt(run: Void, inputs: [Shuffle("y"), Shuffle("r")]),
        "c": Bolt(run: Shout(field: "number"), inputs: [Shuffle("s")]),
        "y": Bolt(run: Shout(field: "number"), inputs: [Shuffle("x")]),
        "x": Bolt(run: Shout(field: "number"), inputs: [Shuffle("s")]),
        "a": Bolt(run: Void(), inputs: [Shuffle("c")]),
    })"#;
    let topology = parse_offline(text).unwrap();
    let ids: Vec<_> = topology.components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["s", "r", "c", "x", "y", "z", "a"]);
    let from: Vec<_> = topology.components[5].inputs.iter().map(|input| input.from).collect();
    assert_eq!(from, [4, 1]);
}

#[test]
fn a_graph_as_text() {
    expect![[r#"
        topology "good"

        spout  in     Numbers  2 tasks
        bolt   shout  Shout    1 task
               <- in: Shuffle
               <- in:odd: LocalOrShuffle
        bolt   again  Shout    1 task
               <- shout: Fields("number")
        sink   out    Void     1 task
               <- again: PartialKey("loud")
               <- in: All
               <- shout: Global
               guarantee: nothing is "kept"
    "#]]
    .assert_eq(&graph_text(&parse_offline(GOOD).unwrap()));
}

#[test]
fn a_graph_for_graphviz() {
    expect![[r#"
        digraph "good" {
            rankdir=LR;
            node [shape=box];
            "in" [shape=cds, label="in\nNumbers, 2 tasks"];
            "shout" [shape=box, label="shout\nShout, 1 task"];
            "again" [shape=box, label="again\nShout, 1 task"];
            "out" [shape=cylinder, label="out\nVoid, 1 task\nnothing is \"kept\""];
            "in" -> "shout" [label="Shuffle"];
            "in" -> "shout" [label="odd: LocalOrShuffle"];
            "shout" -> "again" [label="Fields(\"number\")"];
            "again" -> "out" [label="PartialKey(\"loud\")"];
            "in" -> "out" [label="All"];
            "shout" -> "out" [label="Global"];
        }
    "#]]
    .assert_eq(&graph_dot(&parse_offline(GOOD).unwrap()));
}

#[test]
fn a_graph_for_mermaid() {
    expect![[r#"
        flowchart LR
            n0(["in<br/>Numbers, 2 tasks"])
            n1["shout<br/>Shout, 1 task"]
            n2["again<br/>Shout, 1 task"]
            n3[("out<br/>Void, 1 task<br/>nothing is #quot;kept#quot;")]
            n0 -->|"Shuffle"| n1
            n0 -->|"odd: LocalOrShuffle"| n1
            n1 -->|"Fields(#quot;number#quot;)"| n2
            n2 -->|"PartialKey(#quot;loud#quot;)"| n3
            n0 -->|"All"| n3
            n1 -->|"Global"| n3
    "#]]
    .assert_eq(&graph_mermaid(&parse_offline(GOOD).unwrap()));
}

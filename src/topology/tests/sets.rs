//! Tests of `--set path=value`.

use expect_test::{Expect, expect};

use super::super::{Topology, explain, parse};
use super::components::registry;
use super::{GOOD, LoadOptions, outcome};
use crate::topology::Problems;

fn with_sets(sets: &[&str]) -> Result<Topology, Problems> {
    let options = LoadOptions {
        sets: sets.iter().map(|set| (*set).to_owned()).collect(),
        online: false,
        ..LoadOptions::default()
    };
    parse("t.ron", GOOD, &registry(), &options)
}

/// Returns the lines of the explained topology that a `--set` changes, or the problems.
#[expect(clippy::needless_pass_by_value, reason = "reads better at the many places that call it")]
fn check_set(set: &str, expected: Expect) {
    let loaded = with_sets(&[set]);
    let text = match &loaded {
        Ok(topology) => {
            let before = explain(&with_sets(&[]).unwrap());
            let new = |line: &&str| !before.contains(*line);
            explain(topology).lines().filter(new).map(str::trim).collect::<Vec<_>>().join("\n")
        }
        Err(_) => outcome(&loaded),
    };
    expected.assert_eq(&text);
}

#[test]
fn fields_are_replaced_and_added() {
    check_set("spouts.in.run.count=11", expect!["count: 11,"]);
    check_set("spouts.in.run.every=1m", expect![[r#"every: "1m","#]]);
    check_set("spouts.in.run.order.seed=4", expect!["order: Random(seed: 4, within: None),"]);
    check_set("spouts.in.run.topics=[\"a\"]", expect![[r#"topics: ["a"],"#]]);
    check_set("bolts.out.run.limit=1GiB", expect![[r#"run: Void(limit: "1GiB", needs: None),"#]]);
    check_set(
        "bolts.again.run.env.LANG=de",
        expect![[r#"run: Shout(field: "loud", env: {"LANG": "de"}),"#]],
    );
    check_set(
        "bolts.again.run.env.PATH=/bin",
        expect![[r#"run: Shout(field: "loud", env: {"LANG": "C", "PATH": "/bin"}),"#]],
    );
    check_set("bolts.again.on_error=Stop", expect!["on_error: Stop,"]);
    check_set(
        "bolts.out.on_error.times=0",
        expect!["on_error: Retry(times: 0, then: DeadLetter),"],
    );
    check_set(
        "bolts.out.inputs.1=Direct(\"in\")",
        expect![[r#"inputs: [PartialKey("again", ["loud"]), Direct("in"), Global("shout")],"#]],
    );
    check_set(
        "bolts.out.inputs.3=Direct(\"in\")",
        expect![[
            r#"inputs: [PartialKey("again", ["loud"]), All("in"), Global("shout"), Direct("in")],"#
        ]],
    );
    check_set(
        "bolts.extra=Bolt(run: Void, inputs: [Shuffle(\"in\")])",
        expect![[r#"
        "extra": Bolt(
        inputs: [Shuffle("in")],"#]],
    );
    check_set("checkpoint=Off", expect!["checkpoint: Off,"]);
    check_set("checkpoint.every=2s", expect![[r#"checkpoint: Checkpoint(every: "2s"),"#]]);
    check_set("partition.every=1m", expect![[r#"partition: Partition(every: "1m"),"#]]);
    check_set(
        "micro_batch.posts=7",
        expect![[r#"micro_batch: MicroBatch(posts: 7, bytes: "1MiB", age: "1m"),"#]],
    );
    check_set("memory=1GiB", expect![[r#"memory: "1GiB","#]]);
}

#[test]
fn a_bare_word_is_text_where_text_is_wanted() {
    check_set("name=x", expect![[r#"name: "x","#]]);
    check_set("name=2015", expect![[r#"name: "2015","#]]);
    check_set("name=true", expect![[r#"name: "true","#]]);
    check_set(
        "name=a//b",
        expect![[r#"
        --set:1:6: name: expected 1 to 128 bytes without `/`, `\` or control characters, not beginning with a dot
            1 | name=a//b
              |      ^"#]],
    );
    check_set("spouts.in.run.token=secret", expect![[r#"token: "secret","#]]);
    check_set("spouts.in.run.token=12", expect![[r#"token: "12","#]]);
    check_set("spouts.in.run.token=/tmp/a b=c", expect![[r#"token: "/tmp/a b=c","#]]);
    check_set("spouts.in.run.token=", expect![[r#"token: "","#]]);
    check_set("spouts.in.run.token=None", expect![[""]]);
    check_set(
        "spouts.in.run.order=Down",
        expect![[r#"run: Numbers(count: 10, every: "1s", order: Down, token: None, topics: []),"#]],
    );
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    check_set(
        "spouts.inn.run.count=1",
        expect![[r#"
        --set:1:8: there is no "inn" to set anything of; did you mean "in"?
            1 | spouts.inn.run.count=1
              |        ^^^"#]],
    );
    check_set(
        "spuots.in.run.count=1",
        expect![[r#"
        --set:1:1: the topology has no field "spuots": its fields are "name", "spouts", "bolts", "include", "checkpoint", "micro_batch", "partition", "memory", "restarts", "tests"; did you mean "spouts"?
            1 | spuots.in.run.count=1
              | ^^^^^^"#]],
    );
    check_set(
        "spouts.in.run.cuont=1",
        expect![[r#"
        --set:1:15: spout "in": Numbers has no field "cuont": its fields are "count", "every", "order", "token", "topics"; did you mean "count"?
            1 | spouts.in.run.cuont=1
              |               ^^^^^"#]],
    );
    check_set(
        "spouts.in.run.count.x=1",
        expect![[r#"
        --set:1:21: a number has no fields to set
            1 | spouts.in.run.count.x=1
              |                     ^"#]],
    );
    check_set(
        "bolts.out.inputs.9=All(\"in\")",
        expect![[r#"
        --set:1:18: expected a position from 0 to 3, found "9"
            1 | bolts.out.inputs.9=All("in")
              |                  ^"#]],
    );
    check_set(
        "bolts..run=1",
        expect![[r#"
        --set:1:7: an empty name in the path
            1 | bolts..run=1
              |       ^"#]],
    );
    check_set(
        "name",
        expect![[r#"
        --set:1:1: expected `path=value`, such as `spouts.in.run.posts=10`
            1 | name
              | ^^^^"#]],
    );
    check_set(
        "=1",
        expect![[r#"
        --set:1:1: an empty name in the path
            1 | =1
              | ^"#]],
    );
    check_set(
        "include=[]",
        expect![[r#"
        --set:1:1: files are included before `--set` is applied
            1 | include=[]
              | ^^^^^^^"#]],
    );
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    check_set(
        "spouts.in.run.count=ten",
        expect![[r#"
        --set:1:21: spout "in": Numbers: count: expected a whole number, found ten
            1 | spouts.in.run.count=ten
              |                     ^^^"#]],
    );
    check_set(
        "spouts.in.run.order=Sideways",
        expect![[r#"
        --set:1:21: spout "in": Numbers: order: expected `Up` or `Down` or `Random`, found `Sideways`
            1 | spouts.in.run.order=Sideways
              |                     ^^^^^^^^"#]],
    );
    check_set(
        "spouts.in.run.order.seed=many",
        expect![[r#"
        --set:1:26: spout "in": Numbers: order.seed: expected a whole number, found many
            1 | spouts.in.run.order.seed=many
              |                          ^^^^"#]],
    );
    check_set(
        "spouts.in.run.order.within=Env(5)",
        expect![[r#"
        --set:1:28: expected one text, such as `Env("…")`
            1 | spouts.in.run.order.within=Env(5)
              |                            ^^^"#]],
    );
    check_set(
        "spouts.in.parallelism_hint=0",
        expect![[r#"
        --set:1:28: spout "in": parallelism_hint: expected a whole number from 1 to 1024, found 0
            1 | spouts.in.parallelism_hint=0
              |                            ^"#]],
    );
    check_set(
        "partition.every=1.5h",
        expect![[r#"
        --set:1:17: partition.every: bad duration "1.5h": expected a whole number and ms, s, m, h or d, such as "90s"
            1 | partition.every=1.5h
              |                 ^^^^"#]],
    );
    check_set(
        "checkpoint=never",
        expect![[r#"
        --set:1:12: checkpoint: expected `Checkpoint` or `Off`, found `never`
            1 | checkpoint=never
              |            ^^^^^"#]],
    );
    check_set(
        "bolts.out.inputs=[Shuffle(\"inn\")]",
        expect![[r#"
        --set:1:27: bolt "out" takes input from "inn", but the components are "in", "shout", "again"; did you mean "in"?
            1 | bolts.out.inputs=[Shuffle("inn")]
              |                           ^^^^^"#]],
    );
}

#[test]
fn later_ones_see_what_earlier_ones_did() {
    let topology =
        with_sets(&["bolts.end=Bolt(run: Void())", "bolts.end.inputs=[All(\"in\")]", "name=y"])
            .unwrap();
    assert_eq!((topology.name.as_str(), topology.components.len()), ("y", 5));
}

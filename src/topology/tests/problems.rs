//! Tests of the problems of a file and their messages.

use expect_test::expect;

use super::{GOOD, check, check_bolts, check_config, check_settings};

#[test]
fn a_good_topology_has_no_problem() {
    check(GOOD, expect!["ok: 4 components"]);
}

#[test]
fn several_mistakes_are_reported_in_one_go() {
    check(
        r#"Topology(
    name: "bad",
    spouts: { "in": Spout(run: Numbers(count: 10)) },
    bolts: {
        "shout": Bolt(run: Shout(field: "number"), inputs: [Shuffle("inn")]),
        "again": Bolt(run: Shout(field: "loud"), inputs: [Fields("shout", ["luod"])]),
        "void": Bolt(run: Void(), parallelism_hint: 2, inputs: [Shuffle("nowhere")]),
    },
)"#,
        expect![[r#"
            t.ron:5:69: bolt "shout" takes input from "inn", but the components are "in", "again"; did you mean "in"?
                5 |         "shout": Bolt(run: Shout(field: "number"), inputs: [Shuffle("inn")]),
                  |                                                                     ^^^^^
            t.ron:6:76: bolt "again" groups by "luod", but stream "shout" declares "number", "loud", "number"; did you mean "loud"?
                6 |         "again": Bolt(run: Shout(field: "loud"), inputs: [Fields("shout", ["luod"])]),
                  |                                                                            ^^^^^^
            t.ron:7:73: bolt "void" takes input from "nowhere", but the components are "in", "shout", "again"
                7 |         "void": Bolt(run: Void(), parallelism_hint: 2, inputs: [Shuffle("nowhere")]),
                  |                                                                         ^^^^^^^^^"#]],
    );
}

#[test]
fn unknown_types_are_named_with_the_nearest_that_belongs_there() {
    check_bolts(
        r#""a": Bolt(run: Shuot(field: "number"), inputs: [Shuffle("in")]),
        "b": Bolt(run: Numbers(), inputs: [Shuffle("in")]),
        "c": Bolt(run: "Shout", inputs: [Shuffle("in")]),"#,
        expect![[r#"
            t.ron:2:16: bolt "a": there is no bolt Shuot, but "Shout", "Void"; did you mean "Shout"?
                2 | "a": Bolt(run: Shuot(field: "number"), inputs: [Shuffle("in")]),
                  |                ^^^^^
            t.ron:3:24: bolt "b": Numbers is a spout and belongs under `spouts`
                3 |         "b": Bolt(run: Numbers(), inputs: [Shuffle("in")]),
                  |                        ^^^^^^^
            t.ron:4:24: bolt "c": expected a component such as `Name(field: …)`, found text
                4 |         "c": Bolt(run: "Shout", inputs: [Shuffle("in")]),
                  |                        ^^^^^^^"#]],
    );
    check(
        r#"Topology(name: "t", spouts: { "in": Spout(run: Void()) }, bolts: {})"#,
        expect![[r#"
            t.ron:1:1: the topology has no sink, so nothing would be kept
                1 | Topology(name: "t", spouts: { "in": Spout(run: Void()) }, bolts: {})
                  | ^^^^^^^^
            t.ron:1:48: spout "in": Void is a sink and belongs under `bolts`
                1 | Topology(name: "t", spouts: { "in": Spout(run: Void()) }, bolts: {})
                  |                                                ^^^^"#]],
    );
}

#[test]
fn a_component_in_another_shape_is_named() {
    check_bolts(
        r#""a": Shout(field: "number"),
        "b": Spout(run: Shout(field: "number")),
        "c": Bolt(inputs: [Shuffle("in")]),
        "d": Bolt,
        "e": 7,"#,
        expect![[r#"
            t.ron:2:6: bolt "a": expected `Bolt(run: …)`, found `Shout(…)`
                2 | "a": Shout(field: "number"),
                  |      ^^^^^
            t.ron:3:14: bolt "b": expected `Bolt(run: …)`, found `Spout(…)`
                3 |         "b": Spout(run: Shout(field: "number")),
                  |              ^^^^^
            t.ron:4:14: bolt "c" needs the field "run"
                4 |         "c": Bolt(inputs: [Shuffle("in")]),
                  |              ^^^^
            t.ron:5:14: bolt "d": expected `Bolt(run: …)`, found `Bolt`
                5 |         "d": Bolt,
                  |              ^^^^
            t.ron:6:14: bolt "e": expected `Bolt(run: …)`, found a number
                6 |         "e": 7,
                  |              ^"#]],
    );
}

#[test]
fn unknown_and_repeated_fields_are_named() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "number", field: "kind", evn: {}), input: [Shuffle("in")]),
        "b": Bolt(run: Shout(feild: "number"), inputs: [Shuffle("in")], inputs: [], batch: 1),"#,
        expect![[r#"
            t.ron:2:39: bolt "a": Shout has the field "field" twice, first at t.ron:2:22
                2 | "a": Bolt(run: Shout(field: "number", field: "kind", evn: {}), input: [Shuffle("in")]),
                  |                                       ^^^^^
            t.ron:2:54: bolt "a": Shout has no field "evn": its fields are "env", "field"; did you mean "env"?
                2 | "a": Bolt(run: Shout(field: "number", field: "kind", evn: {}), input: [Shuffle("in")]),
                  |                                                      ^^^
            t.ron:2:64: bolt "a" has no field "input": its fields are "run", "inputs", "parallelism_hint", "on_error", "batch", "linger"; did you mean "inputs"?
                2 | "a": Bolt(run: Shout(field: "number", field: "kind", evn: {}), input: [Shuffle("in")]),
                  |                                                                ^^^^^
            t.ron:3:30: bolt "b": Shout has no field "feild": its fields are "env", "field"; did you mean "field"?
                3 |         "b": Bolt(run: Shout(feild: "number"), inputs: [Shuffle("in")], inputs: [], batch: 1),
                  |                              ^^^^^
            t.ron:3:73: bolt "b" has the field "inputs" twice, first at t.ron:3:48
                3 |         "b": Bolt(run: Shout(feild: "number"), inputs: [Shuffle("in")], inputs: [], batch: 1),
                  |                                                                         ^^^^^^"#]],
    );
    check_settings(
        "micro_batch: MicroBatch(size: 1), checkpoint: Checkpoint(eyery: \"1s\"), limit: 3",
        expect![[r#"
            t.ron:3:25: micro_batch has no field "size": its fields are "posts", "bytes", "age"
                3 | micro_batch: MicroBatch(size: 1), checkpoint: Checkpoint(eyery: "1s"), limit: 3
                  |                         ^^^^
            t.ron:3:58: checkpoint has no field "eyery": its fields are "every"; did you mean "every"?
                3 | micro_batch: MicroBatch(size: 1), checkpoint: Checkpoint(eyery: "1s"), limit: 3
                  |                                                          ^^^^^
            t.ron:3:72: the topology has no field "limit": its fields are "name", "spouts", "bolts", "include", "checkpoint", "micro_batch", "partition", "memory", "restarts", "tests"
                3 | micro_batch: MicroBatch(size: 1), checkpoint: Checkpoint(eyery: "1s"), limit: 3
                  |                                                                        ^^^^^"#]],
    );
}

#[test]
fn ids_are_checked_and_unique_over_spouts_and_bolts() {
    check_bolts(
        r#""in": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
        "Upper": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
        "": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
        bare: Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
        "void": Bolt(run: Void(), inputs: [Shuffle("in")]),"#,
        expect![[r#"
            t.ron:2:1: the id "in" is used twice, first at t.ron:1:31
                2 | "in": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
                  | ^^^^
            t.ron:3:9: the id "Upper" doesn't match `[a-z][a-z0-9_-]*`
                3 |         "Upper": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
                  |         ^^^^^^^
            t.ron:4:9: the id "" doesn't match `[a-z][a-z0-9_-]*`
                4 |         "": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
                  |         ^^
            t.ron:5:9: expected an id in quotes, "bare", found `bare`
                5 |         bare: Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
                  |         ^^^^
            t.ron:7:1: the id "void" is used twice, first at t.ron:6:9
                7 | "void": Bolt(run: Void(), inputs: [Shuffle("in")]) })
                  | ^^^^^^"#]],
    );
}

#[test]
fn inputs_have_to_name_streams_that_exist() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("void")]),
        "b": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in:od")]),
        "c": Bolt(run: Shout(field: "number"), inputs: [Shufle("in"), Shuffle(), Fields("in"), All("in", ["x"])]),
        "d": Bolt(run: Shout(field: "number"), inputs: []),
        "e": Bolt(run: Shout(field: "number")),
        "f": Bolt(run: Shout(field: "number"), inputs: Shuffle("in")),
        "g": Bolt(run: Shout(field: "number"), inputs: ["in", Shuffle(7)]),"#,
        expect![[r#"
            t.ron:2:57: bolt "a" takes input from "void", but that is a sink (Void) and emits nothing
                2 | "a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("void")]),
                  |                                                         ^^^^^^
            t.ron:3:65: bolt "b" takes the stream "od" of "in", which declares the streams "default", "odd"; did you mean "odd"?
                3 |         "b": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in:od")]),
                  |                                                                 ^^^^^^^
            t.ron:4:57: bolt "c": a grouping: expected `Shuffle` or `LocalOrShuffle` or `Fields` or `PartialKey` or `All` or `Global` or `Direct`, found `Shufle`; did you mean "Shuffle"?
                4 |         "c": Bolt(run: Shout(field: "number"), inputs: [Shufle("in"), Shuffle(), Fields("in"), All("in", ["x"])]),
                  |                                                         ^^^^^^
            t.ron:4:71: bolt "c": expected `Shuffle("id")`
                4 |         "c": Bolt(run: Shout(field: "number"), inputs: [Shufle("in"), Shuffle(), Fields("in"), All("in", ["x"])]),
                  |                                                                       ^^^^^^^^^
            t.ron:4:82: bolt "c": expected `Fields("id", ["field"])`
                4 |        "c": Bolt(run: Shout(field: "number"), inputs: [Shufle("in"), Shuffle(), Fields("in"), All("in", ["x"])]),
                  |                                                                                 ^^^^^^^^^^^^
            t.ron:4:96: bolt "c": expected `All("id")`
                4 | lt(run: Shout(field: "number"), inputs: [Shufle("in"), Shuffle(), Fields("in"), All("in", ["x"])]),
                  |                                                                                 ^^^^^^^^^^^^^^^^
            t.ron:5:56: bolt "d" needs at least one input
                5 |         "d": Bolt(run: Shout(field: "number"), inputs: []),
                  |                                                        ^^
            t.ron:6:9: bolt "e" needs inputs, such as `inputs: [Shuffle("id")]`
                6 |         "e": Bolt(run: Shout(field: "number")),
                  |         ^^^
            t.ron:7:56: bolt "f": expected a list of inputs such as `[Shuffle("id")]`, found `Shuffle(…)`
                7 |         "f": Bolt(run: Shout(field: "number"), inputs: Shuffle("in")),
                  |                                                        ^^^^^^^
            t.ron:8:57: bolt "g": a grouping: expected `Shuffle` or `LocalOrShuffle` or `Fields` or `PartialKey` or `All` or `Global` or `Direct`, found text
                8 |         "g": Bolt(run: Shout(field: "number"), inputs: ["in", Shuffle(7)]),
                  |                                                         ^^^^
            t.ron:8:63: bolt "g": expected `Shuffle("id")`
                8 |         "g": Bolt(run: Shout(field: "number"), inputs: ["in", Shuffle(7)]),
                  |                                                               ^^^^^^^^^^"#]],
    );
}

#[test]
fn groupings_go_by_declared_fields() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["nubmer", "x"])]),
        "b": Bolt(run: Shout(field: "number"), inputs: [Fields("in:odd", ["kind"])]),
        "c": Bolt(run: Shout(field: "number"), inputs: [PartialKey("in", [])]),
        "d": Bolt(run: Shout(field: "number"), inputs: [Fields("in", "number")]),
        "e": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["number", "number", 3])]),"#,
        expect![[r#"
            t.ron:2:63: bolt "a" groups by "nubmer", but stream "in" declares "number", "kind"; did you mean "number"?
                2 | "a": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["nubmer", "x"])]),
                  |                                                               ^^^^^^^^
            t.ron:2:73: bolt "a" groups by "x", but stream "in" declares "number", "kind"
                2 | "a": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["nubmer", "x"])]),
                  |                                                                         ^^^
            t.ron:3:75: bolt "b" groups by "kind", but stream "in:odd" declares "number"
                3 |         "b": Bolt(run: Shout(field: "number"), inputs: [Fields("in:odd", ["kind"])]),
                  |                                                                           ^^^^^^
            t.ron:4:74: bolt "c": a PartialKey grouping needs at least one field
                4 |         "c": Bolt(run: Shout(field: "number"), inputs: [PartialKey("in", [])]),
                  |                                                                          ^^
            t.ron:5:70: bolt "d": expected a list of fields such as `["word"]`, found text
                5 |         "d": Bolt(run: Shout(field: "number"), inputs: [Fields("in", "number")]),
                  |                                                                      ^^^^^^^^
            t.ron:6:81: bolt "e" groups by "number" twice
                6 |         "e": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["number", "number", 3])]),
                  |                                                                                 ^^^^^^^^
            t.ron:6:91: bolt "e": expected a field's name, found a number
                6 | ": Bolt(run: Shout(field: "number"), inputs: [Fields("in", ["number", "number", 3])]),
                  |                                                                                 ^"#]],
    );
}

#[test]
fn a_component_s_own_problems_stand_at_their_fields() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "nunber"), inputs: [Shuffle("in")]),
        "b": Bolt(run: Void(needs: "x"), inputs: [Shuffle("in"), Shuffle("in:odd")]),"#,
        expect![[r#"
            t.ron:2:29: bolt "a": Shout: the input declares "number", "kind", not "nunber"; did you mean "number"?
                2 | "a": Bolt(run: Shout(field: "nunber"), inputs: [Shuffle("in")]),
                  |                             ^^^^^^^^
            t.ron:3:36: bolt "b": Void: the input declares "number", "kind", not "x"
                3 |         "b": Bolt(run: Void(needs: "x"), inputs: [Shuffle("in"), Shuffle("in:odd")]),
                  |                                    ^^^
            t.ron:3:36: bolt "b": Void: the input declares "number", not "x"
                3 |         "b": Bolt(run: Void(needs: "x"), inputs: [Shuffle("in"), Shuffle("in:odd")]),
                  |                                    ^^^"#]],
    );
}

#[test]
fn nothing_is_said_about_what_depends_on_a_mistake() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "nunber"), inputs: [Shuffle("in")]),
        "b": Bolt(run: Shout(field: "loud"), inputs: [Fields("a", ["anything"])]),
        "c": Bolt(run: Shuot(), inputs: [Shuffle("in")]),
        "d": Bolt(run: Void(needs: "x"), inputs: [Shuffle("c:y"), Shuffle("b")]),"#,
        expect![[r#"
            t.ron:2:29: bolt "a": Shout: the input declares "number", "kind", not "nunber"; did you mean "number"?
                2 | "a": Bolt(run: Shout(field: "nunber"), inputs: [Shuffle("in")]),
                  |                             ^^^^^^^^
            t.ron:4:24: bolt "c": there is no bolt Shuot, but "Shout", "Void"; did you mean "Shout"?
                4 |         "c": Bolt(run: Shuot(), inputs: [Shuffle("in")]),
                  |                        ^^^^^"#]],
    );
}

#[test]
fn a_cycle_is_printed_as_its_path() {
    check_bolts(
        r#""a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in"), Shuffle("c")]),
        "b": Bolt(run: Shout(field: "number"), inputs: [Shuffle("a")]),
        "c": Bolt(run: Shout(field: "number"), inputs: [Shuffle("b")]),
        "d": Bolt(run: Shout(field: "number"), inputs: [Shuffle("d")]),
        "e": Bolt(run: Shout(field: "number"), inputs: [Shuffle("c")]),"#,
        expect![[r#"
            t.ron:2:72: the inputs make a cycle: a -> b -> c -> a
                2 | "a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in"), Shuffle("c")]),
                  |                                                                        ^^^
            t.ron:5:65: the inputs make a cycle: d -> d
                5 |         "d": Bolt(run: Shout(field: "number"), inputs: [Shuffle("d")]),
                  |                                                                 ^^^"#]],
    );
}

#[test]
fn numbers_have_bounds() {
    check_bolts(
        r#""a": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 0, batch: 0),
        "b": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 1025, batch: 65537),
        "c": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: -1, batch: 1.5),
        "d": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: "2", batch: 99999999999999999999),
        "e": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 1_024, batch: 0x10000),"#,
        expect![[r#"
            t.ron:2:67: bolt "a": parallelism_hint: expected a whole number from 1 to 1024, found 0
                2 | "a": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 0, batch: 0),
                  |                                                                   ^
            t.ron:2:77: bolt "a": batch: expected a whole number from 1 to 65536, found 0
                2 | "a": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 0, batch: 0),
                  |                                                                             ^
            t.ron:3:75: bolt "b": parallelism_hint: expected a whole number from 1 to 1024, found 1025
                3 |         "b": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 1025, batch: 65537),
                  |                                                                           ^^^^
            t.ron:3:88: bolt "b": batch: expected a whole number from 1 to 65536, found 65537
                3 |  "b": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: 1025, batch: 65537),
                  |                                                                                 ^^^^^
            t.ron:4:75: bolt "c": parallelism_hint: expected a whole number from 1 to 1024, found -1
                4 |         "c": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: -1, batch: 1.5),
                  |                                                                           ^^
            t.ron:4:86: bolt "c": batch: expected a whole number from 1 to 65536, found 1.5
                4 |    "c": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: -1, batch: 1.5),
                  |                                                                                 ^^^
            t.ron:5:75: bolt "d": parallelism_hint: expected a whole number from 1 to 1024, found text
                5 |         "d": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: "2", batch: 99999999999999999999),
                  |                                                                           ^^^
            t.ron:5:87: bolt "d": batch: expected a whole number from 1 to 65536, found 99999999999999999999
                5 |   "d": Bolt(run: Void(), inputs: [Shuffle("in")], parallelism_hint: "2", batch: 99999999999999999999),
                  |                                                                                 ^^^^^^^^^^^^^^^^^^^^"#]],
    );
    check(
        r#"Topology(name: "t",
        spouts: { "in": Spout(run: Numbers(), parallelism_hint: 5) },
        bolts: { "void": Bolt(run: Void(), inputs: [Shuffle("in")]) })"#,
        expect![[r#"
            t.ron:2:65: spout "in": parallelism_hint: this source can be read by 4 tasks at most, found 5
                2 |         spouts: { "in": Spout(run: Numbers(), parallelism_hint: 5) },
                  |                                                                 ^"#]],
    );
}

#[test]
fn durations_and_sizes_need_their_units() {
    check_settings(
        r#"checkpoint: Checkpoint(every: "1"), micro_batch: MicroBatch(posts: 0, bytes: "0B", age: "1 minute"),
        partition: Partition(every: "1500ms"), memory: 256, restarts: Restarts(max: -1, within: "0s"),"#,
        expect![[r#"
            t.ron:3:31: checkpoint.every: bad duration "1": expected a whole number and ms, s, m, h or d, such as "90s"
                3 | checkpoint: Checkpoint(every: "1"), micro_batch: MicroBatch(posts: 0, bytes: "0B", age: "1 minute"),
                  |                               ^^^
            t.ron:3:68: micro_batch.posts: expected a whole number from 1, found 0
                3 | checkpoint: Checkpoint(every: "1"), micro_batch: MicroBatch(posts: 0, bytes: "0B", age: "1 minute"),
                  |                                                                    ^
            t.ron:3:78: micro_batch.bytes: expected at least 1B
                3 | checkpoint: Checkpoint(every: "1"), micro_batch: MicroBatch(posts: 0, bytes: "0B", age: "1 minute"),
                  |                                                                              ^^^^
            t.ron:3:89: micro_batch.age: bad duration "1 minute": expected a whole number and ms, s, m, h or d, such as "90s"
                3 | nt: Checkpoint(every: "1"), micro_batch: MicroBatch(posts: 0, bytes: "0B", age: "1 minute"),
                  |                                                                                 ^^^^^^^^^^
            t.ron:4:37: partition.every: expected whole seconds
                4 |         partition: Partition(every: "1500ms"), memory: 256, restarts: Restarts(max: -1, within: "0s"),
                  |                                     ^^^^^^^^
            t.ron:4:56: memory: expected text such as "32MiB", found a number
                4 |         partition: Partition(every: "1500ms"), memory: 256, restarts: Restarts(max: -1, within: "0s"),
                  |                                                        ^^^
            t.ron:4:85: restarts.max: expected a whole number from 0 to 4294967295, found -1
                4 |     partition: Partition(every: "1500ms"), memory: 256, restarts: Restarts(max: -1, within: "0s"),
                  |                                                                                 ^^
            t.ron:4:97: restarts.within: expected 1ms to 36600d
                4 | n: Partition(every: "1500ms"), memory: 256, restarts: Restarts(max: -1, within: "0s"),
                  |                                                                                 ^^^^"#]],
    );
    check_settings(
        r#"partition: Partition(every: "10ms"), memory: "1mb", restarts: Restarts(within: "400000d")"#,
        expect![[r#"
            t.ron:3:29: partition.every: expected 1s to 36600d
                3 | partition: Partition(every: "10ms"), memory: "1mb", restarts: Restarts(within: "400000d")
                  |                             ^^^^^^
            t.ron:3:46: memory: bad size "1mb": expected a whole number and B, KB, MB, GB, KiB, MiB, GiB or TiB, such as "32MiB"
                3 | partition: Partition(every: "10ms"), memory: "1mb", restarts: Restarts(within: "400000d")
                  |                                              ^^^^^
            t.ron:3:80: restarts.within: bad duration "400000d": expected at most 36600d (100 years)
                3 | partition: Partition(every: "10ms"), memory: "1mb", restarts: Restarts(within: "400000d")
                  |                                                                                ^^^^^^^^^"#]],
    );
    check_bolts(
        r#""a": Bolt(run: Void(), inputs: [Shuffle("in")], linger: "5", on_error: Retry(times: "x")),"#,
        expect![[r#"
            t.ron:2:57: bolt "a": linger: bad duration "5": expected a whole number and ms, s, m, h or d, such as "90s"
                2 | "a": Bolt(run: Void(), inputs: [Shuffle("in")], linger: "5", on_error: Retry(times: "x")),
                  |                                                         ^^^
            t.ron:2:85: bolt "a": on_error: times: expected a whole number from 0 to 4294967295, found text
                2 |  Bolt(run: Void(), inputs: [Shuffle("in")], linger: "5", on_error: Retry(times: "x")),
                  |                                                                                 ^^^"#]],
    );
}

#[test]
fn settings_are_one_of_what_there_is() {
    check_settings(
        "checkpoint: On",
        expect![[r#"
        t.ron:3:13: checkpoint: expected `Checkpoint` or `Off`, found `On`
            3 | checkpoint: On
              |             ^^"#]],
    );
    check_settings(
        "checkpoint: Off(every: \"1s\")",
        expect![[r#"
        t.ron:3:13: checkpoint: expected `Checkpoint(every: …)`, found `Off(…)`
            3 | checkpoint: Off(every: "1s")
              |             ^^^"#]],
    );
    check_settings(
        "micro_batch: Off, partition: \"1h\", restarts: Restarts",
        expect![[r#"
        t.ron:3:14: micro_batch: expected `MicroBatch(posts: …)`, found `Off`
            3 | micro_batch: Off, partition: "1h", restarts: Restarts
              |              ^^^
        t.ron:3:30: partition: expected `Partition(every: …)`, found text
            3 | micro_batch: Off, partition: "1h", restarts: Restarts
              |                              ^^^^
        t.ron:3:46: restarts: expected `Restarts(max: …)`, found `Restarts`
            3 | micro_batch: Off, partition: "1h", restarts: Restarts
              |                                              ^^^^^^^^"#]],
    );
    check_settings(
        "checkpoint: Off, restarts: (max: 2), memory: \"1GiB\"",
        expect!["ok: 2 components"],
    );
    check_bolts(
        r#""a": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: DeadLetters),
        "b": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: Stop()),
        "c": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: Retry(then: Drop)),
        "d": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: DeadLetter, linger: None),
        "e": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: Stop, linger: Some("1ms")),"#,
        expect![[r#"
            t.ron:2:59: bolt "a": on_error: expected `Retry` or `DeadLetter` or `Stop`, found `DeadLetters`; did you mean "DeadLetter"?
                2 | "a": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: DeadLetters),
                  |                                                           ^^^^^^^^^^^
            t.ron:3:67: bolt "b": on_error: `Stop` stands alone
                3 |         "b": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: Stop()),
                  |                                                                   ^^^^
            t.ron:4:79: bolt "c": on_error: then: expected `DeadLetter` or `Stop`, found `Drop`
                4 |         "c": Bolt(run: Void(), inputs: [Shuffle("in")], on_error: Retry(then: Drop)),
                  |                                                                               ^^^^"#]],
    );
}

#[test]
fn a_topology_has_a_name_a_spout_and_a_sink() {
    check(
        "Topology()",
        expect![[r#"
            t.ron:1:1: the topology has no sink, so nothing would be kept
                1 | Topology()
                  | ^^^^^^^^
            t.ron:1:1: the topology has no spout, so nothing would come in
                1 | Topology()
                  | ^^^^^^^^
            t.ron:1:1: the topology needs the field "name"
                1 | Topology()
                  | ^^^^^^^^"#]],
    );
    check(
        r#"Topology(name: "../x", spouts: {}, bolts: [])"#,
        expect![[r#"
            t.ron:1:1: the topology has no spout, so nothing would come in
                1 | Topology(name: "../x", spouts: {}, bolts: [])
                  | ^^^^^^^^
            t.ron:1:16: name: expected 1 to 128 bytes without `/`, `\` or control characters, not beginning with a dot
                1 | Topology(name: "../x", spouts: {}, bolts: [])
                  |                ^^^^^^
            t.ron:1:43: bolts: expected `{ "id": Bolt(run: …) }`, found a list
                1 | Topology(name: "../x", spouts: {}, bolts: [])
                  |                                           ^^"#]],
    );
    check(
        "[1, 2]",
        expect![[r#"
            t.ron:1:1: the topology: expected `Topology(name: …)`, found a list
                1 | [1, 2]
                  | ^^^^^^"#]],
    );
    check(
        r#"Topologie(name: "t")"#,
        expect![[r#"
            t.ron:1:1: the topology: expected `Topology(name: …)`, found `Topologie(…)`
                1 | Topologie(name: "t")
                  | ^^^^^^^^^"#]],
    );
    check(
        "",
        expect![[r#"
        t.ron:1:1: expected a value, found the end of the file
            1 | 
              | ^"#]],
    );
}

#[test]
fn all_fields_of_a_configuration_are_checked_at_once() {
    check_config(
        r#"Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)"#,
        expect![[r#"
            t.ron:3:16: spout "in": Numbers: count: expected a whole number, found "ten"
                3 | Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)
                  |                ^^^^^
            t.ron:3:30: spout "in": Numbers: every: bad duration "soon": expected a whole number and ms, s, m, h or d, such as "90s"
                3 | Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)
                  |                              ^^^^^^
            t.ron:3:45: spout "in": Numbers: order: expected `Up` or `Down` or `Random`, found `Sideways`
                3 | Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)
                  |                                             ^^^^^^^^
            t.ron:3:55: spout "in": Numbers has no field "topcis": its fields are "count", "every", "order", "token", "topics"; did you mean "topics"?
                3 | Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)
                  |                                                       ^^^^^^
            t.ron:3:77: spout "in": Numbers: token: expected text, found 7
                3 | Numbers(count: "ten", every: "soon", order: Sideways, topcis: ["a"], token: 7)
                  |                                                                             ^"#]],
    );
    check_config(
        "Numbers(order: Random(sed: 1))",
        expect![[r#"
        t.ron:3:23: spout "in": Numbers: order has no field "sed": its fields are "seed", "within"; did you mean "seed"?
            3 | Numbers(order: Random(sed: 1))
              |                       ^^^"#]],
    );
    check_config(
        r#"Numbers(order: Random(seed: -1, within: "1y"))"#,
        expect![[r#"
            t.ron:3:29: spout "in": Numbers: order.seed: expected a number within range, found -1
                3 | Numbers(order: Random(seed: -1, within: "1y"))
                  |                             ^^
            t.ron:3:41: spout "in": Numbers: order.within: bad duration "1y": expected a whole number and ms, s, m, h or d, such as "90s"
                3 | Numbers(order: Random(seed: -1, within: "1y"))
                  |                                         ^^^^"#]],
    );
    check_config(
        r#"Numbers(order: Random(), topics: ["a", 2])"#,
        expect![[r#"
            t.ron:3:16: spout "in": Numbers: order needs the field "seed"
                3 | Numbers(order: Random(), topics: ["a", 2])
                  |                ^^^^^^
            t.ron:3:40: spout "in": Numbers: topics: expected text, found 2
                3 | Numbers(order: Random(), topics: ["a", 2])
                  |                                        ^"#]],
    );
    check_config(
        "Numbers(1, 2)",
        expect![[r#"
        t.ron:3:1: spout "in": Numbers takes named fields, such as `Numbers(field: …)`
            3 | Numbers(1, 2)
              | ^^^^^^^"#]],
    );
    check_config(
        "(count: 1)",
        expect![[r#"
        t.ron:3:1: spout "in": expected a component such as `Name(field: …)`, found fields without a name in front
            3 | (count: 1)
              | ^^^^^^^^^^"#]],
    );
    check_config("N", expect!["ok: 2 components"]);
    check_config(
        r#"Numbers(count: Some(3), token: None, every: "2m", topics: [r"a", "b",],)"#,
        expect!["ok: 2 components"],
    );
    check_bolts(
        r#""a": Bolt(run: Shout(field: "kind", env: { "A": "1", "A": "2" }), inputs: [Shuffle("in")]),"#,
        expect![[r#"
            t.ron:2:54: bolt "a": Shout: env has the key "A" twice, first at t.ron:2:44
                2 | "a": Bolt(run: Shout(field: "kind", env: { "A": "1", "A": "2" }), inputs: [Shuffle("in")]),
                  |                                                      ^^^"#]],
    );
}

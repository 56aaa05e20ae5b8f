//! Tests of mistakes that newcomers make in topology files and their tests.

use expect_test::expect;

use super::{check_bolts, check_config, check_settings};

#[test]
fn a_word_in_quotes_is_told_with_the_words_there_are() {
    check_config(
        r#"Numbers(order: "up")"#,
        expect![[r#"
        t.ron:3:16: spout "in": Numbers: order: expected `Up` or `Down` or `Random` without quotes, found "up"; did you mean "Up"?
            3 | Numbers(order: "up")
              |                ^^^^"#]],
    );
    check_config(
        r#"Numbers(order: "sorted")"#,
        expect![[r#"
        t.ron:3:16: spout "in": Numbers: order: expected `Up` or `Down` or `Random` without quotes, found "sorted"
            3 | Numbers(order: "sorted")
              |                ^^^^^^^^"#]],
    );
    check_bolts(
        r#""a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")], on_error: "stop"),"#,
        expect![[r#"
            t.ron:2:75: bolt "a": on_error: expected `Retry` or `DeadLetter` or `Stop` without quotes, found "stop"; did you mean "Stop"?
                2 | "a": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")], on_error: "stop"),
                  |                                                                           ^^^^^^"#]],
    );
}

#[test]
fn an_id_without_quotes_is_one_mistake() {
    check_bolts(
        r#"a: Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
        "b": Bolt(run: Void(), inputs: [Shuffle("a")]),"#,
        expect![[r#"
            t.ron:2:1: expected an id in quotes, "a", found `a`
                2 | a: Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]),
                  | ^"#]],
    );
}

#[test]
fn tests_name_what_there_is() {
    check_settings(
        r#"tests: {
            "a": Test(input: {"inn": []}, expect: {"void": [], "on": Any}),
            "b": Test(inputs: {}, expect: {"in": [{"numbr": 1}, {"number": Between(1)}]}),
            "b": Test(expect: Ordered([])),
            c: Test(),
            "d": Test(),
            "e": Test(input: {"in": [{"number": 1, "x": 2}, Clock("+1m")]}, expect: {"void": Count(x)}),
        }"#,
        expect![[r#"
            t.ron:4:31: test "a": input: there is no spout "inn", but "in"; did you mean "in"?
                4 |             "a": Test(input: {"inn": []}, expect: {"void": [], "on": Any}),
                  |                               ^^^^^
            t.ron:4:64: test "a": expect: there is no component "on", but "in", "void"; did you mean "in"?
                4 |             "a": Test(input: {"inn": []}, expect: {"void": [], "on": Any}),
                  |                                                                ^^^^
            t.ron:5:23: test "b" has no field "inputs": its fields are "clock", "ends", "env", "input", "expect", "dead_letters"; did you mean "input"?
                5 |             "b": Test(inputs: {}, expect: {"in": [{"numbr": 1}, {"number": Between(1)}]}),
                  |                       ^^^^^^
            t.ron:5:52: test "b": expect: spout "in": there is no field "numbr", but "kind", "number"; did you mean "number"?
                5 |             "b": Test(inputs: {}, expect: {"in": [{"numbr": 1}, {"number": Between(1)}]}),
                  |                                                    ^^^^^^^
            t.ron:5:76: test "b": expect: spout "in": expected a value, `Any`, `Contains("text")` or `Between(1, 2)`, found `Between(…)`; did you mean "Between"?
                5 |             "b": Test(inputs: {}, expect: {"in": [{"numbr": 1}, {"number": Between(1)}]}),
                  |                                                                            ^^^^^^^
            t.ron:6:13: the test "b" is there twice, first at t.ron:5:13
                6 |             "b": Test(expect: Ordered([])),
                  |             ^^^
            t.ron:7:13: tests: expected a name in quotes, found `c`
                7 |             c: Test(),
                  |             ^
            t.ron:8:18: test "d" needs the field "expect": the rows that are to come out
                8 |             "d": Test(),
                  |                  ^^^^
            t.ron:9:38: test "e": input of "in": there is no field "x", but "number", "kind"
                9 |             "e": Test(input: {"in": [{"number": 1, "x": 2}, Clock("+1m")]}, expect: {"void": Count(x)}),
                  |                                      ^^^^^^^^^^^^^^^^^^^^^
            t.ron:9:61: test "e": what spout "in" sends has no event time that a clock could move
                9 |             "e": Test(input: {"in": [{"number": 1, "x": 2}, Clock("+1m")]}, expect: {"void": Count(x)}),
                  |                                                             ^^^^^^^^^^^^
            t.ron:9:94: test "e": expect: sink "void": expected a list of rows, `Ordered([…])`, `AtLeast([…])` or `Count(3)`, found `Count(…)`; did you mean "Count"?
                9 | e": Test(input: {"in": [{"number": 1, "x": 2}, Clock("+1m")]}, expect: {"void": Count(x)}),
                  |                                                                                 ^^^^^"#]],
    );
    check_settings(
        "tests: []",
        expect![[r#"
        t.ron:3:8: tests: expected `{ "name": Test(input: …) }`, found a list
            3 | tests: []
              |        ^^"#]],
    );
}

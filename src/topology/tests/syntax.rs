//! Compares this crate's RON syntax with that of `ron`.

use expect_test::expect;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use ron::extensions::Extensions;

use super::super::print::{Changes, layout, print};
use super::super::problem::Report;
use super::super::syntax;
use super::{cases, check};

/// Parses a text with this crate's parser and prints it again.
fn ours(text: &str) -> Option<String> {
    let mut report = Report::default();
    let whole = report.sources.add("t.ron", text.into());
    let node = syntax::parse(text, whole).ok()?;
    Some(print(&report.sources, &node, &Changes::default()).text)
}

/// Parses a text with `ron`, without `implicit_some`, under which `Some 1` is read as `1`.
fn theirs(text: &str) -> Option<ron::Value> {
    let extensions = Extensions::UNWRAP_NEWTYPES | Extensions::UNWRAP_VARIANT_NEWTYPES;
    ron::Options::default().with_default_extension(extensions).from_str(text).ok()
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| format!("0x{number:X}")),
        any::<f64>()
            .prop_filter("a number", |number| number.is_finite())
            .prop_map(|number| format!("{number:?}")),
        any::<String>().prop_map(|text| format!("{text:?}")),
        "[a-z \"\\\\é]{0,8}".prop_map(|text| format!("r##\"{text}\"##")),
        any::<char>().prop_map(|c| format!("{c:?}")),
        prop::sample::select(vec![
            "true",
            "false",
            "()",
            "inf",
            "-inf",
            "NaN",
            "1_000u32",
            "1.5e-7f64",
            "b'x'",
            "b\"a\\xff\"",
            "br#\"\"\"#",
            "None",
            "Off",
            "r#a.b",
            "0b1_0",
            "0o17",
            "+1",
            ".5",
            "1.",
            "0..3",
            "..=4",
            "1..",
            "\"a\\\n   b\"",
            "'''",
            "'\\''",
            "\"\\u{1F600}\\x41\"",
        ])
        .prop_map(str::to_owned),
    ]
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", " ", "\n", "\t", "// x\n", "/* , /* ) */ */", "\r\n", "\u{2028}"])
}

/// Generates valid RON with blanks and commas as people write them.
fn tree() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        let name = prop::sample::select(vec!["", "Name", "_x1", "Größe", "Some"]);
        let items = |open: &'static str, close: &'static str, item: BoxedStrategy<String>| {
            (prop::collection::vec(item, 1..4), blank(), blank(), any::<bool>()).prop_map(
                move |(items, a, b, last)| {
                    format!(
                        "{open}{a}{}{b}{}{a}{close}",
                        items.join(&format!("{b},{a}")),
                        if last { "," } else { "" }
                    )
                },
            )
        };
        let field =
            (prop::sample::select(vec!["a", "b_c", "r#type", "true"]), blank(), inner.clone())
                .prop_map(|(name, blank, value)| format!("{name}{blank}:{blank}{value}"));
        let entry =
            (inner.clone(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            items("[", "]", inner.clone().boxed()),
            items("{", "}", entry.boxed()),
            (name.clone(), items("(", ")", inner.boxed()))
                .prop_map(|(name, rest)| format!("{name}{rest}")),
            (name, items("(", ")", field.boxed())).prop_map(|(name, rest)| format!("{name}{rest}")),
        ]
    })
}

/// Generates pieces of RON in random order.
fn soup() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "\"",
        "'",
        "\\",
        "r#",
        "r#\"",
        "#",
        "!",
        "b",
        "br",
        "//",
        "/*",
        "*/",
        "\n",
        " ",
        "a",
        "A",
        "1",
        "-",
        "+",
        ".",
        "..",
        "=",
        "e",
        "0x",
        "f32",
        "u8",
        "_",
        "inf",
        "NaN",
        "true",
        "Some",
        "None",
        "#![enable(implicit_some)]",
        "#![type = \"x\"]",
        "é",
        "\u{85}",
        "\u{feff}",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn what_ron_takes_we_take_and_print_back_with_the_same_meaning(text in tree()) {
        let Some(value) = theirs(&text) else { return Ok(()) };
        let printed = ours(&text);
        prop_assert!(printed.is_some(), "{text}");
        let again = theirs(&printed.clone().unwrap_or_default());
        prop_assert_eq!(again.map(|value| format!("{value:?}")), Some(format!("{value:?}")), "{:?}", printed);
    }

    #[test]
    fn what_ron_takes_of_any_text_we_take(text in prop_oneof![soup(), any::<String>()]) {
        prop_assert!(theirs(&text).is_none() || ours(&text).is_some(), "{text:?}");
    }

    #[test]
    fn a_laid_out_tree_reads_the_same(text in tree()) {
        let mut report = Report::default();
        let whole = report.sources.add("t.ron", text.clone());
        if let Ok(node) = syntax::parse(&text, whole) {
            prop_assert_eq!(ours(&layout(&report.sources, &node, 2)), ours(&text));
        }
    }
}

#[test]
fn most_generated_trees_are_ron() {
    // Checks that the generators produce valid RON too: otherwise the properties above would test
    // nothing.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let trees = (0..200).map(|_| tree().new_tree(&mut runner).unwrap().current());
    let good = trees.filter(|text| theirs(text).is_some()).count();
    assert!(good > 150, "{good} of 200");
}

#[test]
fn syntax_errors_say_what_was_expected() {
    for (text, expected) in [
        (
            "Topology(name: \"t\"",
            expect![[r#"
            t.ron:1:9: this bracket is never closed: expected `)`
                1 | Topology(name: "t"
                  |         ^"#]],
        ),
        (
            "Topology(name: \"t)",
            expect![[r#"
            t.ron:1:16: this text has no end
                1 | Topology(name: "t)
                  |                ^"#]],
        ),
        (
            "Topology(name: r#\"t\")",
            expect![[r##"
            t.ron:1:16: this text has no end: expected "#
                1 | Topology(name: r#"t")
                  |                ^^^"##]],
        ),
        (
            "Topology(name \"t\")",
            expect![[r#"
            t.ron:1:15: expected `,` or `)`, found '"'
                1 | Topology(name "t")
                  |               ^"#]],
        ),
        (
            "Topology(name: \"t\" memory: 1)",
            expect![[r#"
            t.ron:1:20: expected `,` or `)`, found 'm'
                1 | Topology(name: "t" memory: 1)
                  |                    ^"#]],
        ),
        (
            "Topology(name = \"t\")",
            expect![[r#"
            t.ron:1:15: expected `:` between the name of a field and its value, found '='
                1 | Topology(name = "t")
                  |               ^"#]],
        ),
        (
            "Topology(name: \"t\", memory = 1)",
            expect![[r#"
            t.ron:1:28: expected `:`, found '='; write `name: value`
                1 | Topology(name: "t", memory = 1)
                  |                            ^"#]],
        ),
        (
            "Topology(\"name\": \"t\")",
            expect![[r#"
            t.ron:1:16: expected `,` or `)`, found ':'; the name of a field stands without quotes: `name: "capture"`
                1 | Topology("name": "t")
                  |                ^"#]],
        ),
        (
            "Topology(name: \"t\", \"memory\": 1)",
            expect![[r#"
            t.ron:1:21: expected the name of a field, found '"'; it stands without quotes
                1 | Topology(name: "t", "memory": 1)
                  |                     ^"#]],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn syntax_errors_in_maps_literals_and_comments_say_what_was_expected() {
    for (text, expected) in [
        (
            "Topology(name: \"t\", spouts: {\"a\": Spout(run: X(n: 1)}, bolts: {})",
            expect![[r#"
            t.ron:1:53: expected `)`, which closes the bracket at 1:40, found '}'
                1 | Topology(name: "t", spouts: {"a": Spout(run: X(n: 1)}, bolts: {})
                  |                                                     ^"#]],
        ),
        (
            "Topology(name: \"t\", bolts: { \"a\" = 1 })",
            expect![[r#"
            t.ron:1:34: expected `:`, found '='; write `name: value`
                1 | Topology(name: "t", bolts: { "a" = 1 })
                  |                                  ^"#]],
        ),
        (
            "Topology(name: \"t\", 5)",
            expect![[r#"
            t.ron:1:21: expected the name of a field, found '5'
                1 | Topology(name: "t", 5)
                  |                     ^"#]],
        ),
        (
            "Topology(name: \"t\", bolts: { \"a\" })",
            expect![[r#"
            t.ron:1:34: expected `:`, found '}'
                1 | Topology(name: "t", bolts: { "a" })
                  |                                  ^"#]],
        ),
        (
            "Topology(name: \"\\q\")",
            expect![[r#"
            t.ron:1:16: bad literal: unknown escape character
                1 | Topology(name: "\q")
                  |                ^^^^"#]],
        ),
        (
            "Topology(name: 12ab)",
            expect![[r#"
                t.ron:1:16: bad number 12ab
                    1 | Topology(name: 12ab)
                      |                ^^^^"#]],
        ),
        (
            "Topology(name: 'ab')",
            expect![[r#"
            t.ron:1:16: expected a character such as 'a'
                1 | Topology(name: 'ab')
                  |                ^^"#]],
        ),
        (
            "Topology(name: ,)",
            expect![[r#"
            t.ron:1:16: expected a value, found ','
                1 | Topology(name: ,)
                  |                ^"#]],
        ),
        (
            "Topology(name: \"t\") x",
            expect![[r#"
            t.ron:1:21: expected the end of the file, found 'x'
                1 | Topology(name: "t") x
                  |                     ^"#]],
        ),
        (
            "Topology(/* name: \"t\")",
            expect![[r#"
            t.ron:1:10: this comment has no end
                1 | Topology(/* name: "t")
                  |          ^^"#]],
        ),
        (
            "#[enable] Topology()",
            expect![[r#"
            t.ron:1:1: expected an attribute such as #![enable(implicit_some)]
                1 | #[enable] Topology()
                  | ^"#]],
        ),
        (
            "\u{feff}#![enable(implicit_some, unwrap_newtypes,)]\n@",
            expect![[r#"
            t.ron:2:1: expected a value, found '@'
                2 | @
                  | ^"#]],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn nesting_deeper_than_128_is_refused_and_the_stack_is_safe() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(ours(&nested(128)).is_some());
    assert!(ours(&nested(129)).is_none());
    assert!(ours(&nested(1_000_000)).is_none());
    assert!(ours(&"a(b:".repeat(1_000_000)).is_none());
    check(
        &format!("Topology(name:\n{})", nested(128)),
        expect![[r#"
        t.ron:2:128: nested deeper than 128 levels
            2 | [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]
              |                                                                                 ^"#]],
    );
}

#[test]
fn a_place_is_counted_in_characters() {
    check(
        "Topology(name: \"\u{e4}\u{4e2d}\u{1f600}\", \tnmae: 1, spouts: {}, bolts: {})",
        expect![[r#"
            t.ron:1:1: the topology has no sink, so nothing would be kept
                1 | Topology(name: "ä中😀",  nmae: 1, spouts: {}, bolts: {})
                  | ^^^^^^^^
            t.ron:1:1: the topology has no spout, so nothing would come in
                1 | Topology(name: "ä中😀",  nmae: 1, spouts: {}, bolts: {})
                  | ^^^^^^^^
            t.ron:1:24: the topology has no field "nmae": its fields are "name", "spouts", "bolts", "include", "checkpoint", "micro_batch", "partition", "memory", "restarts", "tests"; did you mean "name"?
                1 | Topology(name: "ä中😀",  nmae: 1, spouts: {}, bolts: {})
                  |                        ^^^^"#]],
    );
    check(
        "Topology(\r\n\r\n\tnmae: 1)\r\n",
        expect![[r#"
            t.ron:1:1: the topology has no sink, so nothing would be kept
                1 | Topology(
                  | ^^^^^^^^
            t.ron:1:1: the topology has no spout, so nothing would come in
                1 | Topology(
                  | ^^^^^^^^
            t.ron:3:2: the topology has no field "nmae": its fields are "name", "spouts", "bolts", "include", "checkpoint", "micro_batch", "partition", "memory", "restarts", "tests"; did you mean "name"?
                3 |  nmae: 1)
                  |  ^^^^
            t.ron:3:8: name: expected text such as "capture", found a number
                3 |  nmae: 1)
                  |        ^"#]],
    );
}

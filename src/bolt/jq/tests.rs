use proptest::prelude::*;

use super::bounds::STEPS_USUAL;
use super::*;
use crate::value::tests::any_value;

/// Returns the outputs of an expression for JSON, each as JSON, or the error.
fn run(code: &str, json: &str) -> Result<Vec<String>, String> {
    let program = Program::compile(code, STEPS_USUAL).map_err(|flaw| flaw.what().to_owned())?;
    let mut values = Vec::new();
    let input = convert::from_json(json.as_bytes()).map_err(|error| error.chain())?;
    let ran = program.run(input, Val::Null, |value| {
        values.push(String::from_utf8(into_json(&value)?).unwrap());
        Ok(true)
    });
    ran.map(|()| values).map_err(|error| error.chain())
}

#[track_caller]
fn check(code: &str, json: &str, expected: &[&str]) {
    assert_eq!(run(code, json).unwrap(), expected, "{code}");
}

#[track_caller]
fn check_error(code: &str, json: &str, expected: &str) {
    let error = run(code, json).unwrap_err();
    assert!(error.contains(expected), "{code}: {error}");
}

fn jq(filter: &str, fields: Option<&[&str]>) -> Jq {
    let fields = fields.map(|fields| fields.iter().map(|field| (*field).to_owned()).collect());
    Jq { filter: filter.into(), fields, max_steps: steps_usual() }
}

/// Returns the tuples that a bolt emits for one tuple.
fn map(config: &Jq, input: &Fields, values: &[Value]) -> Result<Vec<Vec<Value>>, String> {
    config.streams(std::slice::from_ref(input)).unwrap();
    let mapper = Mapper::of(config, std::slice::from_ref(input)).unwrap();
    let mut emitted = Vec::new();
    let mapped = mapper.map(Tuple::new(values, 0), |values| emitted.push(values));
    mapped.map(|()| emitted).map_err(|error| error.chain())
}

fn post(json: &'static str) -> [Value; 3] {
    let post = Post::check(json.into()).unwrap();
    let kind = Value::from(post.kind());
    [post.into(), kind, Value::List([Value::from("#storm")].into())]
}

#[test]
fn expressions_do_what_jq_does() {
    check(".a.b", r#"{"a":{"b":1}}"#, &["1"]);
    check(".[] | select(. > 1) * 2", "[1,2,3]", &["4", "6"]);
    check("[.[] | {n: .}]", "[1,2]", &[r#"[{"n":1},{"n":2}]"#]);
    check("{a, (\"b\"): 2, \"c\\(.a)\": 3} | keys", r#"{"a":1}"#, &[r#"["a","b","c1"]"#]);
}

#[test]
fn the_library_keeps_its_meaning_within_the_bounds() {
    check("reduce .[] as $x (0; . + $x)", "[1,2,3]", &["6"]);
    check("[foreach .[] as $x (0; . + $x; . * 10)]", "[1,2,3]", &["[10,30,60]"]);
    check("[limit(3; repeat(1))]", "null", &["[1,1,1]"]);
    check(
        "[range(0; 10; 3)], [range(3)], [range(3; 0; -1)]",
        "null",
        &["[0,3,6,9]", "[0,1,2]", "[3,2,1]"],
    );
    check("map(. * 2) | add", "[1,2,3]", &["12"]);
    check("to_entries", r#"{"a":1}"#, &[r#"[{"key":"a","value":1}]"#]);
    check("with_entries(.value += 1)", r#"{"a":1}"#, &[r#"{"a":2}"#]);
    check("[paths]", r#"{"a":[1]}"#, &[r#"[["a"],["a",0]]"#]);
    check("del(.[] | select(. == 2))", "[1,2,3]", &["[1,3]"]);
    check(
        "walk(if type == \"number\" then . + 1 else . end)",
        r#"[1,{"a":2}]"#,
        &[r#"[2,{"a":3}]"#],
    );
    check(".a *= 3 | .b //= 4 | .c |= 5 | .a += 1", r#"{"a":2}"#, &[r#"{"a":7,"b":4,"c":5}"#]);
    check(".[1:], .[-1:], first, last", "[1,2,3]", &["[2,3]", "[3]", "1", "3"]);
    check("\"a\" * 3, {a:{b:1}} * {a:{c:2}}", "null", &[r#""aaa""#, r#"{"a":{"b":1,"c":2}}"#]);
    check("group_by(.a) | map(length)", r#"[{"a":1},{"a":2},{"a":1}]"#, &["[2,1]"]);
    check("def f(n): if n > 3 then . else f(n + 1) end; f(0)", "7", &["7"]);
    check("label $out | (1, break $out, 2)", "null", &["1"]);
    check(".x? // \"none\", (try error(\"no\") catch .)", "[]", &[r#""none""#, r#""no""#]);
    check("[match(\"o\"; \"g\").offset], sub(\"o\"; \"0\")", r#""foo""#, &["[1,2]", r#""f0o""#]);
    check(
        "tojson, (tojson | fromjson), @base64 \"\\(.)\"",
        "[1]",
        &[r#""[1]""#, "[1]", r#""WzFd""#],
    );
    check("[combinations]", "[[1,2],[3,4]]", &["[[1,3],[1,4],[2,3],[2,4]]"]);
    check("[.. | numbers]", "[1,[2,[3]]]", &["[1,2,3]"]);
    check(". as [$a, {b: $c}] | [$c, $a]", r#"[1,{"b":2}]"#, &["[2,1]"]);
    check(
        "strptime(\"%a %b %d %H:%M:%S %z %Y\") | mktime",
        r#""Fri Jul 04 01:02:03 +0000 2014""#,
        &["1404435723"],
    );
}

#[test]
fn numbers_keep_all_their_digits() {
    let json = r#"{"id":1234567890123456789012345,"n":9007199254740993,"d":1.10,"e":1e400}"#;
    check(".", json, &[json]);
    check(".n + 1", json, &["9007199254740994"]);
    check("nan, infinite", "null", &["null", "null"]);
}

#[test]
fn an_expression_can_see_nothing_but_its_tuple() {
    for outside in ["env", "$ENV", "input", "inputs", "now", "debug", "halt", "stderr"] {
        check_error(outside, "null", &format!("at character 1: {outside} isn't available"));
    }
    for outside in ["import \"a\" as a; .", "include \"a\"; ."] {
        check_error(outside, "null", "expected");
    }
    for outside in
        ["localtime", "input_filename", "halt_error", "input_line_number", "get_search_list"]
    {
        check_error(outside, "null", "there is no filter");
    }
}

#[test]
fn a_flaw_is_told_with_its_place() {
    check_error("", "null", "expected a term, found the end");
    check_error(".a |", "null", "at character 5: expected a term, found the end");
    check_error(".a | | .b", "null", "at character 6: expected a term, found \"|\"");
    check_error(
        "\"é\" | foo(1)",
        "null",
        "at character 7: there is no filter \"foo\" with 1 arguments",
    );
    check_error(".a\n| $b", "null", "at line 2, character 3: there is no variable $b");
    check_error("(.a", "null", "expected a closing parenthesis for the ( at character 1");
    check_error(".a & .b", "null", "at character 4: expected a token, found \"& .b\"");
    check_error("reduce .[] as $x (1)", "null", "expected \"reduce");
    check_error("if . then 1", "null", "expected else or end, found the end");
    check_error("break $x", "null", "there is no label");
}

#[test]
fn a_name_that_is_wrong_has_candidates() {
    let Err(flaw) = Program::compile("selct(.a)", STEPS_USUAL) else { panic!("compiled") };
    let (name, candidates) = flaw.problem("where").candidates.unwrap();
    assert_eq!(name, "selct");
    assert!(candidates.contains(&"select".into()) && !candidates.contains(&"env".into()));
    assert!(candidates.iter().all(|name| !name.starts_with('!')));
}

#[test]
fn an_expression_that_never_ends_is_ended() {
    for endless in [
        "def f: f; f",
        "[repeat(1)]",
        "[range(0; infinite)] | length",
        "range(0; 1; 0) | empty",
        "first(range(infinite) | select(. < 0))",
        "last(repeat(1))",
        "reduce repeat(1) as $x (0; . + 1)",
        "[limit(1000000000; repeat(1))]",
        "until(false; .)",
        "[range(1000)] | [.[] == .[] | . == true] | length",
        "[range(1000)] | map(. as $a | range(1000))",
        "[range(300)] as $a | [$a[] + $a[] + $a[]]",
        "isempty(range(infinite) | empty)",
    ] {
        check_error(endless, "null", "takes more than 250000 steps");
    }
}

#[test]
fn an_expression_cannot_take_all_memory() {
    for greedy in [
        "\"a\" | until(false; . + .)",
        "reduce range(64) as $i (\"a\"; . + .)",
        "reduce range(64) as $i (\"a\"; . += .)",
        "reduce range(64) as $i ([1]; . + .)",
        "reduce range(64) as $i (1; [., .])",
        "reduce range(64) as $i ({}; {a: ., b: .})",
        "reduce range(64) as $i (\"\\\"\"; tojson)",
        "reduce range(64) as $i (\"a\"; \"\\(.)\\(.)\")",
        "reduce range(64) as $i ({}; .a = . | .b = .)",
        "[range(1000) | \"a\" * 1000000]",
        "\"&\" * 1000000 | @html | @html | @html | @html | @html | @html",
    ] {
        check_error(greedy, "null", "takes more than 250000 steps");
    }
    for greedy in [
        "\"a\" * 1e15",
        "1e15 * \"a\"",
        "reduce range(64) as $i (\"a\"; . *= 1e9)",
        "reduce range(64) as $i (3; . * .)",
        "reduce range(64) as $i (3; . *= .)",
    ] {
        check_error(greedy, "null", "too large");
    }
    check_error("range(20000)", "null", "gives more than 10000 values");
}

#[test]
fn an_expression_cannot_end_the_stack() {
    check_error("def f: f + 1; f", "null", "calls itself too deep");
    check_error("def f: [f]; f", "null", "calls itself too deep");
    check_error("def f: try f catch f; f", "null", "calls itself too deep");
    check_error("[recurse(.; true)] | length", "1", "takes more than 250000 steps");
    check_error("reduce range(1000) as $i (0; [.])", "null", "nested more than 128 deep");
    check_error("reduce range(1000) as $i (0; {a: .})", "null", "nested more than 128 deep");
    check_error("reduce range(1000) as $i ({}; .a = .)", "null", "nested more than 128 deep");
    check_error("reduce range(1000) as $i ([0]; group_by(.))", "null", "nested more than 128 deep");
    check_error("\"[\" * 100000 | fromjson", "null", "nested at most 128 deep");
    check_error("setpath([range(100000) | \"a\"]; 1)", "null", "the jq filter");
}

#[test]
fn an_error_is_cut_and_tells_what_failed() {
    check_error(".a", "[1]", "the jq filter fails: cannot index [1] with \"a\"");
    check_error("error(\"no \\(.)\")", "1", "the jq filter fails: no 1");
    let error = run("error([range(1000)])", "null").unwrap_err();
    assert!(error.chars().count() < 350 && error.ends_with('…'), "{error}");
}

#[test]
fn half_of_a_surrogate_pair_does_not_hide_the_post() {
    check(
        ".",
        r#"{"t":{"a":"\ud800 x \\ud800 \udc00","b":"\ud83e\udd80\ud83e\n"}}"#,
        &["{\"t\":{\"a\":\"\u{fffd} x \\\\ud800 \u{fffd}\",\"b\":\"🦀\u{fffd}\\n\"}}"],
    );
}

#[test]
fn without_fields_posts_are_emitted() {
    let [raw, kind, topics] = post(r#"{"tweet": {"id": 1,  "text": "a"}}"#);
    let input = Fields::of_posts();
    let values = [raw.clone(), kind.clone(), topics.clone()];
    // The post keeps its bytes, including spaces.
    let same = map(&jq("select(.tweet.id == 1)", None), &input, &values).unwrap();
    assert_eq!(same, [[raw, kind.clone(), topics.clone()]]);
    let other = map(&jq("{tweet: (.tweet | {text})}, {note: {}}", None), &input, &values).unwrap();
    let [made, _, _] = post(r#"{"tweet":{"text":"a"}}"#);
    let [note, note_kind, _] = post(r#"{"note":{}}"#);
    assert_eq!(other, [[made, kind, topics.clone()], [note, note_kind, topics]]);
    let error = map(&jq(".tweet.id", None), &input, &values).unwrap_err();
    assert!(error.contains("gives a number: expected a post"), "{error}");
    let error = map(&jq(".tweet", None), &input, &values).unwrap_err();
    assert!(error.contains("gives no post (expected one key"), "{error}");
}

#[test]
fn with_fields_objects_lists_and_single_values_are_emitted() {
    let values = post(r#"{"tweet":{"id":1,"tags":["a","b"],"o":{"x":1}}}"#);
    let emitted = |filter: &str, fields: &[&str]| {
        map(&jq(filter, Some(fields)), &Fields::of_posts(), &values)
    };
    assert_eq!(
        emitted(".tweet.tags[]", &["tag"]).unwrap(),
        [[Value::from("a")], [Value::from("b")]]
    );
    assert_eq!(
        emitted("{b: .tweet.id}, [true, 1.5]", &["a", "b"]).unwrap(),
        [[Value::Null, Value::Int(1)], [Value::Bool(true), Value::Float(1.5)]]
    );
    assert_eq!(
        emitted("[.tweet.tags], {tag: .tweet.o}", &["tag"]).unwrap(),
        [[Value::List(["a".into(), "b".into()].into())], [Value::Json(r#"{"x":1}"#.into())]]
    );
    assert_eq!(
        emitted("[$tuple.kind, $tuple.topics]", &["kind", "topics"]).unwrap(),
        [["tweet".into(), Value::List(["#storm".into()].into())]]
    );
    for (filter, error) in [
        ("{c: 1}", "gives a field \"c\", but `fields` declares \"a\", \"b\""),
        ("[1]", "gives a list of 1"),
        ("1", "gives a number"),
    ] {
        let found = emitted(filter, &["a", "b"]).unwrap_err();
        assert!(found.contains(error), "{found}");
    }
}

#[test]
fn an_input_without_posts_is_an_object_of_its_fields() {
    let input = Fields::new(["word", "count"]);
    let values = [Value::from("storm"), Value::Int(3)];
    let emitted = map(&jq("\"\\(.word) \\(.count)\"", Some(&["line"])), &input, &values).unwrap();
    assert_eq!(emitted, [[Value::from("storm 3")]]);
}

#[test]
fn the_problems_of_both_fields_are_told_at_once() {
    let problems =
        jq(".a |", Some(&["a", "", "a", "a"])).streams(&[Fields::of_posts()]).unwrap_err();
    let told: Vec<_> =
        problems.iter().map(|problem| (problem.field, problem.what.as_str())).collect();
    assert_eq!(
        told,
        [
            ("fields", "expected a name, found \"\""),
            ("fields", "expected each field once, found \"a\" again"),
            ("filter", "at character 5: expected a term, found the end"),
        ]
    );
    let problems = jq(".", Some(&[])).streams(&[Fields::of_posts()]).unwrap_err();
    assert!(problems[0].what.contains("at least one field"));
}

proptest! {
    #[test]
    fn a_value_comes_back_from_jq_as_it_went_in(value in any_value()) {
        // JSON of arbitrary bytes can't be a value of a tuple.
        prop_assume!(holds_no_raw_json(&value));
        let there = convert::from_value(&value).unwrap();
        prop_assert_eq!(into_value(&there).unwrap(), value);
    }

    #[test]
    fn any_text_compiles_or_is_refused(code in "[a-z$.|()\\[\\]{},:\"\\\\ \n0-9é]{0,40}") {
        if let Err(flaw) = Program::compile(&code, 1000) {
            prop_assert!(!flaw.what().is_empty());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_expression_of_parts_ends(parts in prop::collection::vec(0_usize..PARTS.len(), 1..8)) {
        let code = parts.iter().map(|part| PARTS[*part]).collect::<Vec<_>>().join(" | ");
        let _ = run(&code, r#"{"a":[1,2,{"b":"x"}],"c":"text"}"#);
    }
}

/// Parts that make values grow or loop, to be joined in any order.
const PARTS: [&str; 18] = [
    "[., .]",
    "{a: ., b: .}",
    ". + .",
    "tojson",
    "@html",
    "..",
    "range(1000)",
    "[repeat(.)]",
    "map(.)",
    "[.[]?]",
    "to_entries",
    "group_by(.)",
    "tostring * 1000",
    "[splits(\"a\")]",
    "explode",
    "keys",
    "walk([.])",
    "(reduce range(30) as $i (.; [., .]))",
];

fn holds_no_raw_json(value: &Value) -> bool {
    match value {
        Value::Json(_) | Value::Post(_) => false,
        // JSON has no NaN; a float without a fraction stays a float.
        Value::Float(number) => number.is_finite(),
        Value::List(values) => values.iter().all(holds_no_raw_json),
        _ => true,
    }
}

#[test]
fn the_usual_number_of_steps_is_enough_for_every_part_of_a_post() {
    let member = (0..500).map(|i| format!("\"k{i}\":[{i},\"text\"]")).collect::<Vec<_>>().join(",");
    let json = format!("{{\"tweet\":{{{member}}}}}");
    run("[.. | scalars | tostring] | join(\" \")", &json).unwrap();
    run("walk(if type == \"string\" then ascii_upcase else . end)", &json).unwrap();
}

use proptest::prelude::*;

use super::*;
use crate::post::Post;

fn pick(ron: &str) -> Pick {
    crate::registry::ron_options().from_str(ron).unwrap()
}

fn picked(config: &Pick, json: &str) -> Vec<Value> {
    let input = Fields::of_posts();
    let picker = Picker::of(config, std::slice::from_ref(&input)).unwrap();
    let post = Post::check(json.to_owned().into()).unwrap();
    let kind = Value::from(post.kind());
    picker.pick(Tuple::new(&[post.into(), kind, Value::List([].into())], 0))
}

fn whats(ron: &str, inputs: &[Fields]) -> Vec<(&'static str, String)> {
    let problems = pick(ron).streams(inputs).unwrap_err();
    problems.into_iter().map(|problem| (problem.field, problem.what)).collect()
}

#[test]
fn fields_come_in_the_order_of_the_file_behind_those_that_are_kept() {
    let config = pick(r#"(fields: {"z": "/tweet/z", "a": "/tweet/a"}, keep: ["kind"])"#);
    let streams = config.streams(&[Fields::of_posts()]).unwrap();
    assert_eq!(streams, Streams::default_with(Fields::new(["kind", "z", "a"])));
    let values = picked(&config, r#"{"tweet":{"a":1,"z":"x"}}"#);
    assert_eq!(values, ["tweet".into(), "x".into(), Value::Int(1)]);
    let values = picked(&config, r#"{"toot":{"a":1}}"#);
    assert_eq!(values, ["toot".into(), Value::Null, Value::Null]);
}

#[test]
fn each_type_of_json_has_its_value() {
    let config = pick(r#"(fields: {"v": "/t"})"#);
    for (json, expected) in [
        ("null", Value::Null),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("-12", Value::Int(-12)),
        ("1.5e1", Value::Float(15.0)),
        ("1e999", Value::Json("1e999".into())),
        ("12345678901234567890", Value::Json("12345678901234567890".into())),
        (r#""a\n\ud800""#, Value::from("a\n\u{fffd}")),
        (
            r#"[1, "a", [], {"b": 1}]"#,
            Value::List(
                [
                    Value::Int(1),
                    "a".into(),
                    Value::List([].into()),
                    Value::Json(r#"{"b": 1}"#.into()),
                ]
                .into(),
            ),
        ),
        ("{}", Value::Json("{}".into())),
    ] {
        assert_eq!(picked(&config, &format!(r#"{{"t":{json}}}"#)), [expected], "{json}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let inputs = [Fields::of_posts(), Fields::new(["word"])];
    assert_eq!(
        whats(r#"(fields: {"id": "tweet/id", "": "/a", "kind": "/a~2"}, keep: ["kind", "kind"])"#, &inputs),
        [
            ("fields", "field \"id\": expected a JSON pointer, which begins with \"/\", such as \"/tweet/user/id_str\"; found \"tweet/id\"".into()),
            ("fields", "expected a name for the pointer \"/a\", found \"\"".into()),
            ("fields", "field \"kind\": bad JSON pointer \"/a~2\": expected ~0 (a tilde) or ~1 (a slash) at character 3".into()),
            ("keep", "\"kind\" is also the name of a picked field".into()),
            ("keep", "expected each field once, found \"kind\" again".into()),
            ("fields", "picks from the field \"post\", but an input declares \"word\"".into()),
            ("keep", "keeps \"kind\", but an input declares \"word\"".into()),
            ("keep", "keeps \"kind\", but an input declares \"word\"".into()),
        ]
    );
    assert_eq!(
        whats("(fields: {})", &inputs[..1]),
        [("fields", "expected at least one field, found none".into())]
    );
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    let refused = crate::registry::ron_options()
        .from_str::<Pick>(r#"(fields: {"id": "/a", "id": "/b"})"#)
        .unwrap_err();
    assert!(refused.to_string().contains("found \"id\" again"), "{refused}");
}

#[test]
fn what_is_printed_reads_back() {
    let config = pick(r#"(fields: {"z": "/tweet/z", "a": "/tweet/a"}, keep: ["kind"])"#);
    let printed = crate::registry::ron_options().to_string(&config).unwrap();
    assert_eq!(pick(&printed).fields, config.fields);
}

proptest! {
    #[test]
    fn a_text_and_a_number_are_picked_as_they_are(text: String, number: i64) {
        let config = pick(r#"(fields: {"text": "/t/text", "number": "/t/number"})"#);
        let post = serde_json::json!({"t": {"number": number, "x": [text], "text": text}});
        let values = picked(&config, &post.to_string());
        prop_assert_eq!(values, [Value::from(text), Value::Int(number)]);
    }
}

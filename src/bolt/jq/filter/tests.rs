use super::*;
use crate::post::Post;
use crate::value::Value;

fn filter(code: &str) -> Filter {
    Filter { r#where: code.into(), max_steps: steps_usual() }
}

fn passes(code: &str, json: &'static str) -> Result<bool, String> {
    let fields = Fields::of_posts();
    let program = compile_checked(code, steps_usual()).unwrap();
    let sieve = Sieve { program, places: vec![InputPlaces::of(&fields)] };
    let post = Post::check(json.into()).unwrap();
    let kind = Value::from(post.kind());
    let values = [post.into(), kind, Value::List([].into())];
    sieve.passes(Tuple::new(&values, 0)).map_err(|error| error.chain())
}

#[test]
fn a_tuple_passes_where_the_expression_is_true() {
    let post = r#"{"tweet":{"lang":"en","n":0}}"#;
    for (code, expected) in [
        (".tweet.lang == \"en\"", true),
        (".tweet.lang == \"fr\"", false),
        (".tweet.n", true),
        (".tweet.missing", false),
        ("empty", false),
        ("false, null, true, error", true),
        ("$tuple.kind == \"tweet\"", true),
        ("$tuple.topics == []", true),
        (".toot", false),
    ] {
        assert_eq!(passes(code, post), Ok(expected), "{code}");
    }
    let error = passes(".tweet.lang.x", post).unwrap_err();
    assert!(error.contains("the jq filter fails: cannot index \"en\" with \"x\""), "{error}");
}

#[test]
fn inputs_go_on_with_their_own_fields_which_must_be_the_same() {
    let fields = Fields::new(["word", "count"]);
    let streams = filter(".count > 1").streams(&[fields.clone(), fields.clone()]).unwrap();
    assert_eq!(streams, Streams::default_with(fields.clone()));
    let problems = filter(".count >").streams(&[fields, Fields::of_posts()]).unwrap_err();
    assert_eq!(problems.len(), 2);
    assert!(problems.iter().all(|problem| problem.field == "where"));
    assert!(problems[0].what.starts_with("at character"), "{}", problems[0].what);
    assert!(problems[1].what.contains("the same fields"), "{}", problems[1].what);
}

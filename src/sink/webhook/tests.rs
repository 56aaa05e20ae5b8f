//! Tests of a webhook's configuration, its bodies, and the meaning of answers.

use time::macros::datetime;

use super::endpoint::{Outcome, outcome};
use super::*;
use crate::net::http::Reply;
use crate::post::Post;
use crate::value::Value;

fn webhook(fields: &str) -> Webhook {
    let config = format!("(url: \"https://host/hook\"{fields})");
    let options =
        ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
    options.from_str(&config).unwrap()
}

fn problems(fields: &str) -> Vec<String> {
    let found = webhook(fields).check(&[Fields::of_posts()]).err().unwrap_or_default();
    found.into_iter().map(|problem| format!("{}: {}", problem.field, problem.what)).collect()
}

#[test]
fn each_problem_names_its_field() {
    assert_eq!(problems(""), [""; 0]);
    assert_eq!(problems(", template: \"{a: 1}\", rate: \"2/s\", at_once: 256"), [""; 0]);
    let found = problems(
        r#", headers: {"Host": "h", "a b": "", "Idempotency-Key": "1"}, template: "{", at_once: 257,
        outbox: "0B", signature: (secret: "", header: "te")"#,
    );
    let fields: Vec<_> = found.iter().map(|problem| problem.split(':').next().unwrap()).collect();
    let expected = [
        "headers",
        "headers",
        "idempotency_header",
        "signature",
        "template",
        "signature",
        "at_once",
        "outbox",
    ];
    assert_eq!(fields, expected, "{found:#?}");
    for url in ["", "host/hook", "ftp://host", "https://", "hook"] {
        let bad = Webhook { url: url.into(), ..webhook("") };
        let problems = bad.check(&[]).unwrap_err();
        assert_eq!(problems[0].what, "bad url: expected such as \"https://host/path\"", "{url}");
    }
}

#[test]
fn nothing_that_may_be_a_secret_is_in_the_debug_text() {
    let config = webhook(r#", headers: {"A": "hidden"}, signature: (secret: "hidden")"#);
    let text = format!("{config:?}");
    assert!(!text.contains("hidden") && !text.contains("hook\""), "{text}");
}

fn body(fields: &str, values: &[Value], names: &[&str]) -> Result<Option<(String, &'static str)>> {
    let inputs = [Fields::new(names.iter().copied())];
    let body = Bodies::new(&webhook(fields), &inputs)?.of(Tuple::new(values, 0))?;
    Ok(body.map(|body| (String::from_utf8(body.bytes).unwrap(), body.content_type)))
}

#[test]
fn a_body_is_the_fields_as_json_or_what_the_template_gives() {
    let values = [Value::from("a \"b\" <!all>"), Value::Int(7)];
    let check = |fields: &str, expected: &str, content_type: &str| {
        let found = body(fields, &values, &["key", "n"]).unwrap().unwrap();
        assert_eq!((found.0.as_str(), found.1), (expected, content_type), "{fields}");
    };
    let json = "application/json";
    check("", r#"{"key":"a \"b\" <!all>","n":7}"#, json);
    check(r##", template: r#"{text: "*\(.key)*"}"#"##, r#"{"text":"*a \"b\" <!all>*"}"#, json);
    check(
        r##", template: r#"{text: @html "<b>\(.key)</b>"}"#"##,
        r#"{"text":"<b>a &quot;b&quot; &lt;!all&gt;</b>"}"#,
        json,
    );
    check(r##", template: r#"[.n, $tuple.n]"#"##, "[7,7]", json);
    check(r##", template: r#""n is \(.n)""#"##, "n is 7", "text/plain; charset=utf-8");
    let none = body(r##", template: "select(.n > 7)""##, &values, &["key", "n"]);
    assert_eq!(none.unwrap(), None);
    for (template, says) in [
        (".key + .n", "the template fails: "),
        (".key, .n", "the template gives several values"),
        ("[limit(1e9; repeat(1))]", "the template takes more than 250000 steps"),
    ] {
        let fields = format!(", template: \"{template}\"");
        let error = body(&fields, &values, &["key", "n"]).unwrap_err();
        assert!(error.chain().starts_with(says), "{template}: {}", error.chain());
        assert_eq!(error.kind(), crate::error::Kind::Rejected);
    }
}

#[test]
fn a_post_is_what_a_template_gets_and_stands_raw_in_the_fields() {
    let post = Post::check(r#"{"tweet":{"id":10000000000000000000001}}"#.into()).unwrap();
    let values = [post.into(), Value::from("tweet"), Value::List([].into())];
    let names = ["post", "kind", "topics"];
    let fields = body("", &values, &names).unwrap().unwrap().0;
    let expected =
        r#"{"post":{"tweet":{"id":10000000000000000000001}},"kind":"tweet","topics":[]}"#;
    assert_eq!(fields, expected);
    let made = body(r#", template: "[.tweet.id, $tuple.kind]""#, &values, &names).unwrap().unwrap();
    assert_eq!(made.0, r#"[10000000000000000000001,"tweet"]"#);
}

/// The meaning of each status for the tuple that was sent.
#[test]
fn an_answer_takes_a_tuple_refuses_it_for_good_or_leaves_it_waiting() {
    let means = |status: u16, headers: &[(&'static str, &str)]| {
        let mut reply = Reply { status, headers: Default::default(), body: "".into() };
        for (name, value) in headers {
            reply.headers.insert(*name, value.parse().unwrap());
        }
        outcome(&reply, "said", "POST", datetime!(2026-02-03 12:00:00 UTC))
    };
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(means(status, &[]), Outcome::Sent);
    }
    for status in [400, 402, 406, 411, 412, 413, 414, 415, 422, 431, 451] {
        let cause = format!("status {status}: said");
        assert_eq!(means(status, &[("retry-after", "7")]), Outcome::Refused(cause));
    }
    let waits = |status: u16, headers: &[(&'static str, &str)]| match means(status, headers) {
        Outcome::Later { cause, retry_after, may_be_the_tuple } => {
            assert!(cause.starts_with(&format!("status {status}")), "{cause}");
            (retry_after.map(|wait| wait.as_secs()), may_be_the_tuple)
        }
        other => panic!("{status}: {other:?}"),
    };
    for status in
        [301, 302, 304, 307, 308, 401, 403, 404, 405, 408, 409, 410, 425, 500, 501, 503, 599]
    {
        assert_eq!(waits(status, &[]), (None, true));
    }
    assert_eq!(waits(429, &[("retry-after", "7")]), (Some(7), false));
    assert_eq!(waits(503, &[("retry-after", "Tue, 03 Feb 2026 12:00:30 GMT")]), (Some(30), true));
    let theirs = [
        ("retry-after", "Tue, 03 Feb 2026 12:00:30 GMT"),
        ("date", "Tue, 03 Feb 2026 12:00:20 GMT"),
    ];
    assert_eq!(waits(503, &theirs), (Some(10), true));
}

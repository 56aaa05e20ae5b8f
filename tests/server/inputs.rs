//! Whatever is sent to the server, it answers with what is wrong, and goes on.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::world::{World, capture};

/// Names of topologies, components, partitions and files: some that exist, and all others.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("one".to_owned()),
        Just("lake".to_owned()),
        Just("..".to_owned()),
        "[a-z0-9._-]{1,20}",
        any::<String>(),
    ]
}

/// A text as a part of an address.
fn quoted(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn path() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "/api/v1/topologies/{}",
        "/api/v1/topologies/{}/activate",
        "/api/v1/topologies/{}/rebalance",
        "/api/v1/topologies/{}/diff",
        "/api/v1/topologies/{}/upgrade",
        "/api/v1/topologies/{}/logs",
        "/api/v1/topologies/{}/trends",
        "/api/v1/topologies",
        "/api/v1/validate",
        "/topology/{}",
        "/topology/{}/data",
        "/topology/{}/rebalance",
        "/topology/{}/lake/{}",
        "/topology/{}/lake/{}/{}",
        "/topology/{}/lake/{}/{}/{}",
    ]);
    (kind, prop::collection::vec(name(), 4)).prop_map(|(kind, names)| {
        let mut parts = kind.split("{}");
        let mut path = parts.next().unwrap_or_default().to_owned();
        for (part, name) in parts.zip(names) {
            path += &quoted(&name);
            path += part;
        }
        path
    })
}

fn query() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["from", "after", "lines", "level", "interval", "x"]);
    let value = prop_oneof![any::<i64>().prop_map(|number| number.to_string()), any::<String>()];
    prop_oneof![
        Just(String::new()),
        (key, value).prop_map(|(key, value)| format!("?{key}={}", quoted(&value))),
    ]
}

fn body() -> impl Strategy<Value = String> {
    let task =
        prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)];
    prop_oneof![
        any::<String>(),
        any::<String>().prop_map(|text| json!({ "topology": text }).to_string()),
        "Topology[(]name: \"[a-z ]{0,5}\"[a-z:,{}() ]{0,40}[)]?"
            .prop_map(|text| json!({ "topology": text }).to_string()),
        (name(), task).prop_map(|(name, task)| json!({ "tasks": { name: task } }).to_string()),
        Just(json!({ "wait": "x", "purge": 7 }).to_string()),
        "[\\[{\"]{0,300}",
    ]
}

#[test]
fn no_input_is_too_strange_for_an_answer() {
    let world = World::new();
    let server = world.serve(&[]);
    server.submit(&capture("one", &world.path("lake"), 1_000_000, 10)).with(201);
    let cases = if std::env::var_os("WATERSPOUT_LONG").is_some() { 3_000 } else { 100 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let method = prop::sample::select(vec!["GET", "POST"]);
    let bearer = format!("Bearer {}", server.token());
    let requests = (method, path(), query(), body(), any::<bool>());
    let ran = TestRunner::new(config).run(&requests, |(method, path, query, body, is_json)| {
        let kind = if is_json { "application/json" } else { "application/x-www-form-urlencoded" };
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        let target = format!("{path}{query}");
        // A body that nobody reads holds up the end of its connection.
        let body = if method == "GET" { "" } else { &body };
        let answer = server.raw(method, &target, &headers, body);
        prop_assert!((200..500).contains(&answer.status), "{method} {target}: {answer:?}");
        Ok(())
    });
    ran.unwrap();
    server.get("/healthz").with(200);
    assert_eq!(server.summary("one")["state"], "running");
    server.stop().with(0);
}

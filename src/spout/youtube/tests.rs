use super::query;

#[test]
fn topics_become_queries() {
    for (topic, expected) in [
        ("Rust lang", Some("rust lang")),
        ("\"rust lang\" -trust", Some("\"rust lang\" -trust")),
        ("#storm lang:en", Some("#storm")),
        ("lang:en", None),
        ("from:nws storm", None),
    ] {
        assert_eq!(query(&topic.parse().unwrap()).as_deref(), expected, "{topic}");
    }
}

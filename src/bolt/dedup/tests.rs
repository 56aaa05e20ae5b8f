use proptest::prelude::*;

use super::*;

fn dedup(ron: &str) -> Dedup {
    crate::registry::ron_options().from_str(ron).unwrap()
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_unix_millis(seconds * 1000)
}

fn by_word(within: &str) -> Deduplicator {
    let config = dedup(&format!("(by: Fields([\"word\"]), within: \"{within}\", max_keys: 100)"));
    Deduplicator::of(&config, &[Fields::new(["word"])]).unwrap()
}

fn passes(bolt: &mut Deduplicator, word: &str, time: EventTime) -> bool {
    bolt.passes(Tuple { values: &[word.into()], input: 0, time })
}

fn advance(bolt: &mut Deduplicator, time: EventTime) {
    bolt.advance(time);
}

fn post_passes(bolt: &mut Deduplicator, json: &'static str) -> bool {
    let post = Post::check(json.into()).unwrap();
    bolt.passes(Tuple { values: &[post.into()], input: 0, time: at(0) })
}

#[test]
fn a_tuple_passes_again_once_enough_time_lies_between() {
    let mut bolt = by_word("1m");
    assert!(passes(&mut bolt, "storm", at(100)));
    assert!(!passes(&mut bolt, "storm", at(100)));
    assert!(!passes(&mut bolt, "storm", at(159)));
    assert!(passes(&mut bolt, "rain", at(159)));
    // A dropped copy doesn't count.
    assert!(passes(&mut bolt, "storm", at(160)));
    // The order within the disorder of the source makes no difference, either.
    assert!(!passes(&mut bolt, "storm", at(101)));
    assert_eq!(bolt.dropped, 3);
}

#[test]
fn keys_are_forgotten_when_no_tuple_can_meet_them_any_more() {
    let mut bolt = by_word("1m");
    assert!(passes(&mut bolt, "storm", at(100)));
    assert!(passes(&mut bolt, "rain", at(130)));
    advance(&mut bolt, at(159));
    assert_eq!(bolt.keys.len(), 2);
    advance(&mut bolt, at(165));
    assert_eq!(bolt.keys.len(), 1);
    assert!(!passes(&mut bolt, "rain", at(165)));
    advance(&mut bolt, EventTime::END);
    assert_eq!(bolt.keys.len(), 1, "the end is no time");
}

#[test]
fn without_times_a_key_passes_once() {
    let mut bolt = by_word("1m");
    assert!(passes(&mut bolt, "storm", EventTime::UNKNOWN));
    assert!(!passes(&mut bolt, "storm", EventTime::UNKNOWN));
    advance(&mut bolt, at(1000));
    assert!(passes(&mut bolt, "storm", EventTime::UNKNOWN), "it counts as being at 1000 s");
    assert!(!passes(&mut bolt, "storm", at(1001)));
}

#[test]
fn more_keys_than_are_kept_are_forgotten_and_counted() {
    let mut bolt = by_word("1h");
    for number in 0..1000 {
        assert!(passes(&mut bolt, &format!("w{number}"), at(number)));
    }
    assert!(bolt.keys.len() <= 100);
    assert!(bolt.state_size().unwrap().forgotten >= 900);
    assert!(!passes(&mut bolt, "w999", at(1000)));
}

#[test]
fn a_post_is_known_by_its_kind_and_id_or_by_a_member() {
    let mut bolt = Deduplicator::of(&dedup("()"), &[Fields::new(["post"])]).unwrap();
    assert!(post_passes(&mut bolt, r#"{"tweet":{"id_str":"1","id":1,"text":"a"}}"#));
    assert!(!post_passes(&mut bolt, r#"{"tweet":{"text":"b","id":1,"id_str":"1"}}"#));
    assert!(post_passes(&mut bolt, r#"{"post":{"id":"1"}}"#), "another platform's");
    assert!(post_passes(&mut bolt, r#"{"tweet":{"text":"a"}}"#));
    assert!(post_passes(&mut bolt, r#"{"tweet":{"text":"a"}}"#), "what has no key passes");
    let config = dedup("(by: Pointer(\"/tweet/user/id\"))");
    let mut bolt = Deduplicator::of(&config, &[Fields::new(["post"])]).unwrap();
    assert!(post_passes(&mut bolt, r#"{"tweet":{"user":{"id":12345678901234567890}}}"#));
    assert!(!post_passes(&mut bolt, r#"{"tweet":{"user":{"id":12345678901234567890},"x":1}}"#));
    assert!(post_passes(&mut bolt, r#"{"tweet":{"user":{"id":12345678901234567891}}}"#));
    assert!(post_passes(&mut bolt, r#"{"tweet":{"user":{"id":null}}}"#));
    assert!(post_passes(&mut bolt, r#"{"tweet":{"user":{"id":null}}}"#));
}

#[test]
fn only_keys_of_fields_can_be_shared_out() {
    assert_eq!(dedup("()").tasks_max().map(|(max, _)| max), Some(1));
    assert_eq!(dedup("()").state_key(), None);
    assert!(dedup("()").keeps_state());
    let config = dedup("(by: Fields([\"id\"]))");
    assert_eq!((config.tasks_max(), config.state_key()), (None, Some(vec!["id".into()])));
}

#[test]
fn problems_name_the_field() {
    let whats = |ron: &str, inputs: &[Fields]| -> Vec<String> {
        let problems = dedup(ron).streams(inputs).unwrap_err();
        assert!(problems.iter().all(|problem| problem.field == "by"));
        problems.into_iter().map(|problem| problem.what).collect()
    };
    let words = Fields::new(["word"]);
    assert_eq!(
        whats("()", std::slice::from_ref(&words)),
        ["needs the field \"post\", but an input declares \"word\""]
    );
    assert_eq!(
        whats("(by: Fields([\"word\", \"word\", \"n\"]))", std::slice::from_ref(&words)),
        [
            "expected each field once, found \"word\" again",
            "needs the field \"n\", but an input declares \"word\""
        ]
    );
    assert_eq!(
        whats("(by: Fields([]))", std::slice::from_ref(&words)),
        ["expected at least one field, found none"]
    );
    assert!(whats("(by: Pointer(\"id\"))", &[Fields::of_posts()])[0].contains("begins with"));
    let both = whats("(by: Fields([\"word\"]))", &[words, Fields::new(["word", "n"])]);
    assert!(both[0].contains("the same fields"), "{both:?}");
}

proptest! {
    /// Tests that exactly those tuples pass that a simple model lets pass, with saves and restores
    /// at any point.
    #[test]
    fn a_restart_changes_nothing(
        words in prop::collection::vec((0_u8..4, 0_i64..40, any::<bool>()), 0..60),
    ) {
        let mut bolt = by_word("10s");
        let mut model = std::collections::HashMap::<u8, i64>::new();
        let mut store = std::collections::HashMap::new();
        for (step, (word, jump, restarts)) in (0_i64..).zip(words) {
            let time = step * 3 + jump / 10;
            let passed = passes(&mut bolt, &word.to_string(), at(time));
            let last = model.get(&word).copied();
            let expected = last.is_none_or(|last| (time - last).abs() >= 10);
            if expected {
                model.insert(word, time);
            }
            prop_assert_eq!(passed, expected, "{} at {}", word, time);
            // No later tuple is older than this one by more than 4 s.
            advance(&mut bolt, at(time - 4));
            for change in bolt.snapshot() {
                match change.value {
                    Some(value) => store.insert(change.key, value),
                    None => store.remove(&change.key),
                };
            }
            if restarts {
                let dropped = bolt.dropped;
                bolt = by_word("10s");
                advance(&mut bolt, at(time - 4));
                for (key, value) in &store {
                    bolt.restore(key, value).unwrap();
                }
                bolt.dropped = dropped;
            }
        }
    }
}

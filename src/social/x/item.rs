//! A parsed line of the stream: a post with the objects beside it, or something else.

use time::OffsetDateTime;

use crate::post::Post;
use crate::post::fields::members;
use crate::social::post;

/// A parsed line.
#[derive(Debug)]
pub(super) enum Item {
    /// A post.
    Post(Post),
    /// The line reports errors, and has no post.
    Errors,
    /// The line can't be made into a post, for this reason.
    Unknown(String),
}

/// Parses a line. The members of `data` come directly under the kind, and all other members of the
/// line behind them.
pub(super) fn read(line: &[u8], now: OffsetDateTime) -> Item {
    let parts = Parts::of(line);
    match parts.data {
        // The text behind a value may be malformed although the value is not.
        Some([b'{', ..]) if !parts.is_whole => Item::Unknown("the line is no JSON object".into()),
        Some(data @ [b'{', ..]) => {
            post("tweet", data, &parts.beside, now).map_or_else(Item::Unknown, Item::Post)
        }
        None | Some(b"null") if parts.has_errors() => Item::Errors,
        _ => Item::Unknown("expected a post of X, an object with \"data\"".into()),
    }
}

/// The parts of a line, found in one pass.
struct Parts<'a> {
    data: Option<&'a [u8]>,
    /// All other members.
    beside: Vec<(&'a str, &'a [u8])>,
    /// True if the members end at the line's end.
    is_whole: bool,
}

impl<'a> Parts<'a> {
    fn of(line: &'a [u8]) -> Self {
        let (mut data, mut beside, mut end) = (None, Vec::new(), 0);
        for (key, value) in members(line) {
            end = value.as_ptr() as usize + value.len() - line.as_ptr() as usize;
            match std::str::from_utf8(key) {
                Ok("data") if data.is_none() => data = Some(value),
                Ok(name) => beside.push((name, value)),
                Err(_) => {}
            }
        }
        Self { data, beside, is_whole: line[end..].trim_ascii() == b"}" }
    }

    fn has_errors(&self) -> bool {
        self.beside
            .iter()
            .any(|(name, value)| *name == "errors" && matches!(value.first(), Some(b'[' | b'{')))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let found = match read(line.as_bytes(), NOW) {
            Item::Post(post) => String::from_utf8(post.to_vec()).unwrap(),
            Item::Errors => "errors".into(),
            Item::Unknown(why) => why,
        };
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn what_is_in_data_stands_directly_under_the_kind_and_the_rest_beside_it() {
        check(
            r#"{"matching_rules":[{"id":"1"}],"data":{"id":"12345678901234567890", "text":"a\u00e9"},"includes":{"users":[]},"new":1e400}"#,
            r#"{"tweet":{"id":"12345678901234567890", "text":"a\u00e9","matching_rules":[{"id":"1"}],"includes":{"users":[]},"new":1e400,"received_at":"2026-11-25T12:00:00Z"}}"#,
        );
        check(r#"{"data":{}}"#, r#"{"tweet":{"received_at":"2026-11-25T12:00:00Z"}}"#);
        check(
            r#"{"data":{"id":"1"},"errors":[{"title":"x"}]}"#,
            r#"{"tweet":{"id":"1","errors":[{"title":"x"}],"received_at":"2026-11-25T12:00:00Z"}}"#,
        );
    }

    #[test]
    fn what_is_no_post_is_told_apart() {
        check(r#"{"errors":[{"title":"x"}]}"#, "errors");
        check(r#"{"data":null,"errors":[{"title":"x"}]}"#, "errors");
        for unknown in [
            r#"{"system":{}}"#,
            r#"{"data":[1]}"#,
            "[]",
            "x",
            "",
            r#"{"errors":null}"#,
            r#"{"data":7,"errors":[]}"#,
        ] {
            check(unknown, "expected a post of X, an object with \"data\"");
        }
        for torn in
            [r#"{"data":{"id":"1"}"#, r#"{"data":{"id":"1"},"inclu"#, r#"{"data":{"id":"1"}}}"#]
        {
            assert!(matches!(read(torn.as_bytes(), NOW), Item::Unknown(_)), "{torn}");
        }
    }

    /// Returns a post with all fields that this program reads.
    fn whole() -> Value {
        json!({
            "data": {
                "id": "1", "text": "a storm", "created_at": "2026-11-25T11:59:59.000Z", "author_id": "7", "lang": "en",
                "edit_history_tweet_ids": ["1"], "edit_history_post_ids": ["1"], "note_tweet": {"text": "long"},
                "note_post": {"text": "long"}, "referenced_tweets": [{"type": "quoted", "id": "2"}],
                "entities": {"hashtags": [{"tag": "storm"}], "mentions": [{"username": "a"}], "cashtags": [{"tag": "a"}]},
                "public_metrics": {"retweet_count": 1, "repost_count": 1},
            },
            "includes": {"users": [{"id": "7", "username": "nws"}], "tweets": [{"id": "2"}], "posts": [{"id": "2"}]},
            "matching_rules": [{"id": "3", "tag": "waterspout:storm"}],
            "errors": [],
        })
    }

    fn places(value: &Value, at: String, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(key, value)| {
                all.push(format!("{at}/{key}"));
                places(value, format!("{at}/{key}"), all);
            }),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(n, value)| places(value, format!("{at}/{n}"), all)),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn no_field_that_is_absent_null_or_of_another_type_loses_a_post(place: prop::sample::Index, kind in 0..7usize) {
            let mut all = Vec::new();
            places(&whole(), String::new(), &mut all);
            let place = &all[place.index(all.len())];
            let mut line = whole();
            let others = [Value::Null, json!(7), json!(true), json!("x"), json!([[]]), json!({"x": [null]})];
            match others.get(kind) {
                Some(other) => *line.pointer_mut(place).unwrap() = other.clone(),
                None => {
                    let (parent, key) = place.rsplit_once('/').unwrap();
                    let parent = line.pointer_mut(parent).unwrap();
                    parent.as_object_mut().unwrap().remove(key);
                }
            }
            let topics = crate::social::Topics::new(&["storm".parse().unwrap()]);
            match read(line.to_string().as_bytes(), NOW) {
                Item::Post(post) => {
                    let _ = (post.id(), post.text(), post.created_at(), topics.of(&post), post.stream());
                }
                // Only a line whose `data` is not an object is refused, or taken for a report of
                // errors.
                Item::Errors | Item::Unknown(_) => prop_assert_eq!(place, "/data"),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(line: Vec<u8>, text in "[ {}\\[\\]\",:a0\\\\u]{0,40}") {
            let _ = read(&line, NOW);
            let _ = read(format!("{{\"data\":{text}").as_bytes(), NOW);
            let _ = read(format!("{{\"data\":{{}},{text}").as_bytes(), NOW);
        }
    }
}

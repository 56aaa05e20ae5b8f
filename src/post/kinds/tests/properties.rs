//! Tests properties of the facts of posts of any shape.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::*;
use super::*;

/// The names of members that any kind reads.
const NAMES: &[&str] = &[
    "id",
    "id_str",
    "uri",
    "did",
    "text",
    "full_text",
    "content",
    "message",
    "note_tweet",
    "extended_tweet",
    "data",
    "status",
    "retweeted_status",
    "referenced_tweets",
    "includes",
    "tweets",
    "users",
    "user",
    "author",
    "author_id",
    "account",
    "from",
    "snippet",
    "title",
    "commit",
    "record",
    "payload",
    "$type",
    "reblog",
    "spoiler_text",
    "entities",
    "hashtags",
    "facets",
    "features",
    "tags",
    "mentions",
    "created_at",
    "time_us",
    "edited_at",
    "edit_history_tweet_ids",
    "raw",
    "kind",
    "type",
    "received_at",
    "refreshed",
];

/// Generates JSON of the names that kinds read, with values of any type.
fn body() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "1",
            "-1.5",
            "true",
            "\"\"",
            "\"1\"",
            "\"message\"",
            "\"retweeted\""
        ])
        .prop_map(str::to_owned),
        "[<>&a-z #@:;\\\\ud8]{0,12}".prop_map(|text| serde_json::to_string(&text).expect("a text")),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let member = (prop::sample::select(NAMES), inner.clone())
            .prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..8)
                .prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// The kinds, and an unknown one.
const KINDS: [&str; 8] = ["tweet", "post", "video", "bsky", "toot", "delete", "gap", "note"];

proptest! {
    #[test]
    fn the_facts_are_what_each_function_says(kind in prop::sample::select(&KINDS), body in body()) {
        // If two members have the same name, either may be read.
        prop_assume!(NAMES.iter().all(|name| body.matches(&format!("\"{name}\":")).count() < 2));
        let post = post(&format!("{{\"{kind}\":{body}}}"));
        let facts = post.facts();
        prop_assert_eq!(facts.kind, kind);
        prop_assert_eq!(&facts.id, &post.id());
        prop_assert_eq!(&facts.content, &post.content());
        prop_assert_eq!(facts.stream, post.stream());
        prop_assert_eq!(
            (facts.created_at, facts.received_at, facts.edited_at),
            (post.created_at(), post.received_at(), post.edited_at())
        );
    }

    #[test]
    fn a_post_of_any_shape_gives_an_answer(kind in prop::sample::select(&KINDS), body in body()) {
        let post = post(&format!("{{\"{kind}\":{body}}}"));
        let _ = (said(&post), post.reread_id(), post.deletion(), post.version(), post.is_of_server("a"));
        prop_assert_eq!(post.created_at(), own_time(&post));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(kind in prop::sample::select(&KINDS), body in "[ {}\\[\\]\",:a0\\\\u]{0,40}", bytes: Vec<u8>) {
        for body in [body.as_bytes(), &bytes] {
            for bytes in [[b"{\"", kind.as_bytes(), b"\":", body, b"}"].concat(), body.to_vec()] {
                let post = Post(Bytes::from(bytes));
                let _ = (post.kind(), post.body(), said(&post), post.deletion(), post.version());
            }
        }
    }
}

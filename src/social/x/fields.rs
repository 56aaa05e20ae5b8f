//! The fields that are requested of each post, in either of X's two vocabularies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::Problem;

use super::X;

/// The names of a post's fields, in which X's specifications differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Vocabulary {
    /// `tweet.fields`, `referenced_tweets`: version 2.159.
    #[default]
    Tweet,
    /// `post.fields`, `referenced_posts`: version 2.167, for search and lookup.
    Post,
}

/// The fields of a post that every account may read.
const DEFAULT: [&str; 23] = [
    "article",
    "attachments",
    "author_id",
    "card_uri",
    "community_id",
    "context_annotations",
    "conversation_id",
    "created_at",
    "display_text_range",
    "edit_controls",
    "edit_history_tweet_ids",
    "entities",
    "geo",
    "id",
    "in_reply_to_user_id",
    "lang",
    "note_tweet",
    "possibly_sensitive",
    "public_metrics",
    "referenced_tweets",
    "reply_settings",
    "source",
    "text",
];

/// The fields that have another name in the newer vocabulary.
const RENAMED: [(&str, &str); 4] = [
    ("edit_history_tweet_ids", "edit_history_post_ids"),
    ("note_tweet", "note_post"),
    ("referenced_tweets", "referenced_posts"),
    ("referenced_tweets.id", "referenced_posts"),
];

/// The fields that can't be requested in the newer vocabulary: X sends them in any case, or never.
const NOT_ASKED_FOR: [&str; 4] =
    ["author_id", "edit_history_post_ids", "in_reply_to_user_id", "referenced_posts"];

impl Vocabulary {
    /// Returns the other vocabulary.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Tweet => Self::Post,
            Self::Post => Self::Tweet,
        }
    }

    /// Returns the name of the parameter that lists the fields.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Tweet => "tweet.fields",
            Self::Post => "post.fields",
        }
    }

    fn word(self, name: &str) -> &str {
        RENAMED
            .iter()
            .find(|(old, _)| self == Self::Post && *old == name)
            .map_or(name, |(_, new)| new)
    }

    fn words(self, names: &[String]) -> Vec<&str> {
        let mut words: Vec<&str> = Vec::new();
        for word in names.iter().map(|name| self.word(name)) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words
    }
}

/// Returns the parameters that list the requested fields of each post.
pub(super) fn parameters(x: &X, vocabulary: Vocabulary) -> Vec<(&'static str, String)> {
    let given = x.fields.clone();
    let is_given = given.is_some();
    let mut fields = given.unwrap_or_else(|| DEFAULT.map(str::to_owned).into());
    fields.push("created_at".into());
    let mut words = vocabulary.words(&fields);
    if vocabulary == Vocabulary::Post && !is_given {
        words.retain(|word| !NOT_ASKED_FOR.contains(word));
    }
    let lists = [
        ("expansions", vocabulary.words(&x.expansions)),
        ("user.fields", x.user_fields.iter().map(String::as_str).collect()),
        ("media.fields", x.media_fields.iter().map(String::as_str).collect()),
        ("place.fields", x.place_fields.iter().map(String::as_str).collect()),
        ("poll.fields", x.poll_fields.iter().map(String::as_str).collect()),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
    [(vocabulary.parameter(), words)]
        .into_iter()
        .chain(lists)
        .map(|(name, list)| (name, list.join(",")))
        .collect()
}

/// Returns the problems of the configuration's fields and limits.
pub(super) fn problems(x: &X) -> Vec<Problem> {
    let at = |field, what: &str| Problem { field, what: what.into(), candidates: None };
    let mut problems = Vec::new();
    let name = |name: &String| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte))
    };
    let lists = [
        ("fields", x.fields.as_deref().unwrap_or_default()),
        ("expansions", &x.expansions),
        ("user_fields", &x.user_fields),
        ("media_fields", &x.media_fields),
        ("place_fields", &x.place_fields),
        ("poll_fields", &x.poll_fields),
    ];
    for (field, list) in lists {
        if !list.iter().all(name) {
            problems.push(at(field, "expected names such as \"public_metrics\""));
        }
    }
    if x.backfill_minutes > 5 {
        problems.push(at("backfill_minutes", "expected 0 to 5 minutes"));
    }
    if x.budget.is_some_and(|budget| budget.posts < 10) {
        problems.push(at("budget", "expected at least 10 posts, which is X's smallest page"));
    }
    if x.poll.0 < std::time::Duration::from_secs(1) {
        problems.push(at("poll", "expected at least \"1s\""));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::super::tests::configuration;
    use super::*;

    fn all(x: &X, vocabulary: Vocabulary) -> String {
        parameters(x, vocabulary)
            .iter()
            .map(|(name, list)| format!("{name}={list}"))
            .collect::<Vec<_>>()
            .join("&")
    }

    #[test]
    fn the_time_is_always_asked_for_and_nothing_that_may_be_billed() {
        let mut x = configuration(&["storm"]);
        assert!(
            all(&x, Vocabulary::Tweet).starts_with("tweet.fields=article,attachments,author_id,")
        );
        assert!(!all(&x, Vocabulary::Tweet).contains("expansions"));
        x.fields = Some(vec!["lang".into()]);
        assert_eq!(all(&x, Vocabulary::Tweet), "tweet.fields=lang,created_at");
    }

    #[test]
    fn both_vocabularies_are_spoken() {
        let mut x = configuration(&["storm"]);
        x.fields = Some(vec!["note_tweet".into(), "referenced_tweets".into(), "created_at".into()]);
        x.expansions = vec!["referenced_tweets.id".into(), "author_id".into()];
        let expected = "post.fields=note_post,referenced_posts,created_at&expansions=referenced_posts,author_id";
        assert_eq!(all(&x, Vocabulary::Post), expected);
    }
}

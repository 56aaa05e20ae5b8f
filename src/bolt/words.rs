//! `Words`: splits a text into words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::{Text, Value};

/// Splits a text at white space (Unicode's) and emits each `word` unchanged: with its case, its
/// punctuation and its `#`. Scripts without spaces are split only at their spaces. A value that
/// isn't text, or a post without text, gives no words.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// The field with the text. If an input has no such field but has `post`, the text of the post
    /// as people read it is used: the whole text of a tweet, a Facebook post's message or story, a
    /// video's title and description, a Bluesky post's text, a toot's warning and content without
    /// HTML, and the `text` of a post of any other kind. A repost gives the words of the reposted
    /// post, and a quote only its own.
    #[serde(default = "text")]
    pub field: String,
}

fn text() -> String {
    "text".into()
}

impl Component for Words {
    const NAME: &'static str = "Words";
    const GUARANTEE: &'static str =
        "keeps no state: words are delivered as reliably as the tuples they came from";
}

/// The place of an input's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Field(usize),
    InPost(usize),
}

impl Words {
    fn place(&self, input: &Fields) -> Option<Place> {
        let in_post = || input.position("post").map(Place::InPost);
        input.position(&self.field).map(Place::Field).or_else(in_post)
    }

    fn lacks(&self, input: &Fields) -> String {
        format!("expected a field \"{}\" or \"post\", but an input declares {input}", self.field)
    }
}

impl BoltConfig for Words {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        match inputs.iter().find(|input| self.place(input).is_none()) {
            None => Ok(Streams::default_with(Fields::new(["word"]))),
            Some(input) => Err(vec![Problem {
                field: "field",
                what: self.lacks(input),
                candidates: Some((self.field.clone(), input.names().to_vec())),
            }]),
        }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        let place = |input| self.place(input).ok_or_else(|| Error::fatal(self.lacks(input)));
        Ok(Box::new(Splitter { places: context.inputs.iter().map(place).collect::<Result<_>>()? }))
    }
}

struct Splitter {
    /// The place of the text in each input.
    places: Vec<Place>,
}

impl Bolt for Splitter {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        each_word_of(self.places[tuple.input], tuple, |word| {
            out.emit([Value::Text(Text::new(word))])
        });
        Ok(())
    }
}

fn each_word_of(place: Place, tuple: Tuple<'_>, take: impl FnMut(&str)) {
    let (Place::Field(position) | Place::InPost(position)) = place;
    match tuple.value(position) {
        Value::Text(text) => each_word(text, take),
        Value::Post(post) => each_word(&post.text().unwrap_or_default(), take),
        _ => {}
    }
}

/// Calls `take` with each word, as [`str::split_whitespace`] separates them. ASCII text is
/// separated byte by byte, for a third of the time.
fn each_word(text: &str, mut take: impl FnMut(&str)) {
    if !text.is_ascii() {
        return text.split_whitespace().for_each(take);
    }
    let (bytes, mut start) = (text.as_bytes(), 0);
    for at in 0..=bytes.len() {
        // The end of the text ends a word as a space does, so that `take` is called, and compiled
        // into the loop, in one place.
        if matches!(bytes.get(at), None | Some(b' ' | b'\t'..=b'\r')) {
            if start < at {
                take(&text[start..at]);
            }
            start = at + 1;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::post::Post;

    fn words() -> Words {
        crate::registry::ron_options().from_str("()").unwrap()
    }

    fn split(place: Place, value: Value) -> Vec<String> {
        let mut words = Vec::new();
        each_word_of(place, Tuple::new(&[value], 0), |word| words.push(word.to_owned()));
        words
    }

    pub(crate) fn words_of_post(post: Post) -> Vec<String> {
        split(Place::InPost(0), post.into())
    }

    #[track_caller]
    fn check_post(json: &'static str, expected: &[&str]) {
        assert_eq!(split(Place::InPost(0), Post::trusted(json.into()).into()), expected);
    }

    #[test]
    fn words_stand_as_they_are_written() {
        let words = |text: &str| split(Place::Field(0), text.into());
        assert_eq!(
            words("  A #Storm,\tcame\u{3000}от\u{a0}моря\n"),
            ["A", "#Storm,", "came", "от", "моря"]
        );
        assert_eq!(words("今日は 良い天気 อากาศดี"), ["今日は", "良い天気", "อากาศดี"]);
        assert!(words("").is_empty());
        assert!(split(Place::Field(0), Value::Int(1)).is_empty());
    }

    proptest! {
        #[test]
        fn words_of_ascii_are_those_of_unicode(text in "[ \\t\\x0b-\\x0d\\x1c-\\x1fa-c]{0,20}") {
            let mut words = Vec::new();
            each_word(&text, |word| words.push(word.to_owned()));
            prop_assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_field_comes_before_the_post() {
        assert_eq!(words().place(&Fields::new(["post", "text"])), Some(Place::Field(1)));
        assert_eq!(words().place(&Fields::of_posts()), Some(Place::InPost(0)));
        let streams = words().streams(&[Fields::of_posts(), Fields::new(["text"])]).unwrap();
        assert_eq!(streams, Streams::default_with(Fields::new(["word"])));
    }

    #[test]
    fn an_input_without_the_field_and_without_a_post_is_a_problem() {
        let problems =
            words().streams(&[Fields::of_posts(), Fields::new(["txet", "lang"])]).unwrap_err();
        assert_eq!(
            problems,
            [Problem {
                field: "field",
                what: "expected a field \"text\" or \"post\", but an input declares \"txet\", \"lang\"".into(),
                candidates: Some(("text".into(), vec!["txet".into(), "lang".into()])),
            }]
        );
        let context = BoltContext { inputs: vec![Fields::new(["txet"])], ..BoltContext::default() };
        assert!(words().build(&context).is_err());
    }

    #[test]
    fn every_kind_of_post_has_its_words() {
        check_post(
            r##"{"tweet":{"id":"1","entities":{"text":"no"},"text":"a \"storm\"\n#now"}}"##,
            &["a", "\"storm\"", "#now"],
        );
        check_post(r#"{"post":{"id":"1_2","message":"a storm"}}"#, &["a", "storm"]);
        check_post(
            r#"{"video":{"snippet":{"description":"it came","title":"a storm"}}}"#,
            &["a", "storm", "it", "came"],
        );
        check_post(r#"{"bsky":{"commit":{"record":{"text":"a storm"}}}}"#, &["a", "storm"]);
        check_post(
            r##"{"toot":{"content":"<p>a <a href=\"x\">#<span>storm</span></a> &amp; rain<br/>it</p><p>came 1 < 2 &c</p>"}}"##,
            &["a", "#storm", "&", "rain", "it", "came", "1", "<", "2", "&c"],
        );
        check_post(r#"{"note":{"text":"a storm"}}"#, &["a", "storm"]);
        check_post(r#"{"line":"a storm"}"#, &["a", "storm"]);
    }

    #[test]
    fn the_words_of_a_long_tweet_are_all_counted() {
        let whole = &["a", "storm", "&", "rain"];
        let cut = r#""text":"a st…""#;
        for place in [
            r#""note_tweet":{"text":"a storm &amp; rain"}"#,
            r#""extended_tweet":{"full_text":"a storm &amp; rain"}"#,
            r#""retweeted_status":{"text":"a storm &amp; rain"}"#,
        ] {
            let post = format!(r#"{{"tweet":{{{cut},{place}}}}}"#);
            assert_eq!(
                split(Place::InPost(0), Post::trusted(post.into()).into()),
                whole,
                "{place}"
            );
        }
    }

    #[test]
    fn a_post_without_text_has_no_words() {
        for post in [
            r#"{"tweet":{"id":"1"}}"#,
            r#"{"tweet":{"text":null}}"#,
            r#"{"tweet":{"text":12}}"#,
            r#"{"tweet":[]}"#,
            r#"{"bsky":{"commit":{"operation":"delete"}}}"#,
            r#"{"gap":{"why":"a"}}"#,
        ] {
            check_post(post, &[]);
        }
    }

    #[test]
    fn a_lone_surrogate_does_not_hide_the_other_words() {
        check_post(r#"{"tweet":{"text":"a \ud800 storm"}}"#, &["a", "\u{fffd}", "storm"]);
    }
}

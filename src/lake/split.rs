//! Splits a JSON array, or lines of JSON, into posts without building values. Splitting continues
//! from chunk to chunk, so memory use doesn't grow with the file.

use std::ops::Range;

use super::form::Format;
use crate::post::check::{Checked, leading_post};

/// The place and the reason at which a text isn't a valid file of the lake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset of the byte that doesn't fit.
    pub at: usize,
    /// The problem.
    pub what: String,
}

/// The posts of a chunk.
#[derive(Debug, Default)]
pub struct Posts {
    /// The range of each post.
    pub ranges: Vec<Range<usize>>,
    /// True if a post contains line breaks.
    pub line_breaks: bool,
}

/// The position in the syntax of an array or of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstOrEnd,
    CommaOrEnd,
    Post,
    End,
    /// Lines: a post begins here, or the file ends.
    Line,
    /// Lines: after a post.
    LineEnd,
}

/// A splitter of one text that comes in chunks.
#[derive(Debug)]
pub struct Splitter(State);

/// A post that breaks off this close to the end of a chunk may only be cut off, for example within
/// `false`.
const CUT_BYTES: usize = 5;

impl Splitter {
    /// Creates a splitter at the beginning of a text.
    pub fn start(format: Format) -> Self {
        Self(match format {
            Format::JsonArray => State::Start,
            Format::Ndjson => State::Line,
        })
    }

    /// Splits the complete posts of a chunk: adds them to `posts` and returns the number of bytes
    /// that are finished. The next chunk has to begin with the remaining bytes.
    ///
    /// # Errors
    /// If these bytes aren't posts in the format, or, in the last chunk, if the text isn't
    /// complete.
    pub fn split(&mut self, chunk: &[u8], last: bool, posts: &mut Posts) -> Result<usize, Damage> {
        let mut at = 0;
        loop {
            at += if self.0 == State::LineEnd {
                blanks_of_line(&chunk[at..])
            } else {
                blanks(&chunk[at..])
            };
            let next = match (self.0, chunk.get(at)) {
                (State::End | State::Line | State::LineEnd, None) => return Ok(at),
                (_, None) if !last => return Ok(at),
                (State::LineEnd, Some(b'\n')) => State::Line,
                (State::Start, Some(b'[')) => State::FirstOrEnd,
                (State::FirstOrEnd | State::CommaOrEnd, Some(b']')) => State::End,
                (State::CommaOrEnd, Some(b',')) => State::Post,
                (State::FirstOrEnd | State::Post | State::Line, Some(b'{')) => {
                    match post(chunk, at, last)? {
                        None => return Ok(at),
                        Some(Checked { line_breaks: true, .. }) if self.0 == State::Line => {
                            return Err(Damage { at, what: "expected a post on one line".into() });
                        }
                        Some(Checked { range, line_breaks }) => {
                            at += range.end;
                            posts.ranges.push(at - range.end..at);
                            posts.line_breaks |= line_breaks;
                            self.0 = if self.0 == State::Line {
                                State::LineEnd
                            } else {
                                State::CommaOrEnd
                            };
                            continue;
                        }
                    }
                }
                (state, found) => return Err(Damage { at, what: unexpected(state, found) }),
            };
            self.0 = next;
            at += 1;
        }
    }
}

/// Returns the post that begins at `at`; `None` if its rest may be in the next chunk.
fn post(chunk: &[u8], at: usize, last: bool) -> Result<Option<Checked>, Damage> {
    let text = &chunk[at..];
    match leading_post(text) {
        Ok(checked) => Ok(Some(checked)),
        Err(flaw) if !last && flaw.at + CUT_BYTES > text.len() => Ok(None),
        Err(flaw) => Err(Damage { at: at + flaw.at, what: flaw.what(text) }),
    }
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count()
}

fn blanks_of_line(text: &[u8]) -> usize {
    text.iter().take_while(|byte| matches!(byte, b' ' | b'\r' | b'\t')).count()
}

fn unexpected(state: State, found: Option<&u8>) -> String {
    let expected = match state {
        State::Start => "the \"[\" of an array of posts",
        State::FirstOrEnd => "a post or \"]\"",
        State::CommaOrEnd => "\",\" or \"]\" after a post",
        State::Post => "a post",
        State::End => "nothing after the array",
        State::Line => "a post on each line",
        State::LineEnd => "the end of the line after a post",
    };
    match found {
        None => format!("expected {expected}, found the end of the file"),
        Some(byte) => format!("expected {expected}, found \"{}\"", byte.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Splits a text in one call.
    fn split(text: &[u8]) -> Result<Vec<&[u8]>, Damage> {
        split_as(Format::JsonArray, text)
    }

    fn split_as(format: Format, text: &[u8]) -> Result<Vec<&[u8]>, Damage> {
        let mut posts = Posts::default();
        let done = Splitter::start(format).split(text, true, &mut posts)?;
        assert_eq!(done, text.len());
        Ok(posts.ranges.into_iter().map(|range| &text[range]).collect())
    }

    /// Splits a text that comes in chunks, which grow until a post fits.
    fn split_in_chunks(format: Format, text: &[u8], size: usize) -> Result<Vec<Vec<u8>>, Damage> {
        let (mut splitter, mut found, mut from, mut to) =
            (Splitter::start(format), Vec::new(), 0, 0);
        loop {
            to = (to + size).min(text.len());
            let mut posts = Posts::default();
            let done = splitter.split(&text[from..to], to == text.len(), &mut posts);
            let done = done.map_err(|damage| Damage { at: damage.at + from, ..damage })?;
            found.extend(posts.ranges.into_iter().map(|range| text[from..to][range].to_vec()));
            from += done;
            if to == text.len() {
                return Ok(found);
            }
        }
    }

    fn damaged(text: &str, at: usize, what: &str) {
        let damage = split(text.as_bytes()).unwrap_err();
        assert!(damage.at == at && damage.what.contains(what), "{text}: {damage:?}");
    }

    #[test]
    fn an_array_splits_into_its_posts() {
        assert_eq!(split(b"[]").unwrap(), Vec::<&[u8]>::new());
        assert_eq!(
            split(br#"[{"a":1},{"b":[{}]}]"#).unwrap(),
            [br#"{"a":1}"#.as_slice(), br#"{"b":[{}]}"#]
        );
        assert_eq!(
            split(b" [\n {\n\t\"a\": 1\r\n} ,{\"b\":{}} ] \n").unwrap(),
            [b"{\n\t\"a\": 1\r\n}".as_slice(), b"{\"b\":{}}"]
        );
    }

    #[test]
    fn damage_has_an_offset_and_an_expectation() {
        damaged("", 0, "\"[\"");
        damaged(r#"{"a":1}"#, 0, "\"[\" of an array of posts, found \"{\"");
        damaged(r#"[{"a":1}"#, 8, "\",\" or \"]\" after a post, found the end");
        damaged(r#"[{"a":1},]"#, 9, "a post");
        damaged(r#"[1]"#, 1, "a post");
        damaged(r#"[{"a":1}{"b":2}]"#, 8, "\",\" or \"]\"");
        damaged(r#"[{"a":1}]]"#, 9, "nothing after");
        damaged(r#"[{"a":"#, 6, "found the end");
        damaged(r#"[{"a":01}]"#, 7, "expected \"}\"");
        damaged(r#"[{"a":tru}]"#, 6, "a value");
        damaged(r#"[{"a":1}, {}]"#, 11, "names the kind");
        damaged(r#"[{"a":1,"b":2}]"#, 7, "names the kind");
        assert_eq!(
            split(b"[{\"a\":\"\xff\"}]").unwrap_err(),
            Damage { at: 7, what: "not UTF-8".into() }
        );
    }

    #[test]
    fn lines_split_into_posts() {
        let lines = |text: &'static str| split_as(Format::Ndjson, text.as_bytes());
        assert_eq!(lines("").unwrap(), Vec::<&[u8]>::new());
        let two = [br#"{"a":1}"#.as_slice(), br#"{"b":"\n"}"#];
        for text in [
            "{\"a\":1}\n{\"b\":\"\\n\"}\n",
            "{\"a\":1}\n{\"b\":\"\\n\"}",
            "\n{\"a\":1} \r\n\n {\"b\":\"\\n\"}\n\n",
        ] {
            assert_eq!(lines(text).unwrap(), two);
            for size in 1..text.len() {
                assert_eq!(
                    split_in_chunks(Format::Ndjson, text.as_bytes(), size).unwrap(),
                    two,
                    "{size}"
                );
            }
        }
        let damaged = |text: &'static str, at: usize, what: &str| {
            let damage = lines(text).unwrap_err();
            assert!(damage.at == at && damage.what.contains(what), "{text}: {damage:?}");
        };
        damaged("{\"a\":1}{\"b\":2}\n", 7, "the end of the line after a post, found \"{\"");
        damaged("[{\"a\":1}]\n", 0, "a post on each line, found \"[\"");
        damaged("{\"a\":1}\n{\"b\":", 13, "found the end");
        damaged("{\"a\":1}\n{\"b\":\n2}\n", 8, "a post on one line");
    }

    #[test]
    fn depth_is_limited_and_the_stack_is_safe() {
        let nested = |depth: usize| {
            format!("[{{\"a\":{}{}}}]", "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert_eq!(split(nested(128).as_bytes()).unwrap().len(), 1);
        damaged(&nested(129), 6 + 127, "too deep");
        damaged(&format!("[{{\"a\":{}", "[".repeat(10_000_000)), 6 + 127, "too deep");
    }

    /// Generates JSON of any shape, and texts that are almost JSON.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<f64>()
                .prop_filter("JSON has no infinity", |n| n.is_finite())
                .prop_map(|n| serde_json::json!(n)),
            any::<i64>().prop_map(|n| serde_json::json!(n)),
            any::<bool>().prop_map(|b| serde_json::json!(b)),
            ".{0,40}".prop_map(|text| serde_json::json!(text)),
            Just(serde_json::Value::Null),
        ];
        let tree = leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
                prop::collection::hash_map(".{0,12}", inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        (tree, any::<bool>()).prop_map(|(tree, pretty)| {
            if pretty { serde_json::to_string_pretty(&tree).unwrap() } else { tree.to_string() }
        })
    }

    proptest! {
        #[test]
        fn it_splits_where_serde_json_does(values in prop::collection::vec(any_json(), 0..8), size in 1usize..50) {
            let posts: Vec<String> = values.iter().map(|value| format!("{{\"a\": {value}}}")).collect();
            let text = format!("[{}]", posts.join(","));
            let expected: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
            let expected: Vec<&[u8]> = expected.iter().map(|raw| raw.get().as_bytes()).collect();
            prop_assert_eq!(split(text.as_bytes()).unwrap(), expected.clone());
            prop_assert_eq!(split_in_chunks(Format::JsonArray, text.as_bytes(), size).unwrap(), expected);
        }

        #[test]
        fn damage_is_found_in_chunks_of_any_size(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>(), size in 1usize..50) {
            let mut text = format!("[{{\"a\":{value}}}, {{\"a\":{value}}}]").into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let whole = split(&text).map(|posts| posts.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            let chunks = split_in_chunks(Format::JsonArray, &text, size);
            prop_assert_eq!(chunks.map_err(|damage| damage.at), whole.map_err(|damage| damage.at));
            prop_assert!(serde_json::from_slice::<Vec<&RawValue>>(&text).is_ok() || split(&text).is_err());
        }
    }
}

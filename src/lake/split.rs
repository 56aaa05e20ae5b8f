//! Splits a JSON array into its posts without building anything: one pass that checks all of JSON's
//! grammar, UTF-8 and the depth, and remembers where each post begins and ends.
//!
//! serde_json could do this by `RawValue`, but it doesn't limit the depth there, and can't go on in
//! the next chunk of a file: memory would grow with the file.

use std::ops::Range;

use crate::post::DEPTH_MAX;

/// Where a text stops being a lake's file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The offset of the byte that doesn't fit.
    pub at: usize,
    /// What was expected.
    pub what: &'static str,
}

/// Where a post is in its chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostAt {
    /// The whole object.
    pub post: Range<usize>,
    /// Its first key with the quotes, which names its kind.
    pub kind: Range<usize>,
}

/// Why scanning stopped before the end of a value.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// The text ends here; more of it may follow.
    Incomplete,
    Damage(Damage),
}

type Scan<T> = Result<T, Stop>;

/// How far an array has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstOrEnd,
    CommaOrEnd,
    Post,
    End,
}

/// Splits one array that comes in chunks.
#[derive(Debug)]
pub struct Splitter(State);

impl Splitter {
    /// A splitter at the beginning of a file.
    pub fn start() -> Self {
        Self(State::Start)
    }

    /// Splits as much of a chunk as is whole: adds its posts to `posts` and returns how many
    /// bytes are done with. The next chunk has to begin with the rest.
    ///
    /// # Errors
    /// If this isn't an array of objects, or, where the chunk is the last, if it isn't whole.
    pub fn split(&mut self, chunk: &[u8], last: bool, posts: &mut Vec<PostAt>) -> Result<usize, Damage> {
        let mut at = 0;
        loop {
            at = skip_blanks(chunk, at);
            let Some(&byte) = chunk.get(at) else { break };
            match self.step(chunk, at, byte, posts) {
                Ok(next) => at = next,
                Err(Stop::Damage(damage)) => return Err(damage),
                Err(Stop::Incomplete) if last => return Err(Damage { at: chunk.len(), what: "the rest of a post" }),
                Err(Stop::Incomplete) => return Ok(at),
            }
        }
        if last && self.0 != State::End { Err(Damage { at, what: self.expected() }) } else { Ok(at) }
    }

    fn step(&mut self, chunk: &[u8], at: usize, byte: u8, posts: &mut Vec<PostAt>) -> Scan<usize> {
        let next = match (self.0, byte) {
            (State::Start, b'[') => State::FirstOrEnd,
            (State::FirstOrEnd | State::CommaOrEnd, b']') => State::End,
            (State::CommaOrEnd, b',') => State::Post,
            (State::FirstOrEnd | State::Post, b'{') => {
                posts.push(post(chunk, at)?);
                self.0 = State::CommaOrEnd;
                return Ok(posts[posts.len() - 1].post.end);
            }
            _ => return damage(at, self.expected()),
        };
        self.0 = next;
        Ok(at + 1)
    }

    fn expected(&self) -> &'static str {
        match self.0 {
            State::Start => "the \"[\" of an array of posts",
            State::FirstOrEnd => "a post, a JSON object, or \"]\"",
            State::CommaOrEnd => "\",\" or \"]\" behind a post",
            State::Post => "a post, a JSON object",
            State::End => "nothing behind the array",
        }
    }
}

fn damage<T>(at: usize, what: &'static str) -> Scan<T> {
    Err(Stop::Damage(Damage { at, what }))
}

/// The post that begins at `start`.
fn post(text: &[u8], start: usize) -> Scan<PostAt> {
    let end = value(text, start)?;
    let kind = skip_blanks(text, start + 1);
    if text[kind] != b'"' {
        return damage(kind, "a key that names the kind of the post");
    }
    Ok(PostAt { post: start..end, kind: kind..string(text, kind + 1)? })
}

/// The arrays and objects that are open: one bit for each, set for an object.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: usize,
}

impl Nesting {
    fn enter(&mut self, object: bool, at: usize) -> Scan<()> {
        if self.depth == DEPTH_MAX {
            return damage(at, "a post that is nested at most 128 deep");
        }
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

const _: () = assert!(DEPTH_MAX <= u128::BITS as usize, "a bit for each level");

/// The end of the value that begins at `at`. A loop, so that no input can use up the stack.
fn value(text: &[u8], mut at: usize) -> Scan<usize> {
    let mut nesting = Nesting::default();
    loop {
        // Here a value begins.
        match byte(text, at)? {
            b'"' => at = string(text, at + 1)?,
            open @ (b'{' | b'[') => {
                nesting.enter(open == b'{', at)?;
                at = skip_blanks(text, at + 1);
                if byte(text, at)? != open + 2 {
                    at = if open == b'{' { key(text, at)? } else { at };
                    continue;
                }
                // In ASCII a closing bracket comes two behind its opening one.
                nesting.leave();
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = number(text, at)?,
            b't' => at = literal(text, at, b"true")?,
            b'f' => at = literal(text, at, b"false")?,
            b'n' => at = literal(text, at, b"null")?,
            _ => return damage(at, "a JSON value"),
        }
        // Here a value has ended, and with it perhaps those around it.
        loop {
            if nesting.depth == 0 {
                return Ok(at);
            }
            at = skip_blanks(text, at);
            match (byte(text, at)?, nesting.in_object()) {
                (b',', true) => {
                    at = key(text, skip_blanks(text, at + 1))?;
                    break;
                }
                (b',', false) => {
                    at = skip_blanks(text, at + 1);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    nesting.leave();
                    at += 1;
                }
                (_, true) => return damage(at, "\",\" or \"}\""),
                (_, false) => return damage(at, "\",\" or \"]\""),
            }
        }
    }
}

#[inline]
fn byte(text: &[u8], at: usize) -> Scan<u8> {
    text.get(at).copied().ok_or(Stop::Incomplete)
}

#[inline]
fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

/// From the quote of a key to the beginning of its value.
#[inline]
fn key(text: &[u8], at: usize) -> Scan<usize> {
    if byte(text, at)? != b'"' {
        return damage(at, "a key in double quotes");
    }
    let at = skip_blanks(text, string(text, at + 1)?);
    if byte(text, at)? != b':' {
        return damage(at, "\":\" behind a key");
    }
    Ok(skip_blanks(text, at + 1))
}

/// The highest bit of each byte of a word.
const TOPS: u64 = (u64::MAX / 255) << 7;

/// From behind the opening quote of a string to behind its closing one.
#[inline]
fn string(text: &[u8], start: usize) -> Scan<usize> {
    let (mut at, mut seen) = (start, 0);
    loop {
        at = skip_plain(text, at, &mut seen);
        match byte(text, at)? {
            b'"' if seen & TOPS == 0 => return Ok(at + 1),
            b'"' => return utf8(text, start, at),
            b'\\' => at = escape(text, at + 1)?,
            0..=0x1f => return damage(at, "no control character in a string"),
            other => {
                seen |= u64::from(other);
                at += 1;
            }
        }
    }
}

/// Checks the string before the closing quote at `end`. Only strings can hold anything but ASCII.
fn utf8(text: &[u8], start: usize, end: usize) -> Scan<usize> {
    match std::str::from_utf8(&text[start..end]) {
        Ok(_) => Ok(end + 1),
        Err(error) => damage(start + error.valid_up_to(), "UTF-8"),
    }
}

/// Skips bytes that stand for themselves in a string, eight at a time, and adds their bits to `seen`.
#[inline]
fn skip_plain(text: &[u8], mut at: usize, seen: &mut u64) -> usize {
    const ONES: u64 = u64::MAX / 255;
    while let Some(&eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let eight = u64::from_le_bytes(eight);
        let zero_in = |word: u64| word.wrapping_sub(ONES) & !word;
        let quotes = zero_in(eight ^ (ONES * u64::from(b'"')));
        let escapes = zero_in(eight ^ (ONES * u64::from(b'\\')));
        let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
        let special = (quotes | escapes | controls) & TOPS;
        // This may see bytes behind the closing quote: then a check is made that wasn't needed.
        *seen |= eight;
        if special != 0 {
            // Borrows only run upwards, so the lowest mark is always a true one.
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// From behind a backslash to behind the escape. A lone surrogate stays as it is.
fn escape(text: &[u8], at: usize) -> Scan<usize> {
    match byte(text, at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
        b'u' => {
            for digit in at + 1..at + 5 {
                if !byte(text, digit)?.is_ascii_hexdigit() {
                    return damage(digit, "four hexadecimal digits");
                }
            }
            Ok(at + 5)
        }
        _ => damage(at, "an escape that JSON knows"),
    }
}

#[inline]
fn literal(text: &[u8], at: usize, word: &'static [u8]) -> Scan<usize> {
    match text.get(at..at + word.len()) {
        Some(found) if found == word => Ok(at + word.len()),
        None if word.starts_with(&text[at..]) => Err(Stop::Incomplete),
        _ => damage(at, "true, false or null"),
    }
}

#[inline]
fn number(text: &[u8], mut at: usize) -> Scan<usize> {
    at += usize::from(text[at] == b'-');
    at = if byte(text, at)? == b'0' { at + 1 } else { digits(text, at)? };
    if byte(text, at)? == b'.' {
        at = digits(text, at + 1)?;
    }
    if let b'e' | b'E' = byte(text, at)? {
        at += 1;
        at += usize::from(matches!(byte(text, at)?, b'+' | b'-'));
        at = digits(text, at)?;
    }
    Ok(at)
}

/// Skips digits, of which there has to be one.
#[inline]
fn digits(text: &[u8], start: usize) -> Scan<usize> {
    let mut at = start;
    while byte(text, at)?.is_ascii_digit() {
        at += 1;
    }
    if at == start { damage(at, "a digit") } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// Splits a text in one go.
    fn split(text: &[u8]) -> Result<Vec<&[u8]>, Damage> {
        let mut posts = Vec::new();
        let done = Splitter::start().split(text, true, &mut posts)?;
        assert_eq!(done, text.len());
        Ok(posts.into_iter().map(|at| &text[at.post]).collect())
    }

    /// Splits a text that comes in chunks which grow until a post fits.
    fn split_in_chunks(text: &[u8], size: usize) -> Result<Vec<Vec<u8>>, Damage> {
        let (mut splitter, mut found, mut from, mut to) = (Splitter::start(), Vec::new(), 0, 0);
        loop {
            to = (to + size).min(text.len());
            let mut posts = Vec::new();
            let done = splitter.split(&text[from..to], to == text.len(), &mut posts);
            let done = done.map_err(|damage| Damage { at: damage.at + from, ..damage })?;
            found.extend(posts.into_iter().map(|at| text[from..to][at.post].to_vec()));
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
        assert_eq!(split(br#"[{"a":1},{"b":[{}]}]"#).unwrap(), [br#"{"a":1}"#.as_slice(), br#"{"b":[{}]}"#]);
        assert_eq!(
            split(b" [\n {\n\t\"a\": 1\r\n} ,{\"b\":{}} ] \n").unwrap(),
            [b"{\n\t\"a\": 1\r\n}".as_slice(), b"{\"b\":{}}"]
        );
    }

    #[test]
    fn damage_has_an_offset_and_an_expectation() {
        damaged("", 0, "\"[\"");
        damaged(r#"{"a":1}"#, 0, "\"[\"");
        damaged(r#"[{"a":1}"#, 8, "\",\" or \"]\"");
        damaged(r#"[{"a":1},]"#, 9, "a post");
        damaged(r#"[1]"#, 1, "a post");
        damaged(r#"[{"a":1}{"b":2}]"#, 8, "\",\" or \"]\"");
        damaged(r#"[{"a":1}]]"#, 9, "nothing behind");
        damaged(r#"[{"a":"#, 6, "rest of a post");
        damaged(r#"[{"a":01}]"#, 7, "\",\" or \"}\"");
        damaged(r#"[{"a":"\x"}]"#, 8, "escape");
        damaged("[{\"a\":\"\n\"}]", 7, "control");
        damaged(r#"[{"a":tru}]"#, 6, "true");
        damaged(r#"[{a:1}]"#, 2, "key");
        damaged(r#"[{"a":1}, {}]"#, 11, "the kind");
        assert_eq!(split(b"[{\"a\":\"\xff\"}]").unwrap_err(), Damage { at: 7, what: "UTF-8" });
    }

    #[test]
    fn depth_is_limited_and_the_stack_is_safe() {
        let nested = |depth: usize| format!("[{{\"a\":{}{}}}]", "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert_eq!(split(nested(128).as_bytes()).unwrap().len(), 1);
        damaged(&nested(129), 6 + 127, "128 deep");
        damaged(&format!("[{{\"a\":{}", "[".repeat(10_000_000)), 6 + 127, "128 deep");
    }

    #[test]
    fn surrogates_and_nul_escapes_stay() {
        let text = br#"[{"a":"\ud83d \u0000"}]"#;
        assert_eq!(split(text).unwrap(), [&text[1..text.len() - 1]]);
    }

    /// JSON of any shape, and texts that are almost JSON.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            any::<f64>().prop_filter("JSON has no infinity", |n| n.is_finite()).prop_map(|n| serde_json::json!(n)),
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
            prop_assert_eq!(split_in_chunks(text.as_bytes(), size).unwrap(), expected);
        }

        #[test]
        fn it_refuses_what_serde_json_refuses(value in any_json(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)) {
            let mut text = format!("[{{\"a\":{value}}}]").into_bytes();
            for (index, byte) in changes {
                let at = index.index(text.len());
                text[at] = byte;
            }
            let expected: Option<Vec<&RawValue>> = serde_json::from_slice(&text).ok();
            let expected = expected.filter(|posts| posts.iter().all(|post| post.get().starts_with('{') && post.get() != "{}"));
            let found = split(&text);
            prop_assert_eq!(found.is_ok(), expected.is_some(), "{:?} {}", found, String::from_utf8_lossy(&text));
            if let Err(damage) = found {
                prop_assert!(damage.at <= text.len());
            }
        }
    }
}

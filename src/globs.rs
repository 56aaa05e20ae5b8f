//! Globs over names and paths, as in a shell. Names are bytes, so names that aren't UTF-8 can
//! match, too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Result};

/// The maximum number of patterns that the braces of one glob may expand to. Each is matched
/// against every name.
const ALTERNATIVES_MAX: usize = 256;

/// A glob: `*` matches any text, `?` one character, `[a-z]` and `[!a-z]` one of a set, `{a,b}`
/// either text, and `**` between slashes any number of folders. A character in brackets matches
/// itself: `[*]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The expansions of the braces, each split at the slashes.
    alternatives: Vec<Vec<Segment>>,
}

/// The part of a glob between two slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// `**`: any number of folders.
    Folders,
    /// One name.
    Name(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Literal(Vec<u8>),
    AnyText,
    AnyCharacter,
    OneOf { negated: bool, ranges: Vec<(char, char)> },
}

/// Returns true if a text has characters with a special meaning in a glob.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Returns the text with all special characters of globs in brackets, which is a glob for that text
/// alone.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | '{' | '}' | ',') {
            escaped.extend(['[', character, ']']);
        } else {
            escaped.push(character);
        }
    }
    escaped
}

impl Glob {
    /// Parses a glob.
    ///
    /// # Errors
    /// If it is malformed; the text names the place.
    pub fn new(text: &str) -> Result<Self> {
        let alternatives =
            expand_braces(text).and_then(|all| all.iter().map(|text| segments(text)).collect());
        let alternatives = alternatives
            .map_err(|what: String| Error::fatal(format!("bad glob \"{text}\": {what}")))?;
        Ok(Self { alternatives })
    }

    /// Returns true if a name, or a path, matches as a whole. A leading dot is treated like any
    /// other character, as in other programs that match names and not files.
    pub fn matches(&self, name: impl AsRef<OsStr>) -> bool {
        let names: Vec<&[u8]> = name.as_ref().as_bytes().split(|byte| *byte == b'/').collect();
        self.alternatives.iter().any(|segments| segments_match(segments, &names))
    }

    /// Returns the expansions of the braces, each split at the slashes.
    pub(crate) fn alternatives(&self) -> &[Vec<Segment>] {
        &self.alternatives
    }
}

impl Segment {
    /// Returns the only name that the glob matches, if there is only one.
    pub(crate) fn literal(&self) -> Option<&OsStr> {
        match self {
            Self::Name(tokens) => match &tokens[..] {
                [] => Some(OsStr::new("")),
                [Token::Literal(bytes)] => Some(OsStr::from_bytes(bytes)),
                _ => None,
            },
            Self::Folders => None,
        }
    }

    /// Returns true if the name of a file matches as in a shell, where `*` and `?` don't match the
    /// dot of a hidden file.
    pub(crate) fn matches_file(&self, name: &OsStr) -> bool {
        let name = name.as_bytes();
        match self {
            Self::Folders => !name.starts_with(b"."),
            Self::Name(tokens) => {
                let first = tokens.first();
                let says_dot =
                    matches!(first, Some(Token::Literal(bytes)) if bytes.starts_with(b"."));
                (says_dot || !name.starts_with(b".")) && tokens_match(tokens, name)
            }
        }
    }
}

/// Returns the expansions of `{a,b}`, including nested ones.
fn expand_braces(text: &str) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut waiting = vec![text.to_owned()];
    while let Some(text) = waiting.pop() {
        let Some((open, close, commas)) = first_braces(&text)? else {
            done.push(text);
            continue;
        };
        let mut from = open + 1;
        let mut expanded = Vec::new();
        for to in commas.into_iter().chain([close]) {
            expanded.push([&text[..open], &text[from..to], &text[close + 1..]].concat());
            from = to + 1;
        }
        waiting.extend(expanded.into_iter().rev());
        if done.len() + waiting.len() > ALTERNATIVES_MAX {
            return Err(format!(
                "expected braces that stand for at most {ALTERNATIVES_MAX} texts, found more"
            ));
        }
    }
    Ok(done)
}

/// Returns the positions of the first opening brace, its closing brace, and its commas.
fn first_braces(text: &str) -> Result<Option<(usize, usize, Vec<usize>)>, String> {
    let (mut depth, mut open, mut commas) = (0_usize, 0, Vec::new());
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'[' => at = end_of_set(text, at).unwrap_or(at),
            b'{' => {
                if depth == 0 {
                    open = at;
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth == 1 => return Ok(Some((open, at, commas))),
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    if depth > 0 {
        return Err(format!(
            "\"{{\" at byte {} isn't closed: expected \"}}\", or \"[{{]\" for the character",
            open + 1
        ));
    }
    Ok(None)
}

/// Returns the end of the set that begins at a bracket; a `]` as its first character belongs to the
/// set.
fn end_of_set(text: &str, open: usize) -> Option<usize> {
    let inner = &text[open + 1..];
    let negation = usize::from(inner.starts_with(['!', '^']));
    let first = inner[negation..].chars().next()?.len_utf8();
    let from = open + 1 + negation + first;
    text[from..].find(']').map(|length| from + length)
}

fn segments(text: &str) -> Result<Vec<Segment>, String> {
    let mut segments = Vec::new();
    let mut at = 0;
    for name in text.split('/') {
        if name == "**" {
            if segments.last() != Some(&Segment::Folders) {
                segments.push(Segment::Folders);
            }
        } else if name.contains("**") {
            return Err(format!(
                "expected \"**\" between slashes, found it in \"{name}\" at byte {}",
                at + 1
            ));
        } else {
            segments.push(Segment::Name(tokens(name, at)?));
        }
        at += name.len() + 1;
    }
    Ok(segments)
}

fn tokens(name: &str, offset: usize) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while let Some(character) = name[at..].chars().next() {
        let mut next = at + character.len_utf8();
        match character {
            '*' => tokens.push(Token::AnyText),
            '?' => tokens.push(Token::AnyCharacter),
            '[' => {
                let close = end_of_set(name, at).ok_or_else(|| {
                    let place = offset + at + 1;
                    format!(
                        "\"[\" at byte {place} isn't closed: expected \"]\", or \"[[]\" for the \
                         character"
                    )
                })?;
                tokens.push(set(&name[at + 1..close]));
                next = close + 1;
            }
            _ => match tokens.last_mut() {
                Some(Token::Literal(bytes)) => bytes.extend_from_slice(&name.as_bytes()[at..next]),
                _ => tokens.push(Token::Literal(name.as_bytes()[at..next].to_vec())),
            },
        }
        at = next;
    }
    // `[x]` is an escaped character: it becomes text, because names that are only text are looked
    // up directly.
    let mut joined: Vec<Token> = Vec::new();
    for token in tokens {
        let literal = match token {
            Token::OneOf { negated: false, ref ranges }
                if ranges.len() == 1 && ranges[0].0 == ranges[0].1 =>
            {
                Some(ranges[0].0.to_string().into_bytes())
            }
            Token::Literal(ref bytes) => Some(bytes.clone()),
            _ => None,
        };
        match (literal, joined.last_mut()) {
            (Some(bytes), Some(Token::Literal(before))) => before.extend(bytes),
            (Some(bytes), _) => joined.push(Token::Literal(bytes)),
            (None, _) => joined.push(token),
        }
    }
    Ok(joined)
}

fn set(inner: &str) -> Token {
    let negated = inner.starts_with(['!', '^']);
    let characters: Vec<char> = inner[usize::from(negated)..].chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        if characters.get(at + 1) == Some(&'-') && at + 2 < characters.len() {
            ranges.push((characters[at], characters[at + 2]));
            at += 3;
        } else {
            ranges.push((characters[at], characters[at]));
            at += 1;
        }
    }
    Token::OneOf { negated, ranges }
}

fn segments_match(segments: &[Segment], names: &[&[u8]]) -> bool {
    match segments.split_first() {
        None => names.is_empty(),
        Some((Segment::Folders, rest)) => {
            (0..=names.len()).any(|skipped| segments_match(rest, &names[skipped..]))
        }
        Some((Segment::Name(tokens), rest)) => names.split_first().is_some_and(|(name, others)| {
            tokens_match(tokens, name) && segments_match(rest, others)
        }),
    }
}

/// Returns true if a name matches. The search only backtracks to the last `*`, so its time is at
/// most the product of both lengths.
fn tokens_match(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        let step = match tokens.get(token) {
            Some(Token::AnyText) => {
                back = Some((token, at));
                token += 1;
                continue;
            }
            Some(Token::Literal(bytes)) => name[at..].starts_with(bytes).then_some(bytes.len()),
            Some(Token::AnyCharacter) => first_character(&name[at..]).map(|(_, length)| length),
            Some(Token::OneOf { negated, ranges }) => first_character(&name[at..])
                .filter(|(character, _)| is_one_of(*character, ranges) != *negated)
                .map(|(_, length)| length),
            None => (at == name.len()).then_some(0),
        };
        match (step, back) {
            (Some(_), _) if token == tokens.len() => return true,
            (Some(length), _) => {
                at += length;
                token += 1;
            }
            (None, Some((star, from))) if from < name.len() => {
                back = Some((star, from + 1));
                (token, at) = (star + 1, from + 1);
            }
            (None, _) => return false,
        }
    }
}

fn is_one_of(character: Option<char>, ranges: &[(char, char)]) -> bool {
    character
        .is_some_and(|character| ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)))
}

/// Returns the first character and its length. A byte that isn't UTF-8 counts as a character that
/// is in no set.
fn first_character(name: &[u8]) -> Option<(Option<char>, usize)> {
    let head = &name[..name.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => Some((Some(character), character.len_utf8())),
        None if name.is_empty() => None,
        None => Some((None, 1)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(glob: &str, yes: &[&str], no: &[&str]) {
        let glob = Glob::new(glob).unwrap();
        for name in yes {
            assert!(glob.matches(name), "{glob:?} {name}");
        }
        for name in no {
            assert!(!glob.matches(name), "{glob:?} {name}");
        }
    }

    #[test]
    fn globs_match_as_in_a_shell() {
        check(
            "*.ndjson",
            &["a.ndjson", ".ndjson", "a.b.ndjson"],
            &["a.ndjson.1", "d/a.ndjson", ""],
        );
        check("a?c", &["abc", "aéc"], &["ac", "abbc"]);
        check("[a-c][!0-9]", &["ax", "cé"], &["dx", "a1", "a"]);
        check("x[]]y[*]", &["x]y*"], &["xy*", "x]yz"]);
        check("{a,b{1,2}}.log", &["a.log", "b1.log", "b2.log"], &["b.log", "a,b1.log"]);
        check("a{,.1}", &["a", "a.1"], &["a."]);
        check("d/**/a", &["d/a", "d/x/a", "d/x/y/a"], &["da", "d/a/b"]);
        check("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a"]);
        check(&escape("a[1]{x,y}*"), &["a[1]{x,y}*"], &["a1x"]);
    }

    #[test]
    fn what_is_no_glob_is_named_with_its_place() {
        let error = |glob| Glob::new(glob).unwrap_err().chain();
        assert_eq!(
            error("x/a[b"),
            "bad glob \"x/a[b\": \"[\" at byte 4 isn't closed: expected \"]\", or \"[[]\" for the \
             character"
        );
        assert_eq!(
            error("a{b"),
            "bad glob \"a{b\": \"{\" at byte 2 isn't closed: expected \"}\", or \"[{]\" for the \
             character"
        );
        assert_eq!(
            error("p/**x"),
            "bad glob \"p/**x\": expected \"**\" between slashes, found it in \"**x\" at byte 3"
        );
        assert!(error(&"{a,b}".repeat(9)).contains("at most 256"));
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_matched_too() {
        let latin1 = OsStr::from_bytes(b"caf\xe9.txt");
        assert!(Glob::new("caf?.txt").unwrap().matches(latin1));
        assert!(Glob::new("*.txt").unwrap().matches(latin1));
        assert!(!Glob::new("caf[a-z].txt").unwrap().matches(latin1));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_an_escaped_one_matches_itself(
            text in "[a-c*?\\[\\]{},!/é.-]{0,12}",
            name in any::<Vec<u8>>(),
        ) {
            if let Ok(glob) = Glob::new(&text) {
                glob.matches(OsStr::from_bytes(&name));
            }
            if !text.contains('[') && !text.contains("**") {
                let escaped = escape(&text);
                prop_assert!(Glob::new(&escaped).unwrap().matches(&text), "{escaped}");
            }
        }
    }
}

//! Hashtags, cashtags, mentions and addresses in a text, by the rules that twitter-text publishes.
//!
//! It differs from them in one point: an address that begins with `http://` or `https://` may have
//! any host with a dot in it, also one whose last part isn't a known top-level domain.

use std::ops::Range;

use super::characters::{is_digit, is_hashtag_special, is_latin_accent, is_letter_or_mark};
use super::links::{address_with_scheme, bare_address};

/// What stands at a place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntityKind {
    /// `#storm`
    Hashtag,
    /// `$ABC`
    Cashtag,
    /// `@ann`
    Mention,
    /// `@ann/friends`, which mentions nobody.
    UserList,
    /// `https://example.org/a`, `example.org`
    Address,
}

/// Something that a text marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    pub kind: EntityKind,
    /// Its bytes, with the sign.
    pub range: Range<usize>,
    /// The sign's bytes.
    sign: usize,
}

impl Entity {
    pub(super) fn address(range: Range<usize>) -> Self {
        Self { kind: EntityKind::Address, range, sign: 0 }
    }

    /// What stands behind the sign.
    pub fn name<'t>(&self, text: &'t str) -> &'t str {
        &text[self.range.start + self.sign..self.range.end]
    }
}

/// How long a user's name may be.
const USER_BYTES_MAX: usize = 20;

/// How long the name of a user's list may be.
const LIST_BYTES_MAX: usize = 25;

/// How many letters a cashtag has at most, and how many behind its dot.
const CASHTAG_BYTES_MAX: usize = 6;
const CASHTAG_SUFFIX_BYTES_MAX: usize = 2;

/// Finds all entities of a text, in order; none overlaps another.
pub(crate) fn find_entities(text: &str, found: &mut Vec<Entity>) {
    found.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let begin = found.last().map_or(0, |entity| entity.range.end);
        let entity = match bytes[at] {
            b'#' => hashtag(text, at, 1),
            b'@' => mention(text, at, 1),
            b'$' => cashtag(text, at),
            b':' if bytes[at..].starts_with(b"://") => address_with_scheme(text, begin, at),
            b'.' => bare_address(text, begin, at),
            // The wide forms of `#` and `@`.
            0xef if bytes[at..].starts_with("＃".as_bytes()) => hashtag(text, at, 3),
            0xef if bytes[at..].starts_with("＠".as_bytes()) => mention(text, at, 3),
            _ => None,
        };
        if let Some(entity) = entity {
            at = entity.range.end;
            found.push(entity);
        } else {
            at += 1;
        }
    }
}

pub(super) fn char_before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

fn is_hashtag_char(char: char) -> bool {
    is_letter_or_mark(char) || is_digit(char) || is_hashtag_special(char)
}

fn hashtag(text: &str, at: usize, sign: usize) -> Option<Entity> {
    let may_begin = char_before(text, at).is_none_or(|before| {
        matches!(before, '\u{fe0e}' | '\u{fe0f}') || before != '&' && !is_hashtag_char(before)
    });
    let name = &text[at + sign..];
    // A `#` in a key cap is no sign.
    if !may_begin || name.starts_with(['\u{fe0f}', '\u{20e3}']) {
        return None;
    }
    let length = name.find(|char| !is_hashtag_char(char)).unwrap_or(name.len());
    let (name, behind) = name.split_at(length);
    let is_name = name.chars().any(is_letter_or_mark);
    let goes_on = behind.starts_with(['#', '＃']) || behind.starts_with("://");
    if !is_name || goes_on {
        return None;
    }
    Some(Entity { kind: EntityKind::Hashtag, range: at..at + sign + length, sign })
}

fn is_user_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

fn mention(text: &str, at: usize, sign: usize) -> Option<Entity> {
    if !may_mention(&text[..at]) {
        return None;
    }
    let name = &text.as_bytes()[at + sign..];
    let length = name.iter().take(USER_BYTES_MAX).take_while(|byte| is_user_byte(byte)).count();
    if length == 0 {
        return None;
    }
    let end = at + sign + length;
    let list = list_length(&text.as_bytes()[end..]);
    let behind = &text[end + list..];
    let goes_on = behind.starts_with(['@', '＠'])
        || behind.starts_with(is_latin_accent)
        || behind.starts_with("://");
    if goes_on {
        return None;
    }
    let kind = if list > 0 { EntityKind::UserList } else { EntityKind::Mention };
    Some(Entity { kind, range: at..end + list, sign })
}

/// True if a mention may stand behind a text: not in a word or an address, unless that word is
/// `RT`.
fn may_mention(before: &str) -> bool {
    let inside = |char: char| {
        char.is_ascii_alphanumeric()
            || matches!(char, '_' | '!' | '#' | '$' | '%' | '&' | '*' | '@')
    };
    if !before.ends_with(|char| inside(char) || char == '＠') {
        return true;
    }
    let Some((word, rt)) = before.as_bytes().split_last_chunk::<2>() else { return false };
    let is_in_word = |byte: &u8| is_user_byte(byte) || b"+~.-".contains(byte);
    rt.eq_ignore_ascii_case(b"rt") && !word.last().is_some_and(is_in_word)
}

/// The bytes of `/friends` behind a user's name; 0 if there is no list.
fn list_length(behind: &[u8]) -> usize {
    let [b'/', first, ..] = behind else { return 0 };
    if !first.is_ascii_alphabetic() {
        return 0;
    }
    let name = behind[1..].iter().take(LIST_BYTES_MAX);
    1 + name.take_while(|byte| is_user_byte(byte) || **byte == b'-').count()
}

fn cashtag(text: &str, at: usize) -> Option<Entity> {
    let may_begin = char_before(text, at).is_none_or(|before| {
        before.is_whitespace() || matches!(before, '\u{202a}'..='\u{202e}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}')
    });
    let name = &text.as_bytes()[at + 1..];
    let letters = count_letters(name);
    if !may_begin || !(1..=CASHTAG_BYTES_MAX).contains(&letters) {
        return None;
    }
    let with_suffix = match &name[letters..] {
        [b'.' | b'_', suffix @ ..] => {
            let suffix = count_letters(suffix);
            if (1..=CASHTAG_SUFFIX_BYTES_MAX).contains(&suffix) { letters + 1 + suffix } else { 0 }
        }
        _ => 0,
    };
    let ends = |length: &usize| {
        let behind = text[at + 1 + length..].chars().next();
        *length > 0 && behind.is_none_or(|char| char.is_whitespace() || char.is_ascii_punctuation())
    };
    let length = [with_suffix, letters].into_iter().find(ends)?;
    Some(Entity { kind: EntityKind::Cashtag, range: at..at + 1 + length, sign: 1 })
}

fn count_letters(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()
}

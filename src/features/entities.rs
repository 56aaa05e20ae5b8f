//! Finds hashtags, cashtags, mentions and addresses in a text, by the rules that twitter-text
//! publishes.
//!
//! There is one difference: an address that begins with `http://` or `https://` may have any host
//! with a dot in it, even one whose last part isn't a known top-level domain.

use std::ops::Range;

use super::characters::{is_digit, is_hashtag_special, is_latin_accent, is_letter_or_mark};
use super::links::{address_with_scheme, bare_address, is_public};

/// The kind of an entity in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntityKind {
    /// `#storm`
    Hashtag,
    /// `$ABC`
    Cashtag,
    /// `@ann`
    Mention,
    /// `@ann/friends`, `@ann@example.org`: handles that these rules don't count as mentions.
    OtherHandle,
    /// `https://example.org/a`, `example.org`
    Address,
}

/// An entity in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entity {
    pub kind: EntityKind,
    /// Its bytes, with the sign, and with parts that aren't in its name: in `@ann.example.org` the
    /// name is only `ann` according to the rules.
    pub range: Range<usize>,
    /// The bytes of the name.
    name: Range<usize>,
}

impl Entity {
    pub(super) fn address(range: Range<usize>) -> Self {
        Self { kind: EntityKind::Address, name: range.clone(), range }
    }

    /// Returns the text after the sign.
    pub(crate) fn name<'t>(&self, text: &'t str) -> &'t str {
        &text[self.name.clone()]
    }
}

/// The longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 20;

/// The longest name of a user's list, in bytes.
const LIST_BYTES_MAX: usize = 25;

/// The maximum number of letters of a cashtag, and of letters after its dot.
const CASHTAG_BYTES_MAX: usize = 6;
const CASHTAG_SUFFIX_BYTES_MAX: usize = 2;

/// True for a byte at which an entity may be found.
static MAY_BEGIN: [bool; 256] = {
    let mut may_begin = [false; 256];
    let bytes = [b'#', b'@', b'$', b':', b'.', 0xef];
    let mut at = 0;
    while at < bytes.len() {
        may_begin[bytes[at] as usize] = true;
        at += 1;
    }
    may_begin
};

/// Finds all entities of a text, in order and without overlaps.
pub(crate) fn find_entities(text: &str, found: &mut Vec<Entity>) {
    found.clear();
    let bytes = text.as_bytes();
    // The end of the last entity.
    let mut begin = 0;
    let mut at = 0;
    while let Some(plain) = bytes[at..].iter().position(|byte| MAY_BEGIN[usize::from(*byte)]) {
        at += plain;
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
            begin = entity.range.end;
            at = begin;
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
    // In a key cap, `#` isn't the sign of a hashtag.
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
    let name = at + sign..at + sign + length;
    Some(Entity { kind: EntityKind::Hashtag, range: at..name.end, name })
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
    let name = at + sign..at + sign + length;
    let list = list_length(&text.as_bytes()[name.end..]);
    let host = host_end(text, name.clone());
    let behind = &text[name.end + list..];
    let goes_on = behind.starts_with(['@', '＠'])
        || behind.starts_with(is_latin_accent)
        || behind.starts_with("://");
    if goes_on {
        let end = host?;
        return Some(Entity { kind: EntityKind::OtherHandle, range: at..end, name });
    }
    let kind = if list > 0 { EntityKind::OtherHandle } else { EntityKind::Mention };
    Some(Entity { kind, range: at..host.unwrap_or(name.end + list), name })
}

/// Returns the end of a handle of Bluesky or the Fediverse that begins with a user's name:
/// `ann.example.org`, `ann@example.org`.
fn host_end(text: &str, name: Range<usize>) -> Option<usize> {
    let from = match text[name.end..].chars().next() {
        Some('.') => name.start,
        Some('@') => name.end + 1,
        _ => return None,
    };
    let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let length = text.as_bytes()[from..].iter().take_while(|byte| is_inside(byte)).count();
    let host = text[from..from + length].trim_end_matches(['.', '-']);
    is_public(host).then_some(from + host.len())
}

/// Returns true if a mention may follow a text: not within a word or an address, unless that word
/// is `RT`.
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

/// Returns the number of bytes of `/friends` after a user's name; 0 if no list follows.
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
    let name = at + 1..at + 1 + length;
    Some(Entity { kind: EntityKind::Cashtag, range: at..name.end, name })
}

fn count_letters(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns all entities of a text, each as a letter for its kind and its name.
    fn found(text: &str) -> String {
        let mut entities = Vec::new();
        find_entities(text, &mut entities);
        let told = entities.iter().map(|entity| {
            let kind = match entity.kind {
                EntityKind::Hashtag => '#',
                EntityKind::Cashtag => '$',
                EntityKind::Mention => '@',
                EntityKind::OtherHandle => 'o',
                EntityKind::Address => 'u',
            };
            format!("{kind}{}", entity.name(text))
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(found(text), expected, "{text}");
    }

    #[test]
    fn a_hashtag_has_a_letter_and_stands_alone() {
        check("#storm", "#storm");
        check("a #storm, #rain! (#wind) \"#sea\" #a_1", "#storm #rain #wind #sea #a_1");
        check("#1 #123 #1st #2024storm #_a #_ #__", "#1st #2024storm #_a");
        check("a#storm &#39; &#storm _#storm 5#storm é#storm", "");
        check("#storm#rain #storm", "#storm");
        check("# storm ## #", "");
        check("#a-b #a.b #a'b #a's", "#a #a #a #a");
        check("#http://example.org", "");
        check("/#storm .#storm …#storm", "#storm #storm #storm");
    }

    #[test]
    fn a_hashtag_is_of_any_script() {
        check("#über #café #Straße #naïve", "#über #café #Straße #naïve");
        check(
            "#日本語 ＃ハッシュタグ、#東京。#ひらがな #バー・フー",
            "#日本語 #ハッシュタグ #東京 #ひらがな #バー・フー",
        );
        check(
            "#한국어 #русский #العربية #हिन्दी #ไทย #עברית",
            "#한국어 #русский #العربية #हिन्दी #ไทย #עברית",
        );
        check("日本#東京 日本 #東京", "#東京");
        check("#a½ #aⅧ #a٣ #٣ #Ⓐ", "#a #a #a٣");
        check("#️⃣ 1️⃣ #️⃣abc 😀#storm ❤️#storm #storm😀", "#storm #storm #storm");
        check("#a\u{200c}b #می\u{200c}خواهم", "#a\u{200c}b #می\u{200c}خواهم");
    }

    #[test]
    fn a_mention_is_a_name_of_twenty_signs_that_stands_alone() {
        check("@ann", "@ann");
        check("@Ann_1, (@bob) .@carol: @dan's @eve-x", "@Ann_1 @bob @carol @dan @eve");
        check("ann@example.org a@bob _@bob !@bob @@bob &@bob", "");
        check("RT@ann RT:@bob rt @carol xrt@dan -RT@eve", "@ann @bob @carol");
        check("@ann@bob @ann@example.org @ann.example.org, @ann.so", "oann @ann @ann");
        check("@anné @ann\u{301} @ann日本 日本@bob", "@ann @bob");
        check("＠ann @ann://a", "@ann");
        check("@abcdefghijklmnopqrstuvwxyz", "@abcdefghijklmnopqrst");
        check("@ann/friends @ann/1 @ann/", "oann @ann @ann");
        check("@ @! @-", "");
    }

    #[test]
    fn a_cashtag_is_one_to_six_letters_between_spaces() {
        check("$ABC $a $TSLA.X, ($B) $BRK_b", "$ABC $a $TSLA.X $BRK_b");
        check("$ABCDEFG $1 $100 US$ABC a$b $", "");
        check("$BRK.ABC $ABC's $ABC-$DEF", "$BRK $ABC $ABC");
        check("\u{3000}$ABC\n$DEF?", "$ABC $DEF");
    }

    #[test]
    fn an_address_ends_before_the_punctuation_behind_it() {
        check("https://example.org", "uhttps://example.org");
        check("see http://example.org/a?b=c&d=e#f.", "uhttp://example.org/a?b=c&d=e#f");
        check(
            "(https://example.org/a) https://example.org/a_(b) https://example.org/a).",
            "uhttps://example.org/a uhttps://example.org/a_(b) uhttps://example.org/a",
        );
        check(
            "HTTPS://Example.ORG:8080/A, http://example.org!",
            "uHTTPS://Example.ORG:8080/A uhttp://example.org",
        );
        check("http://example.org/#storm @ann", "uhttp://example.org/#storm @ann");
        check("日本http://example.comは http://例え.jp/あ", "uhttp://example.com uhttp://例え.jp/");
        check("xhttp://example.org @http://example.org http:// http://. http://localhost/a", "");
        check("https://t.example/a…", "uhttps://t.example/a");
    }

    #[test]
    fn an_address_without_a_scheme_has_a_known_domain() {
        check(
            "example.com, www.example.org/a. example.co.uk",
            "uexample.com uwww.example.org/a uexample.co.uk",
        );
        check("end.It was.Of no.de a.b example.js 3.5 e.g. i.e. ...", "");
        check("example.de/a example.de t.co bit.ly/a", "uexample.de/a ut.co ubit.ly/a");
        check("ann@example.com #example.com $example.com", "#example");
        check("-example.com .example.com _example.com /example.com", "");
        check("example.com@ann example.com.", "uexample.com");
    }

    proptest! {
        #[test]
        fn any_text_has_entities_in_order(text in "([#@$:/.,a-zé日1_ ＃＠()]|http://|\u{fe0f}|RT){0,40}") {
            let mut entities = Vec::new();
            find_entities(&text, &mut entities);
            let mut end = 0;
            for entity in entities {
                prop_assert!(entity.range.start >= end && entity.range.end > entity.range.start);
                end = entity.range.end;
                let _ = entity.name(&text);
            }
        }

        #[test]
        fn no_text_makes_the_search_panic(text: String) {
            find_entities(&text, &mut Vec::new());
        }
    }
}

//! Makes text from outside safe for a terminal, a log and a line of a list.
//!
//! Names of files, texts of servers and arguments may contain escape sequences that control a
//! terminal, characters that change the direction of a line, and line breaks that forge a separate
//! line. Each becomes a visible escape: `\n`, `\u001b`. These are escapes of JSON, so that a line
//! of JSON stays valid with the same content.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns true for a character that controls a terminal, hides text or changes its direction.
pub fn is_unprintable(c: char) -> bool {
    let reorders = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    // Annotations and tags are invisible, and can contain a whole text.
    let hides = matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || reorders || breaks || hides
}

/// Escapes a name or a sentence that has to stay on one line.
pub fn printable_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unprintable)
}

/// Escapes a text of several lines. Its line breaks come from this program, and stay.
pub fn printable_text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_unprintable(c))
}

/// Returns the beginning of a text that is longer than this many characters, with the number of
/// omitted ones: a server's answer may have megabytes.
pub fn shortened(text: &str, chars_max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(chars_max) {
        None => Cow::Borrowed(text),
        Some((at, _)) => {
            Cow::Owned(format!("{}… ({} more characters)", &text[..at], text[at..].chars().count()))
        }
    }
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !is_bad(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing into a string can't fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_becomes_an_escape_that_can_be_seen() {
        assert_eq!(printable_line("a\u{1b}[31mb\r\nc\td"), "a\\u001b[31mb\\r\\nc\\td");
        assert_eq!(
            printable_line("\u{9b}2J\u{7f}\u{202e}gpj.exe\u{e0041}"),
            "\\u009b2J\\u007f\\u202egpj.exe\\udb40\\udc41"
        );
        assert_eq!(printable_text("one\ntwo\u{0}"), "one\ntwo\\u0000");
        assert!(matches!(printable_line("плохо 漢字 é 👩‍💻"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_very_long_text_is_shortened_and_says_so() {
        assert_eq!(shortened("né", 2), "né");
        assert_eq!(shortened("nénuphar", 2), "né… (6 more characters)");
    }

    proptest! {
        #[test]
        fn nothing_unprintable_is_left_and_twice_is_once(text in any::<String>()) {
            let line = printable_line(&text);
            prop_assert!(!line.chars().any(is_unprintable));
            prop_assert_eq!(printable_line(&line), &*line);
            let unfinished = text.ends_with('\n') || text.is_empty();
            let lines = text.split('\n').count().max(1) - usize::from(unfinished);
            prop_assert_eq!(printable_text(&text).lines().count(), lines);
        }

        #[test]
        fn a_line_of_json_stays_valid_and_says_the_same(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let printed = printable_text(&json);
            prop_assert_eq!(serde_json::from_str::<String>(&printed).unwrap(), text);
        }
    }
}

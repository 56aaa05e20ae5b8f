//! Finds secrets in the text of a topology file, so that no excerpt and no message repeats them:
//! the values of names such as `bearer_token`, and the credentials in addresses. Only the text is
//! searched, since a file with a syntax error has no tree.

use std::ops::Range;

use crate::secret::{names_a_secret, secrets_in_addresses};

/// The character that replaces each character of a secret. The length stays the same, so that the
/// marker below a line still points to the right column.
const MASK: char = '*';

/// Finds the secrets in a text, as ranges of bytes. With `is_set`, the text is a `--set`, whose
/// value extends to the end of the text.
pub(super) fn secrets_in(text: &str, is_set: bool) -> Vec<Range<usize>> {
    let mut found = secrets_in_addresses(text);
    let mut rest = text;
    while let Some(at) = rest.find([':', '=']) {
        let at = text.len() - rest.len() + at;
        rest = &text[at + 1..];
        let name = text[..at].trim_end().trim_end_matches(['"', '\'']);
        let begins = name.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |at| at + 1);
        // The boundary may fall into the middle of a character that isn't a letter.
        if name.get(begins..).is_some_and(names_a_secret) {
            found.extend(value_at(text, at + 1, is_set));
        }
        if is_set && text.as_bytes()[at] == b'=' {
            break;
        }
    }
    found
}

/// The shortest unquoted value that is taken for a secret. A shorter one is more likely a number.
const BARE_CHARS_MIN: usize = 4;

/// Returns the value that begins at a byte, unless the value is a call such as `Env("NAME")` or a
/// bare word.
fn value_at(text: &str, at: usize, is_set: bool) -> Option<Range<usize>> {
    let value = text[at..].trim_start();
    let value = value.strip_prefix("Some(").map_or(value, str::trim_start);
    let start = text.len() - value.len();
    if ["Env(", "File(", "None"].iter().any(|word| value.starts_with(word)) {
        return None;
    }
    if is_set {
        return Some(start..text.len());
    }
    let quoted = value.trim_start_matches(['b', 'r', '#']);
    let before = value.len() - quoted.len();
    if quoted.starts_with('"') {
        let hashes = value[..before].matches('#').count();
        return Some(
            start..start + before + text_length(quoted, hashes, value[..before].contains('r')),
        );
    }
    let word =
        value.find(|c: char| !c.is_alphanumeric() && !"_-.+/=~".contains(c)).unwrap_or(value.len());
    let is_call = value[word..].starts_with('(');
    (word >= BARE_CHARS_MIN && !is_call).then(|| start..start + word)
}

/// Returns the length of a quoted text, quotes included. A text without a closing quote extends to
/// the end.
fn text_length(quoted: &str, hashes: usize, is_raw: bool) -> usize {
    if is_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return quoted[1..].find(&end).map_or(quoted.len(), |at| 1 + at + end.len());
    }
    let mut escaped = false;
    for (at, c) in quoted.char_indices().skip(1) {
        if c == '"' && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    quoted.len()
}

/// Returns a piece of a text in which these ranges are masked. `start` is the position of the piece
/// in the text.
pub(super) fn masked(piece: &str, start: usize, secrets: &[Range<usize>]) -> String {
    let is_secret = |at: usize| secrets.iter().any(|range| range.contains(&(start + at)));
    piece.char_indices().map(|(at, c)| if is_secret(at) { MASK } else { c }).collect()
}

/// The shortest secret that is removed from messages. A shorter one may be part of any word.
const REPEATED_BYTES_MIN: usize = 4;

/// Returns a message without the secrets of the text that the message is about.
pub(super) fn unrepeated(message: &str, text: &str, secrets: &[Range<usize>]) -> String {
    let mut message = message.to_owned();
    for range in secrets {
        let secret = text.get(range.clone()).unwrap_or_default();
        for form in [secret, secret.trim_matches(['"', 'r', 'b', '#'])] {
            if form.len() >= REPEATED_BYTES_MIN && message.contains(form) {
                message = message.replace(form, "***");
            }
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(masked(text, 0, &secrets_in(text, false)), expected);
    }

    #[test]
    fn what_stands_behind_the_name_of_a_secret_is_masked() {
        check(r#"X(bearer_token: "AAAA", topics: [])"#, "X(bearer_token: ******, topics: [])");
        check(r#"api_key: Some("a\"b") ,"#, "api_key: Some(******) ,");
        check(r##"secret: r#"a"b"#, x: 1"##, "secret: ********, x: 1");
        check("access_token: \"never ends\n, x", "access_token: ***************");
        check("app_secret: 12ab34, max_tokens: 5", "app_secret: ******, max_tokens: 5");
        check(r#"base_url: "https://u:p@h", x: 1"#, r#"base_url: "https://***@h", x: 1"#);
    }

    #[test]
    fn a_call_and_other_fields_are_not() {
        for text in [
            r#"bearer_token: Env("X")"#,
            "session_token: None",
            r#"name: "token: x""#,
            "\"token\": Bolt(run: Null)",
        ] {
            check(text, text);
        }
        let set = "spouts.x.run.bearer_token=a b,c";
        assert_eq!(masked(set, 0, &secrets_in(set, true)), "spouts.x.run.bearer_token=*****");
    }

    proptest! {
        #[test]
        fn any_text_is_taken(
            text in "(token|: |\"|=|Some\\(|r#|b|\\\\|é|漢|://|@|[a-z\n]){0,30}",
            is_set in any::<bool>(),
        ) {
            let secrets = secrets_in(&text, is_set);
            prop_assert_eq!(masked(&text, 0, &secrets).chars().count(), text.chars().count());
            unrepeated(&text, &text, &secrets);
        }
    }
}

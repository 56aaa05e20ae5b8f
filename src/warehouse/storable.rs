//! Converts text and JSON to a form that the server can store: without NUL and without unpaired
//! surrogates.

use std::borrow::Cow;

use memchr::memmem;

/// The replacement for characters that can't be stored.
const REPLACEMENT: &str = "\u{fffd}";

/// Removes NUL from a text.
pub(crate) fn storable_text(text: &str) -> Cow<'_, str> {
    if text.as_bytes().contains(&0) { text.replace('\0', REPLACEMENT).into() } else { text.into() }
}

/// Replaces `\u0000` and escapes of unpaired surrogates in well-formed JSON by U+FFFD.
pub(crate) fn storable_json(json: &[u8]) -> Cow<'_, [u8]> {
    // Nearly every post returns here, because no character is escaped by its number.
    if memmem::find(json, b"\\u").is_none() {
        return json.into();
    }
    let mut out = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at..]) {
        let escape = at + found;
        let Some(unit) = escaped_unit(&json[escape..]) else {
            at = escape + 2;
            continue;
        };
        let is_high = (0xd800..0xdc00).contains(&unit);
        let is_low = (0xdc00..0xe000).contains(&unit);
        let next = json.get(escape + 6..).and_then(escaped_unit);
        if is_high && next.is_some_and(|next| (0xdc00..0xe000).contains(&next)) {
            at = escape + 12;
            continue;
        }
        at = escape + 6;
        if unit == 0 || is_high || is_low {
            out.extend_from_slice(&json[copied..escape]);
            out.extend_from_slice(REPLACEMENT.as_bytes());
            copied = at;
        }
        if at >= json.len() {
            break;
        }
    }
    if copied == 0 {
        return json.into();
    }
    out.extend_from_slice(&json[copied..]);
    out.into()
}

/// Returns the code unit of the numeric escape at the beginning of the bytes.
fn escaped_unit(json: &[u8]) -> Option<u16> {
    let digits = json.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(json: &str, expected: &str) {
        let storable = storable_json(json.as_bytes());
        assert_eq!(std::str::from_utf8(&storable).unwrap(), expected, "{json}");
    }

    #[test]
    fn what_the_server_cannot_hold_is_replaced_and_all_else_stays() {
        check(r#"{"a":"b\n"}"#, r#"{"a":"b\n"}"#);
        check(r#""\u0000x\u00e9\ud83e\udd80""#, "\"\u{fffd}x\\u00e9\\ud83e\\udd80\"");
        check(
            r#""\ud83ex\udd80\ud83e\ud83e\udd80""#,
            "\"\u{fffd}x\u{fffd}\u{fffd}\\ud83e\\udd80\"",
        );
        check(r#""\\u0000\\\u0000\ud83e""#, "\"\\\\u0000\\\\\u{fffd}\u{fffd}\"");
        assert_eq!(storable_text("a\0b"), "a\u{fffd}b");
        assert_eq!(storable_text("ab"), "ab");
    }

    proptest! {
        #[test]
        fn any_string_stays_json_and_reads_the_same_but_for_what_was_replaced(
            text in r#"(\\\\|\\n|\\u[0d][08c][03][0-9a-f]|\\ud83e\\udd80|[a-z漢])*"#
        ) {
            let json = format!("\"{text}\"");
            let storable = storable_json(json.as_bytes());
            let read: String = serde_json::from_slice(&storable).unwrap();
            prop_assert!(!read.contains('\0'));
            prop_assert_eq!(storable_json(&storable), storable.clone());
            if let Ok(whole) = serde_json::from_str::<String>(&json) {
                prop_assert_eq!(read, whole.replace('\0', REPLACEMENT));
            }
        }
    }
}

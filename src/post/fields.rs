//! Reads the members of checked JSON from its raw bytes. Each function makes one pass over them,
//! stops once it has its result, and builds no tree. The meaning of members is defined by the kind
//! of the post (`kinds`).

use std::borrow::Cow;

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use super::skip::Skip;

/// Iterates over the members of an object in checked JSON, with keys as they are written; empty if
/// the value isn't an object.
pub(crate) fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut skip = Skip::new(object);
    let mut before = b'{';
    std::iter::from_fn(move || {
        if skip.space()? != before {
            return None;
        }
        before = b',';
        skip.at += 1;
        let key = skip.key()?;
        skip.space();
        let start = skip.at;
        skip.value()?;
        Some((key, &object[start..skip.at]))
    })
}

/// Searches the members of an object, and stops as soon as `read` returns a value. `read` gets each
/// key and the JSON from its value on, so it can find something inside of a value without another
/// pass over the value.
pub(crate) fn find_member<'a, T>(
    object: &'a [u8],
    mut read: impl FnMut(&'a [u8], &'a [u8]) -> Option<T>,
) -> Option<T> {
    let mut skip = Skip::new(object);
    let mut before = b'{';
    while skip.space()? == before {
        before = b',';
        skip.at += 1;
        let key = skip.key()?;
        skip.space();
        let found = read(key, &object[skip.at..]);
        if found.is_some() {
            return found;
        }
        skip.value()?;
    }
    None
}

/// Returns the value at the beginning of a JSON text.
pub(crate) fn leading_value(json: &[u8]) -> Option<&[u8]> {
    let mut skip = Skip::new(json);
    skip.value()?;
    Some(&json[..skip.at])
}

/// Iterates over the elements of an array in checked JSON; empty if the value isn't an array.
pub(crate) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut skip = Skip::new(array);
    let mut before = b'[';
    std::iter::from_fn(move || {
        if skip.space()? != before {
            return None;
        }
        before = b',';
        skip.at += 1;
        // An empty array ends here, so there is no value.
        skip.space();
        let start = skip.at;
        skip.value()?;
        Some(&array[start..skip.at])
    })
}

/// Returns the values of several members, in one pass that ends when all are found.
pub(crate) fn pick<'a, const N: usize>(
    object: &'a [u8],
    names: [&str; N],
) -> [Option<&'a [u8]>; N] {
    let mut found = [None; N];
    for (key, value) in members(object) {
        if let Some(i) = names.iter().position(|name| name.as_bytes() == key) {
            found[i].get_or_insert(value);
            if found.iter().all(Option::is_some) {
                break;
            }
        }
    }
    found
}

pub(crate) fn get<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let [value] = pick(object, [name]);
    value
}

/// Returns the value at a path of keys, in one pass that ends there.
pub(crate) fn at<'a>(object: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let mut inside = object;
    for key in path {
        inside = find_member(inside, |found, json| (found == key.as_bytes()).then_some(json))?;
    }
    leading_value(inside)
}

/// Returns the text at a path of keys.
pub(crate) fn text_at<'a>(object: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    at(object, path).and_then(string)
}

/// Returns the texts under a key of each object in a list.
pub(crate) fn texts_in<'a>(list: Option<&'a [u8]>, key: &str) -> Vec<Cow<'a, str>> {
    let elements = elements(list.unwrap_or_default());
    elements.filter_map(|element| get(element, key).and_then(string)).collect()
}

/// Returns an id that is a string or a whole number, digit for digit, without converting it to a
/// float.
pub(crate) fn id_text(value: &[u8]) -> Option<Cow<'_, str>> {
    if value.first()?.is_ascii_digit() && value.iter().all(u8::is_ascii_digit) {
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    string(value)
}

/// Returns the text of a JSON string, borrowed if it has no escapes. Half of a surrogate pair,
/// which no text can hold, becomes U+FFFD.
pub(crate) fn string(value: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(value).ok()?.strip_prefix('"')?.strip_suffix('"')?;
    Some(if raw.contains('\\') { unescape(raw).into() } else { raw.into() })
}

fn unescape(mut raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    while let Some((plain, escape)) = raw.split_once('\\') {
        text.push_str(plain);
        let (character, length) = match escape.as_bytes().first() {
            Some(b'u') => code_point(escape),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(&byte) => (char::from(byte), 1),
            None => (char::REPLACEMENT_CHARACTER, 0),
        };
        text.push(character);
        raw = escape.get(length..).unwrap_or_default();
    }
    text.push_str(raw);
    text
}

/// Decodes `uXXXX`, or `uXXXX\uXXXX` with both halves of a pair. Returns the character and the
/// length of the escape.
fn code_point(escape: &str) -> (char, usize) {
    let unit = |from: usize| {
        escape.get(from..from + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok())
    };
    let first = unit(1).unwrap_or(0xfffd);
    let second = if escape.get(5..7) == Some("\\u") { unit(7) } else { None };
    let mut decoded = char::decode_utf16([first].into_iter().chain(second));
    match decoded.next() {
        Some(Ok(character)) => (character, if character.len_utf16() == 2 { 11 } else { 5 }),
        _ => (char::REPLACEMENT_CHARACTER, 5),
    }
}

/// Returns a time given as a whole number, with or without quotes, of units of `nanoseconds` since
/// 1970.
pub(crate) fn unix_time(value: &[u8], nanoseconds: i128) -> Option<OffsetDateTime> {
    let number: i64 = id_text(value)?.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(number) * nanoseconds).ok()
}

const TWITTER: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute] [year]"
);

/// Facebook's format: RFC 3339 would have a colon in the offset.
const FACEBOOK: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]"
);

pub(crate) fn date(text: &str) -> Option<OffsetDateTime> {
    let time = if text.starts_with(|first: char| first.is_ascii_digit()) {
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, FACEBOOK))
    } else {
        OffsetDateTime::parse(text, TWITTER)
    };
    // In UTC, the last hours of the year 9999 may be outside the range of the type.
    time.ok()?.checked_to_offset(UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(string(json.as_bytes()).as_deref(), Some(expected), "{json}");
    }

    #[test]
    fn escapes_are_decoded_and_half_a_pair_is_replaced() {
        check(r#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud83e\udd80""#, "\"\\/\u{8}\u{c}\n\r\t\0é🦀");
        check(r#""\ud83e \ud83e\ud83e\udd80 \udd80\n""#, "\u{fffd} \u{fffd}🦀 \u{fffd}\n");
    }

    #[test]
    fn a_path_ends_where_its_last_key_is() {
        let json = br#"{"a":{"x":[1]},"b":{"c":{"d":"e","f":1}},"b":2}"#;
        let found =
            |path: &[&str]| at(json, path).map(|value| String::from_utf8_lossy(value).into_owned());
        assert_eq!(found(&["b", "c", "d"]).as_deref(), Some(r#""e""#));
        assert_eq!(found(&["a"]).as_deref(), Some(r#"{"x":[1]}"#));
        assert_eq!(found(&["b", "f"]), None);
        assert_eq!(found(&["a", "x", "d"]), None);
    }

    proptest! {
        #[test]
        fn a_text_is_read_as_serde_json_reads_it(text: String) {
            let json = serde_json::to_string(&text).expect("a text");
            let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let escaped = format!("\"{escapes}\"");
            prop_assert_eq!(string(json.as_bytes()), Some(text.as_str().into()));
            prop_assert_eq!(string(escaped.as_bytes()), Some(text.into()));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(body in "[ {}\\[\\]\",:a0\\\\u]{0,40}", bytes: Vec<u8>) {
            let _ = unescape(&body);
            for body in [body.as_bytes(), &bytes] {
                let _ = (members(body).count(), elements(body).count(), pick(body, ["a", "0"]), at(body, &["a", "a"]));
            }
        }
    }
}

//! Wraps a platform's JSON objects as posts: under one key that names the kind, with `received_at`
//! added.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::post::{Post, REFRESHED};

/// Formats a time as posts have it: RFC 3339 in UTC.
pub fn stamp(time: OffsetDateTime) -> String {
    let utc =
        time.checked_to_offset(time::UtcOffset::UTC).and_then(|time| time.format(&Rfc3339).ok());
    // A year that RFC 3339 can't write comes from a platform's wrong number.
    utc.unwrap_or_else(|| "1970-01-01T00:00:00Z".into())
}

/// Returns true if an answer is one whole JSON object: a connection that breaks off may look like
/// the end of the answer.
pub fn is_whole(body: &[u8]) -> bool {
    Post::wrap("answer", body).is_ok()
}

/// Makes a post of a JSON object as the platform gave it, with members added at its end: raw JSON
/// by name, and then `received_at`. The object itself isn't changed.
///
/// # Errors
/// If the object isn't well-formed; the text says what is wrong, and at which byte (from 1).
pub fn post(
    kind: &str,
    object: &[u8],
    more: &[(&str, &[u8])],
    received: OffsetDateTime,
) -> Result<Post, String> {
    let received = format!("\"{}\"", stamp(received));
    let more = more.iter().copied().chain([("received_at", received.as_bytes())]);
    Post::wrap(kind, &with(object, more)?)
}

/// Makes a post of an object that was read again at the time `after` (`10m`) after its receipt.
pub(super) fn refreshed(
    kind: &str,
    object: &[u8],
    after: &str,
    now: OffsetDateTime,
) -> Result<Post, String> {
    post(kind, object, &[(REFRESHED, format!("\"{after}\"").as_bytes())], now)
}

/// Makes the post that says that another post was deleted: `{"delete": {"kind", "id", "created_at",
/// "raw"}}`. `deleted` is the time of the deletion, and `raw` the platform's own JSON of any type.
///
/// # Errors
/// If `raw` isn't JSON.
pub fn delete(
    kind: &str,
    id: &str,
    deleted: OffsetDateTime,
    raw: &[u8],
    received: OffsetDateTime,
) -> Result<Post, String> {
    deletion(&[("kind", kind), ("id", id)], deleted, raw, received)
}

/// Does the same for ids of one server: with `"instance"`, the server's host.
///
/// # Errors
/// If `raw` isn't JSON.
pub fn delete_on(
    instance: &str,
    (kind, id): (&str, &str),
    deleted: OffsetDateTime,
    raw: &[u8],
    received: OffsetDateTime,
) -> Result<Post, String> {
    deletion(&[("kind", kind), ("id", id), ("instance", instance)], deleted, raw, received)
}

fn deletion(
    names: &[(&str, &str)],
    deleted: OffsetDateTime,
    raw: &[u8],
    received: OffsetDateTime,
) -> Result<Post, String> {
    let text = |text: &str| serde_json::to_string(text).expect("text is written into memory");
    let mut head = String::from("{");
    for (name, value) in names {
        head.push_str(&format!("\"{name}\":{},", text(value)));
    }
    head.push_str(&format!("\"created_at\":{}}}", text(&stamp(deleted))));
    post("delete", head.as_bytes(), &[("raw", raw)], received)
}

/// Returns an object with members added at its end.
fn with<'a>(
    object: &[u8],
    more: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, String> {
    let trimmed = object.trim_ascii();
    let inner = trimmed.strip_suffix(b"}").filter(|inner| inner.starts_with(b"{"));
    let inner = inner.ok_or_else(|| match Post::wrap("none", object) {
        Err(what) => what,
        Ok(_) => "expected an object".into(),
    })?;
    let mut all = Vec::with_capacity(inner.len() + 64);
    all.extend_from_slice(inner);
    let mut empty = inner[1..].trim_ascii().is_empty();
    for (name, value) in more {
        if !std::mem::take(&mut empty) {
            all.push(b',');
        }
        all.push(b'"');
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(b"\":");
        all.extend_from_slice(value);
    }
    all.push(b'}');
    Ok(all)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    #[test]
    fn what_the_platform_gave_stays_as_it_is() {
        let made =
            post("toot", b" {\"id\":\"1\", \"x\":1e400 }\r\n", &[("errors", b"[1]")], NOW).unwrap();
        let expected =
            r#"{"toot":{"id":"1", "x":1e400 ,"errors":[1],"received_at":"2026-11-25T12:00:00Z"}}"#;
        assert_eq!(made.as_bytes(), expected.as_bytes());
        let empty = post("toot", b"{}", &[], NOW).unwrap();
        assert_eq!(empty.as_bytes(), &br#"{"toot":{"received_at":"2026-11-25T12:00:00Z"}}"#[..]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in [&b"[]"[..], b"", b"{", b"}", b"{\"a\":}", b"{\"a\":1", b"\"}\"", b"{}}", b"{{}"]
        {
            assert!(post("toot", bad, &[], NOW).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_deletion_names_what_was_deleted() {
        let made = delete("toot", "1\"", NOW, b"\"1\"", NOW).unwrap();
        let expected =
            r#"{"delete":{"kind":"toot","id":"1\"","created_at":"2026-11-25T12:00:00Z","raw":"1\"#;
        assert!(made.as_bytes().starts_with(&expected.as_bytes()[..60]));
        assert_eq!(made.kind(), "delete");
        assert_eq!(made.id().as_deref(), Some("1\""));
        let made = delete_on("a.example", ("toot", "7"), NOW, b"\"7\"", NOW).unwrap();
        let head = br#"{"delete":{"kind":"toot","id":"7","instance":"a.example","created_at":"2026-11-25T12:00:00Z","raw":"7""#;
        assert!(made.as_bytes().starts_with(head), "{}", made.as_bytes().escape_ascii());
    }
}

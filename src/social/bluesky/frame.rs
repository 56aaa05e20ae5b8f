//! Parses the messages of Jetstream, of its first version and of its second, which wraps events.

use xxhash_rust::xxh3::Xxh3;

use crate::post::fields::{date, get, id_text, pick, string};

use super::cursor::Mark;

/// A parsed message. `event` is the text that goes under `bsky`: in the second version, the wrapped
/// event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// A record was created or changed.
    Post { event: &'a [u8], time_us: Option<i64> },
    /// A record or an account with this id was deleted.
    Delete { event: &'a [u8], time_us: Option<i64>, id: String },
    /// Something other than a post: an identity, the state of an account.
    Other { event: &'a [u8], time_us: Option<i64> },
    /// A message of an unknown kind without a record.
    Unknown { event: &'a [u8], time_us: Option<i64> },
    /// The server begins later than it was asked to.
    Clamped,
    /// The server ends the stream, for this reason.
    Ends(String),
}

impl Frame<'_> {
    /// Returns the mark by which the event is recognised when it comes again, if the event has a
    /// time. A message of an unknown kind has no mark: it may be about the server and not part of
    /// the stream, so its time says nothing about the events around it.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let (event, time_us) = match self {
            Self::Post { event, time_us } | Self::Delete { event, time_us, .. } => (event, time_us),
            Self::Other { event, time_us } => (event, time_us),
            Self::Unknown { .. } | Self::Clamped | Self::Ends(_) => return None,
        };
        let time_us = time_us.filter(|time_us| *time_us > 0)?;
        let [cursor, seq] = pick(event, ["cursor", "seq"]);
        let seq = cursor.or(seq).and_then(number).unwrap_or(0);
        Some(Mark { hash: identity(event), time_us, seq })
    }
}

/// Hashes the content of an event. The hash is the same for each host, though hosts add their own
/// times and numbers.
fn identity(event: &[u8]) -> u64 {
    let [did, kind, commit, identity, account] =
        pick(event, ["did", "kind", "commit", "identity", "account"]);
    let commit = commit.filter(|commit| commit.first() == Some(&b'{')).unwrap_or(event);
    let parts = pick(commit, ["rev", "operation", "collection", "rkey"]);
    let mut hash = Xxh3::new();
    for part in [did, kind, identity, account].into_iter().chain(parts) {
        hash.update(part.unwrap_or_default());
        hash.update(&[0]);
    }
    hash.digest()
}

/// Parses a message. The event in the result isn't checked to be well-formed JSON to its end.
///
/// # Errors
/// If the message isn't an object, or if it is a deletion that doesn't name what was deleted.
pub(super) fn parse(message: &[u8]) -> Result<Frame<'_>, String> {
    if message.trim_ascii().first() != Some(&b'{') {
        return Err("expected an object".into());
    }
    let [kind, time_us, commit, r#type] = pick(message, ["kind", "time_us", "commit", "$type"]);
    if kind.is_none()
        && let Some(name) = r#type.and_then(string)
    {
        return second(message, &name);
    }
    let kind = kind.and_then(string);
    event(message, kind.as_deref().unwrap_or_default(), commit, time_us.and_then(number))
}

/// Parses a message of the second version.
fn second<'a>(message: &'a [u8], name: &str) -> Result<Frame<'a>, String> {
    if name == "error" {
        let [error, what] = pick(message, ["error", "message"])
            .map(|text| text.and_then(string).unwrap_or_default());
        return Ok(Frame::Ends(format!("{error} {what}").trim().into()));
    }
    let payload = get(message, "payload").filter(|payload| payload.first() == Some(&b'{'));
    let payload = payload.unwrap_or(message);
    let [name, time] = pick(payload, ["$type", "time"]);
    let name = name.and_then(string).unwrap_or_default();
    let kind = name.rsplit('#').next().unwrap_or_default();
    if kind == "info" {
        let outdated = get(payload, "name").and_then(string).as_deref() == Some("OutdatedCursor");
        return Ok(if outdated {
            Frame::Clamped
        } else {
            Frame::Other { event: payload, time_us: None }
        });
    }
    let time = time.and_then(string).and_then(|text| date(&text));
    let time_us = time.and_then(|time| i64::try_from(time.unix_timestamp_nanos() / 1_000).ok());
    let commit = pick(payload, ["operation", "record", "rkey"])
        .iter()
        .any(Option::is_some)
        .then_some(payload);
    event(payload, kind, commit, time_us)
}

fn event<'a>(
    event: &'a [u8],
    kind: &str,
    commit: Option<&'a [u8]>,
    time_us: Option<i64>,
) -> Result<Frame<'a>, String> {
    match kind {
        "commit" => {}
        "account" if is_deleted(event) => {
            let did = get(event, "did")
                .and_then(string)
                .ok_or("a deletion of an account without its DID")?;
            return Ok(Frame::Delete { event, time_us, id: did.into_owned() });
        }
        "identity" | "account" | "sync" => return Ok(Frame::Other { event, time_us }),
        // Posts may come by an unknown kind if it has a record like a commit's.
        _ if commit.is_none_or(|commit| commit.first() != Some(&b'{')) => {
            return Ok(Frame::Unknown { event, time_us });
        }
        _ => {}
    }
    let commit = commit.unwrap_or_default();
    let [operation, collection, rkey] =
        pick(commit, ["operation", "collection", "rkey"]).map(|text| text.and_then(string));
    if operation.as_deref() != Some("delete") {
        return Ok(Frame::Post { event, time_us });
    }
    match (get(event, "did").and_then(string), collection, rkey) {
        (Some(did), Some(collection), Some(rkey)) => {
            Ok(Frame::Delete { event, time_us, id: format!("at://{did}/{collection}/{rkey}") })
        }
        _ => Err("a deletion without the address of what was deleted".into()),
    }
}

/// Returns true if an account is gone for good: an account that is deactivated, suspended or taken
/// down may come back.
fn is_deleted(event: &[u8]) -> bool {
    let account = get(event, "account").unwrap_or_default();
    let [active, status] = pick(account, ["active", "status"]);
    active == Some(b"false") && status.and_then(string).as_deref() == Some("deleted")
}

fn number(value: &[u8]) -> Option<i64> {
    id_text(value)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: Result<Frame<'_>, &str>) {
        assert_eq!(parse(message.as_bytes()), expected.map_err(str::to_owned), "{message}");
    }

    #[test]
    fn events_of_the_first_version_are_posts_and_deletions() {
        let create = r#"{"did":"d","time_us":7,"kind":"commit","commit":{"operation":"create","collection":"c","rkey":"r","record":{}}}"#;
        check(create, Ok(Frame::Post { event: create.as_bytes(), time_us: Some(7) }));
        let delete = r#"{"did":"d","time_us":7,"kind":"commit","commit":{"operation":"delete","collection":"c","rkey":"r"},"cursor":1}"#;
        check(
            delete,
            Ok(Frame::Delete {
                event: delete.as_bytes(),
                time_us: Some(7),
                id: "at://d/c/r".into(),
            }),
        );
    }

    #[test]
    fn events_of_the_second_version_are_what_a_message_wraps() {
        let wrap = |payload: &str| format!(r#"{{"$type":"message","payload":{payload}}}"#);
        let create = r##"{"$type":"network.bsky.jetstream.subscribeEvents#commit","seq":1,"did":"d","time":"1970-01-01T00:00:00.000007Z","operation":"create","collection":"c","rkey":"r","record":{}}"##;
        check(&wrap(create), Ok(Frame::Post { event: create.as_bytes(), time_us: Some(7) }));
        let delete =
            r##"{"$type":"x#commit","did":"d","operation":"delete","collection":"c","rkey":"r"}"##;
        check(
            &wrap(delete),
            Ok(Frame::Delete { event: delete.as_bytes(), time_us: None, id: "at://d/c/r".into() }),
        );
        let account =
            r##"{"$type":"x#account","did":"d","account":{"active":false,"status":"deleted"}}"##;
        check(
            &wrap(account),
            Ok(Frame::Delete { event: account.as_bytes(), time_us: None, id: "d".into() }),
        );
        let sync = r##"{"$type":"x#sync","did":"d"}"##;
        check(&wrap(sync), Ok(Frame::Other { event: sync.as_bytes(), time_us: None }));
        check(&wrap(r##"{"$type":"x#info","name":"OutdatedCursor"}"##), Ok(Frame::Clamped));
        let info = r##"{"$type":"x#info","name":"Else"}"##;
        check(&wrap(info), Ok(Frame::Other { event: info.as_bytes(), time_us: None }));
        let slow = r#"{"$type":"error","error":"ConsumerTooSlow","message":"too slow"}"#;
        check(slow, Ok(Frame::Ends("ConsumerTooSlow too slow".into())));
    }

    #[test]
    fn an_account_that_may_come_back_is_not_deleted() {
        let account = |account: &str| {
            format!(r#"{{"did":"d","time_us":7,"kind":"account","account":{account}}}"#)
        };
        for other in [
            r#"{"active":true}"#,
            r#"{"active":false,"status":"deactivated"}"#,
            r#"{"active":false}"#,
            "null",
        ] {
            let other = account(other);
            check(&other, Ok(Frame::Other { event: other.as_bytes(), time_us: Some(7) }));
        }
        let gone = account(r#"{"active":false,"status":"deleted"}"#);
        check(
            &gone,
            Ok(Frame::Delete { event: gone.as_bytes(), time_us: Some(7), id: "d".into() }),
        );
        let identity = r#"{"did":"d","time_us":7,"kind":"identity","identity":{}}"#;
        check(identity, Ok(Frame::Other { event: identity.as_bytes(), time_us: Some(7) }));
    }

    #[test]
    fn an_event_is_the_same_from_every_host_but_for_its_time_and_number() {
        let mark = |text: &str| parse(text.as_bytes()).unwrap().mark().unwrap();
        let event = |time: i64, cursor: &str, rev: &str| {
            mark(&format!(
                r#"{{"did":"d","time_us":{time},"kind":"commit","commit":{{"rev":"{rev}","operation":"create","collection":"c","rkey":"r","record":{{}}}}{cursor}}}"#
            ))
        };
        let (one, other) = (event(7, r#","cursor":5"#, "a"), event(8, "", "a"));
        assert!(one.is_same(other) && (one.seq, other.seq, one.time_us) == (5, 0, 7));
        assert!(!one.is_same(event(7, r#","cursor":5"#, "b")));
        let account = |seq: u64| {
            mark(&format!(
                r#"{{"did":"d","time_us":7,"kind":"account","account":{{"seq":{seq}}}}}"#
            ))
        };
        assert!(!account(1).is_same(account(2)));
        let second = r##"{"$type":"message","payload":{"$type":"x#commit","seq":9,"did":"d","time":"1970-01-01T00:00:00.000007Z","rev":"a","operation":"create","collection":"c","rkey":"r"}}"##;
        assert_eq!((mark(second).seq, mark(second).time_us), (9, 7));
        assert_eq!(parse(br#"{"did":"d","kind":"identity"}"#).unwrap().mark(), None);
    }

    #[test]
    fn what_is_not_known_is_told_apart_by_its_record() {
        let bare = r#"{"did":"d","time_us":7,"kind":"new","new":{}}"#;
        check(bare, Ok(Frame::Unknown { event: bare.as_bytes(), time_us: Some(7) }));
        let full = r#"{"did":"d","time_us":7,"kind":"new","commit":{"record":{}}}"#;
        check(full, Ok(Frame::Post { event: full.as_bytes(), time_us: Some(7) }));
        check("[]", Err("expected an object"));
        check("", Err("expected an object"));
        let nowhere = r#"{"did":"d","kind":"commit","commit":{"operation":"delete"}}"#;
        check(nowhere, Err("a deletion without the address of what was deleted"));
    }
}

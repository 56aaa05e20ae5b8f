//! The meaning of a stream's events.

use std::borrow::Cow;

use crate::post::fields::{id_text, pick};

/// The meaning of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// A status was created or edited.
    Status(&'a [u8]),
    /// The status with this number on the instance was deleted.
    Delete(Cow<'a, str>),
    /// The event has nothing to keep.
    Other,
}

/// Events without a public status.
const KNOWN: [&str; 8] = [
    "notification",
    "notifications_merged",
    "filters_changed",
    "conversation",
    "announcement",
    "announcement.reaction",
    "announcement.delete",
    "encrypted_message",
];

/// Parses an event by its name and its data.
///
/// # Errors
/// If an event that needs a status or an id has none.
pub(super) fn read<'a>(name: &str, data: &'a [u8]) -> Result<Meaning<'a>, String> {
    let data = data.trim_ascii();
    let is_object = data.first() == Some(&b'{');
    match name {
        "update" | "status.update" if is_object => Ok(Meaning::Status(data)),
        "update" | "status.update" => Err(format!("an event \"{name}\" without a status")),
        "delete" => {
            id(data).map(Meaning::Delete).ok_or_else(|| "an event \"delete\" without an id".into())
        }
        _ if KNOWN.contains(&name) || !is_object => Ok(Meaning::Other),
        // Posts may come by an unknown event if it has the members of a status.
        _ => match pick(data, ["uri", "content"]) {
            [Some(_), Some(_)] => Ok(Meaning::Status(data)),
            _ => Ok(Meaning::Other),
        },
    }
}

/// Returns the id of a deletion, which is written as it is, or in quotes.
fn id(data: &[u8]) -> Option<Cow<'_, str>> {
    if data.first() == Some(&b'"') {
        return id_text(data);
    }
    let plain = !data.is_empty()
        && data.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte));
    let text = std::str::from_utf8(data)
        .ok()
        .filter(|text| plain && !matches!(*text, "null" | "undefined"));
    text.map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, data: &str, expected: Result<Meaning<'_>, &str>) {
        assert_eq!(read(name, data.as_bytes()), expected.map_err(str::to_owned), "{name}: {data}");
    }

    #[test]
    fn statuses_and_deletions_are_told_from_the_rest() {
        let status = r#"{"id":"1","uri":"u","content":"c"}"#;
        for name in ["update", "status.update", "status.new"] {
            check(name, status, Ok(Meaning::Status(status.as_bytes())));
        }
        check("delete", "117020593378945190", Ok(Meaning::Delete("117020593378945190".into())));
        check("delete", " \"9uX\"\n", Ok(Meaning::Delete("9uX".into())));
        for (name, data) in
            [("notification", status), ("filters_changed", "undefined"), ("new", "{}"), ("", "")]
        {
            check(name, data, Ok(Meaning::Other));
        }
    }

    #[test]
    fn what_lacks_its_data_is_refused() {
        check("update", "null", Err("an event \"update\" without a status"));
        check("update", "", Err("an event \"update\" without a status"));
        for data in ["", "null", "undefined", "{}", "[1]"] {
            check("delete", data, Err("an event \"delete\" without an id"));
        }
    }
}

//! Rows of posts and of their counts, as COPY takes them.

use super::columns::{COLUMNS, ColumnFate};
use super::copy::CopyBuffer;
use super::months::Micros;
use super::row::PostRow;

/// A key without the rest of its row.
pub(super) type KeyOf<'a> = (&'a str, &'a str, Micros);

/// The columns of `engagement`.
pub(super) const ENGAGEMENT: &str =
    "platform, post_id, at, likes, reposts, replies, quotes, views, bookmarks";

/// The columns of `posts` beside those that are listed.
pub(super) const KEY_COLUMNS: [&str; 11] = [
    "platform",
    "post_id",
    "created_at",
    "received_at",
    "edited_at",
    "deleted_at",
    "is_reading",
    "counted_at",
    "revision",
    "servers",
    "raw",
];

pub(super) fn post_columns() -> String {
    let listed = COLUMNS.iter().map(|column| column.name);
    KEY_COLUMNS.into_iter().chain(listed).collect::<Vec<_>>().join(", ")
}

pub(super) fn encode_post(post: &PostRow, buffer: &mut CopyBuffer) {
    encode_key(key_of(post), buffer);
    buffer.time(post.received_at);
    buffer.time(post.edited_at);
    buffer.time(post.deleted_at);
    buffer.bool(Some(post.is_reading));
    buffer.time(post.counted_at);
    buffer.text(post.facts.revision.as_deref());
    if post.facts.servers.is_empty() {
        buffer.null();
    } else {
        buffer.texts(post.facts.servers.iter().map(String::as_str));
    }
    match &post.raw {
        Some(raw) => buffer.jsonb(raw),
        None => buffer.null(),
    }
    for (column, value) in COLUMNS.iter().zip(&post.values) {
        column.write(value, buffer);
    }
}

pub(super) fn encode_reading(reading: &PostRow, buffer: &mut CopyBuffer) {
    buffer.row(9);
    buffer.text(Some(&reading.key.platform));
    buffer.text(Some(&reading.key.post_id));
    buffer.time(reading.counted_at);
    for (column, value) in COLUMNS.iter().zip(&reading.values) {
        if column.fate == ColumnFate::Count {
            column.write(value, buffer);
        }
    }
}

pub(super) fn key_of(post: &PostRow) -> KeyOf<'_> {
    (&post.key.platform, &post.key.post_id, post.created_at)
}

pub(super) fn encode_key((platform, post_id, created_at): KeyOf<'_>, buffer: &mut CopyBuffer) {
    buffer.text(Some(platform));
    buffer.text(Some(post_id));
    buffer.time(Some(created_at));
}

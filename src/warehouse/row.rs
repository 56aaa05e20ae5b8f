//! Reads a tuple of `Features` as a row of a warehouse: a post, a deletion or a gap.
//!
//! The row depends only on the tuple's `stream` and its post, and never on the input that delivered
//! it, so that a replay, a back-fill and a live run make the same rows.

use bytes::Bytes;
use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_128;

use super::columns::{COLUMNS, ColumnFate, position};
use super::deletion::{DeletionFacts, DeletionRow};
use super::months::{Micros, micros};
use super::trend::TrendRow;
use crate::gaps::Gap;
use crate::post::fields::date;
use crate::post::{COUNTS, DELETES, GAPS, Post};
use crate::tuple::Fields;
use crate::value::Value;

/// The fields that every row needs.
pub const DEMANDED: [&str; 5] = ["post", "kind", "platform", "post_id", "stream"];

/// The positions of the fields of an input.
#[derive(Clone, Debug)]
pub struct RowLayout {
    post: usize,
    platform: usize,
    post_id: usize,
    stream: usize,
    columns: Vec<Option<usize>>,
    times: [Option<usize>; 3],
    author: [Option<usize>; 7],
    author_created_at: Option<usize>,
}

impl RowLayout {
    /// Finds the layout of an input.
    ///
    /// # Errors
    /// If required fields are missing; the error names them.
    pub fn of(fields: &Fields) -> Result<Self, Vec<&'static str>> {
        let missing = |name: &&str| fields.position(name).is_none();
        let missing: Vec<_> = DEMANDED.into_iter().filter(missing).collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let at = |name: &str| fields.position(name);
        let demanded = |name: &str| fields.position(name).unwrap_or_default();
        Ok(Self {
            post: demanded("post"),
            platform: demanded("platform"),
            post_id: demanded("post_id"),
            stream: demanded("stream"),
            columns: COLUMNS.iter().map(|column| at(column.name)).collect(),
            times: ["created_at", "received_at", "edited_at"].map(at),
            author: [
                "author_name",
                "author_followers",
                "author_following",
                "author_posts",
                "author_verified",
                "author_bot",
                "author_id",
            ]
            .map(at),
            author_created_at: at("author_created_at"),
        })
    }

    /// Checks that a tuple has its required values before it is stored.
    ///
    /// # Errors
    /// If values are missing; the error names them.
    pub fn check(&self, values: &[Value]) -> Result<(), String> {
        let is_text = |at: usize| values.get(at).is_some_and(|value| value.as_text().is_some());
        if values.get(self.post).and_then(Value::as_post).is_none() {
            return Err("field \"post\": expected a post".into());
        }
        if !is_text(self.platform) || !is_text(self.stream) {
            return Err("fields \"platform\" and \"stream\": expected texts".into());
        }
        Ok(())
    }
}

/// The settings for reading rows.
#[derive(Clone, Copy, Debug)]
pub struct RowReading {
    /// The time of this load, for rows without another time.
    pub now: OffsetDateTime,
    /// True if the posts themselves are kept.
    pub keeps_raw: bool,
}

/// The content of a tuple.
#[derive(Clone, Debug)]
pub enum WarehouseRow {
    /// A post, an edited one, or one that was read again for its counts.
    Post(Box<PostRow>),
    /// The deletion of a post.
    Deletion(DeletionRow),
    /// A time in which posts may be missing.
    Gap(GapRow),
    /// A trend in one bucket.
    Trend(TrendRow),
}

/// One platform's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostKey {
    /// The platform.
    pub platform: String,
    /// The id.
    pub post_id: String,
}

/// A version of a post.
#[derive(Clone, Debug)]
pub struct PostRow {
    /// Its key.
    pub key: PostKey,
    /// The post's own time, or else the best replacement.
    pub created_at: Micros,
    /// The time at which the post was received.
    pub received_at: Option<Micros>,
    /// The time at which the post was edited.
    pub edited_at: Option<Micros>,
    /// The time at which the post was deleted, if the warehouse knows it.
    pub deleted_at: Option<Micros>,
    /// True if the post was read again for its counts: any other version has more of its original
    /// content.
    pub is_reading: bool,
    /// The time at which the counts were read, if the post has any.
    pub counted_at: Option<Micros>,
    /// The facts that are compared with deletions.
    pub facts: DeletionFacts,
    /// Its values, as `columns::COLUMNS` lists them.
    pub values: Vec<Value>,
    /// The post itself, in a form that the server can store.
    pub raw: Option<Bytes>,
    /// The author.
    pub author: Option<AuthorRow>,
}

/// An author, with the data that a post has.
#[derive(Clone, Debug)]
pub struct AuthorRow {
    /// The platform.
    pub platform: String,
    /// The author's id.
    pub id: String,
    /// The known values, as the tuple has them: handle, name, followers, following, posts,
    /// verified, bot.
    pub values: [Value; 7],
    /// The time at which the account was created.
    pub created_at: Option<Micros>,
    /// The time of the post.
    pub seen: Micros,
    /// The oldest time at which the author was seen in the same load.
    pub first_seen: Micros,
}

/// A time in which posts may be missing.
#[derive(Clone, Debug)]
pub struct GapRow {
    /// The entry of the ledger.
    pub gap: Gap,
    /// The platform.
    pub platform: String,
}

/// Reads a tuple.
///
/// # Errors
/// If the tuple can't be a row; the reason goes into its dead letter.
pub fn read(
    layout: &RowLayout,
    values: &[Value],
    reading: RowReading,
) -> Result<WarehouseRow, String> {
    layout.check(values)?;
    let post = values[layout.post].as_post().ok_or("field \"post\": expected a post")?;
    let text = |at: usize| values.get(at).and_then(Value::as_text);
    let platform = text(layout.platform).unwrap_or_default().replace('\0', "\u{fffd}");
    match text(layout.stream).unwrap_or_default() {
        DELETES => read_deletion(layout, values, post, platform, reading),
        GAPS => {
            let gap = Gap::of(post).ok_or("a gap that can't be understood")?;
            Ok(WarehouseRow::Gap(GapRow { gap, platform }))
        }
        stream => {
            let row = read_post(layout, values, post, platform, stream == COUNTS, reading)?;
            Ok(WarehouseRow::Post(Box::new(row)))
        }
    }
}

pub(super) fn time_at(
    name: &str,
    at: Option<usize>,
    values: &[Value],
) -> Result<Option<Micros>, String> {
    match at.and_then(|at| values.get(at)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => match date(text) {
            Some(time) => Ok(Some(micros(time))),
            None => Err(format!("field \"{name}\": expected a time, found \"{text}\"")),
        },
        Some(other) => Err(format!("field \"{name}\": expected a time, found {other:?}")),
    }
}

fn read_deletion(
    layout: &RowLayout,
    values: &[Value],
    post: &Post,
    platform: String,
    reading: RowReading,
) -> Result<WarehouseRow, String> {
    let deletion = post.deletion().ok_or("a deletion that names no post")?;
    let created_at = time_at("created_at", layout.times[0], values)?;
    let received_at = time_at("received_at", layout.times[1], values)?;
    let deleted_at = created_at.or(received_at).unwrap_or(micros(reading.now));
    Ok(WarehouseRow::Deletion(DeletionRow::of(&deletion, platform, deleted_at, received_at)))
}

fn read_post(
    layout: &RowLayout,
    values: &[Value],
    post: &Post,
    platform: String,
    is_reading: bool,
    reading: RowReading,
) -> Result<PostRow, String> {
    let post_id = match values.get(layout.post_id).and_then(Value::as_text) {
        Some(id) if !id.is_empty() => id.replace('\0', "\u{fffd}"),
        // The same bytes are the same post, even if they are loaded several times.
        _ => format!("#{:032x}", xxh3_128(post)),
    };
    let mut of_columns = Vec::with_capacity(COLUMNS.len());
    for (column, at) in COLUMNS.iter().zip(&layout.columns) {
        let value = at.and_then(|at| values.get(at)).unwrap_or(&Value::Null);
        column.check(value)?;
        of_columns.push(value.clone());
    }
    let [created_at, received_at, edited_at] = layout.times;
    let received_at = time_at("received_at", received_at, values)?;
    let edited_at = time_at("edited_at", edited_at, values)?;
    let own_time = time_at("created_at", created_at, values)?;
    let created_at = own_time.or(received_at).unwrap_or(micros(reading.now));
    let has_counts = (COLUMNS.iter().zip(&of_columns))
        .any(|(column, value)| column.fate == ColumnFate::Count && value.as_int().is_some());
    let raw = reading.keeps_raw.then(|| storable_raw(post));
    let author = read_author(layout, values, &platform, created_at)?;
    Ok(PostRow {
        key: PostKey { platform, post_id },
        created_at,
        received_at: received_at.filter(|_| !is_reading),
        edited_at: edited_at.filter(|_| !is_reading),
        deleted_at: None,
        is_reading,
        counted_at: has_counts.then(|| received_at.unwrap_or(created_at)),
        facts: DeletionFacts::of(post, own_time),
        values: of_columns,
        raw,
        author,
    })
}

fn storable_raw(post: &Post) -> Bytes {
    match super::storable::storable_json(post) {
        std::borrow::Cow::Borrowed(_) => post.as_bytes().clone(),
        std::borrow::Cow::Owned(changed) => changed.into(),
    }
}

fn read_author(
    layout: &RowLayout,
    values: &[Value],
    platform: &str,
    seen: Micros,
) -> Result<Option<AuthorRow>, String> {
    let at = |at: Option<usize>| at.and_then(|at| values.get(at)).cloned().unwrap_or(Value::Null);
    let [name, followers, following, posts, verified, bot, id] = layout.author;
    let Some(id) = at(id).as_text().map(|id| id.replace('\0', "\u{fffd}")) else { return Ok(None) };
    let handle = at(layout.columns[position("author_handle")]);
    let created_at = time_at("author_created_at", layout.author_created_at, values)?;
    Ok(Some(AuthorRow {
        platform: platform.into(),
        id,
        values: [handle, at(name), at(followers), at(following), at(posts), at(verified), at(bot)],
        created_at,
        seen,
        first_seen: seen,
    }))
}

impl PostRow {
    /// Returns the rank of the version for comparisons: any version is newer than a reading for
    /// counts.
    pub fn version(&self) -> (bool, Option<Micros>, Option<Micros>) {
        (!self.is_reading, self.edited_at, self.received_at)
    }

    /// Returns the texts of a column with a list.
    pub(super) fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let values = match &self.values[column] {
            Value::List(values) => &values[..],
            _ => &[],
        };
        values.iter().filter_map(Value::as_text)
    }

    /// Copies the counts of another version.
    pub(super) fn take_counts(&mut self, other: &Self) {
        self.counted_at = other.counted_at;
        for (at, column) in COLUMNS.iter().enumerate() {
            if column.fate == ColumnFate::Count {
                self.values[at] = other.values[at].clone();
            }
        }
    }

    /// Clears the values that a deletion removes.
    pub(super) fn clear(&mut self, deleted_at: Micros) {
        let known = self.deleted_at.unwrap_or(Micros::MAX);
        self.deleted_at = Some(known.min(deleted_at));
        self.raw = None;
        for (at, column) in COLUMNS.iter().enumerate() {
            if column.fate == ColumnFate::Content {
                self.values[at] = Value::Null;
            }
        }
    }

    /// Returns true if any count is above zero.
    pub(super) fn has_engagement(&self) -> bool {
        let counts = COLUMNS.iter().zip(&self.values);
        counts
            .filter(|(column, _)| column.fate == ColumnFate::Count)
            .any(|(_, value)| value.as_int().is_some_and(|count| count > 0))
    }
}

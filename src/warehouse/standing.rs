//! Compares the posts of a load with the posts in the tables.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::columns::{COLUMNS, ColumnFate};
use super::encode::KEY_COLUMNS;
use super::months::Micros;
use super::row::PostRow;
use super::wire::WireTime;

/// The posts of an attempt, sorted by their relation to the stored posts.
#[derive(Default)]
pub(super) struct Sorted<'r> {
    /// The posts whose keys are new, or whose rows don't exist.
    pub new: Vec<Cow<'r, PostRow>>,
    /// The posts that change stored rows.
    pub known: Vec<(Wins, Cow<'r, PostRow>)>,
    /// The posts that are no newer than the stored rows.
    pub older: Vec<Cow<'r, PostRow>>,
}

impl Sorted<'_> {
    /// The keys of posts that were stored before.
    pub(crate) fn known_keys(&self) -> BTreeSet<(&str, &str)> {
        let changed = self.known.iter().map(|(_, post)| post);
        let all = changed.chain(&self.older);
        all.map(|post| (post.key.platform.as_str(), post.key.post_id.as_str())).collect()
    }
}

/// The parts of a post that are newer than the stored row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wins {
    Everything = 0,
    Version = 1,
    Counts = 2,
}

impl Wins {
    /// Returns the statement for the staged posts of this sort.
    pub(crate) fn upsert(self, columns: &str) -> String {
        let mut changed = Vec::new();
        if self != Self::Counts {
            changed
                .extend(KEY_COLUMNS.iter().skip(3).filter(|name| **name != "counted_at").copied());
        }
        if self != Self::Version {
            changed.push("counted_at");
        }
        for column in &COLUMNS {
            let is_count = column.fate == ColumnFate::Count;
            if self == Self::Everything || is_count == (self == Self::Counts) {
                changed.push(column.name);
            }
        }
        let set: Vec<_> = changed.iter().map(|name| format!("{name} = excluded.{name}")).collect();
        format!(
            "insert into posts ({columns}, loaded_at) select {columns}, now() from \
                pg_temp.staged_posts \
             where wins = {} order by platform, post_id on conflict (platform, post_id, \
             created_at) \
             do update set {}, loaded_at = excluded.loaded_at",
            self as i32,
            set.join(", ")
        )
    }
}

/// The known facts of a stored post.
pub(super) struct KnownPost {
    pub created_at: Option<Micros>,
    version: Option<(bool, Option<Micros>, Option<Micros>)>,
    counted_at: Option<Micros>,
}

impl KnownPost {
    pub(crate) fn of(row: &tokio_postgres::Row) -> Self {
        let time = |at: usize| row.get::<_, Option<WireTime>>(at).map(|time| time.0);
        let is_there: bool = row.get(2);
        let is_reading = row.get::<_, Option<bool>>(3).unwrap_or_default();
        Self {
            created_at: time(1),
            version: is_there.then(|| (!is_reading, time(4), time(5))),
            counted_at: time(6),
        }
    }

    /// Returns the parts of a post that are newer; nothing if none are.
    pub(crate) fn wins(&self, post: &PostRow) -> Option<Wins> {
        let Some(version) = self.version else { return Some(Wins::Everything) };
        let counts = post.counted_at > self.counted_at;
        match (post.version() > version, counts) {
            (true, true) => Some(Wins::Everything),
            (true, false) => Some(Wins::Version),
            (false, true) => Some(Wins::Counts),
            (false, false) => None,
        }
    }
}

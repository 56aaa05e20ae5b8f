//! Groups and sorts the rows of a load. All versions of a post form one unit, so that a key occurs
//! once in a statement; units are sorted by key, so that writers wait for each other in one order.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::deletion::DeletionRow;
use super::months::Micros;
use super::row::{AuthorRow, GapRow, PostKey, PostRow, WarehouseRow};
use super::trend::{TrendKey, TrendRow, newest_trends};

/// The positions of the rows that are written together or not at all.
pub(super) type Unit = Vec<usize>;

/// Returns the units of the rows at the given positions, sorted.
pub(super) fn units(rows: &[WarehouseRow], positions: impl Iterator<Item = usize>) -> Vec<Unit> {
    let mut posts: BTreeMap<(&str, &str), Unit> = BTreeMap::new();
    let mut trends: BTreeMap<&TrendKey, Unit> = BTreeMap::new();
    let mut others: Vec<((&str, &str), Unit)> = Vec::new();
    for position in positions {
        match &rows[position] {
            WarehouseRow::Post(post) => {
                let key = (post.key.platform.as_str(), post.key.post_id.as_str());
                posts.entry(key).or_default().push(position);
            }
            WarehouseRow::Deletion(deletion) => {
                others.push(((&deletion.platform, &deletion.post_id), vec![position]));
            }
            WarehouseRow::Gap(gap) => others.push((("", &gap.gap.id), vec![position])),
            WarehouseRow::Trend(trend) => trends.entry(&trend.key).or_default().push(position),
        }
    }
    let mut all = others;
    all.extend(posts);
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, unit)| unit).chain(trends.into_values()).collect()
}

/// The content of one attempt: consecutive units.
pub(super) struct Attempt<'r> {
    /// The newest versions, with the newest counts, sorted by their keys.
    pub posts: Vec<Cow<'r, PostRow>>,
    /// All versions with counts, one for each time.
    pub readings: Vec<&'r PostRow>,
    /// The authors of the posts.
    pub authors: Vec<AuthorRow>,
    pub deletions: Vec<&'r DeletionRow>,
    pub gaps: Vec<&'r GapRow>,
    /// The trends, sorted by key, with the last row of each.
    pub trends: Vec<&'r TrendRow>,
}

impl<'r> Attempt<'r> {
    pub(crate) fn of(rows: &'r [WarehouseRow], units: &[Unit]) -> Self {
        let mut attempt = Self {
            posts: Vec::new(),
            readings: Vec::new(),
            authors: Vec::new(),
            deletions: Vec::new(),
            gaps: Vec::new(),
            trends: Vec::new(),
        };
        let mut trends: Vec<&TrendRow> = Vec::new();
        for unit in units {
            let mut versions: Vec<&PostRow> = Vec::with_capacity(unit.len());
            for position in unit {
                match &rows[*position] {
                    WarehouseRow::Post(post) => versions.push(post),
                    WarehouseRow::Deletion(deletion) => attempt.deletions.push(deletion),
                    WarehouseRow::Gap(gap) => attempt.gaps.push(gap),
                    WarehouseRow::Trend(trend) => trends.push(trend),
                }
            }
            attempt.posts.extend(newest(&versions));
            attempt.readings.extend(readings(&versions));
            attempt.authors.extend(versions.iter().filter_map(|version| version.author.clone()));
        }
        attempt.trends = newest_trends(trends.into_iter());
        attempt
    }

    /// Returns the keys that are locked before anything is written, sorted and without duplicates:
    /// the keys of posts, and of deletions that name posts by their own ids.
    pub(crate) fn keys(&self) -> BTreeMap<PostKey, StagedKey<'_>> {
        let mut keys = BTreeMap::new();
        for (number, post) in self.posts.iter().enumerate() {
            let staged = StagedKey {
                post: Some(number),
                created_at: Some(post.created_at),
                other_id: post.facts.other_id.as_deref(),
            };
            keys.insert(post.key.clone(), staged);
        }
        for deletion in self.deletions.iter().filter(|deletion| !deletion.names_other_id()) {
            let key =
                PostKey { platform: deletion.platform.clone(), post_id: deletion.post_id.clone() };
            keys.entry(key).or_insert(StagedKey { post: None, created_at: None, other_id: None });
        }
        keys
    }
}

/// A key that is locked.
pub(super) struct StagedKey<'a> {
    /// The post's position; none if the key belongs only to a deletion.
    pub post: Option<usize>,
    pub created_at: Option<Micros>,
    pub other_id: Option<&'a str>,
}

/// Returns the newest of several versions, with the newest counts. If versions are equal, the first
/// counts, as it does when they are loaded one after the other.
fn newest<'r>(versions: &[&'r PostRow]) -> Option<Cow<'r, PostRow>> {
    let (first, others) = versions.split_first()?;
    let (mut newest, mut counts) = (*first, *first);
    for version in others {
        if version.version() > newest.version() {
            newest = version;
        }
        if version.counted_at > counts.counted_at {
            counts = version;
        }
    }
    if std::ptr::eq(newest, counts) || newest.counted_at >= counts.counted_at {
        return Some(Cow::Borrowed(newest));
    }
    let mut merged = newest.clone();
    merged.take_counts(counts);
    Some(Cow::Owned(merged))
}

/// Returns the versions that the table `engagement` keeps: those that were read for their counts,
/// and any with a count above zero. Only one is kept for each time.
fn readings<'r>(versions: &[&'r PostRow]) -> Vec<&'r PostRow> {
    let mut by_time: BTreeMap<Micros, &PostRow> = BTreeMap::new();
    for version in versions.iter().filter(|version| version.is_reading || version.has_engagement())
    {
        if let Some(at) = version.counted_at {
            by_time.entry(at).or_insert(version);
        }
    }
    by_time.into_values().collect()
}

/// Returns the authors, sorted by key and without duplicates, with the data of the newest post.
pub(super) fn newest_authors(authors: Vec<AuthorRow>) -> Vec<AuthorRow> {
    let mut newest: BTreeMap<(String, String), AuthorRow> = BTreeMap::new();
    for author in authors {
        match newest.entry((author.platform.clone(), author.id.clone())) {
            Entry::Occupied(mut known) => known.get_mut().join(&author),
            Entry::Vacant(vacant) => {
                vacant.insert(author);
            }
        }
    }
    newest.into_values().collect()
}

impl AuthorRow {
    /// Updates the author with the data of a newer post.
    fn join(&mut self, other: &Self) {
        let first_seen = self.first_seen.min(other.first_seen);
        if other.seen > self.seen {
            self.clone_from(other);
        }
        self.first_seen = first_seen;
    }
}

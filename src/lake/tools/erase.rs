//! Erases posts: rewrites their partitions without them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use glob::Pattern;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::closed;
use super::erase_copies::{dead_letters, staged, states};
pub use super::erase_ids::Ids;
use super::erase_ids::Met;
use super::passes::{self, Fresh, Passes};
use super::rewrite::{Rewrite, Rewritten, rewrite};
use crate::error::{Error, Result};
use crate::lake::names::PartitionName;
use crate::lake::store::{Store, list_all};
use crate::lake::{journal, parallel, room, view};
use crate::progress;

/// The length up to which a rewritten file may grow, if no file was longer before.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// The maximum length of a rewritten file, whatever the lengths of the old files: one file is held
/// in memory.
const SAID_BYTES_MAX: u64 = 1 << 30;

/// The record of an erase, which is stored as `_index/erased/<time>-<uuid>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The time of the erase.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// True if it ended without an error.
    pub finished: bool,
    /// The number of ids.
    pub ids: usize,
    /// The xxh3-128 hash of each id; the ids themselves are never stored.
    pub hashes: BTreeSet<String>,
    /// The number of erased posts.
    pub posts_erased: u64,
    /// The partitions that were rewritten.
    pub partitions: Vec<Rewritten>,
    /// Partitions that have such posts and aren't closed, with the number of these posts.
    pub open: BTreeMap<String, u64>,
    /// The hashes of the ids that posts have or had, including posts that stay because they are in
    /// an open partition or doubtful.
    pub found: BTreeSet<String>,
    /// The number of ids that no post had, now or in an earlier `erase` of this lake.
    pub ids_not_found: usize,
    /// The number of posts whose number was deleted on some server, where it isn't known if that is
    /// the post's server. They stay.
    pub doubtful: u64,
    /// The number of captured deletes that couldn't be understood.
    pub not_understood: u64,
    /// Files of dead letters with such posts. They stay.
    pub dead_letters: BTreeSet<String>,
    /// Files with such posts that aren't visible yet, or never will be. They stay.
    pub staged: BTreeSet<String>,
    /// The folders of states whose spools and outboxes weren't searched.
    pub states: BTreeSet<String>,
}

/// The selection of partitions that are searched.
#[derive(Clone, Debug)]
pub struct Scope {
    /// A glob over the names of partitions.
    pub glob: Pattern,
    /// Partitions that begin before this time count as closed.
    pub closed_before: Option<OffsetDateTime>,
}

impl Scope {
    /// Returns the partitions that match, or that have replaced one that did: `first` are the
    /// partitions at the beginning.
    fn chosen(&self, all: &[String], first: &[String]) -> Vec<String> {
        let time = |name: &str| name.parse().ok().map(|name: PartitionName| name.boundary);
        let times: BTreeSet<_> =
            first.iter().filter(|name| self.glob.matches(name)).map(|name| time(name)).collect();
        let came = |name: &String| !first.contains(name) && times.contains(&time(name));
        all.iter().filter(|name| self.glob.matches(name) || came(name)).cloned().collect()
    }
}

impl Record {
    /// Returns true if posts that should be erased are left, or are likely to be.
    pub fn has_left_some(&self) -> bool {
        let copies = self.open.len() + self.dead_letters.len() + self.staged.len();
        copies > 0 || self.doubtful + self.not_understood > 0
    }
}

/// A function that stores the record in its current state.
type Write<'a> = &'a dyn Fn(&Record) -> Result<()>;

/// Erases posts from the closed partitions of a lake. The record is stored before the first post is
/// erased, and again at the end with the result.
///
/// # Errors
/// As [`rewrite`], or if another process is rewriting one of the partitions. Posts that were erased
/// before the error stay erased, and another call does the rest.
pub fn erase(
    store: &Arc<dyn Store>,
    scope: &Scope,
    ids: &Ids,
    now: OffsetDateTime,
) -> Result<Record> {
    let mut record = Record {
        when: now,
        finished: false,
        ids: ids.len(),
        hashes: ids.hashes(),
        posts_erased: 0,
        partitions: Vec::new(),
        open: BTreeMap::new(),
        found: BTreeSet::new(),
        ids_not_found: 0,
        doubtful: 0,
        not_understood: ids.not_understood,
        dead_letters: BTreeSet::new(),
        staged: BTreeSet::new(),
        states: BTreeSet::new(),
    };
    let before = found_before(store.as_ref())?;
    let key = format!("_index/erased/{}-{}.json", now.unix_timestamp(), Uuid::new_v4());
    let write = |record: &Record| {
        let json = serde_json::to_vec(record).expect("a record has only text and numbers");
        store.replace(&key, Bytes::from(json))
    };
    write(&record)?;
    let done = look_everywhere(store, scope, ids, &mut record, &write);
    record.finished = done.is_ok();
    record.ids_not_found = record
        .hashes
        .iter()
        .filter(|id| !record.found.contains(*id) && !before.contains(*id))
        .count();
    write(&record).and(done)?;
    Ok(record)
}

/// Returns the hashes of the ids that earlier erases found in posts, including erases that were
/// killed.
fn found_before(store: &dyn Store) -> Result<BTreeSet<String>> {
    #[derive(Default, Deserialize)]
    struct Before {
        #[serde(default)]
        found: BTreeSet<String>,
    }
    let mut found = BTreeSet::new();
    for record in list_all(store, "_index/erased/")? {
        let before =
            room::read_note(store, &record.key, |json| serde_json::from_slice::<Before>(json))?;
        found.extend(before.and_then(Result::ok).unwrap_or_default().found);
    }
    Ok(found)
}

fn look_everywhere(
    store: &Arc<dyn Store>,
    scope: &Scope,
    ids: &Ids,
    record: &mut Record,
    write: Write<'_>,
) -> Result<()> {
    journal::settle(store.as_ref(), record.when)?;
    // A file that is published during the erase is seen either here, while it is staged, or in a
    // later listing.
    record.staged = staged(store.as_ref(), ids)?;
    pass_by_pass(store, scope, ids, record, write)?;
    record.staged.extend(staged(store.as_ref(), ids)?);
    record.dead_letters = dead_letters(store.as_ref(), ids)?;
    record.states = states(store.as_ref())?;
    Ok(())
}

/// Searches partitions in passes until the current state of each was searched: another process may
/// replace one by another with the same posts during the search.
fn pass_by_pass(
    store: &Arc<dyn Store>,
    scope: &Scope,
    ids: &Ids,
    record: &mut Record,
    write: Write<'_>,
) -> Result<()> {
    let mut doubtful = BTreeMap::new();
    let (first, mut passes) = (passes::partitions(store.as_ref())?, Passes::default());
    let mut all = first.clone();
    loop {
        let closed: BTreeSet<String> =
            closed(&all, scope.closed_before, record.when).into_iter().collect();
        record.open.retain(|partition, _| all.contains(partition));
        let fresh = passes.fresh(store.as_ref(), &scope.chosen(&all, &first))?;
        // A partition that is being written changes all the time: that alone doesn't need another
        // pass.
        if !fresh.iter().any(|Fresh { partition, is_new }| *is_new || closed.contains(partition)) {
            return Ok(());
        }
        for Fresh { partition, .. } in fresh {
            progress::piece(|| bytes_of(store.as_ref(), &partition))?;
            let Met { posts, doubtful: stay, ids: found } = meet(store, &partition, ids)?;
            doubtful.insert(partition.clone(), stay);
            let is_more = !found.is_subset(&record.found);
            record.found.extend(found);
            record.open.remove(&partition);
            if posts > 0 && !closed.contains(&partition) {
                record.open.insert(partition, posts);
            } else if posts > 0 {
                // Stored now, so that after a kill the next erase knows the ids that were found.
                if is_more {
                    write(record)?;
                }
                erase_from(store, &partition, ids, record)?;
            }
            progress::end_piece();
        }
        all = passes::partitions(store.as_ref())?;
        doubtful.retain(|partition, _| all.contains(partition));
        record.doubtful = doubtful.values().sum();
    }
}

/// The bytes of a partition's files, for whoever shows how far it has come.
///
/// # Errors
/// If they can't be listed.
pub fn bytes_of(store: &dyn Store, partition: &str) -> Result<u64> {
    let files = view::objects(store, partition)?;
    Ok(files.iter().map(|(_, object)| object.bytes).sum())
}

fn erase_from(
    store: &Arc<dyn Store>,
    partition: &str,
    ids: &Ids,
    record: &mut Record,
) -> Result<()> {
    let bytes_max = longest(store.as_ref(), partition)?;
    let how = Rewrite {
        why: "erase",
        bytes_max,
        form: None,
        keep: &|post| !ids.has(post),
        now: record.when,
    };
    match rewrite(store, partition, &how)? {
        Some(rewritten) => {
            let posts = rewritten.posts_erased;
            progress::tell(|| {
                let s = if posts == 1 { "" } else { "s" };
                format!("{partition}: {posts} post{s} erased")
            });
            record.posts_erased += posts;
            record.partitions.push(rewritten);
        }
        // Another process has just replaced the partition: the next pass finds the new one.
        None if view::files(store.as_ref(), partition)?.is_empty() => {}
        None => return Err(busy(store.as_ref(), partition)),
    }
    Ok(())
}

/// Returns the length up to which the files of a partition may grow, so that compacted files stay
/// long. A file's own statement of its length may be wrong, so it only counts up to a limit.
pub(super) fn longest(store: &dyn Store, partition: &str) -> Result<u64> {
    let lengths = view::objects(store, partition)?;
    let lengths = lengths.iter().map(|(name, object)| view::text_bytes(store, *name, object));
    let longest = lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    Ok(longest.clamp(FILE_BYTES_MAX, SAID_BYTES_MAX))
}

fn busy(store: &dyn Store, partition: &str) -> Error {
    Error::transient(format!(
        "another process is rewriting \"{}\": try again",
        store.address(partition)
    ))
}

/// Counts the posts of a partition that would be erased.
fn meet(store: &Arc<dyn Store>, partition: &str, ids: &Ids) -> Result<Met> {
    let mut all = Met::default();
    for met in
        parallel::map(&view::files(store.as_ref(), partition)?, |(_, key)| Met::of(store, key, ids))
    {
        let Met { posts, doubtful, ids } = met?;
        all.posts += posts;
        all.doubtful += doubtful;
        all.ids.extend(ids);
    }
    Ok(all)
}

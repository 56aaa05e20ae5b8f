//! Posts that must go: their partitions are rewritten without them.

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

/// How long a file may become that is rewritten, if it wasn't longer before.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// How long it may become at most, whatever the files before say: one is held in memory.
const SAID_BYTES_MAX: u64 = 1 << 30;

/// What was done, as `_index/erased/<time>-<uuid>.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// Whether it came to its end.
    pub finished: bool,
    /// How many ids there were.
    pub ids: usize,
    /// The xxh3-128 of each, never the id itself.
    pub hashes: BTreeSet<String>,
    /// How many posts went.
    pub posts_erased: u64,
    /// The partitions that were rewritten.
    pub partitions: Vec<Rewritten>,
    /// Partitions that have such posts and aren't closed, with how many.
    pub open: BTreeMap<String, u64>,
    /// The hashes of the ids that posts have or had, those too that stay as open or doubtful ones.
    pub found: BTreeSet<String>,
    /// How many ids no post had, now or in an earlier `erase` of this lake.
    pub ids_not_found: usize,
    /// How many posts have a number that was deleted, and nothing tells whether on their server.
    /// They stay.
    pub doubtful: u64,
    /// Captured deletes that couldn't be understood.
    pub not_understood: u64,
    /// Files of dead letters that have such posts. They stay.
    pub dead_letters: BTreeSet<String>,
    /// Files that aren't visible yet, or never will be, and have such posts. They stay.
    pub staged: BTreeSet<String>,
    /// The folders of states whose spools and outboxes weren't looked at.
    pub states: BTreeSet<String>,
}

/// Which partitions are looked at.
#[derive(Clone, Debug)]
pub struct Scope {
    /// A glob over their names.
    pub glob: Pattern,
    /// Those that begin before this time are taken for closed.
    pub closed_before: Option<OffsetDateTime>,
}

impl Scope {
    /// Those that match, or have come in the place of one that did: `first` are all that there
    /// were.
    fn chosen(&self, all: &[String], first: &[String]) -> Vec<String> {
        let time = |name: &str| name.parse().ok().map(|name: PartitionName| name.boundary);
        let times: BTreeSet<_> =
            first.iter().filter(|name| self.glob.matches(name)).map(|name| time(name)).collect();
        let came = |name: &String| !first.contains(name) && times.contains(&time(name));
        all.iter().filter(|name| self.glob.matches(name) || came(name)).cloned().collect()
    }
}

impl Record {
    /// Whether posts that should go are known or likely to be left.
    pub fn has_left_some(&self) -> bool {
        let copies = self.open.len() + self.dead_letters.len() + self.staged.len();
        copies > 0 || self.doubtful + self.not_understood > 0
    }
}

/// Writes the record as it is.
type Write<'a> = &'a dyn Fn(&Record) -> Result<()>;

/// Erases posts from the closed partitions of a lake. The record is there before the first post
/// goes, and says at the end what was done.
///
/// # Errors
/// As [`rewrite`], or if another process is rewriting one of them; what was erased before stays so,
/// and doing it again does the rest.
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

/// The hashes of the ids that posts went by before, also where that was killed.
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
    // What is published meanwhile is seen one way or the other: staged before the first listing, or
    // in it.
    record.staged = staged(store.as_ref(), ids)?;
    pass_by_pass(store, scope, ids, record, write)?;
    record.staged.extend(staged(store.as_ref(), ids)?);
    record.dead_letters = dead_letters(store.as_ref(), ids)?;
    record.states = states(store.as_ref())?;
    Ok(())
}

/// Looks at partitions until there is none that wasn't looked at as it is: another process may
/// replace one by another meanwhile, with the same posts.
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
        // A partition that is being written changes all the time: that alone is no reason to go on.
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
                // Whoever does it again after a kill is told which ids were found.
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
            progress::tell(|| format!("{partition}: {posts} posts erased"));
            record.posts_erased += posts;
            record.partitions.push(rewritten);
        }
        // Another process has just replaced it: the next pass finds the one that came.
        None if view::files(store.as_ref(), partition)?.is_empty() => {}
        None => return Err(busy(store.as_ref(), partition)),
    }
    Ok(())
}

/// How long the files of a partition may become: compacted ones stay so. What a file says of itself
/// may be wrong, so it counts only up to a limit.
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

/// What of a partition would go.
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

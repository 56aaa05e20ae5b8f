//! Records which partition replaces another one, so that a reader never sees a post twice, even if
//! `compact` or `erase` was killed at any point.
//!
//! `_index/journal/<old>/<attempt>.begun` is put before the first file of the new partition, and
//! `….ended` after the last; the latter says `done` or `undone`. Both are put only if they are
//! absent, so one process begins an attempt, and one process decides how it ends. Until the attempt
//! is done, readers ignore the new partition; from then on they ignore the old one. A process that
//! finds an attempt without an end undoes it; the process that made the attempt notices that when
//! it wants to end it. The object `….ended` stays for the time `ZOMBIE`: the process that made the
//! attempt may still be writing, and another process that has seen the attempt before it ended may
//! still want to undo it. Once `….begun` is deleted, everything is cleaned up.
//!
//! One partition may replace several. Then the attempt is stored at the first of them, in the order
//! of names; it names the others and decides for all. Each of the others gets a `….begun` that only
//! keeps other processes away: a follower. It is deleted after the attempt that it points at has
//! ended and is cleaned up, and before the `….begun` of that attempt.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::index::{self, Found, Generation, Index};
use super::store::{Put, Store, list_all};
use super::{listing, parallel, replaced, room, view};
use crate::error::{Error, Result};
use crate::fault::point;

/// The folder of the journal, relative to the lake's root.
const JOURNAL: &str = "_index/journal/";

/// The time that a process may go on writing after another process has assumed that it ended.
const ZOMBIE: Duration = Duration::DAY;

/// The replacement of one partition by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The partition that is replaced.
    pub old: String,
    /// Other partitions that are replaced together with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The attempt that decides for this one. `None` if this attempt decides itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// The new partition.
    pub new: String,
    /// `compact` or `erase`.
    pub why: String,
    /// The time at which it was begun or ended.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// Its end; `None` while it is running.
    pub end: Option<End>,
}

impl Entry {
    /// Returns all partitions that are replaced.
    pub fn all_old(&self) -> impl DoubleEndedIterator<Item = &String> {
        std::iter::once(&self.old).chain(&self.also)
    }
}

/// The attempt that decides for a follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The old partition of that attempt.
    pub old: String,
    /// The number of that attempt.
    pub number: u32,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The new partition is complete; this is its index, which has no files if no post was kept.
    Done(Box<Index>),
    /// The attempt was given up: the new partition is ignored and deleted.
    Undone,
}

/// All attempts for each old partition, with their numbers. The entry is `None` for an attempt that
/// only has to be forgotten.
type Attempts = BTreeMap<String, Vec<(u32, Option<Entry>)>>;

fn begun_key(old: &str, attempt: u32) -> String {
    format!("{JOURNAL}{old}/{attempt:07}.begun")
}

fn ended_key(old: &str, attempt: u32) -> String {
    format!("{JOURNAL}{old}/{attempt:07}.ended")
}

/// Reads all attempts, each with its end as far as known.
fn attempts(store: &dyn Store) -> Result<Attempts> {
    attempts_below(store, JOURNAL)
}

/// Reads the attempts for one old partition.
fn attempts_for(store: &dyn Store, old: &str) -> Result<Vec<(u32, Option<Entry>)>> {
    let mut found = attempts_below(store, &format!("{JOURNAL}{old}/"))?;
    Ok(found.remove(old).unwrap_or_default())
}

fn attempts_below(store: &dyn Store, prefix: &str) -> Result<Attempts> {
    let objects = list_all(store, prefix)?;
    let begun: BTreeSet<&str> =
        objects.iter().filter_map(|object| object.key.strip_suffix(".begun")).collect();
    let mut found: BTreeMap<(String, u32), Option<Entry>> = BTreeMap::new();
    // In the order of keys, "begun" comes before "ended".
    for object in &objects {
        let key = &object.key;
        let name = key[JOURNAL.len()..].split_once('/');
        let Some((old, number)) =
            name.and_then(|(old, name)| Some((old, name.get(..7)?.parse().ok()?)))
        else {
            continue;
        };
        let is_clean = key.strip_suffix(".ended").is_some_and(|attempt| !begun.contains(attempt));
        if is_clean {
            found.insert((old.to_owned(), number), None);
        } else if let Some(entry) = entry(store, key)? {
            found.insert((old.to_owned(), number), Some(entry));
        }
    }
    let mut attempts = Attempts::new();
    for ((old, number), entry) in found {
        attempts.entry(old).or_default().push((number, entry));
    }
    Ok(attempts)
}

/// Reads the entry at a key; `None` if it was just deleted.
fn entry(store: &dyn Store, key: &str) -> Result<Option<Entry>> {
    let entry = room::read_note(store, key, |json| serde_json::from_slice(json))?;
    entry.transpose().map_err(|cause| {
        Error::fatal(format!("the journal \"{}\" is damaged", store.address(key))).because(cause)
    })
}

/// The journal at one moment, as far as readers need it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// The index of the partition that replaced another, by the name of the old one.
    pub done: BTreeMap<String, Index>,
    /// Partitions that aren't complete, or were given up.
    pub unfinished: BTreeSet<String>,
}

/// Reads the journal.
///
/// # Errors
/// If it can't be read.
pub fn read(store: &dyn Store) -> Result<Journal> {
    let mut journal = Journal::default();
    let entries = attempts(store)?.into_values().flatten().filter_map(|(_, entry)| entry);
    for entry in entries.filter(|entry| entry.leader.is_none()) {
        match &entry.end {
            Some(End::Done(index)) => {
                let done = |old: &String| (old.clone(), index.as_ref().clone());
                journal.done.extend(entry.all_old().map(done));
            }
            Some(End::Undone) | None => _ = journal.unfinished.insert(entry.new),
        }
    }
    Ok(journal)
}

/// Returns the partitions that readers ignore: those that aren't complete yet, and those that were
/// replaced.
///
/// # Errors
/// If the journal can't be read.
pub fn hidden(store: &dyn Store) -> Result<BTreeSet<String>> {
    let Journal { done, mut unfinished } = read(store)?;
    unfinished.extend(done.into_keys());
    Ok(unfinished)
}

/// Returns the attempts that were begun and haven't ended, or have ended and aren't cleaned up.
///
/// # Errors
/// If the journal can't be read.
pub fn unfinished(store: &dyn Store) -> Result<Vec<Entry>> {
    let entries = attempts(store)?.into_values().flatten().filter_map(|(_, entry)| entry);
    let is_left = |entry: &Entry| entry.leader.is_none() && entry.end != Some(End::Undone);
    Ok(entries.filter(is_left).collect())
}

/// Marks a step after which a test may end the process.
fn step() -> Result<()> {
    point("tools.step").map_err(|cause| Error::transient("a step failed").because(cause))
}

/// Puts an entry if none exists. An existing one may be this very entry, if the answer to a first
/// request was lost.
fn put(store: &dyn Store, key: &str, entry: &Entry) -> Result<Put> {
    let json = Bytes::from(serde_json::to_vec(entry).expect("a journal has only text and numbers"));
    let put = match store.put(key, json.clone())? {
        Put::Exists if store.get_range(key, 0..json.len() as u64 + 1)? == Some(json) => Put::Stored,
        put => put,
    };
    step().map(|()| put)
}

/// An attempt that this process has begun.
#[derive(Debug)]
pub struct Attempt {
    entry: Entry,
    number: u32,
}

impl Attempt {
    /// Begins to replace partitions by another one. Returns `None` if another process works on one
    /// of them.
    ///
    /// # Errors
    /// If the attempt can't be recorded.
    pub fn begin(
        store: &dyn Store,
        old: &[&str],
        new: &str,
        why: &str,
        when: OffsetDateTime,
    ) -> Result<Option<Self>> {
        let mut names: Vec<String> = old.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        let mut names = names.into_iter();
        let old = names.next().ok_or_else(|| Error::fatal("no partition is to be replaced"))?;
        let (new, why) = (new.to_owned(), why.to_owned());
        let entry = Entry { old, also: names.collect(), leader: None, new, why, when, end: None };
        let Some(number) = put_begun(store, &entry)? else { return Ok(None) };
        let attempt = Self { entry, number };
        for old in &attempt.entry.also {
            let leader = Some(Leader { old: attempt.entry.old.clone(), number });
            let follower =
                Entry { old: old.clone(), also: Vec::new(), leader, ..attempt.entry.clone() };
            if put_begun(store, &follower)?.is_none() {
                return attempt.undo(store, when).map(|()| None);
            }
        }
        Ok(Some(attempt))
    }

    /// Records that the new partition is complete: from now on readers take it instead of the old
    /// one. Then deletes the old one.
    ///
    /// # Errors
    /// If the end can't be recorded, or another process has undone this attempt because it assumed
    /// that this process had ended.
    pub fn done(self, store: &dyn Store, index: Index, when: OffsetDateTime) -> Result<()> {
        let entry = Entry { end: Some(End::Done(Box::new(index))), when, ..self.entry };
        let key = ended_key(&entry.old, self.number);
        if put(store, &key, &entry)? == Put::Exists {
            delete_partition(store, &entry.new)?;
            return Err(Error::fatal(format!(
                "another process undid the work on \"{}\": it runs there as well",
                entry.old
            )));
        }
        clean_up(store, self.number, &entry)
    }

    /// Gives up the attempt: deletes the files that were written into the new partition.
    ///
    /// # Errors
    /// If an object can't be deleted; the next process that finds the attempt tries again.
    pub fn undo(self, store: &dyn Store, when: OffsetDateTime) -> Result<()> {
        undo(store, self.number, &self.entry, when)
    }
}

/// Records the beginning of an attempt with the next number. Returns `None` if another process
/// works on that partition.
fn put_begun(store: &dyn Store, entry: &Entry) -> Result<Option<u32>> {
    let number = match attempts_for(store, &entry.old)?.last() {
        None => 0,
        Some((number, None | Some(Entry { end: Some(End::Undone), .. }))) => number + 1,
        Some(_) => return Ok(None),
    };
    let put = put(store, &begun_key(&entry.old, number), entry)?;
    Ok((put == Put::Stored).then_some(number))
}

/// Releases the followers of an attempt that has ended.
fn release_all(store: &dyn Store, number: u32, entry: &Entry) -> Result<()> {
    let leader = Leader { old: entry.old.clone(), number };
    for old in &entry.also {
        for (number, follower) in attempts_for(store, old)? {
            if let Some(follower) =
                follower.filter(|follower| follower.leader.as_ref() == Some(&leader))
            {
                release(store, number, &follower)?;
            }
        }
    }
    Ok(())
}

/// Releases one follower. Its number isn't used again until all processes that may have seen it
/// have ended.
fn release(store: &dyn Store, number: u32, follower: &Entry) -> Result<()> {
    let undone = Entry { end: Some(End::Undone), ..follower.clone() };
    put(store, &ended_key(&follower.old, number), &undone)?;
    store.delete(&begun_key(&follower.old, number))?;
    step()
}

/// Releases a follower if the attempt that it followed was given up or is cleaned up.
fn settle_follower(
    store: &dyn Store,
    number: u32,
    follower: &Entry,
    leader: &Leader,
) -> Result<()> {
    let is_there = store.get(&begun_key(&leader.old, leader.number))?.is_some();
    let is_ended = || match entry(store, &ended_key(&leader.old, leader.number))? {
        Some(ended) => Ok::<_, Error>(ended.end == Some(End::Undone)),
        None => Ok(false),
    };
    if follower.end.is_some() || !is_there || is_ended()? {
        release(store, number, follower)
    } else {
        Ok(())
    }
}

fn undo(store: &dyn Store, number: u32, entry: &Entry, when: OffsetDateTime) -> Result<()> {
    let undone = Entry { end: Some(End::Undone), when, ..entry.clone() };
    // If the end is already recorded, the attempt has just ended in another way, and the next
    // process that reads it sees how.
    match put(store, &ended_key(&entry.old, number), &undone)? {
        Put::Stored => {
            delete_partition(store, &entry.new)?;
            release_all(store, number, entry)
        }
        Put::Exists => Ok(()),
    }
}

/// Deletes the replaced partitions, once the new partition has its index.
fn clean_up(store: &dyn Store, number: u32, entry: &Entry) -> Result<()> {
    if let Some(End::Done(index)) = &entry.end
        && !index.files.is_empty()
        && !is_indexed(store, index)?
    {
        index::write(store, index)?;
        step()?;
        // Another process may have cleaned up before, and the new partition may itself be replaced
        // by now.
        if listing::objects(store, &entry.new)?.is_empty() {
            store.delete(&index::key(&entry.new))?;
        }
    }
    match &entry.end {
        Some(End::Done(index)) => {
            // All notes are put before the first file is deleted.
            entry.all_old().try_for_each(|old| put_replaced(store, old, index))?;
            entry.all_old().try_for_each(|old| delete_proven(store, old, index))?;
        }
        _ => delete_partition(store, &entry.old)?,
    }
    release_all(store, number, entry)?;
    store.delete(&begun_key(&entry.old, number))?;
    step()
}

/// Returns true if a partition has an index that lists what it replaced. `lake index` may have made
/// one before the replacement was recorded.
fn is_indexed(store: &dyn Store, index: &Index) -> Result<bool> {
    match index::read(store, &index.partition)? {
        Found::Index(there) => Ok(there.replaces == index.replaces),
        Found::Missing => Ok(false),
        Found::Damaged(_) => Ok(true),
    }
}

/// Records what became of a partition's files, for its writer and its readers.
fn put_replaced(store: &dyn Store, old: &str, index: &Index) -> Result<()> {
    match index.replaces.iter().rfind(|generation| generation.partition == old) {
        Some(generation) => replaced::put(store, generation).and_then(|()| step()),
        None => Ok(()),
    }
}

/// Finishes or undoes attempts that other processes left behind. Returns the number of those
/// attempts.
///
/// # Errors
/// If an object can't be put or deleted.
pub fn settle(store: &dyn Store, now: OffsetDateTime) -> Result<usize> {
    store.clean_up(now)?;
    let mut settled = 0;
    let mut clean = Vec::new();
    for (old, attempts) in attempts(store)? {
        for (number, entry) in attempts {
            match entry {
                Some(entry) => settled += usize::from(settle_one(store, number, &entry, now)?),
                None => clean.push(ended_key(&old, number)),
            }
        }
    }
    let forgotten = parallel::map(&clean, |key| match entry(store, key)? {
        Some(entry) if now - entry.when > ZOMBIE => store.delete(key),
        _ => Ok(()),
    });
    forgotten.into_iter().collect::<Result<()>>().map(|()| settled)
}

/// Finishes or undoes an attempt. Returns true if that was necessary.
fn settle_one(store: &dyn Store, number: u32, entry: &Entry, now: OffsetDateTime) -> Result<bool> {
    if let Some(leader) = &entry.leader {
        return settle_follower(store, number, entry, leader).map(|()| false);
    }
    match &entry.end {
        None => undo(store, number, entry, now)?,
        Some(End::Done(_)) => clean_up(store, number, entry)?,
        Some(End::Undone) => {
            delete_partition(store, &entry.new)?;
            release_all(store, number, entry)?;
            if now - entry.when > ZOMBIE {
                store.delete(&begun_key(&entry.old, number))?;
                store.delete(&ended_key(&entry.old, number))?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes a partition and its index: first the index, which would name missing files, and then the
/// files in reverse order, so that the remaining files have no gap.
///
/// # Errors
/// If an object can't be deleted.
pub fn delete_partition(store: &dyn Store, partition: &str) -> Result<()> {
    store.delete(&index::key(partition))?;
    for (_, key) in view::files(store, partition)?.into_iter().rev() {
        store.delete(&key)?;
        step()?;
    }
    Ok(())
}

/// Deletes those files of a partition whose posts are in the partition that replaces it, according
/// to its index. Files that came later, from a writer that was disconnected for longer than
/// expected, exist nowhere else, so they stay.
fn delete_proven(store: &dyn Store, partition: &str, index: &Index) -> Result<()> {
    let Some(replaced) =
        index.replaces.iter().rfind(|generation| generation.partition == partition)
    else {
        return delete_partition(store, partition);
    };
    store.delete(&index::key(partition))?;
    for (_, key) in view::files(store, partition)?.into_iter().rev() {
        let name = key.rsplit('/').next().unwrap_or_default();
        if replaced.files.iter().any(|file| file == name) {
            store.delete(&key)?;
            step()?;
        }
    }
    Ok(())
}

/// Describes an old partition for the index of the one that replaces it.
pub fn generation(
    partition: &str,
    files: &[index::File],
    why: &str,
    when: OffsetDateTime,
) -> Generation {
    Generation {
        partition: partition.into(),
        files: files.iter().map(|file| file.file.clone()).collect(),
        posts: files.iter().map(|file| file.posts).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        why: why.into(),
        when,
        counts: files.iter().map(|file| file.posts).collect(),
        erased: Vec::new(),
        into: None,
        offset: 0,
    }
}

//! Finds where the posts of a replaced partition are now, from the notes that `compact` and `erase`
//! leave ([`replaced`]).
//!
//! A reader stores its positions in terms of the partition that it began to read, whatever happened
//! to that partition: `(file, post)` of the old one. So a cursor never changes its meaning, and it
//! makes no difference if a partition is replaced before a reader comes to it, while it reads, or
//! between two runs.
//!
//! ```text
//! old     0000000 ▒▒▒▒▒▒  0000001 ▒▒▒▒   the cursor of the split "old" is 0000001:2
//!                 │   erased │  │
//! new     0000000 ▒▒▒▒▒▒▒▒▒              so two posts of "old" are left, which are here
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::index::{self, Found, Generation, is_partition};
use super::journal::Journal;
use super::listing::Listing;
use super::names::{FileName, FileNumber};
use super::replaced::{self, Note};
use super::store::Store;
use crate::error::{Error, Result};

/// The suffix of the name that stands for the late files of a replaced partition: the files that
/// its writer added after the replacement.
const LATE: &str = "+late";

/// The maximum number of times that a partition is followed to its replacement. Each `compact` or
/// `erase` adds one.
const GENERATIONS_MAX: usize = 10_000;

/// Returns the partition that a reader's name for a part of a lake refers to, and true if only its
/// late files are meant.
pub fn meant(id: &str) -> (&str, bool) {
    id.strip_suffix(LATE).map_or((id, false), |partition| (partition, true))
}

/// Returns the name for the late files of a partition.
pub fn late(partition: &str) -> String {
    format!("{partition}{LATE}")
}

/// Posts that are consecutive both in an old partition and in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The old file.
    pub file: FileNumber,
    /// The number of posts before them in the old file.
    pub first: u64,
    /// The number of these posts.
    pub posts: u64,
    /// The number of posts before them in the new partition.
    pub at: u64,
}

/// The posts of a replaced partition that one other partition holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The partition that has the posts now.
    pub partition: String,
    /// The posts, in their order.
    pub stretches: Vec<Stretch>,
}

/// Finds the posts that were replaced under a reader's name. Returns `None` if none were replaced.
///
/// # Errors
/// If a note can't be read, or doesn't say where the posts are.
pub fn trace(store: &dyn Store, id: &str) -> Result<Option<Vec<Piece>>> {
    let (partition, is_late) = meant(id);
    if !is_partition(partition) {
        return Ok(None);
    }
    let Some(note) = replaced::read(store, partition)? else { return Ok(None) };
    let generations = of_id(&note, is_late);
    if !is_late && generations.is_empty() {
        return Err(unknown(store, partition, &note.why));
    }
    if is_late && generations.is_empty() {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    for generation in generations {
        let stretches = stretches(store, generation)?;
        if let Some(into) = &generation.into {
            pieces.push(follow(store, Piece { partition: into.clone(), stretches })?);
        }
    }
    Ok(Some(pieces))
}

/// Returns the generations that a name refers to: the first one, or those of late files.
fn of_id(note: &Note, is_late: bool) -> &[Generation] {
    let (first, rest) = note.generations.split_at(note.generations.len().min(1));
    if is_late { rest } else { first }
}

/// Follows a piece through all later replacements of the partition that had it.
fn follow(store: &dyn Store, mut piece: Piece) -> Result<Piece> {
    for _ in 0..GENERATIONS_MAX {
        let Some(note) = replaced::read(store, &piece.partition)? else { return Ok(piece) };
        let Some(generation) = of_id(&note, false).first() else {
            return Err(unknown(store, &piece.partition, &note.why));
        };
        let next = moved(&piece.stretches, &numbered(&stretches(store, generation)?, generation));
        let Some(into) = &generation.into else {
            return Ok(Piece { stretches: Vec::new(), ..piece });
        };
        piece = Piece { partition: into.clone(), stretches: next };
    }
    let root = store.address("_index/replaced/");
    Err(Error::fatal(format!(
        "the notes in \"{root}\" lead in a circle from \"{}\"",
        piece.partition
    )))
}

/// A run of posts, by their numbers over all files of the old partition, and their position in the
/// new one.
struct Run {
    from: u64,
    posts: u64,
    at: u64,
}

fn numbered(stretches: &[Stretch], generation: &Generation) -> Vec<Run> {
    let mut before = BTreeMap::new();
    let mut posts = 0;
    for (file, count) in generation.files.iter().zip(&generation.counts) {
        before.extend(file.parse().ok().map(|name: FileName| (name.number, posts)));
        posts += count;
    }
    let mut runs = Vec::new();
    for stretch in stretches {
        let from = before.get(&stretch.file).copied().unwrap_or_default() + stretch.first;
        runs.push(Run { from, posts: stretch.posts, at: stretch.at });
    }
    runs
}

/// Returns the new positions of posts after the partition that had them was replaced, too.
fn moved(stretches: &[Stretch], runs: &[Run]) -> Vec<Stretch> {
    let mut moved = Vec::new();
    for stretch in stretches {
        for run in runs {
            let from = stretch.at.max(run.from);
            let to = (stretch.at + stretch.posts).min(run.from + run.posts);
            if from < to {
                let first = stretch.first + (from - stretch.at);
                let at = run.at + (from - run.from);
                moved.push(Stretch { file: stretch.file, first, posts: to - from, at });
            }
        }
    }
    moved
}

/// Returns the posts of a generation that were kept, with their new positions.
fn stretches(store: &dyn Store, generation: &Generation) -> Result<Vec<Stretch>> {
    let Generation { partition, files, counts, erased, into, offset, why, .. } = generation;
    if why == replaced::PRUNE {
        return Err(deleted(store, partition, why));
    }
    if counts.len() != files.len() {
        return Err(unknown(store, partition, why));
    }
    let (mut stretches, mut erased) = (Vec::new(), erased.iter().copied().peekable());
    let (mut number, mut at) = (0, *offset);
    for (file, count) in files.iter().zip(counts) {
        let name: FileName = file.parse().map_err(|_| unknown(store, partition, why))?;
        let (begin, end) = (number, number + count);
        while number < end {
            // Erased posts may continue in the next file.
            let (gap, gap_end) =
                erased.peek().map_or((end, end), |(first, posts)| (*first, first + posts));
            let kept = gap.clamp(number, end) - number;
            if kept > 0 {
                stretches.push(Stretch {
                    file: name.number,
                    first: number - begin,
                    posts: kept,
                    at,
                });
                (number, at) = (number + kept, at + kept);
            }
            if number < end {
                number = gap_end.min(end);
            }
            if gap_end <= number {
                erased.next();
            }
        }
    }
    if into.is_none() && !stretches.is_empty() {
        return Err(deleted(store, partition, why));
    }
    Ok(stretches)
}

fn deleted(store: &dyn Store, partition: &str, why: &str) -> Error {
    let address = store.address(partition);
    Error::fatal(format!(
        "the partition \"{address}\" is gone: \"{why}\" deleted it; leave it out, or put it back"
    ))
}

fn unknown(store: &dyn Store, partition: &str, why: &str) -> Error {
    let address = store.address(partition);
    Error::fatal(format!(
        "the partition \"{address}\" was replaced by \"{why}\" of an earlier version, which didn't note where each \
         post is now: start over, or leave this partition out"
    ))
}

/// The progress of an earlier run, by the names of the parts of a lake: true if the part was read
/// to its end.
pub type Progress = BTreeMap<String, bool>;

/// Returns the names under which the chosen partitions are read, in terms of earlier runs: if a
/// part of a partition was read before it was replaced, its old name is used, and so are the names
/// of its siblings. With `to_roots`, the names are always those that partitions had when they were
/// written, so that they stay the same whatever is done to a lake.
///
/// # Errors
/// If an object can't be read, or a partition that was partly read is gone.
pub fn splits(
    store: &dyn Store,
    listing: &Listing,
    chosen: &[String],
    means: &dyn Fn(&str) -> bool,
    progress: &Progress,
    to_roots: bool,
) -> Result<Vec<String>> {
    let listed: BTreeSet<&String> = chosen.iter().collect();
    let gone: Vec<&String> = progress.keys().filter(|id| !listed.contains(id)).collect();
    let gone: Vec<&String> = gone.into_iter().filter(|id| means(meant(id).0)).collect();
    if gone.is_empty() && (!to_roots || listing.replaced.is_empty()) {
        return Ok(chosen.to_vec());
    }
    let boundaries =
        if to_roots { None } else { Some(gone.iter().map(|id| boundary(id)).collect()) };
    let family = Family::read(store, listing, boundaries.as_ref())?;
    let mut splits = BTreeSet::new();
    for id in chosen {
        family.add(id, progress, to_roots, &mut splits);
    }
    for id in gone {
        if family.is_covered(id, progress, &splits) {
            continue;
        }
        if family.next.contains_key(id) {
            splits.insert(id.clone());
        } else if !progress[id] && listing.partitions.binary_search(&meant(id).0.into()).is_err() {
            let address = store.address(meant(id).0);
            return Err(Error::fatal(format!(
                "the partition \"{address}\" was read in part and is gone: put it back, leave it out, or start over \
                 with --fresh"
            )));
        }
    }
    Ok(splits.into_iter().collect())
}

/// Returns the part of a name that gives a partition's time, which every replacement keeps.
pub fn boundary(id: &str) -> &str {
    const ID_CHARS: usize = 37;
    let partition = meant(id).0;
    &partition[..partition.len().saturating_sub(ID_CHARS)]
}

/// The relations between replaced and new partitions.
#[derive(Default)]
struct Family {
    /// The replacement of each replaced partition; `None` if no post was kept.
    next: BTreeMap<String, Option<String>>,
    /// The partitions that each partition replaced.
    made_of: BTreeMap<String, Vec<String>>,
    /// The replaced partitions that an earlier version replaced.
    unknown: BTreeSet<String>,
}

impl Family {
    /// Reads the relations of all replaced partitions, or of those with some boundaries.
    fn read(
        store: &dyn Store,
        listing: &Listing,
        boundaries: Option<&BTreeSet<&str>>,
    ) -> Result<Self> {
        let mut family = Self::default();
        let is_meant = |name: &&String| boundaries.is_none_or(|all| all.contains(boundary(name)));
        let names: Vec<&String> = listing.replaced.iter().filter(is_meant).collect();
        let notes = super::parallel::map(&names, |name| replaced::read(store, name));
        for note in notes {
            let Some(note) = note? else { continue };
            for is_late in [false, true] {
                let id = if is_late { late(&note.partition) } else { note.partition.clone() };
                for generation in of_id(&note, is_late) {
                    family.insert(&id, generation);
                }
            }
            if note.generations.is_empty() {
                family.unknown.insert(note.partition);
            }
        }
        family.add_journal(&listing.journal, &is_meant);
        family.add_unknown(store, listing)?;
        Ok(family)
    }

    fn insert(&mut self, id: &str, generation: &Generation) {
        self.next.insert(id.into(), generation.into.clone());
        if let Some(into) = &generation.into {
            let made_of = self.made_of.entry(into.clone()).or_default();
            if !made_of.iter().any(|known| known == id) {
                made_of.push(id.into());
            }
        }
    }

    /// Adds the partitions that are replaced and have no note yet.
    fn add_journal(&mut self, journal: &Journal, is_meant: &dyn Fn(&&String) -> bool) {
        for (old, index) in journal.done.iter().filter(|(old, _)| is_meant(old)) {
            let generation = index.replaces.iter().rfind(|generation| generation.partition == *old);
            if !self.next.contains_key(old)
                && let Some(generation) = generation
            {
                self.insert(old, generation);
            }
        }
    }

    /// Adds the partitions that an earlier version replaced: the index names the replacement.
    fn add_unknown(&mut self, store: &dyn Store, listing: &Listing) -> Result<()> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let times: BTreeSet<&str> = self.unknown.iter().map(|name| boundary(name)).collect();
        let candidates = listing.partitions.iter().filter(|name| times.contains(boundary(name)));
        let mut found = Vec::new();
        for name in candidates {
            let Found::Index(index) = index::read(store, name)? else { continue };
            for generation in index.replaces {
                if self.unknown.contains(&generation.partition) {
                    found.push((generation.partition, name.clone()));
                }
            }
        }
        for (old, new) in found {
            self.next.insert(old.clone(), Some(new.clone()));
            self.made_of.entry(new).or_default().push(old);
        }
        Ok(())
    }

    /// Adds the names under which a part of a lake is read.
    fn add(&self, id: &str, progress: &Progress, to_roots: bool, splits: &mut BTreeSet<String>) {
        let made_of = self.made_of.get(id).map(Vec::as_slice).unwrap_or_default();
        let wants_old =
            |old: &String| to_roots && !self.unknown.contains(old) || self.was_read(old, progress);
        if progress.contains_key(id) || !made_of.iter().any(wants_old) {
            splits.insert(id.into());
            return;
        }
        for old in made_of {
            self.add(old, progress, to_roots, splits);
        }
    }

    /// Returns true if an earlier run has read a part of a partition, or of one that it replaced.
    fn was_read(&self, id: &str, progress: &Progress) -> bool {
        let made_of = self.made_of.get(id).map(Vec::as_slice).unwrap_or_default();
        progress.contains_key(id) || made_of.iter().any(|old| self.was_read(old, progress))
    }

    /// Returns true if the posts of a partition are read under another name, or its own name is
    /// already listed.
    fn is_covered(&self, id: &str, progress: &Progress, splits: &BTreeSet<String>) -> bool {
        let mut id = id.to_owned();
        for generation in 0..GENERATIONS_MAX {
            if splits.contains(&id) || generation > 0 && progress.contains_key(&id) {
                return true;
            }
            match self.next.get(&id) {
                Some(Some(next)) => id.clone_from(next),
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;

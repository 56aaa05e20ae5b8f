//! Where the posts of a replaced partition are now: told from the notes that `compact` and `erase`
//! leave ([`replaced`]).
//!
//! A reader keeps its places in the terms of the partition that it began to read, whatever became
//! of that: `(file, post)` of the old one. So a cursor never changes its meaning, and it doesn't
//! matter whether a partition is replaced before a reader comes to it, while it reads, or between
//! two runs.
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

/// Behind the name of a partition that was replaced: the files that its writer brought later.
const LATE: &str = "+late";

/// How often a partition is followed to the next one at most. Each `compact` or `erase` adds one.
const GENERATIONS_MAX: usize = 10_000;

/// The partition that a reader's name for a part of a lake means, and whether only its late files.
pub fn meant(id: &str) -> (&str, bool) {
    id.strip_suffix(LATE).map_or((id, false), |partition| (partition, true))
}

/// The name for the late files of a partition.
pub fn late(partition: &str) -> String {
    format!("{partition}{LATE}")
}

/// Posts that stand one behind the other in an old partition and in the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The old file.
    pub file: FileNumber,
    /// How many posts stand before them in it.
    pub first: u64,
    /// How many they are.
    pub posts: u64,
    /// How many posts stand before them in the new partition.
    pub at: u64,
}

/// What one partition has of another that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The partition that has the posts now.
    pub partition: String,
    /// The posts, in their order.
    pub stretches: Vec<Stretch>,
}

/// Where the posts are now that were replaced under a reader's name. None if nothing was.
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

/// The generations that a name means: the first, or those of late files.
fn of_id(note: &Note, is_late: bool) -> &[Generation] {
    let (first, rest) = note.generations.split_at(note.generations.len().min(1));
    if is_late { rest } else { first }
}

/// Follows a piece through whatever replaced the partition that had it.
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

/// Posts by their numbers over all files of a partition: from this on so many, which stand there
/// now.
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

/// Where posts are once the partition that had them was replaced, too.
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

/// The posts of a generation that were kept, and where they went.
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
            // Erased posts may go on in the next file.
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
         post is now: begin anew, or leave this partition out"
    ))
}

/// How far an earlier run has read, by the names of the parts of a lake: true if to the end.
pub type Progress = BTreeMap<String, bool>;

/// What to read of the chosen partitions, by the names that earlier runs had for it: where a part
/// of a partition was read before it was replaced, the old name stands, and so do those of its
/// siblings. With `to_roots` names are always those that partitions had when they were written, so
/// that they stay the same whatever is done to a lake.
///
/// # Errors
/// If something can't be read, or a partition that was partly read is gone.
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
                "the partition \"{address}\" was read in part and is gone: put it back, leave it out, or begin anew \
                 with --fresh"
            )));
        }
    }
    Ok(splits.into_iter().collect())
}

/// The part of a name that tells a partition's time, which is that of whatever replaces it.
pub fn boundary(id: &str) -> &str {
    const ID_CHARS: usize = 37;
    let partition = meant(id).0;
    &partition[..partition.len().saturating_sub(ID_CHARS)]
}

/// Which partitions came from which.
#[derive(Default)]
struct Family {
    /// What each replaced partition became, none if nothing was kept.
    next: BTreeMap<String, Option<String>>,
    /// What each partition was made of.
    made_of: BTreeMap<String, Vec<String>>,
    /// Those of them that an earlier version replaced.
    unknown: BTreeSet<String>,
}

impl Family {
    /// Of all partitions that were replaced, or those of some boundaries.
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

    /// What is replaced and has no note yet.
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

    /// What an earlier version replaced: the index says by what.
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

    /// Adds the names by which a part of a lake is read.
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

    /// True if an earlier run has read of a partition, or of what it was made of.
    fn was_read(&self, id: &str, progress: &Progress) -> bool {
        let made_of = self.made_of.get(id).map(Vec::as_slice).unwrap_or_default();
        progress.contains_key(id) || made_of.iter().any(|old| self.was_read(old, progress))
    }

    /// True if what became of a partition is read by another name, or its own is there already.
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

//! Counts the posts of a replayed lake that no spout takes, to report them at the end.
//!
//! The counts of a split are stored in its cursor after the mark, `0000003:17 {"note":2}`, or
//! `end@0000004:0 {"note":2}` at its end. So they are reset together with the cursor, and each post
//! counts once, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::epoch::{Cursor, Split};
use crate::error::{Error, Result};
use crate::lake::names::FileNumber;
use crate::lake::replay::Position;
use crate::lake::replay::mark::Mark;

/// The number of kinds that are counted separately for a split. All further kinds are counted
/// together.
const KINDS_MAX: usize = 16;

/// The name for all further kinds.
const OTHERS: &str = "(others)";

/// The beginning of the cursor of a split that was read to its end. After it comes the position of
/// a file that may be written into the partition later: `end@0000004:0`. A cursor without that
/// position, from an earlier version, isn't read any further.
const END: &str = "end";

/// Numbers of posts, by kind.
pub(crate) type Kinds = BTreeMap<String, u64>;

/// Counts of all splits of all tasks, by component and split.
#[derive(Clone, Default)]
pub struct Strays {
    /// The kinds that a spout takes, so that they don't count.
    taken: Arc<BTreeSet<String>>,
    counts: Arc<Mutex<BTreeMap<(String, String), Kinds>>>,
}

impl Strays {
    /// Creates counts of posts of all kinds except these, which spouts take.
    pub fn but(taken: BTreeSet<String>) -> Self {
        Self { taken: Arc::new(taken), counts: Arc::default() }
    }

    /// Returns the number of posts that no spout took, by kind, over the whole replay.
    pub fn kinds(&self) -> Kinds {
        let mut all = Kinds::new();
        for (kind, posts) in self.lock().values().flatten() {
            *all.entry(kind.clone()).or_default() += posts;
        }
        all
    }

    /// Begins to count for a task with these splits, with the counts in their cursors.
    ///
    /// # Errors
    /// If a cursor is damaged.
    pub(super) fn begin(&self, component: &str, splits: &[Split]) -> Result<Counted> {
        let mut counts = Vec::new();
        for split in splits {
            let kinds = Place::of(&split.cursor)?.strays;
            self.lock().insert((component.to_owned(), split.id.clone()), kinds.clone());
            counts.push((split.id.clone(), kinds));
        }
        Ok(Counted {
            strays: self.clone(),
            component: component.into(),
            splits: counts,
            new: Kinds::new(),
        })
    }

    /// Locks the counts. They are never left half-changed, so a panic elsewhere doesn't matter.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Kinds>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counts of one task.
pub(super) struct Counted {
    strays: Strays,
    component: String,
    /// Each split with its counts.
    splits: Vec<(String, Kinds)>,
    /// The counts that aren't assigned to a split yet.
    new: Kinds,
}

impl Counted {
    /// Counts a post of this kind, which wasn't for this spout.
    pub(crate) fn passed_over(&mut self, kind: &str) {
        if !self.strays.taken.contains(kind) {
            *self.new.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Assigns the new counts to a split, whose cursor is handed over with the posts.
    pub(crate) fn book(&mut self, split: usize) {
        if self.new.is_empty() {
            return;
        }
        let (id, kinds) = &mut self.splits[split];
        for (kind, posts) in std::mem::take(&mut self.new) {
            let known = kinds.len() < KINDS_MAX || kinds.contains_key(&kind);
            *kinds.entry(if known { kind } else { OTHERS.into() }).or_default() += posts;
        }
        self.strays.lock().insert((self.component.clone(), id.clone()), kinds.clone());
    }

    /// Returns the cursor of a split at a mark, or at its end.
    pub(crate) fn cursor(&self, split: usize, reached: Reached) -> Cursor {
        let kinds = &self.splits[split].1;
        if kinds.is_empty() {
            return reached.cursor();
        }
        let kinds = serde_json::to_string(kinds).expect("texts and numbers are JSON");
        Cursor::At(format!("{reached} {kinds}"))
    }
}

/// The progress of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// Up to this mark.
    Mark(Mark),
    /// To its end; a file that is added to the partition later begins at this position.
    End(Position),
}

impl Reached {
    /// Returns the end of a partition that was read up to a position, if any post of it was read.
    pub(crate) fn end(read: Option<Position>) -> Self {
        let behind =
            read.map_or(FileNumber::FIRST, |read| read.file.next().unwrap_or(FileNumber::LAST));
        Self::End(Position { file: behind, posts: 0 })
    }

    /// Returns the cursor of a split without counts.
    pub(crate) fn cursor(self) -> Cursor {
        Cursor::At(self.to_string())
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mark(mark) => write!(f, "{mark}"),
            Self::End(behind) => write!(f, "{END}@{behind}"),
        }
    }
}

/// The parsed cursor of a split.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The progress.
    pub mark: Option<Mark>,
    /// True if all of it was handed over, and no more will be read.
    pub ended: bool,
    /// True if it was handed over up to its end at that time; files may have been added since.
    pub at_end: bool,
    /// The posts that no spout took.
    pub strays: Kinds,
}

impl Place {
    /// Parses a cursor.
    ///
    /// # Errors
    /// If it is malformed.
    pub(crate) fn of(cursor: &Cursor) -> Result<Self> {
        let Cursor::At(text) = cursor else {
            let ended = *cursor == Cursor::End;
            return Ok(Self { mark: None, ended, at_end: ended, strays: Kinds::new() });
        };
        let (place, kinds) = text.split_once(' ').unwrap_or((text, "{}"));
        let strays =
            serde_json::from_str(kinds).map_err(|cause| bad_cursor(text).because(cause))?;
        if place == END {
            return Ok(Self { mark: None, ended: true, at_end: true, strays });
        }
        let behind = place.strip_prefix(END).and_then(|rest| rest.strip_prefix('@'));
        let mark = match behind {
            Some(behind) => Mark::all_before(behind.parse().map_err(|()| bad_cursor(text))?),
            None => place.parse()?,
        };
        Ok(Self { mark: Some(mark), ended: false, at_end: behind.is_some(), strays })
    }
}

fn bad_cursor(text: &str) -> Error {
    Error::fatal(format!("bad cursor \"{text}\" of a replayed partition"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor {
        Cursor::At(text.into())
    }

    fn splits(cursors: [Cursor; 2]) -> Vec<Split> {
        cursors
            .into_iter()
            .zip(["a", "b"])
            .map(|(cursor, id)| Split { id: id.into(), cursor })
            .collect()
    }

    #[test]
    fn a_cursor_keeps_what_was_counted() {
        let strays = Strays::but(BTreeSet::from(["tweet".to_owned()]));
        let mut counted =
            strays.begin("in", &splits([Cursor::Start, at("0000001:3 {\"note\":2}")])).unwrap();
        ["note", "tweet", "x"].into_iter().for_each(|kind| counted.passed_over(kind));
        counted.book(1);
        assert_eq!(
            counted.cursor(1, Reached::Mark("0000001:6".parse().unwrap())),
            at("0000001:6 {\"note\":3,\"x\":1}")
        );
        let end = Reached::end(Some(Position { file: FileNumber::FIRST, posts: 3 }));
        assert_eq!(counted.cursor(1, end), at("end@0000001:0 {\"note\":3,\"x\":1}"));
        assert_eq!(counted.cursor(0, Reached::end(None)), at("end@0000000:0"));
        assert_eq!(strays.kinds(), Kinds::from([("note".into(), 3), ("x".into(), 1)]));
        let place = Place::of(&counted.cursor(1, end)).unwrap();
        assert_eq!(
            (place.mark, place.ended, place.strays.len()),
            ("0000001:0".parse().ok(), false, 2)
        );
        let before = Place::of(&at("end {\"note\":3}")).unwrap();
        assert_eq!((before.mark, before.ended, before.strays.len()), (None, true, 1));
    }

    #[test]
    fn what_is_read_again_counts_once() {
        let strays = Strays::default();
        for _ in 0..2 {
            let mut counted = strays.begin("in", &splits([Cursor::Start, Cursor::End])).unwrap();
            counted.passed_over("note");
            counted.book(0);
        }
        assert_eq!(strays.kinds(), Kinds::from([("note".into(), 1)]));
    }

    #[test]
    fn many_kinds_are_some_names_and_a_number() {
        let strays = Strays::default();
        let mut counted = strays.begin("in", &splits([Cursor::Start, Cursor::Start])).unwrap();
        (0..100).for_each(|kind| counted.passed_over(&format!("{kind:03}")));
        counted.book(0);
        let kinds = strays.kinds();
        assert_eq!(
            (kinds.len(), kinds[OTHERS], kinds.values().sum::<u64>()),
            (KINDS_MAX + 1, 84, 100)
        );
    }

    #[test]
    fn nothing_else_is_a_cursor() {
        for bad in ["12", "end {", "0000001:3 x", ""] {
            assert!(Place::of(&at(bad)).is_err(), "{bad}");
        }
    }
}

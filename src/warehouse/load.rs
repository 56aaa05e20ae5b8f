//! One load: rows that come into the warehouse in one transaction, or not at all.
//!
//! A row that the server refuses for its data is found by halving, within the same transaction: what
//! is written of the others stays behind savepoints. Everything else that goes wrong is a matter of
//! the whole load, which is repeated.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{Done, Failure};
use super::ledger::{Ledger, RefusedPosition, RowPosition};
use super::months::{Micros, Month};
use super::row::{AuthorRow, PostKey, WarehouseRow};
use super::session::Session;
use super::units::{Attempt, Unit, units};
use crate::error::Error;
use crate::fault;

/// How often a load is tried whose months are dropped by others while it runs.
const ATTEMPTS: usize = 3;

/// How many bad rows of a load are singled out by what the server says of them. Each costs that what
/// is behind it is sent once more, so that many are found sooner by halving.
const SINGLED_OUT_MAX: usize = 32;

/// Rows to load, each either read or refused before.
#[derive(Debug, Default)]
pub struct LoadRows {
    /// The names of the segments that the rows are of, by their positions.
    pub segments: BTreeMap<usize, String>,
    /// What was read.
    pub rows: Vec<WarehouseRow>,
    /// Where each row is from.
    pub positions: Vec<RowPosition>,
    /// Rows that couldn't be read.
    pub refused: Vec<RefusedPosition>,
    /// The number of rows that were left out, since they are older than what is kept.
    pub expired: u64,
}

impl LoadRows {
    /// Adds a row, as it was read. One older than `keep_from` is left out.
    pub fn add(
        &mut self,
        at: RowPosition,
        row: Result<WarehouseRow, String>,
        keep_from: Option<Micros>,
    ) {
        match row {
            Ok(WarehouseRow::Post(post))
                if keep_from.is_some_and(|from| post.created_at < from) =>
            {
                self.expired += 1;
            }
            Ok(row) => {
                self.rows.push(row);
                self.positions.push(at);
            }
            Err(error) => self.refused.push(RefusedPosition { at, error }),
        }
    }

    /// The months in which something is written.
    fn months(&self) -> BTreeSet<Month> {
        let mut months = BTreeSet::new();
        for row in &self.rows {
            if let WarehouseRow::Post(post) = row {
                months.extend(Month::of(post.created_at));
                months.extend(post.counted_at.and_then(Month::of));
            }
        }
        months
    }

    /// How the lock on names is taken: by those who delete by other ids alone, and by those who
    /// write posts that have such ids together.
    fn names_lock(&self) -> Option<&'static str> {
        let deletes = |row: &WarehouseRow| match row {
            WarehouseRow::Deletion(deletion) => deletion.names_other_id(),
            _ => false,
        };
        let is_named = |row: &WarehouseRow| match row {
            WarehouseRow::Post(post) => post.facts.other_id.is_some(),
            _ => false,
        };
        if self.rows.iter().any(deletes) {
            return Some("pg_advisory_xact_lock");
        }
        self.rows.iter().any(is_named).then_some("pg_advisory_xact_lock_shared")
    }
}

/// The result of a load.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The number of rows that were written, or were there.
    pub rows: usize,
    /// The rows that were refused, in order.
    pub refused: Vec<RefusedPosition>,
}

impl Session {
    /// Loads rows, with what the ledger notes of them in the same transaction. Returns nothing if
    /// the ledger has any of the segments. Blocks.
    ///
    /// # Errors
    /// Whatever concerns the whole load. The outcome may be unknown then: the load is repeated.
    pub fn load(&mut self, load: &LoadRows, ledger: &Ledger) -> Done<Option<Loaded>> {
        let mut months = load.months();
        if !self.is_staged {
            self.wait(self.stage())?;
            self.is_staged = true;
        }
        let mut checks = Checks::AtCommit;
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            self.make_months(months.clone())?;
            let failure = match self.wait(self.load_in_transaction(load, ledger, checks)) {
                Ok(loaded) => return Ok(loaded),
                Err(failure) => failure,
            };
            if !failure.ends_session() {
                self.roll_back()?;
            }
            match failure {
                Failure::PartitionGone(month) if attempts_left > 0 => {
                    self.months.clear();
                    months.extend(month);
                }
                // A row that is refused behind its part: by a deferred constraint or trigger, or by
                // the table of authors. The next attempt finds it.
                Failure::Row { .. } if checks == Checks::AtCommit => {
                    checks = Checks::OfEachPart;
                    attempts_left = ATTEMPTS;
                }
                // It would come again each time.
                Failure::Row { text, .. } => {
                    return Err(Failure::Own(Error::fatal(format!(
                        "the server refuses a whole load, and none of its rows alone: {text}; remove the \
                         constraint or trigger of the table that it names"
                    ))));
                }
                other => return Err(other),
            }
        }
    }

    fn roll_back(&self) -> Done<()> {
        self.wait(async { Ok(self.client().batch_execute("rollback").await?) })
    }

    async fn load_in_transaction(
        &self,
        load: &LoadRows,
        ledger: &Ledger,
        checks: Checks,
    ) -> Done<Option<Loaded>> {
        self.client().batch_execute("begin").await?;
        if !self.note_begun(ledger).await? {
            self.client().batch_execute("rollback").await?;
            return Ok(None);
        }
        if let Some(lock) = load.names_lock() {
            let schema = self.warehouse().schema();
            let lock = format!("select {lock}(hashtextextended('waterspout names ' || $1, 0))");
            self.client().execute(&lock, &[&schema]).await?;
        }
        let refused = self.write_all_but_bad(load, checks).await?;
        let rows = load.rows.len() + load.refused.len() - refused.len();
        let loaded = Loaded { rows, refused };
        self.note_done(ledger, load, &loaded).await?;
        fault::point("pg.commit").map_err(commit_failed)?;
        self.client().batch_execute("commit").await?;
        fault::point("pg.committed").map_err(commit_failed)?;
        Ok(Some(loaded))
    }

    /// Writes everything that the server takes, and returns the rest.
    ///
    /// All keys are locked before anything else, and authors are written behind everything else: so
    /// writers that split their loads at different rows still wait for each other in one order.
    async fn write_all_but_bad(
        &self,
        load: &LoadRows,
        checks: Checks,
    ) -> Done<Vec<RefusedPosition>> {
        let mut refused = load.refused.clone();
        let all = units(&load.rows, 0..load.rows.len());
        let mut locked = self.lock_units(load, all, &mut refused).await?;
        let mut is_staged = locked.is_staged;
        let (mut authors, mut bad) = (Vec::new(), Vec::new());
        // The last part is the next.
        let mut parts: Vec<Vec<Unit>> = vec![std::mem::take(&mut locked.units)];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            self.client().batch_execute("savepoint part").await?;
            let attempt = Attempt::of(&load.rows, &part);
            // Another version of a post comes in a later part only if it is alone in this one.
            let alone =
                attempt.posts.first().filter(|_| part.len() == 1).map(|post| post.key.clone());
            let mut written = self.write(attempt, &locked.known, is_staged).await;
            if checks == Checks::OfEachPart
                && let Ok(of_part) = written
            {
                written = self.check_part(of_part).await;
            }
            is_staged = false;
            match written {
                Ok(of_part) => {
                    authors.extend(of_part);
                    locked.known.extend(alone);
                    self.client().batch_execute("release part").await?;
                }
                Err(Failure::Row { text, post, .. }) => {
                    self.client().batch_execute("rollback to part; release part").await?;
                    match single(&part) {
                        Some(position) => {
                            let at = load.positions[position];
                            refused.push(RefusedPosition { at, error: text });
                            bad.push(position);
                        }
                        None => {
                            let post = post.filter(|_| bad.len() < SINGLED_OUT_MAX);
                            parts.extend(split(part, &load.rows, post.as_ref()));
                        }
                    }
                }
                Err(other) => return Err(other),
            }
        }
        let mut taken_back = BTreeSet::new();
        for position in bad {
            if let WarehouseRow::Post(post) = &load.rows[position]
                && !locked.known.contains(&post.key)
            {
                taken_back.insert(&post.key);
            }
        }
        self.take_back_keys(&taken_back).await?;
        self.write_authors(authors).await?;
        refused.sort_by_key(|refused| refused.at);
        Ok(refused)
    }

    /// Writes the authors of a part, and has the server check what it would check at the commit.
    async fn check_part(&self, authors: Vec<AuthorRow>) -> Done<Vec<AuthorRow>> {
        self.write_authors(authors).await?;
        self.client().batch_execute("set constraints all immediate").await?;
        Ok(Vec::new())
    }

    /// Locks the keys of units in their order. One whose key the server refuses is left out.
    async fn lock_units(
        &self,
        load: &LoadRows,
        all: Vec<Unit>,
        refused: &mut Vec<RefusedPosition>,
    ) -> Done<LockedUnits> {
        let mut locked = LockedUnits { units: Vec::new(), known: BTreeSet::new(), is_staged: true };
        let mut parts = vec![all];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            self.client().batch_execute("savepoint part").await?;
            let attempt = Attempt::of(&load.rows, &part);
            match self.lock_keys(&attempt, locked.is_staged && locked.units.is_empty()).await {
                Ok(known) => {
                    locked.known.extend(known);
                    locked.units.extend(part);
                    self.client().batch_execute("release part").await?;
                }
                Err(Failure::Row { text, post, .. }) => {
                    self.client().batch_execute("rollback to part; release part").await?;
                    locked.is_staged = false;
                    // All versions of a post have the same key.
                    if let [unit] = &part[..] {
                        for position in unit {
                            let (at, error) = (load.positions[*position], text.clone());
                            refused.push(RefusedPosition { at, error });
                        }
                    } else {
                        parts.extend(split(part, &load.rows, post.as_ref()));
                    }
                }
                Err(other) => return Err(other),
            }
        }
        Ok(locked)
    }
}

/// The moment at which the server checks what may be deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    /// At the commit, and of all authors at once: as many statements as need be, and no more.
    AtCommit,
    /// Behind each part, so that a row that is refused can be found by halving.
    OfEachPart,
}

/// Units whose keys are locked.
struct LockedUnits {
    units: Vec<Unit>,
    /// The keys that were there before.
    known: BTreeSet<PostKey>,
    /// True if all of the keys are in the staging table.
    is_staged: bool,
}

fn commit_failed(cause: std::io::Error) -> Failure {
    Failure::Own(Error::transient("can't commit").because(cause))
}

/// The row of a part that has only one.
fn single(part: &[Unit]) -> Option<usize> {
    match part {
        [unit] => match unit[..] {
            [position] => Some(position),
            _ => None,
        },
        _ => None,
    }
}

/// Splits a part; the first of the new parts is the last. If it is known of which post the bad row is,
/// that is tried alone, and what is before and behind it by itself; else the part is halved.
fn split(mut part: Vec<Unit>, rows: &[WarehouseRow], bad: Option<&PostKey>) -> Vec<Vec<Unit>> {
    if part.len() == 1 {
        // The versions of one post, each alone.
        let unit = part.pop().unwrap_or_default();
        return unit.into_iter().rev().map(|position| vec![vec![position]]).collect();
    }
    let is_bad = |unit: &Unit| match unit.first().map(|position| &rows[*position]) {
        Some(WarehouseRow::Post(post)) => Some(&post.key) == bad,
        _ => false,
    };
    let Some(at) = part.iter().position(is_bad) else {
        let behind = part.split_off(part.len() / 2);
        return vec![behind, part];
    };
    let behind = part.split_off(at + 1);
    let bad = part.split_off(at);
    [behind, bad, part].into_iter().filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_halved_and_the_versions_of_a_post_are_tried_one_by_one() {
        let halves = split(vec![Unit::new(); 5], &[], None);
        assert_eq!(halves.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
        let versions = split(vec![vec![3, 4]], &[], None);
        assert_eq!(versions, [[[4]], [[3]]]);
    }
}

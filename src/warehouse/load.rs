//! One load: rows that are written to the warehouse in one transaction, or not at all.
//!
//! A row that the server refuses for its data is found by halving within the same transaction:
//! savepoints keep the rows that were written. Any other error concerns the whole load, which is
//! repeated.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{Done, Failure};
use super::ledger::{Ledger, RefusedPosition, RowPosition};
use super::months::{Micros, Month};
use super::row::{AuthorRow, PostKey, WarehouseRow};
use super::session::Session;
use super::units::{Attempt, Unit, units};
use crate::error::Error;
use crate::fault;

/// The number of attempts for a load whose months are dropped by others while it runs.
const ATTEMPTS: usize = 3;

/// The number of bad rows in a load that are isolated by the server's message. For each of them,
/// the rows after it are sent again, so halving is faster for many bad rows.
const SINGLED_OUT_MAX: usize = 32;

/// The rows of a load, each either readable or refused in advance.
#[derive(Debug, Default)]
pub struct LoadRows {
    /// The names of the rows' segments, by position.
    pub segments: BTreeMap<usize, String>,
    /// The readable rows.
    pub rows: Vec<WarehouseRow>,
    /// The origin of each row.
    pub positions: Vec<RowPosition>,
    /// The rows that couldn't be read.
    pub refused: Vec<RefusedPosition>,
    /// The number of rows that were left out because they are older than the retention.
    pub expired: u64,
}

impl LoadRows {
    /// Adds a row, or its read error. A row older than `keep_from` is left out.
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

    /// Returns the months of the rows.
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

    /// The mode of the lock on names: shared by loads that write posts with other ids, and
    /// exclusive for loads that delete posts by other ids.
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
    /// The number of rows that were written or existed.
    pub rows: usize,
    /// The refused rows, in order.
    pub refused: Vec<RefusedPosition>,
}

impl Session {
    /// Loads rows, with their ledger entries in the same transaction. Returns nothing if the ledger
    /// has any of the segments. Blocks.
    ///
    /// # Errors
    /// If the whole load fails. The outcome may be unknown then: the load is repeated.
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
                // A row that is refused only after its part was written: by a deferred constraint
                // or trigger, or by the table of authors. The next attempt finds the row. A trigger
                // may report the same error as a missing month, but then it reports it each time.
                Failure::Row { .. } | Failure::PartitionGone(_) if checks == Checks::AtCommit => {
                    checks = Checks::OfEachPart;
                    attempts_left = ATTEMPTS;
                }
                // The error would be the same in each attempt.
                Failure::Row { text, .. } => {
                    return Err(Failure::Own(Error::fatal(format!(
                        "the server refuses a whole load, and none of its rows alone: {text}; \
                            remove the \
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

    /// Writes all rows that the server accepts, and returns the others.
    ///
    /// All keys are locked first, and authors are written last, so that writers that split their
    /// loads at different rows still wait for each other in one order.
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
        // The last part is the next one to write.
        let mut parts: Vec<Vec<Unit>> = vec![std::mem::take(&mut locked.units)];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            self.client().batch_execute("savepoint part").await?;
            let attempt = Attempt::of(&load.rows, &part);
            // A later part has another version of a post only if it has that version alone.
            let alone =
                attempt.posts.first().filter(|_| part.len() == 1).map(|post| post.key.clone());
            let mut written = self.write(attempt, &locked.known, is_staged).await;
            if checks == Checks::OfEachPart
                && let Ok(of_part) = written
            {
                written = self.check_part(of_part).await;
            }
            if checks == Checks::OfEachPart
                && let Err(Failure::PartitionGone(None)) = written
            {
                let text = "a check without a name, or that of a partition (23514)".into();
                written = Err(Failure::Row { text, line: None, post: None });
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

    /// Writes the authors of a part, and lets the server check deferred constraints.
    async fn check_part(&self, authors: Vec<AuthorRow>) -> Done<Vec<AuthorRow>> {
        self.write_authors(authors).await?;
        self.client().batch_execute("set constraints all immediate").await?;
        Ok(Vec::new())
    }

    /// Locks the keys of units in order. A unit whose key the server refuses is left out.
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

/// The time at which the server checks deferred constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checks {
    /// At the commit, with all authors at once: the fewest statements.
    AtCommit,
    /// After each part, so that a refused row can be found by halving.
    OfEachPart,
}

/// Units with locked keys.
struct LockedUnits {
    units: Vec<Unit>,
    /// The keys that existed before.
    known: BTreeSet<PostKey>,
    /// True if all of the keys are in the staging table.
    is_staged: bool,
}

fn commit_failed(cause: std::io::Error) -> Failure {
    Failure::Own(Error::transient("can't commit").because(cause))
}

/// Returns the row of a part with only one.
fn single(part: &[Unit]) -> Option<usize> {
    match part {
        [unit] => match unit[..] {
            [position] => Some(position),
            _ => None,
        },
        _ => None,
    }
}

/// Splits a part; the first of the new parts is the last in the list. If the post of the bad row is
/// known, the post becomes a part of its own between those before and after it; otherwise the part
/// is halved.
fn split(mut part: Vec<Unit>, rows: &[WarehouseRow], bad: Option<&PostKey>) -> Vec<Vec<Unit>> {
    if part.len() == 1 {
        // The versions of one post become parts of their own.
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

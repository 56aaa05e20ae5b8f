//! The ledger of loaded segments, which recognises repeated loads, and the history of loads.

use std::collections::BTreeMap;

use super::failure::Done;
use super::load::{LoadRows, Loaded};
use super::months::Micros;
use super::session::Session;
use super::storable::storable_text;
use super::wire::WireTime;
use crate::error::Result;

/// The number of days that the history of loads is kept. The history has one row for each minute
/// and source.
const HISTORY_DAYS: i32 = 30;

/// A row, identified by its segment and its number in the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPosition {
    /// The position of the segment among those that are loaded together.
    pub segment: usize,
    /// The row's number.
    pub number: usize,
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPosition {
    /// The row.
    pub at: RowPosition,
    /// The reason for the refusal.
    pub error: String,
}

/// The record that a load writes of itself.
#[derive(Clone, Debug)]
pub enum Ledger {
    /// The segments that are loaded, each of which is loaded only once.
    Segments(Vec<String>),
    /// A source in the history: a load that may be repeated needs no other record.
    History(String),
}

/// The outcome of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLoad {
    /// The refused rows, which are the same at each repetition.
    pub refused: Vec<RefusedRowNumber>,
    /// The time at which the segment was loaded for the first time.
    pub loaded_at: Micros,
}

/// A refused row of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRowNumber {
    /// The row's number in the segment.
    pub number: usize,
    /// The reason for the refusal.
    pub error: String,
}

impl Session {
    /// Loads segments in one transaction, except those that the ledger has; `read` gets the rows of
    /// the segments at the given positions. Returns the outcome of each. Blocks.
    ///
    /// # Errors
    /// If the server doesn't accept the load now, or its outcome is unknown (transient), or if
    /// `read` fails.
    pub fn load_segments(
        &mut self,
        segments: &[String],
        mut read: impl FnMut(&[usize]) -> Result<LoadRows>,
    ) -> Done<Vec<SegmentLoad>> {
        loop {
            let known = self.wait(self.known_segments(segments))?;
            let missing: Vec<usize> =
                (0..segments.len()).filter(|at| !known.contains_key(&segments[*at])).collect();
            if missing.is_empty() {
                return Ok(segments.iter().filter_map(|name| known.get(name).cloned()).collect());
            }
            let rows = read(&missing)?;
            let mut names: Vec<_> = missing.iter().map(|at| segments[*at].clone()).collect();
            names.sort();
            // If another session loads one of the segments at the same time, nothing is loaded
            // here, and the ledger is asked again.
            self.load(&rows, &Ledger::Segments(names))?;
        }
    }

    /// Returns the ledger's entries for segments.
    async fn known_segments(&self, segments: &[String]) -> Done<BTreeMap<String, SegmentLoad>> {
        let loaded = "select segment, loaded_at, refused from loads where segment = any($1)";
        let mut known = BTreeMap::new();
        let mut refused = Vec::new();
        for row in self.client().query(loaded, &[&segments]).await? {
            let segment: String = row.get(0);
            if row.get::<_, i64>(2) > 0 {
                refused.push(segment.clone());
            }
            let loaded_at = row.get::<_, WireTime>(1).0;
            known.insert(segment, SegmentLoad { refused: Vec::new(), loaded_at });
        }
        if refused.is_empty() {
            return Ok(known);
        }
        let rows =
            "select segment, row, error from refused_rows where segment = any($1) order by row";
        for row in self.client().query(rows, &[&refused]).await? {
            let number = usize::try_from(row.get::<_, i32>(1)).unwrap_or_default();
            if let Some(load) = known.get_mut(row.get::<_, &str>(0)) {
                load.refused.push(RefusedRowNumber { number, error: row.get(2) });
            }
        }
        Ok(known)
    }

    /// Inserts the segments into the ledger; returns false if any of them is there.
    pub(super) async fn note_begun(&self, ledger: &Ledger) -> Done<bool> {
        let Ledger::Segments(segments) = ledger else { return Ok(true) };
        let begin = "insert into loads (segment) select unnest($1::text[]) on conflict do nothing";
        Ok(self.client().execute(begin, &[segments]).await? == segments.len() as u64)
    }

    /// Records the outcome of a load.
    pub(super) async fn note_done(
        &self,
        ledger: &Ledger,
        load: &LoadRows,
        loaded: &Loaded,
    ) -> Done<()> {
        let client = self.client();
        match ledger {
            Ledger::Segments(_) => {
                let (mut names, mut rows, mut refused) = (Vec::new(), Vec::new(), Vec::new());
                for (segment, name) in &load.segments {
                    let refused_of = loaded.refused.iter().filter(|row| row.at.segment == *segment);
                    let refused_of = refused_of.count();
                    let read = load.positions.iter().filter(|at| at.segment == *segment).count();
                    let refused_before =
                        load.refused.iter().filter(|row| row.at.segment == *segment).count();
                    names.push(name.as_str());
                    rows.push(count(read + refused_before - refused_of));
                    refused.push(count(refused_of));
                }
                let done = "update loads set rows = n.rows, refused = n.refused from \
                            unnest($1::text[], $2::bigint[], $3::bigint[]) as n(segment, rows, \
                            refused) \
                            where loads.segment = n.segment";
                client.execute(done, &[&names, &rows, &refused]).await?;
                self.note_refused(load, loaded).await
            }
            Ledger::History(source) => {
                let add = format!(
                    "insert into load_history as h (minute, source, loads, rows, refused, \
                        last_load) \
                     values (date_trunc('minute', now()), $1, 1, $2, $3, now()) {HISTORY_JOIN}"
                );
                let (rows, refused) = (count(loaded.rows), count(loaded.refused.len()));
                client.execute(&add, &[source, &rows, &refused]).await?;
                Ok(())
            }
        }
    }

    async fn note_refused(&self, load: &LoadRows, loaded: &Loaded) -> Done<()> {
        if loaded.refused.is_empty() {
            return Ok(());
        }
        let (mut names, mut numbers, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for row in &loaded.refused {
            let Some(name) = load.segments.get(&row.at.segment) else { continue };
            names.push(name.as_str());
            numbers.push(i32::try_from(row.at.number).unwrap_or(i32::MAX));
            errors.push(storable_text(&row.error));
        }
        let errors: Vec<&str> = errors.iter().map(|error| &**error).collect();
        let add = "insert into refused_rows (segment, row, error) \
                   select * from unnest($1::text[], $2::integer[], $3::text[])";
        self.client().execute(add, &[&names, &numbers, &errors]).await?;
        Ok(())
    }

    /// Removes segments that are never loaded again from the ledger, and adds them to the history.
    /// May be repeated. Blocks.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn forget(&self, segments: &[String]) -> Result<()> {
        self.forget_where("segment = any($1)", segments)
    }

    /// Removes all segments of a task that no longer exists, except those that may be loaded again.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn forget_task(&self, prefix: &str, but: &[String]) -> Result<()> {
        let prefix = prefix.replace('\'', "''");
        let condition = format!("starts_with(segment, '{prefix}') and segment <> all($1)");
        self.forget_where(&condition, but)
    }

    fn forget_where(&self, condition: &str, segments: &[String]) -> Result<()> {
        // A source is a task of a run, `<run>/<component>-<task>`; the run is left out.
        let forget = format!(
            "with gone as (delete from loads where {condition} returning *) \
             insert into load_history as h (minute, source, loads, rows, refused, last_load) \
             select date_trunc('minute', loaded_at), split_part(segment, '/', 2), count(*), \
             sum(rows)::bigint, sum(refused)::bigint, max(loaded_at) \
             from gone group by 1, 2 order by 1, 2 {HISTORY_JOIN}"
        );
        let done = self.wait(async { Ok(self.client().execute(&forget, &[&segments]).await?) });
        done.map(drop).map_err(|failure| failure.transient("can't forget loaded segments"))
    }

    /// Deletes expired rows of the history.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn prune_history(&self) -> Result<()> {
        let prune = "delete from load_history where minute < now() - make_interval(days => $1)";
        let done = self.wait(async { Ok(self.client().execute(prune, &[&HISTORY_DAYS]).await?) });
        done.map(drop).map_err(|failure| failure.transient("can't prune the history of loads"))
    }
}

const HISTORY_JOIN: &str = "\
on conflict (minute, source) do update set loads = h.loads + excluded.loads, \
rows = h.rows + excluded.rows, refused = h.refused + excluded.refused, \
last_load = greatest(h.last_load, excluded.last_load)";

/// Converts a count to the server's type.
fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

//! One load: segments that are written to the warehouse in one transaction, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use super::super::failure::{Done, Failure};
use super::super::ledger::{RefusedPosition, SegmentLoad};
use super::super::load::LoadRows;
use super::super::months::Micros;
use super::encode::encode;
use super::files::{LoadFiles, TableFile, folder_of};
use super::session::{RedshiftSession, number};
use super::statements::{self, LOCK_LOADS, LedgerRow, RefusedLedgerRow};
use super::tables::StagedTable;
use crate::error::{Error, Result};
use crate::fault;

/// The number of refused rows that one statement records. More might exceed the longest statement
/// that the server accepts, 16 MiB.
const NOTED_ROWS_MAX: usize = 1_000;

/// The refused rows of a load by their positions, each with the reason.
#[derive(Default)]
pub(super) struct RefusedSoFar(pub BTreeMap<usize, String>);

impl RefusedSoFar {
    fn positions(&self, load: &LoadRows) -> Vec<usize> {
        (0..load.rows.len()).filter(|position| !self.0.contains_key(position)).collect()
    }

    /// Returns all refused rows in order, including those that couldn't be read.
    fn all(&self, load: &LoadRows) -> Vec<RefusedPosition> {
        let mut all = load.refused.clone();
        for (position, error) in &self.0 {
            all.push(RefusedPosition { at: load.positions[*position], error: error.clone() });
        }
        all.sort_by_key(|refused| refused.at);
        all
    }
}

impl RedshiftSession {
    /// Loads segments in one transaction, except those that the ledger has; `read` gets the rows of
    /// the segments at the given positions. Returns the outcome of each. Blocks.
    ///
    /// # Errors
    /// If the server or the bucket doesn't accept the load now, or the outcome is unknown
    /// (transient), or if `read` fails.
    pub fn load_segments(
        &self,
        segments: &[String],
        files: &LoadFiles,
        now: Micros,
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
            // If another session loads one of the segments at the same time, nothing is loaded
            // here, and the ledger is asked again.
            self.load(&rows, files, now)?;
        }
    }

    fn load(&self, load: &LoadRows, files: &LoadFiles, now: Micros) -> Done<()> {
        let mut names: Vec<String> = load.segments.values().cloned().collect();
        names.sort();
        let folder = folder_of(&names);
        let mut refused = RefusedSoFar::default();
        loop {
            let positions = refused.positions(load);
            let put = files.put(&folder, encode(load, &positions))?;
            let attempt = LoadAttempt { load, names: &names, files: &put, refused: &refused, now };
            match self.wait(self.load_in_transaction(&attempt)) {
                Ok(()) => return Ok(()),
                Err(Failure::Row { text, .. }) => {
                    let found = self.find_refused(load, &put, files, &folder)?;
                    if found.is_empty() {
                        return Err(Failure::Own(Error::transient(format!(
                            "a COPY is refused, and no row is found to be the reason: {text}"
                        ))));
                    }
                    refused.0.extend(found);
                }
                Err(other) => return Err(other),
            }
        }
    }

    async fn load_in_transaction(&self, attempt: &LoadAttempt<'_>) -> Done<()> {
        self.run("begin").await?;
        let written = self.write(attempt).await;
        if matches!(written, Ok(false)) {
            return self.run("rollback").await;
        }
        if written.is_ok() {
            fault::point("redshift.commit").map_err(commit_failed)?;
        }
        self.end_transaction(written).await?;
        fault::point("redshift.committed").map_err(commit_failed)
    }

    /// Writes all rows; returns false if the ledger has any of the segments.
    async fn write(&self, attempt: &LoadAttempt<'_>) -> Done<bool> {
        self.run(LOCK_LOADS).await?;
        let known = number(&self.ask(&statements::count_known(attempt.names)).await?);
        if known != Some(0) {
            return Ok(false);
        }
        self.stage_files(attempt.files).await?;
        let tables: BTreeSet<StagedTable> = attempt.files.iter().map(|file| file.table).collect();
        let has = |table: StagedTable| tables.contains(&table);
        if has(StagedTable::Deletions) {
            self.run_all(&statements::add_deletions()).await?;
        }
        if has(StagedTable::Posts) {
            self.run_all(&statements::clear_staged()).await?;
            self.run_all(&statements::resolve_posts()).await?;
            self.run_all(&statements::replace_satellites()).await?;
            self.run(&statements::merge_posts(attempt.now)).await?;
        }
        if has(StagedTable::Engagement) {
            self.run(&statements::add_engagement()).await?;
        }
        if has(StagedTable::Deletions) {
            self.run_all(&statements::clear_known()).await?;
        }
        if has(StagedTable::Authors) {
            self.run_all(&statements::add_authors()).await?;
        }
        if has(StagedTable::Gaps) {
            self.run_all(&statements::add_gaps()).await?;
        }
        if has(StagedTable::Trends) {
            self.run(&statements::add_trends()).await?;
        }
        self.note(attempt).await?;
        Ok(true)
    }

    /// Creates the temporary tables, and copies the files into them.
    async fn stage_files(&self, files: &[TableFile]) -> Done<()> {
        self.run_all(&statements::stage()).await?;
        for file in files {
            let copy = statements::copy(file.table, &file.manifest, self.copy_options());
            self.run(&copy).await?;
        }
        Ok(())
    }

    /// Records the outcome of the load.
    async fn note(&self, attempt: &LoadAttempt<'_>) -> Done<()> {
        let load = attempt.load;
        let refused = attempt.refused.all(load);
        let (mut loads, mut rows) = (Vec::new(), Vec::new());
        for (segment, name) in &load.segments {
            let of_segment = refused.iter().filter(|row| row.at.segment == *segment);
            let refused_of = of_segment.count();
            let read = load.positions.iter().filter(|at| at.segment == *segment).count();
            let unread = load.refused.iter().filter(|row| row.at.segment == *segment).count();
            let written = read + unread - refused_of;
            loads.push(LedgerRow { segment: name, rows: written, refused: refused_of });
        }
        for row in &refused {
            let Some(segment) = load.segments.get(&row.at.segment) else { continue };
            rows.push(RefusedLedgerRow { segment, number: row.at.number, error: &row.error });
        }
        self.run(&statements::note_loads(&loads, attempt.now)).await?;
        for some in rows.chunks(NOTED_ROWS_MAX) {
            self.run(&statements::note_refused(some)).await?;
        }
        Ok(())
    }
}

/// One attempt at a load.
struct LoadAttempt<'a> {
    load: &'a LoadRows,
    /// The names of the segments, in order.
    names: &'a [String],
    files: &'a [TableFile],
    refused: &'a RefusedSoFar,
    now: Micros,
}

fn commit_failed(cause: std::io::Error) -> Failure {
    Failure::Own(Error::transient("can't commit").because(cause))
}

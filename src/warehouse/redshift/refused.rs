//! The rows that a COPY refuses: the server records them in its own tables, with file and line. If
//! those tables have no entry, the rows are found by halving.

use std::collections::BTreeMap;

use super::super::failure::{Done, Failure};
use super::super::load::LoadRows;
use super::encode::encode;
use super::files::{LoadFiles, TableFile};
use super::session::{RedshiftSession, whole};
use super::statements;

/// The largest value that the server accepts, so that all refused rows are found at once.
const ERRORS_MAX: u32 = 100_000;

/// Refused rows by their positions, each with the reason.
type RefusedRows = BTreeMap<usize, String>;

impl RedshiftSession {
    /// The rows of a load whose lines the server refuses.
    pub(super) fn find_refused(
        &self,
        load: &LoadRows,
        put: &[TableFile],
        files: &LoadFiles,
        folder: &str,
    ) -> Done<RefusedRows> {
        let noted = self.wait(self.noted_as_refused(put))?;
        if !noted.is_empty() {
            return Ok(noted);
        }
        let mut positions: Vec<usize> = Vec::new();
        for file in put {
            positions.extend(file.rows.iter().flatten());
        }
        positions.sort_unstable();
        positions.dedup();
        self.find_by_halving(load, positions, files, folder)
    }

    async fn noted_as_refused(&self, put: &[TableFile]) -> Done<RefusedRows> {
        match self.try_files(put, ERRORS_MAX).await {
            // The server counts fewer lines than it refuses: the recorded ones are a beginning.
            Ok(()) | Err(Failure::Row { .. }) => {}
            Err(other) => return Err(other),
        }
        let mut refused = RefusedRows::new();
        for file in put {
            // A user without access to the server's records finds the rows by halving.
            let Ok(noted) = self.ask(&statements::refused_lines(&file.address)).await else {
                break;
            };
            for row in noted {
                let line = usize::try_from(whole(&row, 0)).unwrap_or_default();
                let Some(rows) = line.checked_sub(1).and_then(|at| file.rows.get(at)) else {
                    continue;
                };
                let column = row.get(1).unwrap_or_default();
                let error = row.get(2).unwrap_or_default();
                for position in rows {
                    refused.entry(*position).or_insert_with(|| format!("{column}: {error}"));
                }
            }
        }
        Ok(refused)
    }

    /// Parses files as a COPY would, and loads nothing.
    async fn try_files(&self, put: &[TableFile], errors_max: u32) -> Done<()> {
        self.run("begin").await?;
        let tried = self.try_files_staged(put, errors_max).await;
        if let Err(failure) = tried {
            let _ = self.run("rollback").await;
            return Err(failure);
        }
        self.run("rollback").await
    }

    async fn try_files_staged(&self, put: &[TableFile], errors_max: u32) -> Done<()> {
        self.run_all(&statements::stage()).await?;
        let options = self.copy_options();
        for file in put {
            let copy = statements::copy_noload(file.table, &file.manifest, options, errors_max);
            self.run(&copy).await?;
        }
        Ok(())
    }

    fn find_by_halving(
        &self,
        load: &LoadRows,
        positions: Vec<usize>,
        files: &LoadFiles,
        folder: &str,
    ) -> Done<RefusedRows> {
        let mut refused = RefusedRows::new();
        let mut parts = vec![positions];
        while let Some(mut part) = parts.pop().filter(|part| !part.is_empty()) {
            let put = files.put(folder, encode(load, &part))?;
            match self.wait(self.try_files(&put, 0)) {
                Ok(()) => {}
                Err(Failure::Row { text, .. }) => match part[..] {
                    [position] => {
                        refused.insert(position, text);
                    }
                    _ => {
                        let behind = part.split_off(part.len() / 2);
                        parts.extend([behind, part]);
                    }
                },
                Err(other) => return Err(other),
            }
        }
        Ok(refused)
    }
}

//! The warehouse in Amazon Redshift, loaded from files in S3.
//!
//! ```text
//! segments ─▶ rows ─▶ files and manifests in S3 ─▶ begin, lock loads ─▶ COPY into staged tables
//!                                                     ─▶ resolve ─▶ MERGE ─▶ ledger ─▶ commit
//! ```
//!
//! Redshift has neither row locks nor unique keys nor savepoints. Writers therefore take turns by a
//! lock on the ledger, the staged rows are first merged with the stored ones, and a row that COPY
//! refuses is found by another COPY that loads nothing. All statements use the simple protocol, as
//! text: they are listed in [`statements`].
//!
//! None of this has run on a real Redshift. The tests in `tests/warehouse/redshift.rs` run it
//! against a stand-in that has PostgreSQL execute the statements, and have another parser read each
//! of them.

mod encode;
mod files;
mod load;
mod meaning;
mod refused;
mod session;
mod sql;
pub mod statements;
mod tables;

pub use files::LoadFiles;
pub use session::{CopyAccess, RedshiftSession, check_iam_role, redshift_address};

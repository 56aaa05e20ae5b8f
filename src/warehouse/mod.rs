//! The warehouse: tables of posts in a database for notebooks, and the code that loads rows into
//! them.
//!
//! ```text
//! tuples of Features ─▶ row ─▶ units, sorted by key ─▶ load: ledger, keys, posts, satellites ─▶ COMMIT
//!                                                        │ a bad row
//!                                                        └▶ refused, and the rest is written
//! ```
//!
//! The schema is one SQL file for each version. [`row`] reads the content of a row, for any
//! database; [`load`] sends rows to PostgreSQL. All calls wait for a server, on a plain thread,
//! since a [`session`] has a runtime of its own.

pub mod address;
pub mod back_fill;
mod columns;
mod copy;
mod deletion;
mod encode;
pub mod failure;
pub mod input;
pub mod ledger;
pub mod load;
pub mod months;
pub mod redshift;
mod retention;
pub mod row;
mod satellites;
pub mod schema;
pub mod session;
mod standing;
mod statements;
pub mod status;
mod storable;
mod tls;
pub mod trend;
mod units;
mod wire;
mod write;

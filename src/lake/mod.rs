//! The lake: folders named after the boundary of time that they begin at, holding numbered files,
//! each one JSON array of posts on one line, or whatever else its extension says ([`form`]).
//!
//! ```text
//! <root>/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000
//!                                                                 0000001
//! <root>/_staging/<run>/<sink>-<task>/<partition>/<number>      what isn't visible yet
//! ```
//!
//! A file is written in the staging folder ([`micro_batch`]), synced and promised at barriers
//! ([`staging`]), and renamed into its partition when the checkpoint that promised it is complete
//! ([`publish`]). Whatever a crash left behind is closed by [`recover`]. An [`index`] beside the
//! data says what is in it; [`tools`] list, check, compact and erase it in any [`store`], and a
//! [`journal`] says which partitions count meanwhile. Whoever reads lists them by [`listing`];
//! [`replaced`] keeps a note on each partition that another took the place of, and [`lineage`]
//! finds its posts. Nothing in here knows the engine: `sink/local.rs` and `spout/replay.rs` put it
//! behind the traits of the components.

pub mod address;
pub mod backlog;
pub mod closing;
pub mod columns;
pub mod disk;
pub mod form;
pub mod index;
pub mod indexing;
pub mod inside;
pub mod journal;
pub mod left;
pub mod lineage;
pub mod listing;
pub mod micro_batch;
pub mod names;
pub mod pack;
pub mod parallel;
pub mod publish;
pub mod reader;
pub mod recover;
pub mod replaced;
pub mod replay;
pub mod room;
pub mod root;
pub mod scan;
pub mod split;
pub mod staging;
pub mod store;
pub mod temporary;
pub mod tools;
pub mod unpack;
pub mod upload;
pub mod view;
pub mod writer;
pub mod writers;

pub use replay::replay;

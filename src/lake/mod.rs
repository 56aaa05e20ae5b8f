//! The lake: folders named after the time boundary at which they begin. They hold numbered files,
//! each of them a JSON array of posts on one line, or another form that its extension names
//! ([`form`]).
//!
//! ```text
//! <root>/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000
//!                                                                 0000001
//! <root>/_staging/<run>/<sink>-<task>/<partition>/<number>      what isn't visible yet
//! ```
//!
//! A file is written in the staging folder ([`micro_batch`]), synced and promised at barriers
//! ([`staging`]), and renamed into its partition when the checkpoint that promised it is complete
//! ([`publish`]). [`recover`] closes the files that a crash left open. An [`index`] beside the data
//! describes it; [`tools`] list, check, compact and erase it in any [`store`], and a [`journal`]
//! says which partitions count while they work. All readers list partitions with [`listing`];
//! [`replaced`] keeps a note on each partition that another one replaced, and [`lineage`] finds its
//! posts. The lake doesn't depend on the engine: `sink/local.rs` and `spout/replay.rs` implement
//! the traits of the components with it.

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

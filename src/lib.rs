//! Waterspout runs stream topologies: spouts take posts from outside, bolts work on them, sinks
//! write them, and checkpoints make each post count once. The modules stand in the order in which
//! the data flows; ARCHITECTURE.md draws the whole.

pub mod clock;
pub mod detached;
pub mod error;
pub mod event_time;
pub mod fault;
pub mod globs;
pub mod moment;
pub mod net;
pub mod panics;
pub mod printable;
pub mod secret;
pub mod units;

pub mod post;
pub mod tuple;
pub mod value;

pub mod bolt;
pub mod lake;
pub mod registry;
pub mod sink;
pub mod social;
pub mod spout;
pub mod topology;

pub mod checkpoint;
pub mod coordinator;
pub mod engine;
pub mod metrics;
pub mod spool;

pub mod cli;

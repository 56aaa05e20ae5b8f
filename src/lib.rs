//! Waterspout runs stream topologies: spouts take posts from outside, bolts work on them, sinks
//! write them, and checkpoints make each post count once. ARCHITECTURE.md describes all of it.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::unwrap_used,
        reason = "a test may fail, and waits for real threads"
    )
)]

// The floors of the architecture, from the ground up: a module imports only from floors above its
// own in this file. tests/house.rs has the order within a floor, and checks all of it.

// The ground.
pub mod clock;
pub mod detached;
pub mod error;
pub mod event_time;
pub mod fault;
pub mod globs;
pub mod log_level;
pub mod moment;
pub mod net;
pub mod panics;
pub mod printable;
pub mod progress;
pub mod secret;
pub mod units;

// The data that flows.
mod features;
pub mod keys;
pub mod post;
pub mod tuple;
pub mod value;

// The contracts, and the messages between tasks and the coordinator.
pub mod component;
pub mod dead_letter;
pub mod epoch;
pub mod metrics;
pub mod protocol;

// Data on a disk or in a bucket.
pub mod checkpoint;
pub mod gaps;
pub mod lake;
pub mod spool;

// The tables of posts in a database.
pub mod warehouse;

// The data plane.
pub mod flow;

// The components.
pub mod bolt;
pub mod shell;
pub mod sink;
pub mod social;
pub mod spout;

// The definition of a topology.
pub mod registry;
pub mod topology;

// The execution of a topology.
pub mod coordinator;
pub mod engine;

// The one list of components.
pub mod components;

// Conversion of topologies from and to Storm.
pub mod storm;

// The view that all watchers share.
pub mod watch;

// Requests to a running topology.
pub mod control;

// Several topologies in one place.
pub mod server;

// The interfaces for users.
pub mod cli;

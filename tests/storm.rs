//! Components in other languages, and topologies on a real Storm.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "support/mod.rs"]
mod support;

#[path = "storm/children.rs"]
mod children;
#[path = "storm/cluster.rs"]
mod cluster;
#[path = "storm/export.rs"]
mod export;
#[path = "storm/local.rs"]
mod local;
#[path = "storm/project.rs"]
mod project;
#[path = "storm/protocol.rs"]
mod protocol;
#[path = "storm/pystorm.rs"]
mod pystorm;
#[path = "storm/sinks.rs"]
mod sinks;

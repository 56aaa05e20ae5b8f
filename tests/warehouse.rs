//! The warehouse in a real PostgreSQL (`support/postgres_server.rs`): what is in the tables is asked
//! by psql, and held against what the lake has.
//!
//! `WATERSPOUT_LONG=1` makes as many kills and restarts as the issues name; `WATERSPOUT_SEED=n`
//! begins with that seed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

#[path = "warehouse/capture.rs"]
mod capture;
#[path = "warehouse/network.rs"]
mod network;
#[path = "warehouse/notebooks.rs"]
mod notebooks;
#[path = "warehouse/outages.rs"]
mod outages;
#[path = "warehouse/postgres_proxy.rs"]
mod postgres_proxy;
#[path = "warehouse/redshift.rs"]
mod redshift;
#[path = "warehouse/rows.rs"]
mod rows;
#[path = "warehouse/runs.rs"]
mod runs;
#[path = "warehouse/trends.rs"]
mod trends;
#[path = "warehouse/tuples.rs"]
mod tuples;
#[path = "warehouse/upkeep.rs"]
mod upkeep;

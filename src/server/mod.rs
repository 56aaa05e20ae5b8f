//! Many topologies in one place: people submit topology files, and the server keeps them running.
//!
//! ```text
//!  HTTP ─▶ api ─▶ Fleet ─▶ Keeper ── starts, restarts ──▶ `waterspout run` (one process each)
//!                   │         └─ Record (durable)             ▲
//!                   └────────── control socket ───────────────┘
//! ```
//!
//! Each topology runs in a process of its own, the same program's `run`, with a state folder inside
//! the server's. So a panic, a hang or an exhausted memory of one topology harms no other, and
//! kill -9 of the server is a kill -9 of each topology, which loses nothing.

mod api;
mod auth;
mod confine;
mod fleet;
mod history;
mod keeper;
mod lakes;
mod log_book;
mod options;
mod page;
mod places;
mod record;
mod samples;
mod serve;
mod shown;
mod tls;

pub use api::{
    Accepted, DiffRow, Logs, Problem, ProblemPlace, Rebalance, Rebalanced, Submission, TaskChange,
    TopologyDetail, TopologyList, Verdict,
};
pub use auth::TOKEN_FILE;
pub use confine::Allowed;
pub use log_book::LogLine;
pub use options::{Limits, ServerOptions, TlsFiles};
pub use places::default_folder;
pub use serve::{Ended, serve};
pub use shown::{State, TopologySummary};

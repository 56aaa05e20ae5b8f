//! The parts that the five social sources share: everything between a platform's protocol and the
//! topology.
//!
//! ```text
//!  network ─▶ Source (one per platform) ─ offer ─▶ Feed ─ append ─▶ spool ─▶ CaptureSpout ─▶ streams
//!             connects, keeps alive,               topics, dedup,   this      routes, tags,
//!             backs off, fills gaps                budget, gaps     disk      emits
//! ```
//!
//! A platform is one folder here: its configuration ([`Platform`]) and its protocol ([`Source`]),
//! written as a loop over the network that hands posts to its [`Feed`]. The loop runs on a separate
//! thread, the *capture*, which outlives a task that is started again: a roll-back loses no
//! connection and no post. One file in `post/kinds` reads the content of the platform's posts.
//!
//! All facts of a post that the topology needs later (its stream, its topics, its identity) are
//! computed from the post alone, so that a replay finds the same.

pub mod bluesky;
pub mod facebook;
pub mod mastodon;
pub mod x;
pub mod youtube;

mod address;
mod ask;
mod backoff;
mod budget;
mod capture;
mod common;
mod facts;
mod feed;
mod identity;
mod left_out;
mod offered;
mod platform;
mod poll;
mod quota;
mod rate;
mod refresh;
mod refused;
mod route;
mod runtime;
mod schedule;
mod seen;
mod tail;
mod task;
pub mod temporary;
mod topics;
mod troubles;
mod versions;
mod wrap;
mod ws;

pub use self::address::address_problem;
pub use self::ask::{Asking, Unanswered, Verdict, Waits, wait_while_blocked};
pub use self::backoff::Backoff;
pub use self::budget::Budget;
pub use self::common::Common;
pub use self::facts::RULES_BY_US;
pub use self::feed::Feed;
pub use self::offered::Offered;
pub use self::platform::{Platform, Refresher, Source};
pub use self::poll::{Plan, Refusals, begin, newest};
pub use self::quota::Quota;
pub use self::topics::{Term, Topic, Topics};
pub use self::wrap::{delete, delete_on, is_whole, post, stamp};
pub use self::ws::{Message, Refused, Socket};
pub use crate::net::http::{Body, Failure, Http, Reply, pairs_of};

#[cfg(test)]
pub(crate) mod tests;

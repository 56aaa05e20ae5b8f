//! The server, its API and the commands that talk to it, from outside.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "server/access.rs"]
mod access;
#[path = "server/browser.rs"]
mod browser;
#[path = "server/conformance.rs"]
mod conformance;
#[path = "server/crashes.rs"]
mod crashes;
#[path = "server/inputs.rs"]
mod inputs;
#[path = "server/operations.rs"]
mod operations;
#[path = "server/page.rs"]
mod page;
#[path = "server/slow_readers.rs"]
mod slow_readers;
mod support;
#[path = "server/tls.rs"]
mod tls;
#[path = "server/watching.rs"]
mod watching;
#[path = "server/world.rs"]
mod world;

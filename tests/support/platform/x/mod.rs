//! X's API v2: the filtered stream, its rules, recent search and lookups.

mod rules;
mod search;
mod shape;
mod stream;

pub(crate) use rules::{Rules, change_rules, rules};
pub(crate) use search::{lookup, not_found, recent, unite};
pub(crate) use stream::{Streams, begin, connections};

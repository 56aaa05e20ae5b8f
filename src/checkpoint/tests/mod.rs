//! Tests the contract of a store, for every implementation.

pub(crate) mod conformance;
pub(crate) mod contents;
mod model;

//! Tests the contract of a store, for every implementation.

pub mod conformance;
pub mod contents;
mod model;

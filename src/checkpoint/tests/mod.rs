//! What every store has to do, whatever it keeps its content in.

pub mod conformance;
pub mod contents;
mod model;

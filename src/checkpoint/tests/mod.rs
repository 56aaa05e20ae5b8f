//! What every store has to do, whatever it keeps its content in.

mod conformance;
pub mod contents;
mod model;
mod power;

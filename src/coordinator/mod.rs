//! WHEN things happen: a pure state machine, and the thin actor around it.

mod actor;
mod machine;
#[cfg(test)]
mod tests;

pub use actor::{Begin, ControlStatus, CoordinatorActor, Stop, TaskLine};
pub use machine::{Action, Event, Machine, Policy, TaskRole};

//! Decides when things happen (WHEN): a pure state machine, and the actor around it.

mod actor;
mod boundary;
mod delivery;
mod event;
mod machine;
mod saver;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use actor::{
    Begin, ControlStatus, CoordinatorActor, DrainWithin, Rebalance, SetInactive, Stop, TaskLine,
};
pub use boundary::says_ahead;
pub use event::{Action, Event, Outcome};
pub use machine::{Machine, Outbox, Policy, Resumed, TaskRole};

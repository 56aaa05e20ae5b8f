//! The messages between tasks and the coordinator, and those of both to watchers.

mod alive;
mod control;
pub mod log;
mod messages;
mod metering;
mod report;

pub use alive::{Alive, Census, Ending, RunLife, RunWatch};
pub use control::Control;
pub use messages::{Message, Messages, Voice};
pub use metering::{Doing, Meter};
pub use report::{FromTask, Report, Reporter};

//! What tasks and the coordinator tell each other, and what both tell whoever watches.

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

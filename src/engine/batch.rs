//! What goes through a channel: batches of tuples, and barriers between them.

use std::sync::Arc;

use crate::event_time::{EventTime, Watermark};
use crate::sink::Barrier;
use crate::value::Value;

/// The tuples that one task sends another in one go: a matter of speed only, never of meaning. The
/// values of all tuples stand one after the other, so that a tuple needs no allocation of its own.
#[derive(Debug, Default)]
pub struct Batch {
    /// The values of the first tuple, of the second …
    pub values: Vec<Value>,
    /// How many tuples there are.
    pub tuples: usize,
    /// What the values weigh, in bytes; see [`Value::weight`].
    pub bytes: usize,
    /// The event time of each tuple; empty where no bolt of the topology asks for it.
    pub times: Vec<EventTime>,
}

/// The marker that flows with the data and divides one epoch from the next.
#[derive(Debug, PartialEq, Eq)]
pub struct Mark {
    /// What sinks are told.
    pub barrier: Barrier,
    /// All sources have ended: windows emit what they hold before they pass this on.
    pub finish: bool,
}

/// One thing in a channel.
#[derive(Debug)]
pub enum Item {
    /// Tuples.
    Batch(Batch),
    /// How far event time has come.
    Watermark(Watermark),
    /// The end of an epoch.
    Mark(Arc<Mark>),
}

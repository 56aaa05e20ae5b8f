//! The items that go through a channel: batches of tuples, and barriers between them.

use std::sync::Arc;

use crate::epoch::Mark;
use crate::event_time::{EventTime, Watermark};
use crate::value::Value;

/// The tuples that one task sends to another at once. Batches affect only speed, never results. The
/// values of all tuples are stored one after the other, so that a tuple needs no allocation of its
/// own.
#[derive(Debug, Default)]
pub struct Batch {
    /// The values of the first tuple, then of the second, and so on.
    pub values: Vec<Value>,
    /// The number of tuples.
    pub tuples: usize,
    /// The weight of the values in bytes; see [`Value::weight`].
    pub bytes: usize,
    /// The event time of each tuple; empty if no bolt of the topology uses event time.
    pub times: Vec<EventTime>,
}

/// An item in a channel.
#[derive(Debug)]
pub enum Item {
    /// Tuples.
    Batch(Batch),
    /// The event time that the sender has reached.
    Watermark(Watermark),
    /// The end of an epoch.
    Mark(Arc<Mark>),
}

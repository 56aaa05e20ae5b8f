//! Receives a task's tuples: takes the channels in turn, aligns barriers, and computes the event
//! time over all channels.

use std::sync::Arc;

use crate::epoch::Mark;
use crate::event_time::{EventTime, Watermark};
use crate::flow::{Batch, EdgeReceiver, InputClock, Item};

struct Channel {
    edge: EdgeReceiver,
    /// The position of the input among the bolt's inputs.
    input: usize,
    /// True if the channel's barrier has come and others are missing. The channel isn't read until
    /// they have come.
    held: bool,
}

/// The inputs of a task.
pub struct Inbox {
    channels: Vec<Channel>,
    next: usize,
    held: usize,
    mark: Option<Arc<Mark>>,
    clock: InputClock,
}

/// A result of [`Inbox::receive`].
pub enum Received {
    /// Tuples of an input.
    Batch {
        /// The position of the input.
        input: usize,
        /// The tuples.
        batch: Batch,
    },
    /// The event time over all channels has advanced, or all channels are idle.
    Watermark(Watermark),
    /// The same barrier has come from all inputs, so everything before it was received.
    Aligned(Arc<Mark>),
    /// Nothing at the moment.
    Empty,
}

impl Inbox {
    /// Creates an inbox without channels, whose event time had reached `time` in an earlier run.
    pub fn new(time: EventTime) -> Self {
        let clock = InputClock::new(time);
        Self { channels: Vec::new(), next: 0, held: 0, mark: None, clock }
    }

    /// Adds a channel of an input.
    pub fn add(&mut self, input: usize, edge: EdgeReceiver) {
        self.channels.push(Channel { edge, input, held: false });
        self.clock.add_channel();
    }

    /// Returns the next item to process, from the channels in turn.
    pub fn receive(&mut self) -> Received {
        if let Some(watermark) = self.clock.take_restored() {
            return Received::Watermark(watermark);
        }
        let count = self.channels.len();
        for _ in 0..count {
            let index = self.next;
            self.next = if index + 1 >= count { 0 } else { index + 1 };
            let channel = &mut self.channels[index];
            if channel.held {
                continue;
            }
            match channel.edge.receive() {
                None => {}
                Some(Item::Batch(batch)) => return Received::Batch { input: channel.input, batch },
                Some(Item::Watermark(watermark)) => {
                    if let Some(watermark) = self.clock.receive(index, watermark) {
                        return Received::Watermark(watermark);
                    }
                }
                Some(Item::Mark(mark)) => {
                    channel.held = true;
                    if let Some(aligned) = self.hold(mark) {
                        return Received::Aligned(aligned);
                    }
                }
            }
        }
        Received::Empty
    }

    /// Returns true if [`receive`](Self::receive) would find nothing.
    pub fn is_empty(&self) -> bool {
        !self.clock.has_restored()
            && self.channels.iter().all(|channel| channel.held || channel.edge.is_empty())
    }

    /// Returns the fill level of the fullest channel, 0 to 1.
    pub fn fill(&self) -> f64 {
        self.channels.iter().map(|channel| channel.edge.fill()).fold(0.0, f64::max)
    }

    /// Returns the event time over all inputs.
    pub fn time(&self) -> EventTime {
        self.clock.time()
    }

    fn hold(&mut self, mark: Arc<Mark>) -> Option<Arc<Mark>> {
        let first = self.mark.get_or_insert(mark.clone());
        assert_eq!(
            first.barrier.epoch, mark.barrier.epoch,
            "one epoch at a time: the coordinator starts no second one"
        );
        self.held += 1;
        if self.held < self.channels.len() {
            return None;
        }
        self.held = 0;
        self.channels.iter_mut().for_each(|channel| channel.held = false);
        self.mark.take()
    }
}

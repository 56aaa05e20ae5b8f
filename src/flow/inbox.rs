//! Where a task's tuples come from: its channels in turn, the alignment of barriers, and event time
//! over all channels.

use std::sync::Arc;

use crate::epoch::Mark;
use crate::event_time::{EventTime, Watermark};
use crate::flow::{Batch, EdgeReceiver, Item};

struct Channel {
    edge: EdgeReceiver,
    /// The position of the input among the bolt's inputs.
    input: usize,
    /// Its barrier has come, and others' haven't: it isn't read until they have.
    held: bool,
    /// How far its sender's event time has come.
    watermark: Watermark,
}

/// All inputs of a task.
pub struct Inbox {
    channels: Vec<Channel>,
    next: usize,
    held: usize,
    mark: Option<Arc<Mark>>,
    /// How far event time has come over all channels, as it was last given; it never goes back.
    time: EventTime,
    given: Watermark,
    /// The time of an earlier run, until it was given.
    restored: Option<EventTime>,
}

/// What an inbox gives.
pub enum Received {
    /// Tuples of an input.
    Batch {
        /// The position of the input.
        input: usize,
        /// The tuples.
        batch: Batch,
    },
    /// Event time has come further over all channels, or all of them are idle.
    Watermark(Watermark),
    /// The same barrier from all inputs: everything before it was received.
    Aligned(Arc<Mark>),
    /// Nothing for now.
    Empty,
}

impl Inbox {
    /// An inbox without channels, whose event time has come to `time` in an earlier run.
    pub fn new(time: EventTime) -> Self {
        Self {
            channels: Vec::new(),
            next: 0,
            held: 0,
            mark: None,
            time,
            given: Watermark::At(time),
            restored: (time != EventTime::UNKNOWN).then_some(time),
        }
    }

    /// Adds a channel of an input.
    pub fn add(&mut self, input: usize, edge: EdgeReceiver) {
        let watermark = Watermark::At(EventTime::UNKNOWN);
        self.channels.push(Channel { edge, input, held: false, watermark });
    }

    /// The next thing to work on, from the channels in turn.
    pub fn receive(&mut self) -> Received {
        if let Some(time) = self.restored.take() {
            return Received::Watermark(Watermark::At(time));
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
                    channel.watermark = watermark;
                    if let Some(watermark) = self.advance() {
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

    /// Whether [`receive`](Self::receive) would find nothing.
    pub fn is_empty(&self) -> bool {
        self.restored.is_none()
            && self.channels.iter().all(|channel| channel.held || channel.edge.is_empty())
    }

    /// How full the fullest channel is, 0 to 1.
    pub fn fill(&self) -> f64 {
        self.channels.iter().map(|channel| channel.edge.fill()).fold(0.0, f64::max)
    }

    /// How far event time has come over all inputs.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// The least of all channels that aren't idle, if that says something new.
    fn advance(&mut self) -> Option<Watermark> {
        let mut least = Watermark::Idle;
        for channel in &self.channels {
            least = match (least, channel.watermark) {
                (Watermark::At(a), Watermark::At(b)) => Watermark::At(a.min(b)),
                (Watermark::Idle, other) | (other, Watermark::Idle) => other,
            };
        }
        if let Watermark::At(time) = least {
            self.time = self.time.max(time);
            least = Watermark::At(self.time);
        }
        let is_new = least != self.given;
        self.given = least;
        is_new.then_some(least)
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

//! The edge between two tasks: a bounded channel outside the actors, with a wake in each direction.

use std::sync::{Arc, OnceLock};

use actix::{Message, Recipient};
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use super::wake::Wake;
use crate::flow::{Item, Need};

/// Tells a task to check its channels again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WakeUp;

/// The handle by which other tasks wake a task.
pub struct TaskHandle {
    wake: Wake,
    mailbox: OnceLock<Recipient<WakeUp>>,
}

impl TaskHandle {
    /// Creates the handle of a task whose actor isn't started yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { wake: Wake::new(), mailbox: OnceLock::new() })
    }

    /// Sets the actor's mailbox. Only the first call has an effect.
    pub fn bind(&self, mailbox: Recipient<WakeUp>) {
        let _ = self.mailbox.set(mailbox);
    }

    /// Wakes the task if it sleeps for `what`, which was provided.
    pub fn provided(&self, what: Need) {
        if self.wake.claim(what)
            && let Some(mailbox) = self.mailbox.get()
        {
            mailbox.do_send(WakeUp);
        }
    }

    /// Marks the task as awake: it needs no wake until it sleeps again.
    pub fn is_awake(&self) {
        self.wake.take_back();
    }

    /// Lets the task sleep unless `found` finds the need met. Returns true if the task sleeps or a
    /// wake is on its way, false if the task should continue immediately.
    pub fn sleep_unless(&self, need: Need, found: impl FnOnce() -> bool) -> bool {
        self.wake.will_sleep(need);
        !(found() && self.wake.take_back())
    }
}

/// The sending end of an edge.
pub struct EdgeSender {
    channel: Sender<Item>,
    to: Arc<TaskHandle>,
    /// A sender that found the channel full continues when no more than this many items are left,
    /// so that two tasks on two cores hand over several batches for each wake.
    low: usize,
}

/// The receiving end of an edge.
pub struct EdgeReceiver {
    channel: Receiver<Item>,
    from: Arc<TaskHandle>,
    low: usize,
}

/// Creates an edge for `capacity` items between two tasks.
pub fn edge(
    capacity: usize,
    from: &Arc<TaskHandle>,
    to: &Arc<TaskHandle>,
) -> (EdgeSender, EdgeReceiver) {
    let (sender, receiver) = bounded(capacity);
    let low = capacity / 2;
    (
        EdgeSender { channel: sender, to: Arc::clone(to), low },
        EdgeReceiver { channel: receiver, from: Arc::clone(from), low },
    )
}

impl EdgeSender {
    /// Sends an item, and wakes the receiver if it sleeps. Returns the item if there is no room. An
    /// item for a task that is gone is dropped, because its topology is about to stop.
    pub fn send(&self, item: Item) -> Option<Item> {
        match self.channel.try_send(item) {
            Ok(()) => {
                self.to.provided(Need::Input);
                None
            }
            Err(TrySendError::Full(item)) => Some(item),
            Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// Returns the number of items in the channel; `None` if it is full. Only this end adds items.
    pub fn room(&self) -> Option<usize> {
        let waiting = self.channel.len();
        self.channel.capacity().is_none_or(|capacity| waiting < capacity).then_some(waiting)
    }

    /// Returns true if enough room has been made to continue after the channel was full.
    pub fn has_drained(&self) -> bool {
        self.channel.len() <= self.low
    }
}

impl EdgeReceiver {
    /// Returns the next item, if any, and wakes a sender that waits for room.
    pub fn receive(&self) -> Option<Item> {
        match self.channel.try_recv() {
            Ok(item) => {
                if self.channel.len() <= self.low {
                    self.from.provided(Need::Room);
                }
                Some(item)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// Returns true if the channel is empty.
    pub fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }

    /// Returns the fill level of the channel, 0 to 1.
    pub fn fill(&self) -> f64 {
        self.channel.len() as f64 / self.channel.capacity().unwrap_or(1) as f64
    }
}

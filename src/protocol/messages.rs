//! What a running topology has to tell people, beside its counters.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// How many messages are kept for whoever watches; older ones are dropped. More would let a watcher
/// be away for longer, and cost up to 4 kB each.
const MESSAGES_MAX: usize = 1_000;

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number, from 1. A number that a watcher doesn't find was dropped.
    pub number: u64,
    /// What happened.
    pub text: String,
}

/// The newest messages, numbered, so that several watchers read them without taking them from each
/// other.
#[derive(Default)]
pub struct Messages(Mutex<VecDeque<Message>>);

impl Messages {
    /// Adds one.
    pub fn say(&self, text: String) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = messages.back().map_or(1, |last| last.number + 1);
        if messages.len() == MESSAGES_MAX {
            messages.pop_front();
        }
        messages.push_back(Message { number, text });
    }

    /// Those behind the message with this number, oldest first; 0 for all that are kept.
    pub fn after(&self, number: u64) -> Vec<Message> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = messages.partition_point(|message| message.number <= number);
        messages.range(first..).cloned().collect()
    }
}

/// What a component tells people, under its name.
#[derive(Clone, Default)]
pub struct Voice {
    speaker: String,
    messages: Arc<Messages>,
}

impl Voice {
    /// Of a component or a task with this name.
    pub fn new(speaker: impl Into<String>, messages: &Arc<Messages>) -> Self {
        Self { speaker: speaker.into(), messages: Arc::clone(messages) }
    }

    /// Says something that a person should know.
    pub fn say(&self, text: &str) {
        self.messages.say(format!("{}: {text}", self.speaker));
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voice").field("speaker", &self.speaker).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_watcher_reads_every_message_once_and_sees_what_was_dropped() {
        let messages = Messages::default();
        let numbers = |after: u64| {
            messages.after(after).iter().map(|message| message.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0), Vec::<u64>::new());
        (1..=3).for_each(|number| messages.say(format!("message {number}")));
        assert_eq!((numbers(0), numbers(2), numbers(3)), (vec![1, 2, 3], vec![3], vec![]));
        assert_eq!(messages.after(2)[0].text, "message 3");
        (0..MESSAGES_MAX).for_each(|_| messages.say("more".into()));
        assert_eq!((numbers(0)[0], numbers(0).len()), (4, MESSAGES_MAX));
    }
}

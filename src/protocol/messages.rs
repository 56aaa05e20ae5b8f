//! The messages of a running topology to people, besides its counters.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clock::SystemClock;
use crate::log_level::LogLevel;

/// The number of messages that are kept for watchers; older ones are dropped. More messages would
/// let a watcher be away for longer, and cost up to 4 kB each.
const MESSAGES_MAX: usize = 1_000;

/// A message about a running topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its number, from 1. A watcher that finds a number missing knows that the message was
    /// dropped.
    pub number: u64,
    /// The text of the message.
    pub text: String,
    /// Its level.
    #[serde(default)]
    pub level: LogLevel,
    /// The time at which it was logged.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
}

/// The log of one topology: the newest messages, numbered, so that several watchers read them
/// without taking them from each other. Messages above its level aren't kept.
#[derive(Default)]
pub struct Messages {
    kept: Mutex<VecDeque<Message>>,
    level: LogLevelCell,
}

/// A level that can change while it is read.
struct LogLevelCell(AtomicU8);

impl Default for LogLevelCell {
    fn default() -> Self {
        Self(AtomicU8::new(LogLevel::default() as u8))
    }
}

impl Messages {
    /// Adds a message that a person should know about.
    pub fn say(&self, text: String) {
        self.log(LogLevel::Info, text);
    }

    /// Adds a message about a failure that is retried.
    pub fn warn(&self, text: String) {
        self.log(LogLevel::Warn, text);
    }

    /// Adds a message, if the level of this log includes it.
    pub fn log(&self, level: LogLevel, text: String) {
        if level > self.level() {
            return;
        }
        let mut messages = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number = messages.back().map_or(1, |last| last.number + 1);
        if messages.len() == MESSAGES_MAX {
            messages.pop_front();
        }
        let at = Some(SystemClock::shared().now());
        messages.push_back(Message { number, text, level, at });
    }

    /// Returns the level of this log.
    pub fn level(&self) -> LogLevel {
        LogLevel::of_number(self.level.0.load(Ordering::Relaxed))
    }

    /// Changes the level. [`log::changed`](super::log::changed) then enables the events of the new
    /// level.
    pub(super) fn set_level(&self, level: LogLevel) {
        self.level.0.store(level as u8, Ordering::Relaxed);
    }

    /// Returns the messages after the one with this number, the oldest first; after 0, all that are
    /// kept.
    pub fn after(&self, number: u64) -> Vec<Message> {
        let messages = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = messages.partition_point(|message| message.number <= number);
        messages.range(first..).cloned().collect()
    }
}

/// The messages of a component to people, under its name.
#[derive(Clone, Default)]
pub struct Voice {
    speaker: String,
    messages: Arc<Messages>,
}

impl Voice {
    /// Creates the voice of a component or a task with this name.
    pub fn new(speaker: impl Into<String>, messages: &Arc<Messages>) -> Self {
        Self { speaker: speaker.into(), messages: Arc::clone(messages) }
    }

    /// Adds a message that a person should know about.
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
    fn a_log_keeps_what_its_level_has() {
        let messages = Messages::default();
        messages.log(LogLevel::Debug, "a step".into());
        messages.warn("it fails".into());
        messages.set_level(LogLevel::Debug);
        messages.log(LogLevel::Debug, "another step".into());
        messages.set_level(LogLevel::Off);
        messages.log(LogLevel::Error, "the end".into());
        let texts: Vec<_> =
            messages.after(0).into_iter().map(|message| (message.level, message.text)).collect();
        let expected =
            [(LogLevel::Warn, "it fails".into()), (LogLevel::Debug, "another step".into())];
        assert_eq!(texts, expected);
    }

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

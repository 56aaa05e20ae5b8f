//! What a running topology has to tell people, beside its counters.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many messages are kept for whoever watches; older ones are dropped.
const MESSAGES_MAX: usize = 100;

/// The messages that nobody has taken yet.
#[derive(Default)]
pub struct Messages(Mutex<VecDeque<String>>);

impl Messages {
    /// Adds one.
    pub fn say(&self, message: String) {
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() == MESSAGES_MAX {
            messages.pop_front();
        }
        messages.push_back(message);
    }

    /// Takes all of them.
    pub fn take(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

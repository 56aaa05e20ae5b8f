//! The way for a bolt's own threads to get its task's attention.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::flow::{Need, TaskHandle};

/// Wakes the task of a bolt that has something to emit without having got a tuple: an answer of a
/// child process or a server. The task then calls [`Bolt::idle`](crate::bolt::Bolt::idle), once it
/// has worked off what is in its inboxes. It can be cloned, and called from any thread; after the
/// task's end it does nothing.
#[derive(Clone, Default)]
pub struct BoltWaker {
    // Weak: a thread that outlives its task must not keep the task's mailbox open.
    task: Weak<TaskHandle>,
    rung: Arc<AtomicBool>,
}

impl BoltWaker {
    /// The waker of one task.
    pub(crate) fn of_task(task: &Arc<TaskHandle>) -> Self {
        Self { task: Arc::downgrade(task), rung: Arc::default() }
    }

    /// Has `idle` called soon. Calls in quick succession count as one.
    pub fn wake(&self) {
        self.rung.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.upgrade() {
            task.provided(Need::Input);
        }
    }

    /// True if it was called since the task last answered. A task looks here before it sleeps.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// The task calls `idle` right after this, and so sees whatever was there before the wake.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for BoltWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoltWaker").finish_non_exhaustive()
    }
}

//! Wakes a bolt's task from the bolt's own threads.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::flow::{Need, TaskHandle};

/// A handle that wakes the task of a bolt when the bolt has something to emit without having
/// received a tuple, such as an answer of a child process or a server. The task then calls
/// [`Bolt::idle`](crate::bolt::Bolt::idle), after it has processed the tuples in its inboxes. The
/// handle can be cloned and used from any thread. After the task's end it does nothing.
#[derive(Clone, Default)]
pub struct BoltWaker {
    // Weak, so that a thread that outlives its task doesn't keep the task's mailbox open.
    task: Weak<TaskHandle>,
    rung: Arc<AtomicBool>,
}

impl BoltWaker {
    /// Creates the waker of a task.
    pub(crate) fn of_task(task: &Arc<TaskHandle>) -> Self {
        Self { task: Arc::downgrade(task), rung: Arc::default() }
    }

    /// Makes the task call `idle` soon. Calls in quick succession count as one.
    pub fn wake(&self) {
        self.rung.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.upgrade() {
            task.provided(Need::Input);
        }
    }

    /// Returns true if `wake` was called since the last [`answer`](Self::answer). A task checks
    /// this before it sleeps.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::SeqCst)
    }

    /// Clears the wake. The task calls `idle` right afterwards, and so sees everything that
    /// happened before the wake.
    pub(crate) fn answer(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for BoltWaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoltWaker").finish_non_exhaustive()
    }
}

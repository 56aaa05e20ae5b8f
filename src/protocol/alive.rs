//! Knowing when everything that belongs to a task is gone: its actor, its loop, its threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Recipient;
use tokio::sync::mpsc;

use crate::clock::SharedClock;
use crate::protocol::{FromTask, Report};

/// Held by everything that works for a task. A task that is gone before the end was announced is
/// lost.
pub struct Alive {
    task: usize,
    ending: Arc<AtomicBool>,
    coordinator: Recipient<FromTask>,
    gone: mpsc::UnboundedSender<usize>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.ending.load(Ordering::SeqCst) {
            self.coordinator.do_send(FromTask { task: self.task, report: Report::Lost });
        }
        // Whoever counts may have given up.
        let _ = self.gone.send(self.task);
    }
}

/// All tasks of one start.
pub struct Census {
    ending: Arc<AtomicBool>,
    coordinator: Recipient<FromTask>,
    gone: mpsc::UnboundedSender<usize>,
    left: mpsc::UnboundedReceiver<usize>,
    alive: BTreeMap<usize, String>,
}

impl Census {
    /// Of nobody yet.
    pub fn new(coordinator: Recipient<FromTask>) -> Self {
        let (gone, left) = mpsc::unbounded_channel();
        Self { ending: Arc::default(), coordinator, gone, left, alive: BTreeMap::new() }
    }

    /// Counts a task in.
    pub fn enter(&mut self, task: usize, name: String) -> Arc<Alive> {
        self.alive.insert(task, name);
        let (ending, gone) = (Arc::clone(&self.ending), self.gone.clone());
        Arc::new(Alive { task, ending, coordinator: self.coordinator.clone(), gone })
    }

    /// From now on a task that is gone is none that was lost.
    pub fn announce_end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Waits until all tasks are gone, but no longer than `timeout`.
    ///
    /// # Errors
    /// The names of those that are still there.
    pub async fn leave(
        mut self,
        clock: &SharedClock,
        timeout: Duration,
    ) -> Result<(), Vec<String>> {
        let mut over = clock.sleep(timeout);
        while !self.alive.is_empty() {
            match futures_util::future::select(&mut over, std::pin::pin!(self.left.recv())).await {
                futures_util::future::Either::Right((Some(task), _)) => self.alive.remove(&task),
                _ => return Err(self.alive.into_values().collect()),
            };
        }
        Ok(())
    }
}

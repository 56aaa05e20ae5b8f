//! Detects when everything that belongs to a task is gone: its actor, its loop, its threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use actix::Recipient;
use tokio::sync::mpsc;

use crate::clock::SharedClock;
use crate::protocol::{FromTask, Report};

/// A token held by everything that works for a task. A task whose tokens are dropped before the end
/// was announced counts as lost.
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
        // The receiver may have stopped waiting.
        let _ = self.gone.send(self.task);
    }
}

impl Alive {
    /// Returns a flag that is set when the end of all tasks is announced.
    pub fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.ending))
    }
}

/// A flag by which a task that waits inside a call learns that all tasks must end.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Returns true once the end was announced.
    pub fn is_announced(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The life of a topology from its start to its end, across restarts of its tasks. Dropped at the
/// end.
#[derive(Debug, Default)]
pub struct RunLife(Arc<()>);

impl RunLife {
    /// Returns a watch on the end of the topology, for components.
    pub fn watch(&self) -> RunWatch {
        RunWatch(Arc::downgrade(&self.0))
    }
}

/// A watch by which a component's threads, which may outlive its tasks, learn that the topology has
/// ended.
#[derive(Clone, Debug, Default)]
pub struct RunWatch(Weak<()>);

impl RunWatch {
    /// Returns true once the topology has ended.
    pub fn has_ended(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The tasks of one start.
pub struct Census {
    ending: Arc<AtomicBool>,
    coordinator: Recipient<FromTask>,
    gone: mpsc::UnboundedSender<usize>,
    left: mpsc::UnboundedReceiver<usize>,
    alive: BTreeMap<usize, String>,
}

impl Census {
    /// Creates a census without tasks.
    pub fn new(coordinator: Recipient<FromTask>) -> Self {
        let (gone, left) = mpsc::unbounded_channel();
        Self { ending: Arc::default(), coordinator, gone, left, alive: BTreeMap::new() }
    }

    /// Adds a task, and returns its token.
    pub fn enter(&mut self, task: usize, name: String) -> Arc<Alive> {
        self.alive.insert(task, name);
        let (ending, gone) = (Arc::clone(&self.ending), self.gone.clone());
        Arc::new(Alive { task, ending, coordinator: self.coordinator.clone(), gone })
    }

    /// Marks shutdown: from here on, a task that disappears isn't reported as lost.
    pub fn announce_end(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Waits until all tasks are gone, at most for `timeout`.
    ///
    /// # Errors
    /// If tasks remain after that time. The error has their names.
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

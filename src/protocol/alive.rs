//! Knowing when everything that belongs to a task is gone: its actor, its loop, its threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
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

impl Alive {
    /// Tells when the end of all tasks is announced.
    pub fn ending(&self) -> Ending {
        Ending(Arc::clone(&self.ending))
    }
}

/// Tells a task that waits inside of a call that all tasks are to end.
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// True once the end was announced.
    pub fn is_announced(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The life of a topology from its start to its end, over all starts of its tasks; dropped at the
/// end.
#[derive(Debug, Default)]
pub struct RunLife(Arc<()>);

impl RunLife {
    /// What is told to components.
    pub fn watch(&self) -> RunWatch {
        RunWatch(Arc::downgrade(&self.0))
    }
}

/// Tells a component's threads, which may outlive its tasks, when the topology has ended.
#[derive(Clone, Debug, Default)]
pub struct RunWatch(Weak<()>);

impl RunWatch {
    /// True once the topology has ended.
    pub fn has_ended(&self) -> bool {
        self.0.strong_count() == 0
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

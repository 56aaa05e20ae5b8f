//! A spout's child between two tasks. A roll-back ends all tasks, but the child has to hear which of
//! its tuples were rolled back, and a drain has to tell it which were not.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;

use super::spout::number_of;
use super::spout_child::{Said, SpoutChild};
use crate::epoch::Cursor;
use crate::error::Result;
use crate::protocol::RunWatch;

/// How often a parked child is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How many looks a child stays that no task takes over: a minute, far longer than a roll-back takes.
const LOOKS_MAX: u32 = 3_000;

/// How many looks a child gets to answer its last command.
const LAST_LOOKS_MAX: u32 = 50;

/// The children that wait for their next task, by split.
#[derive(Clone, Default)]
pub(super) struct Parking(Arc<Mutex<HashMap<String, SpoutChild>>>);

impl fmt::Debug for Parking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parking").finish_non_exhaustive()
    }
}

impl Parking {
    /// The child of the task before.
    pub(crate) fn take(&self, split: &str) -> Option<SpoutChild> {
        self.children().remove(split)
    }

    /// Keeps a child until the next task takes it, or the topology has ended. `completed` tells
    /// which of its tuples a checkpoint holds, for as long as that may change.
    pub(crate) fn park(
        &self,
        split: String,
        child: SpoutChild,
        completed: Option<watch::Receiver<Vec<Cursor>>>,
        run: RunWatch,
    ) {
        self.children().insert(split.clone(), child);
        let parking = self.clone();
        let name = split.clone();
        let look_after = move || parking.look_after(&split, completed, &run);
        if thread::Builder::new().name("shell-parked".into()).spawn(look_after).is_err() {
            // Without a thread it isn't told: it begins anew.
            self.children().remove(&name);
        }
    }

    fn look_after(
        &self,
        split: &str,
        mut completed: Option<watch::Receiver<Vec<Cursor>>>,
        run: &RunWatch,
    ) {
        for _ in 0..LOOKS_MAX {
            thread::sleep(LOOK_EVERY);
            let mut children = self.children();
            let Some(child) = children.get_mut(split) else { return };
            if let Some(completed) = &mut completed
                && completed.has_changed().unwrap_or(false)
                && let Some(cursor) = completed.borrow_and_update().first()
                && let Ok(number) = number_of(cursor)
            {
                child.tracked.complete(number);
            }
            let is_broken = tell(child).is_err();
            if is_broken || run.has_ended() {
                let child = children.remove(split);
                drop(children);
                if let Some(child) = child.filter(|_| !is_broken) {
                    end(child);
                }
                return;
            }
        }
        self.children().remove(split);
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, SpoutChild>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a child which of its tuples are safe, as far as it listens. What it emits meanwhile has
/// failed.
fn tell(child: &mut SpoutChild) -> Result<()> {
    loop {
        child.link.write()?;
        match child.hear()? {
            // Tuples that it emitted before are for the next task.
            Said::Emit(emitted) => child.tracked.refuse(emitted.id),
            Said::Nothing => {
                if !child.link.read()? {
                    return Ok(());
                }
            }
            Said::Done => {
                let acks: Vec<_> = child.tracked.next_acks().collect();
                if acks.is_empty() {
                    return Ok(());
                }
                acks.iter().for_each(|id| child.ask("ack", id));
            }
        }
    }
}

/// Ends a child whose topology has ended.
fn end(mut child: SpoutChild) {
    child.ask("deactivate", "\"\"");
    for _ in 0..LAST_LOOKS_MAX {
        if tell(&mut child).is_err() || child.is_idle() {
            return;
        }
        child.link.wait(LOOK_EVERY);
    }
}

//! A spout's child between two tasks. A roll-back ends all tasks, but the child must be told which
//! of its tuples were rolled back. At a drain the child must be told which tuples are safe.

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

/// The time between two looks at a parked child.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The number of looks after which a child that no task has taken over is ended. Together they take
/// a minute, far longer than a roll-back.
const LOOKS_MAX: u32 = 3_000;

/// The number of looks in which a child must answer its last command.
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
    /// Takes out the child of the task before.
    pub(crate) fn take(&self, split: &str) -> Option<SpoutChild> {
        self.children().remove(split)
    }

    /// Keeps a child until the next task takes it or the topology has ended. `completed` says which
    /// of its tuples a checkpoint holds, while that may still change.
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
            // Without a thread nobody can serve the child. It is ended, and the next task starts
            // another one.
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

/// Tells a child which of its tuples are safe, without waiting for it. Tuples that it emits now
/// have failed.
fn tell(child: &mut SpoutChild) -> Result<()> {
    loop {
        child.link.write()?;
        match child.hear()? {
            // No task takes this tuple, so it has failed.
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

/// Deactivates a child whose topology has ended.
fn end(mut child: SpoutChild) {
    child.ask("deactivate", "\"\"");
    for _ in 0..LAST_LOOKS_MAX {
        if tell(&mut child).is_err() || child.is_idle() {
            return;
        }
        child.link.wait(LOOK_EVERY);
    }
}

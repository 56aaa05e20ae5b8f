//! A state store that doesn't survive the process: for `checkpoint: Off`, and for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use super::{Changes, Saved, Started, StateStore, Take, out_of_order};
use crate::error::Result;

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<Content>);

#[derive(Default)]
struct Content {
    saved: Saved,
    /// The value of each key, by component, key group and key.
    state: BTreeMap<(String, u16, Vec<u8>), Vec<u8>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn saved(&self) -> Result<Saved> {
        Ok(self.lock().saved.clone())
    }

    fn restore(&self, component: &str, groups: Range<u16>, take: &mut Take<'_>) -> Result<()> {
        let range = (component.to_owned(), groups.start, Vec::new())
            ..(component.to_owned(), groups.end, Vec::new());
        self.lock().state.range(range).try_for_each(|((_, _, key), value)| take(key, value))
    }

    fn has_state(&self, component: &str) -> Result<bool> {
        Ok(self.lock().state.keys().any(|(of, _, _)| of == component))
    }

    fn start(&self, started: &Started) -> Result<()> {
        let Content { saved, state } = &mut *self.lock();
        let dropped = &started.dropped;
        saved.cursors.retain(|(component, _), _| !dropped.contains(component));
        saved.split_times.retain(|(component, _), _| !dropped.contains(component));
        saved.watermarks.retain(|component, _| !dropped.contains(component));
        saved.promises.retain(|component, _| !dropped.contains(component));
        state.retain(|(component, _, _), _| !dropped.contains(component));
        saved.about.clone_from(&started.about);
        saved.components.clone_from(&started.components);
        saved.places.clone_from(&started.places);
        (saved.finished, saved.told) = (None, false);
        Ok(())
    }

    fn save(&self, changes: &Changes) -> Result<()> {
        let Content { saved, state } = &mut *self.lock();
        if changes.epoch <= saved.epoch {
            return Err(out_of_order(changes.epoch, saved.epoch));
        }
        saved.epoch = changes.epoch;
        saved.at = Some(changes.at);
        saved.boundary = Some(changes.boundary);
        saved
            .cursors
            .extend(changes.cursors.iter().map(|(split, cursor)| (split.clone(), cursor.clone())));
        saved
            .split_times
            .extend(changes.split_times.iter().map(|(split, time)| (split.clone(), *time)));
        saved
            .watermarks
            .extend(changes.watermarks.iter().map(|(bolt, time)| (bolt.clone(), *time)));
        for (component, changes) in &changes.state {
            for change in changes {
                let key = (component.clone(), change.key_group, change.key.clone());
                match &change.value {
                    Some(value) => state.insert(key, value.clone()),
                    None => state.remove(&key),
                };
            }
        }
        saved.promises.clone_from(&changes.promises);
        Ok(())
    }

    fn end(&self, finished: Option<OffsetDateTime>) -> Result<()> {
        let saved = &mut self.lock().saved;
        saved.promises.clear();
        saved.places.clear();
        saved.finished = finished;
        Ok(())
    }

    fn tell(&self) -> Result<()> {
        self.lock().saved.told = true;
        Ok(())
    }
}

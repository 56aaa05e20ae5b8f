//! Another version of a topology in the place of the one that runs, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Keeper, Next};
use crate::checkpoint::{DiskStore, StateStore};
use crate::server::fleet::{Refusal, size_of};
use crate::server::record::Version;

/// The duration of a new version's run after which an upgrade has succeeded.
pub(crate) const UPGRADE_PROVEN_AFTER: Duration = Duration::from_secs(3);

impl Keeper {
    /// A new version is what runs next; what ran is kept until the new one has proven itself.
    pub(super) fn replaces(&mut self, topology: String, drop_state: BTreeSet<String>) {
        let new = Version { topology, hints: BTreeMap::new() };
        let read = self.shared.read("topology", &new.topology);
        self.kept.set_topology(&new.topology, read.as_ref().map_or((0, 0), size_of));
        self.record.previous = Some(std::mem::replace(&mut self.record.current, new));
        self.record.drop_state = drop_state;
        self.record.finished = None;
    }

    /// A new version has run for a while: the old one is forgotten.
    pub(super) fn is_proven(&mut self) {
        self.record.previous = None;
        let written = self.write().map_err(Refusal::from);
        if let Some(reply) = self.upgrade.take() {
            let _ = reply.send(written);
        }
    }

    /// An upgrade failed: the version before takes its place again.
    pub(super) fn goes_back(&mut self, why: &str) -> Option<Next> {
        let previous = self.record.previous.take()?;
        let shared = Arc::clone(&self.shared);
        let ids = |topology: &str| -> BTreeSet<String> {
            let read = shared.read("topology", topology);
            let specs = read.into_iter().flat_map(|topology| topology.components);
            specs.map(|spec| spec.id).collect()
        };
        let (new, old) = (ids(&self.record.current.topology), ids(&previous.topology));
        // The state of components that only the new version has is useless to the old one.
        let dropped = std::mem::take(&mut self.record.drop_state);
        let meaningless = new.difference(&old).cloned().chain(dropped);
        self.record.drop_state = meaningless.filter(|id| self.has_state(id)).collect();
        self.record.current = previous;
        self.say("error", &format!("the upgrade failed, and the version before goes on: {why}"));
        if let Err(error) = self.write() {
            self.say("error", &error.chain());
        }
        let read = shared.read("topology", &self.record.current.topology);
        let size = read.as_ref().map_or((0, 0), size_of);
        self.kept.set_topology(&self.record.current.topology, size);
        if let Some(reply) = self.upgrade.take() {
            let what = format!("the new version failed, and the version before goes on: {why}");
            let _ = reply.send(Err(Refusal::Conflict(what)));
        }
        Some(Next::Start)
    }

    /// Returns true if the state has something of a component; only that can be dropped.
    fn has_state(&self, id: &str) -> bool {
        let store = DiskStore::open(&self.kept.folder.state());
        let saved = store.and_then(|store| store.saved());
        saved.is_ok_and(|saved| saved.components.contains_key(id))
    }
}

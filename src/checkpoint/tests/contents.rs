//! Reads the whole content of a store, and builds changes, for tests.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::checkpoint::{Changes, Saved, StateStore};
use crate::epoch::StateChange;
use crate::keys::KEY_GROUPS;

/// The components with state in tests; one name is the beginning of another.
pub(crate) const COMPONENTS: [&str; 3] = ["count", "count2", "top"];

/// The key groups in tests: both ends, and neighbours.
pub(crate) const GROUPS: [u16; 5] = [0, 1, 255, 256, 1023];

/// Component, key group, key and value.
type Entry = (&'static str, u16, Vec<u8>, Vec<u8>);

/// The content that [`contents`] read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    pub saved: Saved,
    state: Vec<Entry>,
}

impl Contents {
    /// Returns the values by component, key group and key.
    pub(crate) fn state_map(&self) -> BTreeMap<(String, u16, Vec<u8>), Vec<u8>> {
        let entry = |(component, group, key, value): &Entry| {
            (((*component).to_owned(), *group, key.clone()), value.clone())
        };
        self.state.iter().map(entry).collect()
    }
}

/// Reads everything, group by group, and checks that larger ranges return the same.
#[track_caller]
pub(crate) fn contents(store: &dyn StateStore) -> Contents {
    let mut state = Vec::new();
    for component in COMPONENTS {
        let mut keys = Vec::new();
        for group in GROUPS {
            for (key, value) in range(store, component, group..group + 1) {
                keys.push((key.clone(), value.clone()));
                state.push((component, group, key, value));
            }
        }
        assert_eq!(range(store, component, 0..KEY_GROUPS), keys, "all groups of {component}");
        assert_eq!(store.has_state(component).unwrap(), !keys.is_empty());
        assert!(range(store, component, 2..255).is_empty());
    }
    Contents { saved: store.saved().unwrap(), state }
}

fn range(
    store: &dyn StateStore,
    component: &str,
    groups: std::ops::Range<u16>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let take = &mut |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(())
    };
    store.restore(component, groups, take).unwrap();
    found
}

pub(crate) const BOUNDARY: OffsetDateTime = datetime!(2015-12-18 0:00 UTC);

/// Creates the changes of an epoch in which nothing changed.
pub(crate) fn none(epoch: u64) -> Changes {
    Changes::none(epoch, BOUNDARY, datetime!(2015-12-18 0:12:30.123456789 UTC))
}

pub(crate) fn put(key_group: u16, key: &str, value: &str) -> StateChange {
    StateChange { key_group, key: key.into(), value: Some(value.into()) }
}

pub(crate) fn forget(key_group: u16, key: &str) -> StateChange {
    StateChange { key_group, key: key.into(), value: None }
}

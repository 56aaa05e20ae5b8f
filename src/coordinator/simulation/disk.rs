//! Everything that outlives a process: the store, the data that sinks staged, and the visible data.

use std::collections::{BTreeMap, BTreeSet};

use super::Seeded;
use super::graph::{Graph, Item};
use crate::checkpoint::{MemoryStore, Started, StateStore};
use crate::coordinator::{Resumed, TaskRole};
use crate::epoch::Promise;

/// The length of an item, in bytes.
pub(crate) const ITEM_BYTES: u64 = 10;

/// A staged segment.
#[derive(Default)]
pub(crate) struct Segment {
    pub items: Vec<Item>,
    /// The number of items that survive a power loss.
    synced: usize,
}

#[derive(Default)]
pub(crate) struct Disk {
    pub store: MemoryStore,
    /// The staged segments by name. A name begins with the place.
    pub staged: BTreeMap<String, Segment>,
    /// The visible segments by sink and name.
    pub visible: BTreeMap<(usize, String), Vec<Item>>,
    /// Segments that sinks were told to forget. Committing one of them later would deliver it
    /// twice.
    pub forgotten: BTreeSet<(usize, String)>,
    /// Data that a dead process has sent and that hasn't arrived yet.
    pub zombies: Vec<(usize, String, Vec<Item>)>,
    /// The position below which each split won't be read again, by component and split.
    pub trimmed: BTreeMap<(String, String), u32>,
}

pub(crate) fn promise(place: &str, segment: &str, items: &[Item], closed: bool) -> Promise {
    let mix = |sum: u32, item: &Item| {
        sum.wrapping_mul(31)
            .wrapping_add(item.number + 1000 * item.way + 77 * item.split as u32)
            .rotate_left(5)
    };
    Promise {
        place: place.into(),
        segment: segment.into(),
        length: items.len() as u64 * ITEM_BYTES,
        posts: items.len() as u64,
        checksum: items.iter().fold(1, mix),
        closed,
    }
}

/// Returns the place of a segment.
fn place_of(segment: &str) -> &str {
    segment.split_once('/').map_or("", |(place, _)| place)
}

impl Disk {
    /// Makes everything up to the promised lengths durable.
    pub(crate) fn sync(&mut self, promises: &[Promise]) {
        for promise in promises {
            if let Some(segment) = self.staged.get_mut(&promise.segment) {
                segment.synced = segment.synced.max(promise.posts as usize);
            }
        }
    }

    /// Simulates a power loss: data that wasn't synced may be lost.
    pub(crate) fn lose_power(&mut self, random: &mut Seeded) {
        for segment in self.staged.values_mut() {
            let lost = random.below(segment.items.len() - segment.synced + 1);
            segment.items.truncate(segment.items.len() - lost);
        }
    }

    /// Makes a segment visible, unless it is visible already.
    pub(crate) fn publish(&mut self, sink: usize, promised: &Promise) {
        let Promise { place, segment, closed, .. } = promised;
        assert!(closed, "{segment} is committed while it is open");
        let key = (sink, segment.clone());
        assert!(!self.forgotten.contains(&key), "{segment} is committed after it was forgotten");
        let staged = self.staged.remove(segment).map(|staged| staged.items);
        let items = staged
            .as_ref()
            .or(self.visible.get(&key))
            .unwrap_or_else(|| panic!("{segment} is gone"));
        assert_eq!(
            promise(place, segment, items, true),
            *promised,
            "{segment} isn't what was promised"
        );
        if let Some(items) = staged {
            self.show(sink, segment, items);
        }
    }

    /// Forgets these segments, so that a repeated commit of them wouldn't be recognised.
    pub(crate) fn forget(&mut self, sink: usize, segments: Vec<String>) {
        for segment in segments {
            let key = (sink, segment);
            assert!(self.visible.contains_key(&key), "{} is forgotten and wasn't delivered", key.1);
            let promises = self.store.saved().expect("a store in memory can be read").promises;
            let is_named = promises.values().flatten().any(|promise| promise.segment == key.1);
            assert!(!is_named, "{} is forgotten, and the checkpoint names it", key.1);
            self.forgotten.insert(key);
        }
    }

    fn show(&mut self, sink: usize, segment: &str, items: Vec<Item>) {
        let (partition, number) = segment.rsplit_once('/').expect("segments are numbered");
        let number: u32 = number.parse().expect("segments are numbered");
        let before = (sink, format!("{partition}/{:04}", number.saturating_sub(1)));
        assert!(
            number == 0 || self.visible.contains_key(&before),
            "{segment} is visible before the one before it"
        );
        let shown = self.visible.entry((sink, segment.into())).or_insert_with(|| items.clone());
        assert_eq!(*shown, items, "{segment} was visible and has changed");
    }

    /// Delivers the data that a dead process sent last.
    pub(crate) fn land(&mut self) {
        for (sink, segment, items) in std::mem::take(&mut self.zombies) {
            self.show(sink, &segment, items);
        }
    }

    /// Closes promised segments and deletes all others, as the engine does before it starts tasks.
    /// Returns the state from which the machine continues, and all places to remember.
    pub(crate) fn recover(
        &mut self,
        graph: &Graph,
        tasks_of: &[Vec<usize>],
    ) -> (Resumed, BTreeMap<String, BTreeSet<String>>) {
        let mut saved = self.store.saved().expect("a store in memory can be read");
        let mut resumed =
            Resumed { epoch: saved.epoch, boundary: saved.boundary, promises: BTreeMap::new() };
        let mut kept = BTreeMap::<_, BTreeSet<_>>::new();
        for (sink, component) in graph.of_role(TaskRole::Sink) {
            let promises = saved.promises.remove(&component.name).unwrap_or_default();
            let mut places = saved.places.remove(&component.name).unwrap_or_default();
            places.extend(promises.iter().map(|promise| promise.place.clone()));
            let mut tasks = tasks_of[sink].iter().cycle();
            for place in places {
                let closed = self.recover_place(sink, &place, &promises);
                if !closed.is_empty() {
                    let task = tasks.next().expect("each component has a task");
                    resumed.promises.entry(*task).or_default().extend(closed);
                    kept.entry(component.name.clone()).or_default().insert(place);
                }
            }
        }
        (resumed, kept)
    }

    fn recover_place(&mut self, sink: usize, place: &str, promises: &[Promise]) -> Vec<Promise> {
        let mut closed = Vec::new();
        for promised in promises.iter().filter(|promise| promise.place == place) {
            let Promise { segment, .. } = promised;
            match self.staged.get_mut(segment) {
                Some(staged) => {
                    staged.items.truncate(promised.posts as usize);
                    staged.synced = staged.items.len();
                }
                None => assert!(
                    self.visible.contains_key(&(sink, segment.clone())),
                    "the promised {segment} is gone"
                ),
            }
            closed.push(Promise { closed: true, ..promised.clone() });
        }
        let is_kept = |segment: &String| closed.iter().any(|promise| promise.segment == *segment);
        self.staged.retain(|segment, _| place_of(segment) != place || is_kept(segment));
        closed
    }

    pub(crate) fn start(&self, places: BTreeMap<String, BTreeSet<String>>) {
        let started = Started {
            about: String::new(),
            components: BTreeMap::new(),
            places,
            dropped: BTreeSet::new(),
        };
        self.store.start(&started).expect("a store in memory can be written");
    }
}

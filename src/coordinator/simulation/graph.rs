//! The topologies that the simulation runs: spouts, bolts that count by key, and sinks, in any
//! acyclic order.

use super::Seeded;
use super::event_time;
use crate::coordinator::TaskRole;
use crate::event_time::{EventTime, EventTimeOrder};

/// The number of different keys.
pub(crate) const KEYS: u32 = 5;

/// An item of a split. It contains its path, so that its copies can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub spout: usize,
    pub split: usize,
    /// The components that the item passed through, as digits to base 8.
    pub way: u32,
    pub number: u32,
    pub time: EventTime,
}

impl Item {
    pub(crate) fn key(&self) -> u32 {
        self.number % KEYS
    }

    /// Returns the item as it leaves a component.
    pub(crate) fn by(self, component: usize) -> Self {
        Self { way: step(self.way, component), ..self }
    }
}

fn step(way: u32, component: usize) -> u32 {
    way * 8 + u32::try_from(component).expect("few components") + 1
}

#[derive(Clone)]
pub(crate) struct Component {
    pub name: String,
    pub role: TaskRole,
    pub inputs: Vec<usize>,
    /// The number of items in each split of a spout.
    pub splits: Vec<u32>,
    /// The order of a spout's event times; `None` if its items have none.
    pub event_time: Option<EventTimeOrder>,
    /// The bound of a sink's outbox, in bytes.
    pub outbox: Option<u64>,
    /// True if items go to any of its tasks, and not by key.
    pub shuffled: bool,
    /// The number of items at which a sink's segment closes.
    pub posts_max: usize,
}

pub(crate) struct Graph(pub Vec<Component>);

impl Graph {
    pub(crate) fn draw(random: &mut Seeded) -> Self {
        let (spouts, bolts, sinks) = (1 + random.below(2), random.below(3), 1 + random.below(2));
        let mut components = Vec::new();
        for number in 0..spouts + bolts + sinks {
            let (letter, role) = match number {
                _ if number < spouts => ('s', TaskRole::Spout),
                _ if number < spouts + bolts => ('b', TaskRole::Bolt),
                _ => ('k', TaskRole::Sink),
            };
            let (is_spout, is_sink) = (role == TaskRole::Spout, role == TaskRole::Sink);
            components.push(Component {
                name: format!("{letter}{number}"),
                role,
                inputs: if is_spout { vec![] } else { some_of(number.min(spouts + bolts), random) },
                splits: (0..if is_spout { 1 + random.below(3) } else { 0 })
                    .map(|_| random.below(40) as u32)
                    .collect(),
                event_time: if is_spout { event_time::draw(random) } else { None },
                outbox: (is_sink && random.one_in(2)).then(|| 20 + random.below(150) as u64),
                shuffled: is_sink && random.one_in(2),
                posts_max: 1 + random.below(8),
            });
        }
        Self(components)
    }

    /// Returns the paths by which each spout's items reach a component.
    pub(crate) fn ways_to(&self, component: usize) -> Vec<(usize, u32)> {
        let through = |input: &usize| match self.0[*input].role {
            TaskRole::Spout => vec![(*input, step(0, *input))],
            _ => self
                .ways_to(*input)
                .into_iter()
                .map(|(spout, way)| (spout, step(way, *input)))
                .collect(),
        };
        self.0[component].inputs.iter().flat_map(through).collect()
    }

    /// Returns the spouts whose items reach a component.
    pub(crate) fn spouts_before(&self, component: usize) -> impl Iterator<Item = usize> {
        self.ways_to(component).into_iter().map(|(spout, _)| spout)
    }

    /// Returns all items that a component must receive, in order.
    pub(crate) fn items_of(&self, component: usize) -> Vec<Item> {
        let mut items = Vec::new();
        for (spout, way) in self.ways_to(component) {
            for (split, length) in self.0[spout].splits.iter().enumerate() {
                for number in 0..*length {
                    let time = event_time::of_item(&self.0[spout], split, number);
                    items.push(Item { spout, split, way, number, time });
                }
            }
        }
        items.sort_unstable();
        items
    }

    pub(crate) fn of_role(&self, role: TaskRole) -> impl Iterator<Item = (usize, &Component)> {
        self.0.iter().enumerate().filter(move |(_, component)| component.role == role)
    }
}

/// Returns some of the components below `end`, at least one.
fn some_of(end: usize, random: &mut Seeded) -> Vec<usize> {
    let one = random.below(end);
    (0..end).filter(|component| *component == one || random.one_in(2)).collect()
}

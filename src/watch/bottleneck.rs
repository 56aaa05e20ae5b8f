//! Finds the component that limits a topology.

use serde::{Deserialize, Serialize};

use crate::topology::Topology;

use crate::watch::report::Row;

/// The fill level from which on an inbox counts as full, so that its senders are being held back.
/// It is below 1 because a snapshot may be taken just after a batch was removed.
const INBOX_FULL: f64 = 0.75;

/// The capacity from which on a component counts as the one that limits, if no inbox is full. A
/// component below it can take much more than it gets.
const CAPACITY_HIGH: f64 = 0.75;

/// The edges between components, by id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flow {
    edges: Vec<(String, String)>,
}

impl Flow {
    /// Returns the edges of a topology.
    pub fn of(topology: &Topology) -> Self {
        let components = &topology.components;
        let inputs =
            components.iter().flat_map(|to| to.inputs.iter().map(move |input| (input.from, to)));
        Self {
            edges: inputs.map(|(from, to)| (components[from].id.clone(), to.id.clone())).collect(),
        }
    }

    /// Returns the edges, each as the ids of its two components.
    pub fn edges(&self) -> &[(String, String)] {
        &self.edges
    }

    /// Creates a flow with these edges.
    #[cfg(test)]
    pub fn with(edges: &[(&str, &str)]) -> Self {
        Self {
            edges: edges.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        }
    }

    fn takers<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        self.edges.iter().filter(move |(from, _)| from == id).map(|(_, to)| to.as_str())
    }
}

/// Returns the position of the component that limits the topology.
///
/// A full inbox holds back the components that fill it. Therefore, along a path, the last full
/// inbox belongs to the component that is too slow, even if that component seems to work little (it
/// may wait for a disk). If no inbox is full, the component with the highest capacity is returned,
/// if it works most of the time. `None` if every component can take more.
pub fn find(rows: &[Row], flow: &Flow) -> Option<usize> {
    let full = |row: &Row| row.inbox >= INBOX_FULL;
    let full_by_id = |id: &str| rows.iter().any(|row| row.id == id && full(row));
    let is_last_full = |row: &Row| full(row) && !flow.takers(&row.id).any(full_by_id);
    busiest(rows, is_last_full).or_else(|| busiest(rows, |row| row.capacity >= CAPACITY_HIGH))
}

/// Returns the component with the highest capacity; among equals, the one with the fuller inbox,
/// then the earlier one.
fn busiest(rows: &[Row], eligible: impl Fn(&Row) -> bool) -> Option<usize> {
    let order =
        |a: &Row, b: &Row| a.capacity.total_cmp(&b.capacity).then(a.inbox.total_cmp(&b.inbox));
    let candidates = rows.iter().enumerate().filter(|(_, row)| eligible(row));
    candidates.rev().max_by(|(_, a), (_, b)| order(a, b)).map(|(position, _)| position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::made_up;
    use crate::watch::report::Report;

    /// Compares the bottleneck with the expected one. `loads` are (id, capacity, inbox); an edge
    /// goes from its first component to its second.
    fn check(loads: &[(&str, f64, f64)], edges: &[(&str, &str)], expected: Option<&str>) {
        let template =
            Report::between(None, &made_up::after(), &Flow::default(), None).components.remove(0);
        let row = |(id, capacity, inbox): &(&str, f64, f64)| Row {
            id: (*id).to_owned(),
            capacity: *capacity,
            inbox: *inbox,
            ..template.clone()
        };
        let rows: Vec<Row> = loads.iter().map(row).collect();
        assert_eq!(
            find(&rows, &Flow::with(edges)).map(|position| rows[position].id.as_str()),
            expected
        );
    }

    const CHAIN: [(&str, &str); 2] = [("spout", "bolt"), ("bolt", "sink")];

    #[test]
    fn the_last_full_inbox_is_in_front_of_the_bottleneck() {
        check(&[("spout", 0.3, 0.0), ("bolt", 0.6, 1.0), ("sink", 0.2, 0.1)], &CHAIN, Some("bolt"));
        check(&[("spout", 0.3, 0.0), ("bolt", 0.6, 1.0), ("sink", 0.2, 0.9)], &CHAIN, Some("sink"));
    }

    #[test]
    fn a_sink_that_only_waits_is_still_the_bottleneck() {
        check(&[("spout", 0.0, 0.0), ("bolt", 0.0, 1.0), ("sink", 0.0, 1.0)], &CHAIN, Some("sink"));
    }

    #[test]
    fn of_two_full_branches_it_is_the_busier() {
        let edges = [("spout", "a"), ("spout", "b")];
        check(&[("spout", 0.1, 0.0), ("a", 0.5, 1.0), ("b", 0.9, 0.8)], &edges, Some("b"));
    }

    #[test]
    fn where_nothing_is_full_it_is_the_one_that_works_most_of_the_time() {
        check(
            &[("spout", 0.9, 0.0), ("bolt", 0.4, 0.3), ("sink", 0.2, 0.1)],
            &CHAIN,
            Some("spout"),
        );
        check(&[("spout", 0.74, 0.0), ("bolt", 0.02, 0.7), ("sink", 0.0, 0.0)], &CHAIN, None);
        check(
            &[("spout", 0.75, 0.0), ("bolt", 0.75, 0.1), ("sink", 0.0, 0.0)],
            &CHAIN,
            Some("bolt"),
        );
    }

    #[test]
    fn an_idle_topology_has_none() {
        check(&[("spout", 0.0, 0.0), ("bolt", 0.0, 0.2), ("sink", 0.0, 0.0)], &CHAIN, None);
        check(&[], &[], None);
    }
}

//! The rates of a topology in the last minutes, from snapshots that are taken seldom.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::Seen;
use crate::metrics::ComponentStatus;
use crate::watch::report::Report;

/// The time for which snapshots are kept.
const KEPT: Duration = Duration::from_secs(601);

/// The shortest time between two snapshots that are kept.
const APART: Duration = Duration::from_millis(900);

/// The maximum number of whole snapshots: enough for a rate over some seconds, at any frequency of
/// requests.
const WHOLE_MAX: usize = 4;

/// The rates of a component in a window, in tuples per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComponentRate {
    /// The component.
    pub id: String,
    /// Tuples taken per second.
    pub in_per_s: f64,
    /// Tuples emitted per second.
    pub out_per_s: f64,
}

/// The counts of one component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tuples taken.
    pub received: u64,
    /// Tuples emitted.
    pub emitted: u64,
}

/// The counts of all components at one moment of the process's uptime.
#[derive(Clone, Debug)]
struct Mark {
    uptime: Duration,
    counts: Vec<(String, Counts)>,
}

/// The snapshots of a topology in the last minutes.
#[derive(Default)]
pub(crate) struct History {
    whole: VecDeque<Seen>,
    marks: VecDeque<Mark>,
}

impl History {
    /// Adds a snapshot. A snapshot of another process removes all earlier ones.
    pub(crate) fn add(&mut self, seen: Seen) {
        let uptime = seen.status.uptime;
        if self.marks.back().is_some_and(|last| last.uptime > uptime) {
            *self = Self::default();
        }
        let is_near = |last: &Mark| last.uptime + APART > uptime;
        if self.marks.back().is_some_and(is_near) {
            return;
        }
        self.marks.push_back(mark(&seen));
        while self.marks.front().is_some_and(|first| first.uptime + KEPT < uptime) {
            self.marks.pop_front();
        }
        self.whole.push_back(seen);
        if self.whole.len() > WHOLE_MAX {
            self.whole.pop_front();
        }
    }

    /// Returns the report on the time from the oldest whole snapshot to this one.
    pub(crate) fn report(&self, now: &Seen) -> Report {
        let uptime = now.status.uptime;
        let before = self.whole.iter().find(|before| before.status.uptime + APART <= uptime);
        let before = before.map(|before| &before.status);
        Report::between(before, &now.status, &now.flow, now.rss_bytes)
    }

    /// Returns the rates of each component over the last `window`; without one, over its whole
    /// uptime.
    pub(crate) fn rates(&self, now: &Seen, window: Option<Duration>) -> Vec<ComponentRate> {
        let newest = mark(now);
        let begin = window.map(|window| newest.uptime.saturating_sub(window));
        let before = begin.and_then(|begin| {
            let at = self.marks.partition_point(|mark| mark.uptime < begin);
            self.marks.get(at).filter(|mark| mark.uptime < newest.uptime)
        });
        newest.counts.iter().map(|(id, counts)| rate(before, newest.uptime, id, *counts)).collect()
    }

    /// Returns the rates of a component between each two snapshots, oldest first: at most `points`
    /// of them.
    pub(crate) fn curve(&self, id: &str, points: usize) -> Vec<f64> {
        let first = self.marks.len().saturating_sub(points + 1);
        let marks: Vec<&Mark> = self.marks.range(first..).collect();
        let pairs = marks.windows(2).filter_map(|pair| {
            let (_, counts) = pair[1].counts.iter().find(|(known, _)| known == id)?;
            let rate = rate(Some(pair[0]), pair[1].uptime, id, *counts);
            Some(if rate.out_per_s > 0.0 { rate.out_per_s } else { rate.in_per_s })
        });
        pairs.collect()
    }
}

fn mark(seen: &Seen) -> Mark {
    let of = |component: &ComponentStatus| {
        let counts = Counts { received: component.received, emitted: component.emitted };
        (component.id.clone(), counts)
    };
    Mark { uptime: seen.status.uptime, counts: seen.status.components.iter().map(of).collect() }
}

fn rate(before: Option<&Mark>, uptime: Duration, id: &str, now: Counts) -> ComponentRate {
    let then = before.and_then(|mark| {
        let (_, counts) = mark.counts.iter().find(|(known, _)| known == id)?;
        Some((mark.uptime, *counts))
    });
    let (since, then) = then.unwrap_or_default();
    let seconds = uptime.saturating_sub(since).as_secs_f64();
    let per_s = |now: u64, then: u64| {
        // After a rollback a task may count from 0 again.
        if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
    };
    let in_per_s = per_s(now.received, then.received);
    let out_per_s = per_s(now.emitted, then.emitted);
    ComponentRate { id: id.to_owned(), in_per_s, out_per_s }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::made_up;

    fn seen(seconds: u64, emitted: u64) -> Seen {
        let mut status = made_up::after();
        status.uptime = Duration::from_secs(seconds);
        status.components[0].emitted = emitted;
        Seen { status, flow: made_up::flow(), rss_bytes: None }
    }

    #[test]
    fn rates_are_those_of_the_window() {
        let mut history = History::default();
        for second in 0..700 {
            // A hundred per second, and from 600 on a thousand.
            let emitted = if second <= 600 { second * 100 } else { 60_000 + (second - 600) * 1000 };
            history.add(seen(second, emitted));
        }
        let now = seen(700, 160_000);
        let rate = |window: Option<u64>| {
            let rates = history.rates(&now, window.map(Duration::from_secs));
            rates[0].out_per_s.round()
        };
        assert_eq!((rate(Some(10)), rate(Some(60))), (1000.0, 1000.0));
        assert_eq!((rate(Some(200)), rate(None)), (550.0, 229.0));
        assert_eq!(history.report(&now).components[0].out_per_s, 1000.0);
        assert!(history.marks.len() <= 602, "{}", history.marks.len());
        assert_eq!(history.curve("posts", 3), [1000.0, 1000.0, 1000.0]);
        // Another process counts from the beginning.
        history.add(seen(1, 50));
        assert_eq!(history.rates(&seen(2, 80), Some(Duration::from_secs(60)))[0].out_per_s, 30.0);
    }
}

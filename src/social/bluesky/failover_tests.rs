//! A model of hosts that see the same events at different times, and of a source that goes from one
//! host to another. The model knows all events of its world, so it finds events that were captured
//! twice, not at all, or paid twice.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::cursor::{Mark, Position, at};
use super::join::{Joining, OVERLAP, Resume};
use super::passage::{Passage, Taking};

const S: i64 = 1_000_000;
const T: i64 = 1_800_000_000 * S;

/// The number of posts that are remembered, as in the feed.
const MEMORY_POSTS: usize = 250_000;

/// A host of the model.
struct Host {
    name: &'static str,
    /// The delay after which the host sees an event; negative for a host whose clock is behind.
    lag_us: i64,
    /// The host answers each cursor with all events from this one on, if this one is earlier than
    /// the cursor.
    segment_from: usize,
    /// The host has nothing before this event.
    oldest: usize,
    /// Each event at a multiple of this place is swapped with the next one; 0 for none.
    swapped: usize,
}

impl Host {
    fn new(name: &'static str, lag_s: i64) -> Self {
        Self { name, lag_us: lag_s * S, segment_from: 0, oldest: 0, swapped: 0 }
    }

    /// Returns the number of the event at this place of the host's order.
    fn event_at(&self, place: usize) -> usize {
        match self.swapped {
            0 => place,
            swapped if place.is_multiple_of(swapped) => place + 1,
            swapped if place % swapped == 1 => place - 1,
            _ => place,
        }
    }
}

/// The source of the model, which counts how often each event was captured and paid.
struct Model {
    /// The time between two events.
    step_us: i64,
    /// Every event at a multiple of this number is about a topic.
    wanted_every: usize,
    position: Position,
    memory: HashSet<usize>,
    order: VecDeque<usize>,
    captured: Vec<u8>,
    paid: Vec<u8>,
    gaps: Vec<(i64, i64)>,
    connections: usize,
}

impl Model {
    fn new(events: usize, per_second: i64, wanted_every: usize) -> Self {
        Self {
            step_us: S / per_second,
            wanted_every,
            position: Position::default(),
            memory: HashSet::new(),
            order: VecDeque::new(),
            captured: vec![0; events + 1],
            paid: vec![0; events + 1],
            gaps: Vec::new(),
            connections: 0,
        }
    }

    fn happened_us(&self, event: usize) -> i64 {
        T + event as i64 * self.step_us
    }

    fn is_wanted(&self, event: usize) -> bool {
        event.is_multiple_of(self.wanted_every)
    }

    fn take(&mut self, event: usize, taking: Taking) {
        let is_known = self.memory.contains(&event);
        let is_taken = taking != Taking::Skipped && self.is_wanted(event) && !is_known;
        let is_paid = match taking {
            Taking::Skipped => false,
            Taking::Compared => is_taken,
            Taking::New => !is_known,
        };
        self.paid[event] += u8::from(is_paid);
        if !is_taken {
            return;
        }
        self.captured[event] += 1;
        self.memory.insert(event);
        self.order.push_back(event);
        if self.order.len() > MEMORY_POSTS {
            let oldest = self.order.pop_front().expect("it is longer than that");
            self.memory.remove(&oldest);
        }
    }

    /// Reads a host until this event has happened. The first connection is lost after `lost_after`
    /// events; it and later ones begin when all earlier events are available.
    fn read(&mut self, host: &Host, until: usize, lost_after: usize) {
        let now_us = self.happened_us(until) + host.lag_us.max(0);
        let mut resume = Resume::plan(&self.position, host.name, now_us);
        for tries in 0..10 {
            match self.connection(host, resume, tries, until, lost_after) {
                Some(again) => resume = again,
                None => return,
            }
        }
        panic!("{} is asked again for ever", host.name);
    }

    fn connection(
        &mut self,
        host: &Host,
        resume: Resume,
        tries: u32,
        until: usize,
        lost_after: usize,
    ) -> Option<Resume> {
        self.connections += 1;
        let now = at(self.happened_us(until) + host.lag_us.max(0));
        let mut position = std::mem::take(&mut self.position);
        position.connected(at(T + host.lag_us));
        let joining = Joining::new(resume, &position, position.patience() > OVERLAP, tries);
        let mut passage = Passage::new(&mut position, host.name, false, joining);
        let asked = resume.cursor().map_or(0, |cursor| (cursor - T - host.lag_us) / self.step_us);
        let begins = (asked.max(0) as usize).min(host.segment_from).max(host.oldest);
        let mut again = None;
        for place in (begins..until).take(lost_after) {
            let event = host.event_at(place);
            let mark = Mark {
                hash: event as u64 + 1,
                time_us: self.happened_us(place) + host.lag_us,
                seq: 0,
            };
            let is_known = passage.asks_memory() && self.memory.contains(&event);
            let outcome = passage.event(mark, is_known, now, Duration::ZERO);
            self.gaps.extend(outcome.gap);
            self.take(event, outcome.taking);
            if outcome.again.is_some() {
                again = outcome.again;
                break;
            }
        }
        self.position = Position::read(Some(&position.save()));
        again
    }

    /// Fails unless each wanted event before `until` was captured once, or is named by a gap, and
    /// none was paid twice.
    #[track_caller]
    fn check(&self, until: usize, lag_us: i64) {
        let wanted: Vec<_> = (0..until).filter(|event| self.is_wanted(*event)).collect();
        let twice = wanted.iter().filter(|event| self.captured[**event] > 1).count();
        let lost: Vec<_> =
            wanted.iter().copied().filter(|event| self.captured[*event] == 0).collect();
        let is_named = |event: &usize| {
            let at_us = self.happened_us(*event);
            self.gaps
                .iter()
                .any(|(from_us, to_us)| (from_us - lag_us..=to_us + lag_us).contains(&at_us))
        };
        let unnamed: Vec<_> = lost.iter().copied().filter(|event| !is_named(event)).collect();
        let paid_twice = (0..until).filter(|event| self.paid[*event] > 1).count();
        let first = unnamed.first().copied();
        let (unnamed, gaps) = (unnamed.len(), &self.gaps);
        assert_eq!(
            (twice, unnamed, paid_twice),
            (0, 0, 0),
            "first lost: {first:?}, gaps: {gaps:?}"
        );
        assert!(self.connections < 20 && self.order.len() <= MEMORY_POSTS);
    }
}

/// Reads `first`, then `second`, which repeats everything since the start, then `first` again.
#[track_caller]
fn check_failover(
    per_second: i64,
    seconds: i64,
    wanted_every: usize,
    first_lag_s: i64,
    second_lag_s: i64,
) {
    let events = (per_second * seconds) as usize;
    let mut model = Model::new(events, per_second, wanted_every);
    let (first, second) =
        (Host::new("a", first_lag_s), Host { swapped: 7, ..Host::new("b", second_lag_s) });
    model.read(&first, events * 8 / 10, usize::MAX);
    model.read(&second, events * 9 / 10, usize::MAX);
    model.read(&first, events, usize::MAX);
    model.check(events - 1, 0);
    assert!(model.gaps.is_empty(), "{:?}", model.gaps);
}

#[test]
fn a_failover_with_more_repeated_events_than_are_remembered_takes_none_twice() {
    for (first_lag_s, second_lag_s) in [(0, 7), (30, 0), (0, 40), (0, -100)] {
        check_failover(2_500, 140, 1, first_lag_s, second_lag_s);
    }
}

#[test]
fn a_failover_with_few_events_about_a_topic_costs_nothing_for_the_repeated_ones() {
    for (first_lag_s, second_lag_s) in [(0, 7), (30, 0), (0, 100), (110, 0), (0, -500)] {
        check_failover(50, 900, 41, first_lag_s, second_lag_s);
    }
}

#[test]
fn a_hole_at_another_host_is_in_the_ledger() {
    for lag_s in [-20, 0, 20] {
        let mut model = Model::new(420_000, 1_000, 1);
        model.read(&Host::new("a", 0), 270_000, usize::MAX);
        let forgetful = Host { oldest: 280_000, segment_from: usize::MAX, ..Host::new("b", lag_s) };
        model.read(&forgetful, 420_000, usize::MAX);
        model.check(420_000, lag_s.abs() * S);
        assert_eq!(model.gaps.len(), 1);
    }
}

#[test]
fn connections_that_are_lost_anywhere_between_two_hosts_lose_and_repeat_nothing() {
    for (seed, lag_s) in [(1, 5), (2, -5), (3, 60), (4, -90), (5, 0)] {
        let mut model = Model::new(20_000, 50, 3);
        let hosts =
            [Host::new("a", 0), Host { swapped: 5, segment_from: 9_000, ..Host::new("b", lag_s) }];
        let mut random: u64 = seed * 7_919;
        for round in 1..=10 {
            random = (random * 48_271) % 2_147_483_647;
            let lost_after = random as usize % 9_000;
            model.read(&hosts[round % 2], 9_000 + round * 1_000, lost_after);
        }
        model.connections = 0;
        model.read(&hosts[0], 20_000, usize::MAX);
        model.check(19_999, 0);
        assert!(model.gaps.is_empty(), "{lag_s}: {:?}", model.gaps);
    }
}

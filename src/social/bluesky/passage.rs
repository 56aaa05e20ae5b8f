//! The path of each event of a connection: skipped, compared with remembered posts, or new. No I/O.

use std::time::Duration;

use time::OffsetDateTime;

use super::cursor::{AHEAD_MAX, Mark, Position, unix_us};
use super::join::{EARLY_WAIT, Joining, Resume, Step};

/// The way in which an event is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// The event isn't taken: it was captured before.
    Skipped,
    /// The event is taken unless it is remembered. It may be repeated, and costs something only if
    /// it is captured.
    Compared,
    /// The event is taken as new.
    New,
}

/// The consequences of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub taking: Taking,
    /// The period in which events may be missing, in µs.
    pub gap: Option<(i64, i64)>,
    /// The way to ask the same host again, if the connection isn't joined to the captured events.
    pub again: Option<Resume>,
}

impl Outcome {
    fn of(taking: Taking) -> Self {
        Self { taking, gap: None, again: None }
    }
}

/// The passage of one connection's events, and the position that they move.
pub(super) struct Passage<'a> {
    position: &'a mut Position,
    host: &'a str,
    by_author: bool,
    /// The join of this connection to the captured events; `None` once it is joined.
    joining: Option<Joining>,
    /// The position from which this connection was requested.
    asked: Position,
    /// True once the server says that it begins later than it was asked to.
    is_clamped: bool,
    /// The number of events since the connection was joined.
    live_events: u64,
    /// The number of events in a row that are from the future.
    ahead: u32,
}

impl<'a> Passage<'a> {
    pub(crate) fn new(
        position: &'a mut Position,
        host: &'a str,
        by_author: bool,
        joining: Joining,
    ) -> Self {
        Self {
            asked: position.clone(),
            position,
            host,
            by_author,
            joining: Some(joining),
            is_clamped: false,
            live_events: 0,
            ahead: 0,
        }
    }

    pub(crate) fn position(&self) -> &Position {
        self.position
    }

    /// Notes that the server begins later than it was asked to.
    pub(crate) fn clamped(&mut self) {
        self.is_clamped = true;
    }

    /// Notes that the server is alive and has nothing new from these authors.
    pub(crate) fn alive(&mut self, now: OffsetDateTime) {
        if self.by_author && self.joining.as_ref().is_none_or(Joining::is_settled) {
            self.position.alive(now);
        }
    }

    /// Returns true if an event has to be looked up among the remembered posts.
    pub(crate) fn asks_memory(&self) -> bool {
        self.joining.as_ref().is_some_and(Joining::asks_memory)
    }

    /// Returns how an event without a mark is taken. Such an event doesn't move the position.
    pub(crate) fn unmarked(&self) -> Taking {
        if self.joining.is_some() { Taking::Compared } else { Taking::New }
    }

    /// Returns the time to wait for another event before [`overdue`](Self::overdue) decides by the
    /// events that came; `None` if there is nothing to decide.
    pub(crate) fn decides_after(&self) -> Option<Duration> {
        let joining = self.joining.as_ref()?;
        (!joining.early().is_empty()).then_some(EARLY_WAIT)
    }

    /// Decides by the events that came, since no other event follows.
    pub(crate) fn overdue(&mut self, now: OffsetDateTime, stands: Duration) -> Option<Outcome> {
        let step = self.joining.as_mut()?.overdue(stands)?;
        match step {
            Step::Gap { .. } | Step::Again { .. } => Some(self.follow(step, None, now)),
            Step::Skip | Step::Compare | Step::Joined | Step::Live => None,
        }
    }

    /// Takes an event. `is_known` is true if the event is remembered; `stands` is the time since
    /// the connection was opened.
    pub(crate) fn event(
        &mut self,
        mark: Mark,
        is_known: bool,
        now: OffsetDateTime,
        stands: Duration,
    ) -> Outcome {
        let step = self.step(mark, is_known, now, stands);
        self.follow(step, Some(mark), now)
    }

    fn step(&mut self, mark: Mark, is_known: bool, now: OffsetDateTime, stands: Duration) -> Step {
        let Some(joining) = &mut self.joining else { return Step::Live };
        let is_ahead = mark.time_us > unix_us(now + AHEAD_MAX);
        self.ahead = if is_ahead { self.ahead + 1 } else { 0 };
        // One time in the future says nothing about the events before it; if the next event's time
        // is in the future too, the clock is slow.
        if self.ahead == 1 && !joining.is_mark(mark) && !joining.is_settled() {
            return Step::Compare;
        }
        let step = joining.step(mark, is_known, stands);
        if std::mem::take(&mut self.is_clamped) && mark.time_us > self.asked.reached() {
            return Step::Gap { from_us: self.asked.reached(), to_us: mark.time_us };
        }
        match step {
            Step::Live if self.asked.newest().is_none() => self.begins_later(mark).unwrap_or(step),
            _ => step,
        }
    }

    /// Returns the gap before a first event, judged by its time alone, since no event was captured
    /// before it.
    fn begins_later(&self, first: Mark) -> Option<Step> {
        let (from, to) = self.asked.missing(first.time_us).filter(|_| !self.by_author)?;
        Some(Step::Gap { from_us: unix_us(from), to_us: unix_us(to) })
    }

    fn follow(&mut self, step: Step, event: Option<Mark>, now: OffsetDateTime) -> Outcome {
        match step {
            Step::Skip => Outcome::of(Taking::Skipped),
            Step::Compare => Outcome::of(Taking::Compared),
            Step::Joined => {
                self.joined(now);
                Outcome::of(Taking::Skipped)
            }
            Step::Live => {
                self.joined(now);
                self.new_event(event, now);
                Outcome::of(Taking::New)
            }
            Step::Gap { from_us, to_us } => {
                let gap = self.gap(from_us, to_us, now);
                self.joined(now);
                self.new_event(event, now);
                Outcome { gap, ..Outcome::of(Taking::New) }
            }
            Step::Again { resume, gap } => {
                let is_given_up = matches!(resume, Resume::Other { assumed: true, .. });
                let named = gap.filter(|_| is_given_up);
                let gap = named.and_then(|(from_us, to_us)| self.gap(from_us, to_us, now));
                Outcome { gap, again: Some(resume), ..Outcome::of(Taking::Skipped) }
            }
        }
    }

    fn new_event(&mut self, event: Option<Mark>, now: OffsetDateTime) {
        let Some(mark) = event else { return };
        self.position.event(mark, now, self.live_events > 0);
        self.live_events += 1;
    }

    /// Ends the join: from here on everything is new, and has this host's times.
    fn joined(&mut self, now: OffsetDateTime) {
        let Some(joining) = self.joining.take() else { return };
        let is_other_host = self.position.host() != self.host;
        if is_other_host || joining.has_other_times() {
            self.position.set_host(self.host);
            let newest = joining.seen().back().filter(|_| joining.has_other_times());
            self.position.set_times(newest.map_or(0, |mark| mark.time_us.min(unix_us(now))));
            joining.seen().iter().for_each(|mark| self.position.note(*mark));
            return;
        }
        for early in joining.early() {
            self.position.event(*early, now, false);
        }
    }

    /// Returns the gap between two times, if it isn't empty, and notes that it is in the ledger.
    fn gap(&mut self, from_us: i64, to_us: i64, now: OffsetDateTime) -> Option<(i64, i64)> {
        let to_us = to_us.min(unix_us(now));
        if from_us >= to_us {
            return None;
        }
        self.position.reach(to_us);
        Some((from_us, to_us))
    }
}

//! Joins a connection that resumes to the events that were captured before.
//!
//! No server is as exact as its cursor. The current Jetstream answers a recent time cursor with all
//! events since its last closed segment, which may be hours; and each host stamps an event with the
//! time at which that host saw it. So a connection is joined to the one before by events, and not
//! by times alone:
//!
//! - The host that was read last repeats its events in the same order. All of them up to the newest
//!   captured one are skipped, without remembering any of them.
//! - Another host has other times, and nearly the same order. It is asked for events from
//!   [`OVERLAP`] before the newest event on; older events are skipped by their time, and the rest
//!   is compared with the remembered posts until the newest captured events have passed. If no
//!   event is known, that host is further ahead than the overlap, and is asked for earlier events.
//!
//! One event decides nothing, since a server may send a new event before the repeated ones: a host
//! is judged by [`EARLY_MAX`] newer events in a row, or by a pause of [`EARLY_WAIT`] after fewer.
//!
//! If a connection can't be joined, events may be missing: the period goes into the gap ledger,
//! even if it is short.

use super::cursor::{Mark, Position, REWIND, micros};

use std::collections::VecDeque;
use std::time::Duration;

/// The time before the newest event from which another host is read, since hosts see the same event
/// at different times. If a host lags by more, the join notices it and finds a longer overlap. A
/// longer overlap repeats more events, which have to be remembered: at 250 posts/s this overlap has
/// 30,000.
pub(super) const OVERLAP: Duration = Duration::from_secs(120);

/// The most by which hosts may differ in their order of events: the overlap has to begin this long
/// before the first known event.
const DISORDER: Duration = Duration::from_secs(10);

/// The time for which a host is read back, without taking anything, to find a known event.
const SEARCHED_BACK: Duration = Duration::from_secs(3600);

/// The most repetitions for one host in a row before a period that can't be joined goes into the
/// ledger.
const TRIES_MAX: u32 = 4;

/// The time for which events from before the source's start are skipped. A server whose clock is
/// behind this machine's sends such times without an end.
const OLDER_MAX: Duration = Duration::from_secs(60);

/// The number of newer events in a row after which a host is taken not to have the older ones.
/// Fewer newer events may be live events that overtook the repeated ones; the ledger would then
/// have entries for posts that aren't missing. With a larger number, more events would be taken
/// before the entry for missing posts is made.
const EARLY_MAX: usize = 8;

/// The time without another event after which fewer than [`EARLY_MAX`] are enough. A longer time
/// delays the ledger's entry on a quiet stream; a shorter one is less than servers need between two
/// packets.
pub(super) const EARLY_WAIT: Duration = Duration::from_secs(1);

/// The way in which a connection resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// From the live end: nothing came before.
    Start,
    /// From this time on: the source has been connected since then, but no event came.
    Since { began_us: i64 },
    /// The same host, from the host's own number `seq` on.
    Number { seq: i64 },
    /// The same host, from this time on.
    Same { asked_us: i64 },
    /// Another host, or another one under the same name, from this time on. `assumed` is true if
    /// joining was given up and the ledger has the period.
    Other { asked_us: i64, assumed: bool },
    /// The same host again, only to find a known event.
    Search { asked_us: i64 },
}

impl Resume {
    /// Plans how a host continues from a position. `now_us` is this machine's time.
    pub(crate) fn plan(position: &Position, host: &str, now_us: i64) -> Self {
        let Some(newest_us) = position.newest() else {
            return position
                .began()
                .map_or(Self::Start, |began_us| Self::Since { began_us: began_us.min(now_us) });
        };
        // If the clock was ahead and was set back, the cursor must not lie in the future: Jetstream
        // takes such a cursor for the live end.
        let newest_us = newest_us.min(now_us);
        match position.marks().back() {
            Some(mark) if position.host() == host && mark.seq > 0 => Self::Number { seq: mark.seq },
            Some(_) if position.host() == host => {
                Self::Same { asked_us: newest_us - micros(REWIND) }
            }
            _ => Self::Other { asked_us: newest_us - position.overlap_us(), assumed: false },
        }
    }

    /// Returns the cursor for the request.
    pub(crate) fn cursor(self) -> Option<i64> {
        match self {
            Self::Start => None,
            Self::Since { began_us } => Some(began_us - micros(REWIND)),
            Self::Number { seq } => Some(seq),
            Self::Same { asked_us } | Self::Other { asked_us, .. } | Self::Search { asked_us } => {
                Some(asked_us.max(0))
            }
        }
    }
}

/// The decision on an event of a connection that resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Skip the event: it was captured before, or is older than the requested time.
    Skip,
    /// Compare the event with the remembered posts: it may have been captured before.
    Compare,
    /// Skip the event, which was captured before; all events behind it are new.
    Joined,
    /// Take the event as new, and all events behind it.
    Live,
    /// Events between these times may be missing; from here on everything is new.
    Gap { from_us: i64, to_us: i64 },
    /// Ask the same host again. `gap` is the period of events that may be missing, if joining is
    /// given up.
    Again { resume: Resume, gap: Option<(i64, i64)> },
}

/// The join of a connection to the events that were captured before it.
#[derive(Debug)]
pub(super) struct Joining {
    resume: Resume,
    /// The newest captured time; like `marks`, by the clock of the host that was read before.
    reached_us: i64,
    /// The time before which events aren't wanted, since the source began later.
    wanted_from_us: i64,
    marks: Vec<Mark>,
    /// The time before the newest event from which another host can be compared with the remembered
    /// events.
    overlap_us: i64,
    /// True if posts that were captured may be forgotten by now.
    is_memory_short: bool,
    /// The time up to which the stream is known to have had no new events. If it is later than
    /// `reached_us`, a gap on the same host begins there.
    quiet_until_us: i64,
    /// True if the stream is so quiet that a host may have nothing in a whole overlap.
    is_quiet: bool,
    /// The number of earlier attempts with this host.
    tries: u32,
    /// True if the host sent an event that isn't newer than the captured ones.
    has_old: bool,
    /// True if an event came that joins the connection to the one before.
    is_joined: bool,
    /// The newest time at which this host has a known event; 0 if no known event came.
    known_us: i64,
    /// The newest time at which this host has one of `marks`; 0 if none of them came.
    passed_us: i64,
    /// True once the last of `marks` came.
    has_passed_last: bool,
    /// The last events in a row that are newer than expected, oldest first.
    early: Vec<Mark>,
    /// True once no other event came for [`EARLY_WAIT`].
    is_overdue: bool,
    /// The last events of this host.
    seen: VecDeque<Mark>,
}

impl Joining {
    /// Makes the join of a connection that resumes from a position.
    pub(crate) fn new(resume: Resume, position: &Position, is_quiet: bool, tries: u32) -> Self {
        Self {
            resume,
            reached_us: position.last_seen(),
            wanted_from_us: position.began().map_or(0, |began_us| began_us - micros(REWIND)),
            marks: position.marks().iter().copied().collect(),
            overlap_us: position.overlap_us(),
            is_memory_short: position.is_memory_short(),
            quiet_until_us: position.alive_at(),
            is_quiet,
            tries,
            has_old: false,
            is_joined: false,
            known_us: 0,
            passed_us: 0,
            has_passed_last: false,
            early: Vec::new(),
            is_overdue: false,
            seen: VecDeque::new(),
        }
    }

    /// Returns the last events that this host sent, with its own times.
    pub(crate) fn seen(&self) -> &VecDeque<Mark> {
        &self.seen
    }

    /// Returns the last events in a row that didn't suffice for a decision, oldest first.
    pub(crate) fn early(&self) -> &[Mark] {
        &self.early
    }

    /// Returns true if the times of this connection's events differ from the position's.
    pub(crate) fn has_other_times(&self) -> bool {
        matches!(self.resume, Resume::Other { .. })
    }

    /// Returns true if an event is one of the last captured ones.
    pub(crate) fn is_mark(&self, event: Mark) -> bool {
        self.marks.iter().any(|mark| mark.is_same(event))
    }

    /// Returns true if the connection is joined to all captured events, as far as that is known
    /// before an event comes.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(
            self.resume,
            Resume::Start | Resume::Since { .. } | Resume::Other { assumed: true, .. }
        )
    }

    /// Returns true if an event has to be looked up among the remembered posts before
    /// [`step`](Self::step).
    pub(crate) fn asks_memory(&self) -> bool {
        let is_other = matches!(self.resume, Resume::Other { assumed: false, .. });
        is_other || matches!(self.resume, Resume::Search { .. })
    }

    /// Decides on an event. `is_known` is true if the event is remembered; `stands` is the time
    /// since the connection was opened.
    pub(crate) fn step(&mut self, event: Mark, is_known: bool, stands: Duration) -> Step {
        if self.seen.len() == super::cursor::MARKS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(event);
        self.has_old |= event.time_us <= self.reached_us;
        self.know(event, is_known);
        self.decide(event, stands)
    }

    /// Decides by the events that came, since no other event follows. Returns `None` if there is
    /// nothing to decide.
    pub(crate) fn overdue(&mut self, stands: Duration) -> Option<Step> {
        let event = self.early.pop()?;
        self.is_overdue = true;
        Some(self.decide(event, stands))
    }

    fn decide(&mut self, event: Mark, stands: Duration) -> Step {
        match self.resume {
            Resume::Start => Step::Live,
            Resume::Since { .. } => older(event, self.wanted_from_us, stands),
            Resume::Number { seq } => self.by_number(event, seq),
            Resume::Same { .. } => self.on_the_same_host(event),
            Resume::Other { asked_us, assumed } => self.on_another_host(event, asked_us, assumed),
            Resume::Search { .. } => self.search(event),
        }
    }

    /// Notes an event that is newer than expected. Returns true if there are enough of them for a
    /// decision.
    fn is_enough_with(&mut self, event: Mark) -> bool {
        self.early.push(event);
        self.is_overdue || self.early.len() >= EARLY_MAX
    }

    /// Returns the earliest time among the events by which a host is judged.
    fn first_early_us(&self, event: Mark) -> i64 {
        let times = self.early.iter().map(|early| early.time_us);
        times.min().unwrap_or(event.time_us)
    }

    /// Compares the first event with the requested number's event: both have to be the same,
    /// otherwise the numbers belong to another host.
    fn by_number(&self, event: Mark, seq: i64) -> Step {
        let newest = self
            .marks
            .last()
            .is_some_and(|mark| mark.is_same(event) && mark.time_us == event.time_us);
        if newest {
            return Step::Joined;
        }
        let is_behind = event.seq > seq || (event.seq == 0 && event.time_us > self.reached_us);
        if !is_behind {
            return Step::Skip;
        }
        Step::Again {
            resume: Resume::Same { asked_us: self.reached_us - micros(REWIND) },
            gap: None,
        }
    }

    fn on_the_same_host(&mut self, event: Mark) -> Step {
        let at = self
            .marks
            .iter()
            .rposition(|mark| mark.is_same(event) && mark.time_us == event.time_us);
        self.is_joined |= at.is_some();
        if at.is_some() && at == self.marks.len().checked_sub(1) {
            return Step::Joined;
        }
        if event.time_us <= self.reached_us {
            self.early.clear();
            return Step::Skip;
        }
        if self.is_joined {
            return Step::Live;
        }
        if !self.is_enough_with(event) {
            return Step::Compare;
        }
        if self.has_old {
            // The host has other events or other times than before: it is another host under the
            // same name.
            let asked_us = self.reached_us - self.overlap_us;
            return Step::Again { resume: Resume::Other { asked_us, assumed: false }, gap: None };
        }
        let to_us = self.first_early_us(event);
        Step::Gap { from_us: self.reached_us.max(self.quiet_until_us.min(to_us)), to_us }
    }

    fn on_another_host(&mut self, event: Mark, asked_us: i64, assumed: bool) -> Step {
        let order_us = micros(DISORDER).min(self.overlap_us / 4);
        self.is_joined |= assumed || self.known_us >= asked_us + order_us;
        let is_new = event.time_us > self.reached_us;
        let has_passed = self.passed_us > 0 && event.time_us > self.passed_us + order_us;
        let has_passed = has_passed || (self.has_passed_last && !self.is_mark(event));
        // A host that lags by more than the overlap repeats known events behind the newest time.
        let is_far = event.time_us > self.reached_us.max(self.known_us) + self.overlap_us;
        if self.is_joined && (has_passed || is_far || (assumed && is_new)) {
            return Step::Live;
        }
        let is_later = is_new && !self.has_old;
        if !self.is_joined && (is_later || is_far || has_passed) {
            if !self.is_enough_with(event) {
                return if is_later { Step::Compare } else { self.compare(event, asked_us) };
            }
            let to_us = self.first_early_us(event);
            if is_later && !(self.is_quiet && self.tries == 0) {
                return Step::Gap { from_us: asked_us, to_us };
            }
            let gap = Some((asked_us, self.reached_us));
            return Step::Again { resume: self.further_back(asked_us), gap };
        }
        self.early.clear();
        self.compare(event, asked_us)
    }

    /// Compares an event with the remembered posts. If posts are forgotten, an event before the
    /// first known one may be such a post, and is skipped.
    fn compare(&self, event: Mark, asked_us: i64) -> Step {
        let is_old = event.time_us < asked_us.max(self.wanted_from_us);
        let may_be_forgotten = self.is_memory_short && !self.is_settled() && self.known_us == 0;
        if is_old || may_be_forgotten { Step::Skip } else { Step::Compare }
    }

    fn further_back(&self, asked_us: i64) -> Resume {
        if self.tries >= TRIES_MAX {
            return Resume::Other { asked_us, assumed: true };
        }
        if self.known_us > 0 {
            return Resume::Other { asked_us: self.known_us - self.overlap_us, assumed: false };
        }
        Resume::Search { asked_us: self.reached_us - micros(SEARCHED_BACK) }
    }

    /// Reads on to the live end and takes nothing; the skipped events come again with the next
    /// connection.
    fn search(&mut self, event: Mark) -> Step {
        if event.time_us <= self.reached_us {
            self.early.clear();
            return Step::Skip;
        }
        if !self.is_enough_with(event) {
            return Step::Skip;
        }
        let asked_us = self.reached_us - self.overlap_us;
        if self.known_us == 0 || self.tries >= TRIES_MAX {
            let gap = Some((asked_us, self.first_early_us(event)));
            return Step::Again { resume: Resume::Other { asked_us, assumed: true }, gap };
        }
        let asked_us = (self.known_us - self.overlap_us).min(asked_us);
        Step::Again { resume: Resume::Other { asked_us, assumed: false }, gap: None }
    }

    fn know(&mut self, event: Mark, is_known: bool) {
        let is_mark = self.is_mark(event);
        if is_known || is_mark {
            self.known_us = self.known_us.max(event.time_us);
        }
        if is_mark {
            self.passed_us = self.passed_us.max(event.time_us);
            self.has_passed_last |= self.marks.last().is_some_and(|mark| mark.is_same(event));
        }
    }
}

/// Skips an event from before the source's start. Once the connection is [`OLDER_MAX`] old, such an
/// event is taken, with a gap for the skipped ones.
fn older(event: Mark, wanted_from_us: i64, stands: Duration) -> Step {
    if event.time_us >= wanted_from_us {
        return Step::Live;
    }
    if stands < OLDER_MAX {
        return Step::Skip;
    }
    Step::Gap { from_us: event.time_us - micros(stands), to_us: event.time_us }
}

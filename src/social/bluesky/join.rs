//! Where a connection that resumes meets what was captured before.
//!
//! No server is as exact as its cursor. The current Jetstream answers a recent time cursor with all
//! that came since its last closed segment, which may be hours; and each host stamps an event with
//! the time at which that host saw it. So a connection is joined to the one before by events, and
//! not by times alone:
//!
//! - The host that the stream was read from last repeats its events in the same order. All of them up to the newest one
//!   that was captured are skipped, without remembering any of them.
//! - Another host has other times, and nearly the same order. It is asked from [`OVERLAP`] before the
//!   newest event on; older events are skipped by their time, and the rest is compared with the
//!   remembered posts until the newest captured events have passed. If no event is known, that host
//!   is further ahead than the overlap, and is asked from further back.
//!
//! One event decides nothing, since a server may send a new event before the repeated ones: a host
//! is judged by [`EARLY_MAX`] newer events in a row, or by a pause of [`EARLY_WAIT`] after fewer.
//!
//! What can't be joined may lack something, and goes into the gap ledger, however short the time
//! is.

use super::cursor::{Mark, Position, REWIND, micros};

use std::collections::VecDeque;
use std::time::Duration;

/// How far before the newest event another host is asked from: hosts see the same event at
/// different times. A host that lagged by more is noticed, and then a longer one is found. A longer
/// one repeats more, which has to be remembered: at 250 posts/s this one has 30,000.
pub(super) const OVERLAP: Duration = Duration::from_secs(120);

/// How far hosts may differ in their order of events: the overlap has to begin so long before the
/// first known event.
const DISORDER: Duration = Duration::from_secs(10);

/// How far back a host is read, without taking anything, to find an event that is known.
const SEARCHED_BACK: Duration = Duration::from_secs(3600);

/// How often a host is asked again in a row before what can't be joined goes into the ledger.
const TRIES_MAX: u32 = 4;

/// How long events that are older than the source's start are skipped. A server whose clock is
/// behind this machine's gives such times for ever.
const OLDER_MAX: Duration = Duration::from_secs(60);

/// The number of newer events in a row after which a host is taken not to have the older ones.
/// Fewer may be live events that overtook the repetition, and would be entries in the ledger for
/// posts that aren't missing; more would be taken before the entry for the posts that are.
const EARLY_MAX: usize = 8;

/// The time without another event after which fewer than [`EARLY_MAX`] are enough. A longer one
/// delays the ledger's entry on a quiet stream; a shorter one is less than servers take between two
/// packets.
pub(super) const EARLY_WAIT: Duration = Duration::from_secs(1);

/// How a connection resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// There is nothing before it.
    Start,
    /// Nothing came before, but this is how long it has been asked for: since this time.
    Since { began_us: i64 },
    /// The same host, from this number of its own on.
    Number { seq: i64 },
    /// The same host, by time.
    Same { asked_us: i64 },
    /// Another host, or one that isn't the one that it was: from this time on. `assumed` says that
    /// it can't be joined, and that the ledger has this.
    Other { asked_us: i64, assumed: bool },
    /// The same, only to find an event that is known.
    Search { asked_us: i64 },
}

impl Resume {
    /// How a host goes on from a position. `now_us` is this machine's time.
    pub fn plan(position: &Position, host: &str, now_us: i64) -> Self {
        let Some(newest_us) = position.newest() else {
            return position
                .began()
                .map_or(Self::Start, |began_us| Self::Since { began_us: began_us.min(now_us) });
        };
        // A clock that was ahead and was set back leaves no cursor in the future, which Jetstream
        // takes for the live end.
        let newest_us = newest_us.min(now_us);
        match position.marks().back() {
            Some(mark) if position.host() == host && mark.seq > 0 => Self::Number { seq: mark.seq },
            Some(_) if position.host() == host => {
                Self::Same { asked_us: newest_us - micros(REWIND) }
            }
            _ => Self::Other { asked_us: newest_us - position.overlap_us(), assumed: false },
        }
    }

    /// The cursor that is asked for.
    pub fn cursor(self) -> Option<i64> {
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

/// What to do with an event of a connection that resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was captured before, or is older than what was asked for.
    Skip,
    /// It may have been captured before: what is remembered tells.
    Compare,
    /// It was captured before, and all behind it is new.
    Joined,
    /// It is new, and so is all behind it.
    Live,
    /// Events between these times may be missing; from here on everything is new.
    Gap { from_us: i64, to_us: i64 },
    /// Ask the same host again. `from_us` and `to_us` name what may be missing, if this is given
    /// up.
    Again { resume: Resume, gap: Option<(i64, i64)> },
}

/// Joins a connection to what was captured before it.
#[derive(Debug)]
pub(super) struct Joining {
    resume: Resume,
    /// The newest time that was captured, and the last events, by the host that the stream was read
    /// from before.
    reached_us: i64,
    /// What is older than this was there before the source began.
    wanted_from_us: i64,
    marks: Vec<Mark>,
    /// How far back another host can be compared with what is remembered.
    overlap_us: i64,
    /// True if posts that were captured may be forgotten by now.
    is_memory_short: bool,
    /// From when on events may be missing on the same host: later than `reached_us` if it is known
    /// to have had none.
    quiet_until_us: i64,
    /// True if the stream is so quiet that a host may have nothing in a whole overlap.
    is_quiet: bool,
    /// How often this host was asked before.
    tries: u32,
    /// True if the host gave anything that isn't newer than what was captured.
    has_old: bool,
    /// True if an event came by which the two are joined.
    is_joined: bool,
    /// The newest time at which this host has an event that is known; 0 if there was none.
    known_us: i64,
    /// The newest time at which this host has one of `marks`; 0 if none came.
    passed_us: i64,
    /// True once the last one of `marks` came.
    has_passed_last: bool,
    /// The last events in a row that are newer than they should be, oldest first.
    early: Vec<Mark>,
    /// True once no other event came for [`EARLY_WAIT`].
    is_overdue: bool,
    /// The last events of this host.
    seen: VecDeque<Mark>,
}

impl Joining {
    /// Of a connection that resumes from a position.
    pub fn new(resume: Resume, position: &Position, is_quiet: bool, tries: u32) -> Self {
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

    /// The last events that this host gave until now, by its own times.
    pub fn seen(&self) -> &VecDeque<Mark> {
        &self.seen
    }

    /// The last events in a row by which nothing could be decided yet, oldest first.
    pub fn early(&self) -> &[Mark] {
        &self.early
    }

    /// Returns true if the times of this connection's events aren't those of the position.
    pub fn has_other_times(&self) -> bool {
        matches!(self.resume, Resume::Other { .. })
    }

    /// Returns true if an event is one of the last that were captured before.
    pub fn is_mark(&self, event: Mark) -> bool {
        self.marks.iter().any(|mark| mark.is_same(event))
    }

    /// Returns true if all that was captured before is known to be joined, as far as that can be
    /// known before an event comes.
    pub fn is_settled(&self) -> bool {
        matches!(
            self.resume,
            Resume::Start | Resume::Since { .. } | Resume::Other { assumed: true, .. }
        )
    }

    /// Whether an event has to be looked up in what is remembered, before [`step`](Self::step).
    pub fn asks_memory(&self) -> bool {
        let is_other = matches!(self.resume, Resume::Other { assumed: false, .. });
        is_other || matches!(self.resume, Resume::Search { .. })
    }

    /// What to do with an event. `is_known` says that it is remembered; `stands` is how long the
    /// connection has stood.
    pub fn step(&mut self, event: Mark, is_known: bool, stands: Duration) -> Step {
        if self.seen.len() == super::cursor::MARKS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(event);
        self.has_old |= event.time_us <= self.reached_us;
        self.know(event, is_known);
        self.decide(event, stands)
    }

    /// Decides by the events that came, since no other follows. Returns nothing if there is nothing
    /// to decide.
    pub fn overdue(&mut self, stands: Duration) -> Option<Step> {
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

    /// Notes an event that is newer than it should be. Returns true if there were enough of them.
    fn is_enough_with(&mut self, event: Mark) -> bool {
        self.early.push(event);
        self.is_overdue || self.early.len() >= EARLY_MAX
    }

    /// The time of the first event of those in a row by which a host is judged.
    fn first_early_us(&self, event: Mark) -> i64 {
        let times = self.early.iter().map(|early| early.time_us);
        times.min().unwrap_or(event.time_us)
    }

    /// The first event has to be the one that was asked for; else the numbers are those of another
    /// host.
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
            // It has other events than it had, or other times: it is another host under the same
            // name.
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

    /// Compares an event with the remembered posts. Where posts are forgotten, an event before the
    /// first known one may be such a post.
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

    /// Reads on until the live end, and takes nothing; what it passes over comes again with the
    /// next connection.
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

/// What is older than the source's own start isn't wanted.
fn older(event: Mark, wanted_from_us: i64, stands: Duration) -> Step {
    if event.time_us >= wanted_from_us {
        return Step::Live;
    }
    if stands < OLDER_MAX {
        return Step::Skip;
    }
    Step::Gap { from_us: event.time_us - micros(stands), to_us: event.time_us }
}

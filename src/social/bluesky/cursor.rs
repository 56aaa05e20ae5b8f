//! The position of the stream, and the meaning of its silence.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

use super::join::OVERLAP;

/// The time before the newest event from which a connection to the same host goes on, so that the
/// newest event comes again.
pub(super) const REWIND: Duration = Duration::from_secs(5);

/// The time for which Jetstream keeps events.
pub(super) const LOOKBACK: Duration = Duration::from_secs(36 * 3600);

/// The least patience with a stream: its first event may be this much later than the cursor before
/// earlier events count as missing, and a busy stream may be silent for this long. Streams with
/// long silences get more.
const LATE_MIN: Duration = Duration::from_secs(60);

/// The longest time that a stream may be silent before it is connected again, which loses nothing.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// The factor between the longest recent silence and the patience with a stream.
const SILENCES: f64 = 10.0;

/// The factor by which each further event reduces the longest recent silence.
const FORGETS: f64 = 0.999;

/// The most that an event's time may be ahead of this machine's clock, since clocks differ. An
/// event that is further ahead moves the position to the present at most, and only if everything up
/// to [`REWIND`] ago was captured: otherwise events that are still to come would be skipped.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(5);

/// The number of events in a row that are ahead after which this machine's clock counts as slow.
const CLOCK_IS_SLOW: u32 = 10;

/// The number of last events that are remembered with the position. One would do, but a server may
/// have dropped it since (the account was deleted). Each takes 40 bytes of each record of the
/// spool.
pub(super) const MARKS_MAX: usize = 8;

/// A mark of a captured event, by which the event is recognised when it comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The hash of the event, the same on every host.
    pub hash: u64,
    /// The time at which the host saw the event, in µs since 1970.
    pub time_us: i64,
    /// The host's own number of the event; 0 if the host gives none.
    pub seq: i64,
}

impl Mark {
    /// Returns true if both are the same event, perhaps of two hosts.
    pub(crate) fn is_same(self, other: Self) -> bool {
        self.hash == other.hash
    }

    fn read(word: &str) -> Option<Self> {
        let mut parts = word.split(':');
        let hash = u64::from_str_radix(parts.next()?, 16).ok()?;
        Some(Self { hash, time_us: parts.next()?.parse().ok()?, seq: parts.next()?.parse().ok()? })
    }

    fn save(self) -> String {
        format!("{:x}:{}:{}", self.hash, self.time_us, self.seq)
    }
}

/// The position of the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Position {
    /// The newest event's time in µs since 1970; 0 if there was no event.
    newest_us: i64,
    /// The time of the first connection by this machine's clock, in µs, or the time of its first
    /// event, if that is earlier; 0 if there was no connection. Events that are more than
    /// [`REWIND`] older aren't wanted.
    began_us: i64,
    /// The time at which a stream by authors was last known to have nothing new, in µs.
    alive_us: i64,
    /// The longest recent time between two events, in µs.
    silence_us: f64,
    /// The number of last events in a row that were ahead of this machine's clock.
    ahead: u32,
    /// The host whose times these are; empty if the host isn't known.
    host: String,
    /// The last events, in the host's order.
    marks: VecDeque<Mark>,
    /// The times of every [`SAMPLE_EVENTS`]th of the last events, the newest last, and the number
    /// of events since the last sample.
    samples: VecDeque<i64>,
    since_sample: u64,
}

/// The number of events between two samples, and the number of samples. Together the samples span
/// fewer events than are remembered, so that events that are repeated from the oldest sample on can
/// be compared with the remembered ones.
const SAMPLE_EVENTS: u64 = 40_000;
const SAMPLES_MAX: usize = 5;

/// The signs in a saved position before each sample, and before the number of events since the last
/// one.
const SAMPLE: &str = "@";
const SINCE_SAMPLE: &str = "+";

impl Position {
    /// Reads a position that [`save`](Self::save) returned; without one, the stream begins at the
    /// live end.
    pub(crate) fn read(saved: Option<&str>) -> Self {
        let mut words = saved.unwrap_or_default().split(' ');
        let mut next = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (newest_us, began_us, alive_us, silence_us) = (next(), next(), next(), next() as f64);
        let host = words.next().unwrap_or_default().to_owned();
        let words: Vec<_> = words.collect();
        let marks = words.iter().filter_map(|word| Mark::read(word)).collect();
        let samples =
            words.iter().filter_map(|word| word.strip_prefix(SAMPLE)?.parse().ok()).collect();
        let since = words.iter().find_map(|word| word.strip_prefix(SINCE_SAMPLE)?.parse().ok());
        let since_sample = since.unwrap_or(0);
        Self {
            newest_us,
            began_us,
            alive_us,
            silence_us,
            ahead: 0,
            host,
            marks,
            samples,
            since_sample,
        }
    }

    /// Returns the position as text.
    pub(crate) fn save(&self) -> String {
        let (silence_us, host) = (self.silence_us as i64, &self.host);
        let mut text =
            format!("{} {} {} {silence_us} {host}", self.newest_us, self.began_us, self.alive_us);
        for mark in &self.marks {
            text.push(' ');
            text.push_str(&mark.save());
        }
        for sample in &self.samples {
            text.push(' ');
            text.push_str(SAMPLE);
            text.push_str(&sample.to_string());
        }
        text + &format!(" {SINCE_SAMPLE}{}", self.since_sample)
    }

    /// Notes that a connection is open.
    pub(crate) fn connected(&mut self, now: OffsetDateTime) {
        if self.began_us == 0 {
            self.began_us = unix_us(now);
        }
    }

    /// Returns the time up to which everything was captured, in µs; 0 if there is no such time.
    pub(crate) fn reached(&self) -> i64 {
        if self.newest_us > 0 { self.newest_us } else { self.began_us }
    }

    /// Returns the newest event's time, if there was an event.
    pub(crate) fn newest(&self) -> Option<i64> {
        (self.newest_us > 0).then_some(self.newest_us)
    }

    /// Returns the time of the first connection.
    pub(crate) fn began(&self) -> Option<i64> {
        (self.began_us > 0).then_some(self.began_us)
    }

    /// Returns the time at which a stream by authors was last known to have nothing new; 0 if that
    /// isn't known.
    pub(crate) fn alive_at(&self) -> i64 {
        self.alive_us
    }

    /// Returns the host whose times these are.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Notes that the times are those of this host from here on. Names of hosts have no spaces.
    pub(crate) fn set_host(&mut self, host: &str) {
        host.clone_into(&mut self.host);
        self.marks.clear();
    }

    /// Replaces the newest time by another host's time: both hosts' earlier events were captured.
    /// Without this, events of a host that is ahead would count as captured by their times.
    pub(crate) fn set_times(&mut self, newest_us: i64) {
        let shift_us = newest_us - self.newest_us;
        if self.newest_us > 0 && newest_us > 0 {
            self.newest_us = newest_us;
            self.samples.iter_mut().for_each(|sample_us| *sample_us += shift_us);
        }
    }

    /// Returns the last events.
    pub(crate) fn marks(&self) -> &VecDeque<Mark> {
        &self.marks
    }

    /// Returns a time that isn't before any captured event of the host, except for a single one
    /// from the future.
    pub(crate) fn last_seen(&self) -> i64 {
        let mut times: Vec<_> = self.marks.iter().map(|mark| mark.time_us).collect();
        times.sort_unstable();
        let second = times.len().checked_sub(2).map_or(0, |at| times[at]);
        self.reached().max(second)
    }

    /// Notes an event that was captured.
    pub(crate) fn note(&mut self, mark: Mark) {
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// Takes an event; `within` is true if others came before it on the same connection.
    pub(crate) fn event(&mut self, mark: Mark, now: OffsetDateTime, within: bool) {
        let time_us = mark.time_us;
        if time_us <= 0 {
            return;
        }
        self.note(mark);
        let is_ahead = time_us > unix_us(now + AHEAD_MAX);
        self.ahead = if is_ahead { self.ahead.saturating_add(1) } else { 0 };
        if is_ahead && self.ahead < CLOCK_IS_SLOW && self.reached() < unix_us(now - REWIND) {
            return;
        }
        let time_us = if is_ahead { unix_us(now) } else { time_us };
        if self.newest_us == 0 && self.began_us > 0 {
            // The server's clock may be behind this machine's.
            self.began_us = self.began_us.min(time_us);
        }
        if within && self.newest_us > 0 {
            let silence = (time_us - self.newest_us).max(0) as f64;
            self.silence_us = silence.max(self.silence_us * FORGETS);
        }
        self.newest_us = self.newest_us.max(time_us);
        self.since_sample += 1;
        if self.since_sample >= SAMPLE_EVENTS {
            self.since_sample = 0;
            self.samples.push_back(self.newest_us);
            if self.samples.len() > SAMPLES_MAX {
                self.samples.pop_front();
            }
        }
    }

    /// Returns the time before the newest event from which another host can be compared with the
    /// remembered events: [`OVERLAP`], or less if more events came in that time than are
    /// remembered.
    pub(crate) fn overlap_us(&self) -> i64 {
        let oldest = self.samples.front().filter(|_| self.samples.len() == SAMPLES_MAX);
        let remembered = oldest.map_or(i64::MAX, |oldest| (self.newest_us - oldest).max(0));
        micros(OVERLAP).min(remembered)
    }

    /// Returns true if so many events came that the oldest captured posts are forgotten by now.
    pub(crate) fn is_memory_short(&self) -> bool {
        self.samples.len() == SAMPLES_MAX
    }

    /// Notes that everything before this time was captured, or is in the ledger.
    pub(crate) fn reach(&mut self, time_us: i64) {
        self.newest_us = self.newest_us.max(time_us);
    }

    /// Notes that the server is alive and has nothing new.
    pub(crate) fn alive(&mut self, now: OffsetDateTime) {
        self.alive_us = self.alive_us.max(unix_us(now));
    }

    /// Returns the time that the stream may be silent before its silence counts as a failure.
    pub(crate) fn patience(&self) -> Duration {
        let silence = Duration::from_micros((self.silence_us * SILENCES) as u64);
        silence.clamp(LATE_MIN, PATIENCE_MAX)
    }

    /// Returns the period whose events are missing, judged by the time of the first event alone,
    /// since no event was captured before: a server that lacks the events after a cursor begins
    /// with the oldest event that it has, without a notice.
    pub(crate) fn missing(&self, first_us: i64) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let late = first_us.saturating_sub(self.reached()) > micros(self.patience());
        (self.reached() > 0 && late).then(|| (at(self.reached()), at(first_us)))
    }

    /// Returns the same for a stream by authors, whose first event tells nothing: the period before
    /// the oldest event that Jetstream keeps.
    pub(crate) fn forgotten(
        &self,
        now: OffsetDateTime,
    ) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let from = self.reached().max(self.alive_us);
        let oldest = unix_us(now) - micros(LOOKBACK);
        (from > 0 && from < oldest).then(|| (at(from), at(oldest)))
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns a time in µs since 1970.
pub(super) fn unix_us(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Returns the time of a number of µs since 1970; 1970 itself if no time has this number.
pub(super) fn at(us: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::join::Resume;
    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);
    const S: i64 = 1_000_000;

    fn mark(time_us: i64) -> Mark {
        Mark { hash: time_us as u64, time_us, seq: 0 }
    }

    /// Returns the cursor for another connection to the same host.
    fn cursor(position: &Position, now: OffsetDateTime) -> Option<i64> {
        Resume::plan(position, position.host(), unix_us(now)).cursor()
    }

    fn position(events: &[i64]) -> Position {
        let mut position = Position::default();
        for (number, at) in events.iter().enumerate() {
            let now = NOW + time::Duration::seconds(*at).max(time::Duration::ZERO);
            position.event(mark(unix_us(NOW) + at * S), now, number > 0);
        }
        position
    }

    #[test]
    fn it_goes_on_a_little_before_the_newest_event_and_never_before_an_older_one() {
        assert_eq!(cursor(&Position::default(), NOW), None);
        let position = position(&[-50, -40, -45]);
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 45 * S));
        assert_eq!(Position::read(Some(&position.save())), position);
        assert_eq!(Position::read(Some("what")), Position::default());
    }

    #[test]
    fn an_overlap_has_no_more_events_than_are_remembered() {
        let mut position = Position::default();
        let ms = |n: i64| unix_us(NOW) + n * 1_000;
        (0..SAMPLE_EVENTS as i64 * 4).for_each(|n| position.event(mark(ms(n)), at(ms(n)), n > 0));
        assert_eq!(position.overlap_us(), micros(OVERLAP), "all of them are remembered");
        let many = SAMPLE_EVENTS as i64 * 6;
        (0..many).for_each(|n| position.event(mark(ms(200_000) + n * 100), at(ms(300_000)), true));
        let events = position.overlap_us() / 100;
        assert!((SAMPLE_EVENTS as i64 * 3..250_000).contains(&events), "{events}");
        assert_eq!(Position::read(Some(&position.save())).overlap_us(), position.overlap_us());
    }

    #[test]
    fn a_connection_that_brought_nothing_is_gone_on_from_its_beginning() {
        let mut position = Position::default();
        position.connected(NOW);
        position.connected(NOW + Duration::from_secs(60));
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 5 * S));
        // The server's clock is 15 minutes behind.
        position.event(mark(unix_us(NOW) - 900 * S), NOW, false);
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 905 * S));
    }

    #[test]
    fn one_time_from_the_future_skips_nothing_of_what_is_caught_up() {
        let mut position = position(&[-7_200]);
        for ahead in [unix_us(NOW) + 6 * S, i64::MAX] {
            position.event(mark(ahead), NOW, true);
        }
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 7_205 * S));
        assert_eq!(position.patience(), LATE_MIN);
        // Ten such events in a row mean that this machine's clock is slow; then they move the
        // position.
        for _ in 2..CLOCK_IS_SLOW {
            position.event(mark(unix_us(NOW) + 6 * S), NOW, true);
        }
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 5 * S));
    }

    #[test]
    fn a_time_that_cannot_be_moves_nothing_and_one_from_the_future_no_further_than_now() {
        let mut position = position(&[-5]);
        for bad in [i64::MIN, -1, 0] {
            position.event(mark(bad), NOW, true);
        }
        assert_eq!(cursor(&position, NOW), Some(unix_us(NOW) - 10 * S));
        for ahead in [unix_us(NOW) + 3_600 * S, i64::MAX] {
            position.event(mark(ahead), NOW, true);
        }
        // The next connection doesn't skip events of the next seconds, and the patience with a
        // quiet stream doesn't grow.
        assert_eq!(cursor(&position, NOW + Duration::from_secs(60)), Some(unix_us(NOW) - 5 * S));
        assert!(position.patience() <= Duration::from_secs(100), "{:?}", position.patience());
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_no_cursor_in_the_future() {
        let mut position = Position::default();
        position.connected(NOW);
        let back = NOW - Duration::from_secs(3_600);
        assert_eq!(cursor(&position, back), Some(unix_us(back) - 5 * S));
    }

    #[test]
    fn a_first_event_that_is_much_later_than_asked_for_says_that_others_are_gone() {
        let busy = position(&[-1002, -1001, -1000]);
        assert_eq!(busy.missing(unix_us(NOW) - 950 * S), None);
        assert_eq!(busy.missing(unix_us(NOW)), Some((NOW - Duration::from_secs(1000), NOW)));
        let quiet = position(&[-4000, -3000, -1000]);
        assert_eq!(quiet.missing(unix_us(NOW)), None, "it was silent for longer before");
        assert_eq!(Position::default().missing(unix_us(NOW)), None);
    }

    #[test]
    fn of_a_stream_by_authors_only_what_is_older_than_the_lookback_is_gone() {
        let mut position = position(&[-200_000]);
        let lookback = NOW - LOOKBACK;
        assert_eq!(position.forgotten(NOW), Some((NOW - Duration::from_secs(200_000), lookback)));
        position.alive(NOW - Duration::from_secs(60));
        assert_eq!(position.forgotten(NOW), None);
        assert_eq!(Position::default().forgotten(NOW), None);
    }

    #[test]
    fn patience_follows_the_silences_of_late() {
        assert_eq!(position(&[0, 1, 2]).patience(), LATE_MIN);
        assert_eq!(position(&[0, 20, 40]).patience(), Duration::from_secs(200));
        assert_eq!(position(&[0, 3000]).patience(), PATIENCE_MAX);
        let events: Vec<_> = [0, 3000].into_iter().chain((0..10_000).map(|n| 3000 + n)).collect();
        assert_eq!(position(&events).patience(), LATE_MIN);
    }
}

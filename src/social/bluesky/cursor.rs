//! Where the stream stands, and what its silence means.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;

use super::join::OVERLAP;

/// How far before the newest event a connection to the same host goes on, so that this event comes
/// again.
pub(super) const REWIND: Duration = Duration::from_secs(5);

/// How long Jetstream keeps events.
pub(super) const LOOKBACK: Duration = Duration::from_secs(36 * 3600);

/// How much later than asked for the first event may be before it means that the ones before are
/// gone, and how long a busy stream may be silent, at least. Streams that are often silent for long
/// get more.
const LATE_MIN: Duration = Duration::from_secs(60);

/// How long a stream may be silent at most before it is begun anew, which loses nothing.
pub(super) const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// How many times as long as the longest silence of late a silence may be.
const SILENCES: f64 = 10.0;

/// What is left of the longest silence with each event that follows.
const FORGETS: f64 = 0.999;

/// How far an event's time may be ahead of this machine's clock: the clocks differ. What is further
/// ahead moves nothing but to now, and only where all up to [`REWIND`] ago is there: else what is
/// still to come would be skipped.
pub(super) const AHEAD_MAX: Duration = Duration::from_secs(5);

/// So many in a row that are ahead say that this machine's clock is slow.
const CLOCK_IS_SLOW: u32 = 10;

/// How many of the last events are remembered with the position. One would do, but a server may
/// have dropped it since (the account was deleted); each takes 40 bytes of each record of the
/// spool.
pub(super) const MARKS_MAX: usize = 8;

/// An event that was captured, to be recognised by when it comes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// What it is, whichever host gives it.
    pub hash: u64,
    /// When the host saw it, in µs since 1970.
    pub time_us: i64,
    /// The host's own number of it; 0 if it gives none.
    pub seq: i64,
}

impl Mark {
    /// Returns true if both are the same event, perhaps of two hosts.
    pub fn is_same(self, other: Self) -> bool {
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

/// Where the stream stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Position {
    /// The newest event's time in µs since 1970; 0 if there was none.
    newest_us: i64,
    /// When the first connection was made, by this machine's clock, in µs, or when its first event
    /// was, if that is earlier; 0 if there was none. What is older than this by more than
    /// [`REWIND`] isn't wanted.
    began_us: i64,
    /// When a stream by authors was last known to have nothing new, in µs.
    alive_us: i64,
    /// The longest time between two events of late, in µs.
    silence_us: f64,
    /// How many of the last events in a row were ahead of this machine's clock.
    ahead: u32,
    /// The host whose times these are; empty if it isn't known.
    host: String,
    /// The last events, in its order.
    marks: VecDeque<Mark>,
    /// When every [`SAMPLE_EVENTS`]th of the last events was, the newest last, and how many came
    /// since.
    samples: VecDeque<i64>,
    since_sample: u64,
}

/// How many events are between two samples, and how many samples there are: together they span
/// fewer events than are remembered, so that what is repeated from the oldest sample on can be
/// compared with what is remembered.
const SAMPLE_EVENTS: u64 = 40_000;
const SAMPLES_MAX: usize = 5;

/// What a sample begins with in a saved position, and how many events came since.
const SAMPLE: &str = "@";
const SINCE_SAMPLE: &str = "+";

impl Position {
    /// As it was [saved](Self::save); from the live end on if it wasn't.
    pub fn read(saved: Option<&str>) -> Self {
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

    /// As text.
    pub fn save(&self) -> String {
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

    /// A connection stands.
    pub fn connected(&mut self, now: OffsetDateTime) {
        if self.began_us == 0 {
            self.began_us = unix_us(now);
        }
    }

    /// The time that everything before is there of, in µs; 0 if there is none.
    pub fn reached(&self) -> i64 {
        if self.newest_us > 0 { self.newest_us } else { self.began_us }
    }

    /// The newest event's time, if there was one.
    pub fn newest(&self) -> Option<i64> {
        (self.newest_us > 0).then_some(self.newest_us)
    }

    /// When the first connection was made.
    pub fn began(&self) -> Option<i64> {
        (self.began_us > 0).then_some(self.began_us)
    }

    /// When a stream by authors was last known to have nothing new; 0 if that isn't known.
    pub fn alive_at(&self) -> i64 {
        self.alive_us
    }

    /// The host whose times these are.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// From here on the times are those of this host. Names have no spaces.
    pub fn set_host(&mut self, host: &str) {
        host.clone_into(&mut self.host);
        self.marks.clear();
    }

    /// Takes a time of another host for the newest one of this host: both have captured everything
    /// before. Without this, events of a host that is ahead would count as captured by their times.
    pub fn set_times(&mut self, newest_us: i64) {
        let shift_us = newest_us - self.newest_us;
        if self.newest_us > 0 && newest_us > 0 {
            self.newest_us = newest_us;
            self.samples.iter_mut().for_each(|sample_us| *sample_us += shift_us);
        }
    }

    /// The last events.
    pub fn marks(&self) -> &VecDeque<Mark> {
        &self.marks
    }

    /// The time that no event of the host that was captured is behind, but for one from the future.
    pub fn last_seen(&self) -> i64 {
        let mut times: Vec<_> = self.marks.iter().map(|mark| mark.time_us).collect();
        times.sort_unstable();
        let second = times.len().checked_sub(2).map_or(0, |at| times[at]);
        self.reached().max(second)
    }

    /// Notes an event that was captured.
    pub fn note(&mut self, mark: Mark) {
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// An event came; `within` says that others came before it on the same connection.
    pub fn event(&mut self, mark: Mark, now: OffsetDateTime, within: bool) {
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

    /// How far before the newest event another host can be compared with what is remembered:
    /// [`OVERLAP`], or less if more events came in that time than are remembered.
    pub fn overlap_us(&self) -> i64 {
        let oldest = self.samples.front().filter(|_| self.samples.len() == SAMPLES_MAX);
        let remembered = oldest.map_or(i64::MAX, |oldest| (self.newest_us - oldest).max(0));
        micros(OVERLAP).min(remembered)
    }

    /// Returns true if so many events came that the oldest captured posts are forgotten by now.
    pub fn is_memory_short(&self) -> bool {
        self.samples.len() == SAMPLES_MAX
    }

    /// What is before this time is there, or in the ledger.
    pub fn reach(&mut self, time_us: i64) {
        self.newest_us = self.newest_us.max(time_us);
    }

    /// The server lives, and has nothing new.
    pub fn alive(&mut self, now: OffsetDateTime) {
        self.alive_us = self.alive_us.max(unix_us(now));
    }

    /// How long it may be silent before that is no silence any more.
    pub fn patience(&self) -> Duration {
        let silence = Duration::from_micros((self.silence_us * SILENCES) as u64);
        silence.clamp(LATE_MIN, PATIENCE_MAX)
    }

    /// From when to when events are gone where nothing was captured before, given the time of the
    /// first one that came: a server that doesn't have what a cursor asks for begins with the
    /// oldest that it has, and says nothing.
    pub fn missing(&self, first_us: i64) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let late = first_us.saturating_sub(self.reached()) > micros(self.patience());
        (self.reached() > 0 && late).then(|| (at(self.reached()), at(first_us)))
    }

    /// The same for a stream by authors, of which the first event says nothing: what is older than
    /// what is kept.
    pub fn forgotten(&self, now: OffsetDateTime) -> Option<(OffsetDateTime, OffsetDateTime)> {
        let from = self.reached().max(self.alive_us);
        let oldest = unix_us(now) - micros(LOOKBACK);
        (from > 0 && from < oldest).then(|| (at(from), at(oldest)))
    }
}

pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A time in µs since 1970.
pub(super) fn unix_us(time: OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// A time in µs since 1970; the beginning of it if there is none such.
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

    /// The cursor that the same host is asked for.
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
        // The server's clock is another one.
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
        // Ten in a row are a clock that is slow: nothing is to stand still for it.
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
        // What comes in the next seconds isn't skipped by the next connection, and a quiet stream
        // isn't the longer so.
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

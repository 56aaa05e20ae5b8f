//! The counters of one task. Only the task writes them, once for each batch; watchers read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::epoch::StateSize;
use crate::event_time::EventTime;
use crate::metrics::{EXECUTE_BOUNDS_S, ExecuteTimes, Trouble};

/// The activity of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Doing {
    /// Its source has ended or was stopped.
    Ended = 0,
    /// It has no work.
    Idle = 1,
    /// It is working.
    Running = 2,
    /// It waits for room in the inbox of a task downstream.
    Blocked = 3,
    /// It waits before a retry.
    Retrying = 4,
    /// It failed for good.
    Failed = 5,
}

impl Doing {
    const ALL: [Self; 6] =
        [Self::Ended, Self::Idle, Self::Running, Self::Blocked, Self::Retrying, Self::Failed];

    /// Returns the activity as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Blocked => "blocked",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
        }
    }
}

/// The longest execution that the histogram distinguishes: an hour, in nanoseconds.
const EXECUTE_NS_MAX: u64 = 3_600_000_000_000;

/// No number of emitted tuples: the coordinator doesn't rest.
const NO_REST: u64 = u64::MAX;

/// The counters of one task.
pub struct Meter {
    received: AtomicU64,
    emitted: AtomicU64,
    failed: AtomicU64,
    dead_letters: AtomicU64,
    letters_dropped: AtomicU64,
    dropped: AtomicU64,
    out_of_order: AtomicU64,
    late: AtomicU64,
    /// Event times, in milliseconds.
    watermark: AtomicI64,
    newest: AtomicI64,
    drifted: AtomicU64,
    has_state: AtomicBool,
    keys: AtomicU64,
    state_bytes: AtomicU64,
    forgotten: AtomicU64,
    busy_ns: AtomicU64,
    /// The time on the monotonic clock at which the current turn began; 0 between turns.
    turn_began_ns: AtomicU64,
    inbox_permille: AtomicU64,
    doing: AtomicU8,
    says: Mutex<Option<String>>,
    troubles: Mutex<BTreeMap<String, String>>,
    has_worked: AtomicBool,
    execute_ns: Mutex<Histogram<u64>>,
    /// The number of emitted tuples at which the coordinator began to rest; [`NO_REST`] otherwise.
    rests_at: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            emitted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            letters_dropped: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            out_of_order: AtomicU64::new(0),
            late: AtomicU64::new(0),
            watermark: AtomicI64::new(EventTime::UNKNOWN.unix_millis()),
            newest: AtomicI64::new(EventTime::UNKNOWN.unix_millis()),
            drifted: AtomicU64::new(0),
            has_state: AtomicBool::new(false),
            keys: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            turn_began_ns: AtomicU64::new(0),
            inbox_permille: AtomicU64::new(0),
            doing: AtomicU8::new(Doing::Idle as u8),
            says: Mutex::new(None),
            troubles: Mutex::default(),
            has_worked: AtomicBool::new(false),
            execute_ns: Mutex::new(Self::no_executes()),
            rests_at: AtomicU64::new(NO_REST),
        }
    }
}

impl Meter {
    /// Counts a received batch of tuples.
    pub fn add_received(&self, tuples: usize) {
        self.received.fetch_add(tuples as u64, Ordering::Relaxed);
    }

    /// Sets the number of tuples emitted so far.
    pub fn set_emitted(&self, tuples: u64) {
        self.emitted.store(tuples, Ordering::Relaxed);
    }

    /// Counts a failed execution.
    pub fn add_failed(&self) {
        self.add_failures(1);
    }

    /// Counts this many failed executions or attempts.
    pub fn add_failures(&self, failures: u64) {
        self.failed.fetch_add(failures, Ordering::Relaxed);
    }

    /// Sets the cause for which a part of the component fails and is retried; `None` if the part
    /// works again.
    pub fn set_trouble(&self, part: &str, cause: Option<String>) {
        let mut troubles = lock(&self.troubles);
        match cause {
            None => drop(troubles.remove(part)),
            Some(cause) => drop(troubles.insert(part.to_owned(), cause)),
        }
    }

    /// Sets the parts of a source that fail, and if any attempt has ever succeeded.
    pub fn set_troubles(&self, troubles: BTreeMap<String, String>, has_worked: bool) {
        *lock(&self.troubles) = troubles;
        self.has_worked.store(has_worked, Ordering::Relaxed);
    }

    /// Counts tuples that went to the dead letters.
    pub fn add_dead_letters(&self, tuples: usize) {
        self.dead_letters.fetch_add(tuples as u64, Ordering::Relaxed);
    }

    /// Counts a dead letter that wasn't stored, because letters come too fast.
    pub fn add_letter_dropped(&self) {
        self.letters_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the number of tuples that a sink or a bolt has dropped so far according to its options.
    pub fn set_dropped(&self, tuples: u64) {
        self.dropped.store(tuples, Ordering::Relaxed);
    }

    /// Sets the number of posts out of order so far, in a replay that reads their times.
    pub fn set_out_of_order(&self, posts: u64) {
        self.out_of_order.store(posts, Ordering::Relaxed);
    }

    /// Sets the number of late tuples so far.
    pub fn set_late(&self, tuples: u64) {
        self.late.store(tuples, Ordering::Relaxed);
    }

    /// Sets the task's watermark.
    pub fn set_watermark(&self, time: EventTime) {
        self.watermark.store(time.unix_millis(), Ordering::Relaxed);
    }

    /// Sets the event time of the newest post of a source.
    pub fn set_newest(&self, time: EventTime) {
        self.newest.store(time.unix_millis(), Ordering::Relaxed);
    }

    /// Sets the number of posts so far that don't have the form that a bolt expects of their kind.
    pub fn set_drifted(&self, posts: u64) {
        self.drifted.store(posts, Ordering::Relaxed);
    }

    /// Sets the size of the task's state.
    pub fn set_state_size(&self, size: StateSize) {
        self.keys.store(size.keys, Ordering::Relaxed);
        self.state_bytes.store(size.saved_bytes, Ordering::Relaxed);
        self.forgotten.store(size.forgotten, Ordering::Relaxed);
        self.has_state.store(true, Ordering::Relaxed);
    }

    /// Records that the component is called, at this monotonic time.
    pub fn begin_turn(&self, now: Duration) {
        self.turn_began_ns.store(nanoseconds(now).max(1), Ordering::Relaxed);
    }

    /// Records that the component has returned. The time since the call counts as work.
    pub fn end_turn(&self, now: Duration) {
        let began = self.turn_began_ns.swap(0, Ordering::Relaxed);
        self.busy_ns.fetch_add(nanoseconds(now).saturating_sub(began), Ordering::Relaxed);
    }

    /// Returns the duration of the component's current turn, if it is in one.
    pub fn turn_takes(&self, now: Duration) -> Option<Duration> {
        let began = self.turn_began_ns.load(Ordering::Relaxed);
        (began > 0).then(|| Duration::from_nanos(nanoseconds(now).saturating_sub(began)))
    }

    /// Records the duration of one execution.
    pub fn add_execute(&self, time: Duration) {
        lock(&self.execute_ns).saturating_record(nanoseconds(time));
    }

    /// Sets the fill level of the fullest inbox, 0 to 1.
    pub fn set_inbox(&self, fill: f64) {
        self.inbox_permille.store((fill * 1000.0) as u64, Ordering::Relaxed);
    }

    /// Sets the activity of the task.
    pub fn set_doing(&self, doing: Doing) {
        self.doing.store(doing as u8, Ordering::Relaxed);
    }

    /// Sets the component's own description of its activity, which replaces the engine's.
    pub fn set_says(&self, words: Option<String>) {
        *lock(&self.says) = words;
    }

    /// Returns the number of emitted tuples.
    pub fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Relaxed)
    }

    /// Records that the coordinator rests until this task emits a tuple. The coordinator then looks
    /// at [`emitted`](Self::emitted) once more. Of a tuple that is emitted on another thread at the
    /// same time, the coordinator sees the number, or the task sees the rest: each writes its own
    /// number before the fence, and reads the other's after it.
    pub fn begin_rest(&self) {
        self.rests_at.store(self.emitted(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Ends the rest of the coordinator. Returns true if it rested and the task has emitted since.
    pub fn ends_rest(&self) -> bool {
        fence(Ordering::SeqCst);
        let rests_at = self.rests_at.load(Ordering::Relaxed);
        if rests_at == NO_REST || rests_at == self.emitted() {
            return false;
        }
        self.rests_at.store(NO_REST, Ordering::Relaxed);
        true
    }

    /// Returns the number of received tuples.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the number of failed executions or attempts.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Returns the number of dead letters.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// Returns the number of dead letters that weren't stored.
    pub fn letters_dropped(&self) -> u64 {
        self.letters_dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of dropped tuples.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of posts out of order.
    pub fn out_of_order(&self) -> u64 {
        self.out_of_order.load(Ordering::Relaxed)
    }

    /// Returns the number of late tuples.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Returns the task's watermark.
    pub fn watermark(&self) -> EventTime {
        EventTime::from_unix_millis(self.watermark.load(Ordering::Relaxed))
    }

    /// Returns the event time of a source's newest post.
    pub fn newest(&self) -> EventTime {
        EventTime::from_unix_millis(self.newest.load(Ordering::Relaxed))
    }

    /// Returns the number of posts of an unexpected form.
    pub fn drifted(&self) -> u64 {
        self.drifted.load(Ordering::Relaxed)
    }

    /// Returns the size of the task's state, if it has state.
    pub fn state_size(&self) -> Option<StateSize> {
        self.has_state.load(Ordering::Relaxed).then(|| StateSize {
            keys: self.keys.load(Ordering::Relaxed),
            saved_bytes: self.state_bytes.load(Ordering::Relaxed),
            forgotten: self.forgotten.load(Ordering::Relaxed),
        })
    }

    /// Returns the time spent working.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy_ns.load(Ordering::Relaxed))
    }

    /// Returns the fill level of the fullest inbox.
    pub fn inbox(&self) -> f64 {
        self.inbox_permille.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Returns the activity of the task.
    pub fn doing(&self) -> Doing {
        Doing::ALL[usize::from(self.doing.load(Ordering::Relaxed))]
    }

    /// Returns the component's own description of its activity.
    pub fn says(&self) -> Option<String> {
        lock(&self.says).clone()
    }

    /// Returns the operations that fail at the moment, by part.
    pub fn troubles(&self) -> Vec<Trouble> {
        let troubles = lock(&self.troubles);
        troubles
            .iter()
            .map(|(part, cause)| Trouble { part: part.clone(), cause: cause.clone() })
            .collect()
    }

    /// Returns true if every attempt to read a source has failed so far.
    pub fn has_only_failed(&self) -> bool {
        !lock(&self.troubles).is_empty()
            && !self.has_worked.load(Ordering::Relaxed)
            && self.emitted() == 0
    }

    /// Adds this task's executions to those of others, in nanoseconds.
    pub fn add_executes_to(&self, all: &mut Histogram<u64>) {
        all.add(&*lock(&self.execute_ns)).expect("all histograms have the same bounds");
    }

    /// Returns the distribution of durations in a histogram of nanoseconds.
    pub fn execute_times(executes: &Histogram<u64>) -> ExecuteTimes {
        let mut times =
            ExecuteTimes { counts: vec![0; EXECUTE_BOUNDS_S.len()], count: 0, sum_s: 0.0 };
        for recorded in executes.iter_recorded() {
            let seconds = recorded.value_iterated_to() as f64 * 1e-9;
            let count = recorded.count_at_value();
            times.count += count;
            times.sum_s += seconds * count as f64;
            let bounds = EXECUTE_BOUNDS_S.iter().zip(&mut times.counts);
            for (_, counted) in bounds.filter(|(bound, _)| seconds <= **bound) {
                *counted += count;
            }
        }
        times
    }

    /// Returns an empty histogram of executions, in nanoseconds.
    pub fn no_executes() -> Histogram<u64> {
        Histogram::new_with_max(EXECUTE_NS_MAX, 2)
            .expect("two digits up to an hour are within bounds")
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Locks a counter even if another thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Tests of event time through the whole engine: windows that close by watermarks contain exactly
//! the right tuples, whatever fails.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::components::{Scripted, does};
use super::{Builder, Collected, Exit, collector, shuffle};
use crate::bolt::{Bolt, BoltConfig, BoltContext, KeyedState};
use crate::checkpoint::{MemoryStore, StateStore};
use crate::component::Problem;
use crate::epoch::{Cursor, StateChange};
use crate::error::{Error, Result};
use crate::event_time::{EventTime, EventTimeOrder};
use crate::flow::{Grouping, Output, SpoutOutput};
use crate::spout::{Spout, SpoutConfig, SpoutContext};
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

/// The length of a window, in milliseconds of event time.
const WINDOW_MS: i64 = 100;

/// The number of positions by which numbers of a split may be out of order.
const DISORDER: i64 = 20;

/// Numbers whose event time is the number itself, in milliseconds. The splits are read in turn, and
/// each chunk of a split is read backwards.
#[derive(Clone)]
struct Timed {
    /// The count of numbers in each split; endless if 0.
    count: i64,
    splits: usize,
    idle_timeout: Option<Duration>,
}

impl SpoutConfig for Timed {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["n"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..self.splits).map(|split| split.to_string()).collect())
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        let disorder = Duration::from_millis(DISORDER.unsigned_abs());
        Some(EventTimeOrder { disorder, in_sequence: false, idle_timeout: self.idle_timeout })
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for Timed {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let splits = out.splits().to_vec();
        let mut next = Vec::new();
        for split in &splits {
            next.push(match &split.cursor {
                Cursor::At(at) => at.parse::<i64>().unwrap(),
                Cursor::Start => 0,
                Cursor::End => self.count,
            });
        }
        loop {
            let mut is_over = true;
            for (split, next) in next.iter_mut().enumerate() {
                if self.count > 0 && *next >= self.count {
                    out.end_event_time(split);
                    continue;
                }
                is_over = false;
                for number in (*next..*next + DISORDER).rev() {
                    out.set_event_time(Some(EventTime::from_unix_millis(number)));
                    out.push([Value::Int(number)]);
                }
                *next += DISORDER;
                out.emit(split, Cursor::At(next.to_string())).await?;
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

/// A bolt that counts numbers by remainder and window, and emits `[remainder, window, count]` when
/// a window closes.
#[derive(Clone, Default)]
struct Tumble {
    late: Arc<AtomicUsize>,
    newest: Arc<AtomicI64>,
}

struct TumbleTask {
    counts: KeyedState<i64>,
    time: EventTime,
    config: Tumble,
}

impl BoltConfig for Tumble {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["remainder", "window", "count"])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(TumbleTask {
            counts: KeyedState::bounded(None).grouped_by_first(1),
            time: EventTime::UNKNOWN,
            config: self.clone(),
        }))
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn state_key(&self) -> Option<Vec<String>> {
        Some(vec!["n".into()])
    }
}

impl Bolt for TumbleTask {
    fn execute(&mut self, tuple: Tuple<'_>, _: &mut Output) -> Result<()> {
        if tuple.time < self.time {
            self.config.late.fetch_add(1, Ordering::Relaxed);
        }
        let window = Value::Int(tuple.time.unix_millis().div_euclid(WINDOW_MS) * WINDOW_MS);
        *self.counts.get_or_insert([tuple.value(0), &window].into_iter(), || 0) += 1;
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        assert!(time > self.time, "{time:?} behind {:?}", self.time);
        self.time = time;
        if time != EventTime::END {
            self.config.newest.fetch_max(time.unix_millis(), Ordering::Relaxed);
        }
        let mut closed = Vec::new();
        for (key, count) in self.counts.iter() {
            let end = EventTime::from_unix_millis(key[1].as_int().unwrap() + WINDOW_MS);
            if end <= time {
                closed.push((key.to_vec(), *count));
            }
        }
        for (key, count) in closed {
            self.counts.remove(key.iter());
            out.emit([key[0].clone(), key[1].clone(), Value::Int(count)]);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        self.counts.snapshot()
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.counts.restore(key, value)
    }
}

/// Builds a topology that counts numbers by their remainder, in windows.
fn windows(
    source: impl SpoutConfig + 'static,
    tasks: u16,
    tumble: &Tumble,
    panics: usize,
) -> (Builder, Collected) {
    let left = AtomicUsize::new(panics);
    let remainder = does(move |_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        let take = |left: usize| (number % 400 == 399).then(|| left.checked_sub(1)).flatten();
        assert!(
            left.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err(),
            "now and then"
        );
        out.emit([Value::Int(number % 7), Value::Int(0)]);
        Ok(())
    });
    let (sink, collected) = collector();
    let topology = Builder::new()
        .spout("in", tasks, source)
        .bolt("remainder", tasks, remainder, &[shuffle("in")])
        .bolt("windows", tasks, tumble.clone(), &[("remainder", Grouping::Fields(vec![0]))])
        .sink("out", 1, sink, &[shuffle("windows")]);
    (topology, collected)
}

/// Returns the collected rows, sorted, and checks that no window occurs twice.
fn rows(collected: &Collected) -> Vec<[i64; 3]> {
    let mut rows = Vec::new();
    for tuple in collected.visible() {
        rows.push([0, 1, 2].map(|field| tuple[field].as_int().unwrap()));
    }
    rows.sort_unstable();
    assert!(
        rows.windows(2).all(|pair| pair[0][..2] != pair[1][..2]),
        "a window closed twice: {rows:?}"
    );
    rows
}

/// Returns the expected rows for the numbers below `count`, each read from this many splits.
fn expected(count: i64, splits: i64) -> Vec<[i64; 3]> {
    let mut rows = Vec::new();
    for remainder in 0..7 {
        for window in (0..count).step_by(WINDOW_MS as usize) {
            let of_window = (window..count.min(window + WINDOW_MS))
                .filter(|number| number % 7 == remainder)
                .count();
            rows.push([remainder, window, of_window as i64 * splits]);
        }
    }
    rows
}

#[test]
fn windows_are_exact_for_any_parallelism_with_panics_and_without() {
    for tasks in [1, 2, 5] {
        for panics in [0, 3] {
            let tumble = Tumble::default();
            let (topology, collected) = windows(
                Timed { count: 2_000, splits: 3, idle_timeout: None },
                tasks,
                &tumble,
                panics,
            );
            assert_eq!(topology.run(), Exit::Finished);
            assert_eq!(rows(&collected), expected(2_000, 3), "{tasks} tasks, {panics} panics");
            assert_eq!(
                tumble.late.load(Ordering::Relaxed),
                0,
                "nothing overtakes, and no watermark runs ahead"
            );
        }
    }
}

#[test]
fn what_the_generator_makes_is_never_late_for_its_windows() {
    /// A bolt that counts watermarks, and posts that are older than the last watermark.
    #[derive(Clone, Default)]
    struct Watches(Tumble);

    struct WatchesTask {
        config: Tumble,
        time: EventTime,
    }

    impl BoltConfig for Watches {
        fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
            Ok(Streams::default_with(Fields::new(["n", "task"])))
        }

        fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
            Ok(Box::new(WatchesTask { config: self.0.clone(), time: EventTime::UNKNOWN }))
        }

        fn uses_event_time(&self) -> bool {
            true
        }
    }

    impl Bolt for WatchesTask {
        fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
            assert_ne!(tuple.time, EventTime::UNKNOWN, "each post of the generator has a time");
            if tuple.time < self.time {
                self.config.late.fetch_add(1, Ordering::Relaxed);
            }
            out.emit([Value::Int(tuple.time.unix_millis()), Value::Null]);
            Ok(())
        }

        fn watermark(&mut self, time: EventTime, _: &mut Output) -> Result<()> {
            self.time = time;
            if time != EventTime::END {
                self.config.newest.fetch_max(time.unix_millis(), Ordering::Relaxed);
            }
            Ok(())
        }
    }

    for tasks in [1, 3] {
        let watches = Watches::default();
        let (sink, collected) = collector();
        let generate = "Generate(posts: 5000)";
        let generate: crate::spout::generate::Generate =
            crate::registry::ron_options().from_str(generate).unwrap();
        let topology = Builder::new()
            .spout("in", tasks, generate)
            .bolt("watches", 2, watches.clone(), &[shuffle("in")])
            .sink("out", 1, sink, &[shuffle("watches")])
            .with(|topology| topology.components[0].batch = 16);
        assert_eq!(topology.run(), Exit::Finished);
        assert_eq!(collected.visible().len(), 5_000);
        assert!(watches.0.newest.load(Ordering::Relaxed) > 0, "time flows before the end");
        assert_eq!(watches.0.late.load(Ordering::Relaxed), 0, "{tasks} tasks");
    }
}

/// A bolt that holds numbers back until its source has ended, and then fails temporarily at the
/// barrier.
#[derive(Clone, Default)]
struct Hoards(Arc<AtomicUsize>);

struct HoardsTask {
    numbers: Vec<Value>,
    ends: usize,
    failures: Arc<AtomicUsize>,
}

impl BoltConfig for Hoards {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["n", "task"])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(HoardsTask { numbers: Vec::new(), ends: 0, failures: Arc::clone(&self.0) }))
    }

    fn uses_event_time(&self) -> bool {
        true
    }
}

impl Bolt for HoardsTask {
    fn execute(&mut self, tuple: Tuple<'_>, _: &mut Output) -> Result<()> {
        self.numbers.push(tuple.value(0).clone());
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        if time == EventTime::END {
            self.ends += 1;
            for number in self.numbers.drain(..) {
                out.emit([number, Value::Null]);
            }
        }
        Ok(())
    }

    fn barrier(&mut self, _: u64, _: &mut Output) -> Result<()> {
        assert!(self.ends <= 1, "the end comes once");
        if self.ends == 1 && self.failures.fetch_add(1, Ordering::Relaxed) < 2 {
            return Err(Error::transient("not now"));
        }
        Ok(())
    }
}

#[test]
fn what_a_call_at_the_last_barrier_emitted_stays_when_the_next_one_fails() {
    let (sink, collected) = collector();
    let source = Timed { count: 200, splits: 1, idle_timeout: None };
    let topology = Builder::new()
        .spout("in", 1, source)
        .bolt("hoards", 1, Hoards::default(), &[shuffle("in")])
        .sink("out", 1, sink, &[shuffle("hoards")]);
    assert_eq!(topology.run(), Exit::Finished);
    assert_eq!(super::numbers(&collected), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_bolt_learns_first_how_far_event_time_had_come() {
    let store = Arc::new(MemoryStore::default());
    let tumble = Tumble::default();
    let source = || Timed { count: 0, splits: 1, idle_timeout: None };
    let (topology, _) = windows(source(), 1, &tumble, 0);
    let started = topology.start_from(&store);
    started.until("time flows", |_| tumble.newest.load(Ordering::Relaxed) > 3 * WINDOW_MS);
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    let saved = store.saved().unwrap();
    let time = saved.watermarks["windows"];
    assert!(time >= EventTime::from_unix_millis(3 * WINDOW_MS));
    assert_eq!(saved.split_times.len(), 1);
    // The second run has no tuples and so no watermark of its own.
    let tumble = Tumble::default();
    let silent = Timed { count: 1, splits: 1, idle_timeout: None };
    let (topology, _) = windows(silent, 1, &tumble, 0);
    assert_eq!(topology.start_from(&store).end(), Exit::Finished);
    assert_eq!(EventTime::from_unix_millis(tumble.newest.load(Ordering::Relaxed)), time);
}

#[test]
fn a_rebalance_keeps_the_watermark_and_what_waits_for_it() {
    let tumble = Tumble::default();
    let (topology, collected) =
        windows(Timed { count: 0, splits: 8, idle_timeout: None }, 1, &tumble, 0);
    let started = topology.start();
    for tasks in [3_u16, 1, 4] {
        let before = tumble.newest.load(Ordering::Relaxed);
        started.until("time flows", |_| {
            tumble.newest.load(Ordering::Relaxed) > before + 3 * WINDOW_MS
        });
        let hints = ["in", "remainder", "windows"]
            .map(|id| (id.to_owned(), NonZeroU16::new(tasks).unwrap()));
        started.running.rebalance(hints.into()).unwrap();
    }
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    assert_eq!(tumble.late.load(Ordering::Relaxed), 0);
    let rows = rows(&collected);
    let closed = rows.iter().map(|row| row[1]).max().unwrap();
    let whole: Vec<_> = expected(closed + WINDOW_MS, 8);
    assert_eq!(rows, whole, "a stop closes no window that isn't over");
}

#[test]
fn a_silent_source_and_one_without_event_time_hold_nothing_back() {
    struct Silent;
    #[async_trait(?Send)]
    impl Spout for Silent {
        async fn run(&mut self, _: &mut SpoutOutput) -> Result<()> {
            std::future::pending().await
        }
    }
    /// A source with event time that never emits.
    struct SilentTimed;
    impl SpoutConfig for SilentTimed {
        fn streams(&self) -> Streams {
            Streams::default_with(Fields::new(["n"]))
        }

        fn splits(&self) -> Result<Vec<String>> {
            Ok(vec!["only".into()])
        }

        fn event_time(&self) -> Option<EventTimeOrder> {
            let idle_timeout = Some(Duration::from_millis(40));
            Some(EventTimeOrder { disorder: Duration::ZERO, in_sequence: false, idle_timeout })
        }

        fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
            Ok(Box::new(Silent))
        }
    }
    let tumble = Tumble::default();
    let (sink, collected) = collector();
    let remainder = does(|_, tuple, out| {
        out.emit([Value::Int(tuple.value(0).as_int().unwrap() % 7), Value::Int(0)]);
        Ok(())
    });
    let started = Builder::new()
        .spout(
            "in",
            1,
            Timed { count: 0, splits: 2, idle_timeout: Some(Duration::from_secs(3_600)) },
        )
        .spout("silent", 1, SilentTimed)
        .spout("untimed", 1, Scripted(|| Silent))
        .bolt("remainder", 2, remainder, &[shuffle("in"), shuffle("silent"), shuffle("untimed")])
        .bolt("windows", 2, tumble.clone(), &[("remainder", Grouping::Fields(vec![0]))])
        .sink("out", 1, sink, &[shuffle("windows")])
        .start();
    started.until("windows close", |_| !collected.visible().is_empty());
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    assert_eq!(tumble.late.load(Ordering::Relaxed), 0);
}

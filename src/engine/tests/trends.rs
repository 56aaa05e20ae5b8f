//! Tests of trends and windows through the whole engine: the rows are the same with any number of
//! tasks, after panics, and across rebalances.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::components::does;
use super::{Builder, Collected, Exit, collector, shuffle};
use crate::bolt::top::Top;
use crate::bolt::trends::Trends;
use crate::bolt::window::Window;
use crate::epoch::Cursor;
use crate::error::Result;
use crate::event_time::{EventTime, EventTimeOrder};
use crate::flow::{Grouping, SpoutOutput};
use crate::registry::ron_options;
use crate::spout::{Spout, SpoutConfig, SpoutContext};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// The milliseconds of event time between two posts of a split.
const STEP_MS: i64 = 100;

/// The number of posts of a chunk, which are emitted backwards.
const CHUNK: i64 = 20;

const SPLITS: i64 = 4;

/// A source of posts in four splits with a key each, of which one bursts from time to time. The
/// stream `default` has the posts, `keys` their keys.
#[derive(Clone)]
struct Posts {
    /// The number of posts of each split; endless if 0.
    count: i64,
}

impl SpoutConfig for Posts {
    fn streams(&self) -> Streams {
        let keys = Fields::new(["key_type", "key", "post_id", "author_id"]);
        Streams::default_with(Fields::new(["post_id"])).and("keys", keys)
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..SPLITS).map(|split| split.to_string()).collect())
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        let disorder = Duration::from_millis((CHUNK * STEP_MS).unsigned_abs());
        Some(EventTimeOrder { disorder, in_sequence: false, idle_timeout: None })
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for Posts {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let splits = out.splits().to_vec();
        let mut next: Vec<i64> = Vec::new();
        for split in &splits {
            next.push(match &split.cursor {
                Cursor::At(at) => at.parse().unwrap(),
                Cursor::Start => 0,
                Cursor::End => self.count,
            });
        }
        loop {
            let mut is_over = true;
            for (at, next) in next.iter_mut().enumerate() {
                if self.count > 0 && *next >= self.count {
                    out.end_event_time(at);
                    continue;
                }
                is_over = false;
                let split: i64 = splits[at].id.parse().unwrap();
                for number in (*next..*next + CHUNK).rev() {
                    push(number, split, out);
                }
                *next += CHUNK;
                out.emit(at, Cursor::At(next.to_string())).await?;
            }
            if is_over {
                return Ok(());
            }
        }
    }
}

fn push(number: i64, split: i64, out: &mut SpoutOutput) {
    out.set_event_time(Some(EventTime::from_unix_millis(number * STEP_MS)));
    let post = number * SPLITS + split;
    let mixed = (post.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64;
    let bursts = (300..340).contains(&(number % 600)) && mixed % 2 == 0;
    let key = if bursts { "#burst".to_owned() } else { format!("#{}", mixed % 7) };
    let post = Value::from(post.to_string());
    out.push([post.clone()]);
    let author = Value::from((mixed % 97).to_string());
    out.push_to(StreamId(1), ["hashtag".into(), key.into(), post, author]);
}

/// Returns a bolt that panics a few times, and passes everything on.
fn unsteady(panics: usize, fields: &[&str]) -> super::components::Does {
    let left = AtomicUsize::new(panics);
    let seen = AtomicUsize::new(0);
    does(move |_, tuple, out| {
        if seen.fetch_add(1, Ordering::Relaxed) % 700 == 699 {
            let take = |left: usize| left.checked_sub(1);
            let taken = left.try_update(Ordering::Relaxed, Ordering::Relaxed, take);
            assert!(taken.is_err(), "now and then");
        }
        out.emit_to(StreamId(1), tuple.values.to_vec());
        Ok(())
    })
    .with_stream("same", fields)
}

const KEYS: [&str; 4] = ["key_type", "key", "post_id", "author_id"];

fn topology(count: i64, tasks: u16, panics: usize) -> (Builder, [Collected; 2]) {
    let trends: Trends = ron_options()
        .from_str(
            "(bucket: \"1s\", min_count: 8, min_authors: 5, warm_up: 10, half_life: 20, \
             freeze: 20)",
        )
        .unwrap();
    let window: Window = ron_options()
        .from_str(
            "(over: Sliding(\"3s\", \"1s\"), by: [\"key_type\", \"key\"], aggregates: [Count, \
             Distinct(\"author_id\")])",
        )
        .unwrap();
    let by_key = || Grouping::Fields(vec![0, 1]);
    let (trend_sink, trends_collected) = collector();
    let (window_sink, windows_collected) = collector();
    let topology = Builder::new()
        .spout("posts", tasks.min(4), Posts { count })
        .bolt("keys", tasks, unsteady(panics, &KEYS), &[shuffle("posts:keys")])
        .bolt("trends", tasks, trends, &[("keys:same", by_key()), ("posts", Grouping::All)])
        .bolt("windows", tasks, window, &[("keys:same", by_key())])
        .sink("trend-rows", 1, trend_sink, &[shuffle("trends")])
        .sink("window-rows", 1, window_sink, &[shuffle("windows")]);
    (topology, [trends_collected, windows_collected])
}

fn sorted(collected: &Collected) -> Vec<String> {
    let mut rows: Vec<String> =
        collected.visible().iter().map(|values| format!("{values:?}")).collect();
    rows.sort();
    rows
}

#[test]
fn trends_and_windows_are_the_same_for_any_parallelism_with_panics_and_without() {
    let run = |tasks, panics| {
        let (topology, [trends, windows]) = topology(1_500, tasks, panics);
        assert_eq!(topology.run(), Exit::Finished);
        [sorted(&trends), sorted(&windows)]
    };
    let [trends, windows] = run(1, 0);
    assert!(trends.len() >= 6 && trends.iter().all(|row| row.contains("#burst")), "{trends:#?}");
    // 152 windows of each of the seven keys, and a few of the burst.
    assert!(windows.len() > 7 * 152, "{}", windows.len());
    for (tasks, panics) in [(1, 2), (2, 0), (3, 2), (8, 1)] {
        let [other_trends, other_windows] = run(tasks, panics);
        assert_eq!(other_trends, trends, "{tasks} tasks, {panics} panics");
        assert_eq!(other_windows, windows, "{tasks} tasks, {panics} panics");
    }
}

#[test]
fn a_rebalance_changes_no_trend_and_no_window() {
    let (topology, [trends, windows]) = topology(0, 2, 0);
    let started = topology.start();
    for tasks in [3_u16, 1, 4] {
        let before = windows.visible().len();
        started.until("windows close", |_| windows.visible().len() > before + 300);
        let hints = ["keys", "trends", "windows"]
            .map(|id| (id.to_owned(), NonZeroU16::new(tasks).unwrap()));
        started.running.rebalance(hints.into()).unwrap();
    }
    let before = trends.visible().len();
    started.until("a trend is over", |_| trends.visible().len() > before + 8);
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    // One run over the same posts without a rebalance gives the expected rows.
    let found = [sorted(&trends), sorted(&windows)];
    let newest = collected_end(&windows);
    let posts = newest / STEP_MS + CHUNK;
    let posts = posts + (CHUNK - posts % CHUNK) % CHUNK;
    let (topology, all) = self::topology(posts, 1, 0);
    assert_eq!(topology.run(), Exit::Finished);
    let until = time_text(newest);
    for (found, all) in found.iter().zip(&all) {
        let mut expected: Vec<String> = Vec::new();
        for values in all.visible() {
            let ends = values.iter().filter_map(Value::as_text).filter(|text| text.ends_with('Z'));
            // Trends report the beginning of a bucket, windows their end.
            let is_trend = values.len() > 6;
            let is_within = match ends.collect::<Vec<_>>()[..] {
                [start, ..] if is_trend => start < until.as_str(),
                [_, end, ..] => end <= until.as_str(),
                _ => panic!("{values:?}"),
            };
            if is_within {
                expected.push(format!("{values:?}"));
            }
        }
        expected.sort();
        assert_eq!(*found, expected);
    }
}

/// Returns the end of the last window, in milliseconds of event time.
fn collected_end(windows: &Collected) -> i64 {
    let rows = windows.visible();
    let last = rows.iter().filter_map(|values| values[3].as_text()).max().unwrap();
    let date = time::OffsetDateTime::parse(last, &time::format_description::well_known::Rfc3339);
    EventTime::from(date.unwrap()).unix_millis()
}

fn time_text(milliseconds: i64) -> String {
    let values = crate::bolt::late_time_text(EventTime::from_unix_millis(milliseconds));
    values.as_text().unwrap().to_owned()
}

#[test]
fn rankings_hold_their_bound_through_the_engine() {
    let top: Top = ron_options().from_str("(fields: [\"key\"], k: 3, every: \"10s\")").unwrap();
    let (sink, collected) = collector();
    let topology = Builder::new()
        .spout("posts", 2, Posts { count: 1_500 })
        .bolt("top", 1, top, &[("posts:keys", Grouping::Global)])
        .sink("rows", 1, sink, &[shuffle("top")]);
    assert_eq!(topology.run(), Exit::Finished);
    let rows = collected.visible();
    assert_eq!(rows.len(), 15 * 3);
    for row in rows {
        let [rank, count, error] = [2, 4, 5].map(|at: usize| row[at].as_int().unwrap());
        assert!((1..=3).contains(&rank) && count > 30 && error == 0, "{row:?}");
    }
}

//! The intake of one task of a source from its platform on loopback, its spool on: how many posts a
//! second, with how much memory; what it costs to take 250 posts/s; and how long a post takes to be
//! durable in a lake.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

#[path = "parts/live.rs"]
mod live;
mod parts;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::checkpoint::disk::DiskStore;
use waterspout::component::{Component, Problem};
use waterspout::engine::{Exit, RunOptions, Running, start};
use waterspout::error::Result;
use waterspout::sink::{Sink, SinkConfig, SinkContext};
use waterspout::topology::{LoadOptions, parse};
use waterspout::tuple::{Fields, Tuple};

use live::{Live, Plan, THREAD};

/// How many posts are taken in one go: some seconds' worth.
const POSTS: u64 = 100_000;

/// X's full rate, in posts a second, and for how long it is measured.
const RATE: f64 = 250.0;
const RATE_FOR: Duration = Duration::from_secs(8);

/// The number of posts that are timed until they are durable.
const DURABLE: usize = 9;

/// The time limit of the whole bench.
const LIMIT: Duration = Duration::from_secs(120);

/// The number of tuples that the sink has taken.
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Counts what it takes.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Tally {}

impl Component for Tally {
    const NAME: &'static str = "Tally";
    const GUARANTEE: &'static str = "keeps nothing";
}

impl SinkConfig for Tally {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Self {}))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Sink for Tally {
    fn write(&mut self, _tuple: Tuple<'_>) -> Result<()> {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A source of X at this address. A token may only come from a file or the environment.
fn x(url: &str, folder: &Path) -> String {
    let token = folder.join("token");
    fs::write(&token, "token").expect("the disk has room");
    format!(
        "X(topics: [\"storm\"], bearer_token: File(\"{}\"), base_url: \"{url}\")",
        token.display()
    )
}

/// Starts a topology of a source and a sink.
fn run(source: &str, sink: &str, folder: &Path) -> Arc<Running> {
    let text = format!(
        "Topology(
    name: \"sources\",
    spouts: {{ \"in\": Spout(run: {source}) }},
    bolts: {{ \"out\": Bolt(run: {sink}, inputs: [LocalOrShuffle(\"in\")]) }},
    checkpoint: Checkpoint(every: \"1s\"),
    memory: \"16MiB\",
)"
    );
    let registry = waterspout::components::standard().sink::<Tally>();
    let topology = parse("bench.ron", &text, &registry, &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("a good topology: {problems}"));
    let store = DiskStore::fresh(folder).expect("a folder for the state");
    start(topology, RunOptions::new(Arc::new(store), folder)).expect("a good topology")
}

fn stop(running: &Running) {
    running.stop();
    assert_eq!(running.wait(LIMIT), Some(Exit::Finished));
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "no {what} in time");
        thread::sleep(Duration::from_micros(500));
    }
}

fn received(running: &Running, of: &str) -> u64 {
    let status = running.status();
    status
        .components
        .iter()
        .find(|component| component.id == of)
        .map_or(0, |component| component.received)
}

/// Measures the time from the first post to the last.
fn take(source: impl Fn(&Path) -> String, sent: impl Fn() -> u64) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    TAKEN.store(0, Ordering::Relaxed);
    let before = memory("VmRSS");
    let running = run(&source(folder.path()), "Tally()", folder.path());
    until("first post", || sent() > 0);
    let began = Instant::now();
    until("last post", || TAKEN.load(Ordering::Relaxed) >= POSTS);
    let took = began.elapsed();
    println!("    memory: {:.1} MiB more at most", (memory("VmHWM") - before) / 1024.0);
    stop(&running);
    took
}

/// A number of kilobytes that the system has of this process.
fn memory(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// How long this process was on a processor, but for the threads of the platforms.
fn busy() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |path: &Path| {
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let time = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        let time = time.split_whitespace().next().and_then(|time| time.parse().ok()).unwrap_or(0);
        if name.trim() == THREAD { 0 } else { time }
    };
    Duration::from_nanos(tasks.map(|task| of(&task.path())).sum())
}

fn as_fast_as_it_can(c: &mut Criterion) {
    let mut group = c.benchmark_group("sources");
    group.throughput(Throughput::Elements(POSTS)).sample_size(10).sampling_mode(SamplingMode::Flat);
    let once = || {
        let live = Live::x(Plan { posts: POSTS, rate: None });
        take(|folder| x(&live.url, folder), || live.sent())
    };
    group.bench_function("X, loopback HTTP", |b| b.iter_custom(|n| (0..n).map(|_| once()).sum()));
    let once = || {
        let live = Live::jetstream(Plan { posts: POSTS, rate: None });
        take(
            |_| format!("Bluesky(topics: [\"storm\"], base_url: \"{}\")", live.url),
            || live.sent(),
        )
    };
    group.bench_function("Bluesky, loopback WebSocket", |b| {
        b.iter_custom(|n| (0..n).map(|_| once()).sum())
    });
    group.finish();
}

fn at_x_s_full_rate(_: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let live = Live::x(Plan { posts: u64::MAX, rate: Some(RATE) });
    let running = run(&x(&live.url, folder.path()), "Tally()", folder.path());
    until("first post", || live.sent() > 0);
    let (began, before) = (Instant::now(), busy());
    thread::sleep(RATE_FOR);
    let share = (busy() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!("sources/X at {RATE} posts/s: {:.2}% of a core", share * 100.0);
    stop(&running);
}

/// From when a post is written to the connection until the checkpoint is complete that has it in
/// the lake's staging.
fn until_durable(_: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Less often than checkpoints, so that each post has one of its own.
    let live = Live::x(Plan { posts: u64::MAX, rate: Some(0.7) });
    let sink = format!("Local(root: \"{}\")", folder.path().join("lake").display());
    let running = run(&x(&live.url, folder.path()), &sink, folder.path());
    let mut waits = Vec::new();
    for number in 1..=DURABLE {
        let epoch = Cell::new(0);
        until("next post", || {
            epoch.set(running.status().epoch);
            live.sent() >= number as u64
        });
        let began = Instant::now();
        until("checkpoint", || {
            running.status().epoch > epoch.get() && received(&running, "out") >= number as u64
        });
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    let (median, longest) = (waits[DURABLE / 2], waits[DURABLE - 1]);
    println!("sources/durable at checkpoints of 1 s: median {median:.0?}, longest {longest:.0?}");
    stop(&running);
}

criterion_group!(benches, as_fast_as_it_can, at_x_s_full_rate, until_durable);
criterion_main!(benches);

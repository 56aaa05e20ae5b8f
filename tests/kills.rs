//! kill -9 at every point of the protocol where something is written, synced, renamed, saved or
//! told, and at random; then the same command again, until the input is done. What the lake holds
//! then is compared with the input by code that knows neither the engine nor the lake's own reader.
//!
//! `WATERSPOUT_LONG=1` makes ten times as many; `WATERSPOUT_SEED=n` begins with that seed.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use support::{Ended, Sandbox, lake_by_partition, repository};
use waterspout::checkpoint::StateStore;
use waterspout::checkpoint::disk::DiskStore;

/// How many posts each of the two files has.
const POSTS: usize = 4_000;

/// Every how many lines there is one that is no post.
const BAD_EVERY: usize = 97;

/// The words that are counted.
const WORDS: [&str; 5] = ["storm", "rain", "hail", "sun", "wind"];

/// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// The names of all fail points, as the sources have them.
fn points() -> BTreeSet<String> {
    let mut folders = vec![repository("src")];
    let mut points = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.to_str().unwrap().to_owned());
            } else if let Ok(text) = fs::read_to_string(&path) {
                for (_, rest) in text.match_indices("point(\"").map(|(at, found)| (at, &text[at + found.len()..])) {
                    points.extend(rest.split('"').next().map(str::to_owned));
                }
            }
        }
    }
    points
}

fn line(file: usize, number: usize) -> String {
    if number % BAD_EVERY == BAD_EVERY - 1 {
        return format!("no post {file} {number}");
    }
    let word = WORDS[(file * 7 + number) % WORDS.len()];
    format!("{{\"tweet\":{{\"id\":\"{file}-{number}\",\"text\":\"{word}\",\"created_at\":\"2015-12-18T00:00:00Z\"}}}}")
}

fn lines() -> Vec<String> {
    (0..2).flat_map(|file| (0..POSTS).map(move |number| line(file, number))).collect()
}

/// A topology with two resumable sources, two sinks that write a lake, keyed state, and dead letters.
struct Run {
    sandbox: Sandbox,
    kills: usize,
    /// The points at which it was killed, for messages.
    story: Vec<String>,
}

impl Run {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for file in 0..2 {
            let text: String = (0..POSTS).map(|number| line(file, number) + "\n").collect();
            sandbox.write(&format!("in{file}.ndjson"), text);
        }
        sandbox.write(
            "t.ron",
            r#"Topology(
                name: "kills",
                spouts: {"in": Spout(run: Lines(paths: ["in0.ndjson", "in1.ndjson"]), parallelism_hint: 2, batch: 1)},
                bolts: {
                    "lake": Bolt(run: Local(root: "lake"), parallelism_hint: 2, inputs: [Shuffle("in")]),
                    "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("in")], batch: 8),
                    "count": Bolt(run: Count(fields: ["word"]), parallelism_hint: 2, inputs: [Fields("words", ["word"])]),
                    "null": Bolt(run: Null(), inputs: [LocalOrShuffle("count")]),
                },
                checkpoint: Checkpoint(every: "2ms"),
                micro_batch: MicroBatch(posts: 100),
                memory: "1MiB",
            )"#,
        );
        Self { sandbox, kills: 0, story: Vec::new() }
    }

    /// Runs it once; it is killed when it passes a point for the `after`-th time. True if it came to its end.
    fn run(&mut self, point: &str, after: u64) -> bool {
        let faults = format!("{point}={after}*off->return");
        self.story.push(faults.clone());
        let ended = self.sandbox.run_with(&["run", "t.ron", "--state", "state"], &[("FAILPOINTS", &faults)]);
        match ended.code {
            None => {
                self.kills += 1;
                self.check_visible();
                false
            }
            // 4 if it met dead letters this time.
            Some(0 | 4) => true,
            _ => panic!("after {:?}:\n{}", self.story, ended.err),
        }
    }

    fn finish(&mut self) -> Ended {
        self.story.push("to the end".into());
        let ended = self.sandbox.run_with(&["run", "t.ron", "--state", "state"], &[]);
        assert!(matches!(ended.code, Some(0 | 4)), "after {:?}:\n{}", self.story, ended.err);
        ended
    }

    /// At any moment, whatever is visible is whole, numbered without gaps, and there once.
    fn check_visible(&self) {
        let root = self.sandbox.path("lake");
        if root.exists() {
            let posts: Vec<_> = lake_by_partition(&root, &["_staging", "_dead"]).into_values().flatten().collect();
            let once: BTreeSet<_> = posts.iter().collect();
            assert_eq!(once.len(), posts.len(), "a post is visible twice after {:?}", self.story);
        }
    }

    /// At the end.
    fn check(&self) {
        let (root, story) = (self.sandbox.path("lake"), &self.story);
        let partitions = lake_by_partition(&root, &["_dead"]);
        let mut posts: Vec<_> = partitions.values().flatten().cloned().collect();
        posts.sort();
        let (mut wanted, mut bad): (Vec<_>, Vec<_>) = lines().into_iter().partition(|line| line.starts_with('{'));
        wanted.sort();
        assert!(posts == wanted, "{} posts instead of {} after {story:?}", posts.len(), wanted.len());
        partitions.values().for_each(|posts| assert_in_order(posts, story));
        let letters = lake_by_partition(&root.join("_dead"), &[]).into_values().flatten();
        let raw = |letter: String| {
            serde_json::from_str::<Value>(&letter).unwrap()["dead"]["raw"].as_str().unwrap().to_owned()
        };
        let mut letters: Vec<_> = letters.map(raw).collect();
        letters.sort();
        bad.sort();
        assert_eq!(letters, bad, "after {story:?}");
        assert_eq!(counts(&self.sandbox.path("state")), wanted_counts(&wanted), "after {story:?}");
    }
}

/// Posts of one file come in its order, within what one task wrote.
fn assert_in_order(posts: &[String], story: &[String]) {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for post in posts {
        let post: Value = serde_json::from_str(post).unwrap();
        let (file, number) = post["tweet"]["id"].as_str().unwrap().split_once('-').unwrap();
        let number = number.parse().unwrap();
        let before = last.insert(file.to_owned(), number).unwrap_or(-1);
        assert!(before < number, "{before} stands before {number} of file {file} after {story:?}");
    }
}

/// The keyed state in the store: how often each word was counted.
fn counts(state: &Path) -> BTreeMap<String, i64> {
    let store = DiskStore::open(state).unwrap();
    let mut counts = BTreeMap::new();
    store
        .restore("count", 0..1024, &mut |key, value| {
            let word = WORDS.into_iter().find(|word| key.windows(word.len()).any(|part| part == word.as_bytes()));
            counts.insert(word.unwrap().to_owned(), i64::from_le_bytes(value.try_into().unwrap()));
            Ok(())
        })
        .unwrap();
    counts
}

fn wanted_counts(posts: &[String]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for post in posts {
        let word = WORDS.into_iter().find(|word| post.contains(&format!("\"{word}\""))).unwrap();
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

fn long() -> bool {
    std::env::var_os("WATERSPOUT_LONG").is_some()
}

fn seed() -> u64 {
    std::env::var("WATERSPOUT_SEED").map_or(1, |seed| seed.parse().expect("WATERSPOUT_SEED is a number"))
}

/// Points that this topology passes only on the way back, and so not in its first run.
fn in_recovery(point: &str) -> bool {
    point.starts_with("recover.")
}

/// Points of the spool and of the lake's tools, which have tests of their own.
fn elsewhere(point: &str) -> bool {
    point.starts_with("spool.") || point.starts_with("tools.")
}

#[test]
fn a_kill_at_any_point_of_the_protocol_loses_nothing_and_repeats_nothing() {
    let points: Vec<_> = points().into_iter().filter(|point| !elsewhere(point)).collect();
    let mut never: BTreeSet<_> = points.iter().cloned().collect();
    let times: &[u64] = if long() { &[0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89] } else { &[0, 2, 13] };
    let mut kills = 0;
    for point in &points {
        for after in times {
            let mut run = Run::new();
            let done = if in_recovery(point) {
                // Something has to be left to recover.
                run.run("lake.write", 6 + after) || run.run(point, *after)
            } else {
                // Once more at the same place, while it recovers.
                run.run(point, *after) || run.run(point, after / 2)
            };
            if !done || run.kills > 0 {
                never.remove(point);
            }
            if !done {
                run.finish();
            }
            run.check();
            kills += run.kills;
        }
    }
    assert!(never.is_empty(), "never passed: {never:?}");
    println!("{kills} kills at {} points", points.len());
}

#[test]
fn random_kills_lose_nothing_and_repeat_nothing() {
    let points: Vec<_> = points().into_iter().filter(|point| !elsewhere(point)).collect();
    let wanted = if long() { 1_500 } else { 130 };
    let (mut kills, mut seed) = (0, seed());
    while kills < wanted {
        let mut random = Random(seed);
        let mut run = Run::new();
        run.story.push(format!("WATERSPOUT_SEED={seed}"));
        let mut done = false;
        for _ in 0..12 {
            let point = &points[random.below(points.len() as u64) as usize];
            let after = random.below(40);
            done = run.run(point, after);
            if done {
                break;
            }
        }
        if !done {
            run.finish();
        }
        run.check();
        kills += run.kills;
        seed += 1;
    }
    println!("{kills} kills");
}

#[test]
fn a_state_that_another_process_uses_is_refused_and_names_its_pid() {
    let sandbox = Sandbox::new();
    sandbox.write("t.ron", "Topology(name: \"a\", spouts: {\"in\": Spout(run: Generate(rate: 10))}, bolts: {\"out\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])})");
    let mut first = sandbox.start(&["run", "t.ron", "--state", "state", "--interval", "50ms"]);
    first.wait_for("it runs", |report| report["phase"] == "running");
    let pid = first.id().to_string();
    sandbox.run(&["run", "t.ron", "--state", "state"]).with(1).says(&["is in use by process", &pid]);
    first.terminate();
    first.end().with(0);
}

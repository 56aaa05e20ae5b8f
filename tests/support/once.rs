//! A topology for faults, and an independent check of its results: resumable sources, two sinks
//! that write a lake, keyed state, and dead letters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use waterspout::checkpoint::StateStore;
use waterspout::checkpoint::disk::DiskStore;

use super::{Ended, Running, Sandbox, lake_by_partition};

/// The number of posts in each of the two files.
const POSTS: usize = 4_000;

/// The distance between two lines that aren't posts.
const BAD_EVERY: usize = 97;

/// The words that are counted.
const WORDS: [&str; 5] = ["storm", "rain", "hail", "sun", "wind"];

fn line(file: usize, number: usize) -> String {
    if number % BAD_EVERY == BAD_EVERY - 1 {
        return format!("no post {file} {number}");
    }
    let word = WORDS[(file * 7 + number) % WORDS.len()];
    format!(
        "{{\"tweet\":{{\"id\":\"{file}-{number}\",\"text\":\"{word}\",\"created_at\":\"2015-12-18T00:00:00Z\"}}}}"
    )
}

fn lines() -> Vec<String> {
    (0..2).flat_map(|file| (0..POSTS).map(move |number| line(file, number))).collect()
}

/// A topology with two resumable sources, two sinks that write a lake, keyed state, and dead
/// letters.
pub(crate) struct Run {
    pub sandbox: Sandbox,
    pub kills: usize,
    /// The points at which the program was killed, for messages.
    pub story: Vec<String>,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// Makes a run whose sink has more options, such as `, compression: Gzip`.
    pub(crate) fn with(options: &str) -> Self {
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
            )"#
            .replace("Local(root: \"lake\")", &format!("Local(root: \"lake\"{options})")),
        );
        Self { sandbox, kills: 0, story: Vec::new() }
    }

    /// The program's arguments.
    pub(crate) const ARGUMENTS: [&str; 4] = ["run", "t.ron", "--state", "state"];

    /// Starts the program, and leaves it running.
    pub(crate) fn start(&self) -> Running {
        self.sandbox.start(&[&Self::ARGUMENTS[..], &["--interval", "50ms"]].concat())
    }

    /// Runs the program once; it is killed when it passes a point for the `after`-th time. Returns
    /// true if the program came to its end.
    pub(crate) fn run(&mut self, point: &str, after: u64) -> bool {
        let faults = format!("{point}={after}*off->return");
        self.story.push(faults.clone());
        let ended = self.sandbox.run_with(&Self::ARGUMENTS, &[("FAILPOINTS", &faults)]);
        match ended.code {
            None => {
                self.kills += 1;
                self.check_visible();
                false
            }
            // The code is 4 if there were dead letters in this run.
            Some(0 | 4) => true,
            _ => panic!("after {:?}:\n{}", self.story, ended.err),
        }
    }

    pub(crate) fn finish(&mut self) -> Ended {
        self.story.push("to the end".into());
        let ended = self.sandbox.run_with(&Self::ARGUMENTS, &[]);
        assert!(matches!(ended.code, Some(0 | 4)), "after {:?}:\n{}", self.story, ended.err);
        ended
    }

    /// Fails unless all visible posts are in whole files, numbered without gaps, and no post is
    /// there twice. This holds at any moment.
    pub(crate) fn check_visible(&self) {
        let root = self.sandbox.path("lake");
        if root.exists() {
            let posts: Vec<_> =
                lake_by_partition(&root, &["_staging", "_dead"]).into_values().flatten().collect();
            let once: BTreeSet<_> = posts.iter().collect();
            assert_eq!(once.len(), posts.len(), "a post is visible twice after {:?}", self.story);
        }
    }

    /// Fails unless everything is as it has to be at the end.
    pub(crate) fn check(&self) {
        let (root, story) = (self.sandbox.path("lake"), &self.story);
        let partitions = lake_by_partition(&root, &["_dead"]);
        let mut posts: Vec<_> = partitions.values().flatten().cloned().collect();
        posts.sort();
        let (mut wanted, mut bad): (Vec<_>, Vec<_>) =
            lines().into_iter().partition(|line| line.starts_with('{'));
        wanted.sort();
        assert!(
            posts == wanted,
            "{} posts instead of {} after {story:?}",
            posts.len(),
            wanted.len()
        );
        partitions.values().for_each(|posts| assert_in_order(posts, story));
        for partition in partitions.keys() {
            let index = root.join("_index").join(format!("{partition}.json"));
            assert!(
                index.exists(),
                "{partition}, which a crash may have ended, has no index after {story:?}"
            );
        }
        let letters = lake_by_partition(&root.join("_dead"), &[]).into_values().flatten();
        let raw = |letter: String| {
            serde_json::from_str::<Value>(&letter).unwrap()["dead"]["raw"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let mut letters: Vec<_> = letters.map(raw).collect();
        letters.sort();
        bad.sort();
        assert_eq!(letters, bad, "after {story:?}");
        assert_eq!(counts(&self.sandbox.path("state")), wanted_counts(&wanted), "after {story:?}");
    }
}

/// Fails unless the posts of one file are in its order within each partition, which one task wrote.
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

/// Returns the keyed state in the store: the count of each word.
fn counts(state: &Path) -> BTreeMap<String, i64> {
    let store = DiskStore::open(state).unwrap();
    let mut counts = BTreeMap::new();
    store
        .restore("count", 0..1024, &mut |key, value| {
            let word = WORDS
                .into_iter()
                .find(|word| key.windows(word.len()).any(|part| part == word.as_bytes()));
            // Behind the count is the number of the word's last access.
            counts.insert(
                word.unwrap().to_owned(),
                i64::from_le_bytes(value[..8].try_into().unwrap()),
            );
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

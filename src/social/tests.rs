//! Tests of a feed across restarts, and of the way of a capture's posts into a topology.

mod captures;
pub(crate) mod pages;
pub(crate) mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;

use super::feed::{Parts, Says};
use super::runtime::block_on;
use super::tail::posts;
use super::*;
use crate::bolt::{Bolt, BoltConfig, Output};
use crate::checkpoint::MemoryStore;
use crate::clock::ManualClock;
use crate::component::{Component, Problem};
use crate::engine::{Exit, RunOptions, Running, start};
use crate::error::{Error, Result};
use crate::gaps::{GapLedger, ledger_entries};
use crate::post::Post;
use crate::secret::{Redactor, Secret};
use crate::spool::{Options, Spool};
use crate::topology::{LoadOptions, parse};
use crate::tuple::{Fields, Streams, Tuple};

const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

/// A feed as one process has it.
struct Process {
    feed: Feed,
    spool: Spool,
    clock: Arc<ManualClock>,
}

impl Process {
    fn start(state: &Path, common: Common) -> Self {
        let clock = ManualClock::at(NOW);
        let (spool, _) = Spool::open(&state.join("spool"), 0, Options::default()).unwrap();
        let parts = Parts {
            spout: "tweets".into(),
            kind: "tweet",
            common,
            clock: clock.clone(),
            spool: spool.clone(),
            says: Arc::new(Says::default()),
            ledger: GapLedger::open(Some(state), "tweets").unwrap(),
            secrets: Redactor::new([&Secret::new("hunter2-key")]),
        };
        Self { feed: Feed::open(parts, 0).unwrap(), spool, clock }
    }

    fn offer(&self, text: &str) -> Offered {
        self.feed.offer(tweet(text))
    }

    fn flush(&self) {
        block_on(self.feed.flush()).unwrap().unwrap();
    }

    /// Returns the texts of all posts in the spool.
    fn texts(&self) -> Vec<String> {
        let records = self.spool.records_from_oldest(0).map(Result::unwrap);
        let records = records.filter(|record| record.cursor.first() == Some(&b'+'));
        records
            .flat_map(|record| posts(&record.post).collect::<Vec<_>>())
            .filter_map(|post| Some(post.text()?.into_owned()))
            .collect()
    }
}

fn common(topics: &[&str]) -> Common {
    let topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
    Common { topics, spool: Options::default(), budget: None, refresh: Vec::new() }
}

/// Returns a tweet whose id is its text.
fn tweet(text: &str) -> Post {
    let object = serde_json::json!({ "id": text, "text": text }).to_string();
    post("tweet", object.as_bytes(), &[], NOW).unwrap()
}

#[test]
fn a_restart_knows_what_was_seen_and_where_each_part_stood() {
    let state = tempfile::tempdir().unwrap();
    let process = Process::start(state.path(), common(&[]));
    assert_eq!(process.offer("a"), Offered::Taken);
    assert_eq!(process.offer("a"), Offered::Seen);
    process.feed.set_cursor("one", "1");
    process.feed.set_cursor("two", "2");
    process.flush();
    process.feed.set_cursor("one", "11");
    process.offer("b");
    process.flush();
    process.feed.set_cursor("two", "lost with the process");
    process.offer("lost with the process");
    drop(process);

    let process = Process::start(state.path(), common(&[]));
    assert_eq!(process.feed.cursor("one").as_deref(), Some("11"));
    assert_eq!(process.feed.cursor("two").as_deref(), Some("2"));
    assert_eq!(process.feed.cursor("three"), None);
    assert_eq!(
        [process.offer("a"), process.offer("b"), process.offer("c")],
        [Offered::Seen, Offered::Seen, Offered::Taken]
    );
    process.flush();
    assert_eq!(process.texts(), ["a", "b", "c"]);
}

#[test]
fn where_a_quiet_source_stands_is_saved_within_ten_seconds() {
    let state = tempfile::tempdir().unwrap();
    let process = Process::start(state.path(), common(&[]));
    process.feed.set_cursor("", "early");
    process.flush();
    process.clock.advance(Duration::from_secs(10));
    process.flush();
    process.feed.set_cursor("", "late");
    process.flush();
    drop(process);
    let process = Process::start(state.path(), common(&[]));
    assert_eq!(process.feed.cursor("").as_deref(), Some("early"));
    process.feed.set_cursor("", "saved");
    block_on(process.feed.save()).unwrap().unwrap();
    drop(process);
    assert_eq!(Process::start(state.path(), common(&[])).feed.cursor("").as_deref(), Some("saved"));
}

#[test]
fn the_places_of_many_parts_outlive_what_the_spool_forgets() {
    let state = tempfile::tempdir().unwrap();
    let process = Process::start(state.path(), common(&[]));
    // More parts than fit into the cursor of a record.
    let part = |number: usize| format!("part number {number:0100}");
    (0..1_000).for_each(|number| process.feed.set_cursor(&part(number), number.to_string()));
    process.offer("a");
    process.flush();
    drop(process);
    let process = Process::start(state.path(), common(&[]));
    assert!(
        (0..1_000).all(|number| process.feed.cursor(&part(number)) == Some(number.to_string()))
    );
    assert_eq!(process.texts(), ["a"]);
}

#[test]
fn what_matches_no_topic_goes_no_further_but_is_paid_for() {
    let state = tempfile::tempdir().unwrap();
    let budget = Budget { posts: 3, per: "1d".parse().unwrap() };
    let process =
        Process::start(state.path(), Common { budget: Some(budget), ..common(&["storm"]) });
    assert_eq!(
        [process.offer("a storm"), process.offer("rain")],
        [Offered::Taken, Offered::OffTopic]
    );
    assert_eq!(process.feed.budget_left(), Some(1));
    process.flush();
    drop(process);
    let process =
        Process::start(state.path(), Common { budget: Some(budget), ..common(&["storm"]) });
    assert_eq!(process.feed.budget_left(), Some(1));
    process.offer("another storm");
    assert!(process.feed.is_budget_spent());
    let deleted = delete("tweet", "9", NOW, b"null", NOW).unwrap();
    assert_eq!(process.feed.offer(deleted), Offered::Taken, "deletions are never off topic");
}

#[test]
fn a_gap_is_in_the_ledger_and_on_its_stream_also_if_the_ledger_was_not_written() {
    let state = tempfile::tempdir().unwrap();
    let process = Process::start(state.path(), common(&[]));
    let (from, to) = (NOW - Duration::from_secs(60), NOW);
    let first =
        block_on(process.feed.gap("", from, to, "the connection was lost")).unwrap().unwrap();
    let second = block_on(process.feed.gap("#storm", from, to, "the server dropped posts"))
        .unwrap()
        .unwrap();
    block_on(process.feed.filled(&first, 7)).unwrap().unwrap();
    drop(process);
    std::fs::remove_dir_all(state.path().join("gaps")).unwrap();
    let process = Process::start(state.path(), common(&[]));
    let open: Vec<_> = process.feed.open_gaps().into_iter().map(|gap| gap.id).collect();
    assert_eq!(open, [second]);
    let entries = ledger_entries(state.path()).unwrap();
    assert_eq!(
        entries.iter().filter(|gap| gap.filled).map(|gap| (&gap.id, gap.posts)).collect::<Vec<_>>(),
        [(&first, 7)]
    );
    let records = process.spool.records_from_oldest(0).map(Result::unwrap);
    let gaps = records
        .flat_map(|record| posts(&record.post).collect::<Vec<_>>())
        .filter(|post| post.kind() == "gap");
    assert_eq!(gaps.count(), 3);
}

/// A platform whose source runs a test's script.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Scripted {
    /// The name of its script.
    script: String,
    /// The topics.
    topics: Vec<Topic>,
    /// The spool.
    #[serde(default)]
    spool: Options,
}

impl Component for Scripted {
    const NAME: &'static str = "Scripted";
    const GUARANTEE: &'static str = "as its script says";
}

type Script = Arc<dyn Fn(&Feed) -> Result<()> + Send + Sync>;

/// The script that each source runs at its beginning; then the source waits without an end.
static SCRIPTS: Mutex<BTreeMap<String, Script>> = Mutex::new(BTreeMap::new());

#[async_trait(?Send)]
impl Platform for Scripted {
    const KIND: &'static str = "tweet";

    fn common(&self) -> Common {
        Common { topics: self.topics.clone(), spool: self.spool, budget: None, refresh: Vec::new() }
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret::new("hunter2-key")]
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Player(SCRIPTS.lock().unwrap()[&self.script].clone())))
    }

    async fn check_online(&self) -> Result<String> {
        Ok("plays".into())
    }
}

struct Player(Script);

#[async_trait(?Send)]
impl Source for Player {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        (self.0)(feed)?;
        feed.flush().await?;
        std::future::pending().await
    }
}

/// The number of tuples that all these bolts took.
static TUPLES: AtomicUsize = AtomicUsize::new(0);

/// A bolt that panics at its fiftieth tuple, once in the process.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Panics {}

impl Component for Panics {
    const NAME: &'static str = "Panics";
    const GUARANTEE: &'static str = "none";
}

impl BoltConfig for Panics {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(inputs[0].clone()))
    }

    fn build(&self, _: &crate::bolt::BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Self {}))
    }
}

impl Bolt for Panics {
    fn execute(&mut self, _: Tuple<'_>, _: &mut Output) -> Result<()> {
        assert!(TUPLES.fetch_add(1, Ordering::SeqCst) != 50, "the fiftieth tuple, as planned");
        Ok(())
    }
}

/// A running topology with the scripted source and a lake.
struct Played {
    running: Arc<Running>,
    folder: tempfile::TempDir,
}

fn play(
    name: &str,
    bolts: &str,
    script: impl Fn(&Feed) -> Result<()> + Send + Sync + 'static,
) -> Played {
    SCRIPTS.lock().unwrap().insert(name.into(), Arc::new(script));
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake");
    let text = format!(
        r#"Topology(name: "t", spouts: {{"in": Spout(run: Scripted(script: "{name}", topics: ["storm"]))}}, bolts: {{
            {bolts}
            "lake": Bolt(run: Local(root: "{}"), inputs: [Shuffle("in"), Shuffle("in:deletes"), Shuffle("in:edits")]),
        }}, checkpoint: Checkpoint(every: "20ms"))"#,
        root.display()
    );
    let registry = crate::components::standard().spout::<Scripted>().bolt::<Panics>();
    let topology = parse("t.ron", &text, &registry, &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"));
    let options = RunOptions::new(Arc::new(MemoryStore::default()), folder.path().join("state"));
    Played { running: start(topology, options).unwrap(), folder }
}

impl Played {
    fn until(&self, what: &str, holds: impl Fn(u64, u64) -> bool) {
        let begun = std::time::Instant::now();
        loop {
            let status = self.running.status();
            let of = |id: &str| {
                status.components.iter().find(|component| component.id == id).unwrap().clone()
            };
            if holds(of("lake").received, of("in").dead_letters) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {status:#?}");
            std::thread::yield_now();
        }
    }

    fn stop(self) -> Vec<serde_json::Value> {
        self.running.stop();
        assert_eq!(self.running.wait(Duration::from_secs(60)), Some(Exit::Finished));
        let mut posts = Vec::new();
        for partition in std::fs::read_dir(self.folder.path().join("lake"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if !partition.file_name().unwrap().to_str().unwrap().starts_with('_') {
                for file in std::fs::read_dir(partition).unwrap() {
                    let text = std::fs::read(file.unwrap().path()).unwrap();
                    posts.extend(serde_json::from_slice::<Vec<serde_json::Value>>(&text).unwrap());
                }
            }
        }
        posts
    }
}

#[test]
fn posts_deletions_and_edits_reach_their_streams_and_what_is_no_post_the_dead_letters() {
    let played = play("streams", "", |feed| {
        feed.offer(tweet("a storm"));
        feed.offer(tweet("off topic"));
        let edited = br#"{"id":"2","text":"the storm","edit_history_tweet_ids":["1","2"]}"#;
        feed.offer(post("tweet", edited, &[], NOW).unwrap());
        feed.offer(delete("tweet", "1", NOW, b"null", NOW).unwrap());
        feed.refuse(b"\xff", "it is no JSON");
        Ok(())
    });
    played.until("all arrive", |received, dead| received == 3 && dead == 1);
    let mut kinds = played
        .stop()
        .iter()
        .map(|post| post.as_object().unwrap().keys().next().unwrap().clone())
        .collect::<Vec<_>>();
    kinds.sort();
    assert_eq!(kinds, ["delete", "tweet", "tweet"]);
}

#[test]
fn a_roll_back_loses_no_connection_and_repeats_nothing() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let played = play(
        "roll-back",
        r#""words": Bolt(run: Panics(), inputs: [Shuffle("in")]), "none": Bolt(run: Null(), inputs: [Shuffle("words")]),"#,
        |feed| {
            RUNS.fetch_add(1, Ordering::SeqCst);
            (0..100).for_each(|number| {
                feed.offer(tweet(&format!("storm {number}")));
            });
            Ok(())
        },
    );
    played.until("all arrive, half of them twice", |_, _| TUPLES.load(Ordering::SeqCst) == 151);
    assert_eq!(played.stop().len(), 100);
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[test]
fn a_source_that_cannot_go_on_stops_the_topology_and_says_why() {
    let played = play("fails", "", |_| Err(Error::fatal("the token was refused: make another")));
    let Some(Exit::Failed(why)) = played.running.wait(Duration::from_secs(60)) else {
        panic!("it goes on")
    };
    assert!(why.contains("the token was refused"), "{why}");
}

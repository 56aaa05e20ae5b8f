//! Windows of event time, and a sink of rows that gathers, delivers in part, and refuses rows: a
//! program of this test's own, which is killed at each point that such a topology passes.
//!
//! The program is this test's binary, which starts itself with [`PROGRAM`] in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use waterspout::bolt::{
    Bolt, BoltConfig, BoltContext, KeyedState, Output, Problem, StateChange, StateSize,
};
use waterspout::component::Component;
use waterspout::detached::Detached;
use waterspout::epoch::{Barrier, Job, Prepared, Promise};
use waterspout::error::{Error, Result};
use waterspout::event_time::EventTime;
use waterspout::fault;
use waterspout::sink::outbox::{self, Outbox, OutboxBound, OutboxReader};
use waterspout::sink::{Delivered, OnFull, RefusedRow, RefusedRows, Sink, SinkConfig, SinkContext};
use waterspout::tuple::{Fields, Streams, Tuple};
use waterspout::value::Value;

use super::support::random::Random;
use super::support::{Ended, Sandbox, lake_by_partition};

/// The arguments of the program, as a list in JSON.
const PROGRAM: &str = "WATERSPOUT_TEST_PROGRAM";

/// Posts of each file: enough emits of a thousand lines that segments are loaded, forgotten and
/// deleted while it runs.
const POSTS: i64 = 16_000;
const WORDS: [&str; 5] = ["storm", "rain", "hail", "sun", "wind"];
/// The length of a window, in milliseconds of event time.
const WINDOW_MS: i64 = 80_000;
/// The time of the first post.
const BEGIN: OffsetDateTime = datetime!(2015-12-18 00:00:00 UTC);

/// The word and the time of a post.
fn post(file: i64, number: i64) -> (&'static str, OffsetDateTime) {
    // Every fifth post is older than those before it, by less than the disorder of `Lines`.
    let seconds = if number % 5 == 4 { number - 45 } else { number };
    let word = (file * 3 + number) % WORDS.len() as i64;
    (WORDS[usize::try_from(word).unwrap()], BEGIN + Duration::seconds(seconds))
}

fn window_of(time: EventTime) -> i64 {
    time.unix_millis().div_euclid(WINDOW_MS) * WINDOW_MS
}

fn is_refused(window: i64) -> bool {
    window.div_euclid(WINDOW_MS) % 7 == 3
}

/// The rows that the windows of all posts make: word, begin, count.
fn expected() -> BTreeSet<(String, i64, i64)> {
    let mut counts = BTreeMap::new();
    for (file, number) in (0..2).flat_map(|file| (0..POSTS).map(move |number| (file, number))) {
        let (word, time) = post(file, number);
        *counts.entry((word.to_owned(), window_of(time.into()))).or_insert(0) += 1;
    }
    counts.into_iter().map(|((word, window), count)| (word, window, count)).collect()
}

/// Counts words in windows of event time.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Windows {}

impl Component for Windows {
    const NAME: &'static str = "Windows";
    const GUARANTEE: &'static str = "each window closes once, with all of its words";
}

impl BoltConfig for Windows {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["word", "window", "count"])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        let counts = KeyedState::bounded(None).grouped_by_first(1);
        Ok(Box::new(WindowsTask { counts, time: EventTime::UNKNOWN }))
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn state_key(&self) -> Option<Vec<String>> {
        Some(vec!["word".into()])
    }
}

struct WindowsTask {
    counts: KeyedState<i64>,
    time: EventTime,
}

impl Bolt for WindowsTask {
    fn execute(&mut self, tuple: Tuple<'_>, _: &mut Output) -> Result<()> {
        if tuple.time < self.time {
            return Err(Error::fatal(format!("late: {:?} behind {:?}", tuple.time, self.time)));
        }
        let window = Value::Int(window_of(tuple.time));
        *self.counts.get_or_insert([tuple.value(0), &window].into_iter(), || 0) += 1;
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        if time < self.time {
            return Err(Error::fatal(format!("{time:?} comes behind {:?}", self.time)));
        }
        let mut closed = Vec::new();
        for (key, count) in self.counts.iter() {
            if EventTime::from_unix_millis(key[1].as_int().unwrap() + WINDOW_MS) <= time {
                closed.push((key.to_vec(), *count));
            }
        }
        self.time = time;
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

    fn state_size(&self) -> Option<StateSize> {
        Some(self.counts.size())
    }
}

/// Segments that were loaded, each with the rows that were refused, as JSON.
const LEDGER: TableDefinition<&str, &str> = TableDefinition::new("ledger");
/// Rows by their number, as JSON.
const ROWS: TableDefinition<u64, &str> = TableDefinition::new("rows");
/// Segments that the ledger has forgotten.
const FORGOTTEN: TableDefinition<&str, ()> = TableDefinition::new("forgotten");

fn broken(cause: impl Into<redb::Error>) -> Error {
    Error::fatal("the database of the test is broken").because(cause.into())
}

/// Loads rows into a database with transactions. It gathers two segments, loads at most four of
/// them at once, and reports all but one of those.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Load {
    /// The file of the database.
    database: PathBuf,
}

impl Load {
    fn open(&self) -> &'static Database {
        static DATABASE: OnceLock<Database> = OnceLock::new();
        DATABASE.get_or_init(|| Database::create(&self.database).unwrap())
    }
}

impl Component for Load {
    const NAME: &'static str = "Load";
    const GUARANTEE: &'static str = "each row is in the database once";
}

impl SinkConfig for Load {
    fn check(&self, _: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let bound = OutboxBound { bytes_max: 1 << 20, on_full: OnFull::Pause };
        let outbox = Outbox::open(&context, bound)?;
        let (database, connection) = (self.open(), Arc::default());
        Ok(Box::new(LoadTask { database, outbox, connection, is_last: false }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        outbox::place(context)
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        outbox::recover(place, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        Some(1 << 20)
    }
}

struct LoadTask {
    database: &'static Database,
    outbox: Outbox,
    connection: Arc<Detached>,
    is_last: bool,
}

impl Sink for LoadTask {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.outbox.write(tuple)
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.is_last |= barrier.last;
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let (loads, told) = match promises.len() {
            all if self.is_last => (all, all),
            0..2 => (0, 0),
            waiting => (waiting.min(4), waiting.min(4) - 1),
        };
        let (database, connection) = (self.database, Arc::clone(&self.connection));
        let reader = Arc::new(self.outbox.reader(&promises));
        Box::new(move || {
            let (promises, reader) = (promises[..loads].to_vec(), Arc::clone(&reader));
            connection.run("load", move || {
                let mut delivered = Delivered::default();
                for (number, promise) in promises.iter().enumerate() {
                    let refused = load(database, &reader, promise)?;
                    if number < told {
                        reader.delivered(promise);
                        delivered.segments.push(promise.segment.clone());
                        delivered.refused.push(refused);
                    }
                }
                Ok(delivered)
            })
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        let (database, mut delete) = (self.database, self.outbox.forgotten(segments.clone()));
        Box::new(move || {
            forget(database, &segments)?;
            delete()
        })
    }
}

impl Drop for LoadTask {
    fn drop(&mut self) {
        self.connection.stop();
    }
}

/// Loads a segment unless the ledger has it. Returns the rows that are refused.
fn load(database: &Database, reader: &OutboxReader, promise: &Promise) -> Result<RefusedRows> {
    let segment = promise.segment.as_str();
    let transaction = database.begin_write().map_err(broken)?;
    {
        let forgotten = transaction.open_table(FORGOTTEN).map_err(broken)?;
        if forgotten.get(segment).map_err(broken)?.is_some() {
            return Err(Error::fatal(format!("{segment} is committed after it was forgotten")));
        }
        let mut ledger = transaction.open_table(LEDGER).map_err(broken)?;
        if let Some(refused) = ledger.get(segment).map_err(broken)? {
            return Ok(refused_rows(segment, refused.value()));
        }
        let mut rows = transaction.open_table(ROWS).map_err(broken)?;
        let mut next = rows.last().map_err(broken)?.map_or(0, |(number, _)| number.value() + 1);
        let mut refused = Vec::new();
        for row in reader.rows(promise)? {
            let (word, numbers) =
                (row.values[0].as_text(), [1, 2].map(|at| row.values[at].as_int()));
            let text = json!([word, numbers[0], numbers[1]]);
            if numbers[0].is_some_and(is_refused) {
                refused.push(text);
            } else {
                rows.insert(next, text.to_string().as_str()).map_err(broken)?;
                next += 1;
            }
        }
        let refused = serde_json::Value::from(refused).to_string();
        ledger.insert(segment, refused.as_str()).map_err(broken)?;
    }
    fault::point("rows.load").map_err(|cause| Error::transient("load").because(cause))?;
    transaction.commit().map_err(broken)?;
    fault::point("rows.loaded").map_err(|cause| Error::transient("loaded").because(cause))?;
    let transaction = database.begin_read().map_err(broken)?;
    let ledger = transaction.open_table(LEDGER).map_err(broken)?;
    let refused = ledger.get(segment).map_err(broken)?.expect("it was just loaded");
    Ok(refused_rows(segment, refused.value()))
}

fn refused_rows(segment: &str, json: &str) -> RefusedRows {
    let mut rows = Vec::new();
    for row in serde_json::from_str::<Vec<(String, i64, i64)>>(json).unwrap() {
        let values = vec![Value::from(row.0.as_str()), Value::Int(row.1), Value::Int(row.2)];
        rows.push(RefusedRow { input: 0, values, error: "a bad row".into() });
    }
    RefusedRows { segment: segment.into(), at: datetime!(2026-02-03 12:00:00 UTC), rows }
}

/// Deletes the rows of the ledger by which loads are recognised.
fn forget(database: &Database, segments: &[String]) -> Result<()> {
    let transaction = database.begin_write().map_err(broken)?;
    {
        let mut ledger = transaction.open_table(LEDGER).map_err(broken)?;
        let mut forgotten = transaction.open_table(FORGOTTEN).map_err(broken)?;
        for segment in segments {
            ledger.remove(segment.as_str()).map_err(broken)?;
            forgotten.insert(segment.as_str(), ()).map_err(broken)?;
        }
    }
    fault::point("rows.forget").map_err(|cause| Error::transient("forget").because(cause))?;
    transaction.commit().map_err(broken)
}

#[test]
fn the_program_of_the_tests_below() {
    let Ok(arguments) = std::env::var(PROGRAM) else { return };
    fault::heed_environment();
    let mut arguments: Vec<String> = serde_json::from_str(&arguments).unwrap();
    arguments.insert(0, "waterspout".into());
    let registry = waterspout::components::standard().bolt::<Windows>().sink::<Load>();
    let code = waterspout::cli::main_with(arguments.into_iter().map(Into::into), &registry);
    std::process::exit(code as i32);
}

/// The content of both files.
fn lines() -> &'static [String; 2] {
    static LINES: OnceLock<[String; 2]> = OnceLock::new();
    LINES.get_or_init(|| {
        [0, 1].map(|file| {
            let mut lines = String::new();
            for number in 0..POSTS {
                let (word, time) = post(file, number);
                let time = time.format(&Rfc3339).unwrap();
                let id = format!("{file}-{number}");
                let tweet = json!({"id": id, "text": word, "created_at": time});
                lines += &format!("{}\n", json!({"tweet": tweet}));
            }
            lines
        })
    })
}

struct Run {
    sandbox: Sandbox,
    kills: usize,
    story: Vec<String>,
}

impl Run {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for file in 0..2 {
            sandbox.write(&format!("in{file}.ndjson"), &lines()[file]);
        }
        sandbox.write(
            "t.ron",
            r#"Topology(
                name: "rows",
                spouts: {"in": Spout(run: Lines(paths: ["in0.ndjson", "in1.ndjson"]), parallelism_hint: 2, batch: 1)},
                bolts: {
                    "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("in")], batch: 8),
                    "windows": Bolt(run: Windows(), parallelism_hint: 2, inputs: [Fields("words", ["word"])], batch: 1),
                    "load": Bolt(run: Load(database: "database"), parallelism_hint: 2, inputs: [Shuffle("windows")]),
                },
                checkpoint: Checkpoint(every: "2ms"),
                memory: "1MiB",
            )"#,
        );
        Self { sandbox, kills: 0, story: Vec::new() }
    }

    fn start(&self, faults: &str) -> Ended {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.args(["--exact", "rows::the_program_of_the_tests_below", "--nocapture"]);
        program.env(PROGRAM, json!(["run", "t.ron", "--state", "state"]).to_string());
        program.env("FAILPOINTS", faults);
        self.sandbox.start_program(program, "rows").end()
    }

    /// Runs it once; it is killed when it passes a point for the `after`-th time. True if it came
    /// to its end.
    fn run(&mut self, point: &str, after: u64) -> bool {
        let faults = format!("{point}={after}*off->return");
        self.story.push(faults.clone());
        let ended = self.start(&faults);
        match ended.code {
            None => {
                self.kills += 1;
                false
            }
            // 4 if it met dead letters this time.
            Some(0 | 4) => true,
            _ => panic!("after {:?}:\n{}", self.story, ended.err),
        }
    }

    fn finish(&mut self) {
        self.story.push("to the end".into());
        let ended = self.start("");
        assert!(matches!(ended.code, Some(0 | 4)), "after {:?}:\n{}", self.story, ended.err);
    }

    fn check(&self) {
        let story = &self.story;
        let database = Database::create(self.sandbox.path("database")).unwrap();
        let transaction = database.begin_read().unwrap();
        let rows = transaction.open_table(ROWS).unwrap();
        let mut loaded = Vec::new();
        for row in rows.iter().unwrap() {
            let row = row.unwrap().1.value().to_owned();
            loaded.push(serde_json::from_str::<(String, i64, i64)>(&row).unwrap());
        }
        let letters = lake_by_partition(&self.sandbox.path("state/_dead"), &[]);
        for letter in letters.into_values().flatten() {
            let letter: serde_json::Value = serde_json::from_str(&letter).unwrap();
            let tuple = &letter["dead"]["tuple"];
            let text = tuple["word"].as_str().unwrap().to_owned();
            let number = |field: &str| tuple[field].as_i64().unwrap();
            let row = (text, number("window"), number("count"));
            assert!(is_refused(row.1), "{row:?} after {story:?}");
            loaded.push(row);
        }
        let once: BTreeSet<_> = loaded.iter().cloned().collect();
        assert_eq!(once.len(), loaded.len(), "a row is there twice after {story:?}");
        assert_eq!(once, expected(), "after {story:?}");
        let outbox = self.sandbox.path("state/outbox");
        let left = std::fs::read_dir(outbox).map_or(0, Iterator::count);
        assert_eq!(left, 0, "what is delivered leaves no file in the outbox after {story:?}");
    }
}

/// The points that this topology passes.
const POINTS: [&str; 13] = [
    "rows.load",
    "rows.loaded",
    "rows.forget",
    "outbox.write",
    "outbox.sync",
    "outbox.synced",
    "outbox.delete",
    "refused.stored",
    "coordinator.save",
    "state.commit",
    "state.committed",
    "disk.make_folder",
    "disk.rename",
];

#[test]
fn a_kill_anywhere_leaves_each_window_and_each_row_once_and_a_letter_for_each_refused_row() {
    let times: &[u64] = if super::long() { &[0, 1, 2, 3, 5, 8, 13, 21, 34, 55] } else { &[0, 5] };
    let mut never: BTreeSet<_> = POINTS.into_iter().collect();
    let mut kills = 0;
    for point in POINTS {
        for after in times {
            let mut run = Run::new();
            // Once more at the same place, while it recovers.
            let done = run.run(point, *after) || run.run(point, after / 2);
            if run.kills > 0 {
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
    println!("{kills} kills at {} points", POINTS.len());
}

#[test]
fn random_kills_leave_each_window_and_each_row_once() {
    let wanted = if super::long() { 300 } else { 25 };
    let (mut kills, mut seed) = (0, super::seed());
    while kills < wanted {
        let mut random = Random(seed);
        let mut run = Run::new();
        run.story.push(format!("WATERSPOUT_SEED={seed}"));
        let mut is_done = false;
        for _ in 0..8 {
            let point = POINTS[random.below(POINTS.len() as u64) as usize];
            is_done = run.run(point, random.below(40));
            if is_done {
                break;
            }
        }
        if !is_done {
            run.finish();
        }
        run.check();
        kills += run.kills;
        seed += 1;
    }
    println!("{kills} kills");
}

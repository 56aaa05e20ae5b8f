//! Tests of the wider contracts: a sink that gathers, refuses and forgets; a bolt whose answers
//! come from its own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use async_trait::async_trait;
use time::macros::datetime;

use super::components::{Gate, Scripted, count_to, does};
use super::{Builder, Exit, PATIENCE, collector, numbers, shuffle};
use crate::bolt::{Bolt, BoltConfig, BoltContext, BoltWaker};
use crate::component::Problem;
use crate::detached::Detached;
use crate::epoch::{Barrier, Cursor, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::flow::{Grouping, Output, SpoutOutput};
use crate::sink::outbox::{self, Outbox, OutboxBound, OutboxReader};
use crate::sink::{Delivered, OnFull, RefusedRow, RefusedRows, Sink, SinkConfig, SinkContext};
use crate::spout::Spout;
use crate::topology::Checkpoint;
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

/// A database in memory: rows by segment, and the refused rows of each segment.
#[derive(Default)]
struct Database {
    rows: Vec<i64>,
    /// The ledger: loaded segments, with the rows that were refused.
    loads: BTreeMap<String, Vec<i64>>,
    forgotten: BTreeSet<String>,
    commits: usize,
}

/// A sink of rows, which loads at most two segments with each commit, reports only one of them as
/// delivered, and refuses some rows.
#[derive(Clone, Default)]
struct Warehouse(Arc<Mutex<Database>>);

fn is_refused(row: i64) -> bool {
    row % 10 == 3
}

impl SinkConfig for Warehouse {
    fn check(&self, _: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let bound = OutboxBound { bytes_max: 1 << 20, on_full: OnFull::Pause };
        let outbox = Outbox::open(&context, bound)?;
        Ok(Box::new(Loader {
            warehouse: self.clone(),
            outbox,
            connection: Arc::default(),
            last: false,
        }))
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

struct Loader {
    warehouse: Warehouse,
    outbox: Outbox,
    connection: Arc<Detached>,
    last: bool,
}

impl Sink for Loader {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.outbox.write(tuple)
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.last |= barrier.last;
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let (warehouse, last) = (self.warehouse.clone(), self.last);
        let (reader, connection) =
            (Arc::new(self.outbox.reader(&promises)), Arc::clone(&self.connection));
        Box::new(move || {
            let (warehouse, promises, reader) =
                (warehouse.clone(), promises.clone(), Arc::clone(&reader));
            connection.run("load", move || {
                let mut database = warehouse.0.lock().unwrap();
                database.commits += 1;
                let loads = if last { promises.len() } else { 2 };
                let told = if last { promises.len() } else { 1 };
                let mut delivered = Delivered::default();
                for (number, promise) in promises.iter().take(loads).enumerate() {
                    let refused = database.load(&reader, promise)?;
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
        let (warehouse, mut delete) =
            (self.warehouse.clone(), self.outbox.forgotten(segments.clone()));
        Box::new(move || {
            let mut database = warehouse.0.lock().unwrap();
            for segment in &segments {
                database.loads.remove(segment).expect("only what was loaded is forgotten");
                database.forgotten.insert(segment.clone());
            }
            delete()
        })
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.connection.stop();
    }
}

impl Database {
    /// Loads a segment unless the ledger has it.
    fn load(&mut self, reader: &OutboxReader, promise: &Promise) -> Result<RefusedRows> {
        let segment = &promise.segment;
        assert!(!self.forgotten.contains(segment), "{segment} is committed after it was forgotten");
        if !self.loads.contains_key(segment) {
            let mut refused = Vec::new();
            for row in reader.rows(promise)? {
                let number = row.values[0].as_int().unwrap();
                let to = if is_refused(number) { &mut refused } else { &mut self.rows };
                to.push(number);
            }
            self.loads.insert(segment.clone(), refused);
        }
        let row = |row: &i64| {
            let values = vec![Value::Int(*row), Value::Int(0)];
            RefusedRow { input: 0, values, error: "a bad row".into() }
        };
        let rows = self.loads[segment].iter().map(row).collect();
        Ok(RefusedRows { segment: segment.clone(), at: datetime!(2026-02-03 12:00:00 UTC), rows })
    }
}

/// Returns the numbers in the dead letters of a state folder, sorted.
fn letters(state: &Path) -> Vec<i64> {
    let mut posts = Vec::new();
    crate::lake::replay(&state.join("_dead").display().to_string(), &mut posts).unwrap();
    let number = |line: &str| {
        let letter: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&letter["dead"]["error"], &letter["dead"]["from"]),
            (&"a bad row".into(), &"pass".into())
        );
        letter["dead"]["tuple"]["n"].as_i64().unwrap()
    };
    let mut numbers: Vec<_> = String::from_utf8(posts).unwrap().lines().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_sink_that_gathers_and_refuses_has_each_row_once_and_a_letter_for_each_other_over_panics() {
    let warehouse = Warehouse::default();
    let panics = Arc::new(AtomicUsize::new(0));
    let pass = does(move |_, tuple, out| {
        let row = tuple.value(0).as_int().unwrap();
        // Tasks go back to the newest checkpoint now and then, at any point of a commit.
        assert!(
            row % 1_500 != 1_499 || panics.fetch_add(1, Ordering::Relaxed) > 2,
            "a fault at {row}"
        );
        out.emit([tuple.value(0).clone(), Value::Int(0)]);
        Ok(())
    });
    let started = Builder::new()
        .spout("in", 1, count_to(6_000))
        .bolt("pass", 2, pass, &[shuffle("in")])
        .sink("rows", 2, warehouse.clone(), &[shuffle("pass")])
        .start();
    assert_eq!(started.end(), Exit::Finished);
    let database = warehouse.0.lock().unwrap();
    let mut rows = database.rows.clone();
    rows.sort_unstable();
    assert_eq!(rows, (0..6_000).filter(|row| !is_refused(*row)).collect::<Vec<_>>());
    assert_eq!(
        letters(started._state.path()),
        (0..6_000).filter(|row| is_refused(*row)).collect::<Vec<_>>()
    );
    assert!(database.commits > 2 && !database.forgotten.is_empty());
    let outbox = started._state.path().join("outbox");
    let left = std::fs::read_dir(&outbox).map_or(0, Iterator::count);
    assert_eq!(left, 0, "what is delivered leaves no file in {}", outbox.display());
}

/// A bolt whose own thread answers each tuple.
#[derive(Clone)]
struct Asks {
    /// The thread answers nothing before the gate is open.
    gate: Gate,
}

struct AsksTask {
    questions: Sender<i64>,
    answers: Receiver<i64>,
    asked: usize,
}

impl BoltConfig for Asks {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["n"])))
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        let ((questions, asked), (answer, answers)) = (channel::<i64>(), channel());
        let (gate, waker): (_, BoltWaker) = (self.gate.clone(), context.waker.clone());
        thread::spawn(move || {
            gate.pass();
            for question in asked {
                if answer.send(question).is_err() {
                    return;
                }
                waker.wake();
            }
        });
        Ok(Box::new(AsksTask { questions, answers, asked: 0 }))
    }

    fn blocks(&self) -> bool {
        true
    }
}

impl Bolt for AsksTask {
    fn execute(&mut self, tuple: Tuple<'_>, _: &mut Output) -> Result<()> {
        self.asked += 1;
        self.questions
            .send(tuple.value(0).as_int().unwrap())
            .map_err(|_| Error::fatal("the thread is gone"))
    }

    fn idle(&mut self, out: &mut Output) -> Result<()> {
        for answer in self.answers.try_iter() {
            self.asked -= 1;
            out.emit([Value::Int(answer)]);
        }
        Ok(())
    }

    fn barrier(&mut self, _: u64, out: &mut Output) -> Result<()> {
        while self.asked > 0 {
            let answer = self.answers.recv().map_err(|_| Error::fatal("the thread is gone"))?;
            self.asked -= 1;
            out.emit([Value::Int(answer)]);
        }
        Ok(())
    }
}

#[test]
fn answers_that_come_from_elsewhere_are_emitted_before_the_barrier_that_they_belong_to() {
    let (sink, collected) = collector();
    let asks = Asks { gate: Gate::default() };
    asks.gate.open();
    let panics = Arc::new(AtomicUsize::new(0));
    let check = does(move |_, tuple, out| {
        assert!(
            tuple.value(0).as_int() != Some(1_234) || panics.fetch_add(1, Ordering::Relaxed) > 0,
            "a fault"
        );
        out.emit([tuple.value(0).clone(), Value::Int(0)]);
        Ok(())
    });
    let exit = Builder::new()
        .spout("in", 1, count_to(3_000))
        .bolt("asks", 2, asks, &[shuffle("in")])
        .bolt("check", 1, check, &[shuffle("asks")])
        .sink("out", 1, sink, &[shuffle("check")])
        .run();
    assert_eq!(exit, Exit::Finished);
    assert_eq!(numbers(&collected), (0..3_000).collect::<Vec<_>>());
}

/// A source that emits one tuple, and then waits for ever.
struct EmitsOnce;

#[async_trait(?Send)]
impl Spout for EmitsOnce {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        if out.splits()[0].cursor == Cursor::Start {
            out.push([Value::Int(7)]);
            out.emit(0, Cursor::At("behind".into())).await?;
        }
        std::future::pending().await
    }
}

#[test]
fn an_answer_wakes_a_task_that_sleeps_without_a_barrier() {
    let (sink, _) = collector();
    let asks = Asks { gate: Gate::default() };
    let (seen, sees) = channel();
    let seen = Mutex::new(seen);
    let watch = does(move |_, tuple, _| {
        seen.lock()
            .unwrap()
            .send(tuple.value(0).as_int().unwrap())
            .map_err(|_| Error::fatal("the test has ended"))
    });
    let started = Builder::new()
        .spout("in", 1, Scripted(|| EmitsOnce))
        .bolt("asks", 1, asks.clone(), &[("in", Grouping::Global)])
        .bolt("watch", 1, watch, &[shuffle("asks")])
        .sink("out", 1, sink, &[shuffle("watch")])
        .with(|topology| {
            topology.checkpoint = Checkpoint::Every(std::time::Duration::from_secs(3_600))
        })
        .start();
    started.until("the question is asked", |running| {
        let status = running.status();
        status.components.iter().any(|component| component.id == "asks" && component.received == 1)
    });
    asks.gate.open();
    assert_eq!(sees.recv_timeout(PATIENCE), Ok(7));
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
}

//! Runs a test of a topology file, with the real engine and the real bolts, on a clock that only
//! the test moves. Each spout is replaced by a source that sends the test's posts, each sink by a
//! recorder.
//!
//! ```text
//! steps ─▶ TestSource (each spout) ─▶ bolts ─▶ Recorder (each sink)
//!                        │              └────▶ Recorder (each stream that is expected)
//!                        └ ManualClock         Recorder (dead letters)
//! ```

mod compare;
mod recorder;
mod source;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::options::RunOptions;
use super::run::{Exit, Running, start};
use crate::checkpoint::MemoryStore;
use crate::clock::{ManualClock, SharedClock, SystemClock};
use crate::component::Role;
use crate::error::Result;
use crate::flow::Grouping;
use crate::registry::Config;
use crate::topology::{
    Checkpoint, ComponentSpec, ExpectedStream, InputSpec, OnError, TestCase, TestPlace, Topology,
};
use crate::tuple::{Fields, StreamId, Streams};

pub use compare::{Difference, DifferenceKind};
use compare::{Row, compare, rows_of};
use recorder::Recorder;
use source::TestSource;

/// The id of the hidden sink that records streams. No file can name it.
const RECORDER: &str = "_test";

/// The interval at which a waiting test checks whether the topology has ended.
const LOOKS_EVERY: Duration = Duration::from_millis(20);

/// The options with which tests run.
#[derive(Clone, Copy, Debug)]
pub struct TestOptions {
    /// The longest time that a test may take on the real clock.
    pub timeout: Duration,
    /// True if each bolt and sink has as many tasks as in the file. Otherwise each has one task, so
    /// that rows come in the same order in every run.
    pub keeps_parallelism: bool,
}

/// Runs one test, and returns the differences from its expectations; the list is empty if the test
/// passes.
///
/// # Errors
/// If the topology can't be started.
pub fn run_test(
    topology: &Topology,
    case: &TestCase,
    options: TestOptions,
) -> Result<Vec<Difference>> {
    let clock = ManualClock::at(case.clock);
    let (done, sources_done) = bounded(topology.components.len());
    let mut rehearsal = Rehearsal { topology: topology.clone(), sinks: Vec::new() };
    for spec in &mut rehearsal.topology.components {
        spec.linger = None;
        if !options.keeps_parallelism || spec.role == Role::Spout {
            spec.parallelism_hint = NonZeroU16::MIN;
        }
        match &spec.config {
            Config::Spout(source) => {
                let inputs = case.inputs.iter().filter(|input| input.spout == spec.id);
                let source = match TestSource::new(source, inputs, case.ends, &clock, &done) {
                    Ok(source) => source,
                    Err(unreadable) => return Ok(vec![*unreadable]),
                };
                spec.config = Config::Spout(Arc::new(source));
            }
            Config::Sink(_) => {
                let recorder = Recorder::default();
                rehearsal.sinks.push((spec.id.clone(), recorder.clone()));
                spec.config = Config::Sink(Arc::new(recorder));
            }
            Config::Bolt(_) => {}
        }
    }
    drop(done);
    rehearsal.topology.checkpoint = Checkpoint::Off;
    let streams = rehearsal.record_streams(&case.expected);
    let letters = Recorder::default();
    // No file is written to this path: sinks and dead letters are recorded, and there are no
    // checkpoints.
    let mut run = RunOptions::new(Arc::new(MemoryStore::default()), PathBuf::new());
    run.clock = Arc::<ManualClock>::clone(&clock) as SharedClock;
    run.dead_letters = Some(Arc::new(letters.clone()));
    // The test's clock stands still, so this deadline is never reached.
    run.drain_deadline = Duration::MAX / 4;
    let running = start(rehearsal.topology.clone(), run)?;
    if let Some(failed) = wait(&running, case, &sources_done, options.timeout) {
        return Ok(vec![Difference::of_run(case.place.clone(), failed)]);
    }
    Ok(rehearsal.differences(case, &streams, &letters))
}

/// Waits for the end. If the run failed or didn't end, returns the reason.
fn wait(
    running: &Running,
    case: &TestCase,
    sources_done: &Receiver<()>,
    timeout: Duration,
) -> Option<String> {
    let real = SystemClock::shared();
    let is_over = || real.monotonic() >= timeout;
    if !case.ends {
        // Each source reports that it has sent everything. The channel closes when the tasks are
        // gone.
        for _ in &case.inputs {
            while let Err(RecvTimeoutError::Timeout) = sources_done.recv_timeout(LOOKS_EVERY) {
                if is_over() || running.wait(Duration::ZERO).is_some() {
                    break;
                }
            }
        }
        running.stop();
    }
    loop {
        match running.wait(LOOKS_EVERY) {
            Some(Exit::Finished) => return None,
            Some(Exit::Failed(why) | Exit::NotClean(why)) => {
                return Some(format!("the topology failed: {why}"));
            }
            None if is_over() => {
                let hangs = running.status().hangs;
                let hangs = match hangs.as_slice() {
                    [] => String::new(),
                    tasks => format!(": {} didn't return", tasks.join(", ")),
                };
                running.stop();
                return Some(format!("it didn't end within {} s{hangs}", timeout.as_secs_f32()));
            }
            None => {}
        }
    }
}

/// A topology that is rewritten for a test.
struct Rehearsal {
    topology: Topology,
    /// The recorder of each sink.
    sinks: Vec<(String, Recorder)>,
}

impl Rehearsal {
    /// Adds the hidden sink that gets a copy of each stream with an expectation.
    fn record_streams(&mut self, expected: &[ExpectedStream]) -> Recorder {
        let recorder = Recorder::default();
        let mut inputs = Vec::new();
        for stream in streams_of(expected) {
            let from = self.topology.components.iter().position(|spec| spec.id == stream.0);
            if let Some(from) = from {
                inputs.push(InputSpec { from, stream: stream.1, grouping: Grouping::Global });
            }
        }
        if !inputs.is_empty() {
            self.topology.components.push(ComponentSpec {
                id: RECORDER.into(),
                type_name: "Recorder",
                role: Role::Sink,
                guarantee: "keeps everything in memory",
                config: Config::Sink(Arc::new(recorder.clone())),
                explained: String::new(),
                parallelism_hint: NonZeroU16::MIN,
                inputs,
                streams: Streams::none(),
                on_error: OnError::Stop,
                batch: 256,
                linger: None,
                in_front_of: None,
            });
        }
        recorder
    }

    fn differences(
        &self,
        case: &TestCase,
        streams: &Recorder,
        letters: &Recorder,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        for expected in &case.expected {
            let rows = match expected.stream {
                Some(stream) => self.rows_of_stream(case, streams, &expected.component, stream),
                None => self.rows_of_sink(&expected.component),
            };
            differences.extend(compare(&expected.title, &expected.rows, &rows));
        }
        let letters = letter_rows(letters);
        match &case.dead_letters {
            Some(expected) => differences.extend(compare("dead letters", expected, &letters)),
            None => differences.extend(unexpected_letters(&case.place, &letters)),
        }
        let full = self.sinks.iter().map(|(_, recorder)| recorder).chain([streams]);
        if full.into_iter().any(Recorder::is_full) {
            let what = "more came than a test keeps (256 MiB): give it fewer posts".to_owned();
            differences.push(Difference::of_run(case.place.clone(), what));
        }
        differences
    }

    fn rows_of_stream(
        &self,
        case: &TestCase,
        streams: &Recorder,
        component: &str,
        stream: StreamId,
    ) -> Vec<Row> {
        let key = (component.to_owned(), stream);
        let Some(input) = streams_of(&case.expected).iter().position(|known| *known == key) else {
            return Vec::new();
        };
        let spec = self.topology.components.iter().find(|spec| spec.id == component);
        let Some(spec) = spec else { return Vec::new() };
        let fields = spec.streams.fields(stream).clone();
        rows_of(streams, |came_by| (came_by == input).then(|| fields.clone()))
    }

    fn rows_of_sink(&self, component: &str) -> Vec<Row> {
        let components = &self.topology.components;
        let Some(spec) = components.iter().find(|spec| spec.id == component) else {
            return Vec::new();
        };
        let Some((_, recorder)) = self.sinks.iter().find(|(id, _)| id == component) else {
            return Vec::new();
        };
        let mut fields: Vec<Fields> = Vec::new();
        for input in &spec.inputs {
            fields.push(components[input.from].streams.fields(input.stream).clone());
        }
        rows_of(recorder, |came_by| fields.get(came_by).cloned())
    }
}

/// Returns the streams with expectations whose components aren't sinks, each once, in the order of
/// the recorder's inputs.
fn streams_of(expected: &[ExpectedStream]) -> Vec<(String, StreamId)> {
    let mut streams: Vec<(String, StreamId)> = Vec::new();
    for one in expected {
        if let Some(stream) = one.stream {
            let key = (one.component.clone(), stream);
            if !streams.contains(&key) {
                streams.push(key);
            }
        }
    }
    streams
}

/// Returns the dead letters as rows `{"component": …, "error": …}`.
fn letter_rows(letters: &Recorder) -> Vec<Row> {
    let mut rows = Vec::new();
    for row in rows_of(letters, |_| Some(Fields::new(["letter"]))) {
        rows.push(Row::of_json(row.json["letter"]["dead"].clone()));
    }
    rows
}

fn unexpected_letters(place: &TestPlace, letters: &[Row]) -> Option<Difference> {
    let first = letters.first()?;
    let say = |name: &str| first.json[name].as_str().unwrap_or_default().to_owned();
    let count = match letters.len() {
        1 => "a dead letter".to_owned(),
        count => format!("{count} dead letters"),
    };
    let what = format!(
        "{count} that the test doesn't expect (see `dead_letters:`): \"{}\" refused a tuple: {}",
        say("component"),
        say("error")
    );
    Some(Difference::of_run(place.clone(), what))
}

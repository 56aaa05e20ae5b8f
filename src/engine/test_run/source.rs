//! The spout of a test: it sends the steps of the test in place of a real source.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use crossbeam_channel::Sender;

use super::compare::Difference;
use crate::clock::ManualClock;
use crate::error::Result;
use crate::event_time::{EventTime, EventTimeOrder};
use crate::flow::SpoutOutput;
use crate::post::Post;
use crate::spout::{Cursor, Route, Spout, SpoutConfig, SpoutContext};
use crate::topology::{TestInput, TestPlace, TestStep, tuple_of_json};
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

/// The largest file of a test, all of which is in memory while the test runs.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The difference that reports an unreadable file.
type Unreadable = Box<Difference>;

/// One action of the spout.
#[derive(Clone)]
enum Step {
    Send(StreamId, Vec<Value>),
    Clock(time::OffsetDateTime),
}

/// A source that sends the steps of a test, on the streams of the spout that it replaces.
#[derive(Clone)]
pub(crate) struct TestSource {
    streams: Streams,
    order: Option<EventTimeOrder>,
    ends: bool,
    steps: Arc<[Step]>,
    clock: Arc<ManualClock>,
    /// Gets a message once everything is sent, and is dropped with the task.
    done: Arc<Mutex<Option<Sender<()>>>>,
}

impl TestSource {
    /// Creates the source that replaces a spout.
    ///
    /// # Errors
    /// If a file of the test can't be read.
    pub(crate) fn new<'a>(
        spout: &Arc<dyn SpoutConfig>,
        inputs: impl Iterator<Item = &'a TestInput>,
        ends: bool,
        clock: &Arc<ManualClock>,
        done: &Sender<()>,
    ) -> std::result::Result<Self, Unreadable> {
        let router = spout.router();
        let mut steps = Vec::new();
        let mut inputs_of_spout = 0;
        for input in inputs {
            inputs_of_spout += 1;
            for step in &input.steps {
                add_step(step, input.stream, router.as_deref(), &mut steps)?;
            }
        }
        let order = spout.event_time().map(|order| EventTimeOrder {
            in_sequence: false,
            idle_timeout: None,
            ..order
        });
        // A spout that sends nothing reports nothing, and doesn't hold event time back.
        let done = (inputs_of_spout > 0).then(|| done.clone());
        Ok(Self {
            streams: spout.streams(),
            order,
            ends: ends || inputs_of_spout == 0,
            steps: steps.into(),
            clock: Arc::clone(clock),
            done: Arc::new(Mutex::new(done)),
        })
    }
}

fn add_step(
    step: &TestStep,
    stream: Option<StreamId>,
    router: Option<&dyn Route>,
    into: &mut Vec<Step>,
) -> std::result::Result<(), Unreadable> {
    match step {
        TestStep::Post { post, topics } => {
            into.push(send_post(post.clone(), topics.clone(), stream, router));
        }
        TestStep::Tuple(values) => {
            into.push(Step::Send(stream.unwrap_or(StreamId::DEFAULT), values.clone()));
        }
        TestStep::Clock(time) => into.push(Step::Clock(*time)),
        TestStep::File { path, place, fields } => {
            let lines = FileLines { path, place };
            for (number, line) in lines.read()?.lines().enumerate() {
                if line.trim().is_empty() {
                    continue;
                }
                let step = step_of_line(line, fields.as_ref(), stream, router);
                into.push(step.map_err(|error| {
                    lines.problem(format!("{}:{}: {error}", path.display(), number + 1))
                })?);
            }
        }
    }
    Ok(())
}

fn step_of_line(
    line: &str,
    fields: Option<&Fields>,
    stream: Option<StreamId>,
    router: Option<&dyn Route>,
) -> std::result::Result<Step, String> {
    match fields {
        Some(fields) => {
            let values = tuple_of_json(fields, line)?;
            Ok(Step::Send(stream.unwrap_or(StreamId::DEFAULT), values))
        }
        None => {
            let post = Post::check(Bytes::copy_from_slice(line.as_bytes()))?;
            Ok(send_post(post, None, stream, router))
        }
    }
}

fn send_post(
    post: Post,
    topics: Option<Value>,
    stream: Option<StreamId>,
    router: Option<&dyn Route>,
) -> Step {
    let (routed, found) = match router {
        Some(router) => router.route(&post),
        None => (StreamId::DEFAULT, Value::List(Arc::from([]))),
    };
    let kind = Value::from(post.kind());
    let values = vec![Value::Post(post), kind, topics.unwrap_or(found)];
    Step::Send(stream.unwrap_or(routed), values)
}

/// A reader of a file that a test names.
struct FileLines<'a> {
    path: &'a Path,
    place: &'a TestPlace,
}

impl FileLines<'_> {
    fn read(&self) -> std::result::Result<String, Unreadable> {
        let shown = self.path.display();
        let unreadable =
            |error: std::io::Error| self.problem(format!("can't read \"{shown}\": {error}"));
        let file = File::open(self.path).map_err(unreadable)?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.problem(format!("\"{shown}\" is larger than 256 MiB")));
        }
        Ok(text)
    }

    fn problem(&self, what: String) -> Unreadable {
        Box::new(Difference::of_run(self.place.clone(), what))
    }
}

impl SpoutConfig for TestSource {
    fn streams(&self) -> Streams {
        self.streams.clone()
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["test".into()])
    }

    fn tasks_max(&self) -> Option<usize> {
        Some(1)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        self.order
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(TestSpout { source: self.clone(), done }))
    }
}

struct TestSpout {
    source: TestSource,
    done: Option<Sender<()>>,
}

#[async_trait(?Send)]
impl Spout for TestSpout {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        for (number, step) in Arc::clone(&self.source.steps).iter().enumerate() {
            match step {
                Step::Send(stream, values) => {
                    out.push_to(*stream, values.iter().cloned());
                    out.emit(0, Cursor::At(number.to_string())).await?;
                    // Event time is reported after each post, so that windows close at the same
                    // post in every run.
                    out.tell_event_time(None);
                }
                Step::Clock(time) => {
                    self.source.clock.advance_to(*time);
                    out.tell_event_time(Some(EventTime::from(*time)));
                }
            }
        }
        if let Some(done) = self.done.take() {
            // The test may have given up waiting.
            let _ = done.send(());
        }
        if !self.source.ends {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

//! `Shell` as a spout: emits a child's tuples, and tells the child what became of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::handshake::Handshake;
use super::link::Link;
use super::parked::Parking;
use super::process::ProcessSpec;
use super::spooled;
use super::spout_child::{Asked, AsyncPipes, Emitted, Said, SpoutChild};
use super::streams::EmitTarget;
use super::tracked::Tracked;
use super::warden::warden;
use super::{ConfValue, EnvText, LogLevel, SHELL, Settings, declared, problems, timeout_usual};
use crate::clock::SharedClock;
use crate::component::{Component, Problem};
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::social::temporary;
use crate::spool;
use crate::spout::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::tuple::Streams;
use crate::units::Interval;

/// Runs a spout in another language: a child process that speaks Storm's multilang protocol, such
/// as a spout of pystorm or Streamparse.
///
/// `Shell(command: ["streamparse_run", "spouts.words.WordSpout"], fields: ["word"], env:
/// {"PYTHONPATH": "src"})`
///
/// Each task has a child of its own. A tuple with an id is acknowledged to the child when the
/// checkpoint that holds it is complete, and failed when it is rolled back. With `spool`, it is
/// acknowledged when it is in the spool, from where nothing is lost. A tuple without an id that is
/// rolled back is gone, unless there is a spool. A child that dies, hangs, writes something else
/// than messages to its standard output, or floods its standard error is ended, and the topology
/// goes back to its newest checkpoint with a new child.
///
/// A field `post` that the child emits becomes a post.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ShellSpout")]
pub struct ShellSpout {
    /// The program and its arguments. The program is looked up in `PATH`, and runs in the working
    /// directory of this process unless `dir` names another.
    pub command: Vec<String>,
    /// The fields of the stream `default`. Without fields there is no such stream.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Further streams, each with its fields: `{"errors": ["line", "why"]}`.
    #[serde(default)]
    pub streams: BTreeMap<String, Vec<String>>,
    /// Environment variables, beside those of this process. Secrets take `Env` or `File`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, EnvText>")]
    pub env: BTreeMap<String, String>,
    /// The working directory of the child.
    #[serde(default)]
    pub dir: Option<String>,
    /// Entries of the child's `conf` beside those that the topology gives, under Storm's names or
    /// any other.
    #[serde(default)]
    pub conf: BTreeMap<String, ConfValue>,
    /// A durable log on this machine's disk that the tuples go through. With a spool, a child that
    /// waits for the ids of tasks gets none, and it can't emit to single tasks.
    #[serde(default)]
    pub spool: Option<spool::Options>,
    /// The largest number of tuples with an id that aren't acknowledged to the child.
    #[serde(default = "max_pending")]
    pub max_pending: NonZeroU32,
    /// The longest pause between two requests for tuples while the child has none.
    #[serde(default = "wait_max")]
    pub wait_max: Interval,
    /// The time in which the child must answer a command. A child that doesn't is ended.
    #[serde(default = "timeout_usual")]
    pub timeout: Interval,
    /// The least severe level of the child's log messages that is shown.
    #[serde(default)]
    pub log: LogLevel,
    /// The children that are between two tasks.
    #[serde(skip)]
    parking: Parking,
}

/// Returns the default of `max_pending`. More would allow more tuples between two checkpoints,
/// which the child holds in memory.
fn max_pending() -> NonZeroU32 {
    NonZeroU32::new(50_000).unwrap_or(NonZeroU32::MIN)
}

/// Returns the default of `wait_max`. A longer pause wakes an idle machine less often, but delays
/// the first tuple after a silence.
fn wait_max() -> Interval {
    Interval(Duration::from_millis(200))
}

/// The shortest pause between two requests for tuples while the child has none, as in Storm.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// The number of splits. No component of a topology has more tasks.
const SPLITS: u16 = 1024;

/// The number of tuples that are gathered before they are emitted.
const EMIT_TUPLES: usize = 256;

impl Component for ShellSpout {
    const NAME: &'static str = SHELL;
    const GUARANTEE: &'static str = "at least once for tuples with an id: the child is told when a \
         checkpoint holds them, and when they were rolled back; with `spool` each tuple that it \
         emitted once. What the child keeps in its own memory is in no checkpoint";
}

impl ShellSpout {
    fn settings(&self) -> Settings {
        Settings {
            command: self.command.clone(),
            env: self.env.clone(),
            dir: self.dir.clone(),
            conf: self.conf.clone(),
            timeout: self.timeout.0,
        }
    }

    /// Starts a child.
    fn start(&self, context: &SpoutContext, number: u64) -> Result<SpoutChild> {
        let settings = self.settings();
        let warden = warden()?;
        let pid_dir = temporary::make()?;
        let message = Handshake {
            pid_dir: &pid_dir,
            settings: &settings,
            outline: &context.outline,
            component: &context.component,
            task: context.task,
            ticks: None,
            ack_within: None,
            max_pending: Some(u64::from(self.max_pending.get())),
        }
        .message();
        let spec = ProcessSpec {
            command: settings.command,
            env: settings.env,
            dir: settings.dir,
            voice: context.voice.clone(),
        };
        let child = warden.start_child(spec, None)?;
        let link = Link::new(child, message, pid_dir);
        let streams = declared(&self.fields, &self.streams);
        let target = EmitTarget::new(&streams, &context.outline, &context.component);
        let (tracked, clock) = (Tracked::after(number), warden.clock().clone());
        Ok(SpoutChild::new(link, target, tracked, (self.timeout.0, self.log), clock))
    }
}

impl SpoutConfig for ShellSpout {
    fn streams(&self) -> Streams {
        declared(&self.fields, &self.streams)
    }

    /// Returns one split for each task that is possible. The first split of a task is its own.
    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..SPLITS).map(|split| split.to_string()).collect())
    }

    fn ends_for_good(&self) -> bool {
        false
    }

    fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = problems(&self.command, &self.fields, &self.streams, self.timeout);
        if self.wait_max.0 < WAIT_MIN {
            let what = format!("wait_max: expected at least {}", Interval(WAIT_MIN));
            problems.push(Problem { field: "wait_max", what, candidates: None });
        }
        if self.fields.is_empty() && self.streams.is_empty() {
            let what = "a spout needs `fields`, or `streams`".into();
            problems.push(Problem { field: "fields", what, candidates: None });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(SpoutTask { config: self.clone(), context: context.clone(), running: None }))
    }
}

/// The task of a spout.
struct SpoutTask {
    config: ShellSpout,
    context: SpoutContext,
    running: Option<Running>,
}

/// A child at work, and the facts that its parking needs when the task ends.
struct Running {
    child: SpoutChild,
    split: String,
    completed: tokio::sync::watch::Receiver<Vec<Cursor>>,
}

/// Returns the number in a cursor.
pub(super) fn number_of(cursor: &Cursor) -> Result<u64> {
    match cursor {
        Cursor::Start => Ok(0),
        Cursor::At(number) => number.parse().map_err(|_| damaged(cursor)),
        Cursor::End => Err(damaged(cursor)),
    }
}

fn damaged(cursor: &Cursor) -> Error {
    Error::fatal(format!("the checkpoint's cursor {cursor:?} is no number"))
}

#[async_trait(?Send)]
impl Spout for SpoutTask {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        out.stay_open();
        let Some(own) = out.splits().first().cloned() else {
            return std::future::pending().await;
        };
        // With a spool, numbers are positions in it.
        let number = number_of(&own.cursor)?;
        let parked = self.config.parking.take(&own.id);
        let mut child = match parked {
            Some(child) => child,
            None => self.config.start(&self.context, number)?,
        };
        if self.config.spool.is_none() {
            child.tracked.complete(number);
            child.tracked.roll_back();
        }
        let completed = out.completed();
        let running = self.running.insert(Running { child, split: own.id, completed });
        let result = match (self.config.spool, &self.context.state) {
            (Some(options), Some(state)) => {
                let folder = state.join("spool");
                let place = spooled::Place { folder, component: &self.context.component, options };
                spooled::run(&mut running.child, &self.config, place, out).await
            }
            // Under `checkpoint: Off` nothing is resumed, also from a spool.
            _ => {
                let completed = running.completed.clone();
                let direct = Direct { out, completed, gathered: 0, told: Vec::new() };
                serve(&mut running.child, &self.config, direct).await
            }
        };
        // A broken child is useless to the next task.
        if result.is_err() {
            self.running = None;
        }
        result
    }
}

impl Drop for SpoutTask {
    /// Parks a child that is alive: it is told what becomes of its tuples, and the next task takes
    /// it over.
    fn drop(&mut self) {
        if let Some(Running { child, split, completed }) = self.running.take() {
            let follows = self.config.spool.is_none().then_some(completed);
            self.config.parking.park(split, child, follows, self.context.run_watch.clone());
        }
    }
}

/// The destination of a child's tuples.
#[async_trait(?Send)]
pub(super) trait Taker {
    /// Takes the tuple that the child has just emitted.
    async fn take(&mut self, child: &mut SpoutChild, emitted: Emitted) -> Result<()>;

    /// Emits the tuples that were taken.
    async fn flush(&mut self, child: &mut SpoutChild) -> Result<()>;

    /// Notes which tuples are safe.
    fn settle(&mut self, child: &mut SpoutChild) -> Result<()>;

    /// Waits until more tuples are safe, but no longer than this.
    async fn news(&mut self, at_most: Duration);

    /// Returns the clock.
    fn clock(&self) -> SharedClock;

    /// Shows a measured value of the child.
    fn show(&mut self, metrics: &str);
}

/// Asks a child for tuples again and again.
pub(super) async fn serve(
    child: &mut SpoutChild,
    config: &ShellSpout,
    mut taker: impl Taker,
) -> Result<()> {
    let pipes = AsyncPipes::of(&child.link)?;
    let max_pending = config.max_pending.get() as usize;
    let mut pause = WAIT_MIN;
    // The child answers the commands of the task before, or `activate`.
    exchange(child, &pipes, &mut taker).await?;
    loop {
        taker.settle(child)?;
        let before = child.tracked.number();
        let asked = child.ask_next(max_pending);
        exchange(child, &pipes, &mut taker).await?;
        taker.flush(child).await?;
        if let Some(metrics) = child.take_metrics() {
            taker.show(&metrics);
        }
        if child.tracked.number() > before || asked == Asked::News {
            pause = WAIT_MIN;
            continue;
        }
        // This also notices the end of a child that has no command to answer.
        let news = std::pin::pin!(taker.news(pause));
        let ended = std::pin::pin!(pipes.turn(&mut child.link));
        if let Either::Right((turned, _)) = select(news, ended).await {
            turned?;
        }
        pause = (pause * 2).min(config.wait_max.0);
    }
}

/// Takes the child's messages until it has answered every command.
async fn exchange(
    child: &mut SpoutChild,
    pipes: &AsyncPipes,
    taker: &mut impl Taker,
) -> Result<()> {
    /// The time between two checks of the child's timeout.
    const LOOK_EVERY: Duration = Duration::from_millis(500);
    child.link.write()?;
    loop {
        match child.hear()? {
            Said::Done => return Ok(()),
            Said::Emit(emitted) => taker.take(child, emitted).await?,
            Said::Nothing => {
                let sleep = taker.clock().sleep(LOOK_EVERY);
                let turned = {
                    let turn = std::pin::pin!(pipes.turn(&mut child.link));
                    match select(turn, sleep).await {
                        Either::Left((turned, _)) => Some(turned),
                        Either::Right(_) => None,
                    }
                };
                match turned {
                    Some(turned) => turned?,
                    None => child.check_time()?,
                }
            }
        }
    }
}

/// A destination that emits tuples into the topology at once.
struct Direct<'a> {
    out: &'a mut SpoutOutput,
    completed: tokio::sync::watch::Receiver<Vec<Cursor>>,
    gathered: usize,
    told: Vec<usize>,
}

#[async_trait(?Send)]
impl Taker for Direct<'_> {
    async fn take(&mut self, child: &mut SpoutChild, emitted: Emitted) -> Result<()> {
        let Emitted { stream, task, id, wants_tasks } = emitted;
        child.tracked.add(id);
        let values = child.values.drain(..);
        self.gathered += 1;
        if task.is_some() || wants_tasks {
            let cursor = (0, Cursor::At(child.tracked.number().to_string()));
            self.told.clear();
            self.out.emit_told(stream, task, values.collect(), cursor, &mut self.told)?;
        } else {
            self.out.push_to(stream, values);
        }
        if wants_tasks {
            child.tell_tasks(&self.told);
        }
        if self.gathered >= EMIT_TUPLES { self.flush(child).await } else { Ok(()) }
    }

    async fn flush(&mut self, child: &mut SpoutChild) -> Result<()> {
        if self.gathered == 0 {
            return Ok(());
        }
        self.gathered = 0;
        self.out.emit(0, Cursor::At(child.tracked.number().to_string())).await
    }

    fn settle(&mut self, child: &mut SpoutChild) -> Result<()> {
        if let Some(cursor) = self.completed.borrow_and_update().first() {
            child.tracked.complete(number_of(cursor)?);
        }
        Ok(())
    }

    async fn news(&mut self, at_most: Duration) {
        let sleep = self.clock().sleep(at_most);
        let changed = std::pin::pin!(self.completed.changed());
        select(changed, sleep).await;
    }

    fn clock(&self) -> SharedClock {
        self.out.clock().clone()
    }

    fn show(&mut self, metrics: &str) {
        self.out.set_state(metrics);
    }
}

//! `Shell` as a bolt: sends tuples to a child, and emits the child's tuples.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::handshake::Handshake;
use super::link::Link;
use super::pending::Pending;
use super::process::ProcessSpec;
use super::task::{ShellTask, TaskSettings};
use super::warden::warden;
use super::{ConfValue, EnvText, LogLevel, SHELL, Settings, declared, problems, timeout_usual};
use crate::bolt::{Bolt, BoltConfig, BoltContext};
use crate::component::{Component, Problem};
use crate::error::Result;
use crate::social::temporary;
use crate::tuple::{Fields, Streams};
use crate::units::Interval;

/// Runs a bolt in another language: a child process that speaks Storm's multilang protocol, such as
/// a bolt of pystorm or Streamparse.
///
/// `Shell(command: ["streamparse_run", "bolts.wordcount.WordCountBolt"], fields: ["word", "count"],
/// env: {"PYTHONPATH": "src"})`
///
/// Each task has a child of its own. A tuple is done when the child acknowledges it. A checkpoint
/// waits until all tuples before it are done; ticks continue while it waits. A tuple that the child
/// fails, or doesn't acknowledge `ack_within`, goes the way of `on_error`: the child gets it again,
/// or it becomes a dead letter. A child that dies, hangs, writes something else than messages to
/// its standard output, or floods its standard error is ended, and the topology goes back to its
/// newest checkpoint with a new child. The child's lines on standard error and its `log` messages
/// are shown.
///
/// In the child's tuples, posts and JSON are plain JSON values. A field `post` that the child emits
/// becomes a post again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ShellBolt")]
pub struct ShellBolt {
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
    /// The time between two ticks. A batching bolt that works on ticks needs some: a checkpoint
    /// waits for its acknowledgements.
    #[serde(default)]
    pub ticks: Option<Interval>,
    /// The time in which the child must acknowledge a tuple. After that the tuple has failed.
    #[serde(default = "timeout_usual")]
    pub ack_within: Interval,
    /// The largest number of tuples that the child has and hasn't acknowledged.
    #[serde(default = "max_pending")]
    pub max_pending: NonZeroU32,
    /// The time in which the child must answer a heartbeat. A child that doesn't is ended.
    #[serde(default = "timeout_usual")]
    pub timeout: Interval,
    /// The least severe level of the child's log messages that is shown.
    #[serde(default)]
    pub log: LogLevel,
}

/// Returns the default of `max_pending`. More would let a bolt gather larger batches, and is held
/// in memory.
fn max_pending() -> NonZeroU32 {
    NonZeroU32::new(50_000).unwrap_or(NonZeroU32::MIN)
}

impl Component for ShellBolt {
    const NAME: &'static str = SHELL;
    const GUARANTEE: &'static str = "at least once: a tuple is done when the child has \
        acknowledged it, and comes again after a \
         restart; what the child keeps in its own memory is in no checkpoint";
}

impl ShellBolt {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = problems(&self.command, &self.fields, &self.streams, self.timeout);
        for (field, time) in [("ticks", self.ticks), ("ack_within", Some(self.ack_within))] {
            if time.is_some_and(|time| time.0 < SHORTEST) {
                let what = format!("{field}: expected at least {}", Interval(SHORTEST));
                problems.push(Problem { field, what, candidates: None });
            }
        }
        problems
    }

    fn settings(&self) -> Settings {
        Settings {
            command: self.command.clone(),
            env: self.env.clone(),
            dir: self.dir.clone(),
            conf: self.conf.clone(),
            timeout: self.timeout.0,
        }
    }
}

/// The shortest time between ticks, and the shortest `ack_within`. Deadlines are checked about this
/// often.
const SHORTEST: Duration = Duration::from_millis(50);

impl BoltConfig for ShellBolt {
    fn streams(&self, _: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let problems = self.problems();
        if problems.is_empty() { Ok(declared(&self.fields, &self.streams)) } else { Err(problems) }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        let settings = self.settings();
        let warden = warden()?;
        let pid_dir = temporary::make()?;
        let handshake = Handshake {
            pid_dir: &pid_dir,
            settings: &settings,
            outline: &context.outline,
            component: &context.component,
            task: context.task,
            ticks: self.ticks.map(|ticks| ticks.0),
            ack_within: Some(self.ack_within.0),
            max_pending: None,
        };
        let message = handshake.message();
        let spec = ProcessSpec {
            command: settings.command,
            env: settings.env,
            dir: settings.dir,
            voice: context.voice.clone(),
        };
        let child = warden.start_child(spec, Some(context.waker.clone()))?;
        let link = Link::new(child, message, pid_dir);
        let settings = TaskSettings {
            ticks: self.ticks.map(|ticks| ticks.0),
            ack_within: self.ack_within.0,
            max_pending: self.max_pending.get() as usize,
            timeout: self.timeout.0,
            log: self.log,
            streams: declared(&self.fields, &self.streams),
        };
        let clock = warden.clock().clone();
        Ok(Box::new(ShellTask::new(link, Pending::default(), settings, context, clock)))
    }

    fn blocks(&self) -> bool {
        true
    }
}

//! `Shell` as a bolt: tuples to a child, and what it makes of them.

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
/// waits until all tuples before it are done; ticks go on meanwhile. A tuple that the child fails,
/// or that isn't acknowledged `ack_within`, goes the way of `on_error`: it is given to the child
/// again, or becomes a dead letter. A child that dies, hangs, writes something else than messages
/// to its standard output, or floods its standard error is ended, and the topology goes back to
/// its newest checkpoint with a new child. What the child says on standard error and by `log` is
/// shown.
///
/// In a tuple, posts and JSON are what they are in JSON; a field `post` that the child emits becomes
/// a post again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ShellBolt")]
pub struct ShellBolt {
    /// The program and its arguments. It is looked for in `PATH`, and runs in the working directory
    /// of this process unless `dir` says otherwise.
    pub command: Vec<String>,
    /// The fields of the stream `default`; without any there is no such stream.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Further streams, each with its fields: `{"errors": ["line", "why"]}`.
    #[serde(default)]
    pub streams: BTreeMap<String, Vec<String>>,
    /// Environment variables, beside those of this process. Secrets take `Env` or `File`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, EnvText>")]
    pub env: BTreeMap<String, String>,
    /// The folder that it runs in.
    #[serde(default)]
    pub dir: Option<String>,
    /// What its `conf` holds beside what the topology says, by Storm's names or its own.
    #[serde(default)]
    pub conf: BTreeMap<String, ConfValue>,
    /// How often it gets a tick. A batching bolt that works on ticks needs some: a checkpoint waits
    /// for its acknowledgements.
    #[serde(default)]
    pub ticks: Option<Interval>,
    /// How long it may take for a tuple before that has failed.
    #[serde(default = "timeout_usual")]
    pub ack_within: Interval,
    /// How many tuples it has at most that it hasn't acknowledged.
    #[serde(default = "max_pending")]
    pub max_pending: NonZeroU32,
    /// How long it may say nothing when it is asked for a sign of life before it is ended.
    #[serde(default = "timeout_usual")]
    pub timeout: Interval,
    /// The least severe of its log messages that are shown.
    #[serde(default)]
    pub log: LogLevel,
}

/// More would let a bolt gather larger batches, and is held in memory.
fn max_pending() -> NonZeroU32 {
    NonZeroU32::new(50_000).unwrap_or(NonZeroU32::MIN)
}

impl Component for ShellBolt {
    const NAME: &'static str = SHELL;
    const GUARANTEE: &'static str = "at least once: a tuple is done when the child has acknowledged it, and comes again after a \
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

/// The shortest time between ticks, and for a tuple: deadlines are looked at about this often.
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

//! `Shell`: components in any language, as child processes that speak Storm's multilang protocol.
//!
//! ```text
//!            handshake, tuples, ticks                       ack, fail, emit
//! task ──▶ pipes ─────────────────────▶ child ─────────────────────▶ pipes ──▶ task
//!   ▲                                     │ standard error                      │
//!   └──────────── wake ◀── shell-watch ◀──┴─────────────────────────────────────┘
//! ```
//!
//! `json`, `message` and `framing` read and write the protocol's text, and `handshake` writes the
//! first message. `process` is one child, and `warden` has the two threads that all children of
//! this process share. `link` is a task's end of the pipes to its child. `bolt` and `spout` are the
//! components. `pending` holds the tuples that a bolt's child hasn't acknowledged, and `parked`
//! keeps a spout's child between two tasks.
//!
//! **Guarantee.** A tuple is done when the child has acknowledged it, and a barrier passes a bolt
//! when all tuples before the barrier are done. No checkpoint contains a child's own memory. So the
//! components behind a shell component get each tuple at least once.

mod bolt;
mod encode;
mod framing;
mod handshake;
mod json;
mod link;
mod message;
mod parked;
mod pending;
mod process;
mod spooled;
mod spout;
mod spout_child;
mod streams;
mod task;
mod tracked;
mod warden;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::component::Problem;
use crate::error::Error;
use crate::tuple::{DEFAULT_STREAM, Fields, Streams};
use crate::units::Interval;
use crate::value::Value;

pub(crate) use framing::Inbound;

pub use bolt::ShellBolt;
pub use spout::ShellSpout;

/// The name of both components in RON.
pub const SHELL: &str = "Shell";

/// The level of a child's messages. As an option: the least severe level that is shown.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Details for debugging.
    Debug,
    /// Progress of the work.
    #[default]
    Info,
    /// Possible problems.
    Warn,
    /// Problems.
    Error,
}

/// A value of a child's `conf`: any JSON, written as RON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfValue(serde_json::Value);

impl JsonSchema for ConfValue {
    fn schema_name() -> Cow<'static, str> {
        "ConfValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "description": "any value" })
    }
}

impl ConfValue {
    /// Wraps a JSON value.
    pub fn new(value: serde_json::Value) -> Self {
        Self(value)
    }
}

/// The text of an environment variable. A variable whose name says that it is a secret takes `Env`
/// or `File` only, as a header of that name does.
struct EnvText;

impl JsonSchema for EnvText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EnvText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "header" })
    }
}

/// The part of a configuration that spouts and bolts have in common.
#[derive(Clone, Debug)]
struct Settings {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    dir: Option<String>,
    conf: BTreeMap<String, ConfValue>,
    timeout: Duration,
}

/// Returns the default timeout of a child, which is Storm's.
fn timeout_usual() -> Interval {
    Interval(Duration::from_secs(30))
}

/// Returns the streams of a component: `default` with these fields, and the named ones.
fn declared(fields: &[String], streams: &BTreeMap<String, Vec<String>>) -> Streams {
    let mut declared = match fields {
        [] => Streams::none(),
        fields => Streams::default_with(Fields::new(fields.iter().cloned())),
    };
    for (name, fields) in streams {
        declared = declared.and(name, Fields::new(fields.iter().cloned()));
    }
    declared
}

/// Returns the problems of the common part of a configuration.
fn problems(
    command: &[String],
    fields: &[String],
    streams: &BTreeMap<String, Vec<String>>,
    timeout: Interval,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |field: &'static str, what: String| {
        problems.push(Problem { field, what, candidates: None });
    };
    if command.first().is_none_or(String::is_empty) {
        add(
            "command",
            "expected a program and its arguments, such as [\"python3\", \"-m\", \
            \"words\"], found none"
                .into(),
        );
    }
    if command.iter().any(|word| word.contains('\0')) {
        add("command", "expected words without the character NUL".into());
    }
    if !fields.is_empty() && streams.contains_key(DEFAULT_STREAM) {
        add("streams", format!("stream \"{DEFAULT_STREAM}\" is declared by `fields` already"));
    }
    let default = (DEFAULT_STREAM, fields);
    let named = streams.iter().map(|(name, fields)| (name.as_str(), fields.as_slice()));
    for (name, fields) in std::iter::once(default).chain(named) {
        let what = if name == DEFAULT_STREAM { "fields" } else { "streams" };
        let mut seen = BTreeSet::new();
        for field in fields {
            if field.is_empty() {
                add(
                    what,
                    format!("stream \"{name}\": expected names of fields, found an empty one"),
                );
            }
            if !seen.insert(field) {
                add(what, format!("stream \"{name}\" has the field \"{field}\" twice"));
            }
        }
        if name.is_empty() || name.starts_with("__") {
            add("streams", format!("\"{name}\" can't be the name of a stream"));
        }
        if fields.is_empty() && name != DEFAULT_STREAM {
            add("streams", format!("stream \"{name}\" needs fields"));
        }
    }
    if timeout.0 < TIMEOUT_MIN {
        add("timeout", format!("expected at least {}, found {timeout}", Interval(TIMEOUT_MIN)));
    }
    problems
}

/// The shortest timeout of a child: the start of an interpreter alone takes a good part of a
/// second.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Returns the level that a number of the protocol stands for.
fn level_of(number: i64) -> LogLevel {
    match number {
        ..=0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        _ => LogLevel::Error,
    }
}

/// Reads a JSON list as the values of a tuple, as a child's tuples are read. `None` if the text
/// isn't a list.
pub(crate) fn values_of_json(raw: &str) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    let mut json = json::Json::new(raw);
    json.list(&mut values).and_then(|()| json.end()).ok()?;
    Some(values)
}

/// The command, the environment and the configuration with which Storm starts a child.
#[derive(Debug, Default)]
pub(crate) struct ExportedChild {
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub conf: BTreeMap<String, serde_json::Value>,
}

/// Returns what Storm needs to start the child of a component with this configuration in RON.
///
/// # Errors
/// If the configuration has `Env` or `File`, which a Flux file can't express.
pub(crate) fn exported(explained: &str, is_spout: bool) -> Result<ExportedChild, String> {
    let body = explained.strip_prefix(SHELL).unwrap_or(explained);
    let options = ron_options();
    let outside = |error: ron::error::SpannedError| {
        format!(
            "its configuration can't be written to a Flux file, where `Env` and `File` can't \
             stand: {error}"
        )
    };
    let (command, env, dir, conf, ticks) = if is_spout {
        let config: ShellSpout = options.from_str(body).map_err(outside)?;
        (config.command, config.env, config.dir, config.conf, None)
    } else {
        let config: ShellBolt = options.from_str(body).map_err(outside)?;
        (config.command, config.env, config.dir, config.conf, config.ticks)
    };
    let command = match dir {
        None => command,
        Some(dir) => {
            let enter = "cd \"$0\" && exec \"$@\"";
            let mut words = vec!["sh".to_owned(), "-c".into(), enter.into(), dir];
            words.extend(command);
            words
        }
    };
    let mut entries: BTreeMap<String, serde_json::Value> =
        conf.into_iter().map(|(key, value)| (key, value.0)).collect();
    if let Some(ticks) = ticks {
        let seconds = ticks.0.as_secs().max(1);
        entries.insert("topology.tick.tuple.freq.secs".into(), seconds.into());
    }
    Ok(ExportedChild { command, env, conf: entries })
}

/// Returns the dialect of RON in which configurations are written.
fn ron_options() -> ron::Options {
    use ron::extensions::Extensions;
    ron::Options::default().with_default_extension(
        Extensions::IMPLICIT_SOME
            | Extensions::UNWRAP_NEWTYPES
            | Extensions::UNWRAP_VARIANT_NEWTYPES,
    )
}

/// Creates an error about a child. On this error the topology goes back to its newest checkpoint
/// and starts another child.
fn broken(what: impl Into<String>) -> Error {
    Error::lost(what)
}

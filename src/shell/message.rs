//! The messages of a child in Storm's multilang protocol, read in one pass.

use std::borrow::Cow;

use super::json::{Flaw, Json};
use crate::value::Value;

/// A message of a child.
#[derive(Debug, PartialEq)]
pub(super) enum ChildMessage<'a> {
    /// The child's process id, its answer to the handshake.
    Pid,
    /// A tuple. Its values are in the buffer that the reader was given.
    Emit(Emit<'a>),
    /// A tuple that the child got is done.
    Ack(RawId<'a>),
    /// A tuple that the child got has failed.
    Fail(RawId<'a>),
    /// A log message.
    Log { text: Cow<'a, str>, level: i64 },
    /// An error message.
    Error(Cow<'a, str>),
    /// A measured value.
    Metrics { name: Cow<'a, str>, value: &'a str },
    /// The child has obeyed a command, or is alive.
    Sync,
}

/// The parts of an emit beside the values.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Emit<'a> {
    /// The id that a spout has given to the tuple.
    pub id: Option<RawId<'a>>,
    /// The name of the stream; `None` stands for `default`.
    pub stream: Option<Cow<'a, str>>,
    /// The task that alone gets the tuple.
    pub task: Option<i64>,
    /// True if the child waits for the ids of the tasks that get it.
    pub wants_tasks: bool,
}

/// An id as the child wrote it in JSON, as a string or a number. The child gets it back in the same
/// form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RawId<'a>(pub &'a str);

impl RawId<'_> {
    /// Returns the number that a bolt's tuple was given.
    pub(crate) fn number(self) -> Option<u64> {
        self.0.trim_matches('"').parse().ok()
    }
}

/// The parts of a message, which may come in any order.
#[derive(Default)]
struct Parts<'a> {
    command: Option<Cow<'a, str>>,
    emit: Emit<'a>,
    has_tuple: bool,
    needs_tasks: Option<bool>,
    msg: Option<Cow<'a, str>>,
    level: Option<i64>,
    name: Option<Cow<'a, str>>,
    params: Option<&'a str>,
    has_pid: bool,
}

/// The level of a log message without a level.
const LEVEL_INFO: i64 = 2;

/// Reads a message. `values` gets the values of an emitted tuple, and `anchors` the numbers of the
/// tuples to which it is anchored. Both are emptied first.
///
/// # Errors
/// If the text isn't a message: the flaw.
pub(super) fn read<'a>(
    text: &'a str,
    values: &mut Vec<Value>,
    anchors: &mut Vec<u64>,
) -> Result<ChildMessage<'a>, Flaw> {
    values.clear();
    anchors.clear();
    let mut json = Json::new(text);
    let mut parts = Parts::default();
    json.object()?;
    let mut is_first = true;
    while let Some(key) = json.key(&mut is_first)? {
        match &*key {
            "command" => parts.command = Some(json.string()?),
            "id" => parts.emit.id = Some(json.raw()?).filter(|id| *id != "null").map(RawId),
            "tuple" => {
                values.clear();
                json.list(values)?;
                parts.has_tuple = true;
            }
            "anchors" => read_anchors(&mut json, anchors)?,
            "stream" => parts.emit.stream = text_or_null(&mut json)?,
            "task" => parts.emit.task = json.whole_number()?,
            "need_task_ids" => parts.needs_tasks = json.flag()?,
            "msg" => parts.msg = text_or_null(&mut json)?,
            "level" => parts.level = json.whole_number()?,
            "name" => parts.name = text_or_null(&mut json)?,
            "params" => parts.params = Some(json.raw()?),
            "pid" => {
                json.raw()?;
                parts.has_pid = true;
            }
            _ => drop(json.raw()?),
        }
    }
    json.end()?;
    parts.message()
}

fn text_or_null<'a>(json: &mut Json<'a>) -> Result<Option<Cow<'a, str>>, Flaw> {
    let raw = json.raw()?;
    match raw.as_bytes().first() {
        Some(b'"') => Json::new(raw).string().map(Some),
        _ if raw == "null" => Ok(None),
        // A log message may have any type: then its JSON is its text.
        _ => Ok(Some(Cow::Borrowed(raw))),
    }
}

/// Reads a list of ids, or a single one.
fn read_anchors(json: &mut Json<'_>, anchors: &mut Vec<u64>) -> Result<(), Flaw> {
    let raw = json.raw()?;
    // An id that isn't a number was never given to the child, so it is ignored.
    let ids = raw.trim_matches(['[', ']']).split(',').map(str::trim);
    anchors.extend(ids.filter_map(|id| RawId(id).number()));
    Ok(())
}

impl<'a> Parts<'a> {
    fn message(self) -> Result<ChildMessage<'a>, Flaw> {
        let Some(command) = self.command else {
            return match self.has_pid {
                true => Ok(ChildMessage::Pid),
                false => Err("expected a \"command\", found none".into()),
            };
        };
        let id = |id: Option<RawId<'a>>| {
            id.ok_or_else(|| format!("the command \"{command}\" needs an \"id\""))
        };
        Ok(match &*command {
            "emit" if !self.has_tuple => {
                return Err("the command \"emit\" needs a \"tuple\"".into());
            }
            "emit" => {
                let wants_tasks = self.needs_tasks.unwrap_or(true) && self.emit.task.is_none();
                ChildMessage::Emit(Emit { wants_tasks, ..self.emit })
            }
            "ack" => ChildMessage::Ack(id(self.emit.id)?),
            "fail" => ChildMessage::Fail(id(self.emit.id)?),
            "sync" => ChildMessage::Sync,
            "log" => ChildMessage::Log {
                text: self.msg.unwrap_or_default(),
                level: self.level.unwrap_or(LEVEL_INFO),
            },
            "error" => ChildMessage::Error(self.msg.unwrap_or_default()),
            "metrics" => ChildMessage::Metrics {
                name: self.name.ok_or("the command \"metrics\" needs a \"name\"")?,
                value: self.params.unwrap_or("null"),
            },
            other => {
                return Err(format!(
                    "there is no command \"{other}\", but \"emit\", \"ack\", \"fail\", \"sync\", \
                     \"log\", \
                     \"error\" and \"metrics\""
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: ChildMessage<'_>, tuple: &[Value], anchored: &[u64]) {
        let (mut values, mut anchors) = (Vec::new(), Vec::new());
        assert_eq!(read(text, &mut values, &mut anchors).unwrap(), expected, "{text}");
        assert_eq!((&values[..], &anchors[..]), (tuple, anchored), "{text}");
    }

    #[test]
    fn every_message_is_read_in_any_order_of_its_parts() {
        check("{\"pid\": 1214}", ChildMessage::Pid, &[], &[]);
        check("{\"command\":\"sync\"}", ChildMessage::Sync, &[], &[]);
        let emit = Emit { wants_tasks: true, ..Emit::default() };
        check(
            "{\"tuple\":[\"a\",1],\"anchors\":[\"12\",\"x\"],\"command\":\"emit\",\"more\":{}}",
            ChildMessage::Emit(emit),
            &["a".into(), Value::Int(1)],
            &[12],
        );
        let emit = Emit {
            id: Some(RawId("7")),
            stream: Some("words".into()),
            task: Some(3),
            wants_tasks: false,
        };
        check(
            "{\"command\":\"emit\",\"id\":7,\"stream\":\"words\",\"task\":3,\
             \"tuple\":[],\"anchors\":\"5\"}",
            ChildMessage::Emit(emit),
            &[],
            &[5],
        );
        check("{\"command\":\"ack\",\"id\":\"4\"}", ChildMessage::Ack(RawId("\"4\"")), &[], &[]);
        let log = ChildMessage::Log { text: "hi".into(), level: 2 };
        check("{\"command\":\"log\",\"msg\":\"hi\"}", log, &[], &[]);
        let metrics = ChildMessage::Metrics { name: "n".into(), value: "[1]" };
        check("{\"command\":\"metrics\",\"name\":\"n\",\"params\":[1]}", metrics, &[], &[]);
    }

    #[test]
    fn a_message_that_lacks_something_is_refused_with_its_name() {
        let refused = |text: &str| read(text, &mut Vec::new(), &mut Vec::new()).unwrap_err();
        assert!(refused("{\"command\":\"emit\"}").contains("needs a \"tuple\""));
        assert!(refused("{\"command\":\"ack\"}").contains("needs an \"id\""));
        assert!(refused("{\"command\":\"dance\"}").contains("there is no command \"dance\""));
        assert!(refused("[]").contains("expected an object"));
        assert!(refused("{\"command\":\"sync\"} {").contains("nothing more"));
    }
}

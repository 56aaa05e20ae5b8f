//! The targets of a child's emits: names of streams and ids of tasks, resolved.

use std::collections::HashMap;

use super::handshake::task_id;
use super::json::Flaw;
use super::message::Emit;
use crate::component::TopologyOutline;
use crate::post::Post;
use crate::tuple::{DEFAULT_STREAM, Fields, StreamId, Streams};
use crate::value::Value;

/// The field whose objects are posts.
const POST_FIELD: &str = "post";

/// The streams of a component, and the tasks of the topology.
pub(super) struct EmitTarget {
    streams: HashMap<String, Stream>,
    default: Option<Stream>,
    /// The number of each task within its component, by its id.
    tasks: HashMap<i64, usize>,
}

#[derive(Clone)]
struct Stream {
    id: StreamId,
    fields: Fields,
    post: Option<usize>,
}

impl EmitTarget {
    /// Creates the targets of a component with these streams.
    pub(crate) fn new(streams: &Streams, outline: &TopologyOutline, component: &str) -> Self {
        let mut by_name = HashMap::new();
        for (number, (name, fields)) in streams.iter().enumerate() {
            let (id, fields) = (StreamId(number), fields.clone());
            let post = fields.position(POST_FIELD);
            by_name.insert(name.to_owned(), Stream { id, fields, post });
        }
        let takers = outline.components.iter().filter(|other| {
            other.inputs.iter().any(|input| input.from == component && input.grouping == "Direct")
        });
        let mut tasks = HashMap::new();
        for taker in takers {
            for task in 0..taker.tasks {
                tasks.insert(task_id(taker.first_task + task), task);
            }
        }
        let default = by_name.get(DEFAULT_STREAM).cloned();
        Self { streams: by_name, default, tasks }
    }

    /// Returns the stream of an emit, and the number of the one task that gets it for a direct
    /// emit. Objects in the field `post` become posts.
    ///
    /// # Errors
    /// If there is no such stream or task, or if the number of values is wrong.
    #[inline]
    pub(crate) fn of(
        &self,
        emit: &Emit<'_>,
        values: &mut [Value],
    ) -> Result<(StreamId, Option<usize>), Flaw> {
        let stream = match &emit.stream {
            None => self.default.as_ref(),
            Some(name) => self.streams.get(&**name),
        };
        let Some(stream) = stream else { return Err(self.no_stream(emit)) };
        if stream.fields.len() != values.len() {
            return Err(format!(
                "a tuple of {} values for the stream \"{}\", which declares {}",
                values.len(),
                emit.stream.as_deref().unwrap_or(DEFAULT_STREAM),
                stream.fields
            ));
        }
        if let Some(at) = stream.post
            && let Value::Json(raw) = &values[at]
            && let Ok(post) = Post::check(raw.clone())
        {
            values[at] = Value::Post(post);
        }
        let direct = match emit.task {
            None => None,
            Some(id) => Some(*self.tasks.get(&id).ok_or_else(|| {
                format!("an emit to the task {id}, which takes nothing of it by direct grouping")
            })?),
        };
        Ok((stream.id, direct))
    }

    #[cold]
    fn no_stream(&self, emit: &Emit<'_>) -> Flaw {
        let mut names: Vec<_> = self.streams.keys().map(|name| format!("\"{name}\"")).collect();
        names.sort();
        let declares = match names.len() {
            0 => "no stream: give it `fields`".to_owned(),
            _ => format!("{} only", names.join(", ")),
        };
        let name = emit.stream.as_deref().unwrap_or(DEFAULT_STREAM);
        format!("a tuple for the stream \"{name}\", but the component declares {declares}")
    }
}

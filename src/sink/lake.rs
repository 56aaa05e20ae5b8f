//! The common parts of all sinks that write a lake: the post's bytes, and the writer behind them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Delivered, Sink, SinkContext};
use crate::component::Problem;
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::lake::form::{Compression, Form, Format};
use crate::lake::left::LeftPartitions;
use crate::lake::names::Names;
use crate::lake::staging::{Publish, Staging};
use crate::lake::writer::{Start, Writer};
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// The field that is written.
const POST: &str = "post";

/// Returns the problems of a sink of this name with its inputs.
pub(super) fn without_posts<'a>(
    name: &'a str,
    inputs: &'a [Fields],
) -> impl Iterator<Item = Problem> + 'a {
    inputs.iter().filter(|fields| fields.position(POST).is_none()).map(move |fields| Problem {
        field: "inputs",
        what: no_post(name, fields),
        candidates: None,
    })
}

fn no_post(name: &str, fields: &Fields) -> String {
    format!(
        "{name} writes the field \"{POST}\", but this input declares {fields}; take the input from \
            a source of posts, \
         or name a field \"{POST}\" where it is emitted"
    )
}

/// The names of partitions and the format of their files.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    pub names: Names,
    pub format: Format,
    pub compression: Compression,
}

/// One task that writes a lake.
pub(super) struct LakeSink {
    writer: Writer,
    publisher: Arc<dyn Publish>,
    staging: Staging,
    left: LeftPartitions,
    /// True once the input has ended.
    last: bool,
    /// The position of the post, for each input.
    positions: Vec<usize>,
}

impl LakeSink {
    /// Creates the sink of one task. Nothing is created on the disk before the first post.
    ///
    /// # Errors
    /// If an input has no posts, or the publisher can't deliver to the place.
    pub(crate) fn new(
        publisher: Arc<dyn Publish>,
        place: String,
        context: SinkContext,
        style: Style,
        left: &LeftPartitions,
    ) -> Result<Self> {
        let position = |fields: &Fields| {
            fields.position(POST).ok_or_else(|| Error::fatal(no_post(&context.component, fields)))
        };
        let positions = context.inputs.iter().map(position).collect::<Result<_>>()?;
        let start = Start {
            limits: context.micro_batch,
            boundary: context.boundary,
            durable: context.durable,
            clock: context.clock,
            names: style.names,
            form: Form::Text(style.format, style.compression),
        };
        let writer = Writer::new(Arc::clone(&publisher), place.clone(), start)?;
        let staging = publisher.staging(&place)?;
        if context.task == 0 {
            left.begin(&publisher, &staging);
        }
        Ok(Self { writer, publisher, staging, left: left.clone(), last: false, positions })
    }

    /// Creates the staging folder: if the folder can't be written, the start fails, and not the
    /// first post.
    ///
    /// # Errors
    /// If the folder can't be created.
    pub(crate) fn make_staging(&mut self) -> Result<()> {
        self.writer.make_staging()
    }
}

impl LakeSink {
    /// Returns how many bytes a tuple adds to a file: its post and the separator after it.
    pub(crate) fn length(&self, tuple: &Tuple<'_>) -> u64 {
        match tuple.value(self.positions[tuple.input]) {
            Value::Post(post) => post.len() as u64 + 1,
            Value::Json(json) => json.len() as u64 + 1,
            _ => 0,
        }
    }
}

impl Sink for LakeSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.writer.write(&one_line(tuple.value(self.positions[tuple.input]))?)
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.last = barrier.last;
        self.writer.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let delivered = Delivered::all(&promises);
        let places: BTreeSet<String> =
            promises.iter().map(|promise| promise.place.clone()).collect();
        let (publisher, left, last) = (Arc::clone(&self.publisher), self.left.clone(), self.last);
        let staging = self.staging.clone();
        let mut job = self.writer.commit(promises);
        Box::new(move || {
            job()?;
            left.delivered(&publisher, &places);
            if last {
                left.wait();
                // The note on these segments was already there when the other segments were
                // removed.
                staging.tidy();
            }
            Ok(delivered.clone())
        })
    }
}

/// Returns the post's bytes. JSON from another source than a post must be an object; its line
/// breaks, which can only be outside of its strings, are removed.
fn one_line(value: &Value) -> Result<Cow<'_, [u8]>> {
    match value {
        Value::Post(post) => Ok(Cow::Borrowed(post)),
        Value::Json(json) if json.first() == Some(&b'{') => {
            match memchr::memchr2(b'\n', b'\r', json) {
                None => Ok(Cow::Borrowed(json)),
                Some(_) => Ok(json
                    .iter()
                    .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
                    .collect()),
            }
        }
        _ => Err(Error::rejected(format!(
            "expected a post or a JSON object in the field \"{POST}\""
        ))),
    }
}

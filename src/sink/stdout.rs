//! `Stdout`: tuples as NDJSON on standard output.

use std::io::{self, ErrorKind, IsTerminal, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lines::LineWriter;
use super::{Sink, SinkConfig, SinkContext};
use crate::component::{Component, Problem};
use crate::epoch::{Barrier, Job, Prepared};
use crate::error::{Error, Result};
use crate::tuple::{Fields, Tuple};

mod table;

pub use table::Table;
use table::TablePrinter;

/// Prints every tuple on standard output, a line of JSON each. A tuple of a source (`post`, `kind`,
/// `topics`) is printed as its post alone, so that another `Lines(paths: ["-"])` can read it; any
/// other tuple as an object of its fields. Lines of several tasks never run into each other.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stdout {
    /// A table of the newest tuples instead of lines, where standard output is a terminal: it is
    /// redrawn in place, by one task. Anywhere else lines are printed all the same.
    #[serde(default)]
    pub table: Option<Table>,
}

impl Component for Stdout {
    const NAME: &'static str = "Stdout";
    const GUARANTEE: &'static str = "printed on receipt, outside the two phases: after a restart everything since the checkpoint may come again";
}

impl SinkConfig for Stdout {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let problems = self.table.iter().flat_map(|table| table.problems(inputs));
        let problems: Vec<_> = problems.collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        if let Some(table) = &self.table
            && context.task == 0
            && io::stdout().is_terminal()
        {
            let window = Box::new(|| crossterm::terminal::size().ok());
            return Ok(Box::new(TablePrinter::new(io::stdout(), window, table, &context.inputs)));
        }
        Ok(Box::new(Printer::new(io::stdout(), context.inputs)))
    }
}

/// The size of the buffer, in bytes. A larger buffer costs memory and saves little: from this size
/// on a system call takes less time than copying its bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Gathers whole lines, and writes them out in one go.
struct Printer<W> {
    out: W,
    buffer: Vec<u8>,
    lines: LineWriter,
}

impl<W: Write> Printer<W> {
    fn new(out: W, inputs: Vec<Fields>) -> Self {
        Self { out, buffer: Vec::with_capacity(BUFFER_BYTES), lines: LineWriter::new(inputs) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        result.map_err(unwritable)
    }
}

fn unwritable(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Error::fatal("standard output was closed by its reader"),
        _ => Error::fatal("standard output can't be written").because(error),
    }
}

impl<W: Write + Send> Sink for Printer<W> {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.lines.append(tuple, &mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn idle(&mut self) -> Result<()> {
        self.flush()
    }

    fn prepare(&mut self, _barrier: &Barrier) -> Result<Job<Prepared>> {
        self.flush()?;
        Ok(Box::new(|| Ok(Prepared::default())))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use time::OffsetDateTime;

    use super::*;
    use crate::post::Post;
    use crate::value::Value;

    fn printer<W: Write>(out: W) -> Printer<W> {
        Printer::new(out, vec![Fields::of_posts(), Fields::new(["word", "count"])])
    }

    fn post_tuple() -> [Value; 3] {
        let post = Post::check(Bytes::from_static(br#"{"toot": {"id":"1"}}"#)).unwrap();
        [post.into(), "toot".into(), Value::List([].into())]
    }

    fn barrier() -> Barrier {
        let epoch = OffsetDateTime::UNIX_EPOCH;
        Barrier { epoch: 1, now: epoch, boundary: epoch, last: false, durable: true }
    }

    #[test]
    fn a_post_of_a_source_is_printed_alone_and_other_tuples_as_their_fields() {
        let mut printer = printer(Vec::new());
        printer.write(Tuple::new(&post_tuple(), 0)).unwrap();
        printer.write(Tuple::new(&["a\nb".into(), 2.into()], 1)).unwrap();
        let pretty = Value::Json(Bytes::from_static(b"{\r\n\"a\": 1\n}"));
        printer.write(Tuple::new(&[pretty, Value::Null], 1)).unwrap();
        assert!(printer.out.is_empty(), "nothing is printed before there is reason to");
        printer.idle().unwrap();
        let expected = concat!(
            "{\"toot\": {\"id\":\"1\"}}\n",
            "{\"word\":\"a\\nb\",\"count\":2}\n",
            "{\"word\":{  \"a\": 1 },\"count\":null}\n"
        );
        assert_eq!(String::from_utf8(printer.out).unwrap(), expected);
    }

    #[test]
    fn a_full_buffer_and_a_barrier_print_what_was_gathered() {
        let mut printer = printer(Vec::new());
        let line = post_tuple()[0].as_post().unwrap().len() + 1;
        for _ in 0..=BUFFER_BYTES / line {
            printer.write(Tuple::new(&post_tuple(), 0)).unwrap();
        }
        assert!(printer.out.len() >= BUFFER_BYTES);
        printer.write(Tuple::new(&post_tuple(), 0)).unwrap();
        let before = printer.out.len();
        printer.prepare(&barrier()).unwrap()().unwrap();
        assert_eq!(printer.out.len(), before + line);
    }

    #[test]
    fn a_closed_pipe_stops_the_topology_and_says_so() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut printer = printer(writer);
        printer.write(Tuple::new(&post_tuple(), 0)).unwrap();
        let error = printer.idle().unwrap_err();
        assert_eq!(error.chain(), "standard output was closed by its reader");
        assert_eq!(error.kind(), crate::error::Kind::Fatal);
    }
}

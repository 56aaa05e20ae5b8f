//! `Socket`: sends lines to programs that connect, such as Spark's socket source.

mod address;
mod chunk;
mod deliver;
mod format;
mod hub;
mod listener;
mod live;
mod pace;
mod reader;
mod task;

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outbox;
use super::{Sink, SinkConfig, SinkContext};
use crate::bolt::jq::steps_usual;
use crate::component::{Component, Problem};
use crate::epoch::Promise;
use crate::error::Result;
use crate::tuple::Fields;
use crate::units::{ByteSize, Interval};

use self::hub::HubOptions;
use self::task::SocketSink;

pub use self::address::{ByteRate, ListenAddress, Network};
pub use self::format::SocketFormat;

/// Lets readers connect, and sends each of them every tuple that comes from then on, a line each:
/// for Apache Spark's socket source, `nc`, or any program that reads lines. A tuple of a source is
/// its post (NDJSON in UTF-8), any other tuple an object of its fields.
///
/// Lines go out at once. Where `on_no_reader` or `on_slow_reader` is `Wait`, whatever readers
/// haven't taken when a checkpoint comes, and all that comes while they don't keep up, waits in an
/// outbox on this machine's disk, which the checkpoint promises: a restart loses none of it. While
/// the outbox is full, the spouts upstream pause. With several readers, a line counts as delivered
/// once one of them has taken it whole and the others have taken it or left; with `on_slow_reader:
/// Wait` the slowest reader sets the pace. Lines come in the order in which the sink gets them, but
/// where the outbox has been emptied: those of one checkpoint may then come among later ones.
///
/// Only whole lines are sent: a reader that comes begins with a whole line, and one that has to go
/// in the middle of a line gets an error instead of an end. Within a connection nothing comes twice
/// while the engine lives; when its tasks start again (a crash, a rebalance), all connections end,
/// and everything since the newest checkpoint may come again. What a broken connection had in TCP's
/// buffers may be lost. `emitted` counts the lines that readers have taken, and `dropped` those
/// that they haven't, for each reader by itself; without a reader a line is dropped once.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// The address to listen at, such as `"127.0.0.1:9999"`; port 0 is any that is free, and the
    /// state of the component says which.
    pub listen: ListenAddress,
    /// The reaction to a tuple while no reader is connected.
    #[serde(default)]
    pub on_no_reader: OnNoReader,
    /// The reaction to a line for which a reader's buffer has no room.
    #[serde(default)]
    pub on_slow_reader: OnSlowReader,
    /// The size of each reader's buffer in memory, in bytes. A larger buffer bridges longer pauses
    /// of a reader, and costs that memory for each slow reader. Readers share the lines that they
    /// have in common.
    #[serde(default = "buffer")]
    pub buffer: ByteSize,
    /// The number of readers at a time; each costs a thread. A further one is refused.
    #[serde(default = "max_readers")]
    pub max_readers: NonZeroU16,
    /// The most that each reader gets, such as `"10MB/s"`; unlimited unless given. Spark's
    /// Structured Streaming reads ahead without a bound, and slows down by the square of that.
    #[serde(default)]
    pub max_rate: Option<ByteRate>,
    /// Networks from which readers may connect, beside this machine, such as `["10.0.0.0/8"]`.
    /// Nothing is encrypted, and nobody is asked for a password.
    #[serde(default)]
    pub allow_remote: Vec<Network>,
    /// The form of a line: `Ndjson`, or `Text("text")` for the value of one field.
    #[serde(default)]
    pub format: SocketFormat,
    /// A jq expression whose values are the lines, as in the bolt `Jq`: a projection such as
    /// `".tweet | {id_str, text}"`.
    #[serde(default)]
    pub jq: Option<String>,
    /// The steps that the expression may take for one tuple; see the bolt `Jq`.
    #[serde(default = "steps_usual")]
    pub max_steps: NonZeroU32,
    /// The time after which a reader that takes nothing is disconnected, whatever `on_slow_reader`
    /// says: its machine may be down. With `Wait`, the lines that it hasn't taken stay for the next
    /// reader.
    #[serde(default = "reader_timeout")]
    pub reader_timeout: Interval,
    /// With `Wait`: the number of bytes on this machine's disk at which the spouts upstream pause.
    #[serde(default = "outbox")]
    pub outbox: ByteSize,
}

/// The reaction to a tuple while no reader is connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoReader {
    /// The tuple is dropped and counted: a missing reader doesn't stop the capture.
    #[default]
    Drop,
    /// The tuple waits in the outbox for a reader.
    Wait,
}

/// The reaction to a line for which a reader's buffer has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnSlowReader {
    /// This reader doesn't get the line, which is counted as dropped.
    #[default]
    Drop,
    /// All readers wait, and tuples wait in the outbox.
    Wait,
    /// This reader is disconnected.
    Disconnect,
}

fn buffer() -> ByteSize {
    ByteSize(8 << 20)
}

fn max_readers() -> NonZeroU16 {
    NonZeroU16::new(16).unwrap_or(NonZeroU16::MIN)
}

fn reader_timeout() -> Interval {
    Interval(Duration::from_secs(120))
}

fn outbox() -> ByteSize {
    ByteSize(10 << 30)
}

/// The smallest useful buffer of a reader, in bytes.
const BUFFER_BYTES_MIN: u64 = 64 << 10;

/// The size of a chunk, in bytes. Larger chunks cost memory; smaller ones cost system calls and
/// wake-ups.
const CHUNK_BYTES: usize = 256 << 10;

impl Component for Socket {
    const NAME: &'static str = "Socket";
    const GUARANTEE: &'static str = "no repeats within a connection while the engine lives; after \
        a restart \
         everything since the last checkpoint may come again; with Wait a restart loses nothing \
         that readers \
         haven't taken; what lay in TCP's buffers of a broken connection may be lost";
}

impl Socket {
    /// Returns true if lines wait for readers on the disk.
    fn has_outbox(&self) -> bool {
        self.on_no_reader == OnNoReader::Wait || self.on_slow_reader == OnSlowReader::Wait
    }

    fn options(&self) -> HubOptions {
        HubOptions {
            on_slow_reader: self.on_slow_reader,
            buffer: usize::try_from(self.buffer.0).unwrap_or(usize::MAX),
            readers_max: self.max_readers.get().into(),
            max_rate: self.max_rate.map(|rate| rate.0.0),
            reader_timeout: self.reader_timeout.0,
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |field, what| Problem { field, what, candidates: None };
        let mut problems = Vec::new();
        if !self.listen.0.ip().to_canonical().is_loopback() && self.allow_remote.is_empty() {
            let what = format!(
                "{} can be reached from other machines: expected a loopback address such as \
                 127.0.0.1:{}, or allow_remote with the networks that may connect",
                self.listen,
                self.listen.0.port()
            );
            problems.push(problem("listen", what));
        }
        if self.buffer.0 < BUFFER_BYTES_MIN {
            let least = ByteSize(BUFFER_BYTES_MIN);
            problems.push(problem(
                "buffer",
                format!("expected {least} at least, found {}", self.buffer),
            ));
        }
        if self.reader_timeout.0.is_zero() {
            problems.push(problem("reader_timeout", "expected more than 0s".into()));
        }
        problems
    }
}

impl SinkConfig for Socket {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems();
        problems.extend(format::problems(&self.format, self.jq.as_deref(), self.max_steps, inputs));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        let (_, address) = listener::bind(self.listen.0)?;
        Ok(Some(format!("{address} is free to listen at")))
    }

    fn tasks_max(&self) -> Option<(usize, &'static str)> {
        Some((1, "one task listens at the address, and sends each reader everything"))
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(SocketSink::open(self, &context)?))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        if self.has_outbox() { outbox::place(context) } else { Ok(String::new()) }
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        if place.is_empty() {
            return Ok(Vec::new());
        }
        outbox::recover(place, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        self.has_outbox().then_some(self.outbox.0)
    }

    fn waits_for_readers(&self) -> bool {
        self.has_outbox()
    }
}

#[cfg(test)]
mod tests;

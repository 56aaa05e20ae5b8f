//! The end of a tap that sends tuples to a client, each as a line of JSON.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::{Deserialize, Serialize};

use crate::bolt::jq::Condition;
use crate::engine::{Running, TapSource, TapWanted};
use crate::error::Result;
use crate::flow::TappedTuple;
use crate::tuple::{Fields, Tuple, to_json};

/// The interval at which a line is sent even if no tuple passes, to notice a client that has gone.
const BEAT_EVERY: Duration = Duration::from_secs(2);

/// A request for tuples.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TapRequest {
    /// The component. A tap shows the tuples that it emits or, for a sink, those that it receives.
    pub component: String,
    /// One of its streams; `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// A jq expression that must be true for a tuple.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The sampling rate: each `sample`-th tuple is sent.
    #[serde(default = "one")]
    pub sample: u64,
}

fn one() -> u64 {
    1
}

/// An open tap.
pub(crate) struct OpenTap {
    sources: Vec<TapSource>,
    condition: Option<Condition>,
    tuples: Receiver<TappedTuple>,
    missed: Arc<AtomicU64>,
    /// The number of tuples for which the condition failed with an error.
    failed: u64,
}

/// The result of a wait for a tuple of a tap, at most [`BEAT_EVERY`] long.
pub(super) enum Passed {
    /// A tuple, which is printed if it is wanted.
    Tuple,
    /// No tuple.
    Nothing,
    /// No tuple comes any more.
    End,
}

impl OpenTap {
    /// Opens a tap on a running topology.
    ///
    /// # Errors
    /// If the stream doesn't exist, or if the condition is invalid.
    pub(crate) fn open(running: &Running, request: &TapRequest) -> Result<Self> {
        let wanted = TapWanted {
            component: request.component.clone(),
            stream: request.stream.clone(),
            every: request.sample,
        };
        let (tap, sources) = running.tap(&wanted)?;
        let fields: Vec<Fields> = sources.iter().map(|source| source.fields.clone()).collect();
        let compile = |code: &String| Condition::compile(code, &fields);
        let condition = request.condition.as_ref().map(compile).transpose()?;
        let (tuples, missed) = tap.split();
        Ok(Self { sources, condition, tuples, missed, failed: 0 })
    }

    /// Sends tuples until the client disconnects, or the topology has ended.
    pub(crate) fn send_to(mut self, mut stream: &UnixStream, is_over: impl Fn() -> bool) {
        let mut line = Vec::new();
        while !is_over() {
            match self.next_line(&mut line) {
                Passed::Tuple => {}
                Passed::Nothing => self.print_beat(&mut line),
                Passed::End => return,
            }
            if !line.is_empty() && stream.write_all(&line).is_err() {
                return;
            }
        }
    }

    /// Waits for the next tuple, and prints it if it is wanted. The line is empty otherwise.
    pub(super) fn next_line(&mut self, line: &mut Vec<u8>) -> Passed {
        line.clear();
        match self.tuples.recv_timeout(BEAT_EVERY) {
            Ok(tuple) => {
                self.print(&tuple, line);
                Passed::Tuple
            }
            Err(RecvTimeoutError::Timeout) => Passed::Nothing,
            Err(RecvTimeoutError::Disconnected) => Passed::End,
        }
    }

    /// Prints a tuple as `{"from":"words","tuple":{"word":"storm"}}`, if it meets the condition.
    fn print(&mut self, tapped: &TappedTuple, line: &mut Vec<u8>) {
        let TappedTuple { source, values } = tapped;
        let tuple = Tuple::new(values, *source);
        let holds = self.condition.as_ref().map_or(Ok(true), |condition| condition.holds(tuple));
        match holds {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => return self.failed += 1,
        }
        let TapSource { from, fields } = &self.sources[*source];
        line.extend_from_slice(b"{\"from\":");
        // Writing text into memory can't fail.
        let _ = serde_json::to_writer(&mut *line, from);
        line.extend_from_slice(b",\"tuple\":");
        let begin = line.len();
        to_json(fields, values, line);
        // A raw JSON value may contain line breaks, which are replaced.
        for byte in &mut line[begin..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        line.extend_from_slice(b"}\n");
    }

    fn print_beat(&self, line: &mut Vec<u8>) {
        let (missed, failed) = (self.missed.load(Ordering::Relaxed), self.failed);
        line.extend_from_slice(format!("{{\"missed\":{missed},\"failed\":{failed}}}\n").as_bytes());
    }
}

//! The side of whoever asks: one request, one answer.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Request, Seen, socket};
use crate::cli::run::drain_watch::awaited;
use crate::cli::stderr;
use crate::error::{Error, Result};

/// How long an answer may take before the process is asked whether it is alive, and how long it may take to say so. A
/// stop and a rebalance may take far longer, but a process that answers nothing is stopped or hangs.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Asks whoever runs with this state folder, and waits for the answer for as long as the process lives. What a long
/// wait is for is said on standard error.
///
/// # Errors
/// If nobody runs there, the process answers nothing at all, or its answer is an error.
pub fn ask<A: DeserializeOwned>(state: &Path, request: &Request) -> Result<A> {
    let mut exchange = Exchange::begin(state, request)?;
    let mut said = String::new();
    let line = loop {
        if let Some(line) = exchange.answer()? {
            break line;
        }
        let Request::Status {} = request else {
            let waits_for = look(state)?;
            if waits_for != said {
                stderr::say(&waits_for);
                said = waits_for;
            }
            continue;
        };
        return Err(silent(state));
    };
    let unknown = |error| Error::fatal("the topology gave an answer of another version").because(error);
    match serde_json::from_slice(&line).map_err(unknown)? {
        Answer::Ok(value) => serde_json::from_value(value).map_err(unknown),
        Answer::Error(what) => Err(Error::fatal(what)),
    }
}

/// A request that was sent, and what has come of its answer.
struct Exchange<'a> {
    state: &'a Path,
    reader: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl<'a> Exchange<'a> {
    fn begin(state: &'a Path, request: &Request) -> Result<Self> {
        let stream = socket::connect(state).map_err(|error| nobody(state, error))?;
        let mut line = serde_json::to_vec(request).map_err(|error| Error::fatal("can't be asked").because(error))?;
        line.push(b'\n');
        let bounded = stream.set_read_timeout(Some(SILENCE_MAX)).and(stream.set_write_timeout(Some(SILENCE_MAX)));
        bounded.map_err(|error| Error::fatal("can't be asked").because(error))?;
        // Whoever refuses a connection closes it at once, and its answer is what counts.
        let _ = (&stream).write_all(&line);
        Ok(Self { state, reader: BufReader::new(stream), line: Vec::new() })
    }

    /// The answer's line; `None` if nothing came for a while.
    fn answer(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            match self.reader.read_until(b'\n', &mut self.line) {
                Ok(_) if self.line.ends_with(b"\n") => return Ok(Some(std::mem::take(&mut self.line))),
                Ok(_) => return Err(ended_early(self.state)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(error) => {
                    let state = self.state.display();
                    let what = format!("the topology with its state in \"{state}\" gave no answer");
                    return Err(Error::fatal(what).because(error));
                }
            }
        }
    }
}

/// Asks a process that takes long how it is: what is waited for, in a sentence.
fn look(state: &Path) -> Result<String> {
    let line = Exchange::begin(state, &Request::Status {})?.answer()?.ok_or_else(|| silent(state))?;
    let seen = match serde_json::from_slice(&line) {
        Ok(Answer::Ok(value)) => serde_json::from_value::<Seen>(value).ok(),
        _ => None,
    };
    let Some(status) = seen.map(|seen| seen.status) else { return Ok("the topology is at it".to_owned()) };
    Ok(match awaited(&status) {
        Some(waits_for) => format!("the topology waits for {waits_for}"),
        None => "the topology is at it".to_owned(),
    })
}

fn silent(state: &Path) -> Error {
    Error::fatal(format!(
        "the topology with its state in \"{}\" answered nothing for {} s: its process is stopped (`kill -CONT` lets it \
         go on), or hangs",
        state.display(),
        SILENCE_MAX.as_secs()
    ))
}

fn ended_early(state: &Path) -> Error {
    let state = state.display();
    Error::fatal(format!("the topology with its state in \"{state}\" ended, or is too busy, before it answered"))
}

fn nobody(state: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            Error::fatal(format!("no topology runs with its state in \"{}\"", state.display()))
        }
        _ => Error::fatal(format!("can't connect to \"{}/control\"", state.display())).because(error),
    }
}

//! The side of whoever asks: one request, one answer.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Answer, Request, socket};
use crate::error::{Error, Result};

/// Asks whoever runs with this state folder, and waits for the answer for as long as it takes.
///
/// # Errors
/// If nobody runs there, or what it answers is an error.
pub fn ask<A: DeserializeOwned>(state: &Path, request: &Request) -> Result<A> {
    let stream = socket::connect(state).map_err(|error| nobody(state, error))?;
    let mut line = serde_json::to_vec(request).map_err(|error| Error::fatal("can't be asked").because(error))?;
    line.push(b'\n');
    // Whoever refuses a connection closes it at once, and its answer is what counts.
    let _ = (&stream).write_all(&line);
    let mut text = String::new();
    let read = BufReader::new(&stream).read_line(&mut text);
    if !matches!(read, Ok(bytes) if bytes > 0) {
        let ended = Error::fatal(format!("the topology with its state in \"{}\" gave no answer", state.display()));
        return Err(read.err().map_or_else(|| ended_early(state), |error| ended.because(error)));
    }
    let unknown = |error| Error::fatal("the topology gave an answer of another version").because(error);
    match serde_json::from_str(&text).map_err(unknown)? {
        Answer::Ok(value) => serde_json::from_value(value).map_err(unknown),
        Answer::Error(what) => Err(Error::fatal(what)),
    }
}

fn ended_early(state: &Path) -> Error {
    let state = state.display();
    Error::fatal(format!("the topology with its state in \"{state}\" ended, or is too busy, before it answered"))
}

fn nobody(state: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Error::fatal(format!("no topology runs with its state in \"{}\"", state.display()))
        }
        _ => Error::fatal(format!("can't connect to \"{}/control\"", state.display())).because(error),
    }
}

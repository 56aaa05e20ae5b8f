//! The client of the control socket: sends one request and returns one answer.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Answer, Request, Seen, TapRequest, socket};
use crate::error::{Error, Result};
use crate::metrics::Status;

/// The longest time that a running topology may take for an answer that needs no work. A stopped
/// process accepts the request, but never answers.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Sends a request to the process that runs with this state folder, and waits for the answer
/// without a limit while the process is alive. If the answer takes long, `told` is called with the
/// topology's status.
///
/// # Errors
/// If no process runs with this state, if the process doesn't respond, or if its answer is an
/// error.
pub fn ask<A: DeserializeOwned>(
    state: &Path,
    request: &Request,
    told: &dyn Fn(&Status),
) -> Result<A> {
    let line = request_line(state, request, &|| match request {
        // A drain may take long. A process that drains still answers requests for its status.
        Request::Rebalance(_) | Request::Stop { .. } => {
            let line = request_line(state, &Request::Status {}, &|| Err(no_response(state)))?;
            if let Some(status) = status_in(&line) {
                told(&status);
            }
            Ok(())
        }
        _ => Err(no_response(state)),
    })?;
    let unknown = |error| {
        Error::fatal("can't read the topology's answer: it runs another version of waterspout")
            .because(error)
    };
    match serde_json::from_slice(&line).map_err(unknown)? {
        Answer::Ok(value) => serde_json::from_value(value).map_err(unknown),
        Answer::Error(what) => Err(Error::fatal(what)),
    }
}

/// Watches tuples as they pass. `take` is called with each line, and returns false to end the tap.
///
/// # Errors
/// If no process runs with this state, or if the process refuses the tap.
pub fn tap(state: &Path, request: TapRequest, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
    let stream = connect(state)?;
    let bounded =
        stream.set_read_timeout(Some(SILENCE_MAX)).and(stream.set_write_timeout(Some(SILENCE_MAX)));
    bounded.map_err(|error| not_running(state, error))?;
    let mut line = serde_json::to_vec(&Request::Tap(request))
        .map_err(|error| Error::fatal("can't write the request").because(error))?;
    line.push(b'\n');
    let _ = (&stream).write_all(&line);
    let mut reader = BufReader::new(&stream);
    let mut is_first = true;
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) if is_first => return Err(ended_early(state)),
            Ok(0) => return Ok(()),
            Ok(_) if std::mem::take(&mut is_first) => {
                if let Ok(Answer::Error(what)) = serde_json::from_slice(&line) {
                    return Err(Error::fatal(what));
                }
            }
            Ok(_) if take(&line) => {}
            Ok(_) => return Ok(()),
            Err(_) => return Err(no_response(state)),
        }
    }
}

/// Returns the status in an answer, if the answer has one.
fn status_in(line: &[u8]) -> Option<Status> {
    let Ok(Answer::Ok(value)) = serde_json::from_slice(line) else { return None };
    serde_json::from_value::<Seen>(value).ok().map(|seen| seen.status)
}

/// Sends a request, and returns the line of the answer. `on_silence` returns an error to stop
/// waiting.
fn request_line(
    state: &Path,
    request: &Request,
    on_silence: &dyn Fn() -> Result<()>,
) -> Result<Vec<u8>> {
    let stream = connect(state)?;
    let bounded =
        stream.set_read_timeout(Some(SILENCE_MAX)).and(stream.set_write_timeout(Some(SILENCE_MAX)));
    bounded.map_err(|error| not_running(state, error))?;
    let mut line = serde_json::to_vec(request)
        .map_err(|error| Error::fatal("can't write the request").because(error))?;
    line.push(b'\n');
    // A process that refuses a connection closes it immediately. Its answer matters, not a failed
    // write.
    let _ = (&stream).write_all(&line);
    let (mut reader, mut answer) = (BufReader::new(&stream), Vec::new());
    loop {
        match reader.read_until(b'\n', &mut answer) {
            Ok(_) if answer.ends_with(b"\n") => return Ok(answer),
            Ok(_) => return Err(ended_early(state)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                on_silence()?
            }
            Err(error) => {
                let what = format!(
                    "the topology with its state in \"{}\" gave no answer",
                    state.display()
                );
                return Err(Error::fatal(what).because(error));
            }
        }
    }
}

/// Connects to the socket. If the process is stopped and its queue of connections is full, the
/// system blocks the next client.
fn connect(state: &Path) -> Result<UnixStream> {
    let (sender, connected) = crossbeam_channel::bounded(1);
    let folder = state.to_path_buf();
    let work = move || drop(sender.send(socket::connect(&folder)));
    let thread = thread::Builder::new().name("connect".into()).spawn(work);
    thread.map_err(|error| Error::fatal("can't start a thread").because(error))?;
    match connected.recv_timeout(SILENCE_MAX) {
        Ok(stream) => stream.map_err(|error| not_running(state, error)),
        Err(_) => Err(no_response(state)),
    }
}

/// Returns the error about a process that doesn't respond.
fn no_response(state: &Path) -> Error {
    let seconds = SILENCE_MAX.as_secs();
    let what = format!(
        "the topology with its state in \"{}\" doesn't answer for {seconds} s",
        state.display()
    );
    let pid = std::fs::read_to_string(state.join("lock"))
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    Error::fatal(match pid {
        Some(pid) if is_stopped(pid) => {
            format!("{what}: its process {pid} is stopped; `kill -CONT {pid}` lets it go on")
        }
        Some(pid) => format!("{what}: its process {pid} hangs, or the machine is too busy"),
        None => format!("{what}: its process hangs, or the machine is too busy"),
    })
}

/// Returns true if a process was stopped by a signal or a debugger. Always false if the system
/// doesn't tell.
fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state comes after the name in parentheses, which may contain any characters.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}

fn ended_early(state: &Path) -> Error {
    let state = state.display();
    Error::fatal(format!(
        "the topology with its state in \"{state}\" ended, or is too busy, before it answered"
    ))
}

fn not_running(state: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
            Error::fatal(format!("no topology runs with its state in \"{}\"", state.display()))
        }
        _ => {
            Error::fatal(format!("can't connect to \"{}/control\"", state.display())).because(error)
        }
    }
}

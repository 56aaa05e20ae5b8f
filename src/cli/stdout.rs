//! Standard output, for data and for what a command answers: a reader that goes away (`| head`)
//! ends a command quietly. Posts go out byte for byte by [`with`]; text for people goes out by
//! [`print`], which escapes what would steer a terminal. Nothing else in `cli` writes to standard
//! output (`tests/house.rs`).

use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use std::path::Path;

use serde::Serializer;

use super::exit::{Code, Failure, Outcome};
use crate::error::Error;
use crate::printable::printable_text;
use crate::secret::hide_in_addresses;

/// How much is gathered before it is written: large, since `replay` moves gigabytes through it.
const BUFFER_BYTES: usize = 256 << 10;

/// Standard output, which remembers whether its reader has gone.
struct Pipe {
    inner: StdoutLock<'static>,
    closed: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner
            .write(bytes)
            .inspect_err(|error| self.closed |= error.kind() == ErrorKind::BrokenPipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush().inspect_err(|error| self.closed |= error.kind() == ErrorKind::BrokenPipe)
    }
}

/// Lets `write` write, and flushes. A closed reader counts as success, whatever error came of it.
pub(crate) fn with(write: impl FnOnce(&mut dyn Write) -> Result<(), Error>) -> Outcome {
    let pipe = Pipe { inner: io::stdout().lock(), closed: false };
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, pipe);
    let result = write(&mut out).map_err(Failure::from).and_then(|()| {
        out.flush().map_err(|error| {
            Failure::from(Error::fatal("can't write to standard output").because(error))
        })
    });
    // What the reader doesn't want must not be written again when the buffer is dropped.
    let (pipe, _unwritten) = out.into_parts();
    if pipe.closed { Ok(Code::Success) } else { result.map(|()| Code::Success) }
}

/// Prints a text or lines of JSON, with escapes for what would steer a terminal. Its line breaks
/// are the caller's: what comes from outside goes through
/// [`printable_line`](crate::printable::printable_line) first.
pub(crate) fn print(text: &str) -> Outcome {
    with(|out| {
        out.write_all(printable_text(&hide_in_addresses(text)).as_bytes())
            .map_err(|error| Error::fatal("can't write to standard output").because(error))
    })
}

/// Returns true if a person reads it.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints `--help` or `--version`, in colours where there are any. Where it can't be printed,
/// nobody is reading.
pub(crate) fn help(text: &clap::Error) {
    let _ = text.print();
}

/// Writes a path into JSON, also one that isn't UTF-8: as it is shown everywhere.
///
/// # Errors
/// None of its own.
pub(crate) fn path_as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

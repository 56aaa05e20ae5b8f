//! Errors at a boundary: their kind, what happened, and the cause.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::printable::{printable_line, shortened};

/// The interval at which a task checks if the disk has space again.
pub const NO_ROOM_RETRY: Duration = Duration::from_secs(1);

/// The maximum length in characters of an error's text with its causes. A longer text would flood
/// logs and add no information.
const CHAIN_CHARS_MAX: usize = 4_000;

/// The kind of an [`Error`], which tells the caller what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another attempt may succeed: a timeout, a reset, a busy server.
    Transient,
    /// This input will never be accepted: it goes to the dead letters.
    Rejected,
    /// No attempt can succeed: the topology stops.
    Fatal,
    /// The local disk is full, or no more files can be opened. The engine reports the error, and
    /// retries until there is space, regardless of `on_error`.
    NoRoom,
    /// Work in progress outside the engine is lost, such as that of a child process that died. The
    /// topology goes back to its newest checkpoint, regardless of `on_error`.
    Lost,
}

/// An error with a sentence for users: lowercase, no full stop, names in double quotes, with the
/// expected and the found value.
pub struct Error {
    kind: Kind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error after which another attempt may succeed.
    pub fn transient(what: impl Into<String>) -> Self {
        Self::new(Kind::Transient, what)
    }

    /// Creates an error that only affects one input.
    pub fn rejected(what: impl Into<String>) -> Self {
        Self::new(Kind::Rejected, what)
    }

    /// Creates an error that stops the topology.
    pub fn fatal(what: impl Into<String>) -> Self {
        Self::new(Kind::Fatal, what)
    }

    /// Creates an error about a full disk of this machine. The operation is retried until there is
    /// space.
    pub fn no_room(what: impl Into<String>) -> Self {
        Self::new(Kind::NoRoom, what)
    }

    /// Creates an error about lost work outside the engine. The topology goes back to its newest
    /// checkpoint.
    pub fn lost(what: impl Into<String>) -> Self {
        Self::new(Kind::Lost, what)
    }

    /// Creates an error of the local file system: [`Kind::NoRoom`] for a full disk, an exceeded
    /// quota and too many open files, otherwise [`Kind::Transient`]. `what` names the operation and
    /// the path.
    pub fn file(what: impl Into<String>, source: std::io::Error) -> Self {
        use rustix::io::Errno;
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        let full = [Errno::NOSPC, Errno::DQUOT, Errno::MFILE, Errno::NFILE];
        let kind = if errno.is_some_and(|errno| full.contains(&errno)) {
            Kind::NoRoom
        } else {
            Kind::Transient
        };
        Self::new(kind, what).because(source)
    }

    fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Adds the cause, which [`chain`](Self::chain) prints after a colon.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the error and all its causes on one line, `what: cause: cause`. Control characters
    /// are escaped, since causes contain names of files and texts of servers.
    pub fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        printable_line(&shortened(&text, CHAIN_CHARS_MAX)).into_owned()
    }

    /// Returns the same error with its text, including causes, changed by `change`.
    #[must_use]
    pub fn with_text(self, change: impl FnOnce(&str) -> String) -> Self {
        Self::new(self.kind, change(&self.chain()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

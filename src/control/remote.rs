//! A client for programs that send requests to many topologies at once, without a thread for each.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::socket::Address;
use super::{Answer, Request};

/// The longest answer, in bytes: the status of a thousand components is two megabytes.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// The reason why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No process listens there.
    Absent,
    /// The process didn't answer in time: it hangs, is stopped, or the machine is too busy.
    Silent,
    /// The process refused the request; the sentence is for users.
    Refused(String),
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("its process doesn't run"),
            Self::Silent => {
                f.write_str("its process doesn't answer: it hangs, or the machine is too busy")
            }
            Self::Refused(what) => f.write_str(what),
        }
    }
}

impl From<io::Error> for Unanswered {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The queue of connections is full, which happens if the process is stopped.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Absent,
        }
    }
}

/// Sends a request to the process that runs with this state folder, and waits for the answer at
/// most for `patience`.
///
/// # Errors
/// If there is no answer, or if the answer is an error.
pub async fn ask_remote<A: DeserializeOwned>(
    state: &Path,
    request: &Request,
    patience: Duration,
) -> Result<A, Unanswered> {
    let asked = timeout(patience, talk(state, request));
    let line = asked.await.unwrap_or(Err(Unanswered::Silent))?;
    let unknown = |_| {
        Unanswered::Refused(
            "can't read the topology's answer: it runs another version of waterspout".into(),
        )
    };
    match serde_json::from_slice(&line).map_err(unknown)? {
        Answer::Ok(value) => serde_json::from_value(value).map_err(unknown),
        Answer::Error(what) => Err(Unanswered::Refused(what)),
    }
}

async fn talk(state: &Path, request: &Request) -> Result<Vec<u8>, Unanswered> {
    let mut stream = open(state, request).await?;
    let mut line = Vec::new();
    (&mut stream).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line).await?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(Unanswered::Absent) }
}

/// Connects, and sends a request.
async fn open(state: &Path, request: &Request) -> Result<BufReader<UnixStream>, Unanswered> {
    let address = Address::of(state)?;
    let mut stream = UnixStream::connect(address.path()).await?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::from)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(BufReader::new(stream))
}

/// The lines that a process sends to a client.
pub struct RemoteLines(Lines<BufReader<UnixStream>>);

impl RemoteLines {
    /// Asks for lines, and waits for the process to accept.
    ///
    /// # Errors
    /// If the process doesn't accept.
    pub async fn open(
        state: &Path,
        request: &Request,
        patience: Duration,
    ) -> Result<Self, Unanswered> {
        let begun = async {
            let mut lines = open(state, request).await?.lines();
            let first = lines.next_line().await?.ok_or(Unanswered::Absent)?;
            match serde_json::from_str(&first) {
                Ok(Answer::Ok(_)) => Ok(Self(lines)),
                Ok(Answer::Error(what)) => Err(Unanswered::Refused(what)),
                Err(_) => Err(Unanswered::Absent),
            }
        };
        timeout(patience, begun).await.unwrap_or(Err(Unanswered::Silent))
    }

    /// Returns the next line; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        self.0.next_line().await.ok().flatten()
    }
}

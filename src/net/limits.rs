//! The bounds of every network client, each with its price.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

/// The longest time to make a connection, TLS included. A longer time delays the next attempt at
/// another address; a shorter one fails over satellite links.
pub const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The longest time without any progress of a request: no byte sent and no byte of the answer. A
/// longer time keeps a tool waiting for a dead server; a shorter one gives up on a server that is
/// only busy.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The longest time for a whole answer of an API, or for a listing of a bucket.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// The longest time for an object, up or down: 64 MiB take less on a link of 250 kB/s. A server
/// that drips bytes holds a connection for this time.
pub const OBJECT_TIME_MAX: Duration = Duration::from_secs(300);

/// The largest answer of an API, in bytes. No API sends a larger page; each source holds one page
/// at a time.
pub const API_BYTES_MAX: u64 = 64 << 20;

/// The largest page of a listing, in bytes: 1,000 keys of 1,024 bytes, each byte percent-encoded,
/// are 3 MB.
pub const LISTING_BYTES_MAX: u64 = 8 << 20;

/// The largest object that is read whole, in bytes: an index, a note of the journal, or a packed
/// file that is compared. Posts are read by ranges, whose length the reader knows. A larger object
/// is an error. An object of this size, the index of some 800,000 files, takes twice as much memory
/// while it is read.
pub const OBJECT_BYTES_MAX: u64 = 128 << 20;

/// The largest body of an answer that refuses or acknowledges a request. A longer body is cut,
/// since people read only its first sentences.
pub const ERROR_BYTES_MAX: u64 = 64 << 10;

/// The longest text of a server in a message, in characters.
pub const SAID_CHARS_MAX: usize = 300;

/// Runs a request for as long as its counter changes, and at most for this time in all.
///
/// # Errors
/// If the request made no progress for [`SILENCE_MAX`], or took longer than `total`.
pub async fn in_time<T>(
    request: impl Future<Output = T>,
    progress: &AtomicU64,
    total: Duration,
) -> Result<T, OutOfTime> {
    let watched = async {
        let mut request = std::pin::pin!(request);
        loop {
            let before = progress.load(Ordering::Relaxed);
            match timeout(SILENCE_MAX, &mut request).await {
                Ok(done) => return Ok(done),
                Err(_) if progress.load(Ordering::Relaxed) == before => {
                    return Err(OutOfTime::Silent);
                }
                Err(_) => {}
            }
        }
    };
    timeout(total, watched).await.unwrap_or(Err(OutOfTime::Slow(total)))
}

/// A request that didn't end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTime {
    /// Nothing was sent and nothing came.
    Silent,
    /// The request took longer than this in all.
    Slow(Duration),
}

impl std::fmt::Display for OutOfTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent => write!(f, "the server said nothing for {} s", SILENCE_MAX.as_secs()),
            Self::Slow(total) => {
                write!(f, "the answer wasn't complete after {} s", total.as_secs())
            }
        }
    }
}

impl std::error::Error for OutOfTime {}

/// Returns a server's text for a message: on one line, and cut.
pub fn said(text: &str) -> String {
    let mut short: String = text.chars().take(SAID_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_a_server_is_cut_and_stays_on_one_line() {
        assert_eq!(said("no\r\nentry\x1b[2J"), "no  entry [2J");
        assert_eq!(said(&"a".repeat(9_999)).chars().count(), SAID_CHARS_MAX + 1);
    }
}

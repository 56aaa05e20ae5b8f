//! The thread that writes to one reader.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar};
use std::time::Duration;

use memchr::memchr;
use rustix::net::{RecvFlags, recv, sockopt};

use super::chunk::{Chunk, count_lines};
use super::hub::{Hub, Next, STOP_CHECK};
use super::pace::Pace;

/// The idle time after which the kernel probes a reader. The kernel repeats the probe every
/// [`PROBE_EVERY`] and closes the connection after [`PROBES_MAX`] unanswered probes, so a reader
/// whose machine is down is detected within a minute.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBES_MAX: u32 = 3;

/// The number of bytes sent by a reader that are discarded at each check.
const THROWN_AWAY_BYTES_MAX: usize = 64 << 10;

/// The time to wait, after the first line, for a reader that has closed its sending side: if the
/// reader is gone, its machine reports an error within one round trip.
const HALF_CLOSED_CHECK: Duration = Duration::from_millis(100);

/// The time that a reader has to take the rest of its line when the socket closes.
const LAST_LINE_MAX: Duration = Duration::from_secs(1);

/// The connection to one reader.
pub(super) struct Reader {
    hub: Arc<Hub>,
    id: u64,
    wake: Arc<Condvar>,
    stream: TcpStream,
    pace: Option<Pace>,
    /// The state of the reader's sending side: the reader may be gone, or may only send nothing.
    own_side: OwnSide,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnSide {
    Open,
    /// Closed; it isn't known yet if the reader still reads.
    Closed,
    /// Closed, and the reader still reads.
    ClosedAndReads,
}

/// Configures a connection. A failure here is no reason to refuse the reader.
pub(super) fn set_up(stream: &TcpStream) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(STOP_CHECK));
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_AFTER);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBES_MAX);
}

impl Reader {
    pub(crate) fn new(hub: Arc<Hub>, id: u64, wake: Arc<Condvar>, stream: TcpStream) -> Self {
        let pace = hub.options.max_rate.map(Pace::new);
        Self { hub, id, wake, stream, pace, own_side: OwnSide::Open }
    }

    /// Writes chunks until the reader leaves or the socket closes.
    pub(crate) fn serve(mut self) {
        loop {
            match self.hub.next(self.id, &self.wake) {
                Next::Write(chunk) => match self.write(&chunk) {
                    Ok(()) => self.hub.took(self.id),
                    Err(written) => return self.leave(&chunk.bytes()[..written]),
                },
                Next::Look => {
                    if self.look().is_err() {
                        return self.leave(&[]);
                    }
                }
                Next::End(true) => return self.end(),
                Next::End(false) => return self.leave(&[]),
            }
        }
    }

    /// Ends the connection. A reader that got a part of a line gets an error and not a normal end,
    /// so that it doesn't take the part for a line.
    fn leave(self, written: &[u8]) {
        if written.last().is_some_and(|last| *last != b'\n') {
            let _ = sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
        }
        self.hub.left(self.id, count_lines(written));
    }

    fn end(mut self) {
        // Unread input would turn the normal end into an error for the reader.
        let _ = self.look();
        let _ = self.stream.shutdown(Shutdown::Write);
        self.hub.left(self.id, 0);
    }

    /// Writes a chunk; `Err` has the number of bytes that were written.
    fn write(&mut self, chunk: &Chunk) -> Result<(), usize> {
        let bytes = chunk.bytes();
        let (mut written, mut end) = (0, bytes.len());
        if self.look().is_err() {
            return Err(0);
        }
        if self.own_side == OwnSide::Closed {
            written = self.write_first_line(bytes)?;
        }
        let mut progress = self.hub.clock.monotonic();
        let mut closes = false;
        while written < end {
            let now = self.hub.clock.monotonic();
            if self.hub.is_closed() && !closes {
                // Only the current line is completed.
                closes = true;
                progress = now;
                end = if written == 0 { 0 } else { end_of_line(bytes, written) };
                continue;
            }
            let patience = if closes { LAST_LINE_MAX } else { self.hub.options.reader_timeout };
            if now.saturating_sub(progress) >= patience {
                return Err(written);
            }
            let allowed = match self.pace.as_ref().map(|pace| pace.allows(now)) {
                Some(Err(wait)) if !closes => {
                    if self.hub.is_cut(self.id) {
                        return Err(written);
                    }
                    self.hub.pause(&self.wake, wait);
                    progress = self.hub.clock.monotonic();
                    continue;
                }
                Some(Ok(allowed)) => allowed.min(end - written),
                _ => end - written,
            };
            match self.stream.write(&bytes[written..written + allowed]) {
                Ok(0) => return Err(written),
                Ok(count) => {
                    written += count;
                    progress = now;
                    if let Some(pace) = &mut self.pace {
                        pace.sent(count, now);
                    }
                }
                Err(error) if is_patience(error.kind()) && !self.hub.is_cut(self.id) => {}
                Err(_) => return Err(written),
            }
        }
        if closes { Err(written) } else { Ok(()) }
    }

    /// Writes the first line to a reader that may be gone, and waits until its machine would have
    /// reported that.
    fn write_first_line(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let line = end_of_line(bytes, 0);
        let begun = self.hub.clock.monotonic();
        let mut written = 0;
        while written < line {
            match self.stream.write(&bytes[written..line]) {
                Ok(count) if count > 0 => written += count,
                Err(error)
                    if is_patience(error.kind())
                        && self.hub.clock.monotonic().saturating_sub(begun)
                            < self.hub.options.reader_timeout
                        && !self.hub.is_closed() => {}
                _ => return Err(0),
            }
        }
        while self.hub.clock.monotonic().saturating_sub(begun) < HALF_CLOSED_CHECK {
            if !matches!(self.stream.take_error(), Ok(None)) {
                // The reader didn't receive the line.
                return Err(0);
            }
            self.hub.pause(&self.wake, HALF_CLOSED_CHECK / 10);
            if self.hub.is_closed() {
                break;
            }
        }
        self.own_side = OwnSide::ClosedAndReads;
        Ok(written)
    }

    /// Discards the reader's input, and returns the state of the connection.
    fn look(&mut self) -> Result<(), ()> {
        let mut thrown_away = [0; 4096];
        for _ in 0..THROWN_AWAY_BYTES_MAX / thrown_away.len() {
            match recv(&self.stream, &mut thrown_away[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => {
                    if self.own_side == OwnSide::Open {
                        self.own_side = OwnSide::Closed;
                    }
                    break;
                }
                Ok(_) => {}
                Err(error) if is_patience(error.kind()) => break,
                Err(_) => return Err(()),
            }
        }
        if matches!(self.stream.take_error(), Ok(None)) { Ok(()) } else { Err(()) }
    }
}

fn is_patience(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Returns the end of the line that contains a position, or the position itself if it is between
/// two lines.
fn end_of_line(bytes: &[u8], at: usize) -> usize {
    if at > 0 && bytes[at - 1] == b'\n' {
        return at;
    }
    memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_has_begun_ends_at_its_break() {
        let bytes = b"ab\ncd\n";
        for (at, end) in [(0, 3), (1, 3), (2, 3), (3, 3), (4, 6), (6, 6)] {
            assert_eq!(end_of_line(bytes, at), end, "{at}");
        }
        assert_eq!(end_of_line(b"", 0), 0);
    }
}

//! The body of an answer, read within bounds.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{Either, select};

use super::super::idle::IdleBytes;
use super::super::limits::{ANSWER_TIME_MAX, API_BYTES_MAX, ERROR_BYTES_MAX, SILENCE_MAX};
use super::{Failure, Reply};
use crate::clock::SharedClock;

/// The longest wait for the rest of an acknowledgement, whose status is enough. A longer wait
/// delays the next request; a shorter one gives up connections that could be used again.
const REST_TIME_MAX: Duration = Duration::from_secs(2);

/// A body that doesn't end by itself, read piece by piece.
pub struct Body {
    response: reqwest::Response,
    clock: SharedClock,
    idle: IdleBytes,
}

impl Body {
    pub(super) fn new(response: reqwest::Response, clock: SharedClock) -> Self {
        Self { response, idle: IdleBytes::new(clock.monotonic()), clock }
    }

    /// Returns the next bytes; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the connection was lost, or if the server sends without an end and never completes a
    /// message.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.idle.is_too_much(self.clock.monotonic()) {
            let what =
                "the server sends keep-alives or parts of messages without end, and no message";
            return Err(Failure::Network(what.into()));
        }
        let chunk = self.response.chunk().await.map_err(Failure::of)?;
        self.idle.add(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// Notes that a message of the stream is complete.
    pub fn message_came(&mut self) {
        self.idle.message_came(self.clock.monotonic());
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Returns a header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Reads the body to its end, for an answer that turned out not to be a stream.
    ///
    /// # Errors
    /// If [`Http::get`](super::Http::get) would fail.
    pub async fn whole(self) -> Result<Reply, Failure> {
        let late = self.clock.sleep(ANSWER_TIME_MAX);
        match select(std::pin::pin!(self.read_whole()), late).await {
            Either::Left((reply, _)) => reply,
            Either::Right(_) => Err(Failure::Timeout),
        }
    }

    /// Returns the next bytes, if they come before the server has been silent for too long.
    async fn next_in_time(&mut self) -> Result<Option<Bytes>, Failure> {
        let late = self.clock.sleep(SILENCE_MAX);
        match select(std::pin::pin!(self.response.chunk()), late).await {
            Either::Left((chunk, _)) => chunk.map_err(Failure::of),
            Either::Right(_) => Err(Failure::Timeout),
        }
    }

    /// Reads the beginning of an acknowledgement. Its status is enough, so a failure after the head
    /// isn't a failure of the request.
    pub(super) async fn beginning(mut self) -> Reply {
        let (status, headers) = (self.status(), self.response.headers().clone());
        let bytes_max = usize::try_from(ERROR_BYTES_MAX).unwrap_or(usize::MAX);
        let mut body = BytesMut::new();
        let late = self.clock.sleep(REST_TIME_MAX);
        let read = async {
            while let Ok(Some(chunk)) = self.response.chunk().await {
                let room = bytes_max - body.len();
                body.extend_from_slice(&chunk[..room.min(chunk.len())]);
                if chunk.len() > room {
                    break;
                }
            }
        };
        select(std::pin::pin!(read), late).await;
        Reply { status, headers, body: body.freeze() }
    }

    async fn read_whole(mut self) -> Result<Reply, Failure> {
        let (status, headers) = (self.status(), self.response.headers().clone());
        // A refusal is cut, since people read the beginning of it; a good answer is complete or an
        // error.
        let good = (200..300).contains(&status);
        let bytes_max = usize::try_from(if good { API_BYTES_MAX } else { ERROR_BYTES_MAX })
            .unwrap_or(usize::MAX);
        let mut body = BytesMut::new();
        while let Some(chunk) = self.next_in_time().await? {
            let room = bytes_max - body.len();
            if chunk.len() > room && good {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&chunk[..room.min(chunk.len())]);
            if chunk.len() > room {
                break;
            }
        }
        Ok(Reply { status, headers, body: body.freeze() })
    }
}

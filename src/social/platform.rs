//! The traits that a platform implements: its configuration and its protocol. Everything else is
//! shared by all platforms.

use async_trait::async_trait;

use crate::component::{Component, Problem};
use crate::error::Result;
use crate::secret::Secret;

use super::common::Common;
use super::feed::Feed;

/// The configuration of a social source. Each type that implements this trait is a spout.
#[async_trait(?Send)]
pub trait Platform: Component + Clone + PartialEq {
    /// The kind of the platform's posts: `tweet`.
    const KIND: &'static str;

    /// Returns the options that all platforms have.
    fn common(&self) -> Common;

    /// Returns all secrets that requests carry, and the values made from secrets: no text that
    /// comes back may show one.
    fn secrets(&self) -> Vec<Secret>;

    /// Returns the problems of the configuration that can be found without the network.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Makes the platform's protocol. Called on the capture's thread, inside a tokio runtime with
    /// I/O and time.
    ///
    /// # Errors
    /// Fatal if the source can't be made from this configuration.
    fn source(&self) -> Result<Box<dyn Source>>;

    /// Makes the reader of posts' counts; `None` if the platform has no such call.
    ///
    /// # Errors
    /// Fatal if the refresher can't be made from this configuration.
    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(None)
    }

    /// Checks credentials and topics with the fewest calls, inside a tokio runtime. Returns a few
    /// words on what was found to be good.
    ///
    /// # Errors
    /// If a credential or a topic is refused; the error says which, and what to do.
    async fn check_online(&self) -> Result<String>;
}

/// A platform's protocol, written as a loop:
///
/// ```text
/// loop:
///     connect, from feed.cursor(part) on           backing off as the provider prescribes
///     read something
///     feed.offer(post)                             for each post of it
///     feed.set_cursor(part, behind it)
///     feed.flush().await                           on this machine's disk; waits for room
/// ```
///
/// The source handles network failures itself: it waits and tries again without a limit, and
/// reports this by [`Feed::attempt_failed`] and [`Feed::works`]. It reports times during which
/// posts may be missing by [`Feed::gap`].
#[async_trait(?Send)]
pub trait Source {
    /// Runs until the source can't go on. The future may be dropped at any await; flushed posts are
    /// kept.
    ///
    /// # Errors
    /// Fatal if trying again can't help, as with refused credentials or a wrong request. The error
    /// says what to do.
    async fn run(&mut self, feed: &Feed) -> Result<()>;
}

/// A reader of posts' counts. A refresher runs beside the source, on the same thread.
#[async_trait(?Send)]
pub trait Refresher {
    /// Returns the number of posts that one call can read.
    fn batch(&self) -> usize;

    /// Reads these posts again and offers each by [`Feed::offer_refreshed`] with `after`. The ids
    /// are those that [`Post::id`](crate::post::Post::id) returns; only a toot's id is its number
    /// on its server. A post that is gone is skipped.
    ///
    /// # Errors
    /// Transient: the same ids are read again later. Fatal: stops the source.
    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()>;
}

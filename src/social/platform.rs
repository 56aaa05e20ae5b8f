//! What a platform brings: its configuration and its protocol. Everything else is the same for all.

use async_trait::async_trait;

use crate::component::{Component, Problem};
use crate::error::Result;
use crate::secret::Secret;

use super::common::Common;
use super::feed::Feed;

/// The configuration of a social source: implementing this makes it a spout.
#[async_trait(?Send)]
pub trait Platform: Component + Clone + PartialEq {
    /// The kind of its posts: `tweet`.
    const KIND: &'static str;

    /// What it shares with the others.
    fn common(&self) -> Common;

    /// All secrets that requests carry, and what is made of them: no text that comes back may show
    /// one.
    fn secrets(&self) -> Vec<Secret>;

    /// What is wrong with it, as far as that can be said without the network.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }

    /// Its protocol. Called on the capture's own thread, inside a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// Fatal if it can't be made from this configuration.
    fn source(&self) -> Result<Box<dyn Source>>;

    /// What reads the counts of posts again; `None` if the platform has no such call.
    ///
    /// # Errors
    /// Fatal if it can't be made from this configuration.
    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(None)
    }

    /// Checks credentials and topics with the fewest calls, inside a tokio runtime. Says in a few
    /// words what was found to be good.
    ///
    /// # Errors
    /// What isn't good, and what to do.
    async fn check_online(&self) -> Result<String>;
}

/// A platform's protocol, written as a loop:
///
/// ```text
/// for ever:
///     connect, from feed.cursor(part) on           backing off as the provider prescribes
///     read something
///     feed.offer(post)                             for each post of it
///     feed.set_cursor(part, behind it)
///     feed.flush().await                           on this machine's disk; waits for room
/// ```
///
/// What went wrong on the network is its own business: it waits and tries again for as long as it
/// takes, and says so by [`Feed::attempt_failed`] and [`Feed::works`]. Where posts may be missing
/// it tells so by [`Feed::gap`].
#[async_trait(?Send)]
pub trait Source {
    /// Runs until it can't go on. The future may be dropped at any await; what was flushed is kept.
    ///
    /// # Errors
    /// Fatal where trying again can't help: credentials that are refused, a wrong request. It says
    /// what to do.
    async fn run(&mut self, feed: &Feed) -> Result<()>;
}

/// Reads posts again, for their counts. It runs beside the source, on the same thread.
#[async_trait(?Send)]
pub trait Refresher {
    /// How many posts one call can read.
    fn batch(&self) -> usize;

    /// Reads these posts (ids as [`Post::id`](crate::post::Post::id) gives them, but a toot's is
    /// the number that it has on its server) and offers each by [`Feed::offer_refreshed`] with
    /// `after`. One that is gone is passed over.
    ///
    /// # Errors
    /// Transient: the same ids are read again later. Fatal: stops the source.
    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()>;
}

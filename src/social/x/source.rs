//! The source: the stream together with the filling of its gaps, or the search alone.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use time::OffsetDateTime;

use crate::error::Result;
use crate::social::{Feed, Source};

use super::api::Api;
use super::repeating::Repeating;
use super::{Mode, X, backfill, poll, stream};

/// The part of the cursor that has the time when X last sent something, in milliseconds since 1970.
pub(super) const LIVE: &str = "live";

/// The time to wait for the app's only connection, if another spout of this process has it.
const SHARED_WAIT: Duration = Duration::from_secs(60);

/// The state that the stream and the filling of its gaps share.
#[derive(Default)]
pub(super) struct Shared {
    /// The gap that the stream itself repeats now.
    pub repeating: RefCell<Option<Repeating>>,
}

impl Shared {
    /// Returns true if the stream itself repeats a gap.
    pub(crate) fn repeats(&self, gap: &str) -> bool {
        self.repeating.borrow().as_ref().is_some_and(|repeating| repeating.gap == gap)
    }
}

/// Formats a time for cursors.
pub(super) fn unix_ms(time: OffsetDateTime) -> String {
    (time.unix_timestamp_nanos() / 1_000_000).to_string()
}

/// Parses a time from a cursor.
pub(super) fn from_unix_ms(text: &str) -> Option<OffsetDateTime> {
    let ms: i128 = text.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(ms.checked_mul(1_000_000)?).ok()
}

/// Returns the time when X last sent something.
pub(super) fn life(feed: &Feed) -> Option<OffsetDateTime> {
    from_unix_ms(&feed.cursor(LIVE)?)
}

/// Saves the time from which posts are wanted, if it isn't known from before: a process that is
/// killed before X sends anything has promised posts since then. Returns true if the time is new.
///
/// # Errors
/// If the spool can't be used.
pub(super) async fn begin(feed: &Feed, from: OffsetDateTime) -> Result<bool> {
    let is_new = life(feed).is_none();
    if is_new {
        feed.set_cursor(LIVE, unix_ms(from));
        feed.save().await?;
    }
    Ok(is_new)
}

/// The source that reads X.
pub(super) struct XSource {
    x: X,
}

impl XSource {
    /// Makes a source from the configuration.
    pub(crate) fn new(x: X) -> Self {
        Self { x }
    }

    /// Streams until X says that the account has no stream; returns the reason.
    async fn stream(&self, api: &Api, feed: &Feed, shared: &Shared) -> Result<String> {
        let connection = match api.quota.try_connection() {
            Some(connection) => connection,
            None => {
                feed.set_state("waits for the app's connection");
                match select(pin!(api.quota.connection()), feed.clock().sleep(SHARED_WAIT)).await {
                    Either::Left((connection, _)) => connection,
                    Either::Right(_) => {
                        return Ok(
                            "another spout with the same token has the app's only connection"
                                .into(),
                        );
                    }
                }
            }
        };
        let why = stream::run(api, &self.x, feed, shared).await;
        drop(connection);
        why
    }

    async fn read(&self, api: &Api, feed: &Feed, shared: &Shared) -> Result<()> {
        if self.x.mode == Mode::Stream {
            let why = self.stream(api, feed, shared).await?;
            feed.say(format!("there is no stream, so X is searched every {}: {why}", self.x.poll));
        }
        poll::run(api, &self.x, feed).await
    }
}

#[async_trait(?Send)]
impl Source for XSource {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let api = Api::new(&self.x, feed.clock().clone())?;
        let shared = Shared::default();
        let (read, fill) =
            (self.read(&api, feed, &shared), backfill::run(&api, &self.x, feed, &shared));
        match select(pin!(read), pin!(fill)).await {
            Either::Left((result, _)) | Either::Right((result, _)) => result,
        }
    }
}

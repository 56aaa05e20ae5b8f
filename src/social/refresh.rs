//! Reads posts again for their counts.

use std::time::Duration;

use crate::error::{Kind, Result};

use super::feed::Feed;
use super::platform::Refresher;

/// The interval at which due posts are looked for.
const EVERY: Duration = Duration::from_secs(5);

/// The wait after a read that failed.
const RETRY: Duration = Duration::from_secs(60);

/// Reads due posts, without an end.
pub(super) async fn run(mut refresher: Box<dyn Refresher>, feed: &Feed) -> Result<()> {
    loop {
        let due = feed.with_schedule(|schedule| schedule.take(refresher.batch(), feed.now()));
        let Some((after, ids)) = due else {
            feed.clock().sleep(EVERY).await;
            continue;
        };
        match refresher.reread(feed, &ids, &after.to_string()).await {
            Ok(()) => feed.flush().await?,
            Err(error) if error.kind() == Kind::Transient => {
                let due = feed.now() + RETRY;
                feed.with_schedule(|schedule| schedule.again(after, ids, due));
                feed.clock().sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

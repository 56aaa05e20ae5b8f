//! Reads the uploads of channels, from the newest video that was found before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::Result;
use crate::social::{Feed, Plan, Topic, begin, newest, stamp};

use super::YouTube;
use super::client::{Client, Page};
use super::found::Taker;

/// The divisor of a day's units that gives the channels' share; the rest is for videos that
/// searches find, and for counts.
const SHARE: u64 = 2;

/// The most pages that are read of one channel at once; a playlist has 20,000 videos at most.
const PAGES_MAX: usize = 400;

/// The interval at which left-out channels are looked at, while all of them are left out.
const ALL_OUT: Duration = Duration::from_secs(1);

/// Reads each channel in turn, evenly spread and as often as the units allow.
pub(super) async fn run(client: &Client, config: &YouTube, feed: &Feed) -> Result<()> {
    let channels: Vec<_> = config.topics.iter().filter(|topic| topic.channel().is_some()).collect();
    if channels.is_empty() {
        return std::future::pending().await;
    }
    let units = u32::try_from(config.units_per_day / SHARE).unwrap_or(u32::MAX).max(1);
    let plan = Plan::new(channels.len(), config.poll.0, Duration::from_secs(24 * 3600) / units);
    begin(feed, &channels.iter().filter_map(|topic| topic.channel().map(part)).collect::<Vec<_>>())
        .await?;
    let taker = Taker::new(client, feed);
    let mut uploads = Uploads { client, config, feed, taker, etags: BTreeMap::new() };
    loop {
        let is_out = |topic: &&&Topic| {
            topic.channel().is_some_and(|channel| feed.is_left_out(&part(channel)))
        };
        if channels.iter().all(|topic| is_out(&topic)) {
            feed.sleep(ALL_OUT).await;
            continue;
        }
        for channel in channels.iter().filter(|topic| !is_out(topic)) {
            let (begun, calls) = (feed.clock().monotonic(), client.calls());
            uploads.channel(channel).await?;
            let took = feed.clock().monotonic().saturating_sub(begun);
            feed.sleep(plan.pause(took, client.calls() - calls, 1)).await;
        }
    }
}

/// Returns the part of the source for a channel.
fn part(channel: &str) -> String {
    format!("channel {channel}")
}

/// Returns the playlist of a channel's uploads: its id, with `UU` for `UC`.
fn playlist(channel: &str) -> String {
    channel.strip_prefix("UC").map_or_else(|| channel.to_owned(), |rest| format!("UU{rest}"))
}

struct Uploads<'a> {
    client: &'a Client,
    config: &'a YouTube,
    feed: &'a Feed,
    taker: Taker<'a>,
    /// The etag of each channel's first page when all of its uploads were read.
    etags: BTreeMap<String, String>,
}

impl Uploads<'_> {
    /// Sweeps over a channel's uploads once, the newest first, back to the newest upload of the
    /// last sweep less the overlap.
    async fn channel(&mut self, topic: &Topic) -> Result<()> {
        let Some(channel) = topic.channel() else { return Ok(()) };
        let part = part(channel);
        let last = newest(self.feed, &part);
        let from = last - self.config.overlap.0;
        let known = self.etags.remove(channel);
        let playlist = playlist(channel);
        let (mut latest, mut token, mut tokens, mut first) =
            (last, None::<String>, BTreeSet::new(), None);
        for number in 0..PAGES_MAX {
            self.feed.await_budget().await;
            let mut query = vec![("playlistId", playlist.as_str())];
            query.extend(token.as_deref().map(|token| ("pageToken", token)));
            let etag = known.as_deref().filter(|_| number == 0);
            let reply = match self.client.playlist(&query, etag, self.feed).await? {
                Page::Is(reply) => reply,
                Page::Same => {
                    first = known.clone();
                    break;
                }
                // The token is no longer valid: the uploads behind it are read again, since the
                // cursor stays.
                Page::Gone => return Ok(()),
                // The cursor stays: new uploads are read once the channel is available again.
                Page::Missing(why) => {
                    self.feed.leave_out(&part, &why);
                    return Ok(());
                }
            };
            if number == 0 {
                first = reply.header("etag").map(str::to_owned);
            }
            let list = self.taker.playlist(&reply);
            let is_last = list.found.iter().any(|found| !found.is_since(from));
            let mut wanted = list.found;
            wanted.retain(|found| found.is_since(from));
            latest =
                wanted.iter().filter_map(|found| found.published).fold(latest, OffsetDateTime::max);
            self.taker.take(wanted, Some(topic)).await?;
            match list.next {
                Some(next) if !is_last && tokens.insert(next.clone()) => token = Some(next),
                _ => break,
            }
        }
        self.feed.take_back(&part);
        self.etags.extend(first.map(|etag| (channel.to_owned(), etag)));
        // Only a whole sweep counts: a crash in the middle repeats the sweep.
        self.feed.set_cursor(&part, stamp(latest.min(self.feed.now())));
        self.feed.save().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uploads_of_a_channel_are_a_playlist() {
        assert_eq!(playlist("UC_x5XG1OV2P6uZZ5FSM9Ttw"), "UU_x5XG1OV2P6uZZ5FSM9Ttw");
        assert_eq!(playlist("PL123"), "PL123");
    }
}

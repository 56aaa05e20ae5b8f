//! The results of a search or a playlist: ids, whose videos are then read with their statistics.

use time::OffsetDateTime;

use crate::error::{Kind, Result};
use crate::post::Post;
use crate::post::fields::{date, elements, get, string};
use crate::social::{Feed, Offered, RULES_BY_US, Refusals, Reply, Topic, post};

use super::client::Client;

/// The number of ids that a call accepts.
const IDS_MAX: usize = 50;

/// A result that wasn't read as a video yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The video's id; `None` if the result hasn't the specified form: then it is captured as it
    /// was found.
    pub id: Option<String>,
    /// The time when the video was published, or became part of the list, if that is later.
    pub published: Option<OffsetDateTime>,
    pub raw: Vec<u8>,
}

impl Found {
    /// Reads an item of a search.
    fn in_search(item: &[u8]) -> Self {
        let id = get(item, "id").and_then(|id| get(id, "videoId")).and_then(string);
        Self {
            id: id.map(|id| id.into_owned()),
            published: time(item, "snippet", "publishedAt"),
            raw: item.to_vec(),
        }
    }

    /// Reads an item of a playlist.
    fn in_playlist(item: &[u8]) -> Self {
        let details = get(item, "contentDetails")
            .and_then(|details| get(details, "videoId"))
            .and_then(string);
        let resource =
            || get(get(get(item, "snippet")?, "resourceId")?, "videoId").and_then(string);
        let published = time(item, "contentDetails", "videoPublishedAt").max(time(
            item,
            "snippet",
            "publishedAt",
        ));
        Self {
            id: details.or_else(resource).map(|id| id.into_owned()),
            published,
            raw: item.to_vec(),
        }
    }

    /// Returns true if the video was captured before.
    pub(crate) fn is_known(&self, feed: &Feed) -> bool {
        let Some(id) = &self.id else { return false };
        let same = serde_json::json!({ "id": id }).to_string();
        Post::wrap("video", same.as_bytes()).is_ok_and(|post| feed.has_seen(&post))
    }

    /// Returns true unless the video is known to be older.
    pub(crate) fn is_since(&self, from: OffsetDateTime) -> bool {
        self.published.is_none_or(|at| at >= from)
    }
}

fn time(item: &[u8], within: &str, name: &str) -> Option<OffsetDateTime> {
    get(get(item, within)?, name).and_then(string).and_then(|text| date(&text))
}

/// A list from YouTube, and the token of the next page.
pub(super) struct List {
    pub found: Vec<Found>,
    pub next: Option<String>,
}

/// The reader that takes results into the feed.
pub(super) struct Taker<'a> {
    pub client: &'a Client,
    pub feed: &'a Feed,
    pub refusals: Refusals,
}

impl<'a> Taker<'a> {
    pub(crate) fn new(client: &'a Client, feed: &'a Feed) -> Self {
        Self { client, feed, refusals: Refusals::default() }
    }

    /// Reads the answer of a search.
    pub(crate) fn search(&self, reply: &Reply) -> List {
        self.list(reply, Found::in_search)
    }

    /// Reads the answer of a playlist.
    pub(crate) fn playlist(&self, reply: &Reply) -> List {
        self.list(reply, Found::in_playlist)
    }

    fn list(&self, reply: &Reply, read: fn(&[u8]) -> Found) -> List {
        let next =
            get(&reply.body, "nextPageToken").and_then(string).filter(|token| !token.is_empty());
        List {
            found: self.items(reply).into_iter().map(read).collect(),
            next: next.map(|token| token.into_owned()),
        }
    }

    fn items<'r>(&self, reply: &'r Reply) -> Vec<&'r [u8]> {
        let items = get(&reply.body, "items").unwrap_or(b"null");
        if !matches!(items.first(), Some(b'[' | b'n')) {
            self.refusals.refuse(self.feed, &reply.body, "expected a list under \"items\"");
        }
        elements(items).collect()
    }

    /// Reads new results as videos, as many in a call as the budget allows, and offers each. A
    /// result that YouTube doesn't return as a video is offered as it was found. Returns the number
    /// of new ones.
    pub(crate) async fn take(&self, found: Vec<Found>, topic: Option<&Topic>) -> Result<u64> {
        let mut new: Vec<_> =
            found.into_iter().filter(|found| !found.is_known(self.feed)).collect();
        let mut taken = 0;
        while !new.is_empty() {
            self.feed.await_budget().await;
            let left = self
                .feed
                .budget_left()
                .map_or(IDS_MAX, |left| usize::try_from(left).unwrap_or(IDS_MAX));
            let some: Vec<_> = new.drain(..new.len().min(left.clamp(1, IDS_MAX))).collect();
            taken += self.take_some(some, topic).await?;
            self.feed.flush().await?;
        }
        Ok(taken)
    }

    async fn take_some(&self, mut found: Vec<Found>, topic: Option<&Topic>) -> Result<u64> {
        let ids: Vec<_> = found.iter().filter_map(|found| found.id.clone()).collect();
        let mut taken = 0;
        if !ids.is_empty() {
            let reply = match self.client.videos(&ids, self.feed).await {
                Err(error) if error.kind() == Kind::Transient => {
                    self.feed.say(error.chain());
                    None
                }
                other => Some(other?),
            };
            for video in reply.as_ref().map(|reply| self.items(reply)).unwrap_or_default() {
                let id = get(video, "id").and_then(string);
                found.retain(|found| found.id.is_none() || found.id.as_deref() != id.as_deref());
                taken += self.offer(video, topic);
            }
        }
        Ok(taken + found.iter().map(|found| self.offer(&found.raw, topic)).sum::<u64>())
    }

    /// Offers a video; returns 1 if it is new.
    fn offer(&self, video: &[u8], topic: Option<&Topic>) -> u64 {
        match made(video, topic, self.feed.now()) {
            Ok(post) => u64::from(self.feed.offer(post) == Offered::Taken),
            Err(why) => {
                self.refusals.refuse(self.feed, video, &why);
                0
            }
        }
    }
}

/// Makes the post of a video. The video doesn't always show which topic's search or channel found
/// it (YouTube also searches in data that it doesn't return). So the topic is added beside it, in
/// the way in which X names the rules that a post matched.
pub(super) fn made(
    video: &[u8],
    topic: Option<&Topic>,
    now: OffsetDateTime,
) -> Result<Post, String> {
    let says_itself = |topic: &&Topic| {
        let channel =
            get(video, "snippet").and_then(|snippet| get(snippet, "channelId")).and_then(string);
        channel.is_some() && topic.channel() == channel.as_deref()
    };
    let topic = topic.filter(|topic| !says_itself(topic));
    let rules = topic
        .map(|topic| serde_json::json!([{ "tag": format!("{RULES_BY_US}{topic}") }]).to_string());
    let more: Vec<_> = rules.iter().map(|rules| ("matching_rules", rules.as_bytes())).collect();
    post("video", video, &more, now)
}

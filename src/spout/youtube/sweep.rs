//! Going through searches and channels, from the newest video that was found before.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Result;
use crate::post::Post;
use crate::post::fields::{date, elements, get, string};
use crate::social::{Feed, RULES_BY_US, Topic, post, stamp};

use super::client::{Client, Page};
use super::{YouTube, language, query};

/// How many results YouTube gives for one search at most; behind them pages repeat or are empty. Then the window is
/// made shorter.
const RESULTS_MAX: usize = 450;

/// How many windows one sweep is cut into at most.
const WINDOWS_MAX: usize = 50;

/// Something that was found, not read as a video yet.
struct Found {
    id: String,
    published: Option<OffsetDateTime>,
    raw: Vec<u8>,
}

/// Searches for each topic in turn, spread evenly over what the key has in a day.
pub(super) async fn searches(client: &Client, config: &YouTube, feed: &Feed) -> Result<()> {
    let topics: Vec<_> = config.topics.iter().filter(|topic| topic.channel().is_none()).collect();
    if topics.is_empty() {
        return std::future::pending().await;
    }
    let every = Duration::from_secs(24 * 3600) / u32::try_from(config.searches_per_day).unwrap_or(u32::MAX).max(1);
    loop {
        for topic in &topics {
            let before = client.searches_left();
            search(client, config, topic, feed).await?;
            // A sweep of several pages used up the turns behind it.
            let used = before.saturating_sub(client.searches_left()).max(1);
            feed.sleep(every * u32::try_from(used).unwrap_or(1)).await;
        }
    }
}

/// One sweep over a topic, from `overlap` before the newest video of the last one.
async fn search(client: &Client, config: &YouTube, topic: &Topic, feed: &Feed) -> Result<()> {
    let Some(query) = query(topic) else { return Ok(()) };
    let part = format!("search {topic}");
    let last =
        feed.cursor(&part).and_then(|last| OffsetDateTime::parse(&last, &Rfc3339).ok()).unwrap_or_else(|| feed.now());
    let from = last - config.overlap.0;
    let (after, mut before) = (second(from), None::<String>);
    let mut newest = last;
    for _ in 0..WINDOWS_MAX {
        let mut fixed = vec![("q", query.as_str()), ("publishedAfter", after.as_str())];
        fixed.extend(before.as_deref().map(|before| ("publishedBefore", before)));
        fixed.extend(language(topic).map(|lang| ("relevanceLanguage", lang)));
        let (found, all) = window(client, &fixed, feed).await?;
        // YouTube doesn't keep to the window.
        let wanted: Vec<_> = found.into_iter().filter(|found| found.published.is_none_or(|at| at >= from)).collect();
        newest = wanted.iter().filter_map(|found| found.published).fold(newest, OffsetDateTime::max);
        let oldest = wanted.iter().filter_map(|found| found.published).min();
        let new = take(client, wanted, Some(topic), feed).await?;
        let next = oldest.map(second).filter(|oldest| before.as_ref().is_none_or(|before| oldest < before));
        match next {
            Some(next) if !all && new > 0 => before = Some(next),
            _ => break,
        }
    }
    // Only a whole sweep counts: a crash in its middle begins it again.
    feed.set_cursor(&part, stamp(newest.min(feed.now())));
    feed.save().await
}

/// All pages of one window, and whether these are all: YouTube ends early, repeats pages, and gives the same token
/// again.
async fn window(client: &Client, fixed: &[(&str, &str)], feed: &Feed) -> Result<(Vec<Found>, bool)> {
    let (mut found, mut ids, mut tokens) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let mut token = None::<String>;
    loop {
        feed.await_budget().await;
        let query: Vec<_> = fixed.iter().copied().chain(token.as_deref().map(|token| ("pageToken", token))).collect();
        let Page::Is(page) = client.search(&query, feed).await? else { return Ok((found, false)) };
        let before = ids.len();
        let fresh: Vec<_> = elements(get(&page, "items").unwrap_or_default()).filter_map(found_by_search).collect();
        let seen = fresh.iter().filter(|found| has_seen(&found.id, feed)).count();
        let all_seen = !fresh.is_empty() && seen == fresh.len();
        found.extend(fresh.into_iter().filter(|found| ids.insert(found.id.clone())));
        let next = get(&page, "nextPageToken").and_then(string).map(std::borrow::Cow::into_owned);
        let Some(next) = next else { return Ok((found, ids.len() < RESULTS_MAX)) };
        if all_seen || ids.len() == before || !tokens.insert(next.clone()) {
            return Ok((found, all_seen || ids.len() < RESULTS_MAX));
        }
        token = Some(next);
    }
}

fn found_by_search(item: &[u8]) -> Option<Found> {
    let id = get(get(item, "id")?, "videoId").and_then(string)?.into_owned();
    Some(Found { id, published: published(item), raw: item.to_vec() })
}

fn found_in_playlist(item: &[u8]) -> Option<Found> {
    let details = get(item, "contentDetails").unwrap_or_default();
    let resource = get(item, "snippet").and_then(|snippet| get(snippet, "resourceId")).unwrap_or_default();
    let id = get(details, "videoId").or_else(|| get(resource, "videoId")).and_then(string)?.into_owned();
    Some(Found { id, published: published(item), raw: item.to_vec() })
}

fn published(item: &[u8]) -> Option<OffsetDateTime> {
    get(item, "snippet").and_then(|snippet| get(snippet, "publishedAt")).and_then(string).and_then(|text| date(&text))
}

fn has_seen(id: &str, feed: &Feed) -> bool {
    let same = serde_json::json!({ "id": id }).to_string();
    Post::wrap("video", same.as_bytes()).is_ok_and(|post| feed.has_seen(&post))
}

/// Reads what was found as videos, fifty in a call, and offers each. What YouTube doesn't give as a video is offered as
/// it was found. Says how many were new.
async fn take(client: &Client, found: Vec<Found>, topic: Option<&Topic>, feed: &Feed) -> Result<usize> {
    let new: Vec<_> = found.into_iter().filter(|found| !has_seen(&found.id, feed)).collect();
    for some in new.chunks(50) {
        let ids: Vec<_> = some.iter().map(|found| found.id.clone()).collect();
        let reply = client.videos(&ids, feed).await?;
        let mut left: Vec<_> = some.iter().collect();
        for video in elements(get(&reply, "items").unwrap_or_default()) {
            let id = get(video, "id").and_then(string);
            left.retain(|found| Some(found.id.as_str()) != id.as_deref());
            offer(video, topic, feed);
        }
        left.iter().for_each(|found| offer(&found.raw, topic, feed));
        feed.flush().await?;
    }
    Ok(new.len())
}

fn offer(video: &[u8], topic: Option<&Topic>, feed: &Feed) {
    // Which topic found it isn't to be seen from the video: YouTube also searches in what it doesn't give.
    let rules = topic.map(|topic| serde_json::json!([{ "tag": format!("{RULES_BY_US}{topic}") }]).to_string());
    let more: Vec<_> = rules.iter().map(|rules| ("matching_rules", rules.as_bytes())).collect();
    match post("video", video, &more, feed.now()) {
        Ok(post) => {
            feed.offer(post);
        }
        Err(why) => feed.refuse(video, &why),
    }
}

/// Reads the uploads of each channel, as often as the units allow.
pub(super) async fn channels(client: &Client, config: &YouTube, feed: &Feed) -> Result<()> {
    let channels: Vec<_> = config.topics.iter().filter_map(Topic::channel).collect();
    if channels.is_empty() {
        return std::future::pending().await;
    }
    // A read costs a unit, and one more for new videos; a fifth is left for the rest.
    let reads = (config.units_per_day * 4 / 10).max(1);
    let afford = Duration::from_secs(24 * 3600 * channels.len() as u64 / reads);
    let mut missing = BTreeSet::new();
    loop {
        for channel in &channels {
            uploads(client, config, channel, feed, &mut missing).await?;
        }
        feed.sleep(config.poll.0.max(afford)).await;
    }
}

/// One sweep over a channel's uploads, the newest first, back to the newest of the last one less the overlap.
async fn uploads(
    client: &Client,
    config: &YouTube,
    channel: &str,
    feed: &Feed,
    missing: &mut BTreeSet<String>,
) -> Result<()> {
    let part = format!("channel {channel}");
    let last =
        feed.cursor(&part).and_then(|last| OffsetDateTime::parse(&last, &Rfc3339).ok()).unwrap_or_else(|| feed.now());
    let from = last - config.overlap.0;
    // The playlist of a channel's uploads has its id, with UU for UC.
    let playlist = channel.strip_prefix("UC").map_or_else(|| channel.to_owned(), |rest| format!("UU{rest}"));
    let (mut newest, mut token, mut tokens) = (last, None::<String>, BTreeSet::new());
    loop {
        feed.await_budget().await;
        let query: Vec<_> = [("playlistId", playlist.as_str())]
            .into_iter()
            .chain(token.as_deref().map(|token| ("pageToken", token)))
            .collect();
        let page = match client.playlist(&query, feed).await? {
            Page::Is(page) => page,
            Page::Gone => break,
            Page::Missing(why) => {
                if missing.insert(channel.into()) {
                    feed.say(format!("the channel {channel} can't be read: {why}"));
                }
                return Ok(());
            }
        };
        let found: Vec<_> = elements(get(&page, "items").unwrap_or_default()).filter_map(found_in_playlist).collect();
        let older = found.iter().filter_map(|found| found.published).any(|at| at < from);
        let wanted: Vec<_> = found.into_iter().filter(|found| found.published.is_none_or(|at| at >= from)).collect();
        newest = wanted.iter().filter_map(|found| found.published).fold(newest, OffsetDateTime::max);
        take(client, wanted, None, feed).await?;
        let next = get(&page, "nextPageToken").and_then(string).map(std::borrow::Cow::into_owned);
        match next {
            Some(next) if !older && tokens.insert(next.clone()) => token = Some(next),
            _ => break,
        }
    }
    feed.set_cursor(&part, stamp(newest.min(feed.now())));
    feed.save().await
}

/// YouTube takes whole seconds.
fn second(time: OffsetDateTime) -> String {
    stamp(time.replace_nanosecond(0).unwrap_or(time))
}

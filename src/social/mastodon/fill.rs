//! Fills gaps by the timelines of the REST API.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use time::OffsetDateTime;

use crate::error::Result;
use crate::gaps::Gap;
use crate::post::fields::{date, elements, get, id_text, string};
use crate::social::{Feed, Offered, Platform, post};

use super::Mastodon;
use super::api::{Api, Failed};
use super::subscription::Subscription;

/// How many toots one page has at most.
const PAGE: u64 = 40;

/// How far before a gap it is begun, and how far behind it is ended: a toot of another instance has
/// the time at which it was written there, and may come later.
const OVERLAP: Duration = Duration::from_secs(30);

/// How long to wait before a page is asked for again that was cut.
const CUT_RETRY: Duration = Duration::from_secs(5);

/// Behind which toot the filling of each gap goes on, by the gaps' ids: where it was left, or,
/// where ids tell no time, the last toot before the gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Begins(BTreeMap<String, String>);

impl Begins {
    /// As it was saved for a subscription.
    fn read(feed: &Feed, subscription: &Subscription) -> Self {
        let saved = feed.cursor(&part(subscription)).unwrap_or_default();
        let mut words = saved.split(' ').map(str::to_owned);
        Self(std::iter::from_fn(|| Some((words.next()?, words.next()?))).collect())
    }

    fn save(&self, feed: &Feed, subscription: &Subscription) {
        let pairs: Vec<_> = self.0.iter().map(|(gap, last)| format!("{gap} {last}")).collect();
        feed.set_cursor(&part(subscription), pairs.join(" "));
    }

    /// Behind this toot a gap's filling goes on.
    pub fn set(feed: &Feed, subscription: &Subscription, gap: &str, last: &str) {
        let mut begins = Self::read(feed, subscription);
        begins.0.insert(gap.into(), last.into());
        begins.save(feed, subscription);
    }

    /// The gap is filled.
    fn forget(feed: &Feed, subscription: &Subscription, gap: &str) {
        let mut begins = Self::read(feed, subscription);
        if begins.0.remove(gap).is_some() {
            begins.save(feed, subscription);
        }
    }

    /// Where to begin: where it was left, or by the time.
    fn of(&self, gap: &Gap) -> String {
        self.0.get(&gap.id).cloned().unwrap_or_else(|| id_at(gap.from - OVERLAP))
    }
}

/// The part that the unfinished fillings of a subscription are kept under.
fn part(subscription: &Subscription) -> String {
    format!("fill {}", subscription.part())
}

/// Fills all gaps of some subscriptions that are open, the oldest first.
///
/// # Errors
/// Fatal if the token isn't good.
pub(super) async fn all(feed: &Feed, api: &Api, subscriptions: &[Subscription]) -> Result<()> {
    for gap in feed.open_gaps() {
        let Some(subscription) =
            subscriptions.iter().find(|subscription| subscription.part() == gap.part)
        else {
            continue;
        };
        match fill(feed, api, subscription, &gap).await {
            Ok(posts) => {
                Begins::forget(feed, subscription, &gap.id);
                feed.filled(&gap.id, posts).await?;
            }
            Err(Failed::Refused(why)) => {
                feed.say(format!(
                    "the timeline of {} can't be read, so what is missing stays so: {why}",
                    gap.part
                ));
            }
            Err(Failed::Fatal(error)) => return Err(error),
        }
    }
    Ok(())
}

async fn fill(
    feed: &Feed,
    api: &Api,
    subscription: &Subscription,
    gap: &Gap,
) -> Result<u64, Failed> {
    let mut min_id = Begins::read(feed, subscription).of(gap);
    let mut posts = 0;
    let (path, fixed) = subscription.timeline();
    loop {
        feed.await_budget().await;
        let limit = feed.budget_left().unwrap_or(PAGE).clamp(1, PAGE).to_string();
        let mut query = fixed.clone();
        query.extend([("min_id", min_id.as_str()), ("limit", limit.as_str())]);
        let reply = api.get(feed, &path, &query).await?;
        let page: Vec<_> = elements(&reply.body).collect();
        if !is_list(&reply.body) {
            // It was cut, or is no answer of Mastodon's: what it lacks must not be passed over.
            feed.sleep(CUT_RETRY).await;
            continue;
        }
        // The newest comes first.
        for status in page.iter().rev() {
            posts += u64::from(offer(feed, status) == Some(Offered::Taken));
        }
        let newest = page
            .iter()
            .filter_map(|status| get(status, "id").and_then(id_text))
            .max_by(|a, b| order(a, b));
        // A page whose ids don't go on would come for ever.
        let Some(newest) = newest.filter(|newest| order(newest, &min_id) == Ordering::Greater)
        else {
            return Ok(posts);
        };
        min_id = newest.into_owned();
        Begins::set(feed, subscription, &gap.id, &min_id);
        feed.flush().await.map_err(Failed::Fatal)?;
        if page
            .first()
            .and_then(|status| created(status))
            .is_some_and(|time| time > gap.to + OVERLAP)
        {
            return Ok(posts);
        }
    }
}

/// Whether an answer is one whole JSON array.
fn is_list(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
        && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn offer(feed: &Feed, status: &[u8]) -> Option<Offered> {
    match post(Mastodon::KIND, status, &[], feed.now()) {
        Ok(post) => Some(feed.offer(post)),
        Err(why) => {
            feed.refuse(status, &why);
            None
        }
    }
}

fn created(status: &[u8]) -> Option<OffsetDateTime> {
    get(status, "created_at").and_then(string).and_then(|text| date(&text))
}

/// Ids of Mastodon are milliseconds since 1970, and 16 bits to tell them apart.
fn id_at(time: OffsetDateTime) -> String {
    let ms = time.unix_timestamp_nanos() / 1_000_000;
    (ms.max(0) << 16).to_string()
}

/// Whether an id is such a one; servers of another make have others.
pub(super) fn is_dated(id: &str) -> bool {
    let dated = 1_400_000_000_000_u64..4_000_000_000_000;
    id.parse::<u64>().is_ok_and(|id| dated.contains(&(id >> 16)))
}

/// Ids are numbers that may be longer than any type holds, or text of one length.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    (a.len(), a).cmp(&(b.len(), b))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn an_id_tells_its_time() {
        let id = id_at(datetime!(2026-11-25 12:00:00 UTC));
        assert!(is_dated(&id), "{id}");
        assert_eq!(order(&id, &id_at(datetime!(2026-11-25 12:00:00.001 UTC))), Ordering::Less);
        for other in ["1", "9uXhk2fLxO1yD5IHAq", "", "99999999999999999999999"] {
            assert!(!is_dated(other), "{other}");
        }
        assert_eq!(order("99", "100"), Ordering::Less);
    }

    #[test]
    fn filling_goes_on_where_it_was_left() {
        let from = datetime!(2026-11-25 12:00:30 UTC);
        let gap: Gap = serde_json::from_value(serde_json::json!({
            "id": "g", "spout": "s", "kind": "toot", "part": "#a", "from": "2026-11-25T12:00:30Z",
            "to": "2026-11-25T12:01:00Z", "why": "w", "estimated_posts": null, "filled": false, "posts": 0,
            "created_at": "2026-11-25T12:01:00Z",
        }))
        .unwrap();
        let begins = |id: &str| Begins([(id.to_owned(), "17".to_owned())].into());
        assert_eq!(begins("g").of(&gap), "17");
        assert_eq!(begins("other").of(&gap), id_at(from - OVERLAP));
    }
}

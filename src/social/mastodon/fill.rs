//! Fills gaps from the timelines of the REST API.

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

/// The most toots of one page.
const PAGE: u64 = 40;

/// The time before and behind a gap that is read too: a toot of another instance has the time at
/// which it was written there, and may come later.
const OVERLAP: Duration = Duration::from_secs(30);

/// The wait before a page that was cut is requested again.
const CUT_RETRY: Duration = Duration::from_secs(5);

/// The toots behind which the filling of gaps continues, by the gaps' ids: the last filled toot,
/// or, if ids have no time, the last toot before the gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Begins(BTreeMap<String, String>);

impl Begins {
    /// Reads the state that was saved for a subscription.
    fn read(feed: &Feed, subscription: &Subscription) -> Self {
        let saved = feed.cursor(&part(subscription)).unwrap_or_default();
        let mut words = saved.split(' ').map(str::to_owned);
        Self(std::iter::from_fn(|| Some((words.next()?, words.next()?))).collect())
    }

    fn save(&self, feed: &Feed, subscription: &Subscription) {
        let pairs: Vec<_> = self.0.iter().map(|(gap, last)| format!("{gap} {last}")).collect();
        feed.set_cursor(&part(subscription), pairs.join(" "));
    }

    /// Sets the toot behind which the filling of a gap continues.
    pub(crate) fn set(feed: &Feed, subscription: &Subscription, gap: &str, last: &str) {
        let mut begins = Self::read(feed, subscription);
        begins.0.insert(gap.into(), last.into());
        begins.save(feed, subscription);
    }

    /// Removes a gap that is filled.
    fn forget(feed: &Feed, subscription: &Subscription, gap: &str) {
        let mut begins = Self::read(feed, subscription);
        if begins.0.remove(gap).is_some() {
            begins.save(feed, subscription);
        }
    }

    /// Returns the id at which to begin: the saved one, or one for the gap's beginning.
    fn of(&self, gap: &Gap) -> String {
        self.0.get(&gap.id).cloned().unwrap_or_else(|| id_at(gap.from - OVERLAP))
    }
}

/// Returns the part under which the unfinished fillings of a subscription are kept.
fn part(subscription: &Subscription) -> String {
    format!("fill {}", subscription.part())
}

/// Fills all open gaps of these subscriptions, the oldest first.
///
/// # Errors
/// Fatal if the instance refuses the token.
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
                    "can't read the timeline of {}, so its gap stays open: {why}",
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
            // The answer was cut, or isn't Mastodon's: the toots that it lacks must not be skipped.
            feed.sleep(CUT_RETRY).await;
            continue;
        }
        // The newest toot comes first.
        for status in page.iter().rev() {
            posts += u64::from(offer(feed, status) == Some(Offered::Taken));
        }
        let newest = page
            .iter()
            .filter_map(|status| get(status, "id").and_then(id_text))
            .max_by(|a, b| order(a, b));
        // A page without later ids would come again and again.
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

/// Returns true if an answer is one whole JSON array.
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

/// Returns the id for a time. Mastodon's ids are milliseconds since 1970, and 16 more bits to
/// distinguish them.
fn id_at(time: OffsetDateTime) -> String {
    let ms = time.unix_timestamp_nanos() / 1_000_000;
    (ms.max(0) << 16).to_string()
}

/// Returns true if an id has a time; other servers' ids may have none.
pub(super) fn is_dated(id: &str) -> bool {
    let dated = 1_400_000_000_000_u64..4_000_000_000_000;
    id.parse::<u64>().is_ok_and(|id| dated.contains(&(id >> 16)))
}

/// Compares two ids, which are numbers that may be longer than any type, or text of equal length.
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

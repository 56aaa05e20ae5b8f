//! Recent search in the stream's place: each topic is asked for again and again.

use std::time::Duration;

use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::social::Feed;

use super::X;
use super::api::Api;
use super::source::{LIVE, begin, from_unix_ms, life, unix_ms};
use super::sweep::{REACH, Swept, Window, sweep};
use super::translate::{Rule, rules};

/// For how long an id is asked from: one that is older than 7 days may be refused, so after that a
/// time is used.
const ID_LIVES: Duration = Duration::from_secs(6 * 86_400);

/// What is searched again before the newest post that was found, as ids have it: X's ids count
/// milliseconds above their lowest 22 bits. Should they not, more or less is read again, which does
/// no harm.
const ID_MS_BITS: u32 = 22;

/// How far a topic was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Searched {
    /// The newest id of the last sweep that found one, and when that was.
    newest: Option<(String, OffsetDateTime)>,
    /// When the last sweep began.
    until: OffsetDateTime,
}

impl Searched {
    fn read(cursor: &str) -> Option<Self> {
        let parts: Vec<_> = cursor.split(' ').collect();
        match parts[..] {
            [until] => Some(Self { newest: None, until: from_unix_ms(until)? }),
            [until, id, at] => Some(Self {
                newest: Some((id.into(), from_unix_ms(at)?)),
                until: from_unix_ms(until)?,
            }),
            _ => None,
        }
    }

    fn save(&self) -> String {
        let until = unix_ms(self.until);
        match &self.newest {
            Some((id, at)) => format!("{until} {id} {}", unix_ms(*at)),
            None => until,
        }
    }

    /// What the next sweep looks for. It begins a little earlier than the last one ended, since
    /// posts get into the search late.
    fn window(&self, late: Duration, now: OffsetDateTime) -> Window {
        let since_id = self
            .newest
            .as_ref()
            .filter(|(_, at)| *at + ID_LIVES > now)
            .and_then(|(id, _)| earlier(id, late));
        // A sweep finds nothing of its last seconds.
        let from = (self.until - late * 2).max(now - REACH);
        Window { from: since_id.is_none().then_some(from), since_id, to: None }
    }
}

/// An id of a time before another's.
fn earlier(id: &str, by: Duration) -> Option<String> {
    let id: u64 = id.parse().ok()?;
    Some(id.saturating_sub((by.as_millis() as u64) << ID_MS_BITS).max(1).to_string())
}

fn part(rule: &Rule) -> String {
    format!("search {}", rule.topic)
}

/// Where a topic's search goes on: behind its last sweep, or where X was last heard of by a stream.
fn searched(feed: &Feed, rule: &Rule) -> Searched {
    let saved = feed.cursor(&part(rule)).and_then(|cursor| Searched::read(&cursor));
    // It is always there, since it was begun with.
    let life = life(feed).unwrap_or_else(|| feed.now());
    saved.filter(|saved| saved.until >= life).unwrap_or(Searched { newest: None, until: life })
}

/// Searches for ever.
///
/// # Errors
/// Fatal where only a person can help.
pub(super) async fn run(api: &Api, x: &X, feed: &Feed) -> Result<()> {
    let rules = rules(x);
    begin(feed, feed.now() - x.poll.0).await?;
    loop {
        let (began, now) = (feed.clock().monotonic(), feed.now());
        for rule in rules.iter().filter(|rule| !feed.is_left_out(&part(rule))) {
            search(api, x, feed, rule).await?;
        }
        feed.set_cursor(LIVE, unix_ms(now));
        feed.flush().await?;
        let took = feed.clock().monotonic().saturating_sub(began);
        feed.sleep(x.poll.0.saturating_sub(took).max(Duration::from_millis(100))).await;
    }
}

/// One sweep of one topic. Where it stands is only changed when all pages were read: after a crash
/// it begins anew.
async fn search(api: &Api, x: &X, feed: &Feed, rule: &Rule) -> Result<()> {
    let began = feed.now();
    let searched = searched(feed, rule);
    let oldest = began - REACH;
    if searched.until < oldest {
        feed.gap(
            &rule.topic,
            searched.until,
            oldest,
            "it was not searched for 7 days, and no search reaches further",
        )
        .await?;
    }
    let mut window = searched.window(x.search_late.0, began);
    let mut swept = sweep(api, feed, rule, &window, 0).await?;
    if window.since_id.is_some() && matches!(&swept, Swept::Wrong(why) if why.contains("since_id"))
    {
        // The id is older than X takes: its time says the same.
        window = Searched { newest: None, ..searched.clone() }.window(x.search_late.0, began);
        swept = sweep(api, feed, rule, &window, 0).await?;
    }
    match swept {
        Swept::Whole { newest, .. } => {
            let newest = newest.map(|id| (id, began)).or(searched.newest);
            feed.set_cursor(&part(rule), Searched { newest, until: began }.save());
            feed.take_back(&part(rule));
            Ok(())
        }
        Swept::Forbidden(why) => Err(Error::fatal(format!(
            "X lets this account neither stream nor search: {why}; take a plan that has one of them"
        ))),
        // Where it stands stays: what is posted meanwhile is searched for when X takes the topic
        // again.
        Swept::Wrong(why) => {
            feed.leave_out(&part(rule), &why);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);
    const LATE: Duration = Duration::from_secs(30);

    #[test]
    fn the_next_sweep_begins_before_the_newest_post_of_the_last() {
        let id = 2_000_000_000_000_000_000_u64;
        let searched = Searched { newest: Some((id.to_string(), NOON)), until: NOON };
        assert_eq!(Searched::read(&searched.save()), Some(searched.clone()));
        let window = searched.window(LATE, NOON + LATE);
        let expected = id - (30_000 << 22);
        assert_eq!(window, Window { since_id: Some(expected.to_string()), from: None, to: None });
        let window = searched.window(LATE, NOON + ID_LIVES);
        assert_eq!(window, Window { since_id: None, from: Some(NOON - LATE * 2), to: None });
    }

    #[test]
    fn a_topic_that_nothing_was_found_for_is_asked_by_time_and_no_further_than_the_search_reaches()
    {
        let searched = Searched { newest: None, until: NOON };
        assert_eq!(Searched::read(&searched.save()), Some(searched.clone()));
        assert_eq!(searched.window(LATE, NOON).from, Some(NOON - LATE * 2));
        let later = NOON + Duration::from_secs(30 * 86_400);
        assert_eq!(searched.window(LATE, later).from, Some(later - REACH));
        assert_eq!(earlier("5", LATE).as_deref(), Some("1"));
        assert_eq!(earlier("no id", LATE), None);
    }
}

//! Recent search instead of the stream: each topic is searched again and again.

use std::time::Duration;

use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::social::Feed;

use super::X;
use super::api::Api;
use super::source::{LIVE, begin, from_unix_ms, life, unix_ms};
use super::sweep::{REACH, Swept, Window, sweep};
use super::translate::{Rule, rules};

/// The time for which an id is used as the beginning of a search: X may refuse an id that is older
/// than 7 days, so after this time the search begins at a time instead.
const ID_LIVES: Duration = Duration::from_secs(6 * 86_400);

/// The position of the milliseconds in X's ids, above their lowest 22 bits: a search begins this
/// way before the newest post that was found. If X's ids change, more or fewer posts are read
/// again, which does no harm.
const ID_MS_BITS: u32 = 22;

/// The progress of a topic's search.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Searched {
    /// The newest id of the last sweep that found one, and the time of that sweep.
    newest: Option<(String, OffsetDateTime)>,
    /// The time when the last sweep began.
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

    /// Returns the window of the next sweep. It begins a little before the end of the last one,
    /// since posts get into the search late.
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

/// Returns an id that is earlier than another by a time.
fn earlier(id: &str, by: Duration) -> Option<String> {
    let id: u64 = id.parse().ok()?;
    Some(id.saturating_sub((by.as_millis() as u64) << ID_MS_BITS).max(1).to_string())
}

fn part(rule: &Rule) -> String {
    format!("search {}", rule.topic)
}

/// Returns the progress of a topic's search: after its last sweep, or from the time when X last
/// sent something on a stream.
fn searched(feed: &Feed, rule: &Rule) -> Searched {
    let saved = feed.cursor(&part(rule)).and_then(|cursor| Searched::read(&cursor));
    // This time always exists, since `begin` has saved it.
    let life = life(feed).unwrap_or_else(|| feed.now());
    saved.filter(|saved| saved.until >= life).unwrap_or(Searched { newest: None, until: life })
}

/// Searches, without an end.
///
/// # Errors
/// Fatal if only a person can help.
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

/// Makes one sweep of one topic. Its progress changes only when all pages were read: after a crash
/// the sweep begins again.
async fn search(api: &Api, x: &X, feed: &Feed, rule: &Rule) -> Result<()> {
    let began = feed.now();
    let searched = searched(feed, rule);
    let oldest = began - REACH;
    if searched.until < oldest {
        feed.gap(
            &rule.topic,
            searched.until,
            oldest,
            "the topic wasn't searched for 7 days, and no search reaches further back",
        )
        .await?;
    }
    let mut window = searched.window(x.search_late.0, began);
    let mut swept = sweep(api, feed, rule, &window, 0).await?;
    if window.since_id.is_some() && matches!(&swept, Swept::Wrong(why) if why.contains("since_id"))
    {
        // The id is older than X accepts: the time of the sweep replaces it.
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
        // The progress stays: once X accepts the topic again, the posts since then are searched
        // for.
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

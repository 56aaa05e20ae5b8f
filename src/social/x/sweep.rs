//! One sweep of recent search: all pages of what a topic's query finds in a time.

use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::later;
use crate::error::Result;
use crate::post::Post;
use crate::social::{Asking, Feed, Offered};

use super::api::{Answer, Api, SEARCH};
use super::page;
use super::page::Asked;
use super::reconnect::{Reconnect, Trouble};
use super::translate::Rule;

/// How far back recent search reaches, less a minute for the request to arrive.
pub(super) const REACH: Duration = Duration::from_secs(7 * 86_400 - 60);

/// From when on a beginning is too old to be asked for: what was just within reach is so a little
/// later too.
const STALE: Duration = Duration::from_secs(7 * 86_400 - 20);

/// The part of the source that pages of the search are, for people.
const PAGE: &str = "page of the search";

/// The fewest and the most posts that a page can be asked for.
const PAGE_MIN: u64 = 10;
const PAGE_MAX: u64 = 100;

/// What is looked for. The bounds stay the same for all pages of a sweep, unless it takes so long
/// that the first of them gets out of the search's reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Posts with ids above this one; then `from` isn't sent, since X would not look at it.
    pub since_id: Option<String>,
    /// Posts from this time on.
    pub from: Option<OffsetDateTime>,
    /// Posts before this time; without it all that the search has.
    pub to: Option<OffsetDateTime>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// All pages were read.
    Whole {
        /// The newest id of the first page.
        newest: Option<String>,
        /// How many posts were new.
        posts: u64,
    },
    /// The account may not search.
    Forbidden(String),
    /// The request is wrong.
    Wrong(String),
}

impl Window {
    /// Moves the beginning to what the search still reaches; gives from when to when it has moved,
    /// if it had to.
    fn keep_in_reach(&mut self, now: OffsetDateTime) -> Option<(OffsetDateTime, OffsetDateTime)> {
        // With an id it isn't sent.
        let from = self.from.filter(|from| self.since_id.is_none() && *from < now - STALE)?;
        self.from = Some(now - REACH);
        Some((from, now - REACH))
    }

    fn is_empty(&self) -> bool {
        self.since_id.is_none() && self.from.zip(self.to).is_some_and(|(from, to)| from >= to)
    }
}

/// Reads all pages, the newest posts first, and waits where the budget is used up. `reserve` posts
/// of the budget are left to others. What gets out of the search's reach meanwhile is left to the
/// gap ledger.
///
/// # Errors
/// Fatal where only a person can help.
pub(super) async fn sweep(
    api: &Api,
    feed: &Feed,
    rule: &Rule,
    window: &Window,
    reserve: u64,
) -> Result<Swept> {
    let tag = rule.is_exact().then_some(rule.topic.as_str());
    let (mut window, mut oldest) = (window.clone(), None);
    let (mut newest, mut posts, mut next) = (None, 0, None::<String>);
    let (mut first, mut cut) = (true, Reconnect::new());
    loop {
        let size = page_size(feed, reserve).await.to_string();
        api.wait_for(SEARCH, feed).await;
        if let Some((from, to)) = window.keep_in_reach(feed.now()) {
            feed.gap(&rule.topic, from, to, "the search took so long that it reaches this no more")
                .await?;
            // Another beginning is another search: it goes on behind the posts that were read, the
            // oldest last.
            next = None;
            window.to = oldest.map(|oldest| later(oldest, Duration::from_secs(1))).or(window.to);
        }
        if window.is_empty() {
            return Ok(Swept::Whole { newest, posts });
        }
        let (from, to) = (window.from.map(seconds), window.to.map(seconds));
        let mut query = vec![("query", rule.value.as_str()), ("max_results", &size)];
        match (&window.since_id, &from) {
            (Some(id), _) => query.push(("since_id", id)),
            (None, Some(from)) => query.push(("start_time", from)),
            (None, None) => {}
        }
        query.extend(to.as_ref().map(|to| ("end_time", to.as_str())));
        query.extend(next.as_ref().map(|next| ("next_token", next.as_str())));
        let reply = match api.search(feed, &query).await? {
            Answer::Good(reply) => reply,
            Answer::Forbidden(why) => return Ok(Swept::Forbidden(why)),
            // It was good when it was asked for, and X was out of order for a while.
            Answer::Wrong(_) if window.clone().keep_in_reach(feed.now()).is_some() => continue,
            Answer::Wrong(why) => return Ok(Swept::Wrong(why)),
        };
        let page = page::read(&reply.body, Asked::For(tag), feed.now());
        // What can't say what it holds was cut on its way: it has no next page, but there may be
        // one.
        if page.is_whole && std::mem::take(&mut first) {
            newest = page.newest;
        }
        oldest = page.posts.iter().filter_map(Post::created_at).chain(oldest).min();
        let taken = page
            .posts
            .into_iter()
            .map(|post| feed.offer(post))
            .filter(|offered| *offered == Offered::Taken);
        posts += taken.count() as u64;
        page.refused.iter().for_each(|(raw, why)| feed.refuse(raw, why));
        feed.flush().await?;
        if !page.is_whole {
            let asking = Asking { feed, part: PAGE, of: "search" };
            asking.failed("a page came that was cut", cut.after(Trouble::Http)).await;
            continue;
        }
        feed.works(PAGE);
        // A page that leads back to itself would never end.
        if page.next.is_none() || page.next == next {
            return Ok(Swept::Whole { newest, posts });
        }
        next = page.next;
    }
}

/// How many posts the next page is asked for: no more than the budget still allows. Waits until
/// that is a page.
async fn page_size(feed: &Feed, reserve: u64) -> u64 {
    loop {
        let Some(left) = feed.budget_left() else { return PAGE_MAX };
        let left = left.saturating_sub(reserve);
        if left >= PAGE_MIN {
            return left.min(PAGE_MAX);
        }
        let Some(resets) = feed.budget_resets() else { return PAGE_MAX };
        feed.sleep_until("budget used", resets).await;
    }
}

/// A time as X takes it.
fn seconds(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    crate::social::stamp(time.replace_nanosecond(0).unwrap_or(time))
}

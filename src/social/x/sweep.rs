//! One sweep of recent search: all pages of a topic's query in a window.

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

/// The time that recent search reaches back, less a minute for the request to arrive.
pub(super) const REACH: Duration = Duration::from_secs(7 * 86_400 - 60);

/// The age at which a window's beginning is too old for a request. It is a little more than
/// [`REACH`], so that a beginning that was just within reach stays valid for a while.
const STALE: Duration = Duration::from_secs(7 * 86_400 - 20);

/// The part of the source for pages of the search, as people see it.
const PAGE: &str = "page of the search";

/// The fewest and the most posts that a page can have.
const PAGE_MIN: u64 = 10;
const PAGE_MAX: u64 = 100;

/// The bounds of a search. They stay the same for all pages of a sweep, unless the sweep takes so
/// long that its beginning gets out of the search's reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The id above which posts are wanted; with it `from` isn't sent, since X would ignore it.
    pub since_id: Option<String>,
    /// The time from which on posts are wanted.
    pub from: Option<OffsetDateTime>,
    /// The time before which posts are wanted; without it, all posts to the newest.
    pub to: Option<OffsetDateTime>,
}

/// The outcome of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Swept {
    /// All pages were read.
    Whole {
        /// The newest id of the first page.
        newest: Option<String>,
        /// The number of new posts.
        posts: u64,
    },
    /// The account may not search.
    Forbidden(String),
    /// The request is wrong.
    Wrong(String),
}

impl Window {
    /// Moves the beginning to the search's reach, if it is older. Returns the old and the new
    /// beginning then.
    fn keep_in_reach(&mut self, now: OffsetDateTime) -> Option<(OffsetDateTime, OffsetDateTime)> {
        // With an id the beginning isn't sent.
        let from = self.from.filter(|from| self.since_id.is_none() && *from < now - STALE)?;
        self.from = Some(now - REACH);
        Some((from, now - REACH))
    }

    fn is_empty(&self) -> bool {
        self.since_id.is_none() && self.from.zip(self.to).is_some_and(|(from, to)| from >= to)
    }
}

/// Reads all pages, the newest posts first, and waits while the budget is used up. `reserve` posts
/// of the budget are left to others. Posts that get out of the search's reach during the sweep are
/// left to the gap ledger.
///
/// # Errors
/// Fatal if only a person can help.
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
            feed.gap(
                &rule.topic,
                from,
                to,
                "the search took so long that these posts got out of its reach",
            )
            .await?;
            // Another beginning makes another search: it goes on with posts that are older than
            // those that were read.
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
            // The beginning was within reach when it was requested, but X was out of order for a
            // while.
            Answer::Wrong(_) if window.clone().keep_in_reach(feed.now()).is_some() => continue,
            Answer::Wrong(why) => return Ok(Swept::Wrong(why)),
        };
        let page = page::read(&reply.body, Asked::For(tag), feed.now());
        // A page that doesn't describe itself was cut on its way: it names no next page, though
        // there may be one.
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
            asking.failed("a page was cut on its way", cut.after(Trouble::Http)).await;
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

/// Returns the number of posts to request for the next page: no more than the budget still allows.
/// Waits until the budget has enough for a page.
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

/// Formats a time for X.
fn seconds(time: OffsetDateTime) -> String {
    let time = time.to_offset(time::UtcOffset::UTC);
    crate::social::stamp(time.replace_nanosecond(0).unwrap_or(time))
}

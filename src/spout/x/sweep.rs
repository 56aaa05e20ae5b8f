//! One sweep of recent search: all pages of what a topic's query finds in a time.

use time::OffsetDateTime;

use crate::error::Result;
use crate::social::{Feed, Offered};

use super::api::{Answer, Api};
use super::page::{self, Asked};
use super::translate::Rule;

/// The fewest and the most posts that a page can be asked for.
const PAGE_MIN: u64 = 10;
const PAGE_MAX: u64 = 100;

/// What is looked for. The bounds stay the same for all pages of a sweep.
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

/// Reads all pages, the newest posts first, and waits where the budget is used up. `reserve` posts of the budget
/// are left to others.
///
/// # Errors
/// Fatal where only a person can help.
pub(super) async fn sweep(api: &Api, feed: &Feed, rule: &Rule, window: &Window, reserve: u64) -> Result<Swept> {
    let (from, to) = (window.from.map(seconds), window.to.map(seconds));
    let tag = rule.is_exact().then_some(rule.topic.as_str());
    let (mut newest, mut posts, mut next) = (None, 0, None::<String>);
    let mut first = true;
    loop {
        let size = page_size(feed, reserve).await.to_string();
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
            Answer::Wrong(why) => return Ok(Swept::Wrong(why)),
        };
        let page = page::read(&reply.body, Asked::For(tag), feed.now());
        if std::mem::take(&mut first) {
            newest = page.newest;
        }
        let taken = page.posts.into_iter().map(|post| feed.offer(post)).filter(|offered| *offered == Offered::Taken);
        posts += taken.count() as u64;
        page.refused.iter().for_each(|(raw, why)| feed.refuse(raw, why));
        feed.flush().await?;
        // A page that leads back to itself would never end.
        if page.next.is_none() || page.next == next {
            return Ok(Swept::Whole { newest, posts });
        }
        next = page.next;
    }
}

/// How many posts the next page is asked for: no more than the budget still allows. Waits until that is a page.
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

//! Reads pages in turn, each from its newest post less the overlap.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::error::Result;
use crate::post::Post;
use crate::post::fields::{date, elements, get, string};
use crate::social::{
    Asking, Feed, Offered, Plan, RULES_BY_US, Refusals, Topics, begin, newest, pairs_of, post,
    stamp,
};

use super::Facebook;
use super::client::{Client, Read};

/// The most posts of one answer.
const LIMIT_MAX: u32 = 100;

/// The most answers of one read: with fewer than a hundred thousand posts in an overlap this number
/// is never reached.
const ANSWERS_MAX: usize = 1_000;

/// The number of times that a read with a dead cursor begins again before it waits.
const RESTARTS_MAX: usize = 5;

/// The number of good answers in a row before more posts are requested again: each request that is
/// too large costs a call.
const RESTORE_AFTER: u32 = 10;

/// The wait if another request at once can't help.
const WAIT: Duration = Duration::from_secs(60);

/// The part of the source for a post that is too large, as people see it.
const TOO_MUCH: &str = "a post";
/// The interval at which left-out pages are looked at, while all of them are left out.
const ALL_OUT: Duration = Duration::from_secs(1);

/// Reads all pages again and again, one at a time and evenly spread.
///
/// A page that is gone, or that the token may not read, is left out and requested again later.
///
/// # Errors
/// Fatal if Facebook refuses the token.
pub(super) async fn run(client: &Client, config: &Facebook, feed: &Feed) -> Result<()> {
    let pages: Vec<_> = config.pages().collect();
    let filters: Vec<_> =
        config.topics.iter().filter(|topic| topic.page().is_none()).cloned().collect();
    let hour = Duration::from_secs(3600);
    let per_call = config.calls_per_hour.map_or(Duration::ZERO, |calls| hour / calls.max(1));
    let plan = Plan::new(pages.len(), config.poll.0, per_call);
    let mut reading = Reading {
        client,
        config,
        filter: Topics::new(&filters),
        feed,
        limit: LIMIT_MAX,
        good: 0,
        stretch: 1,
        refusals: Refusals::default(),
    };
    begin(feed, &pages.iter().map(|page| part(page)).collect::<Vec<_>>()).await?;
    loop {
        for page in pages.iter().filter(|page| !feed.is_left_out(&part(page))) {
            let (begun, calls) = (feed.clock().monotonic(), client.calls());
            reading.page(page).await?;
            let took = feed.clock().monotonic().saturating_sub(begun);
            feed.sleep(plan.pause(took, client.calls() - calls, reading.stretch)).await;
        }
        if pages.iter().all(|page| feed.is_left_out(&part(page))) {
            feed.sleep(ALL_OUT).await;
        }
    }
}

/// Returns the part of the source for a page.
fn part(page: &str) -> String {
    format!("page {page}")
}

struct Reading<'a> {
    client: &'a Client,
    config: &'a Facebook,
    /// The conditions for a post beside being on the page.
    filter: Topics,
    feed: &'a Feed,
    /// The number of posts in one request: halved when Facebook wants fewer, and restored step by
    /// step.
    limit: u32,
    /// The number of good answers in a row at this limit.
    good: u32,
    /// The factor by which reads get rarer, so that no limit is reached.
    stretch: u32,
    refusals: Refusals,
}

type Query = Vec<(String, String)>;

/// The end of a sweep through a page's answers.
enum End {
    /// All posts were read.
    Whole,
    /// The cursor is dead, since the post that it names was deleted: begin again.
    Anew(String),
    /// There are more posts, which can't be read, for this reason.
    Cut(&'static str),
    /// Nothing can be read: the page is gone or forbidden.
    Out(String),
}

/// The reason why an answer has no posts.
enum NotRead {
    /// Facebook refuses a parameter, such as a cursor whose post was deleted.
    Refused(String),
    /// The page is gone, or the token may not read it.
    Out(String),
}

/// The link of an answer to the next one.
enum Next {
    None,
    At(Query),
    Foreign,
}

/// The progress of one read of a page.
struct Sweep<'a> {
    page: &'a str,
    since: OffsetDateTime,
    newest: OffsetDateTime,
    oldest: Option<OffsetDateTime>,
    /// The number of new posts.
    taken: u64,
}

impl Reading<'_> {
    /// Reads a page once, the newest post first, back to the newest post of the last read less the
    /// overlap. Facebook's cursors become invalid with the post that they name, so no cursor
    /// outlives a read.
    async fn page(&mut self, page: &str) -> Result<()> {
        let part = part(page);
        let last = newest(self.feed, &part);
        let mut sweep = Sweep {
            page,
            since: last - self.config.overlap.0,
            newest: last,
            oldest: None,
            taken: 0,
        };
        let mut restarts = 0;
        let cut = loop {
            match self.sweep(&mut sweep).await? {
                End::Whole => break None,
                End::Cut(why) => break Some(why),
                // The cursor stays: new posts are read once the page is available again.
                End::Out(why) => {
                    self.feed.leave_out(&part, &why);
                    return Ok(());
                }
                End::Anew(_) if restarts < RESTARTS_MAX => restarts += 1,
                End::Anew(why) => {
                    restarts = 0;
                    Asking { feed: self.feed, part: &part, of: "" }.failed(&why, WAIT).await;
                }
            }
        };
        self.feed.works(&part);
        self.feed.take_back(&part);
        let mut open = self.feed.open_gaps();
        open.retain(|gap| gap.part == part && gap.from >= sweep.since);
        match cut {
            // The cursor stays, so each later read tries to fill the gap.
            Some(why) if open.is_empty() => {
                let to = sweep.oldest.unwrap_or(sweep.newest);
                self.feed.gap(&part, sweep.since, to, why).await?;
            }
            Some(_) => {}
            None => {
                for gap in open {
                    self.feed.filled(&gap.id, sweep.taken).await?;
                }
                // Only a whole read counts: a crash in the middle repeats the read.
                self.feed.set_cursor(&part, stamp(sweep.newest.min(self.feed.now())));
            }
        }
        self.feed.save().await
    }

    /// Reads a page's answers.
    async fn sweep(&mut self, sweep: &mut Sweep<'_>) -> Result<End> {
        let path = format!("{}/{}", sweep.page, self.config.edge.path());
        let since = sweep.since.unix_timestamp().to_string();
        let mut query =
            vec![("fields".to_owned(), self.config.fields.clone()), ("since".into(), since)];
        let mut asked = BTreeSet::new();
        for _ in 0..ANSWERS_MAX {
            let is_first = asked.is_empty();
            asked.insert(query.clone());
            let body = match self.read(&path, &query).await? {
                Ok(body) => body,
                Err(NotRead::Refused(why)) if !is_first => return Ok(End::Anew(why)),
                Err(NotRead::Refused(why) | NotRead::Out(why)) => return Ok(End::Out(why)),
            };
            self.take(&body, sweep);
            self.feed.flush().await?;
            match self.next(&body) {
                Next::None => return Ok(End::Whole),
                Next::Foreign => {
                    return Ok(End::Cut(
                        "the link to the next posts leads to another server, and wasn't followed",
                    ));
                }
                Next::At(next) if asked.contains(&next) => {
                    return Ok(End::Cut("Facebook gives the same posts again and again"));
                }
                Next::At(next) => query = next,
            }
        }
        Ok(End::Cut("there are more posts than are read at once"))
    }

    /// Returns one answer, with fewer posts if Facebook wants that.
    async fn read(&mut self, path: &str, query: &Query) -> Result<Result<Bytes, NotRead>> {
        loop {
            self.feed.await_budget().await;
            let affordable = self
                .feed
                .budget_left()
                .map_or(u32::MAX, |left| u32::try_from(left).unwrap_or(u32::MAX));
            let limit = self.limit.min(affordable).max(1).to_string();
            let mut query: Vec<_> =
                query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            query.push(("limit", &limit));
            match self.client.page(path, &query, self.feed).await? {
                Read::Page(body, usage) => {
                    self.feed.works(TOO_MUCH);
                    self.stretch = usage.stretch();
                    self.good += 1;
                    if self.good >= RESTORE_AFTER {
                        self.limit = (self.limit * 2).min(LIMIT_MAX);
                        self.good = 0;
                    }
                    return Ok(Ok(body));
                }
                Read::Refused(why) => return Ok(Err(NotRead::Refused(why))),
                Read::Missing(why) | Read::Forbidden(why) => return Ok(Err(NotRead::Out(why))),
                Read::TooMuch if self.limit > 1 => {
                    self.limit /= 2;
                    self.good = 0;
                }
                Read::TooMuch => {
                    let asking = Asking { feed: self.feed, part: TOO_MUCH, of: "" };
                    asking.failed("a single post is too much for Facebook", WAIT).await;
                }
            }
        }
    }

    /// Takes the posts of an answer.
    fn take(&self, body: &Bytes, sweep: &mut Sweep<'_>) {
        let data = get(body, "data").unwrap_or(b"null");
        if !matches!(data.first(), Some(b'[' | b'n')) {
            self.refusals.refuse(
                self.feed,
                &self.client.without_token(body),
                "expected a list of posts under \"data\"",
            );
        }
        for item in elements(data) {
            let created = get(item, "created_time").and_then(string).and_then(|text| date(&text));
            if let Some(created) = created {
                sweep.newest = sweep.newest.max(created);
                sweep.oldest = Some(sweep.oldest.map_or(created, |oldest| oldest.min(created)));
            }
            let is_old = created.is_some_and(|created| created < sweep.since);
            sweep.taken += u64::from(self.offer(item, sweep.page, is_old));
        }
    }

    /// Offers a post. Returns true if it was new. In some versions `since` goes by the time of the
    /// last change, so older posts come again: a known one is checked for an edit, and an unknown
    /// one was made before the captured period.
    fn offer(&self, item: &[u8], page: &str, is_old: bool) -> bool {
        let item = self.client.without_token(item);
        match made(&item, page, &[], self.feed.now()) {
            Ok(post) if !self.filter.is_empty() && !self.filter.want(&post) => {}
            Ok(post) if self.feed.has_changed(&post) => self.offer_edit(&item, page, &post),
            Ok(post) if is_old && !self.feed.has_seen(&post) => {}
            Ok(post) => return self.feed.offer(post) == Offered::Taken,
            Err(why) => self.refusals.refuse(self.feed, &item, &why),
        }
        false
    }

    /// Offers an edit. Facebook doesn't say that a post was edited, and `updated_time` changes with
    /// each comment. So the edit is found by the text, and the post gets `edited_at`, by which a
    /// replay finds it too.
    fn offer_edit(&self, item: &[u8], page: &str, post: &Post) {
        let now = format!("\"{}\"", stamp(self.feed.now()));
        let updated = get(post.body(), "updated_time").filter(|time| string(time).is_some());
        for edited_at in [updated, Some(now.as_bytes())].into_iter().flatten() {
            let Ok(edit) = made(item, page, &[("edited_at", edited_at)], self.feed.now()) else {
                return;
            };
            // A second edit within the same second needs another time, to be distinct.
            if !self.feed.has_seen(&edit) {
                self.feed.offer(edit);
                return;
            }
        }
    }

    /// Returns the parameters of the next answer, taken from its link without secrets. Answers end
    /// where there is no link, and not at an answer with few posts, since some posts are hidden.
    fn next(&self, body: &[u8]) -> Next {
        let link = get(body, "paging").and_then(|paging| get(paging, "next")).and_then(string);
        let Some(link) = link else { return Next::None };
        if !self.client.is_ours(&link) {
            return Next::Foreign;
        }
        let others = ["access_token", "appsecret_proof", "limit"];
        let pairs = pairs_of(&link).unwrap_or_default();
        Next::At(pairs.into_iter().filter(|(name, _)| !others.contains(&name.as_str())).collect())
    }
}

/// Makes the post of an item of a page. If the item's id doesn't show the page (the topics may name
/// the page, or it has two ids), the page is added beside it, in the way in which X names the rules
/// that a post matched.
pub(super) fn made(
    item: &[u8],
    page: &str,
    more: &[(&str, &[u8])],
    now: OffsetDateTime,
) -> Result<Post, String> {
    let id = get(item, "id").and_then(string);
    if id.is_some_and(|id| id.split_once('_').is_some_and(|(prefix, _)| prefix == page)) {
        return post("post", item, more, now);
    }
    let rules = serde_json::json!([{ "tag": format!("{RULES_BY_US}Page({page})") }]).to_string();
    post("post", item, &[&[("matching_rules", rules.as_bytes())], more].concat(), now)
}

//! Reading pages in turn, each from its newest post less the overlap.

use std::collections::BTreeSet;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Result;
use crate::post::fields::{date, elements, get, string};
use crate::social::{Feed, Topics, pairs_of, post, stamp};

use super::Facebook;
use super::client::{Client, Read};

/// How many posts a page of an answer has at most.
const LIMIT_MAX: u32 = 100;

/// The most pages of one read.
const PAGES_MAX: usize = 1_000;

/// Reads all pages again and again.
///
/// # Errors
/// Fatal if Facebook refuses the token.
pub(super) async fn run(client: &Client, config: &Facebook, feed: &Feed) -> Result<()> {
    let pages: Vec<_> = config.pages().collect();
    let filters: Vec<_> = config.topics.iter().filter(|topic| topic.page().is_none()).cloned().collect();
    let mut reading = Reading { client, config, filter: Topics::new(&filters), feed, limit: LIMIT_MAX, stretch: 1 };
    loop {
        for page in &pages {
            reading.page(page).await?;
        }
        feed.sleep(config.poll.0 * reading.stretch).await;
    }
}

struct Reading<'a> {
    client: &'a Client,
    config: &'a Facebook,
    /// What a post has to match beside being on the page.
    filter: Topics,
    feed: &'a Feed,
    /// How many posts are asked for at once: halved when Facebook wants fewer, and restored step by step.
    limit: u32,
    /// By how much reads are stretched, so that no limit is reached.
    stretch: u32,
}

impl Reading<'_> {
    /// One read of a page, the newest post first, back to the newest of the last read less the overlap.
    async fn page(&mut self, page: &str) -> Result<()> {
        let part = format!("page {page}");
        let last = self.feed.cursor(&part).and_then(|last| OffsetDateTime::parse(&last, &Rfc3339).ok());
        let last = last.unwrap_or_else(|| self.feed.now());
        let since = last - self.config.overlap.0;
        let path = format!("{page}/{}", self.config.edge.path());
        let since_text = since.unix_timestamp().to_string();
        let first = vec![("fields".to_owned(), self.config.fields.clone()), ("since".into(), since_text)];
        let (mut newest, mut query, mut seen) = (last, first, BTreeSet::new());
        for _ in 0..PAGES_MAX {
            self.feed.await_budget().await;
            let body = self.read(&path, &query).await?;
            for item in elements(get(&body, "data").unwrap_or_default()) {
                let created = get(item, "created_time").and_then(string).and_then(|text| date(&text));
                // `since` goes by the time of the last change in some versions: older posts come again.
                if created.is_none_or(|created| created >= since) {
                    newest = created.map_or(newest, |created| newest.max(created));
                    self.offer(item);
                }
            }
            self.feed.flush().await?;
            match self.next(&body) {
                Some(next) if seen.insert(next.clone()) => query = next,
                _ => break,
            }
        }
        // Only a whole read counts: a crash in its middle begins it again.
        self.feed.set_cursor(&part, stamp(newest.min(self.feed.now())));
        self.feed.save().await
    }

    async fn read(&mut self, path: &str, query: &[(String, String)]) -> Result<bytes::Bytes> {
        loop {
            let limit = self.limit.to_string();
            let mut query: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            query.retain(|(name, _)| *name != "limit");
            query.push(("limit", &limit));
            match self.client.page(path, &query, self.feed).await? {
                Read::Page(body, usage) => {
                    self.stretch = usage.stretch();
                    self.limit = (self.limit + self.limit.div_ceil(4)).min(LIMIT_MAX);
                    return Ok(body);
                }
                Read::TooMuch if self.limit > 1 => self.limit /= 2,
                Read::TooMuch => self.feed.sleep(Duration::from_secs(60)).await,
            }
        }
    }

    fn offer(&self, item: &[u8]) {
        let item = self.client.without_token(item);
        match post("post", &item, &[], self.feed.now()) {
            Ok(post) if self.filter.is_empty() || self.filter.want(&post) => {
                self.feed.offer(post);
            }
            Ok(_) => {}
            Err(why) => self.feed.refuse(&item, &why),
        }
    }

    /// The parameters of the next page, taken from its link without what is secret: it ends where there is no link, and
    /// not where a page has few posts, since some are hidden.
    fn next(&self, body: &[u8]) -> Option<Vec<(String, String)>> {
        let link = get(body, "paging").and_then(|paging| get(paging, "next")).and_then(string)?;
        if !self.client.is_ours(&link) {
            self.feed.say("a link to a next page leads to another server, and wasn't followed");
            return None;
        }
        let secret = ["access_token", "appsecret_proof"];
        let pairs = pairs_of(&link)?.into_iter().filter(|(name, _)| !secret.contains(&name.as_str()));
        Some(pairs.collect())
    }
}

//! `Facebook`: posts of pages, which are read again and again.

mod answer;
mod client;
mod counts;
mod poll;

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Component, Problem};
use crate::error::Result;
use crate::secret::Secret;
use crate::social::{Budget, Common, Feed, Platform, Refresher, Source, Topic, address_problem};
use crate::spool;
use crate::units::Interval;

use self::client::Client;
use self::counts::Counts;

/// Captures posts of Facebook pages. `Page("id")` names a page to read, and any other topic is a
/// filter for all pages, which is applied here: with `[Page("123"), Page("456"), "storm",
/// "#rain"]`, posts of both pages that have the word or the hashtag are captured; with pages only,
/// all of their posts. Facebook has no public search. Pages are read in turn, and less often when
/// Facebook says that a limit is near.
///
/// Facebook reports no edits: a post whose text has changed when it is read again comes on the
/// stream `edits`, with `edited_at` added (its `updated_time`, which alone isn't enough, since
/// comments change it, too). Facebook reports no deletions either: a post that is gone when
/// `refresh` reads it again comes on the stream `deletes`, with `raw` null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Facebook {
    /// The pages to read, and filters for their posts.
    #[schemars(with = "Vec<crate::social::topics::TopicOrPage>")]
    topics: Vec<Topic>,
    /// A page's, an app's or a system user's token. For pages of others the app needs "Page Public
    /// Content Access".
    access_token: Secret,
    /// The app's secret, if Facebook demands a proof of it (`appsecret_proof`).
    #[serde(default)]
    app_secret: Option<Secret>,
    /// The address of the API.
    #[serde(default = "base_url")]
    base_url: String,
    /// The API's version.
    #[serde(default = "version")]
    version: String,
    /// The posts that are read of a page.
    #[serde(default)]
    edge: Edge,
    /// The fields of each post.
    #[serde(default = "fields")]
    fields: String,
    /// The interval at which each page is read, if the limits allow it.
    #[serde(default = "poll_every")]
    poll: Interval,
    /// The calls that may be made in an hour, shared evenly by the pages: for a token that others
    /// use as well. By default as many as `poll` needs, unless Facebook says that a limit is near.
    #[serde(default)]
    calls_per_hour: Option<u32>,
    /// The time by which each read looks back behind the newest post of the read before.
    #[serde(default = "overlap")]
    overlap: Interval,
    /// The bound on the posts that may be read. A post that two reads have in common counts twice.
    #[serde(default)]
    budget: Option<Budget>,
    /// The times after a post's receipt at which its counts are read again, such as `["10m",
    /// "1h"]`; they come on the stream `counts`.
    #[serde(default)]
    refresh: Vec<Interval>,
    /// The log that posts go through before they enter the topology.
    #[serde(default)]
    spool: spool::Options,
}

/// The posts that are read of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Edge {
    /// Posts by the page.
    #[default]
    Posts,
    /// Posts by the page, and those that visitors post and tag.
    Feed,
}

impl Edge {
    fn path(self) -> &'static str {
        match self {
            Self::Posts => "posts",
            Self::Feed => "feed",
        }
    }
}

fn base_url() -> String {
    "https://graph.facebook.com".into()
}

fn version() -> String {
    "v25.0".into()
}

fn poll_every() -> Interval {
    Interval(Duration::from_secs(60))
}

fn overlap() -> Interval {
    Interval(Duration::from_secs(3600))
}

fn fields() -> String {
    "id,message,story,created_time,updated_time,permalink_url,status_type,from,message_tags,\
     attachments{media_type,url,unshimmed_url,title,description},shares,comments.filter(stream).summary(true).limit(0),\
     reactions.summary(true).limit(0),reactions.type(LIKE).limit(0).summary(total_count).as(like),\
     reactions.type(LOVE).limit(0).summary(total_count).as(love),reactions.type(WOW).limit(0).summary(total_count).as(wow),\
     reactions.type(HAHA).limit(0).summary(total_count).as(haha),reactions.type(SAD).limit(0).summary(total_count).as(sad),\
     reactions.type(ANGRY).limit(0).summary(total_count).as(angry)"
        .into()
}

impl Component for Facebook {
    const NAME: &'static str = "Facebook";
    const GUARANTEE: &'static str = "each post that was received is in the spool before it enters the topology, once by its \
        id; reads overlap, and continue after a crash where they stopped";
}

#[async_trait(?Send)]
impl Platform for Facebook {
    const KIND: &'static str = "post";

    fn common(&self) -> Common {
        let (topics, spool) = (self.topics.clone(), self.spool);
        Common { topics, spool, budget: self.budget, refresh: self.refresh.clone() }
    }

    fn secrets(&self) -> Vec<Secret> {
        let proof =
            self.app_secret.as_ref().map(|secret| client::proof(&self.access_token, secret));
        [Some(self.access_token.clone()), self.app_secret.clone(), proof]
            .into_iter()
            .flatten()
            .collect()
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |field, what: String| Problem { field, what, candidates: None };
        let mut problems: Vec<_> =
            address_problem("base_url", &self.base_url, &["https", "http"]).into_iter().collect();
        if self.pages().next().is_none() {
            problems.push(problem(
                "topics",
                "expected at least one Page(\"…\"), since Facebook has no public search".into(),
            ));
        }
        for topic in self.topics.iter().filter(|topic| topic.channel().is_some()) {
            problems.push(problem("topics", format!("Facebook has no channels: {topic}")));
        }
        for page in self.pages().filter(|page| !is_page(page)) {
            let what = format!(
                "expected a page's id, which is a number, or its name, such as Page(\"nasa\"), found Page(\"{page}\"): \
                 the page's address has one of them"
            );
            problems.push(problem("topics", what));
        }
        if self.calls_per_hour == Some(0) {
            problems.push(problem("calls_per_hour", "expected at least 1".into()));
        }
        if !self.fields.split(',').any(|field| field.trim() == "created_time") {
            problems.push(problem(
                "fields",
                "expected \"created_time\" among the fields, since reads continue by it".into(),
            ));
        }
        if !self.version.starts_with('v') {
            problems.push(problem(
                "version",
                format!("expected a version such as \"{}\", found \"{}\"", version(), self.version),
            ));
        }
        problems
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Posts { config: self.clone() }))
    }

    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(Some(Box::new(Counts::new(self))))
    }

    async fn check_online(&self) -> Result<String> {
        let client = Client::new(self, crate::clock::SystemClock::shared())?;
        for page in self.pages() {
            client.check(page).await?;
        }
        Ok(format!("the token is good, and can read {} pages", self.pages().count()))
    }
}

impl Facebook {
    fn pages(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().filter_map(Topic::page)
    }
}

/// Returns true if a text has the form of a page's id or name: names have letters, digits and full
/// stops.
fn is_page(id: &str) -> bool {
    let is_number = id.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    is_number || (is_name && id.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

struct Posts {
    config: Facebook,
}

#[async_trait(?Send)]
impl Source for Posts {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let client = Client::new(&self.config, feed.clock().clone())?;
        poll::run(&client, &self.config, feed).await
    }
}

#[cfg(test)]
mod tests;

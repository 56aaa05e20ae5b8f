//! `X`: posts of X (once Twitter) by topics, from the filtered stream and from recent search.
//!
//! ```text
//!  topics ─▶ rules ─▶ filtered stream ─▶ posts          one connection per app, watched by its keep-alives
//!                     recent search ───▶ posts          what the stream missed, or all if there is no stream
//! ```
//!
//! X reports no deletions by these two (compliance streams are another product), so the stream
//! `deletes` stays empty. An edit is a post with an id of its own and a longer
//! `edit_history_tweet_ids`.

mod answer;
mod api;
mod backfill;
mod fields;
mod framing;
mod item;
mod known;
mod page;
mod poll;
mod reconnect;
mod refresh;
mod repeating;
mod rules;
mod source;
mod stream;
mod sweep;
mod translate;

#[cfg(test)]
mod tests;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::component::{Component, Problem};
use crate::error::Result;
use crate::secret::Secret;
use crate::social::{Budget, Common, Platform, Refresher, Source, Topic, address_problem};
use crate::spool;
use crate::units::Interval;

use self::api::Api;
use self::fields::Vocabulary;

/// Reads posts of X (once Twitter) by topics: from the filtered stream, whose rules are kept equal
/// to the topics, and from recent search, which fills what the stream missed in the last 7 days,
/// and replaces the stream if the account has none. Each post has the fields that X gives in `data`
/// directly under `tweet`, with `includes`, `matching_rules` and `errors` beside them. X reports no
/// deletions here, so `deletes` stays empty; an edit has an id of its own and comes on `edits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct X {
    /// The topics that posts have to match, such as `["rust lang", "#storm", "from:nws", "\"rust
    /// lang\" lang:en -java"]`. Each topic is one rule of the stream and one query of the search.
    /// At least one is needed, since X doesn't stream unfiltered posts.
    #[schemars(with = "Vec<String>")]
    pub topics: Vec<Topic>,
    /// The app's bearer token (app-only), such as `Env("X_BEARER_TOKEN")`.
    pub bearer_token: Secret,
    /// X's address; another address is for tests and proxies.
    #[serde(default = "base_url")]
    pub base_url: String,
    /// `Stream`, or `Search` to search every `poll` and never connect. An account that may not
    /// stream is searched in any case.
    #[serde(default)]
    pub mode: Mode,
    /// The interval at which each topic is searched if there is no stream. An app may search 450
    /// times in 15 minutes.
    #[serde(default = "poll")]
    pub poll: Interval,
    /// The delay with which recent search may find a post: a gap is filled this long after its end,
    /// and each search begins this long before the newest post of the last one.
    #[serde(default = "search_late")]
    pub search_late: Interval,
    /// More conditions for every rule and query, in X's own language, such as `-is:retweet`.
    #[serde(default)]
    pub also: Option<String>,
    /// The account's limits: the length of rules and queries, and the number of rules.
    #[serde(default)]
    pub plan: Plan,
    /// The fields of a post beside its id and text; by default all that every account may read.
    /// `created_at` is always requested.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// The objects that come with a post, such as `author_id` (the author's profile) or
    /// `referenced_tweets.id`. None by default, since each user and post that comes in this way may
    /// be billed.
    #[serde(default)]
    pub expansions: Vec<String>,
    /// The fields of users that come by `expansions`.
    #[serde(default)]
    pub user_fields: Vec<String>,
    /// The fields of pictures and films that come by `expansions`.
    #[serde(default)]
    pub media_fields: Vec<String>,
    /// The fields of places that come by `expansions`.
    #[serde(default)]
    pub place_fields: Vec<String>,
    /// The fields of polls that come by `expansions`.
    #[serde(default)]
    pub poll_fields: Vec<String>,
    /// The name of the parameter that lists the fields, in which X's two specifications differ (for
    /// search and lookup): `Tweet` (`tweet.fields`) or `Post` (`post.fields`). If X refuses one
    /// name, the other is tried. Answers are read in both vocabularies.
    #[serde(default)]
    pub vocabulary: Vocabulary,
    /// The most minutes (1 to 5) that the stream itself repeats after a short loss; for Enterprise
    /// accounts only.
    #[serde(default)]
    pub backfill_minutes: u8,
    /// The treatment of rules of the same app that this source didn't make (another program's or
    /// another topology's): `Keep` leaves them, though posts that they match are delivered (and
    /// billed) too; `Remove` deletes them. The source's state has the rules that it made; rules of
    /// a deleted state are reported, and stay.
    #[serde(default)]
    pub other_rules: OtherRules,
    /// True if all connections of the app are ended when X still holds one of this source after a
    /// crash. Set false if another program has a connection of the same app that must stay.
    #[serde(default = "yes")]
    pub free_connections: bool,
    /// The log on this machine's disk that posts go through before they enter the topology.
    #[serde(default)]
    pub spool: spool::Options,
    /// The most posts that are read in an interval, those of the search included, such as
    /// `Budget(posts: 50000, per: "1d")`.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// The times after a post's receipt at which it is read again for its counts, such as `["10m",
    /// "1h"]`; such reads are billed like posts.
    #[serde(default)]
    pub refresh: Vec<Interval>,
}

/// The origin of posts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// The filtered stream, with recent search for posts that the stream missed.
    #[default]
    Stream,
    /// Recent search only.
    Search,
}

/// The limits of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Plan {
    /// 1,000 rules of 1,024 characters, and queries of 512 characters.
    #[default]
    SelfServe,
    /// 25,000 rules of 2,048 characters, and queries of 4,096 characters.
    Enterprise,
}

impl Plan {
    fn rules_max(self) -> usize {
        match self {
            Self::SelfServe => 1_000,
            Self::Enterprise => 25_000,
        }
    }

    fn rule_chars_max(self) -> usize {
        match self {
            Self::SelfServe => 1_024,
            Self::Enterprise => 2_048,
        }
    }

    fn query_chars_max(self) -> usize {
        match self {
            Self::SelfServe => 512,
            Self::Enterprise => 4_096,
        }
    }
}

/// The treatment of rules that this source didn't make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtherRules {
    /// Other rules stay.
    #[default]
    Keep,
    /// Other rules are deleted.
    Remove,
}

fn base_url() -> String {
    "https://api.x.com".into()
}

fn poll() -> Interval {
    Interval(std::time::Duration::from_secs(60))
}

fn search_late() -> Interval {
    Interval(std::time::Duration::from_secs(30))
}

fn yes() -> bool {
    true
}

impl Component for X {
    const NAME: &'static str = "X";
    const ALIASES: &'static [&'static str] = &["Twitter"];
    const GUARANTEE: &'static str = "received posts go through a spool and are deduplicated by id, so each post is \
        read once; posts that the stream missed are fetched by recent search, which reaches back 7 days; the times of \
        older ones are in the gap ledger";
}

#[async_trait(?Send)]
impl Platform for X {
    const KIND: &'static str = "tweet";

    fn common(&self) -> Common {
        Common {
            topics: self.topics.clone(),
            spool: self.spool,
            budget: self.budget,
            refresh: self.refresh.clone(),
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.bearer_token.clone()]
    }

    fn problems(&self) -> Vec<Problem> {
        let address = address_problem("base_url", &self.base_url, &["https", "http"]);
        translate::problems(self).into_iter().chain(fields::problems(self)).chain(address).collect()
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(source::XSource::new(self.clone())))
    }

    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(Some(Box::new(refresh::Lookup::new(self.clone()))))
    }

    async fn check_online(&self) -> Result<String> {
        let api = Api::new(self, SystemClock::shared())?;
        rules::check_online(&api, self).await
    }
}

//! `X`: posts of X (once Twitter) by topics, from the filtered stream and from recent search.
//!
//! ```text
//!  topics ─▶ rules ─▶ filtered stream ─▶ posts          one connection per app, watched by its keep-alives
//!                     recent search ───▶ posts          what the stream missed, or all if there is no stream
//! ```
//!
//! X says nothing of deletions on these two (compliance streams are another product), so the stream
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

/// Posts of X (once Twitter), by topics: from the filtered stream, whose rules are kept equal to
/// the topics, and from recent search, which fills what the stream missed in the last 7 days, and
/// takes its place where an account has no stream. Each post has the fields that X gives in `data`
/// directly under `tweet`, with `includes`, `matching_rules` and `errors` beside them. X tells
/// nothing of deletions here, so `deletes` stays empty; an edit has an id of its own and comes on
/// `edits`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct X {
    /// What is wanted, such as `["rust lang", "#storm", "from:nws", "\"rust lang\" lang:en
    /// -java"]`: one rule of the stream, and one query of the search, for each. Some must be given,
    /// since X streams nothing unfiltered.
    pub topics: Vec<Topic>,
    /// The app's bearer token (app-only), such as `Env("X_BEARER_TOKEN")`.
    pub bearer_token: Secret,
    /// Where X is: another address is for tests and proxies.
    #[serde(default = "base_url")]
    pub base_url: String,
    /// `Stream`, or `Search` to ask every `poll` and never connect. An account that may not stream
    /// is searched in any case.
    #[serde(default)]
    pub mode: Mode,
    /// How often each topic is searched where there is no stream. An app may search 450 times in 15
    /// minutes.
    #[serde(default = "poll")]
    pub poll: Interval,
    /// How late recent search may find a post: a gap is filled so long after its end, and each
    /// search begins so much before the last one's newest post.
    #[serde(default = "search_late")]
    pub search_late: Interval,
    /// More conditions for every rule and query, in X's own language, such as `-is:retweet`.
    #[serde(default)]
    pub also: Option<String>,
    /// What the account may: how long rules and queries are, and how many there are.
    #[serde(default)]
    pub plan: Plan,
    /// What a post has beside its id and text. `created_at` is always asked for.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// What else comes with a post, such as `author_id` (the author's profile) or
    /// `referenced_tweets.id`. None by default, since each user and post that comes so may be
    /// billed.
    #[serde(default)]
    pub expansions: Vec<String>,
    /// What a user has that came by `expansions`.
    #[serde(default)]
    pub user_fields: Vec<String>,
    /// What a picture or film has that came by `expansions`.
    #[serde(default)]
    pub media_fields: Vec<String>,
    /// What a place has that came by `expansions`.
    #[serde(default)]
    pub place_fields: Vec<String>,
    /// What a poll has that came by `expansions`.
    #[serde(default)]
    pub poll_fields: Vec<String>,
    /// How the parameter of the fields is called where X's two specifications differ (search and
    /// lookup): `Tweet` (`tweet.fields`) or `Post` (`post.fields`). The other one is tried if X
    /// refuses it. Answers are read in both vocabularies.
    #[serde(default)]
    pub vocabulary: Vocabulary,
    /// Up to how many minutes (1 to 5) the stream itself repeats after a short loss; Enterprise
    /// accounts only.
    #[serde(default)]
    pub backfill_minutes: u8,
    /// What becomes of rules of the same app that this source didn't make, be they another
    /// program's or another topology's: `Keep`, though what they match is delivered (and billed)
    /// too, or `Remove`. Which rules it made is kept with its state; those of a state that was
    /// thrown away are told, and stay.
    #[serde(default)]
    pub other_rules: OtherRules,
    /// Whether all connections of the app are ended when one of this source's own is still held
    /// after a crash. False if another program has a connection of the same app that must stay.
    #[serde(default = "yes")]
    pub free_connections: bool,
    /// The log on this machine's disk that posts go through before they enter the topology.
    #[serde(default)]
    pub spool: spool::Options,
    /// The most posts that are read in a time, those of the search included, such as
    /// `Budget(posts: 50000, per: "1d")`.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How long after a post was received it is read again for its counts, such as `["10m", "1h"]`;
    /// such reads are billed as posts are.
    #[serde(default)]
    pub refresh: Vec<Interval>,
}

/// Where posts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// The filtered stream, with recent search for what it missed.
    #[default]
    Stream,
    /// Recent search only.
    Search,
}

/// What an account may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Plan {
    /// 1,000 rules of 1,024 characters, queries of 512.
    #[default]
    SelfServe,
    /// 25,000 rules of 2,048 characters, queries of 4,096.
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

/// What becomes of rules that this source didn't make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OtherRules {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted.
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
    const GUARANTEE: &'static str = "what was received goes through a spool and is dedup'ed by id, so each post is \
        read once; what the stream missed is fetched by recent search where that reaches (7 days), and is in the gap \
        ledger otherwise";
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

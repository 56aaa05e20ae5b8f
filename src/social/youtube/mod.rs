//! `YouTube`: videos by topic and by channel.
//!
//! Searches are few (100 a day for a key), so they are spread evenly over the day and over the
//! topics. Channels are read by their uploads playlists, which cost a hundredth of a search. Both
//! return ids, whose videos are then read with their statistics, fifty in a call.

mod answer;
mod client;
mod counts;
mod found;
mod pacific;
mod search;
mod uploads;

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{Either, select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Component, Problem};
use crate::error::Result;
use crate::secret::Secret;
use crate::social::{
    Budget, Common, Feed, Platform, Refresher, Source, Term, Topic, address_problem,
};
use crate::spool;
use crate::units::Interval;

use self::client::Client;
use self::counts::Counts;

/// Captures videos of YouTube by topics and channels, each with its statistics. A topic is searched
/// for as often as the key's quota allows: one search in 864 s, shared evenly by the topics and by
/// all spouts with that key. A channel is read by its list of uploads, which is cheap.
/// `matching_rules` beside a video names the topic whose search found it, since YouTube also
/// searches in data that it doesn't return.
///
/// YouTube reports neither edits nor deletions: a video that is gone when `refresh` reads it again
/// (deleted, or made private) comes on the stream `deletes`, with `raw` null. If more than about
/// 500 videos of one topic are published within seconds, not all can be read; then there is a gap
/// in the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct YouTube {
    /// The topics and channels to capture: `"rust lang"`, `"\"exact phrase\""`, `"storm -rust"`,
    /// `"#storm"`, `Channel("UC…")`.
    #[schemars(with = "Vec<crate::social::topics::TopicOrChannel>")]
    topics: Vec<Topic>,
    /// The key of the API.
    api_key: Secret,
    /// The address of the API.
    #[serde(default = "base_url")]
    base_url: String,
    /// The number of searches that the key has in a day (of Pacific Time).
    #[serde(default = "searches")]
    searches_per_day: u64,
    /// The number of units for all other calls that the key has in a day.
    #[serde(default = "units")]
    units_per_day: u64,
    /// The interval at which channels are read, if the units allow it.
    #[serde(default = "poll")]
    poll: Interval,
    /// The time by which each search looks back behind the newest video of the search before:
    /// YouTube finds videos hours late.
    #[serde(default = "overlap")]
    overlap: Interval,
    /// The bound on the videos that may be read.
    #[serde(default)]
    budget: Option<Budget>,
    /// The times after a video's receipt at which its counts are read again, such as `["10m",
    /// "1h"]`; they come on the stream `counts`.
    #[serde(default)]
    refresh: Vec<Interval>,
    /// The log that videos go through before they enter the topology.
    #[serde(default)]
    spool: spool::Options,
}

fn base_url() -> String {
    "https://youtube.googleapis.com/youtube/v3".into()
}

fn searches() -> u64 {
    100
}

fn units() -> u64 {
    10_000
}

fn poll() -> Interval {
    Interval(Duration::from_secs(300))
}

fn overlap() -> Interval {
    Interval(Duration::from_secs(3 * 3600))
}

impl Component for YouTube {
    const NAME: &'static str = "YouTube";
    const GUARANTEE: &'static str = "each video that was found is in the spool before it enters the topology, once by its \
        id; searches overlap, and continue after a crash where they stopped";
}

#[async_trait(?Send)]
impl Platform for YouTube {
    const KIND: &'static str = "video";

    fn common(&self) -> Common {
        let (topics, spool) = (self.topics.clone(), self.spool);
        Common { topics, spool, budget: self.budget, refresh: self.refresh.clone() }
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.api_key.clone()]
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |field, what: &str| Problem { field, what: what.into(), candidates: None };
        let mut problems: Vec<_> =
            address_problem("base_url", &self.base_url, &["https", "http"]).into_iter().collect();
        if self.topics.is_empty() {
            problems.push(problem("topics", "expected at least one topic or Channel(\"…\")"));
        }
        for topic in self
            .topics
            .iter()
            .filter(|topic| topic.channel().or(topic.page()).is_none() && query(topic).is_none())
        {
            problems.push(problem(
                "topics",
                &format!(
                    "YouTube can't search for \"{topic}\"; for an author use Channel(\"UC…\")"
                ),
            ));
        }
        for channel in
            self.topics.iter().filter_map(Topic::channel).filter(|channel| !is_channel(channel))
        {
            let what = format!(
                "expected a channel's id, which is \"UC\" and {CHANNEL_ID_REST} more characters, found \
                 Channel(\"{channel}\"): the id is in the channel's page source as \"channelId\", and `GET \
                 /channels?part=id&forHandle=@NAME` returns it"
            );
            problems.push(problem("topics", &what));
        }
        for page in self.topics.iter().filter_map(Topic::page) {
            problems
                .push(problem("topics", &format!("YouTube has no pages, found Page(\"{page}\")")));
        }
        for (field, value) in
            [("searches_per_day", self.searches_per_day), ("units_per_day", self.units_per_day)]
        {
            if value == 0 {
                problems.push(problem(field, "expected at least 1"));
            }
        }
        problems
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Videos { config: self.clone() }))
    }

    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(Some(Box::new(Counts::new(self))))
    }

    async fn check_online(&self) -> Result<String> {
        let client = Client::new(self, crate::clock::SystemClock::shared())?;
        client.check(self.topics.iter().find_map(Topic::channel)).await?;
        Ok("the key is good".into())
    }
}

/// Returns a topic as YouTube's `q`: all words are wanted, and `-` excludes a word.
fn query(topic: &Topic) -> Option<String> {
    fn one(term: &Term) -> Option<String> {
        Some(match term {
            Term::Word(word) => word.clone(),
            Term::Phrase(phrase) => format!("\"{phrase}\""),
            Term::Hashtag(tag) => format!("#{tag}"),
            Term::Cashtag(symbol) => format!("${symbol}"),
            Term::Mention(user) => format!("@{user}"),
            Term::Not(term) => format!("-{}", one(term)?),
            Term::Lang(_) => String::new(),
            Term::From(_) | Term::Page(_) | Term::Channel(_) => return None,
        })
    }
    let terms = topic.terms().iter().map(one).collect::<Option<Vec<_>>>()?;
    let query = terms.iter().filter(|term| !term.is_empty()).cloned().collect::<Vec<_>>().join(" ");
    terms.iter().any(|term| !term.is_empty() && !term.starts_with('-')).then_some(query)
}

/// Returns the language that a topic asks for.
fn language(topic: &Topic) -> Option<&str> {
    topic.terms().iter().find_map(|term| match term {
        Term::Lang(lang) => Some(lang.as_str()),
        _ => None,
    })
}

/// The number of characters behind `UC` in a channel's id.
const CHANNEL_ID_REST: usize = 22;

/// Returns true if a text has the form of a channel's id.
fn is_channel(id: &str) -> bool {
    let is_rest = |rest: &str| {
        let plain =
            rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        rest.len() == CHANNEL_ID_REST && plain
    };
    id.strip_prefix("UC").is_some_and(is_rest)
}

struct Videos {
    config: YouTube,
}

#[async_trait(?Send)]
impl Source for Videos {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let client = Client::new(&self.config, feed.clock().clone())?;
        client.restore(feed);
        // Each part has its own client, which counts its own calls; both share the key's quotas.
        let uploads_client = Client::new(&self.config, feed.clock().clone())?;
        let searches = search::run(&client, &self.config, feed);
        let uploads = uploads::run(&uploads_client, &self.config, feed);
        match select(pin!(searches), pin!(uploads)).await {
            Either::Left((result, _)) | Either::Right((result, _)) => result,
        }
    }
}

#[cfg(test)]
mod tests;

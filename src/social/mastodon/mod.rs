//! `Mastodon`: public posts of an instance, by its streaming API.
//!
//! A stream begins at the moment of its connection and repeats nothing. So each connection first
//! writes into the gap ledger for which time there was none. While it reads, the timelines of the
//! REST API fill that gap.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::social::{Budget, Common, Platform, Refresher, Source, Term, Topic, address_problem};
use crate::spool;
use crate::units::Interval;

mod api;
mod counts;
mod event;
mod fill;
mod host;
mod limits;
mod place;
mod sse;
mod stream;
mod subscription;
#[cfg(test)]
mod tests;
mod wire;

use self::api::Api;
use self::counts::Counts;
use self::stream::Streams;
use self::subscription::Subscription;

/// Reads public posts of a Mastodon instance as they are made: by hashtag if every topic has one,
/// else the instance's whole public timeline. A post is the status as the instance sent it, under
/// `toot`, with `received_at`. Deletions come on the stream `deletes` (the id is the toot's number
/// on this instance, and `instance` names it), edits on `edits`, posts that were read again on
/// `counts`, and periods in which posts may be missing on `gaps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mastodon {
    /// The instance's host, such as `mastodon.social`.
    pub instance: String,
    /// The token of a user of the instance with the scope `read:statuses` (Preferences,
    /// Development, New application, "Your access token"); a token of an application alone is
    /// refused.
    pub access_token: Secret,
    /// The topics that posts have to match: `#hashtag`, words, `"\"a phrase\""`, `@mention`,
    /// `from:user@host`, `lang:en`; without topics all posts are read. Each topic's first hashtag
    /// is subscribed to; the rest is filtered here.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub topics: Vec<Topic>,
    /// The timeline that is read instead of hashtags: `Public`, `Local` or `Remote`. Unless given,
    /// hashtags are read if every topic has one, else `Public`.
    #[serde(default)]
    pub stream: Option<Timeline>,
    /// The transport: `Sse` (one connection for each hashtag) or `WebSocket` (one for all). A
    /// server without server-sent events, such as GoToSocial and Pleroma, is read by WebSocket in
    /// any case.
    #[serde(default)]
    pub transport: Transport,
    /// The address of the instance, if it isn't `https://` and its host.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The log on this machine's disk that posts go through.
    #[serde(default)]
    pub spool: spool::Options,
    /// The most posts that are read in an interval. At this number the source pauses, and fills the
    /// gap afterwards.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// The times after a post's receipt at which its counts are read, `["10m", "1h"]`; never unless
    /// given.
    #[serde(default)]
    pub refresh: Vec<Interval>,
}

/// A public timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Timeline {
    /// All public posts that the instance knows.
    Public,
    /// Posts of the instance's own users.
    Local,
    /// Posts of other instances' users.
    Remote,
}

/// The transport of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Transport {
    /// Server-sent events over HTTP.
    #[default]
    Sse,
    /// One WebSocket for all.
    WebSocket,
}

impl Transport {
    /// Returns the transport's name in messages.
    fn name(self) -> &'static str {
        match self {
            Self::Sse => "server-sent events",
            Self::WebSocket => "WebSocket",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Sse => Self::WebSocket,
            Self::WebSocket => Self::Sse,
        }
    }
}

impl Component for Mastodon {
    const NAME: &'static str = "Mastodon";
    const GUARANTEE: &'static str = "can't resume a stream: missed posts are read from the instance's timelines, each post \
         once; the gap ledger has their times until then, and if they can't be read";
}

impl Mastodon {
    fn address(&self) -> String {
        self.base_url.clone().unwrap_or_else(|| format!("https://{}", self.instance))
    }
}

#[async_trait(?Send)]
impl Platform for Mastodon {
    const KIND: &'static str = "toot";

    fn common(&self) -> Common {
        Common {
            topics: self.topics.clone(),
            spool: self.spool,
            budget: self.budget,
            refresh: self.refresh.clone(),
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![self.access_token.clone()]
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |field, what: &str| Problem { field, what: what.into(), candidates: None };
        let mut problems: Vec<_> = self
            .topics
            .iter()
            .filter_map(|topic| {
                unfit(topic.terms()).map(|what| format!("topic \"{topic}\": {what}"))
            })
            .map(|what| problem("topics", &what))
            .collect();
        let host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | ':');
        if self.instance.is_empty() || !self.instance.chars().all(host) {
            problems.push(problem("instance", "expected a host such as \"mastodon.social\""));
        }
        let address =
            |url: &String| address_problem("base_url", url, &["https", "http", "wss", "ws"]);
        problems.extend(self.base_url.as_ref().and_then(address));
        if self.access_token.reveal().trim().is_empty() {
            problems.push(problem("access_token", api::TOKEN));
        }
        problems
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Streams::new(self.clone())))
    }

    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(Some(Box::new(Counts::new(self.clone()))))
    }

    async fn check_online(&self) -> Result<String> {
        let (clock, subscriptions) = (SystemClock::shared(), Subscription::all(self));
        let api = Api::new(self, clock.clone())?;
        let mut transport = self.transport;
        let opened = stream::open(&api, &mut transport, &subscriptions[..1], &clock).await?;
        opened.map_err(|refused| Error::transient(format!("{}: {refused}", self.instance)))?;
        Ok(format!("{} streams {} by {}", self.instance, subscriptions[0].part(), transport.name()))
    }
}

/// Returns the reason why a topic's terms can't be compared with toots, if there is one.
fn unfit(terms: &[Term]) -> Option<&'static str> {
    terms.iter().find_map(|term| match term {
        Term::Page(_) => Some("Mastodon has no pages"),
        Term::Channel(_) => Some("Mastodon has no channels"),
        Term::Not(term) => unfit(std::slice::from_ref(term)),
        _ => None,
    })
}

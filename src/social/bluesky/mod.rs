//! `Bluesky`: posts from Bluesky, read from Jetstream over a WebSocket.
//!
//! Jetstream sends all events from the cursor on, up to 36 hours back, and often many earlier ones.
//! So a lost connection, a restart and a change of host are handled in the same way: the source
//! reads on from a little before the newest event. `join` finds the end of the repeated events.
//! Events that are missing between two connections go into the gap ledger.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::SystemClock;
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::social::{
    Budget, Common, Http, Platform, Refresher, Source, Term, Topic, address_problem,
};
use crate::spool;
use crate::units::Interval;

mod counts;
mod cursor;
#[cfg(test)]
mod failover_tests;
mod frame;
mod join;
#[cfg(test)]
mod join_tests;
mod passage;
mod reading;
mod stream;
#[cfg(test)]
mod tests;
mod wanted;

use self::counts::Counts;
use self::stream::Jetstream;
use self::wanted::Wanted;

/// Reads posts from Bluesky as they are made, from Jetstream. It needs no account and no key. A
/// post is the event as the server sent it, under `bsky`, with `received_at`. Deletions come on the
/// stream `deletes` (the deletion of an account has the account's DID as its id), edits on `edits`,
/// posts that were read again on `counts`, and periods in which posts may be missing on `gaps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bluesky {
    /// The topics that posts have to match: words, `"\"a phrase\""`, `#hashtag`, `@mention`,
    /// `lang:en`, `from:did:plc:…`; without topics all posts are read. The server filters by
    /// authors only, and only if each topic names one; the rest is filtered here.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub topics: Vec<Topic>,
    /// The collections whose records are read, such as `app.bsky.feed.*`; at most 100. An empty
    /// list means all collections.
    #[serde(default = "posts")]
    pub collections: Vec<String>,
    /// The hosts of Jetstream, `wss://host`, one or a list; if one fails, the next one is used.
    #[serde(default)]
    pub base_url: Hosts,
    /// The server that counts are read from: a public view of Bluesky.
    #[serde(default = "api")]
    pub api_url: String,
    /// The log on this machine's disk that posts go through.
    #[serde(default)]
    pub spool: spool::Options,
    /// The most posts that are read in an interval. At this number the source pauses, and then goes
    /// on from the same position. Posts that were captured before and come again cost nothing.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// The times after a post's receipt at which its counts are read, `["10m", "1h"]`; never unless
    /// given.
    #[serde(default)]
    pub refresh: Vec<Interval>,
}

/// One host or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hosts {
    /// One host.
    One(String),
    /// Several hosts, in the order in which they are tried.
    Several(Vec<String>),
}

impl Default for Hosts {
    fn default() -> Self {
        let host = |host: &str| format!("wss://jetstream{host}.bsky.network");
        Self::Several(["1.us-east", "2.us-east", "1.us-west", "2.us-west"].map(host).into())
    }
}

impl Hosts {
    /// Returns all hosts.
    fn all(&self) -> &[String] {
        match self {
            Self::One(host) => std::slice::from_ref(host),
            Self::Several(hosts) => hosts,
        }
    }
}

fn posts() -> Vec<String> {
    vec!["app.bsky.feed.post".into()]
}

fn api() -> String {
    "https://public.api.bsky.app".into()
}

impl Component for Bluesky {
    const NAME: &'static str = "Bluesky";
    const GUARANTEE: &'static str = "can resume for 36 hours, for which Jetstream keeps events: each post once; \
         the times of older events that were missed are in the gap ledger";
}

#[async_trait(?Send)]
impl Platform for Bluesky {
    const KIND: &'static str = "bsky";

    fn common(&self) -> Common {
        Common {
            topics: self.topics.clone(),
            spool: self.spool,
            budget: self.budget,
            refresh: self.refresh.clone(),
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        Vec::new()
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |field, what| Problem { field, what, candidates: None };
        let mut problems: Vec<_> =
            self.topics.iter().filter_map(unfit).map(|what| problem("topics", what)).collect();
        let collections = self.collections.iter().filter(|collection| !is_collection(collection));
        problems.extend(collections.map(|collection| {
            let what = format!(
                "bad collection \"{collection}\": expected a name such as \"app.bsky.feed.post\" or \"app.bsky.feed.*\""
            );
            problem("collections", what)
        }));
        if self.collections.len() > wanted::COLLECTIONS_MAX {
            let what =
                format!("expected at most 100 collections, found {}", self.collections.len());
            problems.push(problem("collections", what));
        }
        let authors = Wanted::of(self).authors();
        if authors > wanted::DIDS_MAX {
            problems.push(problem(
                "topics",
                format!("expected at most 10,000 authors, found {authors}"),
            ));
        }
        if self.base_url.all().is_empty() {
            problems.push(problem("base_url", "expected at least one host".into()));
        }
        let hosts = self.base_url.all().iter();
        problems.extend(
            hosts.filter_map(|host| {
                address_problem("base_url", host, &["wss", "ws", "https", "http"])
            }),
        );
        problems.extend(address_problem("api_url", &self.api_url, &["https", "http"]));
        problems
    }

    fn source(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Jetstream::new(self.base_url.all().to_vec(), Wanted::of(self))))
    }

    fn refresher(&self) -> Result<Option<Box<dyn Refresher>>> {
        Ok(Some(Box::new(Counts::new(&self.api_url))))
    }

    async fn check_online(&self) -> Result<String> {
        let clock = SystemClock::shared();
        let mut refused = Error::fatal("no host to ask: \"base_url\" is empty");
        for host in self.base_url.all() {
            match Jetstream::new(Vec::new(), Wanted::of(self)).greets(host, &clock).await {
                Ok(()) => {
                    if !self.refresh.is_empty() {
                        Http::new(&self.api_url, clock)?;
                    }
                    return Ok(format!("{} accepts the filter", wanted::name(host)));
                }
                Err(what) => refused = Error::fatal(format!("{}: {what}", wanted::name(host))),
            }
        }
        Err(refused)
    }
}

/// Returns the reason why a topic can't be compared with Bluesky's posts, if there is one.
fn unfit(topic: &Topic) -> Option<String> {
    let what = topic.terms().iter().find_map(unfit_term)?;
    Some(format!("topic \"{topic}\": {what}"))
}

fn unfit_term(term: &Term) -> Option<String> {
    match term {
        Term::Page(_) => Some("Bluesky has no pages".into()),
        Term::Channel(_) => Some("Bluesky has no channels".into()),
        Term::From(author) if !author.starts_with("did:") => Some(format!(
            "expected the author's DID, such as from:did:plc:…, found \"{author}\", but events have no handles: \
             `{}/xrpc/com.atproto.identity.resolveHandle?handle={author}` returns the DID",
            api()
        )),
        Term::From(did) if !is_did(did) => Some(format!(
            "expected a DID such as did:plc:z72i7hdynmk6r22z27h6tvur, found \"{did}\""
        )),
        Term::Not(term) => unfit_term(term),
        _ => None,
    }
}

/// Returns true if a text has the form of a DID.
fn is_did(text: &str) -> bool {
    let parts = text.strip_prefix("did:").and_then(|rest| rest.split_once(':'));
    let Some((method, id)) = parts else { return false };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_id = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:%-".contains(&byte));
    is_method && is_id && !id.is_empty() && !id.ends_with([':', '%'])
}

/// Returns true if a text is the name of a collection, or a prefix of names followed by `.*`.
fn is_collection(text: &str) -> bool {
    let name = text.strip_suffix(".*").unwrap_or(text);
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.contains('.') && name.split('.').all(part)
}

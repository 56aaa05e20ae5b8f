//! `Bluesky`: what is posted on Bluesky, read from Jetstream over a WebSocket.
//!
//! Jetstream gives everything from where a cursor points, up to 36 hours back, and often much more.
//! So a lost connection, a restart and a change of the host all come to the same: read on from a
//! little before the newest event. `join` finds where the repeated events end. A hole between the
//! two goes into the gap ledger.

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

/// Reads what is posted on Bluesky as it happens, from Jetstream. It needs no account and no key. A
/// post is the event as the server gave it, under `bsky`, with `received_at`. Deletions come on the
/// stream `deletes` (of a whole account with the account's DID as the id), edits on `edits`, posts
/// that were read again on `counts`, and from when to when posts may be missing on `gaps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bluesky {
    /// Which posts: words, `"\"a phrase\""`, `#hashtag`, `@mention`, `lang:en`, `from:did:plc:…`;
    /// all of them unless given. The server filters by authors only, and only if each topic names
    /// one; the rest is filtered here.
    #[serde(default)]
    pub topics: Vec<Topic>,
    /// The collections whose records are read, such as `app.bsky.feed.*`; at most 100, and all if
    /// there are none.
    #[serde(default = "posts")]
    pub collections: Vec<String>,
    /// The hosts of Jetstream, `wss://host`, one or a list; the next one is used when one fails.
    #[serde(default)]
    pub base_url: Hosts,
    /// Where counts are read: a public view of Bluesky.
    #[serde(default = "api")]
    pub api_url: String,
    /// The log on this machine's disk that posts go through.
    #[serde(default)]
    pub spool: spool::Options,
    /// The most posts that are read in a time; it pauses then, and goes on from where it was. What
    /// was captured before and comes again costs nothing.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How long after a post came its counts are read, `["10m", "1h"]`; never unless given.
    #[serde(default)]
    pub refresh: Vec<Interval>,
}

/// One host or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Hosts {
    /// One.
    One(String),
    /// Several, in the order in which they are tried.
    Several(Vec<String>),
}

impl Default for Hosts {
    fn default() -> Self {
        let host = |host: &str| format!("wss://jetstream{host}.bsky.network");
        Self::Several(["1.us-east", "2.us-east", "1.us-west", "2.us-west"].map(host).into())
    }
}

impl Hosts {
    /// All of them.
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
    const GUARANTEE: &'static str = "can resume for 36 hours, which is how long Jetstream keeps events: each post once; \
         what is older by then is in the gap ledger";
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
                "bad collection \"{collection}\": expected such as \"app.bsky.feed.post\" or \"app.bsky.feed.*\""
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
        let mut refused = Error::fatal("there is no host to ask");
        for host in self.base_url.all() {
            match Jetstream::new(Vec::new(), Wanted::of(self)).greets(host, &clock).await {
                Ok(()) => {
                    if !self.refresh.is_empty() {
                        Http::new(&self.api_url, clock)?;
                    }
                    return Ok(format!("{} takes the filter", wanted::name(host)));
                }
                Err(what) => refused = Error::fatal(format!("{}: {what}", wanted::name(host))),
            }
        }
        Err(refused)
    }
}

/// Why a topic can't be held against Bluesky's posts.
fn unfit(topic: &Topic) -> Option<String> {
    let what = topic.terms().iter().find_map(unfit_term)?;
    Some(format!("topic \"{topic}\": {what}"))
}

fn unfit_term(term: &Term) -> Option<String> {
    match term {
        Term::Page(_) => Some("Bluesky has no pages".into()),
        Term::Channel(_) => Some("Bluesky has no channels".into()),
        Term::From(author) if !author.starts_with("did:") => Some(format!(
            "expected the author's DID, such as from:did:plc:…, found \"{author}\", which an event doesn't have: \
             `{}/xrpc/com.atproto.identity.resolveHandle?handle={author}` tells it",
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

/// Returns true if a text is the name of a collection, or of all those that begin with one.
fn is_collection(text: &str) -> bool {
    let name = text.strip_suffix(".*").unwrap_or(text);
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.contains('.') && name.split('.').all(part)
}

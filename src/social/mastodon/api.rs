//! A client of the instance: its REST API, and the host that it streams from.

use std::cell::RefCell;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::net::limits::said;
use crate::post::fields::{get, string};
use crate::secret::Secret;
use crate::social::{Asking, Backoff, Feed, Http, Quota, Reply, Verdict, wait_while_blocked};

use super::Mastodon;
use super::host::Host;
use super::limits::{Answer, decide, is_last, resets};
use super::stream::{RETRY_FIRST, RETRY_MAX};

/// The advice about a refused token.
pub(super) const TOKEN: &str = "expected the token of a user of the instance with the scope read:statuses: make one there \
     under Preferences, Development, New application, and give it as access_token";

/// The bucket of calls to the REST API, which are limited together.
const BUCKET: &str = "rest";

/// A client of an instance.
pub(super) struct Api {
    http: Http,
    host: Host,
    token: Secret,
    quota: Quota,
    clock: SharedClock,
    /// The host that the instance streams from, once it is known.
    streaming: RefCell<Option<Host>>,
}

/// The reason why there is no connection or answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Try again at this time.
    Until(time::OffsetDateTime),
    /// Try again some time later.
    Again(String),
    /// The server refuses this way: it streams by another one, or doesn't know the subscription.
    NotSo(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Until(_) => f.write_str("it answered 429: too many requests"),
            Self::Again(why) | Self::NotSo(why) => f.write_str(why),
        }
    }
}

/// Returns the error of a refused token.
pub(super) fn bad_token(host: &str, why: &str) -> Error {
    Error::fatal(format!("{host} refuses the access token: {why}: {TOKEN}"))
}

impl Api {
    /// Makes a client from the configuration.
    ///
    /// # Errors
    /// Fatal if the configuration is wrong.
    pub(crate) fn new(config: &Mastodon, clock: SharedClock) -> Result<Self> {
        let address = config.address();
        let host = Host::parse(&address).ok_or_else(|| {
            Error::fatal("bad base_url: expected an address such as \"https://mastodon.social\"")
        })?;
        let token = config.access_token.clone();
        let http = Http::new(&host.http(), clock.clone())?.with_bearer(&token)?;
        let quota = Quota::of("mastodon", &format!("{} {}", host.name(), token.reveal()));
        Ok(Self { http, host, token, quota, clock, streaming: RefCell::default() })
    }

    /// Returns the instance's name.
    pub(crate) fn name(&self) -> &str {
        self.host.name()
    }

    /// Returns the header that authenticates.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.token.reveal())
    }

    /// Returns the host that the instance streams from: the host that its own document names
    /// (`configuration.urls.streaming`), else the instance. That document comes from the server
    /// that the token was made for, over its TLS, so it may name any host with TLS. A redirect is
    /// followed within the instance's host only: anything in front of the instance can make a
    /// redirect, and the token would go to its target.
    ///
    /// # Errors
    /// Fatal if the named host has no TLS though the instance has it.
    pub(crate) async fn streaming(&self) -> Result<std::result::Result<Host, Refused>> {
        if let Some(host) = &*self.streaming.borrow() {
            return Ok(Ok(host.clone()));
        }
        let host = match self.named().await {
            Ok(host) => host.unwrap_or_else(|| self.host.clone()),
            Err(refused) => return Ok(Err(refused)),
        };
        if !host.may_have_token_of(&self.host) {
            let (own, other) = (self.name(), host.name());
            return Err(Error::fatal(format!(
                "{own} streams from \"{other}\" without TLS, so the token must not go there"
            )));
        }
        *self.streaming.borrow_mut() = Some(host.clone());
        Ok(Ok(host))
    }

    /// Forgets the host that the instance streams from, since it couldn't be reached. It is asked
    /// for again.
    pub(crate) fn forget_streaming(&self) {
        *self.streaming.borrow_mut() = None;
    }

    async fn named(&self) -> std::result::Result<Option<Host>, Refused> {
        let ask = async |path| {
            self.http.get(path, &[]).await.map_err(|failure| Refused::Again(failure.to_string()))
        };
        let reply = ask("/api/v2/instance").await?;
        match decide(&reply, self.clock.now()) {
            Answer::Good => {
                let path = ["configuration", "urls", "streaming"];
                let url = path
                    .iter()
                    .try_fold(&reply.body[..], |object, key| get(object, key))
                    .and_then(string);
                if let Some(host) = url.and_then(|url| Host::parse(&url)) {
                    return Ok(Some(host));
                }
            }
            Answer::Wait(until) => return Err(Refused::Until(until)),
            Answer::Again(why) => return Err(Refused::Again(why)),
            // An older server doesn't have this document, and other servers may refuse it.
            Answer::Token(_) | Answer::Refused(_) => {}
        }
        let reply = ask("/api/v1/streaming").await?;
        let moved = (300..400).contains(&reply.status).then(|| reply.header("location")).flatten();
        match moved.map(|to| Host::parse(to).unwrap_or_else(|| self.host.clone())) {
            Some(to) if !to.is_same_host(&self.host) => Err(Refused::Again(format!(
                "a redirect leads its streams to \"{}\", which the token must not follow: the instance would have to \
                 name that host in /api/v2/instance, or base_url has to name it",
                said(to.name())
            ))),
            moved => Ok(moved),
        }
    }

    /// Repeats a request until there is a final answer: waits out limits and outages.
    ///
    /// # Errors
    /// Fatal if the token is refused.
    pub(crate) async fn get(
        &self,
        feed: &Feed,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Reply, Failed> {
        let request = async || {
            wait_while_blocked(&self.quota, BUCKET, "429", feed).await;
            Ok(self.http.get(path, query).await)
        };
        let judge = |reply: Reply, _: &mut Backoff| {
            if is_last(&reply) {
                self.quota.block(BUCKET, resets(&reply, feed.now()));
            }
            Ok(match decide(&reply, feed.now()) {
                Answer::Good => Verdict::Good(Ok(reply)),
                Answer::Wait(until) => {
                    self.quota.block(BUCKET, until);
                    Verdict::Limited
                }
                Answer::Again(why) => Verdict::Again(why),
                Answer::Token(why) => return Err(bad_token(self.name(), &why)),
                Answer::Refused(why) => Verdict::Stays(Err(Failed::Refused(why))),
            })
        };
        let waits = Backoff::exponential(RETRY_FIRST, RETRY_MAX);
        let asking = Asking { feed, part: BUCKET, of: self.name() };
        asking.until_answered(waits, request, judge).await.map_err(Failed::Fatal)?
    }
}

/// The reason why there is no answer.
pub(super) enum Failed {
    /// The request is refused, for this reason.
    Refused(String),
    /// Every request would fail.
    Fatal(Error),
}

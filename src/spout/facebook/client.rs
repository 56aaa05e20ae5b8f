//! The calls of the Graph API that are needed.

use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::social::{Backoff, Feed, Http, Quota, Reply, is_whole};

use super::Facebook;
use super::answer::{Answer, Usage, answer, usage};

/// All calls of a token count together.
const CALLS: &str = "calls";

/// What stands for a token in a text that had it.
const HIDDEN: &[u8] = b"***";

/// A client for one token.
pub(super) struct Client {
    http: Http,
    quota: Quota,
    clock: SharedClock,
    version: String,
    token: Secret,
}

/// An answer, or that it was too much at once.
pub(super) enum Read {
    Page(Bytes, Usage),
    TooMuch,
}

impl Client {
    pub fn new(config: &Facebook, clock: SharedClock) -> Result<Self> {
        let http = Http::new(&config.base_url, clock.clone())?.with_bearer(&config.access_token)?;
        let http = match &config.app_secret {
            Some(secret) => http.with_parameter("appsecret_proof", &proof(&config.access_token, secret)),
            None => http,
        };
        let quota = Quota::of("facebook", config.access_token.reveal());
        Ok(Self { http, quota, clock, version: config.version.clone(), token: config.access_token.clone() })
    }

    /// Whether a link of a page's `next` leads to the same server.
    pub fn is_ours(&self, link: &str) -> bool {
        self.http.is_ours(link)
    }

    /// A page of posts.
    pub async fn page(&self, path: &str, query: &[(&str, &str)], feed: &Feed) -> Result<Read> {
        let mut backoff = Backoff::exponential(Duration::from_secs(5), Duration::from_secs(320));
        loop {
            if let Some(until) = self.quota.blocked(CALLS, self.clock.now()) {
                feed.sleep_until("limit reached", until).await;
            }
            let why = match self.http.get(&format!("/{}/{path}", self.version), query).await {
                Ok(reply) => match self.judge(&reply) {
                    Answer::Good if is_whole(&reply.body) => {
                        feed.set_state("");
                        return Ok(Read::Page(reply.body.clone(), usage(&reply)));
                    }
                    Answer::TooMuch => return Ok(Read::TooMuch),
                    Answer::Limited(_) => continue,
                    Answer::Stop(why) => return Err(Error::fatal(why)),
                    Answer::Busy(why) => why,
                    Answer::Good => "the answer is cut".into(),
                },
                Err(failure) => failure.to_string(),
            };
            let wait = backoff.next_with_jitter();
            feed.set_state(format!("asks again in {} s: {why}", wait.as_secs().max(1)));
            feed.sleep(wait).await;
        }
    }

    /// Reads an answer, and remembers a limit that is reached.
    fn judge(&self, reply: &Reply) -> Answer {
        let found = answer(reply);
        let wait = match &found {
            Answer::Limited(wait) => Some(*wait),
            _ => usage(reply).wait,
        };
        if let Some(wait) = wait {
            self.quota.block(CALLS, self.clock.now() + wait);
        }
        match found {
            // An error may repeat what it was asked with.
            Answer::Stop(why) => Answer::Stop(why.replace(self.token.reveal(), "***")),
            Answer::Busy(why) => Answer::Busy(why.replace(self.token.reveal(), "***")),
            other => other,
        }
    }

    /// Up to fifty posts by their ids: an object with each under its id.
    pub async fn posts(&self, ids: &[String], fields: &str, feed: &Feed) -> Result<Bytes> {
        match self.page("", &[("ids", &ids.join(",")), ("fields", fields)], feed).await? {
            Read::Page(page, _) => Ok(page),
            Read::TooMuch => Err(Error::transient("Facebook wants fewer posts at once")),
        }
    }

    /// What Facebook gave, without the token: links to further pages of comments may have it.
    pub fn without_token(&self, json: &[u8]) -> Vec<u8> {
        let token = self.token.reveal().as_bytes();
        let mut clean = Vec::with_capacity(json.len());
        let mut from = 0;
        while let Some(at) = memmem::find(&json[from..], token).filter(|_| !token.is_empty()) {
            clean.extend_from_slice(&json[from..from + at]);
            clean.extend_from_slice(HIDDEN);
            from += at + token.len();
        }
        clean.extend_from_slice(&json[from..]);
        clean
    }

    /// Whether the token can read a page.
    ///
    /// # Errors
    /// What isn't good.
    pub async fn check(&self, page: &str) -> Result<()> {
        let reply = self.http.get(&format!("/{}/{page}", self.version), &[("fields", "id")]).await;
        let reply = reply.map_err(|failure| Error::transient(format!("Facebook can't be asked: {failure}")))?;
        match self.judge(&reply) {
            Answer::Good | Answer::TooMuch => Ok(()),
            Answer::Limited(wait) => Err(Error::transient(format!("a limit is reached for {} s", wait.as_secs()))),
            Answer::Busy(why) => Err(Error::transient(why)),
            Answer::Stop(why) => Err(Error::fatal(format!("page {page}: {why}"))),
        }
    }
}

/// HMAC-SHA256 of the token by the app's secret, in hexadecimal digits.
fn proof(token: &Secret, secret: &Secret) -> Secret {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = ring::hmac::sign(&key, token.reveal().as_bytes());
    Secret::new(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_an_hmac() {
        // RFC 4231, test case 2.
        let found = proof(&Secret::new("what do ya want for nothing?"), &Secret::new("Jefe"));
        assert_eq!(found.reveal(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}

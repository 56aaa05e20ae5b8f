//! The needed calls of the Graph API.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::social::{Asking, Backoff, Feed, Http, Quota, Reply, Verdict, wait_while_blocked};

use super::Facebook;
use super::answer::{Answer, Usage, answer, usage};

/// The bucket of a token's calls, which all count together.
const CALLS: &str = "calls";

/// The replacement for a token in a text.
const HIDDEN: &str = "***";

/// A client for one token.
pub(super) struct Client {
    http: Http,
    quota: Quota,
    clock: SharedClock,
    version: String,
    /// The secrets that must not be seen, in every way that JSON and links write them.
    hidden: Vec<String>,
    calls: Cell<u64>,
}

/// An answer, or the reason why there is none.
#[derive(Debug)]
pub(super) enum Read {
    Page(Bytes, Usage),
    /// The request was too large: ask for fewer posts.
    TooMuch,
    /// The requested object doesn't exist.
    Missing(String),
    /// Facebook refuses a parameter.
    Refused(String),
    /// The token may not read the requested object.
    Forbidden(String),
}

impl Client {
    pub(crate) fn new(config: &Facebook, clock: SharedClock) -> Result<Self> {
        let http = Http::new(&config.base_url, clock.clone())?.with_bearer(&config.access_token)?;
        let mut hidden = written(config.access_token.reveal());
        let http = match &config.app_secret {
            Some(secret) => {
                let proof = proof(&config.access_token, secret);
                hidden.extend(written(proof.reveal()));
                http.with_parameter("appsecret_proof", &proof)
            }
            None => http,
        };
        let quota = Quota::of("facebook", config.access_token.reveal());
        Ok(Self {
            http,
            quota,
            clock,
            version: config.version.clone(),
            hidden,
            calls: Cell::new(0),
        })
    }

    /// Returns the number of calls that were made so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Returns true if a link of a page's `next` leads to the same server.
    pub(crate) fn is_ours(&self, link: &str) -> bool {
        self.http.is_ours(link)
    }

    /// Returns a page of posts.
    pub(crate) async fn page(
        &self,
        path: &str,
        query: &[(&str, &str)],
        feed: &Feed,
    ) -> Result<Read> {
        let path = format!("/{}/{path}", self.version);
        let request = async || {
            wait_while_blocked(&self.quota, CALLS, "limit reached", feed).await;
            self.calls.set(self.calls.get() + 1);
            Ok(self.http.get(&path, query).await)
        };
        let judge = |reply: Reply, _: &mut Backoff| {
            Ok(match self.judge(&reply) {
                Answer::Good => Verdict::Good(Read::Page(reply.body.clone(), usage(&reply))),
                Answer::TooMuch => Verdict::Stays(Read::TooMuch),
                Answer::Missing(why) => Verdict::Stays(Read::Missing(why)),
                Answer::Refused(why) => Verdict::Stays(Read::Refused(why)),
                Answer::Forbidden(why) => Verdict::Stays(Read::Forbidden(why)),
                Answer::Limited(_) => Verdict::Limited,
                Answer::Stop(why) => return Err(Error::fatal(why)),
                Answer::Busy(why) => Verdict::Again(why),
            })
        };
        let waits = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(300));
        Asking { feed, part: CALLS, of: "" }.until_answered(waits, request, judge).await
    }

    /// Judges an answer, and blocks further calls if a limit is reached.
    fn judge(&self, reply: &Reply) -> Answer {
        let found = answer(reply);
        let wait = match &found {
            Answer::Limited(wait) => Some(*wait),
            _ => usage(reply).wait,
        };
        if let Some(wait) = wait {
            self.quota.block(CALLS, self.clock.now() + wait);
        }
        // An error may repeat the request's parameters.
        let clean =
            |why: String| self.hidden.iter().fold(why, |why, hidden| why.replace(hidden, HIDDEN));
        match found {
            Answer::Stop(why) => Answer::Stop(clean(why)),
            Answer::Busy(why) => Answer::Busy(clean(why)),
            Answer::Missing(why) => Answer::Missing(clean(why)),
            Answer::Refused(why) => Answer::Refused(clean(why)),
            Answer::Forbidden(why) => Answer::Forbidden(clean(why)),
            other @ (Answer::Good | Answer::Limited(_) | Answer::TooMuch) => other,
        }
    }

    /// Returns posts by their ids: an object with each post under its id.
    pub(crate) async fn posts(&self, ids: &[String], fields: &str, feed: &Feed) -> Result<Read> {
        self.page("", &[("ids", &ids.join(",")), ("fields", fields)], feed).await
    }

    /// Returns Facebook's JSON without the token: links to further pages of comments may contain
    /// it.
    pub(crate) fn without_token(&self, json: &[u8]) -> Vec<u8> {
        self.hidden.iter().fold(json.to_vec(), |json, hidden| without(json, hidden.as_bytes()))
    }

    /// Checks that the token can read a page.
    ///
    /// # Errors
    /// If the page can't be read, or Facebook doesn't answer.
    pub(crate) async fn check(&self, page: &str) -> Result<()> {
        let reply = self.http.get(&format!("/{}/{page}", self.version), &[("fields", "id")]).await;
        let reply = reply
            .map_err(|failure| Error::transient(format!("can't reach Facebook: {failure}")))?;
        match self.judge(&reply) {
            Answer::Good | Answer::TooMuch => Ok(()),
            Answer::Limited(wait) => Err(Error::transient(format!(
                "Facebook's limit is reached: try again in {} s",
                wait.as_secs()
            ))),
            Answer::Busy(why) => Err(Error::transient(why)),
            Answer::Stop(why)
            | Answer::Missing(why)
            | Answer::Refused(why)
            | Answer::Forbidden(why) => Err(Error::fatal(format!("page {page}: {why}"))),
        }
    }
}

/// Returns the ways in which a secret is written: as it is, in a link (an app's token has a `|`),
/// and each of them in JSON that escapes slashes.
fn written(secret: &str) -> Vec<String> {
    let encoded = |upper: bool| -> String {
        let one = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        };
        secret.bytes().map(one).collect()
    };
    let mut ways =
        vec![secret.to_owned(), secret.replace('/', "\\/"), encoded(true), encoded(false)];
    ways.retain(|way| !way.is_empty());
    ways.sort_unstable();
    ways.dedup();
    ways
}

fn without(json: Vec<u8>, hidden: &[u8]) -> Vec<u8> {
    let mut from = 0;
    let mut clean = Vec::new();
    while let Some(at) = memmem::find(&json[from..], hidden) {
        clean.extend_from_slice(&json[from..from + at]);
        clean.extend_from_slice(HIDDEN.as_bytes());
        from += at + hidden.len();
    }
    if from == 0 {
        return json;
    }
    clean.extend_from_slice(&json[from..]);
    clean
}

/// Returns the HMAC-SHA256 of the token by the app's secret, in hexadecimal digits.
pub(super) fn proof(token: &Secret, secret: &Secret) -> Secret {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let tag = ring::hmac::sign(&key, token.reveal().as_bytes());
    Secret::new(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_hidden_however_a_link_writes_it() {
        let client = |token: &str| {
            let config = format!(
                r#"{{"topics":[{{"Page":"1"}}],"access_token":"{token}","app_secret":"s"}}"#
            );
            let config: Facebook = serde_json::from_str(&config).unwrap();
            Client::new(&config, crate::clock::SystemClock::shared()).unwrap()
        };
        let found = |token: &str, json: &str| {
            String::from_utf8(client(token).without_token(json.as_bytes())).unwrap()
        };
        assert_eq!(
            found("EAAB", r#"{"next":"https://h/?access_token=EAAB&a=1"}"#),
            r#"{"next":"https://h/?access_token=***&a=1"}"#
        );
        assert_eq!(found("12|ab", r#"["12%7Cab","12%7cab","12|ab"]"#), r#"["***","***","***"]"#);
        assert_eq!(found("a/b", r#"["a\/b","a/b","a%2Fb","c"]"#), r#"["***","***","***","c"]"#);
        let proof = proof(&Secret::new("EAAB"), &Secret::new("s"));
        assert_eq!(found("EAAB", proof.reveal()), "***");
    }

    #[test]
    fn a_proof_is_an_hmac() {
        // RFC 4231, test case 2.
        let found = proof(&Secret::new("what do ya want for nothing?"), &Secret::new("Jefe"));
        assert_eq!(
            found.reveal(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}

//! Requests to X, their rate limits, and repeated attempts.

use std::cell::Cell;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::social::{self, Asking, Body, Failure, Feed, Http, Quota, Reply, wait_while_blocked};

use super::X;
use super::answer::{Verdict, judge};
use super::fields::{Vocabulary, parameters};
use super::reconnect::{Reconnect, Trouble};

/// The buckets of calls that X counts together.
pub(super) const STREAM: &str = "stream";
pub(super) const RULES: &str = "rules";
pub(super) const SEARCH: &str = "search";
pub(super) const LOOKUP: &str = "lookup";
pub(super) const CONNECTIONS: &str = "connections";

const STREAM_PATH: &str = "/2/tweets/search/stream";
/// The length of X's longest window, and a minute.
const RESET_MAX: Duration = Duration::from_secs(16 * 60);

const RULES_PATH: &str = "/2/tweets/search/stream/rules";

/// A client of X for one bearer token.
pub(super) struct Api {
    http: Http,
    /// The calls that X allows the token.
    pub quota: Quota,
    /// The number of rules at the last look that this program made but this source didn't.
    pub foreign_rules: Cell<usize>,
    x: X,
    vocabulary: Cell<Vocabulary>,
}

/// An answer that tells something about the request itself.
pub(super) enum Answer {
    /// The requested data.
    Good(Reply),
    /// The account may not make this request.
    Forbidden(String),
    /// The request is wrong.
    Wrong(String),
}

impl Api {
    /// Makes a client from the configuration.
    ///
    /// # Errors
    /// Fatal if the address or the token can't be used.
    pub(crate) fn new(x: &X, clock: SharedClock) -> Result<Self> {
        let http = Http::new(&x.base_url, clock)?.with_bearer(&x.bearer_token)?;
        let quota = Quota::of("x", x.bearer_token.reveal());
        let (foreign_rules, vocabulary) = (Cell::default(), Cell::new(x.vocabulary));
        Ok(Self { http, quota, foreign_rules, x: x.clone(), vocabulary })
    }

    /// Waits while nothing of a bucket may be sent.
    pub(crate) async fn wait_for(&self, bucket: &str, feed: &Feed) {
        wait_while_blocked(&self.quota, bucket, "429", feed).await;
    }

    /// Notes the remaining calls from an answer's headers.
    fn learn(&self, bucket: &str, now: OffsetDateTime, header: impl Fn(&str) -> Option<i64>) {
        let reset = header("x-rate-limit-reset")
            .and_then(|reset| OffsetDateTime::from_unix_timestamp(reset).ok());
        if let (Some(0), Some(reset)) = (header("x-rate-limit-remaining"), reset) {
            self.quota.block(bucket, reset.min(now + RESET_MAX));
        }
    }

    /// Blocks a bucket after 429: until its window ends, and at least for the wait.
    pub(crate) fn limited(
        &self,
        bucket: &str,
        reset: Option<OffsetDateTime>,
        wait: Duration,
        now: OffsetDateTime,
    ) {
        // The first wait is the one that X prescribes for an answer without a reset time. With a
        // reset time, a second more is enough.
        let first = wait <= Duration::from_secs(60);
        // No window of X is longer than 15 minutes: a later reset time is a mistake.
        let until = match reset.filter(|reset| *reset > now).map(|reset| reset.min(now + RESET_MAX))
        {
            Some(reset) if first => reset + Duration::from_secs(1),
            Some(reset) => reset.max(now + wait),
            None => now + wait,
        };
        self.quota.block(bucket, until);
    }

    /// Repeats a request until there is an answer that another attempt wouldn't change.
    async fn ask(
        &self,
        bucket: &str,
        feed: &Feed,
        request: impl AsyncFn() -> Result<Reply, Failure>,
    ) -> Result<Answer> {
        let request = async || {
            self.wait_for(bucket, feed).await;
            Ok(request().await)
        };
        let judge = |reply: Reply, waits: &mut Reconnect| {
            self.learn(bucket, feed.now(), |name| reply.header(name)?.parse().ok());
            Ok(match judge(&reply) {
                Verdict::Good => social::Verdict::Good(Answer::Good(reply)),
                Verdict::Forbidden(why) => social::Verdict::Stays(Answer::Forbidden(why)),
                Verdict::Wrong(why) => social::Verdict::Stays(Answer::Wrong(why)),
                Verdict::Stop(why) => return Err(Error::fatal(why)),
                Verdict::Limited(reset) => {
                    let wait = waits.after(Trouble::Limited);
                    self.limited(bucket, reset, wait, feed.now());
                    social::Verdict::Limited
                }
                Verdict::Again(what) => social::Verdict::Again(what),
                Verdict::TooManyConnections | Verdict::NoRules => {
                    social::Verdict::Again("X answered as to a stream".into())
                }
            })
        };
        let asking = Asking { feed, part: bucket, of: bucket };
        asking.until_answered(Reconnect::new(), request, judge).await
    }

    /// Asks for posts, in the vocabulary that X accepts.
    async fn ask_posts(
        &self,
        bucket: &str,
        path: &str,
        feed: &Feed,
        own: &[(&str, &str)],
    ) -> Result<Answer> {
        loop {
            let vocabulary = self.vocabulary.get();
            let fields = parameters(&self.x, vocabulary);
            let query: Vec<_> = own
                .iter()
                .copied()
                .chain(fields.iter().map(|(name, value)| (*name, value.as_str())))
                .collect();
            let answer = self.ask(bucket, feed, async || self.http.get(path, &query).await).await?;
            match answer {
                Answer::Wrong(why)
                    if why.contains(vocabulary.parameter()) && vocabulary == self.x.vocabulary =>
                {
                    let other = vocabulary.other();
                    feed.say(format!(
                        "X refuses \"{}\", so \"{}\" is used; `vocabulary: {other:?}` in the configuration uses it from the start",
                        vocabulary.parameter(),
                        other.parameter()
                    ));
                    self.vocabulary.set(other);
                }
                answer => return Ok(answer),
            }
        }
    }

    /// Returns a page of recent search.
    ///
    /// # Errors
    /// Fatal if only a person can help.
    pub(crate) async fn search(&self, feed: &Feed, own: &[(&str, &str)]) -> Result<Answer> {
        self.ask_posts(SEARCH, "/2/tweets/search/recent", feed, own).await
    }

    /// Returns posts by their ids.
    ///
    /// # Errors
    /// Fatal if only a person can help.
    pub(crate) async fn lookup(&self, feed: &Feed, ids: &str) -> Result<Answer> {
        self.ask_posts(LOOKUP, "/2/tweets", feed, &[("ids", ids)]).await
    }

    /// Returns a page of the app's rules.
    ///
    /// # Errors
    /// Fatal if only a person can help.
    pub(crate) async fn rules(&self, feed: &Feed, next: Option<&str>) -> Result<Answer> {
        let query: Vec<_> = next.map(|next| ("pagination_token", next)).into_iter().collect();
        self.ask(RULES, feed, async || self.http.get(RULES_PATH, &query).await).await
    }

    /// Adds or deletes rules.
    ///
    /// # Errors
    /// Fatal if only a person can help.
    pub(crate) async fn change_rules(&self, feed: &Feed, change: &str) -> Result<Answer> {
        self.ask(RULES, feed, async || self.http.post(RULES_PATH, &[], change.to_owned()).await)
            .await
    }

    /// Lets X check rules once, without making them.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn try_rules(&self, change: String) -> Result<Reply, Failure> {
        self.http.post(RULES_PATH, &[("dry_run", "true")], change).await
    }

    /// Asks for one page of the search, once.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn try_search(&self, query: &str) -> Result<Reply, Failure> {
        self.http.get("/2/tweets/search/recent", &[("query", query), ("max_results", "10")]).await
    }

    /// Ends all connections of the app. Returns true if X did so.
    pub(crate) async fn free_connections(&self, feed: &Feed) -> bool {
        if self.quota.blocked(CONNECTIONS, feed.now()).is_some() {
            return false;
        }
        let Ok(reply) = self.http.delete("/2/connections/all", &[]).await else { return false };
        self.learn(CONNECTIONS, feed.now(), |name| reply.header(name)?.parse().ok());
        if let Verdict::Limited(reset) = judge(&reply) {
            self.limited(CONNECTIONS, reset, Duration::from_secs(60), feed.now());
        }
        reply.is_ok()
    }

    /// Opens the stream, and returns its answer with any status.
    ///
    /// # Errors
    /// If there is no answer.
    pub(crate) async fn open(&self, backfill_minutes: u8, feed: &Feed) -> Result<Body, Failure> {
        // The newer specification, which renames the fields elsewhere, has the old names here too.
        let mut query = parameters(&self.x, Vocabulary::Tweet);
        if backfill_minutes > 0 {
            query.push(("backfill_minutes", backfill_minutes.to_string()));
        }
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = self.http.open(STREAM_PATH, &query, &[]).await?;
        self.learn(STREAM, feed.now(), |name| body.header(name)?.parse().ok());
        Ok(body)
    }
}

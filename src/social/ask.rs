//! Asking a platform until there is an answer that stays: limits and outages are waited out.

use std::time::Duration;

use super::{Backoff, Failure, Feed, Quota, Reply};
use crate::error::Result;

/// What an answer says.
pub enum Verdict<T> {
    /// It is what was asked for: the part works.
    Good(T),
    /// Another attempt would change nothing.
    Stays(T),
    /// Nothing more may be sent for now. The quota that the request waits for knows until when.
    Limited,
    /// The same request may succeed later. It failed for this reason.
    Again(String),
}

/// The reason why an attempt gave no answer that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody answered, or an answer broke off.
    Unreachable,
    /// The platform answered that it can't.
    Busy,
}

/// The waits between attempts.
pub trait Waits {
    /// Returns the wait after an attempt.
    fn after(&mut self, unanswered: Unanswered) -> Duration;
}

impl Waits for Backoff {
    fn after(&mut self, _: Unanswered) -> Duration {
        self.next_with_jitter()
    }
}

/// Who asks, as people who watch see it.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The feed that the answers are for.
    pub feed: &'a Feed,
    /// The part of the source that fails while there is no answer.
    pub part: &'a str,
    /// What causes are said of, in front of them; may be empty.
    pub of: &'a str,
}

impl Asking<'_> {
    /// Makes a request until there is an answer that stays. `request` waits until it may be sent,
    /// and `judge` says what an answer means; it gets the waits, for an answer that says no time.
    ///
    /// # Errors
    /// Those of `request` and `judge`, which end the source.
    pub async fn until_answered<T, W: Waits>(
        self,
        mut waits: W,
        request: impl AsyncFn() -> Result<std::result::Result<Reply, Failure>>,
        judge: impl Fn(Reply, &mut W) -> Result<Verdict<T>>,
    ) -> Result<T> {
        loop {
            let (why, unanswered) = match request().await? {
                Err(failure) => (failure.to_string(), Unanswered::Unreachable),
                Ok(reply) => match judge(reply, &mut waits)? {
                    Verdict::Good(answer) => {
                        self.feed.works(self.part);
                        return Ok(answer);
                    }
                    Verdict::Stays(answer) => return Ok(answer),
                    Verdict::Limited => continue,
                    Verdict::Again(why) => (why, Unanswered::Busy),
                },
            };
            self.failed(&why, waits.after(unanswered)).await;
        }
    }

    /// Says that an attempt failed, and waits.
    pub async fn failed(self, why: &str, wait: Duration) {
        let cause = if self.of.is_empty() { why.to_owned() } else { format!("{}: {why}", self.of) };
        let then = format!("asks again in {:.0} s", wait.as_secs_f64().ceil());
        self.feed.attempt_failed(self.part, &cause, &then);
        self.feed.sleep(wait).await;
    }
}

/// Waits while nothing of a bucket may be sent, and shows `<why> until 23:59:10` meanwhile.
pub async fn wait_while_blocked(quota: &Quota, bucket: &str, why: &str, feed: &Feed) {
    while let Some(until) = quota.blocked(bucket, feed.now()) {
        feed.sleep_until(why, until).await;
    }
}

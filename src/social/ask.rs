//! Repeats a request to a platform until there is a final answer; limits and outages are waited
//! out.

use std::time::Duration;

use super::{Backoff, Failure, Feed, Quota, Reply};
use crate::error::Result;

/// The meaning of an answer.
pub enum Verdict<T> {
    /// The answer has the requested data: the part works.
    Good(T),
    /// The answer is final: another attempt would change nothing.
    Stays(T),
    /// Nothing more may be sent for now. The quota that the request waits for knows until when.
    Limited,
    /// The same request may succeed later. The text is the reason of the failure.
    Again(String),
}

/// The reason why an attempt gave no final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody answered, or an answer broke off.
    Unreachable,
    /// The platform answered that it can't serve the request now.
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

/// The context of a request, as people who watch see it.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The feed that the answers are for.
    pub feed: &'a Feed,
    /// The part of the source that fails while there is no answer.
    pub part: &'a str,
    /// The subject that stands in front of each cause; may be empty.
    pub of: &'a str,
}

impl Asking<'_> {
    /// Repeats a request until there is a final answer. `request` waits until it may be sent.
    /// `judge` says what an answer means; it gets `waits` too, to prolong the wait if an answer
    /// names no time.
    ///
    /// # Errors
    /// If `request` or `judge` fails; such an error ends the source.
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

    /// Reports that an attempt failed, and waits.
    pub async fn failed(self, why: &str, wait: Duration) {
        let cause = if self.of.is_empty() { why.to_owned() } else { format!("{}: {why}", self.of) };
        let then = format!("asks again in {:.0} s", wait.as_secs_f64().ceil());
        self.feed.attempt_failed(self.part, &cause, &then);
        self.feed.sleep(wait).await;
    }
}

/// Waits while nothing of a bucket may be sent; the state shows `<why> until 23:59:10`.
pub async fn wait_while_blocked(quota: &Quota, bucket: &str, why: &str, feed: &Feed) {
    while let Some(until) = quota.blocked(bucket, feed.now()) {
        feed.sleep_until(why, until).await;
    }
}

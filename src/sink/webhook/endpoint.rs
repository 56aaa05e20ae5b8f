//! The endpoint that all tasks of a sink share: one client, one pace, and what an answer means.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use super::Webhook;
use super::pace::{Pace, RETRY_AFTER_MAX};
use super::signature::Signature;
use crate::clock::{SharedClock, SystemClock};
use crate::error::{Error, Result};
use crate::net::answer::Meaning;
use crate::net::http::{self, Failure, Headers, Http, Reply};
use crate::net::limits::said;
use crate::net::retry_after::retry_after;
use crate::secret::{Redactor, Secret};

/// Headers whose values are no secrets, whatever stands in them.
const PLAIN_HEADERS: [&str; 5] = ["accept", "content-type", "user-agent", "from", "x-title"];

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The endpoint has it.
    Sent,
    /// The endpoint will never take this body.
    Refused(String),
    /// It may be taken later.
    Later {
        /// Why it isn't now.
        cause: String,
        /// For how long the endpoint asks to be left alone.
        retry_after: Option<Duration>,
        /// True if the tuple itself may be what is wrong, and not only that there are too many.
        may_be_the_tuple: bool,
    },
}

/// An endpoint.
pub(crate) struct Endpoint {
    http: Http,
    method: &'static str,
    headers: Headers,
    idempotency_header: String,
    signature: Option<Signature>,
    redactor: Redactor,
    clock: SharedClock,
    pace: Mutex<Pace>,
}

impl Endpoint {
    /// Nothing is sent yet: an endpoint that is down delays no start.
    ///
    /// # Errors
    /// Fatal if the address or a header is none.
    pub(crate) fn new(config: &Webhook, clock: SharedClock) -> Result<Self> {
        if !http::is_address(&config.url) {
            return Err(Error::fatal(
                "bad url of a webhook: expected such as \"https://host/path\"",
            ));
        }
        let mut headers = Headers::default();
        let mut secrets = http::hidden_parts(&config.url);
        for (name, value) in &config.headers {
            headers.set(name, value).map_err(|what| {
                Error::fatal(format!("bad header \"{name}\" of a webhook: {what}"))
            })?;
            if !PLAIN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                secrets.extend(value.split_ascii_whitespace().map(Secret::new));
                secrets.push(Secret::new(value));
            }
        }
        secrets.extend(config.signature.iter().map(|signature| signature.secret.clone()));
        Ok(Self {
            http: Http::new(&config.url, clock.clone())?,
            method: config.method.name(),
            headers,
            idempotency_header: config.idempotency_header.clone(),
            signature: config.signature.clone(),
            redactor: Redactor::new(&secrets),
            clock,
            pace: Mutex::new(Pace::new(config.rate)),
        })
    }

    /// Scheme, host and port: the rest of the address may be a secret.
    pub(crate) fn name(&self) -> String {
        self.http.origin()
    }

    /// How long to wait before a request may begin.
    pub(crate) fn wait(&self) -> Duration {
        self.pace().wait(self.clock.monotonic())
    }

    /// Begins a request, if one may begin now; else says how long to wait.
    pub(crate) fn begin(&self) -> Result<Duration, Duration> {
        let (mut pace, now) = (self.pace(), self.clock.monotonic());
        match pace.wait(now) {
            Duration::ZERO => {
                pace.begin(now);
                Ok(now)
            }
            wait => Err(wait),
        }
    }

    /// Sends a body, after [`begin`](Self::begin).
    pub(crate) async fn send(
        &self,
        begun: Duration,
        key: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Outcome {
        let outcome = match self.request_headers(key, content_type, &body) {
            Ok(headers) => match self.http.send(self.method, &headers, Bytes::from(body)).await {
                Ok(reply) => self.outcome(&reply),
                Err(failure) => later(self.redactor.clean(&told(&failure)), None, true),
            },
            Err(what) => later(what.to_owned(), None, true),
        };
        match &outcome {
            Outcome::Sent | Outcome::Refused(_) => self.pace().worked(),
            Outcome::Later { retry_after, .. } => {
                let now = self.clock.monotonic();
                self.pace().failed(begun, now, *retry_after, rand::random());
            }
        }
        outcome
    }

    fn request_headers(
        &self,
        key: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<Headers, &'static str> {
        let mut headers = self.headers.clone();
        if !headers.has("content-type") {
            headers.set("content-type", content_type)?;
        }
        headers.set(&self.idempotency_header, key)?;
        if let Some(signature) = &self.signature {
            let now = self.clock.now().unix_timestamp();
            headers.set(&signature.header, &signature.of(now, body))?;
        }
        Ok(headers)
    }

    fn outcome(&self, reply: &Reply) -> Outcome {
        let text = self.redactor.clean(&String::from_utf8_lossy(&reply.body));
        outcome(reply, &said(text.trim()), self.method, self.clock.now())
    }

    /// It is never left half-changed, so a panic elsewhere doesn't matter.
    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds out whether an endpoint's server answers, without sending it anything that it could take
/// for a tuple: a HEAD request for the root of its host, without headers, path and query of the
/// address. Any answer will do.
///
/// # Errors
/// If there is no answer.
pub(crate) async fn check_reachable(url: &str) -> Result<String> {
    let clock = SystemClock::shared();
    let origin = Http::new(url, clock.clone())?.origin();
    let root = Http::new(&origin, clock)?;
    match root.send("HEAD", &Headers::default(), Bytes::new()).await {
        Ok(reply) => Ok(format!(
            "{origin} answers (status {} to a HEAD request for /); no event was sent, so whether the \
             endpoint takes events isn't known",
            reply.status
        )),
        Err(failure) => Err(Error::transient(format!(
            "can't reach {origin} of the webhook: {}",
            told(&failure)
        ))),
    }
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::Network(what) => format!("no answer: {what}"),
        other => other.to_string(),
    }
}

fn later(cause: String, retry_after: Option<Duration>, may_be_the_tuple: bool) -> Outcome {
    Outcome::Later { cause, retry_after, may_be_the_tuple }
}

/// What an answer means for the tuple that was sent. `text` is what the endpoint says besides.
pub(super) fn outcome(reply: &Reply, text: &str, method: &str, now: OffsetDateTime) -> Outcome {
    let meaning = Meaning::of_status(reply.status);
    let hint = match meaning {
        Meaning::MovedForNow | Meaning::MovedForGood => "a redirect, which isn't followed".into(),
        Meaning::Denied => "it doesn't let us in".into(),
        Meaning::Absent => "there is nothing at this address".into(),
        Meaning::NotSupported => format!("it takes no {method}"),
        Meaning::Limited => "too many requests".into(),
        _ => String::new(),
    };
    let mut cause = format!("status {}", reply.status);
    for part in [hint.as_str(), text].into_iter().filter(|part| !part.is_empty()) {
        cause = format!("{cause}: {part}");
    }
    match meaning {
        Meaning::Done => Outcome::Sent,
        Meaning::Wrong | Meaning::ConditionFailed => Outcome::Refused(cause),
        // Whatever else it is, no other body would help: it waits until the endpoint, its address
        // or the right to ask it has changed.
        _ => {
            let asked = reply
                .header("retry-after")
                .and_then(|header| retry_after(header, reply.header("date"), now))
                .map(|asked| asked.min(RETRY_AFTER_MAX));
            if let Some(asked) = asked {
                cause = format!("{cause} (asks to be left alone for {} s)", asked.as_secs());
            }
            later(cause, asked, meaning != Meaning::Limited)
        }
    }
}

//! `Webhook`: sends tuples to an endpoint over HTTP.
//!
//! ```text
//!  write ─▶ outbox of rows ─ barrier ─▶ promise ─ commit ─▶ Deliveries ─▶ Endpoint ─▶ the world
//!           (this machine's disk)                           notes on      pace, signature,
//!                                                           each row      what an answer means
//! ```

mod bodies;
mod deliver;
mod endpoint;
mod notes;
mod pace;
mod rate;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::bodies::Bodies;
use self::deliver::Deliveries;
use self::endpoint::Endpoint;
use super::outbox::{self, Outbox, OutboxBound};
use super::{Delivered, OnFull, Sink, SinkConfig, SinkContext};
use crate::bolt::jq::{BodyTemplate, steps_usual};
use crate::clock::SharedClock;
use crate::component::{Component, Problem};
use crate::detached::Detached;
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::Result;
use crate::net::http::{self, Headers};
use crate::net::runtime::runtime;
use crate::tuple::{Fields, Tuple};
use crate::units::ByteSize;

pub use self::rate::Rate;
pub use self::signature::Signature;

/// The most requests that a task has under way at once. More would only cost connections.
const AT_ONCE_MAX: u32 = 256;

/// Headers that belong to the client.
const OWN_HEADERS: [&str; 8] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "expect",
    "te",
    "trailer",
];

/// Sends each tuple to an endpoint over HTTP, as a JSON object of its fields, or as `template`
/// says. Alerts to a chat, a pager, or a program of your own:
///
/// Slack: `Webhook(url: Env("SLACK_URL"), rate: "1/s", template: r#"{blocks: [{type: "section",
/// text: {type: "plain_text", text: "\(.key): \(.why)"}}]}"#)` (in plain text, what people write
/// can't be a mention of everybody)
///
/// Discord: `Webhook(url: Env("DISCORD_URL"), rate: "5/2s", template: r#"{content: "**\(.key)**:
/// \(.why)", allowed_mentions: {parse: []}}"#)`
///
/// An endpoint of your own: `Webhook(url: "https://alerts.example/trends", headers:
/// {"Authorization": Env("ALERT_TOKEN")}, signature: (secret: Env("ALERT_SECRET")))`
///
/// A tuple is sent at least once. Each request carries an idempotency key, which is the same
/// whenever the same tuple is sent again, and no other tuple's: an endpoint that remembers the keys
/// of a day gets each tuple once. Tuples are sent in the order in which they came to the task,
/// unless one has to be sent again, or `at_once` is above 1.
///
/// An answer of the 200s is all that is needed. A tuple that the endpoint refuses for good (400,
/// 413, 422 and others by which it says that this body is wrong) becomes a dead letter. Whatever
/// else happens may pass, and the tuple waits: no answer, 429, 500, also 401, 404 or a redirect,
/// which is never followed. The component's state says what it waits for, and since when. The
/// pauses between tries grow up to a minute, and `Retry-After` is kept, up to an hour. A tuple that
/// alone can't be sent lets others pass after three tries.
///
/// What isn't sent yet is on this machine's disk, in the topology's state, and so a slow or dead
/// endpoint delays no checkpoint and no other sink. A replay (`run --replay`) sends again what the
/// live run has sent, under other keys.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The address. Those of Slack and Discord are secrets as a whole: `Env("SLACK_URL")`. Messages
    /// show no more than its host.
    pub url: String,
    /// The method.
    #[serde(default)]
    pub method: Method,
    /// Further headers. Secrets among them, such as `Authorization`, take `Env` or `File` only, and
    /// then the value is the whole line: `Bearer …`. `Content-Type` takes the place of the one that
    /// the body would have.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, HeaderText>")]
    pub headers: BTreeMap<String, String>,
    /// A jq expression that makes the body, as in `Jq`: it gets the post, or an object of all
    /// fields where the input has no field `post`, and `$tuple` is an object of the other fields.
    /// An object or a list is sent as JSON, a text as plain text, and a tuple for which it gives no
    /// value (`empty`) isn't sent. It is checked before anything starts; a tuple on which it fails
    /// goes the way of `on_error`. Without it: the tuple's fields as JSON, a post as it came.
    #[serde(default)]
    pub template: Option<String>,
    /// The steps that the template may take for one tuple, as in `Jq`.
    #[serde(default = "steps_usual")]
    pub max_steps: NonZeroU32,
    /// How many requests may begin in any time of some length, over all tasks of this process:
    /// `"1/s"`, `"30/m"`, `"5/2s"`. Without it: as fast as the endpoint answers.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// How many requests each task has under way at once. With more than 1 the order of tuples
    /// isn't kept.
    #[serde(default = "at_once")]
    pub at_once: NonZeroU32,
    /// Signs each request with HMAC-SHA256: `(secret: Env("ALERT_SECRET"))`. The header
    /// `Waterspout-Signature` (`header` names another) is `t=1700000000,v1=<hex>`; the digits are
    /// the HMAC of the number behind `t=`, a full stop, and the body. `docs/src/outputs.md` shows
    /// how to verify it.
    #[serde(default)]
    pub signature: Option<Signature>,
    /// The header with the idempotency key.
    #[serde(default = "idempotency_header")]
    pub idempotency_header: String,
    /// The bound on what each task keeps on this machine's disk that isn't sent.
    #[serde(default = "outbox_usual")]
    pub outbox: ByteSize,
    /// What happens beyond it: the spouts upstream pause until half of it is sent, or what doesn't
    /// fit is dropped, and counted.
    #[serde(default)]
    pub on_full: OnFull,
    #[serde(skip)]
    shared: SharedEndpoint,
}

/// How bodies are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Method {
    /// Nearly all endpoints take it.
    #[default]
    Post,
    /// For endpoints that name it.
    Put,
    /// For endpoints that name it.
    Patch,
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// The value of a header, in the schema: one whose name says that it is a secret comes from outside.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "header"))]
#[allow(dead_code, reason = "it is a schema only")]
struct HeaderText(String);

fn at_once() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn idempotency_header() -> String {
    "Idempotency-Key".into()
}

fn outbox_usual() -> ByteSize {
    ByteSize(1 << 30)
}

/// The endpoint of all tasks, once the first of them was made: they share its pace.
#[derive(Clone, Default)]
struct SharedEndpoint(Arc<Mutex<Option<Arc<Endpoint>>>>);

impl SharedEndpoint {
    fn get(&self, config: &Webhook, clock: &SharedClock) -> Result<Arc<Endpoint>> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = &*shared {
            return Ok(Arc::clone(endpoint));
        }
        let endpoint = Arc::new(Endpoint::new(config, clock.clone())?);
        Ok(Arc::clone(shared.insert(endpoint)))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the address nor the headers.
        f.debug_struct("Webhook").field("template", &self.template).finish_non_exhaustive()
    }
}

impl Component for Webhook {
    const NAME: &'static str = "Webhook";
    const GUARANTEE: &'static str = "each tuple of a completed checkpoint is sent at least once, with one idempotency key however \
         often; what the endpoint refuses for good becomes one dead letter; what isn't sent yet depends \
         on this machine's disk, and what on_full: Drop drops is counted";
}

fn problem(field: &'static str, what: impl Into<String>) -> Problem {
    Problem { field, what: what.into(), candidates: None }
}

impl Webhook {
    fn problems_of_headers(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut all = Headers::default();
        for (name, value) in &self.headers {
            if let Err(what) = all.set(name, value) {
                problems.push(problem("headers", format!("bad header \"{name}\": {what}")));
            }
            if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                let what = format!("the header \"{name}\" belongs to the client: leave it out");
                problems.push(problem("headers", what));
            }
        }
        let signature = self.signature.iter().map(|signed| ("signature", signed.header.as_str()));
        let own = [("idempotency_header", self.idempotency_header.as_str())];
        for (field, name) in own.into_iter().chain(signature) {
            if all.has(name) {
                let what = format!("the header \"{name}\" is set twice: name another");
                problems.push(problem(field, what));
            } else if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                problems
                    .push(problem(field, format!("the header \"{name}\" belongs to the client")));
            } else if let Err(what) = all.set(name, "") {
                problems.push(problem(field, format!("bad header \"{name}\": {what}")));
            }
        }
        problems
    }
}

impl SinkConfig for Webhook {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let mut problems = self.problems_of_headers();
        if !http::is_address(&self.url) {
            // It isn't repeated: it may be a secret that lacks its scheme.
            problems.push(problem("url", "bad url: expected such as \"https://host/path\""));
        }
        if let Some(code) = &self.template {
            problems.extend(BodyTemplate::problem("template", code, self.max_steps));
        }
        if self.signature.as_ref().is_some_and(|signed| signed.secret.reveal().is_empty()) {
            problems.push(problem("signature", "expected a secret, found an empty one"));
        }
        if self.at_once.get() > AT_ONCE_MAX {
            problems.push(problem("at_once", format!("expected at most {AT_ONCE_MAX}")));
        }
        if self.outbox.0 == 0 {
            problems.push(problem(
                "outbox",
                "expected a size above 0, since everything goes through it",
            ));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        runtime()?.block_on(endpoint::check_reachable(&self.url)).map(Some)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let bound = OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full };
        let outbox = Outbox::open(&context, bound)?;
        let task = Arc::new(Detached::default());
        let deliveries = Deliveries::new(
            self.shared.get(self, &context.clock)?,
            Bodies::new(self, &context.inputs)?,
            self.at_once.get() as usize,
            context.clock.clone(),
            Arc::clone(&task),
        );
        let bodies = Bodies::new(self, &context.inputs)?;
        let deliveries = Arc::new(deliveries);
        Ok(Box::new(WebhookSink { outbox, bodies, deliveries, task, is_last: false }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        outbox::place(context)
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        outbox::recover(place, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        (self.on_full == OnFull::Pause).then_some(self.outbox.0)
    }
}

/// One task.
struct WebhookSink {
    outbox: Outbox,
    bodies: Bodies,
    deliveries: Arc<Deliveries>,
    task: Arc<Detached>,
    /// The last barrier has come: what is promised now has to be delivered.
    is_last: bool,
}

impl Sink for WebhookSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        // A tuple that has no body is known as soon as it comes, where `on_error` decides. The body
        // is made anew when it is sent: what is kept is the tuple, for a dead letter.
        if self.bodies.has_template() && self.bodies.of(tuple)?.is_none() {
            return Ok(());
        }
        self.outbox.write(tuple)
    }

    fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.is_last |= barrier.last;
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let (task, is_last) = (Arc::clone(&self.task), self.is_last);
        let deliveries = Arc::clone(&self.deliveries);
        let reader = Arc::new(self.outbox.reader(&promises));
        let promises = Arc::new(promises);
        Box::new(move || {
            if promises.is_empty() {
                return Ok(Delivered::default());
            }
            let (deliveries, reader) = (Arc::clone(&deliveries), Arc::clone(&reader));
            let promises = Arc::clone(&promises);
            task.run("webhook", move || {
                runtime()?.block_on(deliveries.deliver(&reader, &promises, is_last))
            })
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        self.outbox.forgotten(segments)
    }
}

impl Drop for WebhookSink {
    fn drop(&mut self) {
        // An endpoint that doesn't answer mustn't hold up whoever goes back to a checkpoint.
        self.task.stop();
    }
}

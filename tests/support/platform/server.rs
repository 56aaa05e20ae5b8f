//! The server's connections, request by request: first the faults, then the credentials, then the
//! limits, then the answer.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::errors;
use super::faults::Fault;
use super::http::{Request, Response, Wire};
use super::log::Seen;
use super::place::Place;
use super::shared::{Allowance, Inner, Shared, disturb};
use super::socket;
use super::stream::{Feed, Running, Transport};
use super::world::{Kind, iso, now_us};
use super::{bluesky, facebook, mastodon, x, youtube};

/// Accepts connections, without an end.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.lock().accepted += 1;
        tokio::spawn(serve(Arc::clone(&shared), stream));
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(request)) = wire.request().await {
        match handle(&shared, wire, &request).await {
            Some(again) => wire = again,
            None => return,
        }
    }
}

/// The outcome of a request.
enum Outcome {
    Answer(Response),
    /// A stream, and the number of times that its platform had ended all streams before.
    Stream(Box<dyn Feed>, u64),
}

/// Handles a request. Returns the connection if it can take another request.
async fn handle(shared: &Arc<Shared>, mut wire: Wire, request: &Request) -> Option<Wire> {
    let place = Place::of(&request.method, &request.path);
    let (number, fault) = {
        let mut inner = shared.lock();
        let seen = Seen::new(now_us(), place, request, &inner.tokens.all());
        inner.log.push(seen);
        (inner.log.len() - 1, inner.faults.for_answer(place))
    };
    match fault {
        Some(Fault::Slow(time)) => sleep(time).await,
        Some(Fault::Refuse | Fault::Reset) => {
            wire.reset();
            return None;
        }
        Some(Fault::Close | Fault::Disconnect) => return None,
        Some(Fault::Stall(time)) => {
            tokio::select! {
                () = sleep(time) => {}
                () = wire.ended() => {}
            }
            return None;
        }
        _ => {}
    }
    let outcome = {
        let mut inner = shared.lock();
        let outcome = refused(place, fault.as_ref())
            .map_or_else(|| inner.outcome(request, place, number), Outcome::Answer);
        let seen = &mut inner.log[number];
        let gives;
        (seen.status, gives) = match &outcome {
            Outcome::Answer(answer) => (answer.status, answer.status == 200),
            Outcome::Stream(feed, _) => (200, feed.gives()),
        };
        seen.gives_us = gives.then_some(seen.at_us);
        outcome
    };
    match outcome {
        Outcome::Answer(answer) => send(shared, wire, answer, fault, number).await,
        Outcome::Stream(feed, ends) => {
            stream(shared, wire, request, feed, place, number, ends).await
        }
    }
}

/// Returns the answer of a fault that has one.
fn refused(place: Place, fault: Option<&Fault>) -> Option<Response> {
    Some(match fault? {
        Fault::Status(status) => errors::status(place.kind(), *status),
        Fault::Answer(status, body) => Response::json(*status, body),
        Fault::Code(code, subcode) => errors::facebook_code(*code, *subcode),
        Fault::RateLimited(time) => {
            errors::limited(place, (now_us() + time.as_micros() as i64).div_euclid(1_000_000) + 1)
        }
        Fault::TooManyConnections => errors::too_many_connections(),
        Fault::QuotaExceeded => errors::quota(place.kind()),
        _ => return None,
    })
}

/// Sends an answer, or a part of it.
async fn send(
    shared: &Arc<Shared>,
    mut wire: Wire,
    mut answer: Response,
    fault: Option<Fault>,
    number: usize,
) -> Option<Wire> {
    let body = std::str::from_utf8(&answer.body).unwrap_or_default().to_owned();
    let mut cut = None;
    match &fault {
        Some(fault @ (Fault::Duplicate | Fault::Reorder)) => {
            if let Ok(mut json) = serde_json::from_str(&body) {
                disturb(&mut json, &mut shared.lock().random, *fault == Fault::Duplicate);
                answer.body = json.to_string().into_bytes();
            }
        }
        Some(Fault::Partial) if answer.status == 200 => {
            if let Ok(mut json @ serde_json::Value::Object(_)) = serde_json::from_str(&body) {
                json["errors"] = json!([x::not_found("1")]);
                answer.body = json.to_string().into_bytes();
            }
        }
        Some(Fault::Garbage) => answer.body = b"<html>not what you wanted".to_vec(),
        Some(Fault::CutLine) => cut = Some(body.len() / 2),
        Some(Fault::CutCharacter) => {
            cut = (0..body.len()).find(|at| !body.is_char_boundary(*at)).or(Some(body.len() / 2))
        }
        _ => {}
    }
    if matches!(fault, Some(Fault::Garbage | Fault::CutLine | Fault::CutCharacter)) {
        shared.lock().world.withdraw(number);
    }
    let bytes = answer.bytes();
    if let Some(cut) = cut {
        let _ = wire.write(&bytes[..bytes.len() - body.len() + cut]).await;
        return None;
    }
    wire.write(&bytes).await.ok()?;
    Some(wire)
}

async fn stream(
    shared: &Arc<Shared>,
    mut wire: Wire,
    request: &Request,
    feed: Box<dyn Feed>,
    place: Place,
    number: usize,
    ends: u64,
) -> Option<Wire> {
    let mut running = Running {
        shared: Arc::clone(shared),
        feed,
        transport: Transport::Chunked,
        place,
        request: number,
        ends,
        held: Vec::new(),
    };
    let head = match socket::key(request) {
        Some(key) => {
            running.transport = Transport::Socket;
            socket::accept(key, request)
        }
        None if place.kind() == Kind::Toot => {
            Response { status: 200, headers: vec![], body: vec![] }
                .with("Content-Type", "text/event-stream")
                .endless()
        }
        None => Response { status: 200, headers: vec![], body: vec![] }
            .with("Content-Type", "application/json")
            .endless(),
    };
    match wire.write(&head).await {
        Ok(()) => running.run(wire).await,
        Err(_) => {
            shared.change(|inner| running.feed.ended(inner));
            None
        }
    }
}

impl Inner {
    /// Notes that an answer gives posts from now on.
    pub(crate) fn gives(&mut self, number: usize) {
        self.log[number].gives_us.get_or_insert_with(now_us);
    }

    fn outcome(&mut self, request: &Request, place: Place, number: usize) -> Outcome {
        let kind = place.kind();
        if !place.is_open() {
            if let Err(bad) = self.tokens.check(request, kind) {
                return Outcome::Answer(errors::unauthorized(kind, bad));
            }
            self.log[number].authorized = true;
        }
        let allowance = self
            .settings
            .limits
            .get(&place)
            .copied()
            .map(|(limit, window)| self.allow(place, limit, window));
        if let Some(allowance) = allowance.filter(|allowance| allowance.over) {
            return Outcome::Answer(errors::limited(place, allowance.reset));
        }
        let begun = match place {
            Place::XStream => Some(x::begin(self, request)),
            Place::Jetstream => Some(bluesky::begin(self, request)),
            Place::MastodonStream => Some(mastodon::begin(self, request, number)),
            _ => None,
        };
        let answer = match begun {
            Some(Ok(feed)) => {
                return Outcome::Stream(feed, self.ended.get(&kind).copied().unwrap_or_default());
            }
            Some(Err(answer)) => answer,
            None => self.answer(request, place, number),
        };
        Outcome::Answer(
            allowance.map_or(answer.clone(), |allowance| labelled(answer, kind, allowance)),
        )
    }

    fn allow(&mut self, place: Place, limit: u64, window: Duration) -> Allowance {
        // Mastodon counts all requests of an account together.
        let counted = if place.kind() == Kind::Toot { Place::MastodonTimeline } else { place };
        self.used.count(counted, limit, window)
    }

    fn answer(&mut self, request: &Request, place: Place, number: usize) -> Response {
        match place {
            Place::XRules => x::rules(self, request),
            Place::XRulesChange => x::change_rules(self, request),
            Place::XRecent => x::recent(self, request, number),
            Place::XLookup => x::lookup(self, request, number),
            Place::XConnections => x::connections(self, request),
            Place::FacebookPosts => facebook::posts(self, request, number),
            Place::FacebookRead => facebook::read(self, request, number),
            Place::YouTubeSearch
            | Place::YouTubeVideos
            | Place::YouTubePlaylist
            | Place::YouTubeChannels => youtube::answer(self, request, place, number),
            Place::BlueskyPosts => bluesky::posts(self, request, number),
            Place::MastodonInstance => mastodon::instance(self),
            Place::MastodonHealth => Response::text(200, "text/plain", "OK".into()),
            Place::MastodonTimeline => mastodon::timeline(self, request, number),
            Place::MastodonStatus => mastodon::status(self, request, number),
            _ => Response::json(404, &json!({"error": "Not Found"})),
        }
    }
}

/// Adds the headers that tell the remaining requests.
fn labelled(answer: Response, kind: Kind, allowance: Allowance) -> Response {
    let Allowance { limit, remaining, reset, .. } = allowance;
    match kind {
        Kind::Tweet => answer
            .with("x-rate-limit-limit", limit)
            .with("x-rate-limit-remaining", remaining)
            .with("x-rate-limit-reset", reset),
        Kind::Toot => answer
            .with("X-RateLimit-Limit", limit)
            .with("X-RateLimit-Remaining", remaining)
            .with("X-RateLimit-Reset", iso(reset * 1_000_000)),
        _ => answer,
    }
}

//! Streams, which are connected again whenever they are lost.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{Either, select, try_join_all};
use time::OffsetDateTime;

use crate::clock::SharedClock;
use crate::error::Result;
use crate::net::answer::Meaning as Status;
use crate::social::{
    Backoff, Feed, Http, Platform, Refused as NoSocket, Socket, Source, delete_on, post,
};

use super::api::{Api, Refused, bad_token};
use super::event::{Meaning, read};
use super::fill;
use super::limits::{Answer, decide, is_about_the_token};
use super::place::Place;
use super::subscription::Subscription;
use super::wire::{Heard, Wire};
use super::{Mastodon, Transport};

/// The first and the longest wait before connecting or asking again; Mastodon prescribes nothing.
/// Waits begin with the first again once something came.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(5 * 60);

/// The silence after which a connection counts as dead: a heartbeat comes every 15 s, and pings
/// every 30 s.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The time that a server may need until a new stream gets everything: Mastodon subscribes after
/// its answer, and on a WebSocket it doesn't confirm this.
const SUBSCRIBES: Duration = Duration::from_secs(5);

/// The age from which a lost connection doesn't count as a failed attempt.
const STOOD: Duration = Duration::from_secs(30);

/// The most bytes of events that are taken before they go into the spool.
const FLUSH_BYTES: usize = 128 << 10;

/// All streams of a configuration.
pub(super) struct Streams {
    config: Mastodon,
}

impl Streams {
    pub(crate) fn new(config: Mastodon) -> Self {
        Self { config }
    }
}

#[async_trait(?Send)]
impl Source for Streams {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let api = Api::new(&self.config, feed.clock().clone())?;
        let subscriptions = Subscription::all(&self.config);
        let transport = self.config.transport;
        let groups: Vec<_> = match transport {
            Transport::Sse => subscriptions.chunks(1).collect(),
            Transport::WebSocket => vec![&subscriptions[..]],
        };
        let stream = |transport, group| Stream {
            feed,
            api: &api,
            instance: &self.config.instance,
            transport,
            group,
        };
        try_join_all(groups.into_iter().map(|group| stream(transport, group).run())).await?;
        // Only a connection for several subscriptions ends, by an error that doesn't name the
        // refused one. With a connection each, the refused one shows.
        let alone = subscriptions.chunks(1).map(|group| stream(transport, group).run());
        try_join_all(alone).await.map(|_| ())
    }
}

/// Opens one connection for some subscriptions, by the other transport if the server doesn't stream
/// by this one: GoToSocial and Pleroma have no server-sent events. `transport` becomes the one that
/// the server accepts.
///
/// # Errors
/// Fatal if the token is refused, or the host isn't safe.
pub(super) async fn open(
    api: &Api,
    transport: &mut Transport,
    subscriptions: &[Subscription],
    clock: &SharedClock,
) -> Result<Result<Wire, Refused>> {
    let why = match open_by(api, *transport, subscriptions, clock).await? {
        Err(Refused::NotSo(why)) if subscriptions.len() == 1 => why,
        opened => return Ok(opened),
    };
    let (name, other) = (transport.name(), transport.other());
    let opened = open_by(api, other, subscriptions, clock).await?;
    Ok(match opened {
        Ok(wire) => {
            *transport = other;
            Ok(wire)
        }
        Err(Refused::NotSo(also)) => Err(Refused::NotSo(format!(
            "neither by {name} ({why}) nor by {} ({also})",
            other.name()
        ))),
        Err(Refused::Again(also)) => {
            Err(Refused::Again(format!("by {name} {why}; by {} {also}", other.name())))
        }
        Err(until @ Refused::Until(_)) => Err(until),
    })
}

/// Opens one connection for some subscriptions; server-sent events allow only one subscription.
///
/// # Errors
/// Fatal if the token is refused, or the host isn't safe.
async fn open_by(
    api: &Api,
    transport: Transport,
    subscriptions: &[Subscription],
    clock: &SharedClock,
) -> Result<Result<Wire, Refused>> {
    let host = match api.streaming().await? {
        Ok(host) => host,
        Err(refused) => return Ok(Err(refused)),
    };
    let authorization = api.authorization();
    let opened = match transport {
        Transport::Sse => {
            let (path, query) = subscriptions[0].events();
            let http = Http::new(&host.http(), clock.clone())?;
            let headers =
                [("authorization", authorization.as_str()), ("accept", "text/event-stream")];
            match http.open(path, &query, &headers).await {
                Ok(body) if body.status() == 200 => return Ok(Ok(Wire::events(body))),
                Ok(body) => body.whole().await.map(|reply| decide(&reply, clock.now())),
                Err(failure) => Err(failure),
            }
        }
        Transport::WebSocket => {
            let address = match subscriptions {
                // Some servers accept no request in a message.
                [one] => format!("{}/api/v1/streaming?{}", host.websocket(), one.query()),
                _ => format!("{}/api/v1/streaming", host.websocket()),
            };
            match Socket::connect(&address, &[("authorization", &authorization)], clock).await {
                Ok(socket) => return Ok(subscribe(socket, subscriptions).await),
                Err(NoSocket::Status(status, body)) => Ok(decide(
                    &crate::social::Reply { status, headers: Default::default(), body },
                    clock.now(),
                )),
                Err(NoSocket::Failure(failure)) => Err(failure),
            }
        }
    };
    Ok(Err(match opened {
        Ok(Answer::Wait(until)) => Refused::Until(until),
        Ok(Answer::Token(why)) => return Err(bad_token(host.name(), &why)),
        Ok(Answer::Good) => again(api, "it doesn't stream".into()),
        Ok(Answer::Refused(why)) => {
            api.forget_streaming();
            Refused::NotSo(why)
        }
        Ok(Answer::Again(why)) => again(api, why),
        Err(failure) => again(api, failure.to_string()),
    }))
}

fn again(api: &Api, why: String) -> Refused {
    api.forget_streaming();
    Refused::Again(why)
}

async fn subscribe(mut socket: Socket, subscriptions: &[Subscription]) -> Result<Wire, Refused> {
    for subscription in subscriptions.iter().filter(|_| subscriptions.len() > 1) {
        socket
            .send(subscription.request())
            .await
            .map_err(|failure| Refused::Again(failure.to_string()))?;
    }
    Ok(Wire::Socket(socket))
}

/// The interval at which a subscription that is left out is checked.
const LEFT_OUT: Duration = Duration::from_secs(1);

/// The end of a connection.
enum Ended {
    /// The connection was lost, for this reason.
    Lost(String),
    /// The server refuses the subscription, for this reason.
    Refused(String),
}

/// One connection after another, for some subscriptions.
struct Stream<'a> {
    feed: &'a Feed,
    api: &'a Api,
    /// The instance's host, as configured.
    instance: &'a str,
    transport: Transport,
    group: &'a [Subscription],
}

impl Stream<'_> {
    /// Returns the connection's name for people.
    fn part(&self) -> String {
        self.group
            .first()
            .map_or_else(|| "stream".into(), |first| format!("stream {}", first.part()))
    }

    /// Runs without an end. Only if several subscriptions share a connection and one of them is
    /// refused, it ends.
    async fn run(mut self) -> Result<()> {
        let mut backoff = Backoff::exponential(RETRY_FIRST, RETRY_MAX);
        let mut places: Vec<_> = self
            .group
            .iter()
            .map(|part| Place::read(self.feed.cursor(&part.part()).as_deref()))
            .collect();
        let mut why = "the program was not running".to_owned();
        loop {
            self.feed.await_budget().await;
            let configured = self.transport;
            match open(self.api, &mut self.transport, self.group, self.feed.clock()).await? {
                Ok(wire) => {
                    self.tell_transport(configured);
                    self.feed.works(&self.part());
                    let began = self.feed.clock().monotonic();
                    let ended = self.connected(wire, &mut places, &why, &mut backoff).await?;
                    if self.feed.clock().monotonic().saturating_sub(began) >= STOOD {
                        backoff.reset();
                    }
                    why = match ended {
                        Ended::Lost(why) => why,
                        Ended::Refused(_) if self.group.len() > 1 => return Ok(()),
                        Ended::Refused(why) => {
                            self.leave_out(&why).await;
                            continue;
                        }
                    };
                }
                Err(Refused::Until(until)) => {
                    self.feed.sleep_until("429", until).await;
                    continue;
                }
                Err(Refused::NotSo(refused)) if self.group.len() == 1 => {
                    why = refused;
                    self.leave_out(&why).await;
                    continue;
                }
                Err(refused) => why = refused.to_string(),
            }
            if self.feed.is_budget_spent() {
                continue;
            }
            let wait = backoff.next_with_jitter();
            let name = self.api.name();
            let then = format!("connects again in {:.0} s", wait.as_secs_f64().ceil());
            self.feed.attempt_failed(&self.part(), &format!("{name}: {why}"), &then);
            self.feed.flush().await?;
            self.feed.sleep(wait).await;
        }
    }

    /// Says once that the server streams by another transport than configured.
    fn tell_transport(&self, configured: Transport) {
        if configured != self.transport {
            let (name, part, other) =
                (self.api.name(), self.group[0].part(), self.transport.name());
            self.feed.say(format!(
                "{name} doesn't stream {part} by {}, so it is read by {other}; `transport: {:?}` in the configuration uses it from the start",
                configured.name(),
                self.transport
            ));
        }
    }

    /// Leaves the only subscription of this connection out until it is to be asked for again.
    async fn leave_out(&self, why: &str) {
        let part = self.part_left_out();
        self.feed.leave_out(&part, why);
        while self.feed.is_left_out(&part) {
            self.feed.sleep(LEFT_OUT).await;
        }
    }

    fn part_left_out(&self) -> String {
        format!("{} of {}", self.group[0].part(), self.api.name())
    }

    /// Reads a connection to its end, and at the same time fills the gap before it.
    async fn connected(
        &self,
        wire: Wire,
        places: &mut [Place],
        why: &str,
        backoff: &mut Backoff,
    ) -> Result<Ended> {
        let now = self.feed.now();
        for (subscription, place) in self.group.iter().zip(&mut *places) {
            self.note_gap(subscription, place, now, why).await?;
            place.alive(now);
            // From here on a restart knows since when the source was away, even if nothing comes.
            self.feed.set_cursor(&subscription.part(), place.save());
        }
        self.feed.save().await?;
        let filling = async {
            // The filling waits, since posts until then may come in neither way.
            self.feed.sleep(SUBSCRIBES).await;
            match fill::all(self.feed, self.api, self.group).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error,
            }
        };
        match select(pin!(self.read(wire, places, backoff)), pin!(filling)).await {
            Either::Left((ended, _)) => ended,
            Either::Right((error, _)) => Err(error),
        }
    }

    /// Writes the period in which posts may be missing into the ledger.
    async fn note_gap(
        &self,
        subscription: &Subscription,
        place: &Place,
        now: OffsetDateTime,
        why: &str,
    ) -> Result<()> {
        let Some(from) = place.seen() else { return Ok(()) };
        let part = subscription.part();
        let id = self.feed.gap(&part, from, now + SUBSCRIBES, why).await?;
        // If ids have no time, the filling begins at the last id before the gap.
        if let Some(last) = place.undated() {
            fill::Begins::set(self.feed, subscription, &id, last);
        }
        Ok(())
    }

    /// Reads until the connection ends, and returns the reason.
    async fn read(
        &self,
        mut wire: Wire,
        places: &mut [Place],
        backoff: &mut Backoff,
    ) -> Result<Ended> {
        let (mut unflushed, mut is_given) = (0, false);
        loop {
            let heard = match wire.next().now_or_never() {
                Some(heard) => heard,
                None => {
                    unflushed = 0;
                    self.settle(places).await?;
                    match select(pin!(wire.next()), self.feed.clock().sleep(DEAD_AFTER)).await {
                        Either::Left((heard, _)) => heard,
                        Either::Right(_) => {
                            return Ok(Ended::Lost(format!(
                                "no sign of life for {} s",
                                DEAD_AFTER.as_secs()
                            )));
                        }
                    }
                }
            };
            let now = self.feed.now();
            if !std::mem::replace(&mut is_given, true) && self.group.len() == 1 {
                is_given = !matches!(heard, Heard::End { .. });
                if is_given {
                    self.feed.take_back(&self.part_left_out());
                }
            }
            match heard {
                Heard::Alive => {}
                Heard::Event { stream, name, data } => {
                    unflushed += data.len();
                    backoff.reset();
                    self.take(stream.as_deref(), &name, &data, places);
                }
                Heard::Refused(raw, why) => self.feed.refuse(&raw, &why),
                Heard::End { status: Some(status), why }
                    if Status::of_status(status) == Status::Denied =>
                {
                    return Err(bad_token(self.api.name(), &why));
                }
                Heard::End { status: Some(_), why } if is_about_the_token(&why) => {
                    return Err(bad_token(self.api.name(), &why));
                }
                Heard::End { status: Some(status @ 400..500), why }
                    if !Status::of_status(status).may_pass() =>
                {
                    self.settle(places).await?;
                    return Ok(Ended::Refused(why));
                }
                Heard::End { why, .. } => {
                    self.settle(places).await?;
                    return Ok(Ended::Lost(why));
                }
            }
            places.iter_mut().for_each(|place| place.alive(now));
            let spent = self.feed.is_budget_spent();
            if spent || unflushed >= FLUSH_BYTES {
                unflushed = 0;
                self.settle(places).await?;
            }
            if spent {
                return Ok(Ended::Lost("the budget is used".into()));
            }
        }
    }

    /// Brings the taken events onto this machine's disk.
    async fn settle(&self, places: &[Place]) -> Result<()> {
        for (subscription, place) in self.group.iter().zip(places) {
            self.feed.set_cursor(&subscription.part(), place.save());
        }
        self.feed.flush().await
    }

    /// Offers the post of an event.
    fn take(&self, stream: Option<&[u8]>, name: &str, data: &[u8], places: &mut [Place]) {
        let (feed, now) = (self.feed, self.feed.now());
        let made = match read(name, data) {
            Ok(Meaning::Status(status)) => {
                let of = stream
                    .map_or(Some(0), |stream| self.group.iter().position(|part| part.is(stream)));
                if let Some(place) = of.and_then(|of| places.get_mut(of)) {
                    place.status(status);
                }
                post(Mastodon::KIND, status, &[], now)
            }
            Ok(Meaning::Delete(id)) => {
                let raw = serde_json::to_vec(&id).expect("text is written into memory");
                // Another instance has another toot of this number.
                delete_on(self.instance, (Mastodon::KIND, &id), now, &raw, now)
            }
            Ok(Meaning::Other) => return,
            Err(why) => Err(why),
        };
        match made {
            Ok(made) => _ = feed.offer(made),
            Err(why) => feed.refuse(data, &why),
        }
    }
}

//! Reads Jetstream, one connection after another.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::social::{Backoff, Feed, Refused, Socket, Source};

use super::cursor::{LOOKBACK, Position, REWIND, micros, unix_us};
use super::join::{Joining, OVERLAP, Resume};
use super::reading::{End, PART, Reading};
use super::wanted::{Wanted, name};

/// The first and the longest wait before connecting again; Jetstream prescribes nothing. Waits
/// begin with the first again once events have come.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The age from which a lost connection doesn't count as a failed attempt.
const STOOD: Duration = Duration::from_secs(30);

/// The source that reads Jetstream.
pub(super) struct Jetstream {
    hosts: Vec<String>,
    wanted: Wanted,
}

impl Jetstream {
    pub(crate) fn new(hosts: Vec<String>, wanted: Wanted) -> Self {
        Self { hosts, wanted }
    }

    /// Connects to a host, to find out if the host accepts the filter.
    ///
    /// # Errors
    /// If the host can't be reached or refuses the filter; the text says why.
    pub(crate) async fn greets(&self, host: &str, clock: &SharedClock) -> Result<(), String> {
        connect(&self.wanted, host, None, clock).await.map(|_| ()).map_err(|refused| what(&refused))
    }
}

async fn connect(
    wanted: &Wanted,
    host: &str,
    cursor: Option<i64>,
    clock: &SharedClock,
) -> Result<Socket, Refused> {
    let mut socket = Socket::connect(&wanted.address(host, cursor), &[], clock).await?;
    if let Some(hello) = wanted.hello() {
        socket.send(hello).await.map_err(Refused::Failure)?;
    }
    Ok(socket)
}

#[async_trait(?Send)]
impl Source for Jetstream {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let mut position = Position::read(feed.cursor(PART).as_deref());
        let mut backoff = Backoff::exponential(RETRY_FIRST, RETRY_MAX);
        let mut fruitless = 0;
        // The host that was read last repeats its events in the same order.
        let first = self.hosts.iter().position(|host| host == position.host()).unwrap_or(0);
        for host in self.hosts.iter().cycle().skip(first) {
            feed.await_budget().await;
            let mut resume = self.resume(&position, host, feed);
            let mut tries = 0;
            let ended = loop {
                let wanted = self
                    .wanted
                    .without(|part| feed.is_left_out(part))
                    .unwrap_or_else(|| self.wanted.clone());
                let mut socket = match connect(&wanted, host, resume.cursor(), feed.clock()).await {
                    Ok(socket) => socket,
                    // A server that refuses its own number is asked for a time.
                    Err(Refused::Status(400, _)) if matches!(resume, Resume::Number { .. }) => {
                        resume = Resume::Same { asked_us: position.reached() - micros(REWIND) };
                        continue;
                    }
                    Err(refused) => {
                        let why = what(&refused);
                        if let (Refused::Status(400, _), Some(part)) =
                            (&refused, wanted.named_in(&why))
                            && wanted.without(|other| other == part).is_some()
                        {
                            feed.leave_out(part, &why);
                            continue;
                        }
                        stop(&refused, host)?;
                        break why;
                    }
                };
                feed.works(PART);
                let began = feed.clock().monotonic();
                position.connected(feed.now());
                let by_author = self.wanted.is_by_author();
                let is_quiet = by_author || position.patience() > OVERLAP;
                let joining = Joining::new(resume, &position, is_quiet, tries);
                let mut reading =
                    Reading::new(feed, &mut position, host, by_author, fruitless, joining);
                let ended = reading.run(&mut socket).await?;
                fruitless = if reading.events > 0 { 0 } else { fruitless + 1 };
                if fruitless == 0 || feed.clock().monotonic().saturating_sub(began) >= STOOD {
                    backoff.reset();
                }
                match ended {
                    End::Lost(why) => break why,
                    End::Again(again) => (resume, tries) = (again, tries + 1),
                }
            };
            if feed.is_budget_spent() {
                continue;
            }
            let wait = backoff.next_with_jitter();
            let then = format!("connects again in {:.0} s", wait.as_secs_f64().ceil());
            feed.attempt_failed(PART, &format!("{}: {ended}", name(host)), &then);
            feed.flush().await?;
            feed.sleep(wait).await;
        }
        Err(Error::fatal("no host to connect to: \"base_url\" is empty"))
    }
}

impl Jetstream {
    /// Returns how a host is asked to go on.
    fn resume(&self, position: &Position, host: &str, feed: &Feed) -> Resume {
        let now_us = unix_us(feed.now());
        match position.newest() {
            // No host has the last event of these authors any more; the gap for the lost events is
            // found without it.
            Some(newest_us)
                if self.wanted.is_by_author() && newest_us < now_us - micros(LOOKBACK) =>
            {
                Resume::Other { asked_us: newest_us - micros(REWIND), assumed: true }
            }
            _ => Resume::plan(position, host, now_us),
        }
    }
}

/// Returns the reason why there is no connection.
fn what(refused: &Refused) -> String {
    match refused {
        Refused::Status(status, body) => {
            let body = String::from_utf8_lossy(&body[..body.len().min(300)]);
            format!("it answered {status} {}", body.trim()).trim().into()
        }
        Refused::Failure(failure) => failure.to_string(),
    }
}

/// Decides if a refusal ends the source.
///
/// # Errors
/// Fatal if the request itself is wrong: another attempt would fail, too.
fn stop(refused: &Refused, host: &str) -> Result<()> {
    match refused {
        Refused::Status(400, _) => {
            let what = format!(
                "{}: {}: expected collections and authors that the host accepts",
                name(host),
                what(refused)
            );
            Err(Error::fatal(what))
        }
        _ => Ok(()),
    }
}

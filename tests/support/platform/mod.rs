//! A fake of the five platforms, in the test's own process, which is seeded and knows the truth.
//!
//! ```ignore
//! mod support;
//! use support::platform::{Fault, Kind, Place, Platform};
//!
//! let platform = Platform::start(7);                      // its seed; listens on loopback
//! platform.topics(&["#storm", "rust lang", "from:alice"]); // what posts are about, partly
//! let token = platform.token(Kind::Tweet);                // for the environment of the program
//! let base_url = platform.url();                          // http://127.0.0.1:PORT, all platforms
//! let jetstream = platform.ws_url();                      // ws://127.0.0.1:PORT, path /subscribe
//!
//! platform.history(Kind::Tweet, 50, 3600);                // the last hour, before anybody listens
//! // …start the program…
//! platform.wait_for(Place::XStream, 1);                   // streams that stand
//! platform.publish(Kind::Tweet, 100);                     // now; gives their numbers in the world
//! platform.fault(Place::XStream, Fault::CutCharacter);    // met once, at the next occasion
//! platform.set(|settings| settings.x_keep_alive = Duration::from_millis(50));
//! platform.weather(Weather { seed: 1, one_in: 50, faults: vec![Fault::Close], places: vec![] });
//! platform.edit(number); platform.delete(number); platform.expire(Kind::Tweet);
//!
//! let asked = platform.requests().at(Place::XStream);     // all of them, secrets taken out
//! assert!(asked.busiest(Duration::from_secs(5)) <= 2);    // no reconnect storm
//! platform.assert_kept(&[&sandbox.path("state")]);        // no file below has a secret in it
//! platform.with(|inner| inner.world.items.len());         // the truth itself
//! platform.check(Kind::Tweet, &["#storm"]).lake(&posts);   // a lake against the truth: see check.rs
//! ```
//!
//! Authors, pages and channels are the same 40 people, `watcher_0` to `watcher_39`, followed from
//! 40 on by those that `from:` topics name. A page is found by its name or by `world::page_id(n)`,
//! a channel by `@watcher_n` or `world::channel_id(n)`, a user of Bluesky by `world::did(n)`, and
//! on Mastodon every third user is local.
//!
//! Everything is ordered by the world's clock, which is the real one and never returns a time
//! twice. Posts match topics by their text (`Item::topics`), and near misses are among them. X's
//! rules and queries and YouTube's are parsed and matched by their meaning. Each item keeps its
//! offers and their requests.

#![allow(dead_code, unused_imports, reason = "each test program uses a part of it")]

pub(crate) mod bluesky;
pub(crate) mod check;
pub(crate) mod errors;
pub(crate) mod facebook;
pub(crate) mod faults;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod mastodon;
pub(crate) mod place;
pub(crate) mod query;
mod server;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod text;
pub(crate) mod world;
pub(crate) mod x;
pub(crate) mod youtube;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub(crate) use faults::{Fault, Weather};
pub(crate) use log::{Requests, SECRET, Seen};
pub(crate) use place::Place;
use shared::{Bad, Inner, Settings, Shared};
pub(crate) use world::{Change, Item, Kind};

/// A time within which every awaited event happens on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A running fake. It ends, with all its connections, when it is dropped.
pub(crate) struct Platform {
    shared: Arc<Shared>,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Platform {
    /// Starts a fake. The same seed gives the same texts, details and chances.
    pub(crate) fn start(seed: u64) -> Self {
        let (told, listens) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let shared = Arc::new(Shared::new(seed, format!("http://127.0.0.1:{port}")));
                told.send((port, Arc::clone(&shared))).unwrap();
                tokio::select! {
                    () = server::accept(shared, listener) => {}
                    _ = stopped => {}
                }
            });
        });
        let (port, shared) = listens.recv().unwrap();
        Self { shared, port, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns `ws://127.0.0.1:PORT`.
    pub(crate) fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Reads or changes any state.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        self.shared.change(change)
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Settings)) {
        self.with(|inner| change(&mut inner.settings));
    }

    // Posts.

    /// Sets the topics of further posts: `#tag`, `from:name`, words. Names are additional authors.
    pub(crate) fn topics(&self, topics: &[&str]) {
        self.with(|inner| inner.world.set_topics(topics));
    }

    /// Publishes this number of posts, now.
    pub(crate) fn publish(&self, kind: Kind, count: usize) -> Vec<usize> {
        self.with(|inner| (0..count).map(|_| inner.world.publish(kind)).collect())
    }

    /// Publishes a post with exactly this text, by this author (0 to 39; from 40 on those that
    /// topics name).
    pub(crate) fn publish_text(&self, kind: Kind, text: &str, author: usize) -> usize {
        self.with(|inner| inner.world.publish_text(kind, text, author))
    }

    /// Publishes posts evenly over the last `seconds`. This works only before the kind's first
    /// current post.
    pub(crate) fn history(&self, kind: Kind, count: usize, seconds: u64) -> Vec<usize> {
        let (now, span) = (world::now_us(), seconds as i64 * 1_000_000);
        self.with(|inner| {
            let at = |n: usize| now - span + span * n as i64 / count as i64;
            (0..count).map(|n| inner.world.publish_at(kind, at(n), None)).collect()
        })
    }

    /// Publishes posts at a rate for this time, on a separate thread: join it.
    pub(crate) fn publish_at_rate(
        &self,
        kind: Kind,
        per_second: u64,
        time: Duration,
    ) -> JoinHandle<usize> {
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            let (began, mut count) = (Instant::now(), 0);
            while began.elapsed() < time {
                let due = (began.elapsed().as_secs_f64() * per_second as f64) as usize;
                shared.change(|inner| {
                    (count..due).map(|_| inner.world.publish(kind)).for_each(|_| {})
                });
                count = count.max(due);
                thread::sleep(Duration::from_millis(5));
            }
            count
        })
    }

    /// Changes an item's text. On X the edit is a new item, whose number this returns.
    pub(crate) fn edit(&self, item: usize) -> usize {
        self.with(|inner| inner.world.edit(item))
    }

    pub(crate) fn delete(&self, item: usize) {
        self.with(|inner| inner.world.delete(item));
    }

    /// Multiplies all counts of a kind.
    pub(crate) fn heat(&self, kind: Kind, times: u64) {
        self.with(|inner| {
            inner
                .world
                .items
                .iter_mut()
                .filter(|item| item.kind == kind)
                .for_each(|item| item.heat *= times)
        });
    }

    // Faults.

    /// Adds a fault that happens once, at the next occasion; several at one endpoint happen in
    /// their order.
    pub(crate) fn fault(&self, place: Place, fault: Fault) {
        self.with(|inner| inner.faults.push(place, fault));
    }

    /// Adds a fault that happens this number of times.
    pub(crate) fn faults(&self, place: Place, fault: Fault, times: usize) {
        self.with(|inner| (0..times).for_each(|_| inner.faults.push(place, fault.clone())));
    }

    /// Sets faults that happen by chance from now on, beside the queued ones.
    pub(crate) fn weather(&self, weather: Weather) {
        self.with(|inner| inner.faults.set_weather(weather));
    }

    /// Removes all faults.
    pub(crate) fn calm(&self) {
        self.with(|inner| inner.faults.clear());
    }

    /// Returns the faults so far.
    pub(crate) fn met(&self) -> Vec<(Place, Fault)> {
        self.with(|inner| inner.faults.met.clone())
    }

    /// Ends all streams of a platform properly.
    pub(crate) fn end_streams(&self, kind: Kind) {
        self.with(|inner| *inner.ended.entry(kind).or_default() += 1);
    }

    // Credentials.

    /// Returns the token that is valid now.
    pub(crate) fn token(&self, kind: Kind) -> String {
        self.with(|inner| inner.tokens.good[&kind].clone())
    }

    /// Makes the token expire; no token is valid then.
    pub(crate) fn expire(&self, kind: Kind) {
        self.end_token(kind, Bad::Expired);
    }

    /// Revokes the token; no token is valid then.
    pub(crate) fn revoke(&self, kind: Kind) {
        self.end_token(kind, Bad::Revoked);
    }

    fn end_token(&self, kind: Kind, bad: Bad) {
        self.with(|inner| {
            inner.tokens.good.remove(&kind).map(|token| inner.tokens.bad.insert(token, bad))
        });
        self.end_streams(kind);
    }

    /// Returns a new token; the old one is revoked.
    pub(crate) fn renew(&self, kind: Kind) -> String {
        self.with(|inner| {
            if let Some(old) = inner.tokens.good.remove(&kind) {
                inner.tokens.bad.insert(old, Bad::Revoked);
            }
            inner.tokens.give(kind, &mut inner.random)
        })
    }

    /// Returns all tokens that were ever valid: no log, no state and no error may have one.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.with(|inner| inner.tokens.all())
    }

    /// Fails if a text contains a secret.
    #[track_caller]
    pub(crate) fn assert_hidden(&self, text: &str) {
        for secret in self.secrets() {
            let encoded = http::encode(&secret);
            assert!(!text.contains(&secret) && !text.contains(&encoded), "a secret is in {text:?}");
        }
    }

    /// Fails if a file contains a secret; folders are searched completely.
    #[track_caller]
    pub(crate) fn assert_kept(&self, paths: &[&Path]) {
        for path in paths {
            if path.is_dir() {
                for entry in fs::read_dir(path).unwrap() {
                    self.assert_kept(&[&entry.unwrap().path()]);
                }
                continue;
            }
            let bytes = fs::read(path).unwrap();
            for secret in self.secrets() {
                let encoded = http::encode(&secret);
                let has = |secret: &str| memchr::memmem::find(&bytes, secret.as_bytes()).is_some();
                assert!(!has(&secret) && !has(&encoded), "{} has a secret in it", path.display());
            }
        }
    }

    // Requests.

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Requests {
        Requests(self.with(|inner| inner.log.clone()))
    }

    /// Returns the number of connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.with(|inner| inner.accepted)
    }

    /// Waits until this number of requests to an endpoint were answered; fails after a minute.
    #[track_caller]
    pub(crate) fn wait_for(&self, place: Place, count: usize) {
        let what = format!("{count} requests to {place:?}");
        self.wait_until(&what, |inner| {
            inner.log.iter().filter(|s| s.place == place && s.status != 0).count() >= count
        });
    }

    /// Waits until a condition holds; fails after a minute.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, so: impl Fn(&Inner) -> bool) {
        let began = Instant::now();
        // This polls, since changes that only a client knows aren't signalled.
        while !so(&self.shared.lock()) {
            assert!(began.elapsed() < LIMIT, "no {what} within {LIMIT:?}: {:#?}", self.requests());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until all of these items were offered; fails after a minute.
    #[track_caller]
    pub(crate) fn wait_offered(&self, items: &[usize]) {
        self.wait_until("offers", |inner| {
            items.iter().all(|item| !inner.world.items[*item].offers.is_empty())
        });
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A test that fails says enough.
            let _ = thread.join();
        }
    }
}

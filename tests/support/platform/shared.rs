//! The state that all connections share, under one lock that is held only briefly.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::super::random::Random;
use super::faults::Faults;
use super::http::Request;
use super::log::Seen;
use super::place::Place;
use super::world::{Kind, World, now_us};
use super::{facebook, mastodon, x, youtube};

/// The behaviour of the platforms, which tests can change.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The time without a post after which X sends a bare `\r\n`. X: 20 s.
    pub x_keep_alive: Duration,
    /// True if X answers with the words of v2.167: `referenced_posts`, `includes.posts`,
    /// `repost_count`.
    pub x_new_words: bool,
    /// True if a search accepts `post.fields` and not `tweet.fields`, as in v2.167.
    pub x_post_fields: bool,
    /// The number of streams that X allows at once.
    pub x_connections: usize,
    /// The number of posts that X keeps for a client that reads too slowly; then X ends the stream.
    pub x_buffer: usize,
    /// The time that X holds a stream after its client has left.
    pub x_held: Duration,
    /// True if `backfill_minutes` is allowed (Enterprise).
    pub x_backfill: bool,
    /// The time until X's search has a post. X: 30 s.
    pub x_search_lag: Duration,
    /// The longest rule, the longest query, and the most rules.
    pub x_rule_chars: usize,
    pub x_query_chars: usize,
    pub x_rules: usize,
    /// The number of rules on one page.
    pub x_rules_page: usize,
    /// The time that X's search reaches back.
    pub x_search_reach: Duration,
    /// True if Facebook pages by `since`, `until` and `__paging_token`, and not by cursors.
    pub facebook_time_paging: bool,
    /// The largest `limit` that Facebook answers; beyond it Facebook says: "reduce the amount of
    /// data".
    pub facebook_limit: usize,
    /// The number of calls that are 100%.
    pub facebook_calls: u64,
    /// True if Facebook's usage is that of a page or system user.
    pub facebook_business: bool,
    /// True if Facebook demands `appsecret_proof`.
    pub facebook_proof: bool,
    /// The calls of `search.list` in a day, and the units for all other calls in a day.
    pub youtube_searches: u64,
    pub youtube_units: u64,
    /// True if YouTube's pages repeat: the first page follows the last.
    pub youtube_loops: bool,
    /// True if `order=date` and `publishedAfter` are ignored.
    pub youtube_disorder: bool,
    /// The time that Jetstream's cursors reach back.
    pub jetstream_reach: Duration,
    /// The number of events of one Jetstream segment: a cursor in the open segment is answered with
    /// all of it. 1 is exact.
    pub jetstream_segment: usize,
    /// The delay after which the host below `/late` sees each event, which it stamps with the later
    /// time.
    pub jetstream_lag: Duration,
    /// True if hosts number their events, and accept these numbers as cursors.
    pub jetstream_numbers: bool,
    /// The interval of `:thump`.
    pub mastodon_thump: Duration,
    /// The most statuses of a page.
    pub mastodon_page: usize,
    /// The requests that are allowed in a window, by endpoint; further ones are answered by 429.
    pub limits: BTreeMap<Place, (u64, Duration)>,
}

impl Default for Settings {
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        let five = Duration::from_secs(5 * 60);
        Self {
            x_keep_alive: Duration::from_secs(20),
            x_new_words: false,
            x_post_fields: false,
            x_connections: 1,
            x_buffer: usize::MAX,
            x_held: Duration::ZERO,
            x_backfill: false,
            x_search_lag: Duration::ZERO,
            x_rule_chars: 1024,
            x_query_chars: 512,
            x_rules: 1000,
            x_rules_page: 1000,
            x_search_reach: Duration::from_secs(7 * 24 * 3600),
            facebook_time_paging: false,
            facebook_limit: 100,
            facebook_calls: 200,
            facebook_business: true,
            facebook_proof: false,
            youtube_searches: 100,
            youtube_units: 10_000,
            youtube_loops: false,
            youtube_disorder: false,
            jetstream_reach: Duration::from_secs(36 * 3600),
            jetstream_segment: 1,
            jetstream_lag: Duration::ZERO,
            jetstream_numbers: false,
            mastodon_thump: Duration::from_secs(15),
            mastodon_page: 40,
            limits: BTreeMap::from([
                (Place::XStream, (50, quarter)),
                (Place::XRules, (450, quarter)),
                (Place::XRulesChange, (100, quarter)),
                (Place::XRecent, (450, quarter)),
                (Place::XLookup, (3500, quarter)),
                (Place::XConnections, (25, quarter)),
                (Place::MastodonTimeline, (300, five)),
                (Place::MastodonStatus, (300, five)),
            ]),
        }
    }
}

/// The reason why a token isn't valid any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    Expired,
    Revoked,
}

/// All credentials that were ever given out.
#[derive(Default)]
pub(crate) struct Tokens {
    pub good: BTreeMap<Kind, String>,
    pub bad: BTreeMap<String, Bad>,
    count: u64,
}

impl Tokens {
    pub(crate) fn give(&mut self, kind: Kind, random: &mut Random) -> String {
        self.count += 1;
        let body: String = (0..2).map(|_| format!("{:016x}", random.next())).collect();
        // Tokens have characters that must be escaped in a URL, if the platform's tokens have them.
        let token = match kind {
            Kind::Tweet => format!("AAAA{}%3D{body}", self.count),
            Kind::Post => format!("EAAB{}{body}ZDZD", self.count),
            Kind::Video => format!("AIza{}{body}", self.count),
            Kind::Bsky | Kind::Toot => format!("tok{}-{body}_", self.count),
        };
        self.good.insert(kind, token.clone());
        token
    }

    /// Returns all tokens that were ever valid.
    pub(crate) fn all(&self) -> Vec<String> {
        self.good.values().chain(self.bad.keys()).cloned().collect()
    }

    /// Returns the token of a request.
    fn of(request: &Request, kind: Kind) -> Option<&str> {
        let query = match kind {
            Kind::Tweet => None,
            Kind::Post | Kind::Toot => request.query("access_token"),
            Kind::Video => request.query("key").or_else(|| request.header("x-goog-api-key")),
            Kind::Bsky => None,
        };
        let protocol = || request.header("sec-websocket-protocol").filter(|_| kind == Kind::Toot);
        request.bearer().or(query).or_else(protocol)
    }

    /// Checks the token of a request.
    pub(crate) fn check(&self, request: &Request, kind: Kind) -> Result<(), Option<Bad>> {
        let token = Self::of(request, kind).ok_or(None)?;
        match self.good.get(&kind) {
            Some(good) if good == token => Ok(()),
            _ => Err(self.bad.get(token).copied()),
        }
    }
}

/// The used part of each limit.
#[derive(Default)]
pub(crate) struct Used(BTreeMap<Place, (i64, u64)>);

/// The current state of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub limit: u64,
    pub remaining: u64,
    /// Unix time in s.
    pub reset: i64,
    /// True if this request exceeds the limit.
    pub over: bool,
}

impl Used {
    /// Counts one more request.
    pub(crate) fn count(&mut self, place: Place, limit: u64, window: Duration) -> Allowance {
        let (now, window) = (now_us(), window.as_micros() as i64);
        let (from, used) = self.0.entry(place).or_insert((now, 0));
        if now - *from >= window {
            (*from, *used) = (now, 0);
        }
        *used += 1;
        let reset = (*from + window).div_euclid(1_000_000) + 1;
        Allowance { limit, remaining: limit.saturating_sub(*used), reset, over: *used > limit }
    }
}

/// The state behind the lock.
pub(crate) struct Inner {
    pub world: World,
    pub settings: Settings,
    pub tokens: Tokens,
    pub faults: Faults,
    pub log: Vec<Seen>,
    pub used: Used,
    pub random: Random,
    pub rules: x::Rules,
    pub streams: x::Streams,
    pub facebook: facebook::Usage,
    pub youtube: youtube::Quota,
    pub mastodon: mastodon::Instance,
    /// The number of connections that were accepted.
    pub accepted: usize,
    /// The number of times that all streams of a platform were ended: streams that began before
    /// such an end stop.
    pub ended: BTreeMap<Kind, u64>,
    /// The address of the fake, `http://127.0.0.1:PORT`.
    pub address: String,
}

/// The shared state, and a signal of its changes.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(seed: u64, address: String) -> Self {
        let mut random = Random(seed ^ 0x5eed);
        let mut tokens = Tokens::default();
        for kind in super::world::KINDS {
            tokens.give(kind, &mut random);
        }
        let inner = Inner {
            world: World::new(seed),
            settings: Settings::default(),
            tokens,
            faults: Faults::default(),
            log: Vec::new(),
            used: Used::default(),
            random,
            rules: x::Rules::default(),
            streams: x::Streams::default(),
            facebook: facebook::Usage::default(),
            youtube: youtube::Quota::default(),
            mastodon: mastodon::Instance::default(),
            accepted: 0,
            ended: BTreeMap::new(),
            address,
        };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(0) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test fails with the lock in its hand")
    }

    /// Changes the state, and signals that to all streams.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Returns a signal of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Shuffles the posts of a body, and repeats each if `twice` is true.
pub(crate) fn disturb(body: &mut Value, random: &mut Random, twice: bool) {
    let list = match body {
        Value::Array(list) => Some(list),
        Value::Object(fields) => {
            match ["data", "items"]
                .into_iter()
                .find(|key| fields.get(*key).is_some_and(Value::is_array))
            {
                Some(key) => fields.get_mut(key).and_then(Value::as_array_mut),
                None => None,
            }
        }
        _ => None,
    };
    let Some(list) = list else { return };
    if twice {
        *list = list.iter().flat_map(|item| [item.clone(), item.clone()]).collect();
    }
    for at in (1..list.len()).rev() {
        list.swap(at, random.below(at as u64 + 1) as usize);
    }
}

//! What all connections share, under one lock that is held for a moment only.

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

/// How the platforms behave; a test changes what it wants to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A bare `\r\n` after so long without a post. X: 20 s.
    pub x_keep_alive: Duration,
    /// Whether X answers with the words of v2.167: `referenced_posts`, `includes.posts`,
    /// `repost_count`.
    pub x_new_words: bool,
    /// Whether a search takes `post.fields` and not `tweet.fields`, as v2.167 has it.
    pub x_post_fields: bool,
    /// How many streams X allows at once.
    pub x_connections: usize,
    /// How many posts X keeps for a client that reads too slowly; then it ends the stream.
    pub x_buffer: usize,
    /// How long X holds a stream that its client has left.
    pub x_held: Duration,
    /// Whether `backfill_minutes` is allowed (Enterprise).
    pub x_backfill: bool,
    /// How long until X's search has a post. X: 30 s.
    pub x_search_lag: Duration,
    /// The longest rule and the longest query, and how many rules.
    pub x_rule_chars: usize,
    pub x_query_chars: usize,
    pub x_rules: usize,
    /// How many rules come on one page.
    pub x_rules_page: usize,
    /// How far back X's search reaches.
    pub x_search_reach: Duration,
    /// Whether Facebook pages by `since`, `until` and `__paging_token`, not by cursors.
    pub facebook_time_paging: bool,
    /// The largest `limit` that Facebook answers; beyond it: "reduce the amount of data".
    pub facebook_limit: usize,
    /// How many calls are 100%.
    pub facebook_calls: u64,
    /// Whether its usage is that of a page or system user.
    pub facebook_business: bool,
    /// Whether it asks for `appsecret_proof`.
    pub facebook_proof: bool,
    /// `search.list` a day, and units of all else a day.
    pub youtube_searches: u64,
    pub youtube_units: u64,
    /// Whether its pages repeat: after the last comes the first again.
    pub youtube_loops: bool,
    /// Whether `order=date` and `publishedAfter` are ignored.
    pub youtube_disorder: bool,
    /// How far back Jetstream's cursors reach.
    pub jetstream_reach: Duration,
    /// How many events one of Jetstream's segments has: a cursor of the open one is answered with
    /// all of it. 1 is exact.
    pub jetstream_segment: usize,
    /// How much later the host below `/late` sees each event, which it stamps with that time.
    pub jetstream_lag: Duration,
    /// Whether hosts number their events, and take these numbers as cursors.
    pub jetstream_numbers: bool,
    /// `:thump` after so long.
    pub mastodon_thump: Duration,
    /// The most statuses of a page.
    pub mastodon_page: usize,
    /// Requests in a window, by place; then 429.
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

/// Why a token is not good any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Expired,
    Revoked,
}

/// The credentials that were ever given out.
#[derive(Default)]
pub struct Tokens {
    pub good: BTreeMap<Kind, String>,
    pub bad: BTreeMap<String, Bad>,
    count: u64,
}

impl Tokens {
    pub fn give(&mut self, kind: Kind, random: &mut Random) -> String {
        self.count += 1;
        let body: String = (0..2).map(|_| format!("{:016x}", random.next())).collect();
        // With what must be escaped in a URL, where the platform's have it.
        let token = match kind {
            Kind::Tweet => format!("AAAA{}%3D{body}", self.count),
            Kind::Post => format!("EAAB{}{body}ZDZD", self.count),
            Kind::Video => format!("AIza{}{body}", self.count),
            Kind::Bsky | Kind::Toot => format!("tok{}-{body}_", self.count),
        };
        self.good.insert(kind, token.clone());
        token
    }

    /// All that were ever good.
    pub fn all(&self) -> Vec<String> {
        self.good.values().chain(self.bad.keys()).cloned().collect()
    }

    /// The token of a request.
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

    /// Whether a request may pass.
    pub fn check(&self, request: &Request, kind: Kind) -> Result<(), Option<Bad>> {
        let token = Self::of(request, kind).ok_or(None)?;
        match self.good.get(&kind) {
            Some(good) if good == token => Ok(()),
            _ => Err(self.bad.get(token).copied()),
        }
    }
}

/// How much of each limit is used.
#[derive(Default)]
pub struct Used(BTreeMap<Place, (i64, u64)>);

/// A limit as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub limit: u64,
    pub remaining: u64,
    /// Unix time in s.
    pub reset: i64,
    /// Whether this request is one too many.
    pub over: bool,
}

impl Used {
    /// Counts one more.
    pub fn count(&mut self, place: Place, limit: u64, window: Duration) -> Allowance {
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

/// What is behind the lock.
pub struct Inner {
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
    /// Connections that were accepted.
    pub accepted: usize,
    /// Streams that end now: raised to end all of a platform that began before.
    pub ended: BTreeMap<Kind, u64>,
    /// The last request that was seen whole, for offers.
    pub address: String,
}

/// What is shared.
pub struct Shared {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

impl Shared {
    pub fn new(seed: u64, address: String) -> Self {
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

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no test fails with the lock in its hand")
    }

    /// Changes something, and tells all streams.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Told when something has changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

/// Sorts the posts of a body in no order, or has each twice.
pub fn disturb(body: &mut Value, random: &mut Random, twice: bool) {
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

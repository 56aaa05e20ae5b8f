//! The truth: all posts, edits and deletes with their times, the topics that they match, and all
//! offers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use super::super::random::Random;
use super::text::{self, AUTHORS, Draft};

/// A platform, and the kind of its posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tweet,
    Post,
    Video,
    Bsky,
    Toot,
}

pub(crate) const KINDS: [Kind; 5] = [Kind::Tweet, Kind::Post, Kind::Video, Kind::Bsky, Kind::Toot];

impl Kind {
    /// Returns the key of the posts in the lake.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tweet => "tweet",
            Self::Post => "post",
            Self::Video => "video",
            Self::Bsky => "bsky",
            Self::Toot => "toot",
        }
    }
}

/// A change of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Edited,
    Deleted,
}

/// A state of an item.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub change: Change,
    /// Unix time in µs.
    pub at_us: i64,
    pub draft: Draft,
    /// The platform's mark of this version, which is Bluesky's rev.
    pub rev: String,
}

/// A record that a whole item was sent to a client.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// Unix time in µs.
    pub at_us: i64,
    /// The number of the request in the log.
    pub request: usize,
    /// The sent object, in the form that the lake should have under its kind.
    pub body: Arc<str>,
}

/// A post, with all its versions and offers.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub kind: Kind,
    /// The platform's id; for Bluesky the rkey.
    pub id: String,
    /// The item's number in the world, from which its details are drawn.
    pub number: u64,
    pub versions: Vec<Version>,
    pub offers: Vec<Offer>,
    /// For X: the item that this one is an edit of.
    pub edit_of: Option<usize>,
    /// The factor of the item's counts.
    pub heat: u64,
}

impl Item {
    pub(crate) fn created_us(&self) -> i64 {
        self.versions[0].at_us
    }

    /// Returns the newest version that isn't a delete.
    pub(crate) fn last(&self) -> &Version {
        self.versions
            .iter()
            .rfind(|version| version.change != Change::Deleted)
            .expect("it was created")
    }

    pub(crate) fn deleted(&self) -> bool {
        self.versions.last().is_some_and(|version| version.change == Change::Deleted)
    }

    /// Returns the topics of the world that the item matched at any time.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.versions.iter().flat_map(|version| version.draft.topics.iter().map(String::as_str))
    }

    /// Returns the number of the author, page or channel.
    pub(crate) fn author(&self) -> usize {
        self.versions[0].draft.author
    }
}

/// An event: a stream sends events in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub at_us: i64,
    pub item: usize,
    pub version: usize,
}

/// The world with all its items.
pub(crate) struct World {
    pub items: Vec<Item>,
    /// The events by kind, in the order of their times.
    pub events: BTreeMap<Kind, Vec<Event>>,
    by_id: HashMap<(Kind, String), usize>,
    topics: Vec<String>,
    named: Vec<String>,
    random: Random,
    last_us: i64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let events = KINDS.into_iter().map(|kind| (kind, Vec::new())).collect();
        Self {
            items: Vec::new(),
            events,
            by_id: HashMap::new(),
            topics: Vec::new(),
            named: Vec::new(),
            random: Random(seed),
            last_us: 0,
        }
    }

    /// Sets the topics of further posts.
    pub(crate) fn set_topics(&mut self, topics: &[&str]) {
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self.named = topics
            .iter()
            .filter_map(|topic| topic.strip_prefix("from:"))
            .map(str::to_owned)
            .collect();
    }

    pub(crate) fn get(&self, kind: Kind, id: &str) -> Option<usize> {
        self.by_id.get(&(kind, id.to_owned())).copied()
    }

    /// Returns the items of one kind, the oldest first, with their positions in [`Self::items`].
    pub(crate) fn of(&self, kind: Kind) -> impl DoubleEndedIterator<Item = (usize, &Item)> {
        self.items.iter().enumerate().filter(move |(_, item)| item.kind == kind)
    }

    /// Returns the number of authors, pages and channels.
    pub(crate) fn authors(&self) -> usize {
        AUTHORS + self.named.len()
    }

    /// Returns the name of an author, page or channel.
    pub(crate) fn name(&self, author: usize) -> String {
        match author.checked_sub(AUTHORS) {
            Some(at) => self.named.get(at).cloned().unwrap_or_else(|| format!("gone{at}")),
            None => format!("watcher_{author}"),
        }
    }

    /// Returns the present time, or a little later, so that no two events have the same time.
    fn tick(&mut self) -> i64 {
        self.last_us = now_us().max(self.last_us + 1);
        self.last_us
    }

    /// Publishes a post now.
    pub(crate) fn publish(&mut self, kind: Kind) -> usize {
        let at_us = self.tick();
        self.publish_at(kind, at_us, None)
    }

    /// Publishes a post at a time that is later than all events of its kind.
    pub(crate) fn publish_at(&mut self, kind: Kind, at_us: i64, author: Option<usize>) -> usize {
        let number = self.items.len() as u64;
        let mut draft = text::draft(&mut self.random, &self.topics, &self.named);
        draft.author = author.unwrap_or(draft.author);
        let id = self.new_id(kind, at_us, draft.author);
        let version = Version { change: Change::Created, at_us, draft, rev: tid(at_us) };
        self.add(Item {
            kind,
            id,
            number,
            versions: vec![version],
            offers: vec![],
            edit_of: None,
            heat: 1,
        })
    }

    /// Publishes a post with exactly this text.
    pub(crate) fn publish_text(&mut self, kind: Kind, text: &str, author: usize) -> usize {
        let at_us = self.tick();
        let item = self.publish_at(kind, at_us, Some(author));
        let tags = text::hashtags(text);
        let name =
            author.checked_sub(AUTHORS).and_then(|at| self.named.get(at)).map(String::as_str);
        let topics = self
            .topics
            .iter()
            .filter(|topic| text::matches(topic, text, &tags, name))
            .cloned()
            .collect();
        self.items[item].versions[0].draft =
            Draft { text: text.to_owned(), tags, lang: "en", author, topics };
        item
    }

    fn add(&mut self, item: Item) -> usize {
        let at = self.items.len();
        let events = self.events.entry(item.kind).or_default();
        let at_us = item.created_us();
        assert!(
            events.last().is_none_or(|last| last.at_us < at_us),
            "history is written before what is new"
        );
        events.push(Event { at_us, item: at, version: 0 });
        self.by_id.insert((item.kind, item.id.clone()), at);
        self.items.push(item);
        at
    }

    fn new_id(&mut self, kind: Kind, at_us: i64, author: usize) -> String {
        let (ms, low) = (at_us / 1000, (at_us % 1000) as u64);
        match kind {
            // The id is a snowflake; the sequence has microseconds, so that two in a millisecond
            // are in order.
            Kind::Tweet => {
                (((ms - 1_288_834_974_657) as u64) << 22 | low << 12 | self.random.below(4096))
                    .to_string()
            }
            Kind::Post => format!(
                "{}_{}",
                page_id(author),
                1_000_000_000_000_000 + at_us as u64 % 900_000_000_000_000
            ),
            Kind::Video => {
                const LETTERS: &[u8; 64] =
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
                (0..11).map(|_| char::from(LETTERS[self.random.below(64) as usize])).collect()
            }
            Kind::Bsky => tid(at_us),
            Kind::Toot => ((ms as u64) << 16 | low << 6 | self.random.below(64)).to_string(),
        }
    }

    /// Changes an item's text, but not the topics that it matches. On X the edit has a new id.
    pub(crate) fn edit(&mut self, item: usize) -> usize {
        let at_us = self.tick();
        let mut draft = self.items[item].last().draft.clone();
        draft.text += " (corrected)";
        let version = Version { change: Change::Edited, at_us, draft, rev: tid(at_us) };
        let (kind, author) = (self.items[item].kind, self.items[item].author());
        if kind == Kind::Tweet {
            let (id, number) = (self.new_id(kind, at_us, author), self.items.len() as u64);
            let edit_of = Some(item);
            return self.add(Item {
                kind,
                id,
                number,
                versions: vec![version],
                offers: vec![],
                edit_of,
                heat: 1,
            });
        }
        self.change(item, version);
        item
    }

    /// Deletes an item.
    pub(crate) fn delete(&mut self, item: usize) {
        let at_us = self.tick();
        let draft = self.items[item].last().draft.clone();
        self.change(item, Version { change: Change::Deleted, at_us, draft, rev: tid(at_us) });
    }

    fn change(&mut self, item: usize, version: Version) {
        let at_us = version.at_us;
        self.items[item].versions.push(version);
        let events = self.events.entry(self.items[item].kind).or_default();
        events.push(Event { at_us, item, version: self.items[item].versions.len() - 1 });
    }

    /// Removes the offers of an answer that didn't arrive whole.
    pub(crate) fn withdraw(&mut self, request: usize) {
        self.items.iter_mut().for_each(|item| item.offers.retain(|offer| offer.request != request));
    }

    /// Notes that an item was sent to a client.
    pub(crate) fn offer(&mut self, item: usize, request: usize, body: &Value) {
        let text = body.to_string();
        let offers = &mut self.items[item].offers;
        // Most items are sent unchanged: such offers share their text.
        let body = match offers.last() {
            Some(last) if *last.body == *text => Arc::clone(&last.body),
            _ => text.into(),
        };
        offers.push(Offer { at_us: now_us(), request, body });
    }
}

/// Returns Unix time in µs.
pub(crate) fn now_us() -> i64 {
    (OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000) as i64
}

/// Returns the id of a page by the number of its author.
pub(crate) fn page_id(author: usize) -> u64 {
    100_000_000_001 + author as u64
}

/// Returns the id of a channel by the number of its author.
pub(crate) fn channel_id(author: usize) -> String {
    format!("UCfake{author:018}")
}

/// Returns the DID of an author.
pub(crate) fn did(author: usize) -> String {
    let base = |n: usize| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[n % 32]);
    format!(
        "did:plc:fake{}",
        (0..20).map(|at| base(author / 32_usize.pow(at % 3) + at as usize)).collect::<String>()
    )
}

/// Returns a timestamp identifier of the AT protocol, which sorts by time.
pub(crate) fn tid(at_us: i64) -> String {
    let n = (at_us as u64) << 10 | 7;
    (0..13)
        .rev()
        .map(|at| char::from(b"234567abcdefghijklmnopqrstuvwxyz"[(n >> (at * 5) & 31) as usize]))
        .collect()
}

fn at(us: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000)
        .expect("a time of this century")
}

/// Formats a time like `2026-11-25T15:04:05.123Z`.
pub(crate) fn iso(us: i64) -> String {
    let t = at(us);
    let (h, m, s) = t.to_hms();
    format!("{}T{h:02}:{m:02}:{s:02}.{:03}Z", t.date(), t.millisecond())
}

/// Formats a time like `2026-11-25T15:04:05Z`, or with Facebook's `+0000` for the `Z`.
pub(crate) fn seconds(us: i64, zone: &str) -> String {
    let full = iso(us);
    format!("{}{zone}", &full[..full.len() - 5])
}

/// Parses RFC 3339, or Unix seconds.
pub(crate) fn parse_us(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds * 1_000_000);
    }
    let time = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    Some((time.unix_timestamp_nanos() / 1000) as i64)
}

//! Bluesky's Jetstream, in the wire format of v1, and posts by their addresses. By its settings it
//! is as inexact as the real one: a recent cursor is answered with a whole segment, and hosts see
//! events at different times.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::random::Random;
use super::http::{Request, Response};
use super::shared::Inner;
use super::stream::{Feed, Frame};
use super::text::spans;
use super::world::{Change, Event, Item, Kind, World, did, iso, now_us};

/// A subscriber.
struct Subscriber {
    collections: Vec<String>,
    dids: Vec<String>,
    /// The longest frame that is sent; 0 is no bound.
    longest: usize,
    /// True if nothing is sent before the client's message with its options.
    silent: bool,
    /// The next event.
    at: usize,
    /// The delay after which this host sees an event, in µs.
    lag_us: i64,
    /// The number of this host's first event.
    first_number: u64,
    /// The generator of likes and other events between posts.
    random: Random,
    /// The frame that is sent before the next event.
    before: Option<String>,
}

/// Cursors below this are numbers of events, those above it times in µs.
const NUMBERS_BELOW: i64 = 1_000_000_000_000_000;

const POSTS: &str = "app.bsky.feed.post";

/// Begins a stream: from the client's cursor on, or from the oldest event if the cursor is older.
/// Without a cursor, or with one in the future, it begins live.
pub(crate) fn begin(inner: &mut Inner, request: &Request) -> Result<Box<dyn Feed>, Response> {
    if super::socket::key(request).is_none() {
        return Err(Response::text(400, "text/plain", "Bad Request\n".into()));
    }
    let all = |name: &str| request.all(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let (collections, dids) = (all("wantedCollections"), all("wantedDids"));
    check(&collections, &dids).map_err(|message| Response::text(400, "text/plain", message))?;
    let events = inner.world.events.get(&Kind::Bsky).expect("all kinds have their list");
    let cursor: Option<i64> = match request.query("cursor") {
        None => None,
        Some(text) => Some(
            text.parse().map_err(|_| Response::text(400, "text/plain", "invalid cursor".into()))?,
        ),
    };
    let now = now_us();
    let is_late = request.path.starts_with("/late/");
    let lag_us = if is_late { inner.settings.jetstream_lag.as_micros() as i64 } else { 0 };
    // Each host has begun to count at another time.
    let first_number = if is_late { 700_001 } else { 1 };
    let oldest = now - inner.settings.jetstream_reach.as_micros() as i64;
    let seen = |us: i64| events.partition_point(|event| event.at_us + lag_us < us);
    let (oldest, live) = (seen(oldest), seen(now));
    let at = match cursor {
        Some(cursor) if cursor < NUMBERS_BELOW && inner.settings.jetstream_numbers => {
            let at = (cursor as u64).saturating_sub(first_number) as usize;
            if at < live { at.max(oldest) } else { live }
        }
        Some(cursor) if cursor <= now => {
            // A cursor in the open segment is answered with the whole segment.
            let open = live - live % inner.settings.jetstream_segment.max(1);
            seen(cursor).min(open).max(oldest)
        }
        _ => live,
    };
    let longest = request.number("maxMessageSizeBytes").unwrap_or(0);
    let silent = request.query("requireHello") == Some("true");
    let random = Random(now as u64);
    let before = None;
    Ok(Box::new(Subscriber {
        collections,
        dids,
        longest,
        silent,
        at,
        lag_us,
        first_number,
        random,
        before,
    }))
}

fn check(collections: &[String], dids: &[String]) -> Result<(), String> {
    if collections.len() > 100 {
        return Err("too many wanted collections".into());
    }
    if dids.len() > 10_000 {
        return Err("too many wanted DIDs".into());
    }
    if let Some(bad) = dids.iter().find(|did| !did.starts_with("did:")) {
        return Err(format!("invalid DID: {bad}"));
    }
    match collections.iter().find(|name| !name.trim_end_matches(".*").contains('.')) {
        Some(bad) => Err(format!("invalid collection: {bad}")),
        None => Ok(()),
    }
}

impl Subscriber {
    fn wants(&self, collection: &str, author: usize) -> bool {
        let fits = |wanted: &String| match wanted.strip_suffix('*') {
            Some(prefix) => collection.starts_with(prefix),
            None => wanted == collection,
        };
        let collections = self.collections.is_empty() || self.collections.iter().any(fits);
        collections && (self.dids.is_empty() || self.dids.contains(&did(author)))
    }

    /// Returns an event that isn't a post: a like, if it is wanted, or now and then an identity or
    /// account event, which no filter excludes.
    fn noise(&mut self, event: &Event) -> Option<String> {
        let at_us = event.at_us;
        let author = self.random.below(30) as usize;
        let frame = match self.random.below(40) {
            0 => {
                json!({"did": did(author), "time_us": at_us, "kind": "identity", "identity": {"did": did(author), "handle": format!("w{author}.example"), "seq": at_us / 7, "time": iso(at_us)}})
            }
            1 => {
                json!({"did": did(author), "time_us": at_us, "kind": "account", "account": {"active": true, "did": did(author), "seq": at_us / 7, "time": iso(at_us)}})
            }
            2..20 if self.wants("app.bsky.feed.like", author) => {
                let subject = json!({"cid": cid(author as u64), "uri": format!("at://{}/{POSTS}/3kfake", did(author))});
                let record = json!({"$type": "app.bsky.feed.like", "createdAt": iso(at_us), "subject": subject});
                json!({"did": did(author), "time_us": at_us, "kind": "commit", "commit": {"rev": super::world::tid(at_us), "operation": "create", "collection": "app.bsky.feed.like", "rkey": super::world::tid(at_us), "record": record, "cid": cid(3)}})
            }
            _ => return None,
        };
        Some(frame.to_string())
    }
}

impl Feed for Subscriber {
    fn next(&mut self, inner: &mut Inner) -> Option<Frame> {
        if self.silent {
            return None;
        }
        if let Some(text) = self.before.take() {
            return Some(Frame { text, offer: None });
        }
        loop {
            let mut event = *inner.world.events.get(&Kind::Bsky)?.get(self.at)?;
            if event.at_us + self.lag_us > now_us() {
                return None;
            }
            let number = self.first_number + self.at as u64;
            self.at += 1;
            event.at_us += self.lag_us;
            let item = &inner.world.items[event.item];
            if !self.wants(POSTS, item.author()) {
                continue;
            }
            let mut frame = frame(item, event.version);
            frame["time_us"] = event.at_us.into();
            if inner.settings.jetstream_numbers {
                frame["cursor"] = number.into();
            }
            let text = frame.to_string();
            self.before = self.noise(&event);
            if self.longest == 0 || text.len() <= self.longest {
                return Some(Frame { text, offer: Some((event.item, frame)) });
            }
        }
    }

    fn keep_alive(&self, _inner: &Inner) -> (Duration, &'static str) {
        // A host that sees events later has to poll for them.
        let looks = Duration::from_millis(20);
        (if self.lag_us > 0 { looks } else { Duration::from_secs(30) }, "")
    }

    fn disconnect(&self) -> String {
        json!({"$type": "error", "error": "ConsumerTooSlow", "message": "you are too slow"})
            .to_string()
    }

    fn unknown(&self) -> String {
        let at_us = now_us();
        json!({"did": did(1), "time_us": at_us, "kind": "novelty", "novelty": {"is": "new"}})
            .to_string()
    }

    fn told(&mut self, _inner: &mut Inner, text: &str) -> Result<(), u16> {
        let bad = 1007;
        let update: Value = serde_json::from_str(text).map_err(|_| bad)?;
        if update["type"] != "options_update" {
            return Err(bad);
        }
        let list = |name: &str| -> Vec<String> {
            update["payload"][name]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let (collections, dids) = (list("wantedCollections"), list("wantedDids"));
        check(&collections, &dids).map_err(|_| bad)?;
        self.longest = update["payload"]["maxMessageSizeBytes"].as_u64().unwrap_or(0) as usize;
        (self.collections, self.dids, self.silent) = (collections, dids, false);
        Ok(())
    }
}

fn cid(n: u64) -> String {
    format!("bafyreifake{n:0>48}")
}

/// Returns the frame of a version, which the lake should have unchanged.
pub(crate) fn frame(item: &Item, version: usize) -> Value {
    let version = &item.versions[version];
    let operation = match version.change {
        Change::Created => "create",
        Change::Edited => "update",
        Change::Deleted => "delete",
    };
    let mut commit =
        json!({"rev": version.rev, "operation": operation, "collection": POSTS, "rkey": item.id});
    if version.change != Change::Deleted {
        commit["record"] = record(item, version);
        commit["cid"] = cid(item.number).into();
    }
    json!({"did": did(item.author()), "time_us": version.at_us, "kind": "commit", "commit": commit})
}

fn record(item: &Item, version: &super::world::Version) -> Value {
    let text = &version.draft.text;
    // Clients set this time, and the clocks of some are years off.
    let created = if item.number % 13 == 5 {
        item.created_us() - 94_608_000_000_000
    } else {
        item.created_us() - 250_000
    };
    let mut record = json!({"$type": POSTS, "createdAt": iso(created), "langs": [version.draft.lang], "text": text});
    // Positions are counted in bytes.
    let facets: Vec<_> = spans(text)
        .map(|(at, len)| json!({"features": [{"$type": "app.bsky.richtext.facet#tag", "tag": &text[at + 1..at + len]}], "index": {"byteStart": at, "byteEnd": at + len}}))
        .collect();
    if !facets.is_empty() {
        record["facets"] = facets.into();
    }
    if item.number % 4 == 1 {
        let strong = json!({"cid": cid(9), "uri": format!("at://{}/{POSTS}/3kfakeroot", did(3))});
        record["reply"] = json!({"root": strong, "parent": strong});
    }
    if item.number.is_multiple_of(6) {
        record["embed"] = json!({"$type": "app.bsky.embed.external", "external": {"uri": "https://example.org/quay?a=1&b=2", "title": "Am Kai — 港にて", "description": "What the boats did", "thumb": {"$type": "blob", "ref": {"$link": cid(8)}, "mimeType": "image/jpeg", "size": 119_635}}});
    }
    record
}

/// Returns up to 25 posts by their addresses, with their counts.
pub(crate) fn posts(inner: &mut Inner, request: &Request, _number: usize) -> Response {
    let uris = request.all("uris");
    if uris.is_empty() || uris.len() > 25 {
        return Response::json(
            400,
            &json!({"error": "InvalidRequest", "message": "Error: uris must not have more than 25 elements"}),
        );
    }
    let find = |uri: &&str| {
        let rkey = uri.rsplit('/').next()?;
        let item = &inner.world.items[inner.world.get(Kind::Bsky, rkey)?];
        (!item.deleted()).then(|| view(&inner.world, uri, item))
    };
    let posts: Vec<_> = uris.iter().filter_map(find).collect();
    Response::json(200, &json!({ "posts": posts }))
}

fn view(world: &World, uri: &str, item: &Item) -> Value {
    let mut random = Random(item.number ^ 0xb5c7);
    let mut count = |most: u64| random.below(most) * item.heat;
    json!({
        "uri": uri, "cid": cid(item.number), "record": record(item, item.last()), "indexedAt": iso(item.last().at_us),
        "author": {"did": did(item.author()), "handle": format!("{}.example", world.name(item.author()).replace('_', "-"))},
        "replyCount": count(20), "repostCount": count(50), "likeCount": count(400), "quoteCount": count(9), "labels": [],
    })
}

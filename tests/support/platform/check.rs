//! A comparison of a lake with the truth. It uses nothing of the crate: only the posts that the
//! platform has offered, and the form that the lake gives them.
//!
//! ```ignore
//! let posts = support::lake(&sandbox.path("lake"), false);         // or the lines of `replay`
//! let checked = platform
//!     .check(Kind::Tweet, &["#storm", "rust lang"])                 // what was asked for
//!     .ledger(&gaps.out)                                            // `waterspout gaps t.ron --json`
//!     .with_edits()                                                 // if `edits` are wired to the lake
//!     .with_deletes()                                               // if `deletes` are
//!     .lake(&posts);                                                // fails and says what is wrong
//! assert_eq!(checked.excused, 0);                                   // nothing was lost at all
//! ```
//!
//! All posts are wanted that match one of the topics and were posted from the first answer on that
//! could give posts ([`Check::since`] changes that) until now ([`Check::until`]). Each wanted post
//! must be there once, in the form of one of its offers, or lie in a gap of the ledger that isn't
//! filled. Every post in the lake must be wanted except for its time. An edit of a post is a
//! version of it, which may be there once as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::place::Place;
use super::shared::Inner;
use super::world::{Change, Item, Kind, iso, now_us, parse_us, seconds};
use super::{Platform, world};

/// An entry of the gap ledger.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gap {
    pub spout: String,
    /// The entry's id, which stays the same when the entry is written again as filled.
    pub id: String,
    /// Unix time in µs, both inclusive.
    pub from_us: i64,
    pub to_us: i64,
    pub why: String,
    pub filled: bool,
}

/// The results of a comparison without mistakes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Checked {
    /// The number of wanted posts that are there.
    pub there: usize,
    /// The number of wanted posts that aren't there, but lie in a gap of the ledger.
    pub excused: usize,
    /// The number of wanted posts that were deleted before they were offered to anybody.
    pub vanished: usize,
    /// The number of posts that are there though they are older than the wanted ones.
    pub older: usize,
    /// The numbers of entries for later versions, for deletes, and for counts that were read again.
    pub edits: usize,
    pub deletes: usize,
    pub counts: usize,
    pub gaps: Vec<Gap>,
}

/// The settings of a comparison.
pub(crate) struct Check<'a> {
    platform: &'a Platform,
    kind: Kind,
    wanted: Box<dyn Fn(&Item) -> bool + 'a>,
    since_us: Option<i64>,
    until_us: i64,
    gaps: Vec<Gap>,
    edits: bool,
    deletes: bool,
    mistakes: Vec<String>,
}

impl Platform {
    /// Begins a comparison for posts that match one of these topics of the world.
    pub(crate) fn check<'a>(&'a self, kind: Kind, topics: &[&str]) -> Check<'a> {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let wanted = Box::new(move |item: &Item| {
            item.topics().any(|topic| topics.iter().any(|t| t == topic))
        });
        Check {
            platform: self,
            kind,
            wanted,
            since_us: None,
            until_us: now_us(),
            gaps: Vec::new(),
            edits: false,
            deletes: false,
            mistakes: Vec::new(),
        }
    }
}

/// The entries that were found in a lake.
#[derive(Default)]
struct Found {
    /// The number of entries for each version of each item.
    versions: BTreeMap<(usize, usize), usize>,
    deletes: BTreeMap<usize, usize>,
    counts: usize,
}

impl<'a> Check<'a> {
    /// Sets the wanted items, if topics can't express them: a page's or a channel's posts (by
    /// [`Item::author`]).
    pub(crate) fn wanted(mut self, wanted: impl Fn(&Item) -> bool + 'a) -> Self {
        self.wanted = Box::new(wanted);
        self
    }

    /// Sets the time from which on posts are wanted, in µs.
    pub(crate) fn since(mut self, us: i64) -> Self {
        self.since_us = Some(us);
        self
    }

    /// Sets the time before which posts are wanted, in µs.
    pub(crate) fn until(mut self, us: i64) -> Self {
        self.until_us = us;
        self
    }

    /// Requires every version that was offered.
    pub(crate) fn with_edits(mut self) -> Self {
        self.edits = true;
        self
    }

    /// Requires every delete that was sent for a post of the lake.
    pub(crate) fn with_deletes(mut self) -> Self {
        self.deletes = true;
        self
    }

    /// Reads the output of `waterspout gaps --json`: JSON values with any separators, or an array
    /// of them.
    pub(crate) fn ledger(mut self, text: &str) -> Self {
        for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
            match value {
                Ok(Value::Array(list)) => list.iter().for_each(|entry| self.gap(entry)),
                Ok(entry) => self.gap(&entry),
                Err(error) => self.mistakes.push(format!("the ledger is no JSON: {error}: {text}")),
            }
        }
        self
    }

    fn gap(&mut self, entry: &Value) {
        let gap = entry.get("gap").unwrap_or(entry);
        let time = |name: &str| gap[name].as_str().and_then(parse_us);
        let all = (
            time("from"),
            time("to"),
            gap["why"].as_str(),
            gap["spout"].as_str(),
            gap["filled"].as_bool(),
        );
        match all {
            (Some(from_us), Some(to_us), Some(why), Some(spout), Some(filled))
                if from_us <= to_us && !why.is_empty() =>
            {
                let id = gap["id"]
                    .as_str()
                    .map_or_else(|| format!("{spout} {from_us} {to_us}"), str::to_owned);
                let gap = Gap { spout: spout.into(), id, from_us, to_us, why: why.into(), filled };
                // The lake and the command may both have the entry, and the lake has it again when
                // the gap was filled.
                match self.gaps.iter_mut().find(|known| known.id == gap.id) {
                    Some(known) => known.filled |= gap.filled,
                    None => self.gaps.push(gap),
                }
            }
            _ => self.mistakes.push(format!("no entry of a ledger: {entry}")),
        }
    }

    /// Fails with all mistakes, unless the lake is as it should be.
    #[track_caller]
    pub(crate) fn lake<S: AsRef<str>>(self, posts: &[S]) -> Checked {
        match self.compare(posts) {
            Ok(checked) => checked,
            Err(mistakes) => {
                panic!(
                    "{} mistakes:\n{}",
                    mistakes.len(),
                    mistakes[..mistakes.len().min(20)].join("\n")
                )
            }
        }
    }

    /// Returns the results, or all mistakes.
    pub(crate) fn compare<S: AsRef<str>>(mut self, posts: &[S]) -> Result<Checked, Vec<String>> {
        let platform = self.platform;
        platform.with(|inner| {
            let mut found = Found::default();
            let pages = pages(inner, self.kind);
            for post in posts {
                if let Err(mistake) = self.post(inner, post.as_ref(), &pages, &mut found) {
                    self.mistakes.push(format!("{mistake}: {:.300}", post.as_ref()));
                }
            }
            let checked = self.missing(inner, &found);
            if self.mistakes.is_empty() {
                Ok(checked)
            } else {
                Err(std::mem::take(&mut self.mistakes))
            }
        })
    }

    /// Checks one object of the lake.
    fn post(
        &mut self,
        inner: &Inner,
        post: &str,
        pages: &Pages,
        found: &mut Found,
    ) -> Result<(), String> {
        let value: Value =
            serde_json::from_str(post).map_err(|error| format!("no JSON: {error}"))?;
        let object = value
            .as_object()
            .filter(|object| object.len() == 1)
            .ok_or("not one key that names the kind")?;
        let (key, body) = object.iter().next().expect("it has one");
        match key.as_str() {
            "gap" => self.gap(&value),
            "delete" if body["kind"] == self.kind.key() => return self.delete(inner, body, found),
            key if key == self.kind.key() => return self.own(inner, body, pages, found),
            // The object belongs to another spout.
            _ => {}
        }
        Ok(())
    }

    fn delete(&self, inner: &Inner, body: &Value, found: &mut Found) -> Result<(), String> {
        let id = body["id"].as_str().ok_or("a delete without an id")?;
        // Bluesky's ids are addresses, whose last part is the key.
        let item = inner
            .world
            .get(self.kind, id.rsplit('/').next().unwrap_or(id))
            .ok_or("a delete of what never was")?;
        if !inner.world.items[item].versions.iter().any(|version| version.change == Change::Deleted)
        {
            return Err("a delete of what is there".into());
        }
        match found.deletes.entry(item).and_modify(|count| *count += 1).or_insert(1) {
            1 => Ok(()),
            _ => Err("a delete that is there twice".into()),
        }
    }

    /// Checks a post of this platform.
    fn own(
        &self,
        inner: &Inner,
        body: &Value,
        pages: &Pages,
        found: &mut Found,
    ) -> Result<(), String> {
        let at = identify(inner, self.kind, body).ok_or("a post that nobody has posted")?;
        let item = &inner.world.items[at];
        if !(self.wanted)(item) {
            return Err(format!(
                "a post that matches no topic (its own are {:?})",
                item.topics().collect::<Vec<_>>()
            ));
        }
        let mut body = body.clone();
        let fields = body.as_object_mut().ok_or("no object")?;
        let received = fields.remove("received_at").ok_or("no \"received_at\"")?;
        let received = received.as_str().and_then(parse_us).ok_or("\"received_at\" is no time")?;
        // The time may be cut to milliseconds, or to seconds.
        if received < item.created_us() - 1_000_000 || received > now_us() + 1_000_000 {
            return Err(format!(
                "received at {}, posted at {}",
                iso(received),
                iso(item.created_us())
            ));
        }
        if self.kind == Kind::Video {
            // The video doesn't show which topics' searches found it, so the source adds the topic.
            fields.remove("matching_rules");
        }
        if self.kind == Kind::Post {
            // Facebook doesn't say that a text has changed, so the source adds the time of the
            // edit.
            fields.remove("edited_at");
        }
        if fields.remove("refreshed").is_some() {
            found.counts += 1;
            // Bluesky's counts have another form than its posts.
            return if self.kind == Kind::Bsky {
                Ok(())
            } else {
                self.same_as_offered(item, &body, pages)
            };
        }
        self.same_as_offered(item, &body, pages)?;
        match found
            .versions
            .entry((at, version(item, self.kind, &body)))
            .and_modify(|n| *n += 1)
            .or_insert(1)
        {
            1 => Ok(()),
            n => Err(format!("there {n} times")),
        }
    }

    fn same_as_offered(&self, item: &Item, body: &Value, pages: &Pages) -> Result<(), String> {
        let offers: Vec<(usize, Value)> = item
            .offers
            .iter()
            .map(|offer| (offer.request, serde_json::from_str(&offer.body).expect("it was JSON")))
            .collect();
        let same = |(request, offer): &(usize, Value)| match self.kind {
            Kind::Tweet => same_tweet(body, offer, pages.get(request)),
            _ => body == offer,
        };
        // A video that is gone before it is read was seen in a list only.
        let listed = self.kind == Kind::Video && offers.is_empty();
        if listed || offers.iter().any(same) {
            return Ok(());
        }
        let nearest =
            offers.last().map_or("none".into(), |(_, offer)| differences(body, offer).join(", "));
        Err(format!(
            "not as it was offered in any of {} offers; it differs from the last by {nearest}",
            offers.len()
        ))
    }

    /// Finds the wanted posts that are missing.
    fn missing(&mut self, inner: &Inner, found: &Found) -> Checked {
        let since = self.since_us.or_else(|| first_answer(inner, self.kind)).unwrap_or(i64::MAX);
        let mut checked =
            Checked { counts: found.counts, deletes: found.deletes.len(), ..Checked::default() };
        let items: Vec<_> =
            inner.world.of(self.kind).filter(|(_, item)| (self.wanted)(item)).collect();
        for (at, item) in items {
            let versions: BTreeSet<_> = found
                .versions
                .range((at, 0)..(at + 1, 0))
                .map(|((_, version), _)| *version)
                .collect();
            checked.edits += versions.len().saturating_sub(1)
                + usize::from(item.edit_of.is_some() && !versions.is_empty());
            let due = (since..self.until_us).contains(&item.created_us());
            match (versions.is_empty(), due) {
                (false, true) => checked.there += 1,
                (false, false) => checked.older += 1,
                (true, false) => {}
                (true, true) if item.deleted() && item.offers.is_empty() => checked.vanished += 1,
                // Edits come on their own stream.
                (true, true) if item.edit_of.is_some() && !self.edits => {}
                (true, true) if self.excuses(item.created_us()) => checked.excused += 1,
                (true, true) => {
                    let offers = item.offers.len();
                    let created = iso(item.created_us());
                    self.mistakes.push(format!(
                        "lost: {} of {created}, offered {offers} times: {:?}",
                        item.id,
                        item.last().draft.text
                    ));
                }
            }
            if !versions.is_empty() {
                self.followed(item, at, &versions, found);
            }
        }
        checked.gaps = self.gaps.clone();
        checked
    }

    /// Returns true if the ledger has an open gap at this time.
    fn excuses(&self, us: i64) -> bool {
        // The ledger may cut its times to seconds.
        let inside = |gap: &&Gap| (gap.from_us..=gap.to_us + 999_999).contains(&us);
        self.gaps.iter().filter(inside).any(|gap| !gap.filled)
    }

    /// Finds the missing edits and deletes of a post that is there.
    fn followed(&mut self, item: &Item, at: usize, there: &BTreeSet<usize>, found: &Found) {
        for offer in &item.offers {
            let body: Value = serde_json::from_str(&offer.body).expect("it was JSON");
            let offered = version(item, self.kind, &body);
            let us = item.versions[offered].at_us;
            match item.versions[offered].change {
                Change::Deleted
                    if self.deletes && !found.deletes.contains_key(&at) && !self.excuses(us) =>
                {
                    self.mistakes.push(format!(
                        "{} was taken back at {}, and nothing says so",
                        item.id,
                        iso(us)
                    ));
                    return;
                }
                Change::Edited if self.edits && !there.contains(&offered) && !self.excuses(us) => {
                    self.mistakes.push(format!(
                        "{} was edited at {}, and that isn't there",
                        item.id,
                        iso(us)
                    ));
                    return;
                }
                _ => {}
            }
        }
    }
}

/// The objects that each request's answer included beside its posts.
type Pages = BTreeMap<usize, Map<String, Value>>;

fn pages(inner: &Inner, kind: Kind) -> Pages {
    let mut pages = Pages::new();
    for (_, item) in inner.world.of(kind).filter(|_| kind == Kind::Tweet) {
        for offer in &item.offers {
            let body: Value = serde_json::from_str(&offer.body).expect("it was JSON");
            if let Some(includes) = body["includes"].as_object() {
                super::x::unite(pages.entry(offer.request).or_default(), includes);
            }
        }
    }
    pages
}

/// Returns true if the fields of `data` are the same, the tweet has all included objects of its
/// offer and none from outside its page, and the rules are the same if there were any.
fn same_tweet(body: &Value, offer: &Value, page: Option<&Map<String, Value>>) -> bool {
    let beside = ["includes", "matching_rules", "errors"];
    let own = |value: &Value| {
        let mut value = value.clone();
        value
            .as_object_mut()
            .expect("a tweet is an object")
            .retain(|name, _| !beside.contains(&name.as_str()));
        value
    };
    let lists = |value: &Value| -> BTreeSet<String> {
        let lists = value.as_object().into_iter().flatten();
        lists
            .flat_map(|(name, list)| {
                list.as_array().into_iter().flatten().map(move |one| format!("{name} {one}"))
            })
            .collect()
    };
    let (has, due) = (lists(&body["includes"]), lists(&offer["includes"]));
    let page = page.map_or_else(BTreeSet::new, |page| lists(&Value::Object(page.clone())));
    let rules =
        offer["matching_rules"].is_null() || body["matching_rules"] == offer["matching_rules"];
    own(body) == own(offer) && has.is_superset(&due) && has.is_subset(&page) && rules
}

/// Returns the fields that aren't the same.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return vec!["its type".into()];
    };
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    differ
        .map(|name| format!("{name:?} ({:.80?} for {:.80?})", one.get(name), other.get(name)))
        .collect()
}

/// Returns the item of a post in the lake.
fn identify(inner: &Inner, kind: Kind, body: &Value) -> Option<usize> {
    let id = if kind == Kind::Bsky { &body["commit"]["rkey"] } else { &body["id"] };
    let at = inner.world.get(kind, id.as_str()?)?;
    (kind != Kind::Bsky || body["did"] == world::did(inner.world.items[at].author())).then_some(at)
}

/// Returns the number of the item's version.
fn version(item: &Item, kind: Kind, body: &Value) -> usize {
    let fits = |version: &world::Version| match kind {
        Kind::Tweet | Kind::Video => true,
        Kind::Bsky => body["commit"]["rev"] == version.rev.as_str(),
        Kind::Toot if version.change == Change::Deleted => body.get("deleted").is_some(),
        Kind::Toot if version.change == Change::Created => {
            body["edited_at"].is_null() && body.get("deleted").is_none()
        }
        Kind::Toot => body["edited_at"] == iso(version.at_us),
        Kind::Post => {
            body["updated_time"].is_null()
                || body["updated_time"] == seconds(version.at_us, "+0000")
        }
    };
    // Two versions within a second differ only by their text at Facebook.
    let text = |version: &world::Version| {
        kind != Kind::Post || body["message"] == version.draft.text.as_str()
    };
    let exact = item.versions.iter().position(|version| fits(version) && text(version));
    exact.or_else(|| item.versions.iter().position(fits)).unwrap_or(0)
}

/// Returns the time of the first answer that gave posts, or could have given some.
fn first_answer(inner: &Inner, kind: Kind) -> Option<i64> {
    use Place::*;
    let gives = [
        XStream,
        XRecent,
        FacebookPosts,
        YouTubeSearch,
        YouTubePlaylist,
        Jetstream,
        MastodonStream,
        MastodonTimeline,
    ];
    let mut seen =
        inner.log.iter().filter(|seen| seen.place.kind() == kind && gives.contains(&seen.place));
    seen.find_map(|seen| seen.gives_us)
}

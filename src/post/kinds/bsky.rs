//! Bluesky: an event of Jetstream, whose first version has a `commit` around its record, and whose
//! second version doesn't; or a post that was read again. An event of any collection is a post:
//! most have no text.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::facts::{Counts, Entities, Media, PostFacts, Relation, id_of, integers};
use super::{Author, DeletionReach, Labels, PostKind, dated, time_of};
use crate::post::fields::{
    elements, find_member, get, id_text, leading_value, pick, string, text_at, texts_in, unix_time,
};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct BlueskyEvent;

impl PostKind for BlueskyEvent {
    fn platform(&self) -> Option<&'static str> {
        Some("bluesky")
    }

    /// Returns the time at which the server saw it: a record's `createdAt` comes from a client's
    /// clock and isn't used.
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        match key {
            b"payload" => find_member(json, stated_time),
            _ => stated_time(key, json),
        }
    }

    /// Returns the address of the record. A post that was read again contains it unchanged.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let event = event(body);
        let [did, commit] = pick(event, ["did", "commit"]);
        let [collection, rkey] = pick(commit.unwrap_or(event), ["collection", "rkey"]);
        match (did.and_then(string), collection.and_then(string), rkey.and_then(string)) {
            (Some(did), Some(collection), Some(rkey)) => {
                Some(format!("at://{did}/{collection}/{rkey}").into())
            }
            _ => text_at(event, &["uri"]),
        }
    }

    /// Returns the account, whose deletion deletes all its posts.
    fn other_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.author(body).id
    }

    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        text_at(record(body)?, &["text"])
    }

    /// Returns the author: an event has only the DID, and a post that was read again has the names,
    /// too.
    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let event = event(body);
        if let Some(did) = text_at(event, &["did"]) {
            return Author { id: Some(did), ..Author::default() };
        }
        let profile =
            pick(get(event, "author").unwrap_or_default(), ["did", "handle", "displayName"]);
        let [id, handle, name] = profile.map(|value| value.and_then(string));
        Author { id, handle, name }
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let [facets, tags, langs] =
            pick(record(body).unwrap_or_default(), ["facets", "tags", "langs"]);
        let mut labels = Labels::default();
        for facet in elements(facets.unwrap_or_default()) {
            let features = get(facet, "features");
            labels.hashtags.extend(texts_in(features, "tag"));
            labels.mentions.extend(texts_in(features, "did"));
        }
        labels.hashtags.extend(elements(tags.unwrap_or_default()).filter_map(string));
        labels.langs.extend(elements(langs.unwrap_or_default()).filter_map(string));
        labels
    }

    /// Returns the entities that a client has marked in the text. A record without any marks may be
    /// from a program that doesn't write them, so its hashtags and links are found in the text.
    fn entities<'a>(&self, body: &'a [u8]) -> Entities<'a> {
        let names = ["text", "facets", "tags", "embed"];
        let [text, facets, tags, embed] = pick(record(body).unwrap_or_default(), names);
        let mut entities = Entities { mentions: Some(Vec::new()), ..Entities::default() };
        if facets.is_some() {
            entities = Entities::all_known();
            let text = text.and_then(string).unwrap_or_default();
            add_facets(&mut entities, facets.unwrap_or_default(), &text);
        }
        if let Some(tags) = tags {
            entities.more_hashtags.extend(elements(tags).filter_map(string));
        }
        if let Some(card) = embed.and_then(card) {
            entities.more_urls.extend(text_at(card, &["uri"]));
        }
        entities
    }

    fn media(&self, body: &[u8]) -> Vec<Media> {
        let Some(embed) = record(body).and_then(|record| get(record, "embed")) else {
            return Vec::new();
        };
        let attached = get(embed, "media").unwrap_or(embed);
        let [images, video, external] = pick(attached, ["images", "video", "external"]);
        let mut media = Vec::new();
        media.extend(elements(images.unwrap_or_default()).map(|_| Media::Photo));
        media.extend(video.map(|_| Media::Video));
        media.extend(external.map(|_| Media::LinkCard));
        media
    }

    fn relation<'a>(&self, body: &'a [u8]) -> Relation<'a> {
        let [reply, embed, subject, kind] =
            pick(record(body).unwrap_or_default(), ["reply", "embed", "subject", "$type"]);
        let uri = |object: Option<&'a [u8]>| id_of(object, "uri");
        let quoted = embed.and_then(|embed| get(embed, "record"));
        // Beside pictures, the quoted record is one level deeper.
        let inner = quoted.and_then(|record| get(record, "record"));
        let is_repost = kind == Some(br#""app.bsky.feed.repost""#);
        Relation {
            reply_to: uri(reply.and_then(|reply| get(reply, "parent"))),
            repost_of: if is_repost { uri(subject) } else { None },
            quote_of: uri(quoted).or_else(|| uri(inner)),
            conversation_id: uri(reply.and_then(|reply| get(reply, "root"))),
        }
    }

    /// Returns the counts, which only a post that was read again has.
    fn counts(&self, body: &[u8]) -> Counts {
        let names = ["likeCount", "repostCount", "replyCount", "quoteCount", "bookmarkCount"];
        let [likes, reposts, replies, quotes, bookmarks] = integers(Some(event(body)), names);
        Counts { likes, reposts, replies, quotes, bookmarks, views: None }
    }

    /// Returns true if the facts are complete. An event of an account or an identity isn't about a
    /// record, and has no id.
    fn is_as_expected(&self, body: &[u8], facts: &PostFacts<'_>) -> bool {
        let is_of_account = || {
            let [account, identity] = pick(event(body), ["account", "identity"]);
            account.or(identity).is_some()
        };
        facts.created_at.is_some() && (facts.id.is_some() || is_of_account())
    }

    fn stream(&self, body: &[u8]) -> PostStream {
        let is_read_again = get(body, REFRESHED).is_some();
        PostStream::of_platform(is_read_again, is_update(body))
    }

    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        if is_update(body) { time_of(self, body) } else { None }
    }

    /// Returns the revision of its repository, which sorts as text.
    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        in_commit(body, "rev").and_then(id_text)
    }

    /// Returns the selection of a deletion: a record may be created again under the same address,
    /// and an account may come back.
    fn deletion_reach(&self, _id: &str) -> DeletionReach {
        DeletionReach::UntilDeletion
    }
}

/// Returns the time in a member of an event, if the member has one.
fn stated_time(key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
    match key {
        b"time_us" => leading_value(json).and_then(|value| unix_time(value, 1_000)),
        b"time" | b"indexedAt" => dated(json),
        _ => None,
    }
}

/// Returns the event of a message: the second version wraps it, and begins with its type.
fn event(body: &[u8]) -> &[u8] {
    let wraps =
        find_member(body, |key, json| Some(key == b"$type" && json.starts_with(br#""message""#)));
    if wraps == Some(true) { get(body, "payload").unwrap_or(body) } else { body }
}

/// Returns the JSON from the record of an event on.
fn record(body: &[u8]) -> Option<&[u8]> {
    find_member(event(body), |key, json| match key {
        b"commit" => find_member(json, |key, json| (key == b"record").then_some(json)),
        b"record" => Some(json),
        _ => None,
    })
}

/// Returns a member of the commit, or of an event without a commit.
fn in_commit<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let event = event(body);
    get(get(event, "commit").unwrap_or(event), name)
}

fn is_update(body: &[u8]) -> bool {
    in_commit(body, "operation").and_then(string).as_deref() == Some("update")
}

/// Returns the page that a record shows as a card.
fn card(embed: &[u8]) -> Option<&[u8]> {
    get(get(embed, "media").unwrap_or(embed), "external")
}

/// Adds the entities that facets mark. A mention has the account's id: its handle is in the text,
/// in the bytes that the facet marks.
fn add_facets<'a>(entities: &mut Entities<'a>, facets: &'a [u8], text: &str) {
    for facet in elements(facets) {
        let [index, features] = pick(facet, ["index", "features"]);
        entities.add_hashtags(texts_in(features, "tag"));
        entities.add_urls(texts_in(features, "uri"));
        let accounts = texts_in(features, "did");
        if accounts.is_empty() {
            continue;
        }
        let [start, end] = integers(index, ["byteStart", "byteEnd"]);
        let range = start.zip(end).and_then(|(start, end)| {
            Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
        });
        let marked = range.and_then(|range| text.get(range));
        match marked.and_then(|marked| marked.strip_prefix('@')) {
            Some(handle) => entities.add_mentions([Cow::Owned(handle.to_owned())]),
            None => entities.add_mentions(accounts),
        }
    }
}

//! Bluesky: an event of Jetstream, whose first version has a `commit` around its record, and whose
//! second version hasn't; or a post that was read again. An event of any collection is a post: most
//! have no text.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{Author, DeletionReach, Labels, PostKind, dated, time_of};
use crate::post::fields::{
    elements, find_member, get, id_text, leading_value, pick, string, text_at, texts_in, unix_time,
};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct BlueskyEvent;

impl PostKind for BlueskyEvent {
    /// When the server saw it: a record's `createdAt` is a client's clock, and drives nothing.
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        match key {
            b"payload" => find_member(json, stated_time),
            _ => stated_time(key, json),
        }
    }

    /// The address of the record; a post that was read again has it as it is.
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

    /// The account: its deletion takes all its posts along.
    fn other_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.author(body).id
    }

    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        text_at(record(body)?, &["text"])
    }

    /// An event has the DID alone, and a post that was read again has the names, too.
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

    fn stream(&self, body: &[u8]) -> PostStream {
        let is_read_again = get(body, REFRESHED).is_some();
        PostStream::of_platform(is_read_again, is_update(body))
    }

    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        if is_update(body) { time_of(self, body) } else { None }
    }

    /// The revision of its repository, which sorts as text.
    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        in_commit(body, "rev").and_then(id_text)
    }

    /// A record may be made again under the same address, and an account may come back.
    fn deletion_reach(&self, _id: &str) -> DeletionReach {
        DeletionReach::UntilDeletion
    }
}

/// The time that a member of an event says, if it says one.
fn stated_time(key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
    match key {
        b"time_us" => leading_value(json).and_then(|value| unix_time(value, 1_000)),
        b"time" | b"indexedAt" => dated(json),
        _ => None,
    }
}

/// The event of a message: the second version wraps it, and says so first.
fn event(body: &[u8]) -> &[u8] {
    let wraps =
        find_member(body, |key, json| Some(key == b"$type" && json.starts_with(br#""message""#)));
    if wraps == Some(true) { get(body, "payload").unwrap_or(body) } else { body }
}

/// The JSON from the record of an event on.
fn record(body: &[u8]) -> Option<&[u8]> {
    find_member(event(body), |key, json| match key {
        b"commit" => find_member(json, |key, json| (key == b"record").then_some(json)),
        b"record" => Some(json),
        _ => None,
    })
}

/// A member of the commit, or of an event that has none around it.
fn in_commit<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let event = event(body);
    get(get(event, "commit").unwrap_or(event), name)
}

fn is_update(body: &[u8]) -> bool {
    in_commit(body, "operation").and_then(string).as_deref() == Some("update")
}

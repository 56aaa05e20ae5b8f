//! A post of a kind that no platform has, from another program or a user's own file. It is read by
//! the members' names of all platforms. Its text is taken unchanged, since it may or may not be
//! HTML.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::facts::{AuthorProfile, Counts, PostFacts, Relation, boolean, integers};
use super::{Author, Labels, PostKind, date_of, dated};
use crate::post::fields::{
    at, date, find_member, get, id_text, leading_value, members, pick, string, text_at, unix_time,
};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct Other;

impl PostKind for Other {
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        match key {
            b"data" | b"status" => find_member(json, stated_time),
            _ => stated_time(key, json),
        }
    }

    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let (id, inside) = ids_in(body);
        id.or_else(|| ids_in(inside?).0)
    }

    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        if body.first() == Some(&b'"') {
            return string(body);
        }
        let (text, inside) = text_in(body);
        text.or_else(|| text_in(inside?).0)
    }

    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        let names = ["author_id", "author", "user", "from", "account"];
        let [author_id, author, user, from, account] = pick(body, names);
        let profile = author.or(user).or(from).or(account).unwrap_or_default();
        let text = |names: &[&str]| names.iter().find_map(|name| text_at(profile, &[name]));
        let id =
            ["id_str", "id", "did"].iter().find_map(|name| get(profile, name).and_then(id_text));
        Author {
            id: author_id.and_then(id_text).or(id),
            handle: string(profile)
                .or_else(|| text(&["username", "screen_name", "acct", "handle"])),
            name: text(&["name", "display_name", "displayName"]),
        }
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let langs = pick(body, ["lang", "language"]);
        Labels {
            langs: langs.into_iter().flatten().filter_map(string).collect(),
            ..Labels::default()
        }
    }

    fn profile(&self, body: &[u8]) -> AuthorProfile {
        let profiles = pick(body, ["author", "user", "from", "account"]);
        let profile = profiles.into_iter().flatten().next().unwrap_or_default();
        let names = [
            "followers_count",
            "following_count",
            "friends_count",
            "statuses_count",
            "tweet_count",
        ];
        let [followers, following, friends, statuses, tweets] = integers(Some(profile), names);
        let [verified, bot, created_at] = pick(profile, ["verified", "bot", "created_at"]);
        AuthorProfile {
            followers,
            following: following.or(friends),
            posts: statuses.or(tweets),
            verified: verified.and_then(boolean),
            bot: bot.and_then(boolean),
            created_at: created_at.and_then(date_of),
        }
    }

    fn relation<'a>(&self, body: &'a [u8]) -> Relation<'a> {
        let names = ["reply_to", "repost_of", "quote_of", "conversation_id"];
        let [reply_to, repost_of, quote_of, conversation_id] =
            pick(body, names).map(|value| value.and_then(id_text));
        Relation { reply_to, repost_of, quote_of, conversation_id }
    }

    fn counts(&self, body: &[u8]) -> Counts {
        let names = ["likes", "reposts", "replies", "quotes", "views", "bookmarks"];
        let [likes, reposts, replies, quotes, views, bookmarks] = integers(Some(body), names);
        Counts { likes, reposts, replies, quotes, views, bookmarks }
    }

    /// Returns false: a post of an unknown kind is never as expected.
    fn is_as_expected(&self, _body: &[u8], _facts: &PostFacts<'_>) -> bool {
        false
    }

    fn stream(&self, body: &[u8]) -> PostStream {
        PostStream::of_platform(get(body, REFRESHED).is_some(), false)
    }

    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        text_at(body, &["edited_at"]).and_then(|text| date(&text))
    }
}

/// Returns the time in a member, if the member has one.
fn stated_time(key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
    match key {
        b"created_at" | b"created_time" | b"time" | b"timestamp" | b"indexedAt" => dated(json),
        b"time_us" => leading_value(json).and_then(|value| unix_time(value, 1_000)),
        b"timestamp_ms" => leading_value(json).and_then(|value| unix_time(value, 1_000_000)),
        b"snippet" => at(json, &["publishedAt"]).and_then(dated),
        _ => None,
    }
}

/// Returns the id of an object, and the object in it that may have one, too.
fn ids_in(object: &[u8]) -> (Option<Cow<'_, str>>, Option<&[u8]>) {
    let (mut number, mut inside) = (None, None);
    let text = members(object).find_map(|(key, value)| {
        match key {
            b"id_str" => return string(value),
            b"id" if value.starts_with(b"\"") => return string(value),
            b"id" if value.starts_with(b"{") => return text_at(value, &["videoId"]),
            b"id" => number = id_text(value),
            b"data" | b"status" => inside = Some(value),
            _ => {}
        }
        None
    });
    (text.or(number), inside)
}

/// Returns the text of an object by the first of the names that it has, and the object in it that
/// may have one, too.
fn text_in(object: &[u8]) -> (Option<Cow<'_, str>>, Option<&[u8]>) {
    let mut found: [Option<Cow<'_, str>>; NAMES.len()] = [const { None }; NAMES.len()];
    let (mut inside, mut snippet) = (None, None);
    for (key, value) in members(object) {
        if key == b"data" {
            inside = Some(value);
        }
        if key == b"snippet" {
            snippet = Some(value);
        }
        for (place, path) in found.iter_mut().zip(NAMES) {
            let (first, path) = path.split_first().unwrap_or((&"", &[]));
            if key == first.as_bytes() && place.is_none() {
                *place = text_at(value, path);
            }
        }
    }
    let text = found.into_iter().flatten().next();
    (text.or_else(|| title_and_description(snippet?)), inside)
}

/// The places of texts, in order of preference.
const NAMES: [&[&str]; 10] = [
    &["note_tweet", "text"],
    &["note_post", "text"],
    &["extended_tweet", "full_text"],
    &["full_text"],
    &["text"],
    &["message"],
    &["story"],
    &["content"],
    &["commit", "record", "text"],
    &["record", "text"],
];

fn title_and_description(snippet: &[u8]) -> Option<Cow<'_, str>> {
    let [title, description] = pick(snippet, ["title", "description"]);
    match (title.and_then(string), description.and_then(string)) {
        (Some(title), Some(description)) => Some(format!("{title}\n{description}").into()),
        (title, description) => title.or(description),
    }
}

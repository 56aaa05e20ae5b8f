//! X: a tweet of the API v2, as the source captures it (the members of `data`, and beside them
//! `includes` and `matching_rules`) or with `data` still around it, or one of v1.1, from a stream
//! or from a search. The names of both vocabularies of v2 are supported (`note_tweet` and
//! `note_post`).

mod gather;
mod parts;
mod time;

use std::borrow::Cow;

use ::time::OffsetDateTime;

use self::gather::Written;
use self::parts::Parts;
use self::time::TweetTime;
use super::facts::{AuthorProfile, Counts, Entities, Media, PostFacts, Relation};
use super::{Author, Content, Labels, PostKind, date_of, time_of};
use crate::post::fields::{elements, find_member, id_text, members, pick, string};
use crate::post::stream::{PostStream, REFRESHED};

pub(super) struct Tweet;

impl PostKind for Tweet {
    fn platform(&self) -> Option<&'static str> {
        Some("x")
    }

    /// Returns the time in the id, if it has one; see [`TweetTime`].
    fn time(&self, body: &[u8]) -> Option<OffsetDateTime> {
        let mut time = TweetTime::default();
        let mut read = |key: &[u8], json: &[u8]| {
            time.read(key, json);
            time.is_complete().then_some(())
        };
        find_member(body, |key, json| match key {
            b"data" => find_member(json, &mut read),
            _ => read(key, json),
        });
        time.time()
    }

    /// Returns the id. v1.1's `id` is a number that tools round, so `id_str` takes precedence.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let (id, data) = id_in(body);
        id.or_else(|| id_in(data?).0)
    }

    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let tweet = Parts::of(body);
        tweet.text(tweet.reposted().as_ref())
    }

    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        Parts::of(body).author()
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        let tweet = Parts::of(body);
        tweet.labels(tweet.reposted().as_ref())
    }

    fn content<'a>(&self, body: &'a [u8]) -> Content<'a> {
        let tweet = Parts::of(body);
        let reposted = tweet.reposted();
        let reposted = reposted.as_ref();
        Content {
            text: tweet.text(reposted),
            author: tweet.author(),
            labels: tweet.labels(reposted),
        }
    }

    fn profile(&self, body: &[u8]) -> AuthorProfile {
        Written::of(&Parts::of(body)).profile
    }

    fn entities<'a>(&self, body: &'a [u8]) -> Entities<'a> {
        Written::of(&Parts::of(body)).entities
    }

    fn media(&self, body: &[u8]) -> Vec<Media> {
        Written::of(&Parts::of(body)).media
    }

    fn relation<'a>(&self, body: &'a [u8]) -> Relation<'a> {
        gather::relation(&Parts::of(body))
    }

    fn counts(&self, body: &[u8]) -> Counts {
        gather::counts(&Parts::of(body))
    }

    /// Gathers all facts in one pass over the members. If `data` is around a tweet, the members
    /// outside of it are read separately.
    fn gather<'a>(&self, body: &'a [u8], facts: &mut PostFacts<'a>) {
        let tweet = Parts::of(body);
        if tweet.data.is_some() {
            facts.id = self.id(body);
            facts.stream = self.stream(body);
            facts.edited_at = self.edited_at(body);
        } else {
            let edits = Edits {
                id: tweet.id_in_quotes.or(tweet.id),
                history: tweet.history,
                is_read_again: tweet.refreshed.is_some(),
            };
            facts.id = edits.id.and_then(id_text);
            facts.stream = PostStream::of_platform(edits.is_read_again, edits.is_later());
            facts.edited_at = if edits.is_later() { time_of(self, body) } else { None };
        }
        facts.received_at = tweet.received_at.and_then(date_of);
        let written = Written::of(&tweet);
        facts.content = written.content;
        facts.profile = written.profile;
        facts.entities = written.entities;
        facts.media = written.media;
        facts.relation = gather::relation(&tweet);
        facts.counts = gather::counts(&tweet);
    }

    fn stream(&self, body: &[u8]) -> PostStream {
        let edits = Edits::of(body);
        PostStream::of_platform(edits.is_read_again, edits.is_later())
    }

    /// Returns the time of the edit: a later version is a separate tweet, whose time is that of the
    /// edit.
    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        if Edits::of(body).is_later() { time_of(self, body) } else { None }
    }

    fn edit_history<'a>(&self, body: &'a [u8]) -> Vec<Cow<'a, str>> {
        elements(Edits::of(body).history.unwrap_or_default()).filter_map(id_text).collect()
    }
}

/// The members that tell if a tweet is an edit, found in one pass, since X is the fastest of the
/// sources.
struct Edits<'a> {
    id: Option<&'a [u8]>,
    /// The ids of all versions.
    history: Option<&'a [u8]>,
    is_read_again: bool,
}

impl<'a> Edits<'a> {
    fn of(tweet: &'a [u8]) -> Self {
        let names = ["id", REFRESHED, "data", "edit_history_tweet_ids", "edit_history_post_ids"];
        let [id, refreshed, data, tweets, posts] = pick(tweet, names);
        let inside =
            data.map(|data| pick(data, ["id", "edit_history_tweet_ids", "edit_history_post_ids"]));
        let [id, tweets, posts] = match inside {
            Some(inside) if id.is_none() => inside,
            _ => [id, tweets, posts],
        };
        Self { id, history: tweets.or(posts), is_read_again: refreshed.is_some() }
    }

    /// Returns true if the tweet isn't the first of its versions. An edit has a separate id, and
    /// the history has every version's id, the first one's first. So the first version isn't an
    /// edit, even if it is read after it was edited.
    fn is_later(&self) -> bool {
        let mut versions = elements(self.history.unwrap_or_default());
        versions.next().is_some_and(|first| Some(first) != self.id) && versions.next().is_some()
    }
}

/// Returns the id of a tweet, or its `data` if it has that instead.
fn id_in(tweet: &[u8]) -> (Option<Cow<'_, str>>, Option<&[u8]>) {
    let (mut number, mut data) = (None, None);
    let text = members(tweet).find_map(|(key, value)| {
        match key {
            b"id_str" => return string(value),
            b"id" if value.starts_with(b"\"") => return string(value),
            b"id" => number = id_text(value),
            b"data" => data = Some(value),
            _ => {}
        }
        None
    });
    (text.or(number), data)
}

//! X: a tweet of the API v2, as the source captures it (the members of `data`, and beside them
//! `includes` and `matching_rules`) or with `data` still around it, or one of v1.1, from a stream
//! or from a search. The names of both vocabularies of v2 are read (`note_tweet` and `note_post`).

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{Author, Content, Labels, PostKind, dated, time_of};
use crate::post::fields::{
    at, elements, find_member, get, id_text, leading_value, members, pick, string, texts_in,
    unix_time,
};
use crate::post::html::{TWITTER_ENTITIES, decode_entities};
use crate::post::stream::{PostStream, REFRESHED};

/// What both vocabularies call a repost.
const REPOST_TYPES: [&[u8]; 2] = [br#""retweeted""#, br#""reposted""#];

pub(super) struct Tweet;

impl PostKind for Tweet {
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        match key {
            b"data" => find_member(json, stated_time),
            _ => stated_time(key, json),
        }
    }

    /// v1.1's `id` is a number that tools round, so `id_str` comes first where there is one.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let (id, data) = id_in(body);
        id.or_else(|| id_in(data?).0)
    }

    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        Parts::of(body).text()
    }

    fn author<'a>(&self, body: &'a [u8]) -> Author<'a> {
        Parts::of(body).author()
    }

    fn labels<'a>(&self, body: &'a [u8]) -> Labels<'a> {
        Parts::of(body).labels()
    }

    fn content<'a>(&self, body: &'a [u8]) -> Content<'a> {
        let tweet = Parts::of(body);
        Content { text: tweet.text(), author: tweet.author(), labels: tweet.labels() }
    }

    fn stream(&self, body: &[u8]) -> PostStream {
        let edits = Edits::of(body);
        PostStream::of_platform(edits.is_read_again, edits.is_later())
    }

    /// A later version is a tweet of its own, whose time is that of the edit.
    fn edited_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        if Edits::of(body).is_later() { time_of(self, body) } else { None }
    }

    fn edit_history<'a>(&self, body: &'a [u8]) -> Vec<Cow<'a, str>> {
        elements(Edits::of(body).history.unwrap_or_default()).filter_map(id_text).collect()
    }
}

/// What tells whether a tweet is an edit, found in one pass, since X is the fastest of the sources.
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

    /// Whether the tweet isn't the first of its versions. An edit has an id of its own, and the
    /// history has every version's id, the first one's first: the first version is no edit, also
    /// where it is read after it was edited.
    fn is_later(&self) -> bool {
        let mut versions = elements(self.history.unwrap_or_default());
        versions.next().is_some_and(|first| Some(first) != self.id) && versions.next().is_some()
    }
}

/// The time that a member of a tweet says, if it says one.
fn stated_time(key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
    match key {
        b"created_at" => dated(json),
        b"timestamp_ms" => leading_value(json).and_then(|value| unix_time(value, 1_000_000)),
        _ => None,
    }
}

/// The id of a tweet, and its `data` if it has that instead.
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

/// The user whose tweet was reposted, by the text of the repost: `RT @user: …`.
fn reposted_user(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let (user, _) = text.strip_prefix("RT @")?.split_once(':')?;
    Some(Cow::Owned(user.to_owned()))
}

/// The members of a tweet that say more than one thing, found in one pass; the first of several of
/// one name counts.
#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    author: Option<&'a [u8]>,
    author_id: Option<&'a [u8]>,
    data: Option<&'a [u8]>,
    entities: Option<&'a [u8]>,
    /// v1.1, in a stream: a tweet that `text` has cut.
    extended: Option<&'a [u8]>,
    /// v1.1, where an extended tweet was asked for.
    full_text: Option<&'a [u8]>,
    /// v2: what is referred to, in whole.
    includes: Option<&'a [u8]>,
    lang: Option<&'a [u8]>,
    /// v2: a tweet that `text` has cut.
    note: Option<&'a [u8]>,
    referenced: Option<&'a [u8]>,
    /// v1.1: the tweet that this one reposts.
    retweeted: Option<&'a [u8]>,
    text: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Of a tweet, or of one with `data` around it.
    fn of(tweet: &'a [u8]) -> Self {
        let outer = Self::of_members(tweet);
        match outer.data {
            Some(data) if outer.text.is_none() && data.starts_with(b"{") => {
                Self { includes: outer.includes, ..Self::of_members(data) }
            }
            _ => outer,
        }
    }

    fn of_members(object: &'a [u8]) -> Self {
        let mut parts = Self::default();
        for (key, value) in members(object) {
            let part = match key {
                b"author" => &mut parts.author,
                b"author_id" => &mut parts.author_id,
                b"data" => &mut parts.data,
                b"entities" => &mut parts.entities,
                b"extended_tweet" => &mut parts.extended,
                b"full_text" => &mut parts.full_text,
                b"includes" => &mut parts.includes,
                b"lang" => &mut parts.lang,
                b"note_tweet" | b"note_post" => &mut parts.note,
                b"referenced_tweets" | b"referenced_posts" => &mut parts.referenced,
                b"retweeted_status" => &mut parts.retweeted,
                b"text" => &mut parts.text,
                b"user" => &mut parts.user,
                _ => continue,
            };
            if part.is_none() && value != b"null" {
                *part = Some(value);
            }
        }
        parts
    }

    /// Of a repost, what it reposts; else the longest text that there is, since `text` is cut where
    /// the tweet is long.
    fn text(&self) -> Option<Cow<'a, str>> {
        let reposted = self.reposted().map(Self::of).and_then(|reposted| reposted.own_text());
        reposted.or_else(|| self.own_text())
    }

    /// Of a repost also those of what it reposts: its own are cut as its text is.
    fn labels(&self) -> Labels<'a> {
        let mut labels =
            Labels { langs: self.lang.and_then(string).into_iter().collect(), ..Labels::default() };
        if let Some(reposted) = self.reposted() {
            labels.mentions.extend(self.own_text().and_then(reposted_user));
            Self::of(reposted).add_entities(&mut labels);
        }
        self.add_entities(&mut labels);
        labels
    }

    /// The longest text of the tweet itself. X escapes three characters of its texts as HTML does.
    fn own_text(&self) -> Option<Cow<'a, str>> {
        let note = self.note.and_then(|note| get(note, "text"));
        let extended = self.extended.and_then(|tweet| get(tweet, "full_text"));
        let texts = [note, extended, self.full_text, self.text];
        let text = texts.into_iter().flatten().find_map(string)?;
        Some(decode_entities(text, &TWITTER_ENTITIES))
    }

    /// The tweet that this one reposts, if it came with it.
    fn reposted(&self) -> Option<&'a [u8]> {
        if let Some(retweeted) = self.retweeted {
            return Some(retweeted);
        }
        let is_repost = |reference: &&[u8]| {
            get(reference, "type").is_some_and(|kind| REPOST_TYPES.contains(&kind))
        };
        let reference = elements(self.referenced?).find(is_repost)?;
        let id = get(reference, "id").and_then(id_text)?;
        let [tweets, posts] = pick(self.includes?, ["tweets", "posts"]);
        elements(tweets.or(posts)?)
            .find(|tweet| get(tweet, "id").and_then(id_text).as_ref() == Some(&id))
    }

    fn author(&self) -> Author<'a> {
        let author_id = self.author_id.and_then(id_text);
        let included = || {
            let users = at(self.includes?, &["users"])?;
            elements(users).find(|user| get(user, "id").and_then(id_text) == author_id)
        };
        let profile =
            self.user.or(self.author).or_else(|| author_id.as_ref().and_then(|_| included()));
        let [id_str, id, username, screen_name, name] =
            pick(profile.unwrap_or_default(), ["id_str", "id", "username", "screen_name", "name"]);
        Author {
            id: author_id.or_else(|| id_str.or(id).and_then(id_text)),
            handle: username.or(screen_name).and_then(string),
            name: name.and_then(string),
        }
    }

    /// Adds what X marks in the tweet. Where its text is cut, so are its entities, and those of the
    /// whole one stand with it.
    fn add_entities(&self, labels: &mut Labels<'a>) {
        let of_whole = |whole: Option<&'a [u8]>| whole.and_then(|whole| get(whole, "entities"));
        for entities in
            [self.entities, of_whole(self.note), of_whole(self.extended)].into_iter().flatten()
        {
            let names = ["hashtags", "cashtags", "symbols", "mentions", "user_mentions"];
            let [hashtags, cashtags, symbols, mentions, users] = pick(entities, names);
            labels.hashtags.extend(texts_in(hashtags, "tag"));
            labels.hashtags.extend(texts_in(hashtags, "text"));
            labels.cashtags.extend(texts_in(cashtags, "tag"));
            labels.cashtags.extend(texts_in(symbols, "text"));
            labels.mentions.extend(texts_in(mentions, "username"));
            labels.mentions.extend(texts_in(users, "screen_name"));
        }
    }
}

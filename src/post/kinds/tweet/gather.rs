//! Gathers all facts of a tweet from its parts.

use std::borrow::Cow;

use super::parts::{Marks, Parts, REPOST_TYPES};
use crate::post::fields::{elements, get, id_text, pick, string};
use crate::post::kinds::facts::{
    AuthorProfile, Counts, Entities, Media, Relation, boolean, integer, integers,
};
use crate::post::kinds::{Author, Content, date_of};

/// Text, author and labels, the account of the author, and the entities that X marks in the tweet.
pub(super) struct Written<'a> {
    pub content: Content<'a>,
    pub profile: AuthorProfile,
    pub entities: Entities<'a>,
    pub media: Vec<Media>,
}

impl<'a> Written<'a> {
    pub(crate) fn of(tweet: &Parts<'a>) -> Self {
        let reposted = tweet.reposted();
        let reposted = reposted.as_ref();
        let (author, profile) = author_and_profile(tweet);
        let marks = tweet.all_marks(reposted);
        let labels = tweet.labels_of(&marks, reposted.is_some());
        let content = Content { text: tweet.text(reposted), author, labels };
        let entities = entities(&marks, &content);
        let own = media(tweet, &marks);
        let media = match reposted {
            Some(reposted) if own.is_empty() => media(reposted, &[]),
            _ => own,
        };
        Self { content, profile, entities, media }
    }
}

/// Returns both from one pass over the account.
fn author_and_profile<'a>(tweet: &Parts<'a>) -> (Author<'a>, AuthorProfile) {
    let names = [
        "id_str",
        "id",
        "username",
        "screen_name",
        "name",
        "followers_count",
        "friends_count",
        "statuses_count",
        "public_metrics",
        "verified",
        "created_at",
    ];
    let picked = pick(tweet.user_profile().unwrap_or_default(), names);
    let [id_str, id, username, screen_name, name, counts @ .., metrics, verified, created_at] =
        picked;
    let [followers, friends, statuses] = counts.map(|count: Option<&[u8]>| count.and_then(integer));
    let names = ["followers_count", "following_count", "tweet_count", "post_count"];
    let [metric_followers, metric_following, tweets, posts] = integers(metrics, names);
    let profile = AuthorProfile {
        followers: followers.or(metric_followers),
        following: friends.or(metric_following),
        posts: statuses.or(tweets).or(posts),
        verified: verified.and_then(boolean),
        bot: None,
        created_at: created_at.and_then(date_of),
    };
    (tweet.author_of([id_str, id, username, screen_name, name]), profile)
}

/// Returns the entities that X marks. v2 leaves out empty lists, and the whole object if all lists
/// are empty, but also if it wasn't requested: then the entities are searched in the text.
fn entities<'a>(marks: &[Marks<'a>], content: &Content<'a>) -> Entities<'a> {
    if marks.is_empty() {
        return Entities::default();
    }
    let mut urls = Vec::new();
    for marks in marks {
        for link in elements(marks.urls.unwrap_or_default()) {
            urls.extend(address(link));
        }
    }
    Entities {
        hashtags: Some(content.labels.hashtags.clone()),
        cashtags: Some(content.labels.cashtags.clone()),
        mentions: Some(content.labels.mentions.clone()),
        urls: Some(urls),
        ..Entities::default()
    }
}

/// Returns the expanded address of a link; `None` for the link to a picture of the tweet itself.
fn address(link: &[u8]) -> Option<Cow<'_, str>> {
    let names = ["media_key", "unwound_url", "expanded_url", "url", "unwound"];
    let [media_key, unwound_url, expanded, short, unwound] = pick(link, names);
    if media_key.is_some() {
        return None;
    }
    let unwound = unwound.and_then(|unwound| get(unwound, "url"));
    [unwound_url, unwound, expanded, short].into_iter().flatten().find_map(string)
}

/// Returns the attachments that v1.1 lists with their types, or else those of v2.
fn media(tweet: &Parts<'_>, marks: &[Marks<'_>]) -> Vec<Media> {
    let whole = tweet.extended.and_then(|extended| get(extended, "extended_entities"));
    let extended = [whole, tweet.extended_entities].into_iter().flatten();
    let extended = extended.filter_map(|entities| get(entities, "media"));
    for list in extended.chain(marks.iter().filter_map(|marks| marks.media)) {
        let media: Vec<Media> = elements(list).map(|item| media_type(get(item, "type"))).collect();
        if !media.is_empty() {
            return media;
        }
    }
    attached(tweet).unwrap_or_default()
}

/// Returns the attachments in v2: keys, whose types are in `includes` if they were requested.
fn attached(tweet: &Parts<'_>) -> Option<Vec<Media>> {
    let [keys, polls] = pick(tweet.attachments?, ["media_keys", "poll_ids"]);
    let included = tweet.includes.and_then(|includes| get(includes, "media")).unwrap_or_default();
    let mut attached = Vec::new();
    for key in elements(keys.unwrap_or_default()) {
        let item = elements(included).find(|item| get(item, "media_key") == Some(key));
        attached.push(match item {
            Some(item) => media_type(get(item, "type")),
            None => type_of_key(key),
        });
    }
    attached.extend(elements(polls.unwrap_or_default()).map(|_| Media::Poll));
    Some(attached)
}

fn media_type(name: Option<&[u8]>) -> Media {
    match name {
        Some(br#""photo""#) => Media::Photo,
        Some(br#""video""#) => Media::Video,
        Some(br#""animated_gif""#) => Media::Gif,
        _ => Media::Other,
    }
}

/// Returns the type that a key's first number means.
fn type_of_key(key: &[u8]) -> Media {
    match key.split(|byte| *byte == b'_').next() {
        Some(b"\"3") => Media::Photo,
        Some(b"\"7" | b"\"13") => Media::Video,
        Some(b"\"16") => Media::Gif,
        _ => Media::Other,
    }
}

pub(super) fn relation<'a>(tweet: &Parts<'a>) -> Relation<'a> {
    let id = |text: Option<&'a [u8]>, number: Option<&'a [u8]>| text.or(number).and_then(id_text);
    let retweeted = tweet.retweeted.unwrap_or_default();
    let [id_str, number] = pick(retweeted, ["id_str", "id"]);
    let mut relation = Relation {
        reply_to: id(tweet.reply_to, tweet.reply_to_number),
        repost_of: id(id_str, number),
        quote_of: id(tweet.quoted_id, tweet.quoted_id_number),
        conversation_id: tweet.conversation_id.and_then(id_text),
    };
    for reference in elements(tweet.referenced.unwrap_or_default()) {
        let [kind, id] = pick(reference, ["type", "id"]);
        let place = match kind {
            Some(br#""replied_to""#) => &mut relation.reply_to,
            Some(br#""quoted""#) => &mut relation.quote_of,
            Some(kind) if REPOST_TYPES.contains(&kind) => &mut relation.repost_of,
            _ => continue,
        };
        *place = id.and_then(id_text);
    }
    relation
}

pub(super) fn counts(tweet: &Parts<'_>) -> Counts {
    let names = [
        "like_count",
        "retweet_count",
        "repost_count",
        "reply_count",
        "quote_count",
        "impression_count",
        "bookmark_count",
    ];
    let [likes, retweets, reposts, replies, quotes, views, bookmarks] =
        integers(tweet.public_metrics, names);
    Counts {
        likes: likes.or_else(|| tweet.favorite_count.and_then(integer)),
        reposts: retweets.or(reposts).or_else(|| tweet.retweet_count.and_then(integer)),
        replies: replies.or_else(|| tweet.reply_count.and_then(integer)),
        quotes: quotes.or_else(|| tweet.quote_count.and_then(integer)),
        views,
        bookmarks,
    }
}

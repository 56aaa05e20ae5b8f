//! All that a post says, gathered for whoever wants all of it: `Features` and the warehouse.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::said::Content;
use crate::post::fields::{get, id_text, pick};
use crate::post::stream::PostStream;

/// Everything that a post says. What it doesn't say is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct PostFacts<'a> {
    /// The key that names the kind.
    pub kind: &'a str,
    /// The platform, in lower case: `x`, `facebook`, `youtube`, `bluesky`, `mastodon`; else the
    /// kind. Of a deletion and of a gap: that of the kind which they name.
    pub platform: Cow<'a, str>,
    /// See [`Post::stream`](crate::post::Post::stream).
    pub stream: PostStream,
    /// See [`Post::id`](crate::post::Post::id).
    pub id: Option<Cow<'a, str>>,
    /// See [`Post::created_at`](crate::post::Post::created_at).
    pub created_at: Option<OffsetDateTime>,
    /// See [`Post::received_at`](crate::post::Post::received_at).
    pub received_at: Option<OffsetDateTime>,
    /// See [`Post::edited_at`](crate::post::Post::edited_at).
    pub edited_at: Option<OffsetDateTime>,
    /// See [`Post::content`](crate::post::Post::content).
    pub content: Content<'a>,
    /// The author's account.
    pub profile: AuthorProfile,
    /// Hashtags, mentions and links as the platform tells them from the text.
    pub entities: Entities<'a>,
    /// The types of what is attached, one for each attachment.
    pub media: Vec<Media>,
    /// Which other posts it belongs to.
    pub relation: Relation<'a>,
    /// The counts of likes and so on.
    pub counts: Counts,
    /// False if the post isn't as its kind should be: the kind is unknown, or its id or its time
    /// is missing.
    pub is_as_expected: bool,
}

/// The account of an author, as far as a post shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthorProfile {
    /// The number of accounts that follow it.
    pub followers: Option<i64>,
    /// The number of accounts that it follows.
    pub following: Option<i64>,
    /// The number of posts that it has written.
    pub posts: Option<i64>,
    /// True if the platform says that the account is who it seems to be.
    pub verified: Option<bool>,
    /// True if the account says that a program writes its posts.
    pub bot: Option<bool>,
    /// The time at which the account was made.
    pub created_at: Option<OffsetDateTime>,
}

/// What a platform itself found in the text. `None` where the platform doesn't say: then the text
/// tells. An empty list says that there is none. Something may be there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entities<'a> {
    /// Hashtags, without the sign.
    pub hashtags: Option<Vec<Cow<'a, str>>>,
    /// Cashtags, without the sign.
    pub cashtags: Option<Vec<Cow<'a, str>>>,
    /// Handles of those who are mentioned, without the sign.
    pub mentions: Option<Vec<Cow<'a, str>>>,
    /// Addresses that the text links to, expanded.
    pub urls: Option<Vec<Cow<'a, str>>>,
    /// Hashtags that stand beside the text.
    pub more_hashtags: Vec<Cow<'a, str>>,
    /// Addresses of pages that are attached, such as a card shows.
    pub more_urls: Vec<Cow<'a, str>>,
}

impl<'a> Entities<'a> {
    /// Of a platform that finds all of them, none yet.
    pub(super) fn all_known() -> Self {
        let none = || Some(Vec::new());
        Self {
            hashtags: none(),
            cashtags: none(),
            mentions: none(),
            urls: none(),
            ..Self::default()
        }
    }

    /// Adds hashtags that the platform found.
    pub(super) fn add_hashtags(&mut self, hashtags: impl IntoIterator<Item = Cow<'a, str>>) {
        self.hashtags.get_or_insert_default().extend(hashtags);
    }

    /// Adds mentions that the platform found.
    pub(super) fn add_mentions(&mut self, mentions: impl IntoIterator<Item = Cow<'a, str>>) {
        self.mentions.get_or_insert_default().extend(mentions);
    }

    /// Adds addresses that the platform found.
    pub(super) fn add_urls(&mut self, urls: impl IntoIterator<Item = Cow<'a, str>>) {
        self.urls.get_or_insert_default().extend(urls);
    }
}

/// The type of something that is attached to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Photo,
    /// A film.
    Video,
    /// A short film that repeats, without sound.
    Gif,
    /// Sound.
    Audio,
    /// A preview of a page that the post links to.
    LinkCard,
    /// A vote.
    Poll,
    /// Something else.
    Other,
}

impl Media {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Video => "video",
            Self::Gif => "gif",
            Self::Audio => "audio",
            Self::LinkCard => "link-card",
            Self::Poll => "poll",
            Self::Other => "other",
        }
    }
}

/// Which other posts a post belongs to, by their ids on the same platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The post that it answers. Of a toot, its number on the server that the toot came from: a
    /// toot doesn't say more.
    pub reply_to: Option<Cow<'a, str>>,
    /// The post that it reposts.
    pub repost_of: Option<Cow<'a, str>>,
    /// The post that it quotes.
    pub quote_of: Option<Cow<'a, str>>,
    /// The post that began the conversation.
    pub conversation_id: Option<Cow<'a, str>>,
}

impl Relation<'_> {
    /// The word for it: a repost comes before a quote, and a quote before a reply.
    pub fn word(&self) -> &'static str {
        if self.repost_of.is_some() {
            "repost"
        } else if self.quote_of.is_some() {
            "quote"
        } else if self.reply_to.is_some() {
            "reply"
        } else {
            "original"
        }
    }
}

/// The counts of a post's likes and so on, up to the moment of the capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Likes; on Facebook reactions of any kind.
    pub likes: Option<i64>,
    /// Reposts; on Facebook shares.
    pub reposts: Option<i64>,
    /// Replies; on Facebook and YouTube comments.
    pub replies: Option<i64>,
    /// Quotes.
    pub quotes: Option<i64>,
    /// Views.
    pub views: Option<i64>,
    /// Bookmarks.
    pub bookmarks: Option<i64>,
}

/// A whole number, as a number or in quotes.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    id_text(value)?.parse().ok()
}

/// True or false.
pub(super) fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Whole numbers of an object, by their names.
pub(super) fn integers<const N: usize>(
    object: Option<&[u8]>,
    names: [&str; N],
) -> [Option<i64>; N] {
    pick(object.unwrap_or_default(), names).map(|value| value.and_then(integer))
}

/// The id of an object.
pub(super) fn id_of<'a>(object: Option<&'a [u8]>, name: &str) -> Option<Cow<'a, str>> {
    get(object?, name).and_then(id_text)
}

//! All facts of a post, for `Features` and the warehouse.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::said::Content;
use crate::post::fields::{get, id_text, pick};
use crate::post::stream::PostStream;

/// All facts of a post. A fact that the post doesn't state is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct PostFacts<'a> {
    /// The key that names the kind.
    pub kind: &'a str,
    /// The platform, in lower case: `x`, `facebook`, `youtube`, `bluesky`, `mastodon`; otherwise
    /// the kind. For a deletion or a gap, the platform of the kind that it names.
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
    /// Hashtags, mentions and links that the platform found in the text.
    pub entities: Entities<'a>,
    /// The types of the attachments.
    pub media: Vec<Media>,
    /// The other posts to which it belongs.
    pub relation: Relation<'a>,
    /// The counts of likes, reposts and so on.
    pub counts: Counts,
    /// False if the post isn't as its kind should be: the kind is unknown, or its id or its time is
    /// missing.
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
    /// True if the platform has verified the account.
    pub verified: Option<bool>,
    /// True if the account says that a program writes its posts.
    pub bot: Option<bool>,
    /// The time at which the account was created.
    pub created_at: Option<OffsetDateTime>,
}

/// The entities that a platform itself found in the text. `None` if the platform doesn't say: then
/// they are searched in the text. An empty list means that it found none. An entity may be listed
/// several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entities<'a> {
    /// Hashtags, without the sign.
    pub hashtags: Option<Vec<Cow<'a, str>>>,
    /// Cashtags, without the sign.
    pub cashtags: Option<Vec<Cow<'a, str>>>,
    /// Handles of mentioned accounts, without the sign.
    pub mentions: Option<Vec<Cow<'a, str>>>,
    /// Addresses that the text links to, expanded.
    pub urls: Option<Vec<Cow<'a, str>>>,
    /// Hashtags outside of the text.
    pub more_hashtags: Vec<Cow<'a, str>>,
    /// Addresses of attached pages, for example those of a card.
    pub more_urls: Vec<Cow<'a, str>>,
}

impl<'a> Entities<'a> {
    /// Creates empty lists for a platform that finds all entities.
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

/// The type of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Photo,
    /// A video.
    Video,
    /// A short video that repeats, without sound.
    Gif,
    /// Sound.
    Audio,
    /// A preview of a page that the post links to.
    LinkCard,
    /// A poll.
    Poll,
    /// Something else.
    Other,
}

impl Media {
    /// Returns the name of the type.
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

/// The other posts to which a post belongs, by their ids on the same platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The post that it answers. For a toot, the number of that post on the server that the toot
    /// came from: a toot has no other id of it.
    pub reply_to: Option<Cow<'a, str>>,
    /// The post that it reposts.
    pub repost_of: Option<Cow<'a, str>>,
    /// The post that it quotes.
    pub quote_of: Option<Cow<'a, str>>,
    /// The post that began the conversation.
    pub conversation_id: Option<Cow<'a, str>>,
}

impl Relation<'_> {
    /// Returns the name of the relation: a repost takes precedence over a quote, and a quote over a
    /// reply.
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

/// The counts of a post's likes, reposts and so on, at the time of the capture.
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

/// Parses a whole number, with or without quotes.
pub(super) fn integer(value: &[u8]) -> Option<i64> {
    id_text(value)?.parse().ok()
}

/// Parses true or false.
pub(super) fn boolean(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Returns whole numbers of an object, by their names.
pub(super) fn integers<const N: usize>(
    object: Option<&[u8]>,
    names: [&str; N],
) -> [Option<i64>; N] {
    pick(object.unwrap_or_default(), names).map(|value| value.and_then(integer))
}

/// Returns the id of an object.
pub(super) fn id_of<'a>(object: Option<&'a [u8]>, name: &str) -> Option<Cow<'a, str>> {
    get(object?, name).and_then(id_text)
}

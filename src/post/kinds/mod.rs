//! Reads the facts of a post according to its kind. Only this module knows how each platform writes
//! the time, the id, the text, the author, the edits and the deletions of its posts. The index,
//! replay, topics, dedup, `lake erase`, the columns of Parquet and `Words` all use it, so that they
//! never disagree about a post.
//!
//! A platform is one file beside this one, and one line in [`of_kind`]. Everything is read on
//! demand from the post's raw bytes, in one pass that stops once it has its result; a tree is never
//! built. A field that is null, or of another type than the platform gives it, counts as absent.

mod bsky;
mod delete;
mod facebook;
mod facts;
mod gap;
mod other;
mod said;
mod toot;
mod tweet;
mod video;

use std::borrow::Cow;

use time::OffsetDateTime;

pub use self::delete::{Deletion, DeletionReach};
pub use self::facts::{AuthorProfile, Counts, Entities, Media, PostFacts, Relation};
use self::other::Other;
pub use self::said::{Author, Content, Labels, PostVersion};
use super::Post;
use super::fields::{date, find_member, get, leading_value, string};
use super::skip::Skip;
use super::stream::{PostStream, REFRESHED};

/// A kind of posts: reads the facts of its posts. Each function gets the body, which is the JSON
/// below the kind.
trait PostKind {
    /// Returns the platform, in lower case; `None` for a kind without a platform.
    fn platform(&self) -> Option<&'static str> {
        None
    }

    /// Returns the post's own time, in UTC, if this member of the body has it. `json` begins with
    /// the member's value.
    fn time_in(&self, _key: &[u8], _json: &[u8]) -> Option<OffsetDateTime> {
        None
    }

    /// Returns the post's own time, in UTC, in one pass that ends where it is known.
    fn time(&self, body: &[u8]) -> Option<OffsetDateTime> {
        find_member(body, |key, json| self.time_in(key, json))
    }

    /// Returns the platform's id for the post.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>>;

    /// Returns another id by which a deletion may name the post.
    fn other_id<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    /// Returns the id by which the platform finds the post again.
    fn reread_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.id(body)
    }

    /// Returns the text as people read it.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>>;

    /// Returns the author.
    fn author<'a>(&self, _body: &'a [u8]) -> Author<'a> {
        Author::default()
    }

    /// Returns the labels that the platform marks in the post.
    fn labels<'a>(&self, _body: &'a [u8]) -> Labels<'a> {
        Labels::default()
    }

    /// Returns text, author and labels; a kind may read them in one pass.
    fn content<'a>(&self, body: &'a [u8]) -> Content<'a> {
        Content { text: self.text(body), author: self.author(body), labels: self.labels(body) }
    }

    /// Returns the account of the author.
    fn profile(&self, _body: &[u8]) -> AuthorProfile {
        AuthorProfile::default()
    }

    /// Returns the entities that the platform found in the text.
    fn entities<'a>(&self, _body: &'a [u8]) -> Entities<'a> {
        Entities::default()
    }

    /// Returns the types of the attachments.
    fn media(&self, _body: &[u8]) -> Vec<Media> {
        Vec::new()
    }

    /// Returns the other posts to which it belongs.
    fn relation<'a>(&self, _body: &'a [u8]) -> Relation<'a> {
        Relation::default()
    }

    /// Returns the counts of likes, reposts and so on.
    fn counts(&self, _body: &[u8]) -> Counts {
        Counts::default()
    }

    /// Sets all facts except the kind, the platform and the time, with the results of the functions
    /// above; a kind may need fewer passes for it.
    fn gather<'a>(&self, body: &'a [u8], facts: &mut PostFacts<'a>) {
        facts.id = self.id(body);
        facts.stream = self.stream(body);
        facts.received_at = received_at(body);
        facts.edited_at = self.edited_at(body);
        facts.content = self.content(body);
        facts.profile = self.profile(body);
        facts.entities = self.entities(body);
        facts.media = self.media(body);
        facts.relation = self.relation(body);
        facts.counts = self.counts(body);
    }

    /// Returns true if the post has the facts that every post of this kind has.
    fn is_as_expected(&self, _body: &[u8], facts: &PostFacts<'_>) -> bool {
        facts.id.is_some() && facts.created_at.is_some()
    }

    /// Returns the stream of a social source to which the post belongs.
    fn stream(&self, body: &[u8]) -> PostStream {
        PostStream::of_platform(get(body, REFRESHED).is_some(), false)
    }

    /// Returns the time of the edit, if this is a later version of a post.
    fn edited_at(&self, _body: &[u8]) -> Option<OffsetDateTime> {
        None
    }

    /// Returns the ids of all versions of the post, the first version's first.
    fn edit_history<'a>(&self, _body: &'a [u8]) -> Vec<Cow<'a, str>> {
        Vec::new()
    }

    /// Returns a value that distinguishes versions of the post with the same id.
    fn revision<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    /// Returns true if an edited post says that it was edited.
    fn tells_edits(&self) -> bool {
        true
    }

    /// Returns the selection of the posts with an id, for a deletion that names this id.
    fn deletion_reach(&self, _id: &str) -> DeletionReach {
        DeletionReach::AllOfId
    }

    /// Returns true if the post was captured from a server; `None` if that can't be decided.
    fn is_of_server(&self, _body: &[u8], _server: &str) -> Option<bool> {
        Some(true)
    }

    /// Returns the servers for which [`is_of_server`](Self::is_of_server) is true, in lower case,
    /// if ids are unique per server only.
    fn servers(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }
}

/// Returns the time of a member whose value is a string.
fn dated(json: &[u8]) -> Option<OffsetDateTime> {
    leading_value(json).and_then(date_of)
}

/// Returns the time of a value that is a string.
fn date_of(value: &[u8]) -> Option<OffsetDateTime> {
    string(value).and_then(|text| date(&text))
}

/// Returns the time at which a source received the post.
fn received_at(body: &[u8]) -> Option<OffsetDateTime> {
    get(body, "received_at").and_then(date_of)
}

/// Returns the kind of a key: the list of all kinds.
fn of_kind(kind: &[u8]) -> &'static dyn PostKind {
    match kind {
        b"tweet" => &tweet::Tweet,
        b"post" => &facebook::FacebookPost,
        b"video" => &video::Video,
        b"bsky" => &bsky::BlueskyEvent,
        b"toot" => &toot::Toot,
        b"delete" => &delete::Delete,
        b"gap" => &gap::Gap,
        _ => &Other,
    }
}

/// Returns the platform of a kind, or the kind itself if it has none.
fn platform_of(kind: Cow<'_, str>) -> Cow<'_, str> {
    match of_kind(kind.as_bytes()).platform() {
        Some(platform) => platform.into(),
        None => kind,
    }
}

/// Returns the only key of a post, and the JSON below it.
fn key_and_body(post: &[u8]) -> (&[u8], &[u8]) {
    let mut skip = Skip::new(post);
    skip.at = 1;
    let Some(key) = skip.key() else { return (&[], &[]) };
    skip.space();
    let body = post.get(skip.at..).and_then(|rest| rest.strip_suffix(b"}"));
    (key, body.unwrap_or_default().trim_ascii_end())
}

/// Returns the kind of a post, and its body.
fn kind_and_body(post: &[u8]) -> (&'static dyn PostKind, &[u8]) {
    let (key, body) = key_and_body(post);
    (of_kind(key), body)
}

/// Returns the own time of a post as bytes, which must be one well-formed JSON object with one key;
/// see [`Post::created_at`].
pub(crate) fn own_time(post: &[u8]) -> Option<OffsetDateTime> {
    let (kind, body) = kind_and_body(post);
    time_of(kind, body)
}

/// Returns the own time in a body. If the kind's own members have none, the members in which other
/// kinds have their time are used.
fn time_of(kind: &dyn PostKind, body: &[u8]) -> Option<OffsetDateTime> {
    kind.time(body).or_else(|| Other.time(body))
}

impl<'a> Content<'a> {
    /// Fills in the parts that the kind's own members don't have, from the members of other kinds.
    fn fill_from_other(&mut self, body: &'a [u8]) {
        if self.text.is_none() {
            self.text = Other.text(body);
        }
        if self.author == Author::default() {
            self.author = Other.author(body);
        }
    }
}

impl Post {
    /// Returns the key that names the post's kind, as written (without decoding escapes, which no
    /// platform's kind has). Costs no more than finding two quotes.
    pub fn kind(&self) -> &str {
        std::str::from_utf8(key_and_body(self).0).unwrap_or_default()
    }

    /// Returns the raw JSON under the kind.
    pub fn body(&self) -> &[u8] {
        key_and_body(self).1
    }

    /// Returns the post's own time in UTC: the index, replay and windows all use this time.
    ///
    /// For a tweet it is the time in its id, to the millisecond: `(id >> 22) + 1288834974657` ms
    /// since 1970. An id has none if it is older than 2010-11-04 (below 29,700,859,247), or if its
    /// time is more than 5 s from the stated one: then `created_at` or `timestamp_ms` counts. For a
    /// toot it is `created_at`, for a Facebook post `created_time`, for a video `publishedAt`, and
    /// for Bluesky the time at which its server saw an event (`indexedAt` of a post that was read
    /// again), because `createdAt` comes from the poster's clock and may be years off. Posts of
    /// other kinds, and posts without a time in the usual member of their kind, are read by the
    /// same names.
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        own_time(self)
    }

    /// Returns the platform's id for the post, as text, with every digit of it. For Bluesky it is
    /// the record's `at://` address; for a toot its `uri`, since its `id` differs between servers.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.id(body).or_else(|| Other.id(body))
    }

    /// Returns another id by which a deletion may name the post: the number that a toot has on the
    /// server that it came from, and the account of a Bluesky post, whose deletion deletes all its
    /// posts. A toot's number is unique only on its server; two servers give the same number to
    /// different toots only in the same millisecond, with a chance of one in 65,536.
    pub fn other_id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.other_id(body)
    }

    /// Returns the id by which the platform finds the post again: [`id`](Self::id), except for a
    /// toot, whose number on its server is returned.
    pub fn reread_id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.reread_id(body)
    }

    /// Returns the text as people read it, without HTML and with its entities decoded. It is a
    /// tweet's longest text, a Facebook post's message or story, a video's title and description on
    /// a line each, a Bluesky post's text, a toot's warning and content on a line each. For other
    /// kinds, and posts without text in the usual member of their kind, it is the unchanged value
    /// of one of these members, or the string directly under the kind.
    ///
    /// The text of a repost is that of the post that it reposts, if the capture includes that: a
    /// retweet's own text is "RT @user: " and a cut copy, and a boost of Mastodon has none. The
    /// text of a quote is only its own text; the quoted one is another post.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.text(body).or_else(|| Other.text(body))
    }

    /// Returns the author of the post; for a repost, the account that reposted it.
    pub fn author(&self) -> Author<'_> {
        let (kind, body) = kind_and_body(self);
        let author = kind.author(body);
        if author == Author::default() { Other.author(body) } else { author }
    }

    /// Returns the labels that the platform itself marks in the post: hashtags, mentions,
    /// languages, the place.
    pub fn labels(&self) -> Labels<'_> {
        let (kind, body) = kind_and_body(self);
        kind.labels(body)
    }

    /// Returns [text](Self::text), [author](Self::author) and [labels](Self::labels), for less than
    /// the cost of three calls.
    pub fn content(&self) -> Content<'_> {
        let (kind, body) = kind_and_body(self);
        let mut content = kind.content(body);
        content.fill_from_other(body);
        content
    }

    /// Returns all facts of the post, for less than the cost of all functions here. Each fact
    /// equals the result of its function.
    pub fn facts(&self) -> PostFacts<'_> {
        let (key, body) = key_and_body(self);
        let kind = of_kind(key);
        let name = std::str::from_utf8(key).unwrap_or_default();
        let mut facts = PostFacts {
            kind: name,
            platform: kind.platform().unwrap_or(name).into(),
            stream: PostStream::Default,
            id: None,
            created_at: kind.time(body),
            received_at: None,
            edited_at: None,
            content: Content::default(),
            profile: AuthorProfile::default(),
            entities: Entities::default(),
            media: Vec::new(),
            relation: Relation::default(),
            counts: Counts::default(),
            is_as_expected: true,
        };
        kind.gather(body, &mut facts);
        facts.is_as_expected = kind.is_as_expected(body, &facts);
        facts.created_at = facts.created_at.or_else(|| Other.time(body));
        facts.id = facts.id.or_else(|| Other.id(body));
        facts.content.fill_from_other(body);
        facts
    }

    /// Returns the stream of a social source to which the post belongs, derived from the post
    /// alone.
    pub fn stream(&self) -> PostStream {
        let (kind, body) = kind_and_body(self);
        kind.stream(body)
    }

    /// Returns the time of the edit, if this is a later version of a post that states it.
    pub fn edited_at(&self) -> Option<OffsetDateTime> {
        let (kind, body) = kind_and_body(self);
        kind.edited_at(body)
    }

    /// Returns the ids of all versions of the post up to the captured one, the first version's
    /// first, if each version has a separate id. Empty on all platforms except X.
    pub fn edit_history(&self) -> Vec<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.edit_history(body)
    }

    /// Returns a value that distinguishes versions of the post with the same id: `edited_at` of a
    /// toot or a Facebook post, the revision of a Bluesky record.
    pub fn revision(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.revision(body)
    }

    /// Returns the version of the post, which can be compared with others.
    pub fn version(&self) -> PostVersion {
        PostVersion { edited_at: self.edited_at(), received_at: self.received_at() }
    }

    /// Returns the time at which a source received the post: every source adds `received_at` at the
    /// end.
    pub fn received_at(&self) -> Option<OffsetDateTime> {
        received_at(self.body())
    }

    /// Returns true if an edited post of this kind says that it was edited. Facebook's don't: their
    /// source detects edits by the text.
    pub fn tells_edits(&self) -> bool {
        let (kind, _) = kind_and_body(self);
        kind.tells_edits()
    }

    /// Returns the deletion, if this post is one that can be understood.
    pub fn deletion(&self) -> Option<Deletion<'_>> {
        let (key, body) = key_and_body(self);
        if key == delete::KIND { Deletion::read(body) } else { None }
    }

    /// Returns true if the post says that another one was deleted.
    pub fn is_deletion(&self) -> bool {
        key_and_body(self).0 == delete::KIND
    }

    /// Returns true if the post was captured from a server, if ids are unique per server only;
    /// `None` if that can't be decided.
    pub fn is_of_server(&self, server: &str) -> Option<bool> {
        let (kind, body) = kind_and_body(self);
        kind.is_of_server(body, server)
    }

    /// Returns the servers that the post is known to be from, in lower case, if ids are unique per
    /// server only.
    pub fn servers(&self) -> Vec<String> {
        let (kind, body) = kind_and_body(self);
        kind.servers(body)
    }
}

#[cfg(test)]
mod tests;

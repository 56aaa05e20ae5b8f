//! What a post says of itself, by its kind: the one place that knows how each platform writes the
//! time, the id, the text, the author, the edits and the deletions of its posts. The index, replay,
//! topics, dedup, `lake erase`, the columns of Parquet and `Words` all ask here, so that they never
//! tell two things of one post.
//!
//! A platform is one file beside this one, and one line in [`of_kind`]. Everything is read on
//! demand from the post's raw bytes, in one pass that ends at what is wanted; a tree is never
//! built. A field that is absent, null or of another type than the platform gives it is as good as
//! absent.

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

/// How the posts of one kind say what they say. Each function gets the body, which is the JSON
/// below the kind.
trait PostKind {
    /// The platform that it is of, in lower case; `None` for a kind that is of no platform.
    fn platform(&self) -> Option<&'static str> {
        None
    }

    /// The post's own time, in UTC, if this member of the body says it. `json` begins with the
    /// member's value.
    fn time_in(&self, _key: &[u8], _json: &[u8]) -> Option<OffsetDateTime> {
        None
    }

    /// The post's own time, in UTC, in one pass that ends where it is known.
    fn time(&self, body: &[u8]) -> Option<OffsetDateTime> {
        find_member(body, |key, json| self.time_in(key, json))
    }

    /// The platform's id for the post.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>>;

    /// What else a deletion may name the post by.
    fn other_id<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    /// The id by which the platform finds the post again.
    fn reread_id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        self.id(body)
    }

    /// The text as people read it.
    fn text<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>>;

    /// Who wrote it.
    fn author<'a>(&self, _body: &'a [u8]) -> Author<'a> {
        Author::default()
    }

    /// What the platform marks in it.
    fn labels<'a>(&self, _body: &'a [u8]) -> Labels<'a> {
        Labels::default()
    }

    /// The three together, where a kind has them in one pass.
    fn content<'a>(&self, body: &'a [u8]) -> Content<'a> {
        Content { text: self.text(body), author: self.author(body), labels: self.labels(body) }
    }

    /// The account of who wrote it.
    fn profile(&self, _body: &[u8]) -> AuthorProfile {
        AuthorProfile::default()
    }

    /// What the platform found in the text.
    fn entities<'a>(&self, _body: &'a [u8]) -> Entities<'a> {
        Entities::default()
    }

    /// The types of what is attached.
    fn media(&self, _body: &[u8]) -> Vec<Media> {
        Vec::new()
    }

    /// Which other posts it belongs to.
    fn relation<'a>(&self, _body: &'a [u8]) -> Relation<'a> {
        Relation::default()
    }

    /// How often it was liked and so on.
    fn counts(&self, _body: &[u8]) -> Counts {
        Counts::default()
    }

    /// Sets all facts but the kind, the platform and the time: what the functions above say, where
    /// a kind has it in fewer passes.
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

    /// True if the facts are all there that any post of this kind has.
    fn is_as_expected(&self, _body: &[u8], facts: &PostFacts<'_>) -> bool {
        facts.id.is_some() && facts.created_at.is_some()
    }

    /// The stream of a social source that it belongs to.
    fn stream(&self, body: &[u8]) -> PostStream {
        PostStream::of_platform(get(body, REFRESHED).is_some(), false)
    }

    /// When it was edited, if it is a later version of a post.
    fn edited_at(&self, _body: &[u8]) -> Option<OffsetDateTime> {
        None
    }

    /// The ids of all versions of the post, the first version's first.
    fn edit_history<'a>(&self, _body: &'a [u8]) -> Vec<Cow<'a, str>> {
        Vec::new()
    }

    /// What tells versions of the post apart that have one id.
    fn revision<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    /// True if an edited post says that it was edited.
    fn tells_edits(&self) -> bool {
        true
    }

    /// Which of the posts that have an id are meant by a deletion that names it.
    fn deletion_reach(&self, _id: &str) -> DeletionReach {
        DeletionReach::AllOfId
    }

    /// Whether the post was captured from a server; `None` if nothing tells.
    fn is_of_server(&self, _body: &[u8], _server: &str) -> Option<bool> {
        Some(true)
    }

    /// The servers for which [`is_of_server`](Self::is_of_server) is true, in lower case, where ids
    /// are those of one server.
    fn servers(&self, _body: &[u8]) -> Vec<String> {
        Vec::new()
    }
}

/// The time of a member that is a text.
fn dated(json: &[u8]) -> Option<OffsetDateTime> {
    leading_value(json).and_then(date_of)
}

/// The time of a value that is a text.
fn date_of(value: &[u8]) -> Option<OffsetDateTime> {
    string(value).and_then(|text| date(&text))
}

/// When a source received the post.
fn received_at(body: &[u8]) -> Option<OffsetDateTime> {
    get(body, "received_at").and_then(date_of)
}

/// The list of all kinds: one line for each.
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

/// The platform of a kind, or the kind itself where it is of none.
fn platform_of(kind: Cow<'_, str>) -> Cow<'_, str> {
    match of_kind(kind.as_bytes()).platform() {
        Some(platform) => platform.into(),
        None => kind,
    }
}

/// The only key of a post, and the JSON below it.
fn key_and_body(post: &[u8]) -> (&[u8], &[u8]) {
    let mut skip = Skip::new(post);
    skip.at = 1;
    let Some(key) = skip.key() else { return (&[], &[]) };
    skip.space();
    let body = post.get(skip.at..).and_then(|rest| rest.strip_suffix(b"}"));
    (key, body.unwrap_or_default().trim_ascii_end())
}

/// The kind of a post, and its body.
fn kind_and_body(post: &[u8]) -> (&'static dyn PostKind, &[u8]) {
    let (key, body) = key_and_body(post);
    (of_kind(key), body)
}

/// The own time of a post that is in no buffer of its own: one well-formed JSON object with one
/// key; see [`Post::created_at`].
pub(crate) fn own_time(post: &[u8]) -> Option<OffsetDateTime> {
    let (kind, body) = kind_and_body(post);
    time_of(kind, body)
}

/// The own time that a body says. A member in which only other kinds have their time counts where
/// there is none of the kind's own.
fn time_of(kind: &dyn PostKind, body: &[u8]) -> Option<OffsetDateTime> {
    kind.time(body).or_else(|| Other.time(body))
}

impl<'a> Content<'a> {
    /// Adds what the names of all kinds say where the kind's own say nothing.
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
    /// The key that names the post's kind, as it is written (without decoding escapes, which no
    /// platform's kind has). Costs no more than finding two quotes.
    pub fn kind(&self) -> &str {
        std::str::from_utf8(key_and_body(self).0).unwrap_or_default()
    }

    /// The raw JSON under the kind.
    pub fn body(&self) -> &[u8] {
        key_and_body(self).1
    }

    /// The post's own time in UTC: the one answer that the index, replay and windows share.
    ///
    /// Of a tweet it is the time that its id carries, to the millisecond: `(id >> 22) +
    /// 1288834974657` ms since 1970. An id carries none if it is older than 2010-11-04 (below
    /// 29,700,859,247), or if its time is more than 5 s from the stated one: then `created_at` or
    /// `timestamp_ms` counts. It is `created_at` of a toot, `created_time` of a Facebook post, `publishedAt` of
    /// a video, and the time at which Bluesky's server saw an event (`indexedAt` of a post that was
    /// read again), because `createdAt` there is the clock of whoever posted and may be years off.
    /// Other kinds, and posts that have no time where their kind has it, are read by the same
    /// names.
    pub fn created_at(&self) -> Option<OffsetDateTime> {
        own_time(self)
    }

    /// The platform's id for the post, as text, with every digit of it. For Bluesky it is the
    /// record's `at://` address; for a toot its `uri`, since its `id` is another one on every
    /// server.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.id(body).or_else(|| Other.id(body))
    }

    /// What else a deletion may name the post by: the number that a toot has on the server that it
    /// came from, and the account of a Bluesky post, which takes all its posts along. A toot's
    /// number is only unique on its server; that two servers give the same one to two different
    /// toots takes the same millisecond and one chance in 65,536.
    pub fn other_id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.other_id(body)
    }

    /// The id by which the platform finds the post again: [`id`](Self::id), but the server's own
    /// number of a toot.
    pub fn reread_id(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.reread_id(body)
    }

    /// The text as people read it, without HTML and with its entities decoded. It is a tweet's
    /// longest text, a Facebook post's message or story, a video's title and description on a line
    /// each, a Bluesky post's text, a toot's warning and content on a line each. Of another kind,
    /// and where a kind has no text of its own, it is what stands by one of these names as it is,
    /// or the string that stands under the kind.
    ///
    /// A repost says what it reposts, where that came with it: a retweet's own text is "RT @user: "
    /// and a cut copy, and a boost of Mastodon has none. A quote says its own words only; what it
    /// quotes is another post.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.text(body).or_else(|| Other.text(body))
    }

    /// Who wrote the post; of a repost, who reposted it.
    pub fn author(&self) -> Author<'_> {
        let (kind, body) = kind_and_body(self);
        let author = kind.author(body);
        if author == Author::default() { Other.author(body) } else { author }
    }

    /// What the platform itself marks in the post: hashtags, mentions, languages, the place.
    pub fn labels(&self) -> Labels<'_> {
        let (kind, body) = kind_and_body(self);
        kind.labels(body)
    }

    /// [Text](Self::text), [author](Self::author) and [labels](Self::labels), for less than the
    /// three cost.
    pub fn content(&self) -> Content<'_> {
        let (kind, body) = kind_and_body(self);
        let mut content = kind.content(body);
        content.fill_from_other(body);
        content
    }

    /// Everything that the post says, for less than all the functions here cost. Each answer is the
    /// same that its function gives.
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

    /// The stream of a social source that the post belongs to, told from the post alone.
    pub fn stream(&self) -> PostStream {
        let (kind, body) = kind_and_body(self);
        kind.stream(body)
    }

    /// When the post was edited, if it is a later version of a post and says when.
    pub fn edited_at(&self) -> Option<OffsetDateTime> {
        let (kind, body) = kind_and_body(self);
        kind.edited_at(body)
    }

    /// The ids of all versions of the post up to the one that was captured, the first version's
    /// first, where each version has an id of its own. Empty on all platforms but X.
    pub fn edit_history(&self) -> Vec<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.edit_history(body)
    }

    /// What tells versions of the post apart that have the same id: `edited_at` of a toot or a
    /// Facebook post, the revision of a Bluesky record.
    pub fn revision(&self) -> Option<Cow<'_, str>> {
        let (kind, body) = kind_and_body(self);
        kind.revision(body)
    }

    /// How new this version of the post is.
    pub fn version(&self) -> PostVersion {
        PostVersion { edited_at: self.edited_at(), received_at: self.received_at() }
    }

    /// When a source received the post: every source adds `received_at` at the end.
    pub fn received_at(&self) -> Option<OffsetDateTime> {
        received_at(self.body())
    }

    /// True if an edited post of this kind says that it was edited. Facebook's don't: their source
    /// notices it by the text.
    pub fn tells_edits(&self) -> bool {
        let (kind, _) = kind_and_body(self);
        kind.tells_edits()
    }

    /// Which post was deleted, if this is a deletion that can be understood.
    pub fn deletion(&self) -> Option<Deletion<'_>> {
        let (key, body) = key_and_body(self);
        if key == delete::KIND { Deletion::read(body) } else { None }
    }

    /// True if the post says of another one that it was deleted.
    pub fn is_deletion(&self) -> bool {
        key_and_body(self).0 == delete::KIND
    }

    /// Whether the post was captured from a server, where ids are those of one server; `None` if
    /// nothing tells.
    pub fn is_of_server(&self, server: &str) -> Option<bool> {
        let (kind, body) = kind_and_body(self);
        kind.is_of_server(body, server)
    }

    /// The servers that the post is known to be of, in lower case, where ids are those of one
    /// server.
    pub fn servers(&self) -> Vec<String> {
        let (kind, body) = kind_and_body(self);
        kind.servers(body)
    }
}

#[cfg(test)]
mod tests;

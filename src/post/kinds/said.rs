//! The answers that posts of all kinds give.

use std::borrow::Cow;

use time::OffsetDateTime;

/// Who wrote a post. What the post doesn't say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author<'a> {
    /// The id, as text: the same for all posts of the author, and for no other author of the
    /// platform.
    pub id: Option<Cow<'a, str>>,
    /// The name by which others mention the author, without the sign.
    pub handle: Option<Cow<'a, str>>,
    /// The name that is shown.
    pub name: Option<Cow<'a, str>>,
}

/// What a platform itself marks in a post. Signs that only stand in the text aren't among it, and
/// something may be there several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Hashtags, without the sign.
    pub hashtags: Vec<Cow<'a, str>>,
    /// Cashtags, without the sign.
    pub cashtags: Vec<Cow<'a, str>>,
    /// Who is mentioned, by the names or ids that the platform gives, without the sign.
    pub mentions: Vec<Cow<'a, str>>,
    /// Languages, as tags: `en-GB`.
    pub langs: Vec<Cow<'a, str>>,
    /// The Facebook page or the YouTube channel that it stands on.
    pub place: Option<Cow<'a, str>>,
}

/// Text, author and labels of a post, each as it is told by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content<'a> {
    /// The text as people read it.
    pub text: Option<Cow<'a, str>>,
    /// Who wrote it.
    pub author: Author<'a>,
    /// What the platform marks in it.
    pub labels: Labels<'a>,
}

/// How new a version of a post is: of two versions of one post the greater one is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostVersion {
    /// When it was edited; any edit is newer than the first version.
    pub edited_at: Option<OffsetDateTime>,
    /// When it was received: it decides between two versions that were edited at the same time, or
    /// never.
    pub received_at: Option<OffsetDateTime>,
}

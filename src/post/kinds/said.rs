//! The facts that posts of all kinds share.

use std::borrow::Cow;

use time::OffsetDateTime;

/// The author of a post. A fact that the post doesn't state is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author<'a> {
    /// The id, as text: the same for all posts of the author, and for no other author of the
    /// platform.
    pub id: Option<Cow<'a, str>>,
    /// The name by which others mention the author, without the sign.
    pub handle: Option<Cow<'a, str>>,
    /// The displayed name.
    pub name: Option<Cow<'a, str>>,
}

/// The labels that a platform itself marks in a post. Signs that only occur in the text aren't
/// included, and a label may be listed several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels<'a> {
    /// Hashtags, without the sign.
    pub hashtags: Vec<Cow<'a, str>>,
    /// Cashtags, without the sign.
    pub cashtags: Vec<Cow<'a, str>>,
    /// Mentioned accounts, by the names or ids that the platform gives, without the sign.
    pub mentions: Vec<Cow<'a, str>>,
    /// Languages, as tags: `en-GB`.
    pub langs: Vec<Cow<'a, str>>,
    /// The Facebook page or the YouTube channel to which it was posted.
    pub place: Option<Cow<'a, str>>,
}

/// Text, author and labels of a post, each as its own function returns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content<'a> {
    /// The text as people read it.
    pub text: Option<Cow<'a, str>>,
    /// The author.
    pub author: Author<'a>,
    /// The labels that the platform marks.
    pub labels: Labels<'a>,
}

/// The version of a post: of two versions of one post the greater one is the newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PostVersion {
    /// The time of the edit; any edit is newer than the first version.
    pub edited_at: Option<OffsetDateTime>,
    /// The time of receipt, which orders two versions that were edited at the same time, or never.
    pub received_at: Option<OffsetDateTime>,
}

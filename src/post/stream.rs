//! The streams to which posts belong.

/// The name of the stream of posts that were read again, for their counts.
pub const COUNTS: &str = "counts";

/// The name of the stream of deletions.
pub const DELETES: &str = "deletes";

/// The name of the stream of posts that were edited.
pub const EDITS: &str = "edits";

/// The name of the stream of gap entries, which say that posts may be missing.
pub const GAPS: &str = "gaps";

/// The member of a post's body that says how long after its receipt the post was read again.
pub const REFRESHED: &str = "refreshed";

/// The stream of a social source that a post belongs to; [`Post::stream`](super::Post::stream)
/// derives it from the post alone. Sources declare their streams in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostStream {
    /// Posts.
    Default,
    /// Posts that were read again, for their counts.
    Counts,
    /// Deletions.
    Deletes,
    /// Posts that were edited.
    Edits,
    /// Gap entries: posts may be missing.
    Gaps,
}

impl PostStream {
    /// The named streams, in order.
    pub const NAMED: [&str; 4] = [COUNTS, DELETES, EDITS, GAPS];

    /// Returns the name of the stream.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Counts => COUNTS,
            Self::Deletes => DELETES,
            Self::Edits => EDITS,
            Self::Gaps => GAPS,
        }
    }

    /// Returns the stream of a platform's post.
    pub(super) fn of_platform(is_read_again: bool, is_edit: bool) -> Self {
        match (is_read_again, is_edit) {
            (true, _) => Self::Counts,
            (false, true) => Self::Edits,
            (false, false) => Self::Default,
        }
    }
}

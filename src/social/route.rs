//! Which stream a post belongs to, told from the post alone.

use crate::post::Post;
use crate::post::fields::{elements, get, pick, string};
use crate::spout::Route;
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

use super::topics::Topics;

/// The stream of posts that were read again, for their counts.
pub const COUNTS: &str = "counts";

/// The stream of deletions.
pub const DELETES: &str = "deletes";

/// The stream of posts that were edited.
pub const EDITS: &str = "edits";

/// The stream of what may be missing.
pub const GAPS: &str = "gaps";

/// The streams of every social source, in the order of their ids: the first by itself, the others by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Posts.
    Default,
    /// Posts that were read again, for their counts.
    Counts,
    /// Deletions.
    Deletes,
    /// Posts that were edited.
    Edits,
    /// What may be missing.
    Gaps,
}

/// What a post has under its kind if it was read again: how long after it was received.
pub(super) const REFRESHED: &str = "refreshed";

impl Stream {
    /// Of a post.
    pub fn of(post: &Post) -> Self {
        let body = post.body();
        match post.kind() {
            "delete" => Self::Deletes,
            "gap" => Self::Gaps,
            _ if get(body, REFRESHED).is_some() => Self::Counts,
            kind if is_edit(kind, body) => Self::Edits,
            _ => Self::Default,
        }
    }

    /// Its number among the declared streams.
    pub fn id(self) -> StreamId {
        StreamId(self as usize)
    }

    /// All of them, as a source declares them.
    pub fn all() -> Streams {
        [COUNTS, DELETES, EDITS, GAPS]
            .into_iter()
            .fold(Streams::default_with(Fields::of_posts()), |streams, name| streams.and(name, Fields::of_posts()))
    }
}

/// Whether a post says of itself that it is a later version of another.
fn is_edit(kind: &str, body: &[u8]) -> bool {
    match kind {
        // The history has every version's id, the first one's first.
        "tweet" => pick(body, ["edit_history_tweet_ids", "edit_history_post_ids"])
            .into_iter()
            .flatten()
            .any(|history| elements(history).nth(1).is_some()),
        "toot" => get(body, "edited_at").is_some_and(|time| string(time).is_some()),
        "bsky" => {
            let operation = get(get(body, "commit").unwrap_or(body), "operation");
            operation.and_then(string).as_deref() == Some("update")
        }
        _ => false,
    }
}

/// The router of a social source.
pub(super) struct Router {
    pub topics: Topics,
}

impl Route for Router {
    fn route(&self, post: &Post) -> (StreamId, Value) {
        let stream = Stream::of(post);
        let topics = match stream {
            Stream::Deletes | Stream::Gaps => Value::List([].into()),
            _ => self.topics.of(post),
        };
        (stream.id(), topics)
    }
}

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
pub const REFRESHED: &str = "refreshed";

impl Stream {
    /// Of a post.
    pub fn of(post: &Post) -> Self {
        let body = post.body();
        match post.kind() {
            "delete" => Self::Deletes,
            "gap" => Self::Gaps,
            "tweet" => of_tweet(body),
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

/// In one pass, since X is the fastest of the sources. An edit has an id of its own, and the history has every
/// version's id, the first one's first: the first version is none, also where it is read after it was edited.
fn of_tweet(body: &[u8]) -> Stream {
    let [id, refreshed, history, posts] =
        pick(body, ["id", REFRESHED, "edit_history_tweet_ids", "edit_history_post_ids"]);
    let is_later = |history: &[u8]| {
        let mut versions = elements(history);
        versions.next().is_some_and(|first| Some(first) != id) && versions.next().is_some()
    };
    match refreshed {
        Some(_) => Stream::Counts,
        None if [history, posts].into_iter().flatten().any(is_later) => Stream::Edits,
        None => Stream::Default,
    }
}

/// Returns true if a post says of itself that it is a later version of another.
fn is_edit(kind: &str, body: &[u8]) -> bool {
    match kind {
        // A toot says it itself. Facebook doesn't: there its source has added it to a post whose text has changed.
        "toot" | "post" => get(body, "edited_at").is_some_and(|time| string(time).is_some()),
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_tweet_is_an_edit_if_its_history_begins_with_another() {
        let stream = |json: &str| Stream::of(&Post::check(Bytes::copy_from_slice(json.as_bytes())).unwrap());
        assert_eq!(stream(r#"{"tweet":{"id":"1","edit_history_tweet_ids":["1"]}}"#), Stream::Default);
        assert_eq!(stream(r#"{"tweet":{"id":"1","edit_history_tweet_ids":["1","2"]}}"#), Stream::Default);
        assert_eq!(stream(r#"{"tweet":{"id":"2","edit_history_tweet_ids":["1","2"]}}"#), Stream::Edits);
        assert_eq!(stream(r#"{"tweet":{"edit_history_post_ids":["1","2"],"id":"2"}}"#), Stream::Edits);
        assert_eq!(
            stream(r#"{"tweet":{"id":"2","edit_history_tweet_ids":["1","2"],"refreshed":"1h"}}"#),
            Stream::Counts
        );
    }
}

//! The streams of every social source, and the routing of posts onto them.

use crate::post::{Post, PostStream};
use crate::spout::Route;
use crate::tuple::{Fields, StreamId, Streams};
use crate::value::Value;

use super::topics::Topics;

/// Returns the streams as a source declares them, in the order of their ids: first the default
/// stream, then the named ones.
pub(super) fn streams() -> Streams {
    let default = Streams::default_with(Fields::of_posts());
    PostStream::NAMED
        .into_iter()
        .fold(default, |streams, name| streams.and(name, Fields::of_posts()))
}

/// Returns the number of a stream among the declared ones.
fn stream_id(stream: PostStream) -> StreamId {
    StreamId(stream as usize)
}

/// The router of a social source.
pub(super) struct Router {
    pub topics: Topics,
}

impl Route for Router {
    fn route(&self, post: &Post) -> (StreamId, Value) {
        let stream = post.stream();
        let topics = match stream {
            PostStream::Deletes | PostStream::Gaps => Value::List([].into()),
            _ => self.topics.of(post),
        };
        (stream_id(stream), topics)
    }
}

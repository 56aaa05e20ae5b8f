//! The identity of posts, computed from the posts alone.

use xxhash_rust::xxh3::Xxh3;

use crate::post::fields::get;
use crate::post::{Post, PostStream, REFRESHED};

/// Returns a post's identity: its kind, id and version, hashed to 128 bits. Among a billion posts,
/// two different ones get the same identity with a probability of 10^-21.
pub(super) fn identity(post: &Post) -> u128 {
    identity_on(post, post.stream())
}

/// Returns the same for a post whose stream is known already.
pub(super) fn identity_on(post: &Post, stream: PostStream) -> u128 {
    let mut hash = Xxh3::new();
    let mut add = |part: &[u8]| {
        hash.update(part);
        hash.update(&[0]);
    };
    add(&[stream as u8]);
    add(post.kind().as_bytes());
    match post.id() {
        Some(id) => add(id.as_bytes()),
        // Without an id, two posts are the same only if all bytes but the time of their receipt are
        // equal.
        None => add(without_received_at(post.body())),
    }
    add(post.revision().unwrap_or_default().as_bytes());
    match stream {
        PostStream::Counts => add(get(post.body(), REFRESHED).unwrap_or_default()),
        PostStream::Deletes => {
            add(post.deletion().map(|deletion| deletion.kind).unwrap_or_default().as_bytes())
        }
        _ => {}
    }
    hash.digest128()
}

/// Cuts off `received_at`, which is the last member, since this program adds it.
fn without_received_at(body: &[u8]) -> &[u8] {
    let at = memchr::memmem::rfind(body, b",\"received_at\":");
    at.map_or(body, |at| &body[..at])
}

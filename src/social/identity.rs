//! What makes two posts the same one, told from the posts alone.

use xxhash_rust::xxh3::Xxh3;

use crate::post::fields::get;
use crate::post::{Post, PostStream, REFRESHED};

/// A post's identity: kind, id and version, hashed to 128 bits, so that among a billion posts two
/// different ones are taken for the same with a probability of 10^-21.
pub(super) fn identity(post: &Post) -> u128 {
    identity_on(post, post.stream())
}

/// The same, where its stream is known already.
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
        // Without an id it is only the same if every byte is, but for when it was received.
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

/// `received_at` is the last member, since it is added here.
fn without_received_at(body: &[u8]) -> &[u8] {
    let at = memchr::memmem::rfind(body, b",\"received_at\":");
    at.map_or(body, |at| &body[..at])
}

//! What makes two posts the same one, told from the posts alone.

use xxhash_rust::xxh3::Xxh3;

use crate::post::Post;
use crate::post::fields::{get, id_text};

use super::route::{REFRESHED, Stream};

/// A post's identity: kind, id and version, hashed to 128 bits, so that among a billion posts two different ones
/// are taken for the same with a probability of 10^-21.
pub(super) fn identity(post: &Post) -> u128 {
    identity_on(post, Stream::of(post))
}

/// The same, where its stream is known already.
pub(super) fn identity_on(post: &Post, stream: Stream) -> u128 {
    let body = post.body();
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
        None => add(without_received_at(body)),
    }
    let version: &[&str] = match (stream, post.kind()) {
        (Stream::Counts, _) => &[REFRESHED],
        (Stream::Edits, _) => &["edited_at", "updated_time"],
        (Stream::Gaps, _) => &["filled"],
        (Stream::Deletes, _) => &["kind"],
        _ => &[],
    };
    for key in version {
        add(get(body, key).unwrap_or_default());
    }
    if post.kind() == "bsky" {
        let rev = get(get(body, "commit").unwrap_or(body), "rev").and_then(id_text);
        add(rev.unwrap_or_default().as_bytes());
    }
    if stream == Stream::Deletes {
        // A record that is made and deleted again under the same name.
        let raw = get(body, "raw").unwrap_or_default();
        let rev = get(get(raw, "commit").unwrap_or(raw), "rev").and_then(id_text);
        add(rev.unwrap_or_default().as_bytes());
    }
    hash.digest128()
}

/// `received_at` is the last member, since it is added here.
fn without_received_at(body: &[u8]) -> &[u8] {
    let at = memchr::memmem::rfind(body, b",\"received_at\":");
    at.map_or(body, |at| &body[..at])
}

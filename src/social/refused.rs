//! What a source got and can't make a post of, on its way to the dead letters through the spool.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::engine::DeadLetter;
use crate::post::Post;
use crate::post::fields::{pick, string};

/// The kind that stands in the spool for what is no post. No platform has it, since it isn't emitted as one.
pub(super) const REFUSED: &str = "_refused";

/// What is no post, on its way to the dead letters.
pub(super) fn refused(raw: &[u8], why: &str) -> Post {
    let body = serde_json::json!({ "raw": STANDARD.encode(raw), "why": why }).to_string();
    Post::wrap(REFUSED, body.as_bytes()).expect("an object of two texts is one")
}

/// The dead letter that such a post stands for.
pub(super) fn dead_letter(post: &Post) -> Option<DeadLetter> {
    let [raw, why] = pick(post.body(), ["raw", "why"]);
    let raw = STANDARD.decode(raw.and_then(string)?.as_bytes()).ok()?;
    Some(DeadLetter { raw: Bytes::from(raw), error: why.and_then(string)?.into_owned(), cut: false })
}

//! Input that a source can't make into a post, on its way to the dead letters through the spool.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::dead_letter::DeadLetter;
use crate::post::Post;
use crate::post::fields::{pick, string};

/// The kind of refused input in the spool. No platform has this kind, and no post of this kind is
/// emitted.
pub(super) const REFUSED: &str = "_refused";

/// The longest reason that is kept, in bytes. A platform's own text may be part of it.
const WHY_BYTES_MAX: usize = 4 << 10;

/// The most room for a reason and the names around it: a byte of text may need six bytes as JSON.
const BESIDE_RAW_BYTES: usize = 6 * WHY_BYTES_MAX + 64;

/// Returns refused input as a record for the dead letters, in at most `bytes_max` bytes. If `raw`
/// is too long it is cut, and the reason says so.
pub(super) fn refused(raw: &[u8], why: &str, bytes_max: usize) -> Post {
    let why = &why[..why.floor_char_boundary(WHY_BYTES_MAX)];
    // In base64, three bytes become four.
    let raw_bytes_max = bytes_max.saturating_sub(BESIDE_RAW_BYTES) / 4 * 3;
    let is_cut = raw.len() > raw_bytes_max;
    let kept = STANDARD.encode(&raw[..raw.len().min(raw_bytes_max)]);
    let why = if is_cut {
        format!(
            "{why} (cut: a record of the spool takes {raw_bytes_max} of its {} bytes)",
            raw.len()
        )
    } else {
        why.to_owned()
    };
    let body = serde_json::json!({ "raw": kept, "why": why, "cut": is_cut }).to_string();
    Post::wrap(REFUSED, body.as_bytes()).expect("an object of two texts and a boolean is one")
}

/// Returns the dead letter that such a post stands for.
pub(super) fn dead_letter(post: &Post) -> Option<DeadLetter> {
    let [raw, why, cut] = pick(post.body(), ["raw", "why", "cut"]);
    let raw = STANDARD.decode(raw.and_then(string)?.as_bytes()).ok()?;
    Some(DeadLetter {
        raw: Bytes::from(raw),
        error: why.and_then(string)?.into_owned(),
        cut: cut == Some(b"true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_comes_back_and_is_cut_to_what_a_record_takes() {
        let raw = vec![b'x'; 200_000];
        for bytes_max in [0, 1_000, 30_000, 100_000, 1 << 20] {
            let post = refused(&raw, "no list", bytes_max);
            assert!(post.len() <= bytes_max.max(BESIDE_RAW_BYTES), "{bytes_max}: {}", post.len());
            let letter = dead_letter(&post).unwrap();
            assert_eq!(letter.cut, letter.raw.len() < raw.len());
            assert_eq!(letter.cut, bytes_max < 1 << 20);
            assert!(letter.error.starts_with("no list"), "{}", letter.error);
        }
        let long = "é\u{1}".repeat(100_000);
        assert!(refused(&raw, &long, 100_000).len() <= 100_000);
    }
}

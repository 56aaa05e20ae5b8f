//! The form of records in a segment: encoding and parsing, without I/O.
//!
//! ```text
//! post: u32 post bytes | u16 cursor bytes | u16 tag | u32 CRC | cursor | post
//! mark: 8 bytes of magic | u64 position | u32 CRC
//! ```
//! Numbers are little-endian. Each CRC also covers the segment's salt and the record's own
//! position, so that bytes from elsewhere (a reused block, another spool) never pass.

use std::ops::Range;

/// The bytes that a post takes in addition to its cursor and its own bytes.
pub(super) const HEAD_BYTES: usize = 12;

/// The bytes of a sync mark.
pub(super) const MARK_BYTES: usize = 20;

/// The beginning of a sync mark: as a post's length it would be too large.
pub(super) const MARK_MAGIC: [u8; 8] = *b"\xf5\xff\xff\xffmark";

/// The most bytes of a post and its cursor: no record is longer than a segment. A larger length is
/// taken for damage.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The tag of a post's head. It isn't zero, so that a page of zeros isn't a record.
const TAG: u16 = 0x7057;

/// The item at a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A post: the ranges of its cursor and its bytes. The record ends where `post` ends.
    Post { cursor: Range<usize>, post: Range<usize> },
    /// Everything before this position was synced when the mark was written.
    Mark(u64),
    /// The bytes are too few to parse; this many are needed.
    Short(usize),
    /// The bytes aren't a record, for this reason.
    Bad(&'static str),
}

/// Returns the bytes that a post takes in the log.
pub(super) fn post_bytes(cursor: &[u8], post: &[u8]) -> u64 {
    (HEAD_BYTES + cursor.len() + post.len()) as u64
}

/// Appends a post that will lie at position `at`. The caller has checked the lengths.
pub(super) fn encode_post(out: &mut Vec<u8>, salt: u64, at: u64, cursor: &[u8], post: &[u8]) {
    let start = out.len();
    out.extend((post.len() as u32).to_le_bytes());
    out.extend((cursor.len() as u16).to_le_bytes());
    out.extend(TAG.to_le_bytes());
    let crc = checksum(salt, at, &[&out[start..], cursor, post]);
    out.extend(crc.to_le_bytes());
    out.extend_from_slice(cursor);
    out.extend_from_slice(post);
}

/// Appends a mark that will lie at position `at`.
pub(super) fn encode_mark(out: &mut Vec<u8>, salt: u64, at: u64, synced: u64) {
    let start = out.len();
    out.extend(MARK_MAGIC);
    out.extend(synced.to_le_bytes());
    let crc = checksum(salt, at, &[&out[start..]]);
    out.extend(crc.to_le_bytes());
}

/// Returns the item at the beginning of `bytes`, which lie at position `at`.
pub(super) fn parse(bytes: &[u8], salt: u64, at: u64) -> Item {
    if bytes.len() >= MARK_MAGIC.len() && bytes.starts_with(&MARK_MAGIC) {
        return parse_mark(bytes, salt, at);
    }
    let Some((head, crc)) = bytes.get(..HEAD_BYTES).and_then(|head| head.split_last_chunk::<4>())
    else {
        return Item::Short(HEAD_BYTES);
    };
    let post_len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let cursor_len = usize::from(u16::from_le_bytes([head[4], head[5]]));
    if u16::from_le_bytes([head[6], head[7]]) != TAG || post_len + cursor_len > BODY_BYTES_MAX {
        return Item::Bad("no record begins here");
    }
    let (post_at, end) = (HEAD_BYTES + cursor_len, HEAD_BYTES + cursor_len + post_len);
    match bytes.get(HEAD_BYTES..end) {
        None => Item::Short(end),
        Some(body) if checksum(salt, at, &[head, body]) == u32::from_le_bytes(*crc) => {
            Item::Post { cursor: HEAD_BYTES..post_at, post: post_at..end }
        }
        Some(_) => Item::Bad("the checksum of a record differs"),
    }
}

fn parse_mark(bytes: &[u8], salt: u64, at: u64) -> Item {
    let Some((body, crc)) = bytes.get(..MARK_BYTES).and_then(|mark| mark.split_last_chunk::<4>())
    else {
        return Item::Short(MARK_BYTES);
    };
    if checksum(salt, at, &[body]) != u32::from_le_bytes(*crc) {
        return Item::Bad("the checksum of a sync mark differs");
    }
    let (_, position) = body.split_last_chunk::<8>().expect("a mark's body has 16 bytes");
    Item::Mark(u64::from_le_bytes(*position))
}

fn checksum(salt: u64, at: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(at: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_post(&mut bytes, 7, at, b"12", b"{\"a\":1}");
        bytes
    }

    #[test]
    fn a_record_reads_back_at_its_own_position_only() {
        let bytes = post(100);
        assert_eq!(parse(&bytes, 7, 100), Item::Post { cursor: 12..14, post: 14..21 });
        assert!(matches!(parse(&bytes, 7, 101), Item::Bad(_)));
        assert!(matches!(parse(&bytes, 8, 100), Item::Bad(_)));
    }

    #[test]
    fn a_mark_reads_back() {
        let mut bytes = Vec::new();
        encode_mark(&mut bytes, 7, 100, 90);
        assert_eq!(bytes.len(), MARK_BYTES);
        assert_eq!(parse(&bytes, 7, 100), Item::Mark(90));
        assert!(matches!(parse(&bytes, 7, 99), Item::Bad(_)));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = post(100);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(parse(&flipped, 7, 100), Item::Bad(_) | Item::Short(_)), "bit {bit}");
        }
    }

    #[test]
    fn what_is_cut_asks_for_the_rest_and_zeros_are_bad() {
        let bytes = post(100);
        for length in 0..bytes.len() {
            assert!(
                matches!(parse(&bytes[..length], 7, 100), Item::Short(n) if n > length),
                "{length}"
            );
        }
        assert!(matches!(parse(&[0; 64], 0, 0), Item::Bad(_)));
    }
}

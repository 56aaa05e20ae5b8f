//! Compares an existing object with what was promised: range by range, so that a long object
//! neither needs much memory nor exceeds the limit on answers.

use super::super::form::Compression;
use super::super::pack::{compression, measure_text};
use super::super::reader::Input;
use super::super::scan::{ObjectBytes, Trouble};
use super::super::store::Store;
use super::super::unpack;
use crate::epoch::Promise;
use crate::error::Result;

/// The maximum factor by which the same text may become longer if another version compresses it. An
/// object that is longer isn't read to its end.
const PACKED_AGAIN_TIMES: u64 = 2;
const PACKED_AGAIN_MORE: u64 = 1 << 20;

/// The length and the CRC-32 of some bytes.
type Sum = (u64, u32);

/// The result of a comparison with the object at a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No object exists.
    Nothing,
    /// The promised bytes; or, if compressed, an earlier recovery's file of the same text.
    Ours,
    /// Another object.
    Other,
}

/// Compares the object at a key with a promise, and with the bytes that are to be put there.
///
/// # Errors
/// If the store can't return the object.
pub(crate) fn compare(
    store: &dyn Store,
    key: &str,
    promise: &Promise,
    ours: Option<&[u8]>,
) -> Result<Found> {
    let packed = compression(promise);
    let longest = promise.length.max(ours.map_or(0, |ours| ours.len() as u64));
    let bytes_max = match packed {
        None => promise.length,
        Some(_) => longest.saturating_mul(PACKED_AGAIN_TIMES).saturating_add(PACKED_AGAIN_MORE),
    };
    let mut object = ObjectBytes::new(store, key);
    let text = match packed {
        None => pass_over(&mut object, bytes_max).map(|()| None),
        Some(compression) => text_of(&mut object, compression, bytes_max).map(Some),
    };
    let text = match text {
        Ok(text) => text,
        Err(Trouble::Store(error)) => return Err(error),
        Err(Trouble::Gone) => return Ok(Found::Nothing),
        Err(Trouble::Damage { .. } | Trouble::Unsupported(_)) => None,
    };
    let promised = (promise.length, promise.checksum);
    if object.sum() == promised || text == Some(promised) {
        return Ok(Found::Ours);
    }
    let is_of_one_text =
        text.is_some() && ours.is_some_and(|ours| measure_text(ours, promise) == text);
    Ok(if is_of_one_text { Found::Ours } else { Found::Other })
}

/// Reads an object to its end, or slightly beyond this number of bytes.
fn pass_over(object: &mut ObjectBytes<'_>, bytes_max: u64) -> Result<(), Trouble> {
    let mut part = Vec::new();
    loop {
        part.clear();
        if !object.fill(&mut part)? || object.sum().0 > bytes_max {
            return Ok(());
        }
    }
}

/// Returns the length and checksum of the text in a compressed object.
fn text_of(
    object: &mut ObjectBytes<'_>,
    compression: Compression,
    bytes_max: u64,
) -> Result<Sum, Trouble> {
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    let more = |packed: &mut Vec<u8>| {
        let goes_on = object.fill(packed)?;
        if object.sum().0 > bytes_max {
            return Err(Trouble::Unsupported("it is too long to be of the same text".into()));
        }
        Ok(goes_on)
    };
    let take = |text: &[u8]| {
        length += text.len() as u64;
        checksum.update(text);
        Ok(())
    };
    unpack::unpack(compression, more, take)?;
    Ok((length, checksum.finalize()))
}

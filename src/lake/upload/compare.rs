//! An object that is there already, measured against what was promised: range by range, so that its
//! length neither costs memory nor meets the bound on answers.

use super::super::form::Compression;
use super::super::pack::{compression, measure_text};
use super::super::reader::Input;
use super::super::scan::{ObjectBytes, Trouble};
use super::super::store::Store;
use super::super::unpack;
use crate::epoch::Promise;
use crate::error::Result;

/// How much longer the same text may become where another version packs it. What is longer isn't
/// read to its end.
const PACKED_AGAIN_TIMES: u64 = 2;
const PACKED_AGAIN_MORE: u64 = 1 << 20;

/// The length and the CRC-32 of some bytes.
type Sum = (u64, u32);

/// What was found at a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What was promised; or, packed, what an earlier recovery has made of the same text.
    Ours,
    /// Something else.
    Other,
}

/// Compares the object at a key with a promise, and with what is to be put there.
///
/// # Errors
/// If the store can't give it.
pub fn compare(
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

/// Reads an object to its end, or a little beyond so many bytes.
fn pass_over(object: &mut ObjectBytes<'_>, bytes_max: u64) -> Result<(), Trouble> {
    let mut part = Vec::new();
    loop {
        part.clear();
        if !object.fill(&mut part)? || object.sum().0 > bytes_max {
            return Ok(());
        }
    }
}

/// The sum of the text that an object was packed of.
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

//! Compresses the text of a file when it closes, always in the same way, and recognises text that
//! was compressed again.
//!
//! ```text
//! staged as text ─▶ closed ─▶ packed, synced, promised ─▶ the text is deleted ─▶ published
//!   (0000000)                 (0000000.ndjson.gz)
//! ```
//!
//! Only text can be cut back to a promised length after a crash, so a file that was compressed and
//! not promised yet is decompressed for that.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::{Compression as Level, GzBuilder};
use zstd::stream::write::Encoder;

use super::disk::{failed, sync_folder};
use super::form::{Compression, Form};
use super::indexing::Times;
use super::staging::Staged;
use super::unpack::{measure, unpack_file};
use crate::epoch::Promise;
use crate::error::Result;
use crate::fault::point;

/// The level of gzip, out of 9. A higher one is slower and gives hardly smaller files.
const GZIP_LEVEL: u32 = 6;

/// The level of Zstandard, out of 22.
const ZSTD_LEVEL: i32 = 3;

/// The number of bytes that are compressed at a time, so that the output doesn't depend on the
/// reader.
const CHUNK_BYTES: usize = 256 << 10;

/// Compresses `length` bytes of text. The same text always gives the same bytes.
///
/// # Errors
/// If the text can't be read, or the result can't be written.
pub fn pack(
    compression: Compression,
    text: &mut impl Read,
    length: u64,
    to: &mut impl Write,
) -> io::Result<()> {
    match compression {
        Compression::None => copy(text, to),
        Compression::Gzip => {
            let mut encoder = GzBuilder::new().mtime(0).write(to, Level::new(GZIP_LEVEL));
            copy(text, &mut encoder)?;
            encoder.finish().map(drop)
        }
        Compression::Zstd => {
            let mut encoder = Encoder::new(to, ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(length))?;
            copy(text, &mut encoder)?;
            encoder.finish().map(drop)
        }
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    loop {
        chunk.clear();
        from.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Ok(());
        }
        to.write_all(&chunk)?;
    }
}

/// A writer that counts the bytes that pass through it.
struct Counted<W> {
    to: W,
    length: u64,
    checksum: crc32fast::Hasher,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.length += written as u64;
        self.checksum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Compresses a text file that was promised as closed into another file, and overwrites one that a
/// crash left half-written. Neither syncs the new file nor deletes the text.
///
/// # Errors
/// If one file can't be read or the other can't be written; the call can be repeated.
pub fn pack_file(
    compression: Compression,
    text: &Path,
    to: PathBuf,
    promise: Promise,
) -> Result<Staged> {
    let write = || {
        point("encode.write")?;
        let file = File::create(&to)?;
        let mut counted = Counted { to: &file, length: 0, checksum: crc32fast::Hasher::new() };
        pack(compression, &mut File::open(text)?, promise.length, &mut counted)?;
        point("encode.written")?;
        Ok((counted.length, counted.checksum.finalize(), file))
    };
    let (length, checksum, file) = write().map_err(|cause| failed("pack into", &to, cause))?;
    let promise = Promise { length, checksum, ..promise };
    Ok(Staged {
        promise,
        path: to,
        file: Some(Arc::new(file)),
        text: Some(text.to_path_buf()),
        times: Times::default(),
    })
}

/// Deletes a compressed text, once the compressed file is synced.
///
/// # Errors
/// If the text can't be deleted. A text that is gone is no error.
pub fn delete_text(text: &Path) -> Result<()> {
    match point("encode.delete").and_then(|()| fs::remove_file(text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other
            .and_then(|()| point("encode.deleted"))
            .map_err(|cause| failed("remove", text, cause)),
    }
}

/// Restores the text of a compressed file, durably.
///
/// # Errors
/// If the file can't be decompressed, or the text can't be written; the call can be repeated.
pub fn restore_text(compression: Compression, packed: &Path, text: &Path) -> Result<()> {
    let half = text.with_extension("text");
    let file = File::create(&half).map_err(|cause| failed("make", &half, cause))?;
    unpack_file(compression, packed, |piece| {
        point("encode.restore").and_then(|()| (&file).write_all(piece))
    })?;
    let rename = || {
        file.sync_all()?;
        fs::rename(&half, text)?;
        sync_folder(text.parent().unwrap_or(Path::new(".")))?;
        point("encode.restored")
    };
    rename().map_err(|cause| failed("bring back", text, cause))
}

/// Returns true if the bytes are the promised ones: either exactly these bytes; or, if a crash has
/// left only the promise of an open file's text, bytes that decompress to that text.
pub fn is_as_promised(bytes: &[u8], promise: &Promise) -> bool {
    let promised = (promise.length, promise.checksum);
    (bytes.len() as u64, crc32fast::hash(bytes)) == promised
        || compression(promise)
            .is_some_and(|compression| measure(compression, bytes) == Some(promised))
}

/// Returns true if two compressed files hold the same text: another version of the libraries may
/// compress it differently.
pub fn are_of_one_text(one: &[u8], other: &[u8], promise: &Promise) -> bool {
    let text = measure_text(one, promise);
    text.is_some() && text == measure_text(other, promise)
}

/// Returns the length and the CRC-32 of the text in the bytes of a promise's file; `None` if the
/// file isn't compressed, or can't be decompressed.
pub fn measure_text(bytes: &[u8], promise: &Promise) -> Option<(u64, u32)> {
    measure(compression(promise)?, bytes)
}

/// Returns the compression of a promise's file, if it has one.
pub fn compression(promise: &Promise) -> Option<Compression> {
    match Form::of(&promise.segment) {
        Form::Text(_, Compression::None) | Form::Parquet => None,
        Form::Text(_, compression) => Some(compression),
    }
}

#[cfg(test)]
mod tests;

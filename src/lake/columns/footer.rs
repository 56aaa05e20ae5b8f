//! The footer of a Parquet file, which says where everything is.

use std::ops::Range;
use std::result::Result;

use parquet::basic::{Compression, Type};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader,
};
use parquet::file::page_index::index_reader::decode_offset_index;

use super::POST;
use crate::lake::reader::Input;
use crate::lake::scan::{Spot, Trouble};
use crate::panics::caught;

/// The number of bytes at the end of a file that are read first, and the maximum length of a
/// footer.
const LOOK_BYTES: u64 = 64 << 10;
const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// The maximum length of the index of a row group's pages, which takes some ten bytes per page.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Reports a panic of the reader, which a damaged file may cause, as an ordinary damage.
pub(crate) fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    caught(read).unwrap_or_else(|_| Err("it isn't a readable Parquet file".into()))
}

/// Returns true if a compression of pages can be read: those that Cargo.toml enables features for.
fn is_supported(packed: Compression) -> bool {
    use Compression::{GZIP, LZ4, LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
    matches!(packed, UNCOMPRESSED | SNAPPY | GZIP(_) | LZ4 | LZ4_RAW | ZSTD(_))
}

fn damage(what: String) -> Trouble {
    Trouble::Damage { at: Spot::Footer, what }
}

/// The footer of a file.
pub(crate) struct Footer {
    /// The parsed footer.
    pub says: ParquetMetaData,
    /// The position of the posts among the columns.
    pub post: usize,
}

impl Footer {
    /// Reads the footer.
    ///
    /// # Errors
    /// If `input` fails, or the file is damaged.
    pub(crate) fn read(input: &mut dyn Input) -> Result<Self, Trouble> {
        let file = input.length()?;
        let mut bytes = input.range(file.saturating_sub(LOOK_BYTES)..file)?;
        let tail = bytes
            .last_chunk::<FOOTER_SIZE>()
            .ok_or_else(|| damage("the file is too short for one".into()))?;
        let tail = FooterTail::try_new(tail).map_err(|error| damage(error.to_string()))?;
        let length = (tail.metadata_length() + FOOTER_SIZE) as u64;
        if length > FOOTER_BYTES_MAX || length > file {
            return Err(damage(format!(
                "expected at most 64 MiB within the file, found {length} bytes"
            )));
        }
        if length > bytes.len() as u64 {
            bytes = input.range(file - length..file)?;
        }
        // The footer is in memory, so its length fits into a `usize`.
        let begin = bytes.len().saturating_sub(length as usize);
        let read = || {
            let bytes = &bytes[begin..bytes.len() - FOOTER_SIZE];
            ParquetMetaDataReader::decode_metadata(bytes).map_err(|error| error.to_string())
        };
        let says = guarded(read).map_err(damage)?;
        let columns = says.file_metadata().schema_descr().columns();
        let post = columns.iter().position(|column| column.path().string() == POST);
        let post = post.filter(|at| columns[*at].physical_type() == Type::BYTE_ARRAY);
        let post = post.ok_or_else(|| damage(format!("expected a column \"{POST}\" with text")))?;
        let packed = says.row_groups().iter().map(|group| group.column(post).compression());
        if let Some(other) = packed.into_iter().find(|packed| !is_supported(*packed)) {
            let other = other.to_string();
            // After the codec's name comes its level, which isn't needed.
            let codec = other.split('(').next().unwrap_or_default();
            return Err(Trouble::Unsupported(format!(
                "its pages are packed by {codec}; write it again with zstd, snappy, gzip, lz4 or uncompressed"
            )));
        }
        Ok(Self { says, post })
    }

    /// Returns the posts of a row group; `None` after the last one.
    pub(crate) fn group(&self, number: usize) -> Option<&ColumnChunkMetaData> {
        self.says.row_groups().get(number).map(|group| group.column(self.post))
    }

    /// Returns true if a post may be null.
    pub(crate) fn is_nullable(&self) -> bool {
        self.says.file_metadata().schema_descr().column(self.post).max_def_level() > 0
    }

    /// Returns the number of posts.
    pub(crate) fn posts(&self) -> i64 {
        self.says.file_metadata().num_rows()
    }
}

/// Returns the ranges of a row group's pages in the file, in order, each of which can be read
/// separately. Returns a single range for all pages if the file has no index of them, or if they
/// need a dictionary.
///
/// # Errors
/// If `input` fails. The inner error is the reason why the index or the footer makes no sense.
pub(crate) fn parts(
    column: &ColumnChunkMetaData,
    input: &mut dyn Input,
) -> Result<Result<Vec<Range<u64>>, String>, Trouble> {
    let index = column
        .offset_index_range()
        .filter(|range| range.end.saturating_sub(range.start) <= INDEX_BYTES_MAX);
    if let Some(range) = index.filter(|_| column.dictionary_page_offset().is_none()) {
        let bytes = input.range(range)?;
        if counts_no_more_than_fit(&bytes)
            && let Ok(index) =
                guarded(|| decode_offset_index(&bytes).map_err(|error| error.to_string()))
        {
            let part = |at: i64, length: i32| {
                let (start, length) = (u64::try_from(at).ok()?, u64::try_from(length).ok()?);
                // No part is empty: each has a header.
                (length > 0).then_some(start..start.checked_add(length)?)
            };
            let pages = index
                .page_locations()
                .iter()
                .map(|page| part(page.offset, page.compressed_page_size));
            return Ok(pages
                .collect::<Option<_>>()
                .ok_or_else(|| "its index of pages makes no sense".into()));
        }
    }
    Ok(guarded(|| {
        let (start, length) = column.byte_range();
        let end = start.checked_add(length).ok_or("the footer makes no sense")?;
        Ok(std::iter::once(start..end).collect())
    }))
}

/// Returns true if an index of pages is long enough for the number of pages that it claims: its
/// decoder allocates memory for them before it reads the first one. The index begins with field 1,
/// a list (0x19), whose size is stored in four bits, or after them in groups of seven (Thrift
/// compact protocol).
fn counts_no_more_than_fit(index: &[u8]) -> bool {
    let Some(([0x19, list], rest)) = index.split_first_chunk() else { return false };
    let count = match list >> 4 {
        15 => {
            let last = rest.iter().position(|byte| byte & 0x80 == 0).filter(|last| *last < 9);
            let sevens = last.map(|last| rest[..=last].iter().rev());
            sevens.map_or(u64::MAX, |bytes| {
                bytes.fold(0, |all, byte| all << 7 | u64::from(byte & 0x7f))
            })
        }
        few => u64::from(few),
    };
    count <= index.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_counts_more_than_it_holds_is_none() {
        for (index, fits) in [
            (&[0x19, 0x1c, 0, 0][..], true),
            (&[0x19, 0x5c, 0, 0], false),
            (&[0x19, 0xfc, 5, 0, 0], true),
            (&[0x19, 0xfc, 0x85, 0x80, 0x80, 0x80, 0x08], false),
            (&[0x19, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], false),
            (&[0x19, 0xfc], false),
            (&[0x19], false),
            (&[0x15, 0x1c, 0], false),
        ] {
            assert_eq!(counts_no_more_than_fit(index), fits, "{index:?}");
        }
    }
}

//! Reads and writes the lake's Parquet files: one post per row, unchanged, beside the facts that
//! are queried most often.
//!
//! | column | type |
//! |---|---|
//! | `kind` | text: the key that names the post's kind |
//! | `id` | text, or null |
//! | `created_at` | a time in UTC to the microsecond, or null |
//! | `post` | text: the post byte for byte, `{"tweet": {…}}` |
//!
//! Only `post` is read back; a file from any other writer that has such a column can be read, too.

mod footer;
mod read;

use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

pub use self::read::{Columns, text_bytes};
use crate::post::Post;

/// The schema, in Parquet's own notation.
const SCHEMA: &str = "message post {
    required binary kind (STRING);
    optional binary id (STRING);
    optional int64 created_at (TIMESTAMP(MICROS, true));
    required binary post (STRING);
}";

/// The column that is read back.
const POST: &str = "post";

/// The number of bytes of posts in a row group.
const GROUP_BYTES: usize = 16 << 20;

/// The approximate number of bytes of posts in a page of a row group. A merge by time holds one
/// page of each partition in memory. The writer checks the size once every so many posts, or after
/// a large one.
const PAGE_BYTES: usize = 128 << 10;
const PAGE_POSTS: usize = 16;

/// The compression level of the columns, out of 22.
const ZSTD_LEVEL: i32 = 3;

/// Writes posts into one Parquet file. The same posts always give the same bytes.
///
/// # Errors
/// If the writer refuses a value, which should never happen.
pub fn write(posts: &[Post]) -> Result<Vec<u8>> {
    write_groups(posts, GROUP_BYTES)
}

fn write_groups(posts: &[Post], group_bytes: usize) -> Result<Vec<u8>> {
    write_with(posts, group_bytes, |properties| properties)
}

fn write_with(
    posts: &[Post],
    group_bytes: usize,
    more: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Result<Vec<u8>> {
    let (mut bytes, schema) = (Vec::new(), Arc::new(parse_message_type(SCHEMA)?));
    let post = ColumnPath::from(POST);
    let properties = WriterProperties::builder()
        .set_created_by("waterspout".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_POSTS)
        // No two posts are equal, and no query searches for a post by its bytes.
        .set_column_dictionary_enabled(post.clone(), false)
        .set_column_statistics_enabled(post, EnabledStatistics::None);
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(more(properties).build()))?;
    let mut rest = posts;
    while !rest.is_empty() {
        let (group, others) = rest.split_at(group_posts(rest, group_bytes));
        write_group(writer.next_row_group()?, group)?;
        rest = others;
    }
    writer.close()?;
    Ok(bytes)
}

/// Returns the number of leading posts that fit into `bytes_max` bytes, at least one.
fn group_posts(posts: &[Post], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |post: &&Post| {
        bytes += post.len();
        bytes <= bytes_max
    };
    posts.iter().take_while(fits).count().max(1)
}

fn write_group<W: Write + Send>(
    mut group: SerializedRowGroupWriter<'_, W>,
    posts: &[Post],
) -> Result<()> {
    let texts = |texts: Vec<&str>| texts.into_iter().map(ByteArray::from).collect::<Vec<_>>();
    let (ids, times) = (
        posts.iter().map(Post::id).collect::<Vec<_>>(),
        posts.iter().map(micros).collect::<Vec<_>>(),
    );
    let there = |there: bool| i16::from(there);
    let mut number = 0;
    while let Some(mut column) = group.next_column()? {
        match (number, column.untyped()) {
            (0, ColumnWriter::ByteArrayColumnWriter(kinds)) => {
                kinds.write_batch(&texts(posts.iter().map(Post::kind).collect()), None, None)?;
            }
            (1, ColumnWriter::ByteArrayColumnWriter(column)) => {
                let levels: Vec<i16> = ids.iter().map(|id| there(id.is_some())).collect();
                column.write_batch(
                    &texts(ids.iter().flatten().map(AsRef::as_ref).collect()),
                    Some(&levels),
                    None,
                )?;
            }
            (2, ColumnWriter::Int64ColumnWriter(column)) => {
                let levels: Vec<i16> = times.iter().map(|time| there(time.is_some())).collect();
                let times: Vec<i64> = times.iter().flatten().copied().collect();
                column.write_batch(&times, Some(&levels), None)?;
            }
            (_, ColumnWriter::ByteArrayColumnWriter(column)) => {
                let mut rest = posts;
                while !rest.is_empty() {
                    let (page, others) =
                        rest.split_at(group_posts(rest, PAGE_BYTES).min(PAGE_POSTS));
                    let page: Vec<_> =
                        page.iter().map(|post| ByteArray::from(post.as_bytes().clone())).collect();
                    column.write_batch(&page, None, None)?;
                    rest = others;
                }
            }
            _ => unreachable!("the schema has no other column"),
        }
        column.close()?;
        number += 1;
    }
    group.close().map(drop)
}

/// Returns a post's own time in microseconds since 1970.
fn micros(post: &Post) -> Option<i64> {
    i64::try_from(post.created_at()?.unix_timestamp_nanos().div_euclid(1000)).ok()
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::lake::reader::Input;
    use crate::lake::scan::Trouble;

    fn posts(texts: &[String]) -> Vec<Post> {
        texts.iter().map(|text| Post::check(text.clone().into()).unwrap()).collect()
    }

    /// A file that is read in pieces, with the largest number of bytes that its reader has held.
    struct Pieces<'a> {
        bytes: &'a [u8],
        at: usize,
        held: usize,
    }

    impl Input for Pieces<'_> {
        fn fill(&mut self, to: &mut Vec<u8>) -> std::result::Result<bool, Trouble> {
            let end = self.bytes.len().min(self.at + 1000);
            to.extend_from_slice(&self.bytes[self.at..end]);
            self.at = end;
            self.held = self.held.max(to.len());
            Ok(end < self.bytes.len())
        }

        fn length(&mut self) -> std::result::Result<u64, Trouble> {
            Ok(self.bytes.len() as u64)
        }

        fn range(&mut self, range: Range<u64>) -> std::result::Result<Bytes, Trouble> {
            let within = |at: u64| self.bytes.len().min(usize::try_from(at).unwrap());
            Ok(Bytes::copy_from_slice(&self.bytes[within(range.start)..within(range.end)]))
        }
    }

    fn read_holding(bytes: &[u8]) -> std::result::Result<(Vec<Post>, usize), Trouble> {
        let (mut columns, mut input, mut found) =
            (Columns::default(), Pieces { bytes, at: 0, held: 0 }, Vec::new());
        while let Some(mut posts) = columns.next_posts(&mut input)? {
            found.append(&mut posts);
        }
        assert_eq!(input.at, bytes.len(), "all of it was read");
        Ok((found, input.held))
    }

    fn read(bytes: &[u8]) -> std::result::Result<Vec<Post>, Trouble> {
        read_holding(bytes).map(|(posts, _)| posts)
    }

    #[test]
    fn posts_come_back_byte_for_byte() {
        let texts = [
            r#"{"tweet":{"id_str":"9007199254740993","created_at":"2015-12-18T00:00:00.123456789Z","text":"größe"}}"#,
            r#"{ "note" : 1 }"#,
            r#"{"\ud83d":{"id":17}}"#,
        ];
        let posts = posts(&texts.map(str::to_owned));
        let bytes = write(&posts).unwrap();
        assert_eq!(bytes, write(&posts).unwrap(), "the same posts become the same bytes");
        assert_eq!(read(&bytes).unwrap(), posts);
        assert_eq!(read(&write(&[]).unwrap()).unwrap(), []);
    }

    /// Posts that can't be packed, of 100 kB each.
    fn noise(count: u64) -> Vec<Post> {
        let mut state = 1_u64;
        let mut letter = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b' ' + (state >> 33) as u8 % 94)
        };
        let mut text =
            || (0..100_000).map(|_| letter()).filter(|c| !"\"\\".contains(*c)).collect::<String>();
        posts(&(0..count).map(|i| format!("{{\"a\":\"{i}{}\"}}", text())).collect::<Vec<_>>())
    }

    #[test]
    fn of_a_file_one_page_is_held() {
        let posts = noise(200);
        let bytes = write(&posts).unwrap();
        assert!(bytes.len() > 10 << 20);
        let (found, held) = read_holding(&bytes).unwrap();
        assert!(found == posts);
        let page = 2 * PAGE_BYTES;
        assert!(held < page + 10_000, "{held} bytes of {}", bytes.len());
        assert!(text_bytes(&mut Pieces { bytes: &bytes, at: 0, held: 0 }).unwrap() > 18 << 20);
    }

    #[test]
    fn without_an_index_of_pages_a_row_group_is_held() {
        let posts = noise(100);
        let bytes =
            write_with(&posts, 1 << 20, |properties| properties.set_offset_index_disabled(true))
                .unwrap();
        let (found, held) = read_holding(&bytes).unwrap();
        assert!(found == posts);
        assert!(held > 700_000 && held < (1 << 20) + 10_000, "{held} bytes of {}", bytes.len());
    }

    /// Writes one post for each level of 1 and a null for each level of 0, with a dictionary.
    fn by_another_tool(levels: &[i16]) -> Vec<u8> {
        packed_by_another_tool(levels, Compression::UNCOMPRESSED)
    }

    fn packed_by_another_tool(levels: &[i16], packed: Compression) -> Vec<u8> {
        let schema =
            Arc::new(parse_message_type("message m { optional binary post (STRING); }").unwrap());
        let (mut bytes, properties) =
            (Vec::new(), Arc::new(WriterProperties::builder().set_compression(packed).build()));
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let there = levels.iter().filter(|level| **level == 1).count();
        let values = vec![ByteArray::from("{\"a\":1}"); there];
        column
            .typed::<parquet::data_type::ByteArrayType>()
            .write_batch(&values, Some(levels), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    }

    #[test]
    fn a_file_of_somebody_else_may_have_a_dictionary_and_nulls_are_damage() {
        for (levels, whole) in [([1, 1, 1], true), ([1, 0, 1], false)] {
            let bytes = by_another_tool(&levels);
            match read(&bytes) {
                Ok(found) => {
                    assert!(whole && found == self::posts(&vec!["{\"a\":1}".to_owned(); 3]))
                }
                Err(trouble) => {
                    assert!(!whole && matches!(trouble, Trouble::Damage { .. }), "{trouble:?}")
                }
            }
        }
    }

    #[test]
    fn every_codec_that_is_enabled_is_read_and_others_are_named() {
        let expected = posts(&vec!["{\"a\":1}".to_owned(); 3]);
        let gzip = Compression::GZIP(parquet::basic::GzipLevel::default());
        let zstd = Compression::ZSTD(ZstdLevel::default());
        for packed in [Compression::SNAPPY, gzip, zstd, Compression::LZ4, Compression::LZ4_RAW] {
            assert_eq!(
                read(&packed_by_another_tool(&[1; 3], packed)).unwrap(),
                expected,
                "{packed}"
            );
        }
        // This writer doesn't support Brotli, so the test patches the footer of an uncompressed
        // file to claim Brotli.
        let bytes = by_another_tool(&[1; 3]);
        let mut says = Vec::new();
        for at in 4..bytes.len() - 8 {
            let mut other = bytes.clone();
            // Field 4 of a column's metadata, an enumeration: 0 is none, and 4 is Brotli (zigzag).
            if other[at..at + 2] == [0x15, 0x00] {
                other[at + 1] = 0x08;
                says.extend(read(&other).err());
            }
        }
        let is_named = |trouble: &Trouble| matches!(trouble, Trouble::Unsupported(what) if what.contains("BROTLI"));
        assert!(says.iter().any(is_named), "{says:?}");
    }

    #[test]
    fn a_footer_may_be_longer_than_a_first_look() {
        let posts = posts(&(0..1000).map(|i| format!("{{\"a\":{i}}}")).collect::<Vec<_>>());
        let bytes = write_groups(&posts, 1).unwrap();
        let length =
            u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
        assert!(length > 64 << 10, "{length}");
        assert_eq!(read(&bytes).unwrap(), posts);
    }

    #[test]
    fn what_is_no_such_file_is_damaged() {
        let bytes = write(&posts(&["{\"a\":1}".into()])).unwrap();
        for bad in [&b""[..], b"PAR1", &bytes[..bytes.len() - 1], &bytes[4..], b"[{\"a\":1}]"] {
            assert!(matches!(read(bad), Err(Trouble::Damage { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_flipped_byte_is_never_more_than_a_damage(at in any::<prop::sample::Index>(), mask in 1u8.., other in any::<bool>()) {
            let posts = posts(&(0..20).map(|i| format!("{{\"a\":{{\"id\":\"{i}\"}}}}")).collect::<Vec<_>>());
            let mut bytes = if other { by_another_tool(&[1; 20]) } else { write(&posts).unwrap() };
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            match read(&bytes) {
                Ok(_) | Err(Trouble::Damage { .. } | Trouble::Unsupported(_)) => {}
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

//! Parquet files of the lake: one post a row, as it is, beside what is asked for most often.
//!
//! | column | type |
//! |---|---|
//! | `kind` | text: the key that names the post's kind |
//! | `id` | text, or null |
//! | `created_at` | a time in UTC to the microsecond, or null |
//! | `post` | text: the post byte for byte, `{"tweet": {…}}` |
//!
//! Only `post` is read back; a file of anybody else that has such a column is fine.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::scan::{Spot, Trouble};
use crate::post::Post;

/// The schema, as Parquet's own notation has it.
const SCHEMA: &str = "message post {
    required binary kind (STRING);
    optional binary id (STRING);
    optional int64 created_at (TIMESTAMP(MICROS, true));
    required binary post (STRING);
}";

/// The column that is read back.
const POST: &str = "post";

/// How many bytes of posts a row group holds: what a reader needs in memory for one.
const GROUP_BYTES: usize = 16 << 20;

/// How many posts are read in one go.
const READ_POSTS: usize = 256;

/// How well the columns are packed, of 22.
const ZSTD_LEVEL: i32 = 3;

/// Writes posts into one Parquet file. The same posts always become the same bytes.
///
/// # Errors
/// If the writer refuses something, which it has no reason to.
pub fn write(posts: &[Post]) -> Result<Vec<u8>> {
    let (mut bytes, schema) = (Vec::new(), Arc::new(parse_message_type(SCHEMA)?));
    let post = ColumnPath::from(POST);
    let properties = WriterProperties::builder()
        .set_created_by("waterspout".into())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        // No two posts are the same, and nobody looks for one by its bytes.
        .set_column_dictionary_enabled(post.clone(), false)
        .set_column_statistics_enabled(post, EnabledStatistics::None)
        .build();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut rest = posts;
    while !rest.is_empty() {
        let (group, others) = rest.split_at(group_posts(rest));
        write_group(writer.next_row_group()?, group)?;
        rest = others;
    }
    writer.close()?;
    Ok(bytes)
}

/// How many of these posts go into a row group.
fn group_posts(posts: &[Post]) -> usize {
    let mut bytes = 0;
    let fits = |post: &&Post| {
        bytes += post.len();
        bytes <= GROUP_BYTES
    };
    posts.iter().take_while(fits).count().max(1)
}

fn write_group<W: Write + Send>(mut group: SerializedRowGroupWriter<'_, W>, posts: &[Post]) -> Result<()> {
    let texts = |texts: Vec<&str>| texts.into_iter().map(ByteArray::from).collect::<Vec<_>>();
    let (ids, times) = (posts.iter().map(Post::id).collect::<Vec<_>>(), posts.iter().map(micros).collect::<Vec<_>>());
    let there = |there: bool| i16::from(there);
    let mut number = 0;
    while let Some(mut column) = group.next_column()? {
        match (number, column.untyped()) {
            (0, ColumnWriter::ByteArrayColumnWriter(kinds)) => {
                kinds.write_batch(&texts(posts.iter().map(Post::kind).collect()), None, None)?;
            }
            (1, ColumnWriter::ByteArrayColumnWriter(column)) => {
                let levels: Vec<i16> = ids.iter().map(|id| there(id.is_some())).collect();
                column.write_batch(&texts(ids.iter().flatten().map(AsRef::as_ref).collect()), Some(&levels), None)?;
            }
            (2, ColumnWriter::Int64ColumnWriter(column)) => {
                let levels: Vec<i16> = times.iter().map(|time| there(time.is_some())).collect();
                let times: Vec<i64> = times.iter().flatten().copied().collect();
                column.write_batch(&times, Some(&levels), None)?;
            }
            (_, ColumnWriter::ByteArrayColumnWriter(column)) => {
                let posts: Vec<_> = posts.iter().map(|post| ByteArray::from(post.as_bytes().clone())).collect();
                column.write_batch(&posts, None, None)?;
            }
            _ => unreachable!("the schema has no other column"),
        }
        column.close()?;
        number += 1;
    }
    group.close().map(drop)
}

/// A post's own time in microseconds since 1970.
fn micros(post: &Post) -> Option<i64> {
    i64::try_from(post.created_at()?.unix_timestamp_nanos().div_euclid(1000)).ok()
}

/// Reads the posts of one Parquet file.
#[derive(Default)]
pub struct Columns {
    /// The file as far as it is there; whole before the first post is read, since its end says
    /// where everything is.
    bytes: Vec<u8>,
    open: Option<Open>,
}

struct Open {
    file: SerializedFileReader<Bytes>,
    /// The position of the posts among the columns.
    column: usize,
    /// The next row group.
    group: usize,
    values: Option<ColumnReaderImpl<ByteArrayType>>,
    /// How many posts were read.
    posts: u64,
}

impl Columns {
    /// The next posts; `None` at the end. `more` adds what comes next of the file, and returns false
    /// at its end.
    ///
    /// # Errors
    /// What `more` says; or a damage, with the row or the byte.
    pub fn next_posts(
        &mut self,
        mut more: impl FnMut(&mut Vec<u8>) -> std::result::Result<bool, Trouble>,
    ) -> std::result::Result<Option<Vec<Post>>, Trouble> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                loop {
                    self.bytes.reserve(GROUP_BYTES / 16);
                    if !more(&mut self.bytes)? {
                        break;
                    }
                }
                let bytes = Bytes::from(std::mem::take(&mut self.bytes));
                let end = bytes.len() as u64;
                let open =
                    guarded(|| Open::new(bytes)).map_err(|what| Trouble::Damage { at: Spot::Byte(end), what })?;
                self.open.insert(open)
            }
        };
        let row = open.posts;
        guarded(|| open.next_posts()).map_err(|what| Trouble::Damage { at: Spot::Row(row), what })
    }
}

/// A damaged file may make the reader panic: then it is a damage like any other.
fn guarded<T>(read: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| Err("it is no Parquet that can be read".into()))
}

impl Open {
    fn new(bytes: Bytes) -> std::result::Result<Self, String> {
        let file = SerializedFileReader::new(bytes).map_err(|error| error.to_string())?;
        let columns = file.metadata().file_metadata().schema_descr().columns();
        let column = columns.iter().position(|column| column.path().string() == POST);
        let column = column.ok_or_else(|| format!("expected a column \"{POST}\""))?;
        Ok(Self { file, column, group: 0, values: None, posts: 0 })
    }

    fn next_posts(&mut self) -> std::result::Result<Option<Vec<Post>>, String> {
        loop {
            let Some(values) = &mut self.values else {
                if self.group == self.file.num_row_groups() {
                    return self.check_end().map(|()| None);
                }
                self.values = Some(self.next_group().map_err(|error| error.to_string())?);
                continue;
            };
            let (mut found, mut levels) = (Vec::with_capacity(READ_POSTS), Vec::new());
            let nullable = self.file.metadata().file_metadata().schema_descr().column(self.column).max_def_level() > 0;
            let levels = nullable.then_some(&mut levels);
            let read = values.read_records(READ_POSTS, levels, None, &mut found);
            let (rows, _, _) = read.map_err(|error| error.to_string())?;
            if rows == 0 {
                self.values = None;
                continue;
            }
            let posts = found.into_iter().map(|value| Post::check(Bytes::copy_from_slice(value.data())));
            let posts = posts.collect::<std::result::Result<Vec<_>, _>>()?;
            self.posts += posts.len() as u64;
            return Ok(Some(posts));
        }
    }

    fn next_group(&mut self) -> Result<ColumnReaderImpl<ByteArrayType>> {
        let group = self.file.get_row_group(self.group)?;
        self.group += 1;
        match group.get_column_reader(self.column)? {
            ColumnReader::ByteArrayColumnReader(values) => Ok(values),
            _ => Err(parquet::errors::ParquetError::General(format!("expected text in the column \"{POST}\""))),
        }
    }

    fn check_end(&self) -> std::result::Result<(), String> {
        let rows = self.file.metadata().file_metadata().num_rows();
        match u64::try_from(rows) == Ok(self.posts) {
            true => Ok(()),
            false => Err(format!("expected {rows} posts, found {}", self.posts)),
        }
    }
}

/// How many bytes its posts are, as the footer of a file says, which `bytes` end with; none if the
/// footer isn't whole.
pub fn text_bytes(bytes: Bytes) -> Option<u64> {
    let file = guarded(|| SerializedFileReader::new(bytes).map_err(|error| error.to_string())).ok()?;
    let column = |group: &parquet::file::metadata::RowGroupMetaData| {
        let columns = group.columns().iter();
        let post = columns.clone().find(|column| column.column_path().string() == POST);
        post.map_or(0, |column| column.uncompressed_size())
    };
    u64::try_from(file.metadata().row_groups().iter().map(column).sum::<i64>()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn posts(texts: &[String]) -> Vec<Post> {
        texts.iter().map(|text| Post::check(text.clone().into()).unwrap()).collect()
    }

    fn read(bytes: &[u8]) -> std::result::Result<Vec<Post>, Trouble> {
        let (mut columns, mut pieces, mut found) = (Columns::default(), bytes.chunks(1000), Vec::new());
        while let Some(mut posts) = columns.next_posts(|more| {
            let next = pieces.next();
            more.extend_from_slice(next.unwrap_or_default());
            Ok(next.is_some())
        })? {
            found.append(&mut posts);
        }
        Ok(found)
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

    #[test]
    fn a_file_may_have_several_row_groups() {
        let posts = posts(&(0..40).map(|i| format!("{{\"a\":\"{i}{}\"}}", "x".repeat(1 << 20))).collect::<Vec<_>>());
        let bytes = write(&posts).unwrap();
        assert!(SerializedFileReader::new(Bytes::from(bytes.clone())).unwrap().num_row_groups() == 3);
        assert!(read(&bytes).unwrap() == posts);
        assert!(text_bytes(bytes.into()).unwrap() > 40 << 20);
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
        fn a_flipped_byte_is_never_more_than_a_damage(at in any::<prop::sample::Index>(), mask in 1u8..) {
            let mut bytes = write(&posts(&(0..20).map(|i| format!("{{\"a\":{{\"id\":\"{i}\"}}}}")).collect::<Vec<_>>())).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
            match read(&bytes) {
                Ok(_) | Err(Trouble::Damage { .. }) => {}
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }
}

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
use parquet::basic::{Compression, Type, ZstdLevel};
use parquet::column::reader::ColumnReaderImpl;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result};
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::reader::Input;
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

/// How many bytes of posts a row group holds. Each partition that is being merged by time has one in memory, packed.
const GROUP_BYTES: usize = 4 << 20;

/// How many posts are read in one go at most, and about how many bytes of them or of the file.
const READ_POSTS: usize = 256;
const READ_BYTES: usize = 256 << 10;

/// How much of the end of a file is asked for to see what is in it, and how long a footer may be.
const FOOTER_BYTES: u64 = 64 << 10;
const FOOTER_BYTES_MAX: u64 = 64 << 20;

/// How long the posts of a row group may be as they are packed: a limit on memory.
const PART_BYTES_MAX: u64 = 1 << 30;

/// How well the columns are packed, of 22.
const ZSTD_LEVEL: i32 = 3;

/// Writes posts into one Parquet file. The same posts always become the same bytes.
///
/// # Errors
/// If the writer refuses something, which it has no reason to.
pub fn write(posts: &[Post]) -> Result<Vec<u8>> {
    write_groups(posts, GROUP_BYTES)
}

fn write_groups(posts: &[Post], group_bytes: usize) -> Result<Vec<u8>> {
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
        let (group, others) = rest.split_at(group_posts(rest, group_bytes));
        write_group(writer.next_row_group()?, group)?;
        rest = others;
    }
    writer.close()?;
    Ok(bytes)
}

/// How many of these posts go into a row group.
fn group_posts(posts: &[Post], group_bytes: usize) -> usize {
    let mut bytes = 0;
    let fits = |post: &&Post| {
        bytes += post.len();
        bytes <= group_bytes
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

/// Reads the posts of one Parquet file, from its beginning to its end but for the footer, which says where
/// everything is. In memory are one row group's posts as they are packed, and what is unpacked of them: a page.
#[derive(Default)]
pub struct Columns {
    open: Option<Open>,
}

struct Open {
    footer: ParquetMetaData,
    /// The position of the posts among the columns.
    column: usize,
    /// The next row group.
    group: usize,
    /// What was read and isn't used, and where in the file it begins.
    ahead: Vec<u8>,
    begin: u64,
    values: Option<ColumnReaderImpl<ByteArrayType>>,
    /// How many posts are read in one go.
    go: usize,
    /// How many posts were read.
    posts: u64,
}

impl Columns {
    /// The next posts; `None` at the end.
    ///
    /// # Errors
    /// What `input` says; or a damage, with the row.
    pub fn next_posts(&mut self, input: &mut dyn Input) -> std::result::Result<Option<Vec<Post>>, Trouble> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(footer(|bytes| input.last(bytes))?)?),
        };
        loop {
            if open.values.is_none() && !open.next_group(input)? {
                return Ok(None);
            }
            let posts = guarded(|| open.next_posts()).map_err(|what| open.damage(what))?;
            if !posts.is_empty() {
                return Ok(Some(posts));
            }
            open.values = None;
        }
    }
}

/// A damaged file may make the reader panic: then it is a damage like any other.
fn guarded<T>(read: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    caught.unwrap_or_else(|_| Err("it is no Parquet that can be read".into()))
}

/// Reads a footer; `last` gives the last bytes of the file, at most so many.
fn footer(
    mut last: impl FnMut(u64) -> std::result::Result<Bytes, Trouble>,
) -> std::result::Result<ParquetMetaData, Trouble> {
    let damage = |what: String| Trouble::Damage { at: Spot::Footer, what };
    let mut bytes = last(FOOTER_BYTES)?;
    let tail = bytes.last_chunk::<FOOTER_SIZE>().ok_or_else(|| damage("expected a footer".into()))?;
    let tail = FooterTail::try_new(tail).map_err(|error| damage(error.to_string()))?;
    let length = tail.metadata_length() + FOOTER_SIZE;
    if length as u64 > FOOTER_BYTES_MAX {
        return Err(damage(format!("expected a footer of at most 64 MiB, found {length} bytes")));
    }
    if length > bytes.len() {
        bytes = last(length as u64)?;
    }
    let begin = bytes.len().checked_sub(length).ok_or_else(|| damage("it is longer than the file".into()))?;
    let read = || {
        let bytes = &bytes[begin..bytes.len() - FOOTER_SIZE];
        ParquetMetaDataReader::decode_metadata(bytes).map_err(|error| error.to_string())
    };
    guarded(read).map_err(damage)
}

impl Open {
    fn new(footer: ParquetMetaData) -> std::result::Result<Self, Trouble> {
        let columns = footer.file_metadata().schema_descr().columns();
        let post = columns.iter().position(|column| column.path().string() == POST);
        let column = post.filter(|at| columns[*at].physical_type() == Type::BYTE_ARRAY).ok_or_else(|| {
            Trouble::Damage { at: Spot::Footer, what: format!("expected a column \"{POST}\" with text") }
        })?;
        Ok(Self { footer, column, group: 0, ahead: Vec::new(), begin: 0, values: None, go: 1, posts: 0 })
    }

    fn damage(&self, what: String) -> Trouble {
        Trouble::Damage { at: Spot::Row(self.posts), what }
    }

    /// Goes on to the next row group; false at the end of the file.
    fn next_group(&mut self, input: &mut dyn Input) -> std::result::Result<bool, Trouble> {
        let Some(group) = self.footer.row_groups().get(self.group) else {
            self.read_to_end(input)?;
            return self.check_end().map(|()| false).map_err(|what| self.damage(what));
        };
        let (column, rows) = (group.column(self.column).clone(), group.num_rows());
        let part = self.read_part(&column, input)?;
        let values = guarded(|| values(part, &column, rows).map_err(|error| error.to_string()));
        self.values = Some(values.map_err(|what| self.damage(what))?);
        self.group += 1;
        Ok(true)
    }

    /// Reads on until all of a column of a row group is there.
    fn read_part(&mut self, column: &ColumnChunkMetaData, input: &mut dyn Input) -> std::result::Result<Part, Trouble> {
        let range = guarded(|| Ok(column.byte_range()));
        let Ok((start, length)) = range else { return Err(self.damage("the footer makes no sense".into())) };
        if length > PART_BYTES_MAX {
            return Err(self.damage(format!("expected row groups of at most 1 GiB, found {length} bytes")));
        }
        let end = start.saturating_add(length);
        if start < self.begin {
            return Err(self.damage("expected row groups in the order in which the footer names them".into()));
        }
        while self.begin + (self.ahead.len() as u64) < end {
            let behind = self.begin + self.ahead.len() as u64;
            if behind <= start {
                self.ahead.clear();
                self.begin = behind;
            }
            if !self.more(input)? && self.begin + (self.ahead.len() as u64) < end {
                return Err(self.damage("the file breaks off".into()));
            }
        }
        // Both fit into what is in memory.
        let rest = self.ahead.split_off((end - self.begin) as usize);
        let bytes = Bytes::from(std::mem::replace(&mut self.ahead, rest)).slice((start - self.begin) as usize..);
        self.begin = end;
        Ok(Part { start, bytes })
    }

    fn more(&mut self, input: &mut dyn Input) -> std::result::Result<bool, Trouble> {
        self.ahead.reserve(READ_BYTES);
        input.fill(&mut self.ahead)
    }

    /// Reads what is behind the posts, so that whoever counts and sums up has seen all of the file.
    fn read_to_end(&mut self, input: &mut dyn Input) -> std::result::Result<(), Trouble> {
        while self.more(input)? {
            self.ahead.clear();
        }
        Ok(())
    }

    /// The next posts of the row group; none at its end.
    fn next_posts(&mut self) -> std::result::Result<Vec<Post>, String> {
        let Some(values) = &mut self.values else { return Ok(Vec::new()) };
        let nullable = self.footer.file_metadata().schema_descr().column(self.column).max_def_level() > 0;
        let (mut found, mut levels) = (Vec::with_capacity(self.go), Vec::new());
        let read = values.read_records(self.go, nullable.then_some(&mut levels), None, &mut found);
        read.map_err(|error| error.to_string())?;
        let bytes: usize = found.iter().map(ByteArray::len).sum();
        // Large posts come a few at a time, whatever the footer says about their length.
        let fit = READ_BYTES / (bytes / found.len().max(1)).max(1);
        self.go = fit.clamp(1, READ_POSTS).min(self.go * 2);
        let posts = found.into_iter().map(|value| Post::check(Bytes::from_owner(value)));
        let posts = posts.collect::<std::result::Result<Vec<_>, _>>()?;
        self.posts += posts.len() as u64;
        Ok(posts)
    }

    fn check_end(&self) -> std::result::Result<(), String> {
        let rows = self.footer.file_metadata().num_rows();
        match u64::try_from(rows) == Ok(self.posts) {
            true => Ok(()),
            false => Err(format!("expected {rows} posts, found {}", self.posts)),
        }
    }
}

/// The values of a column in a row group.
fn values(part: Part, column: &ColumnChunkMetaData, rows: i64) -> Result<ColumnReaderImpl<ByteArrayType>> {
    let pages = SerializedPageReader::new(Arc::new(part), column, usize::try_from(rows)?, None)?;
    Ok(ColumnReaderImpl::new(column.column_descr_ptr(), Box::new(pages)))
}

/// A part of a file.
struct Part {
    /// Where in the file it begins.
    start: u64,
    bytes: Bytes,
}

impl Part {
    fn at(&self, start: u64) -> Result<u64> {
        let before = || ParquetError::General("expected a page of its row group".into());
        start.checked_sub(self.start).ok_or_else(before)
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Part {
    type T = <Bytes as ChunkReader>::T;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.bytes.get_read(self.at(start)?)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.bytes.get_bytes(self.at(start)?, length)
    }
}

/// How many bytes its posts are, as the footer of a file says; `last` gives the last bytes of it, at most so many.
///
/// # Errors
/// What `last` says, or a damage.
pub fn text_bytes(last: impl FnMut(u64) -> std::result::Result<Bytes, Trouble>) -> std::result::Result<u64, Trouble> {
    let footer = footer(last)?;
    let bytes = footer.row_groups().iter().map(|group| {
        let post = group.columns().iter().find(|column| column.column_path().string() == POST);
        post.map_or(0, |column| u64::try_from(column.uncompressed_size()).unwrap_or(0))
    });
    Ok(bytes.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn posts(texts: &[String]) -> Vec<Post> {
        texts.iter().map(|text| Post::check(text.clone().into()).unwrap()).collect()
    }

    /// A file in pieces, and what its reader holds of it at most.
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

        fn last(&mut self, bytes: u64) -> std::result::Result<Bytes, Trouble> {
            let begin = self.bytes.len().saturating_sub(usize::try_from(bytes).unwrap());
            Ok(Bytes::copy_from_slice(&self.bytes[begin..]))
        }
    }

    fn read_holding(bytes: &[u8]) -> std::result::Result<(Vec<Post>, usize), Trouble> {
        let (mut columns, mut input, mut found) = (Columns::default(), Pieces { bytes, at: 0, held: 0 }, Vec::new());
        while let Some(mut posts) = columns.next_posts(&mut input)? {
            found.append(&mut posts);
        }
        assert_eq!(input.at, bytes.len(), "all of it was read");
        Ok((found, input.held))
    }

    fn read(bytes: &[u8]) -> std::result::Result<Vec<Post>, Trouble> {
        read_holding(bytes).map(|(posts, _)| posts)
    }

    fn last_of(bytes: &[u8]) -> impl FnMut(u64) -> std::result::Result<Bytes, Trouble> {
        move |wanted| Pieces { bytes, at: 0, held: 0 }.last(wanted)
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
        let mut text = || (0..100_000).map(|_| letter()).filter(|c| !"\"\\".contains(*c)).collect::<String>();
        posts(&(0..count).map(|i| format!("{{\"a\":\"{i}{}\"}}", text())).collect::<Vec<_>>())
    }

    #[test]
    fn of_many_row_groups_one_is_held() {
        let posts = noise(200);
        let bytes = write(&posts).unwrap();
        assert!(bytes.len() > 10 << 20);
        let (found, held) = read_holding(&bytes).unwrap();
        assert!(found == posts);
        assert!(held < GROUP_BYTES + (100 << 10), "{held} bytes of {}", bytes.len());
        assert!(text_bytes(last_of(&bytes)).unwrap() > 18 << 20);
    }

    #[test]
    fn a_footer_may_be_longer_than_a_first_look() {
        let posts = posts(&(0..1000).map(|i| format!("{{\"a\":{i}}}")).collect::<Vec<_>>());
        let bytes = write_groups(&posts, 1).unwrap();
        let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
        assert!(u64::from(length) > FOOTER_BYTES, "{length}");
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

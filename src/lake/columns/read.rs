//! Reads the posts of a Parquet file, page by page.

use std::collections::VecDeque;
use std::ops::Range;
use std::result::Result;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::POST;
use super::footer::{Footer, guarded, parts};
use crate::lake::reader::Input;
use crate::lake::room::{self, Taken};
use crate::lake::scan::{Spot, Trouble};
use crate::post::Post;

/// The maximum number of posts that are read at a time, and the approximate number of bytes of
/// posts or of the file.
const READ_POSTS: usize = 256;
const READ_BYTES: usize = 64 << 10;

/// The maximum length of a part of a file that has to be read as a whole, and of an uncompressed
/// page, since a few bytes can expand to 2 GiB. There must be [room] for both at once. A file that
/// this program writes stays below the longest post and a page.
const PART_BYTES_MAX: u64 = 1 << 30;

/// A reader of the posts of one Parquet file: it reads the footer first, then everything from
/// beginning to end, as if it were text. Holds one page in memory, or one compressed row group if
/// the file doesn't say where its pages are.
#[derive(Default)]
pub struct Columns {
    open: Option<Open>,
}

struct Open {
    footer: Footer,
    /// The next row group.
    group: usize,
    /// The parts of the current row group that aren't read yet.
    parts: VecDeque<Range<u64>>,
    ahead: Ahead,
    /// The values that are being decompressed.
    values: Option<ColumnReaderImpl<ByteArrayType>>,
    /// The room for these values.
    rooms: Arc<PageRooms>,
    /// The number of posts that are read at a time.
    go: usize,
    /// The number of posts that were read.
    posts: u64,
}

impl Columns {
    /// Returns the next posts; `None` at the end.
    ///
    /// # Errors
    /// If `input` fails, or the file is damaged; the error has the row of the damage.
    pub fn next_posts(&mut self, input: &mut dyn Input) -> Result<Option<Vec<Post>>, Trouble> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(Footer::read(input)?)),
        };
        loop {
            if open.values.is_none() && !open.next_part(input)? {
                return Ok(None);
            }
            let posts = guarded(|| open.next_posts()).map_err(|what| open.damage(what))?;
            match posts {
                Some(posts) if !posts.is_empty() => return Ok(Some(posts)),
                Some(_) => {}
                None => open.values = None,
            }
        }
    }
}

impl Open {
    fn new(footer: Footer) -> Self {
        Self {
            footer,
            group: 0,
            parts: VecDeque::new(),
            ahead: Ahead::default(),
            values: None,
            rooms: Arc::default(),
            go: 1,
            posts: 0,
        }
    }

    fn damage(&self, what: String) -> Trouble {
        Trouble::Damage { at: Spot::Row(self.posts), what }
    }

    /// Opens the next part. Returns false at the end of the file.
    fn next_part(&mut self, input: &mut dyn Input) -> Result<bool, Trouble> {
        let Some(part) = self.parts.pop_front() else { return self.next_group(input) };
        let Some(column) = self.footer.group(self.group - 1) else { return Ok(false) };
        self.values = None;
        self.rooms = Arc::default();
        let read = match self.ahead.part(part, &self.rooms, input)? {
            Ok(part) => guarded(|| values(part, column).map_err(|error| error.to_string())),
            Err(what) => Err(what),
        };
        self.values = Some(read.map_err(|what| self.damage(what))?);
        Ok(true)
    }

    fn next_group(&mut self, input: &mut dyn Input) -> Result<bool, Trouble> {
        let Some(column) = self.footer.group(self.group) else {
            self.ahead.read_to_end(input)?;
            return self.check_end().map(|()| false).map_err(|what| self.damage(what));
        };
        self.parts = parts(column, input)?.map_err(|what| self.damage(what))?.into();
        self.group += 1;
        self.next_part(input)
    }

    /// Returns the next posts of a part; `None` at its end.
    fn next_posts(&mut self) -> Result<Option<Vec<Post>>, String> {
        let Some(values) = &mut self.values else { return Ok(None) };
        let (mut found, mut levels) = (Vec::with_capacity(self.go), Vec::new());
        let levels = self.footer.is_nullable().then_some(&mut levels);
        let (rows, ..) = values
            .read_records(self.go, levels, None, &mut found)
            .map_err(|error| error.to_string())?;
        if rows == 0 {
            return Ok(None);
        }
        let bytes: usize = found.iter().map(ByteArray::len).sum();
        // Only a few large posts are read at a time, whatever the footer says about their length.
        let fit = READ_BYTES / (bytes / found.len().max(1)).max(1);
        self.go = fit.clamp(1, READ_POSTS).min(self.go * 2);
        let room = self.rooms.of_page();
        let posts = found.into_iter().map(|value| {
            let value = Bytes::from_owner(value);
            Post::check(match &room {
                Some(_) => room::bytes_in(value, room.clone()),
                None => value,
            })
        });
        let posts = posts.collect::<Result<Vec<_>, _>>()?;
        self.posts += posts.len() as u64;
        Ok(Some(posts))
    }

    fn check_end(&self) -> Result<(), String> {
        let posts = self.footer.posts();
        match u64::try_from(posts) == Ok(self.posts) {
            true => Ok(()),
            false => Err(format!("expected {posts} posts, found {}", self.posts)),
        }
    }
}

/// Returns the values of a part of a column.
fn values(
    part: Part,
    column: &ColumnChunkMetaData,
) -> parquet::errors::Result<ColumnReaderImpl<ByteArrayType>> {
    let (mut column, descriptor) = (column.clone(), column.column_descr_ptr());
    if column.dictionary_page_offset().is_none() {
        let (start, length) = (i64::try_from(part.start)?, i64::try_from(part.bytes.len())?);
        column = column
            .into_builder()
            .set_data_page_offset(start)
            .set_total_compressed_size(length)
            .build()?;
    }
    // The number of rows only matters if the reader searches for pages itself.
    let pages = SerializedPageReader::new(Arc::new(part), &column, 0, None)?;
    Ok(ColumnReaderImpl::new(descriptor, Box::new(Pages(pages))))
}

/// Pages whose headers are checked: the decoder allocates memory for a dictionary before it reads
/// the values, and would take an empty page for the end of the column.
struct Pages(SerializedPageReader<Part>);

impl Iterator for Pages {
    type Item = parquet::errors::Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<Page>> {
        loop {
            match self.0.get_next_page()? {
                // Each value is preceded by its length in four bytes.
                Some(Page::DictionaryPage { buf, num_values, .. })
                    if num_values as usize > buf.len() / 4 =>
                {
                    return Err(ParquetError::General(format!(
                        "expected a dictionary of {num_values} values, found {} bytes",
                        buf.len()
                    )));
                }
                Some(page) if page.is_data_page() && page.num_values() == 0 => {}
                page => return Ok(page),
            }
        }
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        self.0.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> parquet::errors::Result<bool> {
        self.0.at_record_boundary()
    }
}

/// The bytes that were read and aren't used yet.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    /// The offset of these bytes in the file.
    begin: u64,
    /// The end of the last part.
    used: u64,
}

impl Ahead {
    fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }

    /// Reads until a whole part is in memory, or returns the reason why that isn't possible.
    fn part(
        &mut self,
        Range { start, end }: Range<u64>,
        rooms: &Arc<PageRooms>,
        input: &mut dyn Input,
    ) -> Result<Result<Part, String>, Trouble> {
        if end - start > PART_BYTES_MAX {
            return Ok(Err(format!(
                "expected row groups of at most 1 GiB, found {} bytes",
                end - start
            )));
        }
        if start < self.used {
            return Ok(Err("expected pages in the order of their rows".into()));
        }
        rooms.take_for_part(end - start).map_err(Trouble::Store)?;
        while self.end() < end {
            self.forget(start);
            if !self.more(input)? && self.end() < end {
                return Ok(Err("the file breaks off".into()));
            }
        }
        self.used = end;
        // Both positions are within the bytes in memory.
        let (from, to) = ((start - self.begin) as usize, (end - self.begin) as usize);
        if self.bytes.len() - to > to - from {
            let bytes = Bytes::copy_from_slice(&self.bytes[from..to]);
            return Ok(Ok(Part { start, bytes, rooms: Arc::clone(rooms) }));
        }
        let rest = self.bytes.split_off(to);
        let bytes = Bytes::from(std::mem::replace(&mut self.bytes, rest)).slice(from..);
        self.begin = end;
        Ok(Ok(Part { start, bytes, rooms: Arc::clone(rooms) }))
    }

    /// Discards the bytes before a position, before more are read.
    fn forget(&mut self, before: u64) {
        let bytes =
            usize::try_from(before - self.begin).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..bytes);
        self.begin += bytes as u64;
    }

    fn more(&mut self, input: &mut dyn Input) -> Result<bool, Trouble> {
        self.bytes.reserve(READ_BYTES);
        input.fill(&mut self.bytes)
    }

    /// Reads the rest of the file, so that a caller that counts and checksums has seen all of it.
    fn read_to_end(&mut self, input: &mut dyn Input) -> Result<(), Trouble> {
        while self.more(input)? {
            self.bytes.clear();
        }
        Ok(())
    }
}

/// The room that a large part of a file takes.
#[derive(Default)]
struct PageRooms {
    /// The room of the compressed part.
    part: Mutex<Option<Arc<Taken<'static>>>>,
    /// The room of the dictionary, which all pages of the part need.
    dictionary: Mutex<Option<Arc<Taken<'static>>>>,
    /// The room of the page that is being read.
    page: Mutex<Option<Arc<Taken<'static>>>>,
}

impl PageRooms {
    fn take_for_part(&self, bytes: u64) -> crate::error::Result<()> {
        fill(&self.part, bytes)
    }

    /// Takes room for a page that begins with this header.
    fn take_for_page(&self, header: &[u8]) -> crate::error::Result<()> {
        let Some(bytes) = unpacked_page_bytes(header) else { return Ok(()) };
        // The second byte is the page's type in zigzag encoding: type 2, a dictionary.
        let slot = if header.get(1) == Some(&4) { &self.dictionary } else { &self.page };
        fill(slot, bytes)
    }

    /// Returns the room of the posts that come from the current page.
    fn of_page(&self) -> Option<Arc<Taken<'static>>> {
        let taken = |slot: &Mutex<Option<Arc<Taken<'static>>>>| {
            slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        taken(&self.page).or_else(|| taken(&self.dictionary))
    }
}

/// Gives back the room in a slot, and takes new room for it.
fn fill(slot: &Mutex<Option<Arc<Taken<'static>>>>, bytes: u64) -> crate::error::Result<()> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    *slot = None;
    *slot = room::take_if_large(bytes)?;
    Ok(())
}

/// A part of a file.
struct Part {
    /// Its offset in the file.
    start: u64,
    bytes: Bytes,
    rooms: Arc<PageRooms>,
}

impl Part {
    fn at(&self, start: u64) -> parquet::errors::Result<u64> {
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

    /// Returns a reader at the beginning of a page, and takes room for the page.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let at = self.at(start)?;
        let header =
            usize::try_from(at).ok().and_then(|at| self.bytes.get(at..)).unwrap_or_default();
        self.rooms.take_for_page(header).map_err(|error| ParquetError::General(error.chain()))?;
        self.bytes.get_read(at)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.bytes.get_bytes(self.at(start)?, length)
    }
}

/// Returns the length of a page after decompression, according to its header. The header begins
/// with field 1, the page's type, and field 2, its length, both numbers (0x15) in zigzag encoding,
/// in groups of seven bits (Thrift compact protocol).
fn unpacked_page_bytes(header: &[u8]) -> Option<u64> {
    let rest = header.strip_prefix(&[0x15])?;
    let after_type = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = rest.get(after_type..)?.strip_prefix(&[0x15])?;
    let last = number.iter().position(|byte| byte & 0x80 == 0).filter(|last| *last < 9)?;
    let zigzag =
        number[..=last].iter().rev().fold(0_u64, |all, byte| all << 7 | u64::from(byte & 0x7f));
    // The page's reader refuses a negative length.
    (zigzag & 1 == 0).then_some(zigzag >> 1)
}

/// Returns the number of bytes of the posts of a file, according to its footer.
///
/// # Errors
/// If `input` fails, or the file is damaged.
pub fn text_bytes(input: &mut dyn Input) -> Result<u64, Trouble> {
    let footer = Footer::read(input)?;
    let bytes = footer.says.row_groups().iter().map(|group| {
        let post = group.columns().iter().find(|column| column.column_path().string() == POST);
        post.map_or(0, |column| u64::try_from(column.uncompressed_size()).unwrap_or(0))
    });
    Ok(bytes.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_how_long_it_is_and_one_that_is_too_long_is_refused() {
        for (header, wanted) in [
            (&[0x15, 0x00, 0x15, 0x14, 0x15, 0x14][..], Some(10)),
            (&[0x15, 0x04, 0x15, 0x80, 0x80, 0x80, 0x80, 0x02, 0x15], Some(256 << 20)),
            (&[0x15, 0x00, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f], Some((1 << 31) - 1)),
            (&[0x15, 0x00, 0x15, 0x13], None),
            (&[0x15, 0x00, 0x15, 0xff, 0xff], None),
            (&[0x15, 0x00, 0x25, 0x14], None),
            (&[], None),
        ] {
            assert_eq!(unpacked_page_bytes(header), wanted, "{header:?}");
            let bytes = Bytes::copy_from_slice(header);
            let part = Part { start: 7, bytes, rooms: Arc::default() };
            let refused = part.get_read(7).err().map(|error| error.to_string());
            assert_eq!(refused.is_some(), wanted > Some(room::TOTAL_DEFAULT), "{header:?}");
            assert!(refused.is_none_or(|why| why.contains("only 256MiB are allowed: increase")));
        }
    }
}

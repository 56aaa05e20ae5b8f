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

/// How many posts are read in one go at most, and about how many bytes of them or of the file.
const READ_POSTS: usize = 256;
const READ_BYTES: usize = 64 << 10;

/// How long a part of a file may be that has to be read as one, and a page once it is unpacked, of
/// which a few bytes can stand for 2 GiB: where there is [room] for both at once. What this program
/// writes stays below the longest post and a page.
const PART_BYTES_MAX: u64 = 1 << 30;

/// Reads the posts of one Parquet file: the footer first, then all of it from its beginning to its
/// end, as if it were text. In memory is one page, or one row group as it is packed where nothing
/// says where its pages are.
#[derive(Default)]
pub struct Columns {
    open: Option<Open>,
}

struct Open {
    footer: Footer,
    /// The next row group.
    group: usize,
    /// What is still to be read of the current one.
    parts: VecDeque<Range<u64>>,
    ahead: Ahead,
    /// What is being unpacked.
    values: Option<ColumnReaderImpl<ByteArrayType>>,
    /// The room of that.
    rooms: Arc<PageRooms>,
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

    /// Goes on to the next part; false at the end of the file.
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

    /// The next posts of a part; none at its end.
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
        // Large posts come a few at a time, whatever the footer says about their length.
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

/// The values of a part of a column.
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
    // How many rows there are counts only where the reader looks for pages by itself.
    let pages = SerializedPageReader::new(Arc::new(part), &column, 0, None)?;
    Ok(ColumnReaderImpl::new(descriptor, Box::new(Pages(pages))))
}

/// Pages that hold what they say: a dictionary is made room for before it is read, and behind an
/// empty page the column's reader would see the end.
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
                // Each value has its length before it, of four bytes.
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

/// What was read and isn't used.
#[derive(Default)]
struct Ahead {
    bytes: Vec<u8>,
    /// Where in the file that begins.
    begin: u64,
    /// Where the last part ended.
    used: u64,
}

impl Ahead {
    fn end(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }

    /// Reads on until all of a part is there, or says why it can't be.
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
        // Both fit into what is in memory.
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

    /// Forgets what is before a place, before more is read.
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

    /// Reads what is behind the posts, so that whoever counts and sums up has seen all of the file.
    fn read_to_end(&mut self, input: &mut dyn Input) -> Result<(), Trouble> {
        while self.more(input)? {
            self.bytes.clear();
        }
        Ok(())
    }
}

/// The room that a part of a file takes, where it is large.
#[derive(Default)]
struct PageRooms {
    /// That of the part as it is packed.
    part: Mutex<Option<Arc<Taken<'static>>>>,
    /// That of the dictionary, which all pages of the part need.
    dictionary: Mutex<Option<Arc<Taken<'static>>>>,
    /// That of the page that is being read.
    page: Mutex<Option<Arc<Taken<'static>>>>,
}

impl PageRooms {
    fn take_for_part(&self, bytes: u64) -> crate::error::Result<()> {
        fill(&self.part, bytes)
    }

    /// Takes room for a page that begins with this header.
    fn take_for_page(&self, header: &[u8]) -> crate::error::Result<()> {
        let Some(bytes) = unpacked_page_bytes(header) else { return Ok(()) };
        // The second byte is the page's type: 2, a dictionary, in zigzag.
        let slot = if header.get(1) == Some(&4) { &self.dictionary } else { &self.page };
        fill(slot, bytes)
    }

    /// The room that posts have which come from the current page.
    fn of_page(&self) -> Option<Arc<Taken<'static>>> {
        let taken = |slot: &Mutex<Option<Arc<Taken<'static>>>>| {
            slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        taken(&self.page).or_else(|| taken(&self.dictionary))
    }
}

/// Gives back the room that a place had, and takes some for what comes there.
fn fill(slot: &Mutex<Option<Arc<Taken<'static>>>>, bytes: u64) -> crate::error::Result<()> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    *slot = None;
    *slot = room::take_if_large(bytes)?;
    Ok(())
}

/// A part of a file.
struct Part {
    /// Where in the file it begins.
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

    /// Called where a page begins, with its header.
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

/// How long a page is once it is unpacked, as its header says. That begins with the fields 1, the
/// page's type, and 2, its length, both numbers (0x15) in zigzag, in sevens of bits (Thrift compact
/// protocol).
fn unpacked_page_bytes(header: &[u8]) -> Option<u64> {
    let rest = header.strip_prefix(&[0x15])?;
    let after_type = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let number = rest.get(after_type..)?.strip_prefix(&[0x15])?;
    let last = number.iter().position(|byte| byte & 0x80 == 0).filter(|last| *last < 9)?;
    let zigzag =
        number[..=last].iter().rev().fold(0_u64, |all, byte| all << 7 | u64::from(byte & 0x7f));
    // One that is negative is refused by whoever reads the page.
    (zigzag & 1 == 0).then_some(zigzag >> 1)
}

/// How many bytes the posts of a file are, as its footer says.
///
/// # Errors
/// What `input` says, or a damage.
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
            assert!(refused.is_none_or(|why| why.contains("and 256MiB are allowed: give more")));
        }
    }
}

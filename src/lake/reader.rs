//! Reads a file of the lake and returns its posts as slices of the read buffers.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr2;
use rustix::buffer::spare_capacity;

use super::columns::Columns;
use super::disk::failed;
use super::form::{Compression, Form, Format};
use super::inside::open_file;
use super::room::{self, LARGE_BYTES, Pages, Taken};
use super::scan::{Spot, Trouble};
use super::split::{Damage, Posts, Splitter};
use super::unpack::Unpacker;
use crate::error::{Error, Result};
use crate::post::{Post, break_no_lines};
use crate::units::ByteSize;

/// The number of bytes that are read at a time. They stay in the processor's cache until they are
/// split; fewer would cost more system calls.
pub const CHUNK_BYTES: usize = 512 << 10;

/// The longest post that can be read if there is [room] for it; no source accepts a longer one.
pub const POST_BYTES_MAX: usize = 128 << 20;

/// Returns the longest post that this process has room for.
fn longest_post() -> usize {
    let fits = usize::try_from(room::total()).unwrap_or(usize::MAX) - 2 * LARGE_BYTES;
    fits.min(POST_BYTES_MAX)
}

/// The source of the bytes of one file.
pub trait Input {
    /// Appends the next bytes to a buffer, as many as it has room for or slightly more. Returns
    /// false at the end of the file.
    ///
    /// # Errors
    /// If the file can't be read.
    fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble>;

    /// Returns the length of the file.
    ///
    /// # Errors
    /// If the length isn't known.
    fn length(&mut self) -> Result<u64, Trouble>;

    /// Returns a range of the file, cut off at its end, independently of the bytes that were read
    /// so far.
    ///
    /// # Errors
    /// If the file can't be read.
    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble>;
}

/// A reader that splits one file into posts, chunk after chunk. Files of other tools are accepted,
/// too: any array of objects, also with line breaks between and within them, which become spaces,
/// and compressed files with several members or frames.
pub struct Chunks {
    form: Form,
    columns: Columns,
    /// `None` before the first chunk, and for a file that isn't compressed.
    unpacker: Option<Unpacker>,
    /// True if line breaks are searched for, which costs a second look at each byte.
    finds_line_breaks: bool,
    /// The offset of the first line break in the text.
    line_break: Option<u64>,
    splitter: Splitter,
    /// The number of bytes that are requested at a time.
    bytes: usize,
    /// The offset in the file at which the next chunk begins; the chunk begins with the rest of the
    /// previous one.
    offset: u64,
    /// The incomplete post at the end of the last chunk.
    rest: Vec<u8>,
    ended: bool,
    /// The damage behind the posts that were returned last.
    damage: Option<Trouble>,
}

impl Chunks {
    /// Creates a reader of a file from its beginning that takes this many bytes of text at a time.
    pub fn of(form: Form, bytes: usize) -> Self {
        let format = if let Form::Text(format, _) = form { format } else { Format::JsonArray };
        Self {
            form,
            columns: Columns::default(),
            unpacker: None,
            finds_line_breaks: false,
            line_break: None,
            splitter: Splitter::start(format),
            bytes,
            offset: 0,
            rest: Vec::new(),
            ended: false,
            damage: None,
        }
    }

    /// Enables the search for line breaks.
    #[must_use]
    pub fn finding_line_breaks(self) -> Self {
        Self { finds_line_breaks: true, ..self }
    }

    /// Returns the offset of the first line break found so far in the uncompressed text.
    pub fn line_break(&self) -> Option<u64> {
        self.line_break
    }

    /// Returns the next posts; `None` at the end. The posts before a damage are returned before the
    /// error.
    ///
    /// # Errors
    /// If `input` fails, or the file is damaged; the error has the offset of the damage.
    pub fn next_posts(&mut self, input: &mut dyn Input) -> Result<Option<Vec<Post>>, Trouble> {
        if self.form == Form::Parquet {
            return self.columns.next_posts(input);
        }
        let mut room = None;
        while !self.ended && self.damage.is_none() {
            // The next read doubles the rest.
            if self.rest.len() > LARGE_BYTES / 2 && room.is_none() {
                let longest = longest_post() + LARGE_BYTES;
                room = Some(room::take(longest as u64).map_err(Trouble::Store)?);
                // Everything is reserved at once, so that a growing post is never copied and held
                // twice. The operating system doesn't assign memory that isn't written to.
                self.rest.reserve_exact(longest + LARGE_BYTES - self.rest.len());
            }
            let posts = self.chunk(input, &mut room)?;
            if !posts.is_empty() {
                return Ok(Some(posts));
            }
        }
        self.damage.take().map_or(Ok(None), Err)
    }

    fn chunk(
        &mut self,
        input: &mut dyn Input,
        room: &mut Option<Taken<'static>>,
    ) -> Result<Vec<Post>, Trouble> {
        // Reads as many bytes as the rest of the last chunk has, so that a large post is complete
        // after few reads; but no more than `LARGE_BYTES` at a time, since bytes of the next post
        // are held while a large one is in use.
        let more = self.rest.len().clamp(self.bytes, LARGE_BYTES.max(self.bytes));
        let bytes = self.rest.len() + more;
        let mut chunk = std::mem::take(&mut self.rest);
        chunk.reserve_exact(more);
        let whole = self.fill(&mut chunk, bytes, input)?;
        let mut posts = Posts::default();
        match self.splitter.split(&chunk, whole, &mut posts) {
            Ok(done) if chunk.len() - done > longest_post() => {
                self.found(&Damage { at: done, what: too_long() });
            }
            Ok(done) => {
                self.offset += done as u64;
                if done == 0 {
                    self.rest = chunk;
                    return Ok(Vec::new());
                }
                self.rest = chunk[done..].to_vec();
            }
            Err(damage) => self.found(&damage),
        }
        let room = room.take().map(|mut room| {
            room.shrink_to(chunk.len() as u64);
            Arc::new(room)
        });
        Ok(slices(chunk, posts, room))
    }

    /// Fills a chunk up to its size. Returns true at the end of the text.
    fn fill(
        &mut self,
        chunk: &mut Vec<u8>,
        bytes: usize,
        input: &mut dyn Input,
    ) -> Result<bool, Trouble> {
        let begin = chunk.len();
        let filled = if self.form.is_plain() {
            self.fill_plain(chunk, bytes, input)
        } else {
            self.unpack(chunk, bytes, input)
        };
        if self.finds_line_breaks && self.line_break.is_none() {
            self.line_break =
                memchr2(b'\n', b'\r', &chunk[begin..]).map(|at| self.offset + (begin + at) as u64);
        }
        match filled {
            Ok(()) => Ok(self.ended),
            // The posts before the damage are returned first.
            Err(damage @ Trouble::Damage { .. }) => {
                self.damage = Some(damage);
                Ok(false)
            }
            Err(other) => Err(other),
        }
    }

    fn fill_plain(
        &mut self,
        chunk: &mut Vec<u8>,
        bytes: usize,
        input: &mut dyn Input,
    ) -> Result<(), Trouble> {
        while chunk.len() < bytes && !self.ended {
            self.ended = !input.fill(chunk)?;
        }
        Ok(())
    }

    fn unpack(
        &mut self,
        chunk: &mut Vec<u8>,
        bytes: usize,
        input: &mut dyn Input,
    ) -> Result<(), Trouble> {
        if self.unpacker.is_none()
            && let Form::Text(_, compression) = self.form
        {
            self.unpacker = unpacker(compression)?;
        }
        while let Some(unpacker) = &mut self.unpacker
            && chunk.len() < bytes
            && !self.ended
        {
            self.ended = !unpacker.fill(chunk, |packed| input.fill(packed))?;
        }
        Ok(())
    }

    fn found(&mut self, damage: &Damage) {
        self.ended = true;
        let at = self.offset + damage.at as u64;
        let at = if self.form.is_plain() { Spot::Byte(at) } else { Spot::TextByte(at) };
        self.damage = Some(Trouble::Damage { at, what: damage.what.clone() });
    }
}

/// Creates the decompressor of a file.
///
/// # Errors
/// If there isn't enough memory for it.
pub fn unpacker(compression: Compression) -> Result<Option<Unpacker>, Trouble> {
    Unpacker::of(compression).map_err(|cause| {
        Trouble::Store(Error::transient("can't start to decompress").because(cause))
    })
}

/// Appends the next bytes of a file to a chunk, as many as it has room for. Returns false at the
/// end.
///
/// # Errors
/// If the file can't be read.
pub fn fill(chunk: &mut Vec<u8>, file: &File, path: &Path) -> Result<bool, Trouble> {
    match rustix::io::retry_on_intr(|| rustix::io::read(file, spare_capacity(chunk))) {
        Ok(read) => Ok(read > 0),
        Err(error) => Err(Trouble::Store(failed("read", path, error.into()))),
    }
}

/// A file on the local disk.
pub struct OpenFile {
    path: PathBuf,
    file: File,
}

impl OpenFile {
    /// Opens a file; returns `None` if it doesn't exist.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open(path: PathBuf) -> Result<Option<Self>> {
        match open_file(&path) {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("open", &path, cause)),
        }
    }
}

impl Input for OpenFile {
    fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
        fill(to, &self.file, &self.path)
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        let found = self
            .file
            .metadata()
            .map_err(|cause| Trouble::Store(failed("look at", &self.path, cause)))?;
        Ok(found.len())
    }

    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble> {
        let end = range.end.min(self.length()?);
        let mut bytes =
            vec![0; usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX)];
        let read = self.file.read_exact_at(&mut bytes, range.start);
        read.map_err(|cause| Trouble::Store(failed("read", &self.path, cause)))?;
        Ok(bytes.into())
    }
}

/// Returns the error text for a post that is too long to be read.
fn too_long() -> String {
    let longest = ByteSize(longest_post() as u64);
    if longest.0 == POST_BYTES_MAX as u64 {
        return format!("expected a post of at most {longest}");
    }
    format!("expected a post of at most {longest}, which is what `memory` or --memory has room for")
}

/// Returns the posts of a chunk as slices of it, without line breaks.
fn slices(mut chunk: Vec<u8>, posts: Posts, room: Option<Arc<Taken<'static>>>) -> Vec<Post> {
    if posts.line_breaks {
        break_no_lines(&mut chunk);
    }
    let chunk = match room {
        Some(room) => room::bytes_in(Pages(chunk), Some(room)),
        None => Bytes::from(chunk),
    };
    posts.ranges.into_iter().map(|range| Post::trusted(chunk.slice(range))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn read(content: &[u8]) -> Result<Vec<Post>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0000000");
        fs::write(&path, content).unwrap();
        let mut file = OpenFile::open(path.clone())?.unwrap();
        let mut chunks = Chunks::of(Form::ARRAY, CHUNK_BYTES);
        let mut found = Vec::new();
        while let Some(mut posts) = chunks
            .next_posts(&mut file)
            .map_err(|trouble| trouble.at(&path.display().to_string()))?
        {
            found.append(&mut posts);
        }
        Ok(found)
    }

    fn texts(found: &[Post]) -> Vec<&str> {
        found.iter().map(|post| std::str::from_utf8(post).unwrap()).collect()
    }

    #[test]
    fn posts_come_out_as_they_are() {
        let posts = [r#"{"tweet":{"a":"b\\n"}}"#, r#"{ "t\u00f6\u00f6t" : 1 }"#, r#"{"\ud83d":2}"#];
        assert_eq!(texts(&read(format!("[{}]", posts.join(", ")).as_bytes()).unwrap()), posts);
    }

    #[test]
    fn line_breaks_become_spaces() {
        let found = read(b"[\n  {\r\n\t\"tweet\": {}\n  }\n]\n").unwrap();
        assert_eq!(texts(&found), ["{  \t\"tweet\": {}   }"]);
    }

    #[test]
    fn damage_is_named_by_path_and_offset_in_the_file() {
        let mut content = b"[{\"tweet\":1}".to_vec();
        content.extend(b",{\"tweet\":2}".repeat(100_000));
        content[1_000_000] = 0;
        let error = read(&content).unwrap_err();
        assert!(
            error.chain().contains("/0000000\" is damaged at byte 1000000: control"),
            "{error:?}"
        );
        assert!(read(b"").unwrap_err().chain().contains("at byte 0"));
        assert!(OpenFile::open("/nowhere/0000000".into()).unwrap().is_none());
    }

    #[test]
    fn a_post_may_be_larger_than_a_chunk() {
        let large = format!("{{\"tweet\":\"{}\"}}", "x".repeat(CHUNK_BYTES * 5));
        let found = read(format!("[{{\"tweet\":1}},{large},{large}]").as_bytes()).unwrap();
        assert_eq!(texts(&found), ["{\"tweet\":1}", &large, &large]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_leave_no_trace(sizes in prop::collection::vec(0usize..CHUNK_BYTES, 1..12), breaks in any::<bool>()) {
            let posts: Vec<String> = sizes.iter().map(|size| format!("{{\"tweet\":\"{}\"}}", "ü".repeat(*size))).collect();
            let text = format!("[{}]", posts.join(if breaks { " ,\n" } else { "," }));
            let found = read(text.as_bytes()).unwrap();
            prop_assert!(found.iter().map(|post| &post[..]).eq(posts.iter().map(|post| post.as_bytes())));
        }
    }
}

//! Reads an object of a lake from any store: its posts, and the facts that the index records.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::form::{Compression, Form, Format};
use super::reader::{Chunks, Input};
use super::store::{Store, length};
use crate::error::{Error, Result};
use crate::post::Post;
use crate::progress;

/// The number of bytes that are requested at a time. Each is one request to a server, and this size
/// limits the memory.
const CHUNK_BYTES: u64 = 4 << 20;

/// The number of bytes of text that are split at a time.
const TEXT_BYTES: usize = 1 << 20;

/// The reason that an object couldn't be read to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The store can't return the object.
    Store(Error),
    /// The object doesn't exist.
    Gone,
    /// The content isn't what the object's name says.
    Damage {
        /// The place of the damage.
        at: Spot,
        /// The problem.
        what: String,
    },
    /// The object seems intact, but has a form that isn't supported: the form, and what to do.
    Unsupported(String),
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The offset of a byte in the file.
    Byte(u64),
    /// The offset of a byte in the uncompressed text.
    TextByte(u64),
    /// A row of Parquet, counted from 0, or one shortly after it.
    Row(u64),
    /// The footer of a Parquet file.
    Footer,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::TextByte(at) => write!(f, "byte {at} of its unpacked text"),
            Self::Row(at) => write!(f, "row {at}"),
            Self::Footer => f.write_str("its footer"),
        }
    }
}

impl Trouble {
    /// Converts the trouble into an error that names the object at this key.
    pub fn of(self, store: &dyn Store, key: &str) -> Error {
        self.at(&store.address(key))
    }

    /// Converts the trouble into an error that names the object at this address.
    pub fn at(self, address: &str) -> Error {
        match self {
            Self::Store(error) => error,
            Self::Gone => Error::fatal(format!("\"{address}\" is gone")),
            Self::Unsupported(what) => {
                Error::fatal(format!("\"{address}\" has a form that isn't supported: {what}"))
            }
            Self::Damage { at, what } => {
                Error::fatal(format!("\"{address}\" is damaged at {at}: {what}"))
            }
        }
    }
}

/// A reader of one object from its beginning to its end, which counts its bytes and posts.
pub struct ObjectReader<'a> {
    bytes: ObjectBytes<'a>,
    chunks: Chunks,
    posts: u64,
}

/// The bytes of an object, with their number and checksum.
pub struct ObjectBytes<'a> {
    store: &'a dyn Store,
    key: &'a str,
    /// The number of bytes that were read.
    read: u64,
    checksum: crc32fast::Hasher,
}

impl<'a> ObjectBytes<'a> {
    /// Reads the object at a key.
    pub fn new(store: &'a dyn Store, key: &'a str) -> Self {
        Self { store, key, read: 0, checksum: crc32fast::Hasher::new() }
    }

    /// Returns the length and the CRC-32 of the bytes that were read so far.
    pub fn sum(&self) -> (u64, u32) {
        (self.read, self.checksum.clone().finalize())
    }
}

impl<'a> ObjectReader<'a> {
    /// Begins to read an object, whose name tells its form.
    pub fn new(store: &'a dyn Store, key: &'a str) -> Self {
        let chunks = Chunks::of(Form::of(key), TEXT_BYTES).finding_line_breaks();
        Self { bytes: ObjectBytes::new(store, key), chunks, posts: 0 }
    }

    /// Returns the number of bytes read so far; at the end, the length of the object.
    pub fn bytes(&self) -> u64 {
        self.bytes.read
    }

    /// Returns the CRC-32 of those bytes.
    pub fn checksum(&self) -> u32 {
        self.bytes.checksum.clone().finalize()
    }

    /// Returns the number of posts in those bytes.
    pub fn posts(&self) -> u64 {
        self.posts
    }

    /// Returns the place of the first line break in an array. Tools that read lines would take it
    /// for the end of the array.
    pub fn line_break(&self) -> Option<Spot> {
        match Form::of(self.bytes.key) {
            Form::Text(Format::JsonArray, Compression::None) => {
                self.chunks.line_break().map(Spot::Byte)
            }
            Form::Text(Format::JsonArray, _) => self.chunks.line_break().map(Spot::TextByte),
            _ => None,
        }
    }

    /// Returns the next posts; `None` at the end. The posts before a damage are returned before the
    /// error.
    ///
    /// # Errors
    /// If the store can't return the object, or it is damaged.
    pub fn next_posts(&mut self) -> Result<Option<Vec<Post>>, Trouble> {
        let posts = self.chunks.next_posts(&mut self.bytes)?;
        self.posts += posts.as_ref().map_or(0, Vec::len) as u64;
        Ok(posts)
    }

    /// Reads the object to its end, and discards the posts.
    ///
    /// # Errors
    /// As [`next_posts`](Self::next_posts).
    pub fn pass_over(&mut self) -> Result<(), Trouble> {
        while self.next_posts()?.is_some() {}
        Ok(())
    }
}

impl Input for ObjectBytes<'_> {
    fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
        let range = self.read..self.read + CHUNK_BYTES;
        let new =
            self.store.get_range(self.key, range).map_err(Trouble::Store)?.ok_or(Trouble::Gone)?;
        self.checksum.update(&new);
        self.read += new.len() as u64;
        progress::advance(new.len() as u64);
        to.extend_from_slice(&new);
        Ok(new.len() as u64 == CHUNK_BYTES)
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        length(self.store, self.key).map_err(Trouble::Store)?.ok_or(Trouble::Gone)
    }

    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble> {
        progress::advance(range.end.saturating_sub(range.start));
        self.store.get_range(self.key, range).map_err(Trouble::Store)?.ok_or(Trouble::Gone)
    }
}

/// Passes all posts of several objects to `take`, one after the other.
///
/// # Errors
/// If an object can't be read or is damaged, or `take` fails.
pub fn each_post(
    store: &Arc<dyn Store>,
    keys: &[String],
    mut take: impl FnMut(&Post) -> Result<()>,
) -> Result<()> {
    for key in keys {
        let mut reader = ObjectReader::new(store.as_ref(), key);
        while let Some(posts) =
            reader.next_posts().map_err(|trouble| trouble.of(store.as_ref(), key))?
        {
            posts.iter().try_for_each(&mut take)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::memory::MemoryStore;

    fn read(content: &[u8]) -> Result<(Vec<String>, u64, Option<Spot>), Trouble> {
        let store = MemoryStore::default();
        store.put("a", Bytes::copy_from_slice(content)).unwrap();
        let mut reader = ObjectReader::new(&store, "a");
        let mut found = Vec::new();
        while let Some(posts) = reader.next_posts()? {
            found.extend(posts.iter().map(|post| String::from_utf8_lossy(post).into_owned()));
        }
        assert_eq!(reader.checksum(), crc32fast::hash(content));
        assert_eq!(reader.posts(), found.len() as u64);
        Ok((found, reader.bytes(), reader.line_break()))
    }

    #[test]
    fn posts_come_out_as_they_are() {
        let (posts, bytes, line_break) = read(b"[{\"a\":1}, {\"b\":\"x\"}]").unwrap();
        assert_eq!(
            (posts.join(" ").as_str(), bytes, line_break),
            ("{\"a\":1} {\"b\":\"x\"}", 20, None)
        );
        assert_eq!(read(b"[{\"a\":\n1}]").unwrap().2, Some(Spot::Byte(6)));
        assert_eq!(read(b"[{\"a\":\n1}]").unwrap().0, ["{\"a\": 1}"]);
    }

    #[test]
    fn posts_may_be_larger_than_a_chunk_and_end_with_one() {
        for bytes in
            [CHUNK_BYTES as usize * 3, CHUNK_BYTES as usize - 10, CHUNK_BYTES as usize * 2 - 10]
        {
            let post = format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
            assert_eq!(
                read(format!("[{post}]").as_bytes()).unwrap().0,
                std::slice::from_ref(&post)
            );
            assert_eq!(
                read(format!("[{post},{post}]").as_bytes()).unwrap().0,
                [&post[..], &post[..]]
            );
        }
    }

    #[test]
    fn damage_has_its_offset_in_the_object() {
        let mut content =
            format!("[{{\"a\":\"{}\"}}", "x".repeat(CHUNK_BYTES as usize)).into_bytes();
        content.extend(b",{\"b\":tru}]");
        let Err(Trouble::Damage { at: Spot::Byte(at), .. }) = read(&content) else {
            panic!("it is damaged")
        };
        assert_eq!(at, content.len() as u64 - 5, "where the literal begins");
        assert!(matches!(read(b""), Err(Trouble::Damage { at: Spot::Byte(0), .. })));
        assert!(matches!(
            ObjectReader::new(&MemoryStore::default(), "a").next_posts(),
            Err(Trouble::Gone)
        ));
    }
}

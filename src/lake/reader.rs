//! Reads a file of the lake: its posts as slices of the buffers that were read.

use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::disk::failed;
use super::split::{Damage, Posts, Splitter};
use crate::error::{Error, Result};
use crate::post::{Post, break_no_lines};

/// How much is read in one go. It stays in the processor's cache until it is split; less would cost
/// system calls.
const CHUNK_BYTES: usize = 512 << 10;

/// A larger post isn't read: a limit on memory, not on what sources let in.
const POST_BYTES_MAX: usize = 1 << 30;

/// Reads one file from its beginning to its end. Files from elsewhere are fine too: any array of
/// objects, also with line breaks between and within them, which become spaces.
pub struct FileReader {
    path: PathBuf,
    file: File,
    splitter: Splitter,
    /// Where in the file the next chunk begins, the part of a post included.
    offset: u64,
    /// The part of a post that the last chunk ended with.
    rest: Vec<u8>,
    ended: bool,
}

impl FileReader {
    /// Opens a file.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).map_err(|cause| failed("open", &path, cause))?;
        Ok(Self { path, file, splitter: Splitter::start(), offset: 0, rest: Vec::new(), ended: false })
    }

    /// The next posts, some hundred kilobytes of them; `None` at the end.
    ///
    /// # Errors
    /// If the file can't be read, or is damaged; the text has the path and the byte's offset.
    pub fn next_posts(&mut self) -> Result<Option<Vec<Post>>> {
        while !self.ended {
            let posts = self.chunk()?;
            if !posts.is_empty() {
                return Ok(Some(posts));
            }
        }
        Ok(None)
    }

    fn chunk(&mut self) -> Result<Vec<Post>> {
        let chunk = self.read()?;
        let mut posts = Posts::default();
        let done = self.splitter.split(&chunk, self.ended, &mut posts).map_err(|damage| self.damaged(&damage))?;
        if chunk.len() - done > POST_BYTES_MAX {
            return Err(self.damaged(&Damage { at: done, what: "expected a post of at most 1 GiB".into() }));
        }
        self.offset += done as u64;
        self.rest = chunk[done..].to_vec();
        Ok(slices(chunk, posts))
    }

    /// The rest of the last chunk, and as much again behind it, so that a large post is soon whole.
    fn read(&mut self) -> Result<Vec<u8>> {
        let bytes = self.rest.len() + self.rest.len().max(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(bytes);
        chunk.append(&mut self.rest);
        while chunk.len() < bytes && !self.ended {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.file, spare_capacity(&mut chunk))) {
                Ok(read) => self.ended = read == 0,
                Err(error) => return Err(failed("read", &self.path, error.into())),
            }
        }
        Ok(chunk)
    }

    fn damaged(&self, damage: &Damage) -> Error {
        let at = self.offset + damage.at as u64;
        Error::fatal(format!("\"{}\" is damaged at byte {at}: {}", self.path.display(), damage.what))
    }
}

/// The posts of a chunk as slices of it, without line breaks.
fn slices(mut chunk: Vec<u8>, posts: Posts) -> Vec<Post> {
    if posts.line_breaks {
        break_no_lines(&mut chunk);
    }
    let chunk = Bytes::from(chunk);
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
        let mut reader = FileReader::open(path)?;
        let mut found = Vec::new();
        while let Some(mut posts) = reader.next_posts()? {
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
        assert!(error.chain().contains("/0000000\" is damaged at byte 1000000: control"), "{error:?}");
        assert!(read(b"").unwrap_err().chain().contains("at byte 0"));
        assert!(FileReader::open("/nowhere/0000000".into()).err().unwrap().chain().contains("/nowhere/0000000"));
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

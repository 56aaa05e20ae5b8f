//! Reads a file of the lake: its posts as slices of the buffers that were read.

use std::fs::File;
use std::path::PathBuf;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::disk::transient;
use super::split::{Damage, PostAt, Splitter};
use crate::error::{Error, Result};
use crate::post::Post;
use crate::value::Text;

/// How much is read in one go. It stays in the processor's cache until it is split; less would cost
/// system calls.
const CHUNK_BYTES: usize = 512 << 10;

/// A larger post isn't read: a limit on memory, not on what sources let in.
const POST_BYTES_MAX: usize = 1 << 30;

/// A post of a file, and the kind that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The post, on one line.
    pub post: Post,
    /// Its first key.
    pub kind: Text,
}

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
        let file = File::open(&path).map_err(|cause| transient("open", &path, cause))?;
        Ok(Self { path, file, splitter: Splitter::start(), offset: 0, rest: Vec::new(), ended: false })
    }

    /// The next posts, some hundred kilobytes of them; `None` at the end.
    ///
    /// # Errors
    /// If the file can't be read, or is damaged; the text has the path and the byte's offset.
    pub fn next_posts(&mut self) -> Result<Option<Vec<Found>>> {
        while !self.ended {
            let posts = self.chunk()?;
            if !posts.is_empty() {
                return Ok(Some(posts));
            }
        }
        Ok(None)
    }

    fn chunk(&mut self) -> Result<Vec<Found>> {
        let chunk = self.read()?;
        let mut posts = Vec::new();
        let done = self.splitter.split(&chunk, self.ended, &mut posts).map_err(|damage| self.damaged(&damage))?;
        if chunk.len() - done > POST_BYTES_MAX {
            return Err(self.damaged(&Damage { at: done, what: "a post of at most 1 GiB" }));
        }
        self.offset += done as u64;
        self.rest = chunk[done..].to_vec();
        Ok(slices(chunk, &posts))
    }

    /// The rest of the last chunk, and as much again behind it, so that a large post is soon whole.
    fn read(&mut self) -> Result<Vec<u8>> {
        let bytes = self.rest.len() + self.rest.len().max(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(bytes);
        chunk.append(&mut self.rest);
        while chunk.len() < bytes && !self.ended {
            match rustix::io::retry_on_intr(|| rustix::io::read(&self.file, spare_capacity(&mut chunk))) {
                Ok(read) => self.ended = read == 0,
                Err(error) => return Err(transient("read", &self.path, error.into())),
            }
        }
        Ok(chunk)
    }

    fn damaged(&self, damage: &Damage) -> Error {
        let at = self.offset + damage.at as u64;
        Error::fatal(format!("\"{}\" is damaged at byte {at}: expected {}", self.path.display(), damage.what))
    }
}

/// The posts of a chunk as slices of it, without line breaks.
fn slices(mut chunk: Vec<u8>, posts: &[PostAt]) -> Vec<Found> {
    // Checked JSON has line breaks outside of strings only.
    if memchr::memchr2(b'\n', b'\r', &chunk).is_some() {
        chunk.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    }
    let chunk = Bytes::from(chunk);
    let found =
        |at: &PostAt| Found { post: Post::trusted(chunk.slice(at.post.clone())), kind: kind(&chunk[at.kind.clone()]) };
    posts.iter().map(found).collect()
}

/// A key without its quotes and escapes.
fn kind(key: &[u8]) -> Text {
    let plain = &key[1..key.len() - 1];
    if !plain.contains(&b'\\') {
        return Text::from_utf8_lossy(plain);
    }
    // A lone surrogate can't be text; the post has it all the same.
    serde_json::from_slice(key).unwrap_or_else(|_| Text::from_utf8_lossy(plain))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn read(content: &[u8]) -> Result<Vec<Found>> {
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

    fn texts(found: &[Found]) -> Vec<(&str, &str)> {
        found.iter().map(|found| (found.kind.as_str(), std::str::from_utf8(&found.post).unwrap())).collect()
    }

    #[test]
    fn posts_come_out_as_they_are_with_their_kind() {
        let found = read(r#"[{"tweet":{"a":"b\\n"}}, { "t\u00f6\u00f6t" : 1 },{"\ud83d":2}]"#.as_bytes()).unwrap();
        let expected = [
            ("tweet", r#"{"tweet":{"a":"b\\n"}}"#),
            ("tööt", r#"{ "t\u00f6\u00f6t" : 1 }"#),
            ("\\ud83d", r#"{"\ud83d":2}"#),
        ];
        assert_eq!(texts(&found), expected);
    }

    #[test]
    fn line_breaks_become_spaces() {
        let found = read(b"[\n  {\r\n\t\"tweet\": {}\n  }\n]\n").unwrap();
        assert_eq!(texts(&found), [("tweet", "{  \t\"tweet\": {}   }")]);
    }

    #[test]
    fn damage_is_named_by_path_and_offset_in_the_file() {
        let mut content = b"[{\"tweet\":1}".to_vec();
        content.extend(b",{\"tweet\":2}".repeat(100_000));
        content[1_000_000] = 0;
        let error = read(&content).unwrap_err();
        assert!(error.chain().contains("/0000000\" is damaged at byte 1000000: expected"), "{error:?}");
        assert!(read(b"").unwrap_err().chain().contains("at byte 0"));
        assert!(FileReader::open("/nowhere/0000000".into()).err().unwrap().chain().contains("/nowhere/0000000"));
    }

    #[test]
    fn a_post_may_be_larger_than_a_chunk() {
        let large = format!("{{\"tweet\":\"{}\"}}", "x".repeat(CHUNK_BYTES * 5));
        let found = read(format!("[{{\"tweet\":1}},{large},{large}]").as_bytes()).unwrap();
        assert_eq!(texts(&found), [("tweet", "{\"tweet\":1}"), ("tweet", &large), ("tweet", &large)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_leave_no_trace(sizes in prop::collection::vec(0usize..CHUNK_BYTES, 1..12), breaks in any::<bool>()) {
            let posts: Vec<String> = sizes.iter().map(|size| format!("{{\"tweet\":\"{}\"}}", "ü".repeat(*size))).collect();
            let text = format!("[{}]", posts.join(if breaks { " ,\n" } else { "," }));
            let found = read(text.as_bytes()).unwrap();
            prop_assert!(found.iter().map(|found| &found.post[..]).eq(posts.iter().map(|post| post.as_bytes())));
        }
    }
}

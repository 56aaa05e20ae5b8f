//! Writes one file of the lake as text: a JSON array on one line (`[{…},{…}]`) or one post per
//! line. When the file closes, the text may be compressed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::disk::{begin_writing_back, failed};
use super::form::{Form, Format};
use crate::epoch::Promise;
use crate::error::Result;
use crate::fault::point;

/// The number of bytes that are buffered before they are written. More wouldn't fit into the
/// processor's cache, fewer would cost more system calls.
pub const BUFFER_BYTES: usize = 256 << 10;

/// The number of bytes that are written before the disk is asked to begin with them. A much smaller
/// value makes the disk's queue the bottleneck, a much larger one leaves the work to the sync at
/// the barrier.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// A micro-batch that is being written.
///
/// Appended posts count even if the disk fails: bytes stay in the buffer until the operating system
/// has taken all of them, and are written again at the same position if it took only a part.
pub struct MicroBatch {
    place: String,
    segment: String,
    form: Form,
    path: PathBuf,
    file: Arc<File>,
    buffer: Vec<u8>,
    /// The number of bytes that the operating system has taken.
    written: u64,
    /// The checksum of those bytes.
    checksum: crc32fast::Hasher,
    /// The number of those bytes that the disk was asked to begin writing.
    written_back: u64,
    posts: u64,
    since: OffsetDateTime,
    closed: bool,
}

impl MicroBatch {
    /// Begins a file, which must not exist yet. Its promises name the place of its task and its
    /// segment, whose extension tells the form of the text.
    ///
    /// # Errors
    /// If the file can't be created.
    pub fn begin(
        path: PathBuf,
        [place, segment]: [String; 2],
        since: OffsetDateTime,
    ) -> Result<Self> {
        let file = point("lake.create")
            .and_then(|()| File::create_new(&path))
            .map_err(|cause| failed("make", &path, cause))?;
        Ok(Self {
            place,
            form: Form::of(&segment),
            segment,
            path,
            file: Arc::new(file),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            checksum: crc32fast::Hasher::new(),
            written_back: 0,
            posts: 0,
            since,
            closed: false,
        })
    }

    /// Appends a post, which is one JSON object on one line. After an error no part of it counts.
    ///
    /// # Errors
    /// If the buffer has no room for the post and can't be written.
    pub fn append(&mut self, post: &[u8]) -> Result<()> {
        debug_assert!(!self.closed, "a closed micro-batch never changes");
        if self.buffer.len() + post.len() + 2 > BUFFER_BYTES {
            self.flush()?;
        }
        let format = if let Form::Text(format, _) = self.form { format } else { Format::JsonArray };
        let [before, behind] = format.around(self.posts == 0);
        self.buffer.extend_from_slice(before);
        self.buffer.extend_from_slice(post);
        self.buffer.extend_from_slice(behind);
        self.posts += 1;
        Ok(())
    }

    /// Hands all appended bytes to the operating system.
    ///
    /// # Errors
    /// If the operating system doesn't take all of them; flushing again continues from the same
    /// state.
    pub fn flush(&mut self) -> Result<()> {
        let write =
            point("lake.write").and_then(|()| self.file.write_all_at(&self.buffer, self.written));
        write.map_err(|cause| failed("write", &self.path, cause))?;
        self.checksum.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    /// Asks the disk to begin with the written bytes, once there are enough of them.
    pub fn begin_writing_back(&mut self) {
        let bytes = self.written - self.written_back;
        if bytes >= WRITE_BACK_BYTES || self.closed {
            begin_writing_back(&self.file, self.written_back, bytes);
            self.written_back = self.written;
        }
    }

    /// Ends the text and hands it to the operating system. May be called again after an error.
    ///
    /// # Errors
    /// If the operating system doesn't take it.
    pub fn close(&mut self) -> Result<()> {
        if !self.closed {
            self.buffer.extend_from_slice(self.form.end());
            self.closed = true;
        }
        self.flush()
    }

    /// Returns the promise of everything that the operating system has taken.
    pub fn promise(&self) -> Promise {
        debug_assert!(self.buffer.is_empty(), "what is in the buffer can't be promised");
        Promise {
            place: self.place.clone(),
            segment: self.segment.clone(),
            length: self.written,
            posts: self.posts,
            checksum: self.checksum.clone().finalize(),
            closed: self.closed,
        }
    }

    /// Returns the number of posts.
    pub fn posts(&self) -> u64 {
        self.posts
    }

    /// Returns the length of the text in bytes after it closes.
    pub fn length(&self) -> u64 {
        let end = if self.closed { 0 } else { self.form.end().len() };
        self.written + (self.buffer.len() + end) as u64
    }

    /// Returns true if the text has ended, though it may not be written or compressed yet.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns the time at which the file was begun.
    pub fn since(&self) -> OffsetDateTime {
        self.since
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file, to be synced while this batch is still being written.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn begin(folder: &tempfile::TempDir) -> MicroBatch {
        MicroBatch::begin(
            folder.path().join("0000000"),
            ["place".into(), "p/0000000".into()],
            OffsetDateTime::UNIX_EPOCH,
        )
        .unwrap()
    }

    fn promise(length: u64, posts: u64, bytes: &[u8], closed: bool) -> Promise {
        Promise {
            place: "place".into(),
            segment: "p/0000000".into(),
            length,
            posts,
            checksum: crc32fast::hash(bytes),
            closed,
        }
    }

    #[test]
    fn an_open_file_is_promised_without_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = begin(&folder);
        batch.append(br#"{"a":1}"#).unwrap();
        batch.append(br#"{"b":2}"#).unwrap();
        batch.flush().unwrap();
        assert_eq!(batch.promise(), promise(16, 2, br#"[{"a":1},{"b":2}"#, false));
        assert_eq!(batch.length(), 17);
        batch.close().unwrap();
        assert_eq!(batch.promise(), promise(17, 2, br#"[{"a":1},{"b":2}]"#, true));
        assert_eq!(batch.length(), 17);
        assert_eq!(fs::read(folder.path().join("0000000")).unwrap(), br#"[{"a":1},{"b":2}]"#);
    }

    #[test]
    fn lines_have_an_end_each_and_the_file_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0000000.ndjson");
        let names = ["place".into(), "p/0000000.ndjson".into()];
        let mut batch = MicroBatch::begin(path.clone(), names, OffsetDateTime::UNIX_EPOCH).unwrap();
        batch.append(br#"{"a":1}"#).unwrap();
        batch.append(br#"{"b":2}"#).unwrap();
        assert_eq!(batch.length(), 16);
        batch.close().unwrap();
        assert_eq!((batch.length(), batch.promise().length), (16, 16));
        assert_eq!(fs::read(path).unwrap(), b"{\"a\":1}\n{\"b\":2}\n");
    }

    #[test]
    fn a_file_is_never_begun_twice() {
        let folder = tempfile::tempdir().unwrap();
        let _first = begin(&folder);
        let second = MicroBatch::begin(
            folder.path().join("0000000"),
            ["place".into(), "p/0000000".into()],
            OffsetDateTime::UNIX_EPOCH,
        );
        let error = second.err().unwrap();
        assert!(error.chain().contains("0000000"), "{error:?}");
    }

    /// `/dev/full` refuses all writes, like a full disk.
    #[test]
    fn a_full_disk_loses_nothing_and_counts_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut batch = begin(&folder);
        let room = batch.file();
        batch.append(br#"{"a":1}"#).unwrap();
        batch.file = Arc::new(File::options().write(true).open("/dev/full").unwrap());
        let large = [b"{\"b\":\"".as_slice(), &vec![b'x'; BUFFER_BYTES], b"\"}"].concat();
        for _ in 0..3 {
            let error = batch.append(&large).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::NoRoom);
            assert!(error.chain().contains("No space left"), "{error:?}");
        }
        batch.close().unwrap_err();
        batch.file = room;
        batch.close().unwrap();
        assert_eq!(fs::read(folder.path().join("0000000")).unwrap(), br#"[{"a":1}]"#);
        assert_eq!(batch.promise(), promise(9, 1, br#"[{"a":1}]"#, true));
    }

    proptest! {
        #[test]
        fn the_promise_is_what_the_file_holds(sizes in prop::collection::vec(0usize..BUFFER_BYTES * 2, 1..20), flush in any::<u32>()) {
            let folder = tempfile::tempdir().unwrap();
            let mut batch = begin(&folder);
            let mut expected = Vec::new();
            for (i, size) in sizes.iter().enumerate() {
                let post = format!("{{\"t\":\"{}\"}}", "x".repeat(*size));
                expected.push(if i == 0 { b'[' } else { b',' });
                expected.extend_from_slice(post.as_bytes());
                batch.append(post.as_bytes()).unwrap();
                if flush >> i & 1 == 1 {
                    batch.flush().unwrap();
                    prop_assert_eq!(batch.promise(), promise(expected.len() as u64, i as u64 + 1, &expected, false));
                }
            }
            expected.push(b']');
            batch.close().unwrap();
            prop_assert_eq!(batch.promise(), promise(expected.len() as u64, sizes.len() as u64, &expected, true));
            prop_assert_eq!(fs::read(folder.path().join("0000000")).unwrap(), expected);
        }
    }
}

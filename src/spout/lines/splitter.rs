//! Splits chunks into lines: a state machine that neither reads nor waits.

use bytes::{Buf, Bytes};
use memchr::memchr;

/// A position between two lines of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The number of bytes before it.
    pub offset: u64,
    /// The number of lines before it.
    pub line: u64,
}

/// A line that isn't blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: u64,
    /// Its content.
    pub content: Content,
}

/// The content of a line, without its end (`\n` or `\r\n`), and without the file's byte order mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The whole line, which is usually a slice of the chunk that contains it.
    Whole(Bytes),
    /// The line is longer than allowed.
    TooLong {
        /// As much of its beginning as is allowed.
        held: Bytes,
        /// The length of the whole line, in bytes.
        length: u64,
    },
}

/// The number of bytes that may be removed from a buffered line: a byte order mark, and a `\r`
/// (which may also be the last byte of a line that was too long to be kept).
const TRIMMINGS: usize = BYTE_ORDER_MARK.len() + 1;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A splitter of a file, which comes in chunks of any size, into its lines. Lines within a chunk
/// are slices of it; a line that continues in the next chunk is copied into a separate buffer,
/// which never holds more than the longest allowed line.
///
/// ```
/// use waterspout::spout::lines::{Content, LineSplitter, Place};
///
/// let mut splitter = LineSplitter::new(Place::default(), 1024);
/// splitter.feed("{\"a\":1}\n{\"a\":".into());
/// assert_eq!(splitter.next_line().unwrap().content, Content::Whole("{\"a\":1}".into()));
/// assert_eq!(splitter.next_line(), None);
/// assert_eq!(splitter.place(), Place { offset: 8, line: 1 });
/// ```
#[derive(Debug)]
pub struct LineSplitter {
    place: Place,
    line_bytes_max: usize,
    chunk: Bytes,
    /// The beginning of a line whose end hasn't arrived yet.
    carry: Vec<u8>,
    /// The length of that line so far, including bytes that weren't kept.
    carried: u64,
}

impl LineSplitter {
    /// Creates a splitter for the content after a position. A byte order mark is only recognised at
    /// the very start.
    pub fn new(place: Place, line_bytes_max: usize) -> Self {
        Self { place, line_bytes_max, chunk: Bytes::new(), carry: Vec::new(), carried: 0 }
    }

    /// Takes the next chunk, after all lines of the previous one were taken.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// Returns the next complete line; `None` asks for another chunk.
    pub fn next_line(&mut self) -> Option<Line> {
        while let Some(end) = memchr(b'\n', &self.chunk) {
            let piece = self.chunk.split_to(end);
            self.chunk.advance(1);
            if let Some(line) = self.complete(piece, 1) {
                return Some(line);
            }
        }
        let rest = std::mem::take(&mut self.chunk);
        self.carry(&rest);
        None
    }

    /// Returns the last line if it has no line break, since no more chunks will come.
    pub fn finish(&mut self) -> Option<Line> {
        if self.carried == 0 { None } else { self.complete(Bytes::new(), 0) }
    }

    /// Returns the position after the last complete line.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Creates a line from the buffered bytes and the last piece, unless it is blank.
    fn complete(&mut self, piece: Bytes, end_length: u64) -> Option<Line> {
        let at_start = self.place.offset == 0;
        let length = self.carried + piece.len() as u64;
        self.place.offset += length + end_length;
        self.place.line += 1;
        let mut line = piece;
        if self.carried > 0 {
            self.carry(&line);
            self.carried = 0;
            line = std::mem::take(&mut self.carry).into();
        }
        if at_start && line.starts_with(BYTE_ORDER_MARK) {
            line.advance(BYTE_ORDER_MARK.len());
        }
        if line.ends_with(b"\r") {
            line.truncate(line.len() - 1);
        }
        let content = if line.len() > self.line_bytes_max {
            line.truncate(self.line_bytes_max);
            Content::TooLong { held: line, length }
        } else if line.trim_ascii_start().is_empty() {
            return None;
        } else {
            Content::Whole(line)
        };
        Some(Line { number: self.place.line, content })
    }

    /// Buffers a piece of a line. If the line is too long, it keeps enough bytes that the line is
    /// still too long after it was trimmed.
    fn carry(&mut self, piece: &[u8]) {
        self.carried += piece.len() as u64;
        let bound = self.line_bytes_max.saturating_add(TRIMMINGS + 1);
        let kept = piece.len().min(bound - self.carry.len());
        let needed = self.carry.len() + kept;
        if needed > self.carry.capacity() {
            let capacity = needed.max(self.carry.capacity() * 2).min(bound);
            self.carry.reserve_exact(capacity - self.carry.len());
        }
        self.carry.extend_from_slice(&piece[..kept]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the lines of chunks, and the position after them.
    fn split<'a>(
        chunks: impl IntoIterator<Item = &'a [u8]>,
        line_bytes_max: usize,
    ) -> (Vec<Line>, Place) {
        let mut splitter = LineSplitter::new(Place::default(), line_bytes_max);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.feed(Bytes::copy_from_slice(chunk));
            lines.extend(std::iter::from_fn(|| splitter.next_line()));
            assert!(splitter.carry.capacity() <= line_bytes_max + TRIMMINGS + 1);
        }
        lines.extend(splitter.finish());
        (lines, splitter.place())
    }

    fn whole(number: u64, content: &'static str) -> Line {
        Line { number, content: Content::Whole(content.into()) }
    }

    #[test]
    fn lines_end_as_people_end_them_and_blank_ones_only_count() {
        let file = b"\xef\xbb\xbfa\r\n\r\n  \t\nb\r\r\n\xef\xbb\xbf\nc";
        let (lines, place) = split([&file[..]], 10);
        assert_eq!(lines, [whole(1, "a"), whole(4, "b\r"), whole(5, "\u{feff}"), whole(6, "c")]);
        assert_eq!(place, Place { offset: file.len() as u64, line: 6 });
    }

    #[test]
    fn an_empty_file_has_no_lines() {
        assert_eq!(split([], 10), (vec![], Place::default()));
        assert_eq!(split([&b""[..]], 10), (vec![], Place::default()));
        assert_eq!(split([&b"\xef\xbb\xbf"[..]], 10).0, []);
        assert_eq!(split([&b"\n\r\n"[..]], 10), (vec![], Place { offset: 3, line: 2 }));
    }

    #[test]
    fn a_line_is_a_slice_of_its_chunk() {
        let chunk = Bytes::from_static(b"first\nsecond\n");
        let mut splitter = LineSplitter::new(Place::default(), 10);
        splitter.feed(chunk.clone());
        splitter.next_line().unwrap();
        let Content::Whole(second) = splitter.next_line().unwrap().content else {
            panic!("it isn't long")
        };
        assert_eq!(second.as_ptr(), chunk[6..].as_ptr());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_fine() {
        let long = |number, length| {
            let held = Bytes::from_static(b"xxxxxxxxxx");
            Line { number, content: Content::TooLong { held, length } }
        };
        let file = format!("\u{feff}{0}\r\n{0}x\n{1}\nlast", "x".repeat(10), "x".repeat(1_000));
        let expected = vec![whole(1, "xxxxxxxxxx"), long(2, 11), long(3, 1_000), whole(4, "last")];
        assert_eq!(split([file.as_bytes()], 10).0, expected);
        assert_eq!(split(file.as_bytes().chunks(1), 10).0, expected);
        assert_eq!(split(file.as_bytes().chunks(7), 10).0, expected);
    }

    #[test]
    fn a_line_that_was_cut_before_a_carriage_return_is_still_too_long() {
        for chunk_bytes in 1..12 {
            let (lines, _) = split("\u{feff}xxx\rx\n".as_bytes().chunks(chunk_bytes), 3);
            assert_eq!(
                lines,
                [Line { number: 1, content: Content::TooLong { held: "xxx".into(), length: 8 } }]
            );
        }
    }

    #[test]
    fn reading_goes_on_behind_a_place() {
        let mut splitter = LineSplitter::new(Place { offset: 100, line: 7 }, 10);
        splitter.feed("\u{feff}\n".into());
        assert_eq!(splitter.next_line(), Some(whole(8, "\u{feff}")));
        assert_eq!(splitter.place(), Place { offset: 104, line: 8 });
    }

    proptest! {
        #[test]
        fn where_the_chunks_end_changes_nothing(
            file in prop::collection::vec(prop::sample::select(b"ab \r\n\xef\xbb\xbf".to_vec()), 0..80),
            mut cuts in prop::collection::vec(0..80_usize, 0..8),
            line_bytes_max in 1..12_usize,
        ) {
            cuts.sort_unstable();
            let mut from = 0;
            let mut chunks = Vec::new();
            for cut in cuts.into_iter().map(|cut| cut.min(file.len())).chain([file.len()]) {
                chunks.push(&file[from..cut]);
                from = cut;
            }
            let (lines, place) = split(chunks, line_bytes_max);
            prop_assert_eq!(&lines, &split([&file[..]], line_bytes_max).0);
            prop_assert_eq!(place.offset, file.len() as u64);

            let body = file.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file);
            let expected: Vec<_> = body
                .split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                .zip(1..)
                .filter(|(line, _)| !line.trim_ascii().is_empty() || line.len() > line_bytes_max)
                .map(|(line, number)| (number, &line[..line.len().min(line_bytes_max)]))
                .collect();
            let found: Vec<_> = lines
                .iter()
                .map(|line| match &line.content {
                    Content::Whole(content) | Content::TooLong { held: content, .. } => (line.number, &content[..]),
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}

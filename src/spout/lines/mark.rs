//! Marks: the positions at which reading continues after a restart, each with the identity of its
//! file.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::splitter::Place;

/// The number of bytes at the beginning of a file that distinguish it from other files. Posts have
/// ids and times, so the first post is nearly always different.
pub(super) const HEAD_BYTES: usize = 1 << 10;

/// A position in a file, with a hash of the beginning of the file (up to that position). Unlike an
/// inode, it is the same after a copy or a restored backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub place: Place,
    pub head: u64,
}

impl Mark {
    /// Creates the mark of a position in a file with this beginning.
    pub(crate) fn new(place: Place, head: &[u8]) -> Self {
        Self { place, head: xxh3_64(&head[..head.len().min(Self::head_bytes(place))]) }
    }

    /// Returns the length of the beginning that is hashed: a file that contains this position is at
    /// least that long.
    pub(crate) fn head_bytes(place: Place) -> usize {
        usize::try_from(place.offset).unwrap_or(HEAD_BYTES).min(HEAD_BYTES)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:016x}", self.place.offset, self.place.line, self.head)
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(' ');
            let place =
                Place { offset: parts.next()?.parse().ok()?, line: parts.next()?.parse().ok()? };
            let head = u64::from_str_radix(parts.next()?, 16).ok()?;
            parts.next().is_none().then_some(Self { place, head })
        };
        parse().ok_or_else(|| format!("expected offset, line and hash of a file, found \"{text}\""))
    }
}

/// Device and inode.
pub(crate) type FileId = (u64, u64);

/// The cursor of a file that isn't followed: the position, the file, and the time of the last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    pub mark: Mark,
    /// The file's device and inode; `None` in states of earlier versions.
    pub file: Option<FileId>,
    /// The time of the last read, in seconds since 1970; 0 if unknown.
    pub read_at: i64,
    /// True if the position was the end of the file.
    pub is_end: bool,
}

impl FileMark {
    /// Returns true if a part of the file was read, or may not have been read.
    pub(crate) fn may_miss_lines(&self) -> bool {
        self.mark.place.offset > 0 || !self.is_end
    }
}

/// The last word of a mark at the end of a file.
const END: &str = "end";

impl fmt::Display for FileMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mark)?;
        if let Some((device, inode)) = self.file {
            write!(f, " {device} {inode} {}", self.read_at)?;
            if self.is_end {
                write!(f, " {END}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for FileMark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let unexpected = || {
            format!("expected offset, line and hash, and device, inode and time, found \"{text}\"")
        };
        let number = |at: usize| words[at].parse::<u64>().map_err(|_| unexpected());
        let (file, read_at, is_end) = match words.get(3..) {
            None | Some([]) => (None, 0, false),
            Some([_, _, read_at, end @ ..]) if end.is_empty() || end == [END] => {
                let read_at = read_at.parse().map_err(|_| unexpected())?;
                (Some((number(3)?, number(4)?)), read_at, !end.is_empty())
            }
            Some(_) => return Err(unexpected()),
        };
        let mark = words[..words.len().min(3)].join(" ").parse()?;
        Ok(Self { mark, file, read_at, is_end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_file_reads_back_also_that_of_an_earlier_version() {
        let mark = Mark::new(Place { offset: 9, line: 2 }, b"a\nb\n");
        let marks = [
            FileMark { mark, file: Some((1, u64::MAX)), read_at: -1, is_end: false },
            FileMark { mark, file: Some((0, 7)), read_at: 1_800_000_000, is_end: true },
            FileMark { mark, file: None, read_at: 0, is_end: false },
        ];
        for mark in marks {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        let text = mark.to_string();
        let wrong = [
            "",
            "1",
            "1 2",
            "1 2 x",
            "MARK 1",
            "MARK 1 2",
            "MARK 1 2 x",
            "MARK 1 2 3 4",
            "MARK 1 2 3 end end",
            "MARK 1 2 3 ",
            "MARK -1 2 3",
        ];
        for wrong in wrong {
            let wrong = wrong.replace("MARK", &text);
            assert!(wrong.parse::<FileMark>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mark_reads_back() {
        let mark = Mark::new(Place { offset: 1 << 40, line: 17 }, b"{\"tweet\":");
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert_eq!(Mark::new(Place::default(), b"").to_string(), "0 0 2d06800538d394c2");
        for text in ["", "1", "1 2", "1 2 x", "1 2 3 4", "-1 2 3"] {
            assert!(text.parse::<Mark>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_before_the_place_tells_files_apart() {
        let place = Place { offset: 4, line: 1 };
        assert_eq!(Mark::new(place, b"abc\nd"), Mark::new(place, b"abc\ne"));
        assert_ne!(Mark::new(place, b"abc\nd"), Mark::new(place, b"abd\nd"));
    }
}

//! Where reading goes on after a restart, and how another file under the same name is noticed.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh3::xxh3_64;

use super::splitter::Place;

/// How much of a file's beginning tells it from another file, in bytes. Posts have ids and times, so
/// the first one nearly always does.
pub(super) const HEAD_BYTES: usize = 1 << 10;

/// A place in a file, with a hash of what the file begins with (up to that place): unlike an inode
/// it is the same after a copy or a restored backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub place: Place,
    pub head: u64,
}

impl Mark {
    /// The mark of a place in a file that begins like this.
    pub fn new(place: Place, head: &[u8]) -> Self {
        Self { place, head: xxh3_64(&head[..head.len().min(Self::head_bytes(place))]) }
    }

    /// How much of its beginning a file must have had for this place to be in it, and counts.
    pub fn head_bytes(place: Place) -> usize {
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
            let place = Place { offset: parts.next()?.parse().ok()?, line: parts.next()?.parse().ok()? };
            let head = u64::from_str_radix(parts.next()?, 16).ok()?;
            parts.next().is_none().then_some(Self { place, head })
        };
        parse().ok_or_else(|| format!("expected offset, line and hash of a file, found \"{text}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

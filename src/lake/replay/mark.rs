//! How far a partition has been handed over, where its posts are handed over in another order than
//! they stand in it.
//!
//! **The invariant.** Of the posts that were read (those before `read`), exactly those are handed
//! over whose key, their own time and then their place, is `last` or less. The sorter keeps to it:
//! it hands a split's posts over by their keys, and a post whose key is `last` or less when it is
//! read (it is late) is handed over at once, without moving `last`. So three places say of each
//! post whether it was handed over, however many were held back; `oldest` only says where to begin
//! to read again.

use std::fmt;
use std::str::FromStr;

use super::Position;
use crate::error::{Error, Result};

/// The own time of a post, in nanoseconds since 1970. A post without one comes where it stands.
pub type Nanos = i128;

/// By what a split's posts are sorted: their own time, and for equal times their place.
pub type Key = (Nanos, Position);

/// How far a split has been handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Before the oldest post that was read and held back; `read` if none is.
    pub oldest: Position,
    /// Behind the last post that was read.
    pub read: Position,
    /// The largest key that was handed over in order.
    pub last: Option<Key>,
}

impl Mark {
    /// All before a position.
    pub fn all_before(position: Position) -> Self {
        Self { oldest: position, read: position, last: None }
    }

    /// Where to go on in the order of partitions.
    ///
    /// # Errors
    /// If posts were held back, as only another order does.
    pub fn in_order(self) -> Result<Position> {
        if self.oldest == self.read {
            return Ok(self.read);
        }
        Err(Error::fatal(
            "it was replayed by `order: Time` before, and can't go on in another order: --fresh starts anew",
        ))
    }

    /// Whether a post was handed over. `place` is the position behind it; one without a time of its
    /// own is handed over when it is read.
    pub fn has(&self, place: Position, time: Option<Nanos>) -> bool {
        place <= self.read
            && time.is_none_or(|time| self.last.is_some_and(|last| (time, place) <= last))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.posts)
    }
}

impl FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (file, posts) = text.split_once(':').ok_or(())?;
        Ok(Self { file: file.parse().map_err(drop)?, posts: posts.parse().map_err(drop)? })
    }
}

/// `<file>:<posts>` where nothing is held back, else `<oldest>+<read>@<time>/<place>`.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.oldest)?;
        match self.last {
            _ if self.oldest == self.read => Ok(()),
            None => write!(f, "+{}", self.read),
            Some((time, place)) => write!(f, "+{}@{time}/{place}", self.read),
        }
    }
}

impl FromStr for Mark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text)
            .ok_or_else(|| Error::fatal(format!("bad cursor \"{text}\": expected <file>:<posts>")))
    }
}

fn parse(text: &str) -> Option<Mark> {
    let (oldest, rest) = match text.split_once('+') {
        None => return text.parse().ok().map(Mark::all_before),
        Some((oldest, rest)) => (oldest.parse().ok()?, rest),
    };
    let (read, last) = match rest.split_once('@') {
        None => (rest, None),
        Some((read, last)) => {
            let (time, place) = last.split_once('/')?;
            (read, Some((time.parse().ok()?, place.parse().ok()?)))
        }
    };
    Some(Mark { oldest, read: read.parse().ok()?, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        for text in [
            "0000001:20",
            "0000001:20+0000002:3",
            "0000001:20+0000002:3@-1450396800000000000/0000000:7",
        ] {
            assert_eq!(text.parse::<Mark>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "12",
            "1:1",
            "0000001:20+",
            "0000001:20+0000002:3@7",
            "0000001:20+0000002:3@x/0000002:3",
        ] {
            assert!(bad.parse::<Mark>().unwrap_err().chain().contains("bad cursor"), "{bad}");
        }
    }

    #[test]
    fn it_says_of_each_post_whether_it_was_handed_over() {
        let mark: Mark = "0000000:0+0000000:3@50/0000000:2".parse().unwrap();
        let has = |place: &str, time| mark.has(place.parse().unwrap(), time);
        assert!(
            !has("0000000:1", Some(60)) && has("0000000:2", Some(50)) && has("0000000:3", None)
        );
        assert!(!has("0000000:3", Some(50)), "the same time, further on");
        assert!(!has("0000000:4", Some(1)) && !has("0000001:1", None), "not read yet");
    }
}

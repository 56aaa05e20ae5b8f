//! Records the progress of a replay in a partition whose posts are handed over in another order
//! than they are stored.
//!
//! **The invariant.** Of the posts that were read (those before `read`), exactly those are handed
//! over whose key, which is their own time and then their position, is at most `last`. The sorter
//! ensures it: it hands a split's posts over in the order of their keys, and a post whose key is at
//! most `last` when it is read (a late post) is handed over at once, without moving `last`. So
//! three positions tell for each post if it was handed over, however many posts were held back;
//! `oldest` only tells where reading has to begin again.

use std::fmt;
use std::str::FromStr;

use super::Position;
use crate::error::{Error, Result};

/// The own time of a post, in nanoseconds since 1970. A post without one is handed over when it is
/// read.
pub type Nanos = i128;

/// The sort key of a split's posts: their own time, and for equal times their position.
pub type Key = (Nanos, Position);

/// The progress of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position before the oldest post that was read and held back; equals `read` if no post is
    /// held back.
    pub oldest: Position,
    /// The position after the last post that was read.
    pub read: Position,
    /// The largest key that was handed over in order.
    pub last: Option<Key>,
}

impl Mark {
    /// Creates a mark for the case that everything before a position was handed over.
    pub fn all_before(position: Position) -> Self {
        Self { oldest: position, read: position, last: None }
    }

    /// Returns the position at which a replay in the order of partitions continues.
    ///
    /// # Errors
    /// If posts were held back, which only happens in another order.
    pub fn in_order(self) -> Result<Position> {
        if self.oldest == self.read {
            return Ok(self.read);
        }
        Err(Error::fatal(
            "it was replayed with `order: Time` before, and can't go on in another order: start over with --fresh",
        ))
    }

    /// Returns true if a post was handed over. `place` is the position after it; a post without its
    /// own time is handed over when it is read.
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

/// Prints `<file>:<posts>` if no post is held back, else `<oldest>+<read>@<time>/<place>`.
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

//! Replays a lake's posts: in the order in which they are stored, or by their own time.
//!
//! ```text
//! Choice ─▶ Place ─▶ Files ─▶ Feed (folder, or read ahead) ─▶ Stream ─┬────────────▶ Handed
//!   which     where     in order     bytes                      posts └─▶ Merge ───▶ (by Pace)
//! ```

mod ahead;
pub mod choice;
pub mod disorder;
mod feed;
mod known;
pub mod mark;
pub mod merge;
pub mod pace;
pub mod place;
mod print;
mod run;
mod stream;

use super::names::FileNumber;
use crate::error::Result;
use crate::post::Post;

pub use choice::{Choice, PostTimes, Shard};
pub use feed::Wanted;
pub use pace::{Pace, Speed, Tempo};
pub use place::Place;
pub use print::{Printing, bytes_to_print, print, replay, text_bytes};
pub use run::{Event, Order, Replay, Sorting, Split};
pub use stream::{News, OnDamage, Stream};

/// A position in a partition: the number of posts that were read of one of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: FileNumber,
    /// The number of posts that were read of the file.
    pub posts: u64,
}

/// Reads a partition from a position on, and passes its posts to `take` with the position after
/// them, until that returns false. Returns true if the partition was read to its end. If another
/// partition has replaced it, that one is read instead, with positions in terms of the given
/// partition.
///
/// # Errors
/// If a file can't be read, is damaged, or has fewer posts than were read of it before.
pub fn read(
    place: &Place,
    partition: &str,
    from: Option<Position>,
    mut take: impl FnMut(Vec<Post>, Position) -> bool,
) -> Result<bool> {
    let mut stream = Stream::open(place, [Wanted { split: 0, partition: partition.into(), from }])?;
    while let Some(news) = stream.next_news()? {
        if let News::Posts { posts, behind, .. } = news
            && !take(posts, behind)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod forms_tests;

#[cfg(test)]
mod tempo_tests;

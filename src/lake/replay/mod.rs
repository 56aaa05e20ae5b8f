//! A lake's posts, one after the other: as they lie there, or by their own time.
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
use super::partitions::Partition;
use super::reader::FileReader;
use crate::error::{Error, Result};
use crate::post::Post;

pub use choice::{Choice, PostTimes, Shard};
pub use pace::{Pace, Speed, Tempo};
pub use place::Place;
pub use print::{Printing, print, replay};
pub use run::{Event, Order, Replay, Sorting, Split};
pub use stream::OnDamage;

/// How far a partition has been read: so many posts of one of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: FileNumber,
    /// How many of its posts.
    pub posts: u64,
}

/// Reads a partition from a position on, and hands its posts to `take` with the position behind
/// them, until that returns false. Returns whether it was read to the end.
///
/// # Errors
/// If a file can't be read, is damaged, or has fewer posts than were read of it before.
pub fn read(
    partition: &Partition,
    from: Option<Position>,
    mut take: impl FnMut(Vec<Post>, Position) -> bool,
) -> Result<bool> {
    for (name, path) in partition.files()? {
        let file = name.number;
        if from.is_some_and(|from| file < from.file) {
            continue;
        }
        let skip = from.filter(|from| from.file == file).map_or(0, |from| from.posts);
        let mut reader = FileReader::open(path.clone())?;
        let mut read = 0;
        while let Some(mut posts) = reader.next_posts()? {
            let before = usize::try_from(skip.saturating_sub(read)).unwrap_or(usize::MAX).min(posts.len());
            read += posts.len() as u64;
            posts.drain(..before);
            if !posts.is_empty() && !take(posts, Position { file, posts: read }) {
                return Ok(false);
            }
        }
        if read < skip {
            let path = path.display();
            return Err(Error::fatal(format!("\"{path}\" has {read} posts, but {skip} of it were read before")));
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

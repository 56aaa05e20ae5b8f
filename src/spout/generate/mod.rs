//! `Generate`: posts with the shapes of each platform's, made from a seed.
//!
//! All variation is drawn from the seed and the post's number alone, so post *n* has the same bytes
//! in every run, on every machine and under any parallelism. Post *n* belongs to split *n* mod 64;
//! the cursor of a split is the number of its posts that were handed over, even at its end: with a
//! larger `posts` the next run makes the rest. The names of splits contain the seed and the
//! platforms, so that a run with other ones makes other posts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::component::Component;
use crate::epoch::{Cursor, Split};
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::lake::replay::Speed;
use crate::post::Post;
use crate::spout::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use crate::value::{Text, Value};

mod draw;
mod json;
mod languages;
mod pace;
mod platform;
mod posts;
mod shape;
mod text;
mod trend;
mod user;

use pace::Pace;
pub use pace::Rate;
pub use platform::{Platform, Platforms};
pub use posts::Posts;
pub use trend::Burst;
use trend::Planted;

/// Makes synthetic posts with the shape and size of each platform's, in several languages and
/// scripts, with hashtags distributed by Zipf's law and planted bursts of some hashtags. The same
/// seed gives the same posts, byte for byte, whatever the parallelism. The posts' own time begins
/// at 2015-12-18T00:00:00Z and advances with the rate, or by a millisecond per post without a rate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The number of posts to make. Default: endless.
    #[serde(default)]
    pub posts: Option<u64>,
    /// The number of posts to make per second, over all tasks, also as a text such as `"2000/s"` or
    /// `"30/m"`. Default: as fast as they are taken.
    #[serde(default)]
    #[schemars(with = "Option<f64>")]
    pub rate: Option<Rate>,
    /// The factor by which posts are made faster than by their own time, such as 600 for ten
    /// minutes per second, or `Max` for as fast as they are taken. With a `rate` of 20 the posts'
    /// own time advances by 50 ms per post, whatever the speed. Default: 1 with a rate, and `Max`
    /// without one.
    #[serde(default)]
    pub speed: Option<Speed>,
    /// The seed of all random numbers.
    #[serde(default = "one")]
    pub seed: u64,
    /// The platforms whose posts are made, of `X`, `Facebook`, `YouTube`, `Bluesky` and `Mastodon`.
    #[serde(default)]
    #[schemars(with = "Vec<Platform>")]
    pub platforms: Platforms,
}

fn one() -> u64 {
    1
}

impl Component for Generate {
    const NAME: &'static str = "Generate";
    const GUARANTEE: &'static str = "can resume: after a restart it continues from the newest checkpoint with the same posts, each made once";
}

impl Default for Generate {
    fn default() -> Self {
        Self { posts: None, rate: None, speed: None, seed: one(), platforms: Platforms::default() }
    }
}

impl Generate {
    /// Returns the posts of this configuration, by their number.
    pub fn by_number(&self) -> Posts {
        Posts::new(self.seed, self.rate, self.platforms.as_slice())
    }

    /// Returns the post's own time, with the precision of the generator (some platforms drop
    /// fractions of a second).
    pub fn time_of(&self, number: u64) -> OffsetDateTime {
        posts::time_of(number, self.rate).date()
    }

    /// Returns the bursts that are planted in this configuration's posts, in order; endless if the
    /// posts are.
    pub fn bursts(&self) -> impl Iterator<Item = Burst> + use<> {
        let (seed, end) = (self.seed, self.end());
        (0..=Planted::period(end))
            .map(move |period| Planted::new(seed, period))
            .take_while(move |planted| planted.posts.start < end)
            .map(Burst::from)
    }

    /// Returns the number of posts to make per second, or `None` for as many as are taken.
    fn pace(&self) -> Option<Rate> {
        match self.speed {
            None => self.rate,
            Some(Speed::Max) => None,
            Some(Speed::Times(factor)) => {
                Some(self.rate.unwrap_or(Rate::OF_OWN_TIME).times(factor))
            }
        }
    }

    /// Returns the number of posts of one split that are handed over in a row.
    fn posts_in_a_row(&self) -> usize {
        let a_second = f64::from(self.rate.unwrap_or(Rate::OF_OWN_TIME));
        let in_a_row = ROUND_SECONDS_MAX * a_second / SPLITS as f64;
        (in_a_row as usize).clamp(1, POSTS_IN_A_ROW)
    }

    /// The number behind the last post's.
    fn end(&self) -> u64 {
        self.posts.unwrap_or(u64::MAX)
    }
}

/// The number of splits, whatever the parallelism.
const SPLITS: u64 = 64;

impl SpoutConfig for Generate {
    fn splits(&self) -> Result<Vec<String>> {
        let platforms: Vec<_> =
            self.platforms.as_slice().iter().map(|platform| format!("{platform:?}")).collect();
        let source = format!("{} {}", self.seed, platforms.join("+"));
        Ok((0..SPLITS).map(|split| format!("{source}/{split:02}")).collect())
    }

    fn former_split<'a>(&self, split: &'a str) -> Option<&'a str> {
        split.rsplit_once('/').map(|(_, number)| number)
    }

    fn makes_up(&self) -> bool {
        true
    }

    fn tasks_max(&self) -> Option<usize> {
        Some(SPLITS as usize)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        Some(EventTimeOrder { disorder: DISORDER, ..EventTimeOrder::files() })
    }

    fn kinds(&self) -> Option<Vec<String>> {
        Some(self.platforms.as_slice().iter().map(|platform| platform.kind().to_owned()).collect())
    }

    fn build(&self, _context: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(Generator {
            posts: self.by_number(),
            pace: self.pace(),
            in_a_row: self.posts_in_a_row(),
            end: self.end(),
            topics: Arc::from([]),
        }))
    }
}

/// The disorder of a split: its posts come in the order of their times, but some platforms drop
/// fractions of a second.
const DISORDER: Duration = Duration::from_secs(1);

/// The most posts of one split that are handed over in a row. More would cost less, and put the
/// posts of different splits further out of the order of their times.
const POSTS_IN_A_ROW: usize = 16;

/// The bound on how far posts of different splits are out of the order of their times, in seconds of
/// their own time, where they are made faster than that: fewer posts come in a row then. It is far less than a
/// replay of what was captured allows.
const ROUND_SECONDS_MAX: f64 = 10.0;

/// When a buffer of posts is handed over. A larger one costs less, and is held in memory for
/// longer.
const CHUNK_BYTES: usize = 1 << 20;

/// The posts of a split that are still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Share {
    /// Its position among the task's splits.
    split: usize,
    /// The number of its next post.
    next: u64,
}

impl Share {
    /// Returns the remaining posts of a task's splits, according to their cursors.
    fn of_splits(splits: &[Split]) -> Result<Vec<Self>> {
        let share = |(split, Split { id, cursor }): (usize, &Split)| {
            let done = match cursor {
                Cursor::Start => Some(0),
                Cursor::At(done) => done.parse::<u64>().ok(),
                Cursor::End => return None,
            };
            let number = id.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
            let number = number.filter(|number| *number < SPLITS);
            let next = number
                .zip(done)
                .and_then(|(number, done)| done.checked_mul(SPLITS)?.checked_add(number));
            let wrong = || {
                Error::fatal(format!(
                    "expected a split from 00 to 63 and how many of its posts are done, found \"{id}\" and {cursor:?}"
                ))
            };
            Some(next.map(|next| Self { split, next }).ok_or_else(wrong))
        };
        splits.iter().enumerate().filter_map(share).collect()
    }

    /// Advances to the split's next post.
    fn advance(&mut self) {
        self.next = self.next.saturating_add(SPLITS);
    }

    fn cursor(&self) -> Cursor {
        Cursor::At((self.next / SPLITS).to_string())
    }
}

/// Posts in one buffer, with their splits and cursors.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// The end of each post, and its platform.
    ends: Vec<(usize, Platform)>,
    rows: Vec<Row>,
}

/// Posts of one split that are handed over together.
struct Row {
    split: usize,
    posts: usize,
    cursor: Cursor,
}

impl Chunk {
    fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    /// Adds a row of the share's posts, if any are below `due`.
    fn add(&mut self, share: &mut Share, posts: &mut Posts, due: u64, in_a_row: usize) {
        let before = self.ends.len();
        while share.next < due && self.ends.len() < before + in_a_row {
            let platform = posts.write(share.next, &mut self.bytes);
            self.ends.push((self.bytes.len(), platform));
            share.advance();
        }
        let posts = self.ends.len() - before;
        if posts > 0 {
            self.rows.push(Row { split: share.split, posts, cursor: share.cursor() });
        }
    }

    /// Returns an empty chunk with room for as much as this one has.
    fn next(&self) -> Self {
        Self {
            bytes: Vec::with_capacity(self.bytes.len() + self.bytes.len() / 16),
            ..Self::default()
        }
    }
}

struct Generator {
    posts: Posts,
    /// The number of posts that are made per second; `None` for as many as are taken.
    pace: Option<Rate>,
    /// The posts of one split in a row.
    in_a_row: usize,
    /// The number behind the last post's.
    end: u64,
    /// An empty list of topics, which all posts share.
    topics: Arc<[Value]>,
}

#[async_trait(?Send)]
impl Spout for Generator {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        // A later run may be configured for more posts.
        out.stay_open();
        let mut shares = Share::of_splits(out.splits())?;
        let first = shares.iter().map(|share| share.next).min().unwrap_or(0);
        let pace = self.pace.map(|rate| Pace { rate, started: out.clock().monotonic(), first });
        let mut chunk = Chunk::default();
        loop {
            for share in shares.iter().filter(|share| share.next >= self.end) {
                out.end_event_time(share.split);
            }
            shares.retain(|share| share.next < self.end);
            let Some(next) = shares.iter().map(|share| share.next).min() else { return Ok(()) };
            let now = out.clock().monotonic();
            let due = pace.map_or(self.end, |pace| pace.due(now).min(self.end));
            if let Some(pace) = pace.filter(|_| next >= due) {
                out.clock().sleep(pace.until(next, now)).await;
                continue;
            }
            for share in &mut shares {
                chunk.add(share, &mut self.posts, due, self.in_a_row);
                if chunk.is_full() {
                    chunk = self.hand_over(chunk, out).await?;
                }
            }
            chunk = self.hand_over(chunk, out).await?;
        }
    }
}

impl Generator {
    /// Emits the rows of a chunk, and returns the next one.
    async fn hand_over(&self, chunk: Chunk, out: &mut SpoutOutput) -> Result<Chunk> {
        let next = chunk.next();
        let bytes = Bytes::from(chunk.bytes);
        let mut ends = chunk.ends.into_iter();
        let mut start = 0;
        for Row { split, posts, cursor } in chunk.rows {
            for (end, platform) in ends.by_ref().take(posts) {
                let post = Post::trusted(bytes.slice(start..end));
                out.push([
                    Value::Post(post),
                    Value::Text(Text::const_new(platform.kind())),
                    Value::List(self.topics.clone()),
                ]);
                start = end;
            }
            out.emit(split, cursor).await?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod agree_tests;

//! `LocalReplay` and `S3Replay`: sources that replay a lake.

mod lakes;
mod strays;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Spout, SpoutConfig, SpoutContext};
use crate::component::Component;
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::event_time::EventTimeOrder;
use crate::lake::replay::{
    Choice, OnDamage, Order, Place, PostTimes, Replay, Shard, Sorting, Speed, Tempo,
};
use crate::lake::store::retried::Retried;
use crate::lake::store::s3::{self, S3, with_bucket_access};
use crate::moment::Moment;
use crate::units::{ByteSize, Interval};

pub use lakes::{Lake, LakeReplay};
pub use strays::Strays;

/// Adds the fields that configure a replay, after those of a place, and the method `replay_of`. The
/// macro `$with_place` writes the configuration; it may add fields, too.
macro_rules! with_replay_fields {
    (
        $with_place:ident;
        $(#[$about:meta])*
        pub struct $name:ident {
            $($place:tt)*
        }
    ) => {
        $with_place! {
            $(#[$about])*
            pub struct $name {
                $($place)*
                /// The selected partitions: a glob over their names, such as
                /// `2015-12-18T00:00:00-*`.
                #[serde(default = "every")]
                pub partitions: String,
                /// Only partitions that begin at this time or later: `2015-12-18T00:00:00`, in UTC.
                /// The time in a partition's name counts, not that of each post.
                #[serde(default)]
                pub from: Option<Moment>,
                /// Only partitions that begin before this time.
                #[serde(default)]
                pub to: Option<Moment>,
                /// The order of the posts: as they are stored in the partitions, or sorted by their
                /// own time within the limits of `disorder` and `buffer`.
                #[serde(default)]
                pub order: Order,
                /// The maximum time by which a post may come after a newer one. A post that comes
                /// later is handed over at once, and counted.
                #[serde(default = "disorder")]
                pub disorder: Interval,
                /// The number of bytes of posts that a task holds in memory to sort them.
                #[serde(default = "buffer")]
                pub buffer: ByteSize,
                /// `Max` for as fast as posts are taken, or a factor of the original tempo by the
                /// posts' own times, such as `60.0`. With a factor only one task is possible.
                #[serde(default)]
                pub speed: Speed,
                /// With a `speed`: the longest pause before a post that was written much later than
                /// the previous one.
                #[serde(default = "max_pause")]
                pub max_pause: Interval,
                /// Only posts that were written at this time or later, by the time in each post.
                /// Posts without a time are left out.
                #[serde(default)]
                pub posts_from: Option<Moment>,
                /// Only posts that were written before this time.
                #[serde(default)]
                pub posts_to: Option<Moment>,
                /// The share of the partitions, `(i, n)` with i from 0, if several instances replay
                /// one lake.
                #[serde(default)]
                #[schemars(with = "Option<(u32, u32)>")]
                pub shard: Option<Shard>,
                /// The handling of a damaged file: the replay stops, or the rest of the file is
                /// skipped and reported.
                #[serde(default)]
                pub on_damage: OnDamage,
            }
        }

        impl $name {
            fn replay_of(&self, place: Place) -> LakeReplay {
                let choice = Choice {
                    glob: self.partitions.clone(),
                    from: self.from.clone(),
                    to: self.to.clone(),
                    shard: self.shard,
                };
                let sorting = Sorting { disorder: self.disorder.0, buffer: self.buffer.0 };
                let tempo = Tempo { speed: self.speed, max_pause: self.max_pause.0 };
                let times = PostTimes { from: self.posts_from.clone(), to: self.posts_to.clone() };
                let (order, on_damage) = (self.order, self.on_damage);
                let replay = Replay { place, order, sorting, tempo, times, on_damage };
                LakeReplay::of(choice, replay)
            }
        }
    };
}

/// Writes a configuration unchanged.
macro_rules! as_written {
    ($($configuration:tt)*) => {
        $($configuration)*
    };
}

with_replay_fields! {
    as_written;
    /// Replays the posts of a lake in a folder. Several tasks share the partitions.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct LocalReplay {
        /// The folder of the lake.
        #[schemars(extend("format" = "path"))]
        pub root: PathBuf,
    }
}

with_replay_fields! {
    with_bucket_access;
    /// Replays the posts of a lake on S3, and reads several objects ahead. Several tasks share the
    /// partitions.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct S3Replay {
        /// The bucket's name.
        pub bucket: String,
        /// The prefix of all keys, without the `/` after it.
        #[serde(default)]
        pub prefix: String,
    }
}

fn every() -> String {
    "*".into()
}

fn disorder() -> Interval {
    Interval(Sorting::default().disorder)
}

fn max_pause() -> Interval {
    Interval(Tempo::default().max_pause)
}

fn buffer() -> ByteSize {
    ByteSize(Sorting::default().buffer)
}

/// The guarantee for replayed posts.
pub(crate) const GUARANTEE: &str = "resumes after the last post of the checkpoint, so each post is read once, in either order; \
     a damaged file stops it, unless `on_damage: Skip` says otherwise";

impl Component for LocalReplay {
    const NAME: &'static str = "LocalReplay";
    const GUARANTEE: &'static str = GUARANTEE;
}

impl Component for S3Replay {
    const NAME: &'static str = "S3Replay";
    const GUARANTEE: &'static str = GUARANTEE;
}

impl LocalReplay {
    fn lake(&self) -> Result<LakeReplay> {
        let root = std::path::absolute(&self.root).map_err(|cause| {
            Error::fatal(format!("bad root \"{}\"", self.root.display())).because(cause)
        })?;
        Ok(self.replay_of(Place::Folder(root)))
    }
}

impl S3Replay {
    fn lake(&self) -> Result<LakeReplay> {
        let store = s3::open(&S3::from(self))?;
        Ok(self.replay_of(Place::Store(Arc::new(Retried::new(store)))))
    }
}

impl SpoutConfig for LocalReplay {
    fn splits(&self) -> Result<Vec<String>> {
        self.lake()?.splits()
    }

    fn splits_after(&self, cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        self.lake()?.splits_after(cursors)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        Some(EventTimeOrder::replay())
    }

    fn tasks_max(&self) -> Option<usize> {
        lakes::tasks_max(self.speed)
    }

    fn check_online(&self) -> Result<Option<String>> {
        let partitions = self.splits()?.len();
        let s = if partitions == 1 { "" } else { "s" };
        Ok(Some(format!("{partitions} partition{s} to read")))
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        self.lake()?.build(context)
    }
}

impl SpoutConfig for S3Replay {
    fn splits(&self) -> Result<Vec<String>> {
        self.lake()?.splits()
    }

    fn splits_after(&self, cursors: &BTreeMap<String, Cursor>) -> Result<Vec<String>> {
        self.lake()?.splits_after(cursors)
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        Some(EventTimeOrder::replay())
    }

    fn tasks_max(&self) -> Option<usize> {
        lakes::tasks_max(self.speed)
    }

    fn check_online(&self) -> Result<Option<String>> {
        let partitions = self.splits()?.len();
        let s = if partitions == 1 { "" } else { "s" };
        Ok(Some(format!("{partitions} partition{s} to read")))
    }

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        self.lake()?.build(context)
    }
}

#[cfg(test)]
mod tests;

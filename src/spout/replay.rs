//! `LocalReplay` and `S3Replay`: a lake as a source.

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
use crate::lake::store::s3::{self, S3};
use crate::moment::Moment;
use crate::secret::Secret;
use crate::units::{ByteSize, Interval};

pub use lakes::{Lake, LakeReplay};
pub use strays::Strays;

/// Reads the posts of a lake in a folder again. Several tasks share the partitions out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalReplay {
    /// The folder of the lake.
    pub root: PathBuf,
    /// Which partitions: a glob over their names, such as `2015-12-18T00:00:00-*`.
    #[serde(default = "every")]
    pub partitions: String,
    /// Only partitions that begin at this time or later: `2015-12-18T00:00:00`, in UTC. It is the
    /// time in a partition's name that counts, not that of each post.
    #[serde(default)]
    pub from: Option<Moment>,
    /// Only partitions that begin before this time.
    #[serde(default)]
    pub to: Option<Moment>,
    /// As the partitions lie there, or sorted by the posts' own time within `disorder` and
    /// `buffer`.
    #[serde(default)]
    pub order: Order,
    /// How far a post may stand behind a newer one. What comes later is handed over at once, and
    /// counted.
    #[serde(default = "disorder")]
    pub disorder: Interval,
    /// How many bytes of posts a task holds to sort them.
    #[serde(default = "buffer")]
    pub buffer: ByteSize,
    /// As fast as posts are taken, or a factor of the original tempo by the posts' own times, such
    /// as `60.0`; then it can have one task.
    #[serde(default)]
    pub speed: Speed,
    /// With a `speed`: how long a pause is at most, where the next post was written much later.
    #[serde(default = "max_pause")]
    pub max_pause: Interval,
    /// Only posts that were written at this time or later, by the time in each post. One without is
    /// left out.
    #[serde(default)]
    pub posts_from: Option<Moment>,
    /// Only posts that were written before this time.
    #[serde(default)]
    pub posts_to: Option<Moment>,
    /// Which share of the partitions, `(i, n)` with i from 0, where several instances replay one
    /// lake.
    #[serde(default)]
    #[schemars(with = "Option<(u32, u32)>")]
    pub shard: Option<Shard>,
    /// Whether a damaged file stops it, or the rest of that file is passed over and named.
    #[serde(default)]
    pub on_damage: OnDamage,
}

/// Reads the posts of a lake on S3 again, several objects ahead. Several tasks share the partitions
/// out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Replay {
    /// The bucket's name.
    pub bucket: String,
    /// What all keys begin with, without the `/` behind it.
    #[serde(default)]
    pub prefix: String,
    /// The address of a server other than Amazon's, such as `http://127.0.0.1:9000`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region; `us-east-1` if nothing names one.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the bucket stands in the path of a URL, and not in its host name. Without it: for
    /// servers other than Amazon's, and for names with a dot.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// The id of the access key.
    #[serde(default)]
    pub access_key_id: Option<Secret>,
    /// The access key.
    #[serde(default)]
    pub secret_access_key: Option<Secret>,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<Secret>,
    /// Which partitions: a glob over their names, such as `2015-12-18T00:00:00-*`.
    #[serde(default = "every")]
    pub partitions: String,
    /// Only partitions that begin at this time or later: `2015-12-18T00:00:00`, in UTC. It is the
    /// time in a partition's name that counts, not that of each post.
    #[serde(default)]
    pub from: Option<Moment>,
    /// Only partitions that begin before this time.
    #[serde(default)]
    pub to: Option<Moment>,
    /// As the partitions lie there, or sorted by the posts' own time within `disorder` and
    /// `buffer`.
    #[serde(default)]
    pub order: Order,
    /// How far a post may stand behind a newer one. What comes later is handed over at once, and
    /// counted.
    #[serde(default = "disorder")]
    pub disorder: Interval,
    /// How many bytes of posts a task holds to sort them.
    #[serde(default = "buffer")]
    pub buffer: ByteSize,
    /// As fast as posts are taken, or a factor of the original tempo by the posts' own times, such
    /// as `60.0`; then it can have one task.
    #[serde(default)]
    pub speed: Speed,
    /// With a `speed`: how long a pause is at most, where the next post was written much later.
    #[serde(default = "max_pause")]
    pub max_pause: Interval,
    /// Only posts that were written at this time or later, by the time in each post. One without is
    /// left out.
    #[serde(default)]
    pub posts_from: Option<Moment>,
    /// Only posts that were written before this time.
    #[serde(default)]
    pub posts_to: Option<Moment>,
    /// Which share of the partitions, `(i, n)` with i from 0, where several instances replay one
    /// lake.
    #[serde(default)]
    #[schemars(with = "Option<(u32, u32)>")]
    pub shard: Option<Shard>,
    /// Whether a damaged file stops it, or the rest of that file is passed over and named.
    #[serde(default)]
    pub on_damage: OnDamage,
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

/// What becomes of posts that are replayed.
pub(crate) const GUARANTEE: &str = "resumes behind the last post of the checkpoint, so each post is read once, in either order; \
     a damaged file stops it, unless `on_damage: Skip` says otherwise";

impl Component for LocalReplay {
    const NAME: &'static str = "LocalReplay";
    const GUARANTEE: &'static str = GUARANTEE;
}

impl Component for S3Replay {
    const NAME: &'static str = "S3Replay";
    const GUARANTEE: &'static str = GUARANTEE;
}

/// The parts that the two configurations share.
macro_rules! lake_replay {
    ($config:expr, $place:expr) => {{
        let config = $config;
        let choice = Choice {
            glob: config.partitions.clone(),
            from: config.from.clone(),
            to: config.to.clone(),
            shard: config.shard,
        };
        let sorting = Sorting { disorder: config.disorder.0, buffer: config.buffer.0 };
        let tempo = Tempo { speed: config.speed, max_pause: config.max_pause.0 };
        let times = PostTimes { from: config.posts_from.clone(), to: config.posts_to.clone() };
        let (order, on_damage) = (config.order, config.on_damage);
        LakeReplay::of(choice, Replay { place: $place, order, sorting, tempo, times, on_damage })
    }};
}

impl LocalReplay {
    fn lake(&self) -> Result<LakeReplay> {
        let root = std::path::absolute(&self.root).map_err(|cause| {
            Error::fatal(format!("bad root \"{}\"", self.root.display())).because(cause)
        })?;
        Ok(lake_replay!(self, Place::Folder(root)))
    }
}

impl S3Replay {
    fn lake(&self) -> Result<LakeReplay> {
        let s3 = S3 {
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            session_token: self.session_token.clone(),
            ..S3::default()
        };
        Ok(lake_replay!(self, Place::Store(Arc::new(Retried::new(s3::open(&s3)?)))))
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

    fn build(&self, context: &SpoutContext) -> Result<Box<dyn Spout>> {
        self.lake()?.build(context)
    }
}

#[cfg(test)]
mod tests;

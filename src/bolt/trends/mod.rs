//! `Trends`: finds keys that occur far more often than they used to.
//!
//! A tuple is counted in the bucket of its event time. When the watermark passes the end of a
//! bucket, each key that occurred in the bucket is scored against its baseline, and the baseline is
//! then updated from the bucket. Every row depends on closed buckets alone: the order of tuples,
//! the number of tasks and the speed of a replay don't change it.
//!
//! Every task must know the total of all posts, although each has only some of the keys. So the
//! total comes by an input of its own, of which every task gets all tuples (`All`). Since a
//! watermark is the minimum of all inputs, a bucket's total is complete in each task when the
//! bucket closes. Tasks hold the same totals, and task 0 saves them, in the group of state that
//! every task gets back.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bolt::{Bolt, BoltConfig, BoltContext, InputShare, Output};
use crate::component::{Component, Problem};
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::tuple::{Fields, StreamId, Streams, Tuple};
use crate::units::Interval;
use crate::value::{Text, Value};

mod authors;
mod bucket;
pub mod comparison;
mod detector;
mod key;
mod row;
mod score;
mod season;
mod volume;

use bucket::author_of;
use detector::{Detector, KeyPost};
use key::Rules;
use score::Decay;

/// Finds keys (hashtags, terms, domains, mentions) that come far more often than they used to,
/// and says why: a row for each bucket of each trend, once the bucket is over. The rows are the
/// same live and in each replay, at any parallelism, for posts that aren't later than their source
/// allows.
///
/// It takes two inputs: keys (`key_type`, `key`, `post_id`, `author_id`), grouped by
/// `["key_type", "key"]`, and everything that was posted, which every task needs whole:
///
/// `inputs: [Fields("features:keys", ["key_type", "key"]), All("posts")]`
///
/// The second is the stream of posts that `Features` takes, or any other stream without a field
/// `key`. Each of its tuples counts as one post, or as many as its field `count` says (the rows of
/// a `Window` of the same length are cheaper to send to many tasks than the posts). Of the tuples
/// of `Features`, deletions, gaps and counts don't count.
///
/// The expected count of a key is its share of all posts so far (an exponentially weighted mean,
/// and the same hour of the last two weeks, if that is more), times what was posted in this bucket.
/// So ten times as much traffic, a quiet night or an outage make no trend. A trend begins where a
/// count has a z-score of `enter` and a probability of at most `p_value` (Poisson's), with at least
/// `min_count` posts by at least `min_authors` authors; it ends below the z-score `exit`. While it
/// lasts, the baseline stands still, for `freeze` buckets at most: what lasts for longer is the new
/// level.
///
/// Streams: `default` has the rows, for a warehouse's table `trends`, too; `provisional` the same
/// of buckets that aren't over yet, with a field `provisional` behind the others: they change until
/// they are and differ from run to run, and no warehouse takes them; `late` has tuples that came
/// after their bucket was over, or have no time, which are counted and change nothing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trends {
    /// The length of a bucket, from `"1s"` to `"1d"`.
    #[serde(default = "bucket_usual")]
    #[schemars(with = "String")]
    pub bucket: Interval,
    /// The types of keys to look at, such as `["hashtag"]`; an empty list means all types.
    #[serde(default)]
    pub key_types: Vec<String>,
    /// The z-score from which on a key trends.
    #[serde(default = "enter_usual")]
    pub enter: f64,
    /// The z-score below which a trend ends, at most `enter`.
    #[serde(default = "exit_usual")]
    pub exit: f64,
    /// The largest probability, under the baseline, of a count that begins a trend. A smaller value
    /// gives fewer false alarms, whose number grows with the number of keys.
    #[serde(default = "p_value_usual")]
    pub p_value: f64,
    /// The least count in a bucket that a trend begins with.
    #[serde(default = "min_count_usual")]
    pub min_count: NonZeroU32,
    /// The least number of different authors in a bucket that a trend begins with. A post whose
    /// author isn't known counts as one of its own author.
    #[serde(default = "min_authors_usual")]
    pub min_authors: NonZeroU32,
    /// The number of posts of one author that count in a bucket of a key, at most.
    #[serde(default = "per_author_usual")]
    pub per_author: NonZeroU32,
    /// The number of buckets with posts at the beginning in which nothing trends, since nothing is
    /// known yet.
    #[serde(default = "warm_up_usual")]
    pub warm_up: u32,
    /// The number of buckets after which half of a baseline is forgotten. A smaller one follows
    /// faster and is less sure.
    #[serde(default = "half_life_usual")]
    pub half_life: NonZeroU32,
    /// The number of buckets for which the baseline stands still while a key trends.
    #[serde(default = "freeze_usual")]
    pub freeze: u32,
    /// True if the level of the same hour in the last two weeks is expected again. The option costs
    /// 2 KB for each key that had `min_count` posts in a bucket within these weeks.
    #[serde(default = "seasonal_usual")]
    pub seasonal: bool,
    /// The number of keys of which each task keeps the baseline (200 to 400 bytes each). A key that
    /// has faded (less than 0.01 posts expected in a bucket) is forgotten without a loss. Beyond
    /// this bound the sixteenth part that came longest ago is forgotten as well: `forgotten` says
    /// how many; what they had in open buckets is lost, and the rows may depend on the order of
    /// tuples and on the parallelism. `None` is without a bound.
    #[serde(default = "max_keys_usual")]
    pub max_keys: Option<NonZeroU32>,
}

/// A minute: people act within minutes, and shorter buckets count too little to be sure.
fn bucket_usual() -> Interval {
    Interval(std::time::Duration::from_secs(60))
}

/// With 3 a hundred keys a minute would trend by chance; with 10 a burst of five times what is
/// usual would need 100 posts a minute to be seen.
fn enter_usual() -> f64 {
    6.0
}

fn exit_usual() -> f64 {
    3.0
}

/// With a thousand keys that come several times a minute, a larger one lets more than one trend by
/// chance each day; with 1e-6 ten times all traffic made one in the tests, and with 1e-7 a burst of
/// five times what is usual was found 5 s later in the mean. Whoever has ten thousand such keys
/// takes 1e-7.
fn p_value_usual() -> f64 {
    5e-7
}

const fn non_zero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("the number is a constant, and isn't 0")
}

fn min_count_usual() -> NonZeroU32 {
    non_zero(10)
}

fn min_authors_usual() -> NonZeroU32 {
    non_zero(5)
}

fn per_author_usual() -> NonZeroU32 {
    non_zero(3)
}

fn warm_up_usual() -> u32 {
    15
}

fn half_life_usual() -> NonZeroU32 {
    non_zero(60)
}

fn freeze_usual() -> u32 {
    120
}

fn seasonal_usual() -> bool {
    true
}

#[allow(clippy::unnecessary_wraps, reason = "it stands for a field that may be `None`")]
fn max_keys_usual() -> Option<NonZeroU32> {
    Some(non_zero(1_000_000))
}

/// The shortest and the longest bucket. Shorter ones need thousands of posts a second to count
/// anything; longer ones don't show trends.
const BUCKET_MS: std::ops::RangeInclusive<i64> = 1_000..=86_400_000;

/// The streams, in the order of [`Streams`].
const PROVISIONAL: &str = "provisional";
const LATE: &str = "late";

/// The fields that an input of keys must have.
const KEY_FIELDS: [&str; 4] = ["key_type", "key", "post_id", "author_id"];

impl Component for Trends {
    const NAME: &'static str = "Trends";
    const GUARANTEE: &'static str = "counts and baselines are part of every checkpoint: after a \
        restart each post has been counted once, \
         and each bucket of a trend is emitted once; late posts go to the stream `late`";
}

/// One input of the bolt.
enum Input {
    Keys { key_type: usize, key: usize, post: usize, author: usize, platform: Option<usize> },
    Volume { count: Option<usize>, stream: Option<usize>, post: Option<usize> },
}

impl Input {
    fn of(fields: &Fields) -> Result<Self, String> {
        if fields.position("key").is_none() {
            let [count, stream, post] =
                ["count", "stream", "post_id"].map(|name| fields.position(name));
            return Ok(Self::Volume { count, stream, post });
        }
        let position = |name: &str| {
            fields.position(name).ok_or_else(|| {
                format!("expected an input with a field \"key\" to have \"{name}\", found {fields}")
            })
        };
        let [key_type, key, post, author] = KEY_FIELDS;
        Ok(Self::Keys {
            key_type: position(key_type)?,
            key: position(key)?,
            post: position(post)?,
            author: position(author)?,
            platform: fields.position("platform"),
        })
    }
}

impl Trends {
    fn bucket_ms(&self) -> i64 {
        i64::try_from(self.bucket.0.as_millis()).unwrap_or(i64::MAX)
    }

    fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |field: &'static str, what: String| {
            problems.push(Problem { field, what, candidates: None });
        };
        if !BUCKET_MS.contains(&self.bucket_ms()) {
            problem("bucket", format!("expected a bucket from 1s to 1d, found {}", self.bucket));
        }
        if !(self.exit > 0.0 && self.exit.is_finite()) {
            problem("exit", format!("expected a z-score above 0, found {}", self.exit));
        }
        if !(self.enter >= self.exit && self.enter.is_finite()) {
            let (enter, exit) = (self.enter, self.exit);
            problem(
                "enter",
                format!("expected a z-score of at least that of exit, {exit}, found {enter}"),
            );
        }
        if !(self.p_value > 0.0 && self.p_value <= 1.0) {
            problem(
                "p_value",
                format!("expected a probability above 0 and up to 1, found {}", self.p_value),
            );
        }
        let (mut keys, mut volumes) = (0, 0);
        for fields in inputs {
            match Input::of(fields) {
                Ok(Input::Keys { .. }) => keys += 1,
                Ok(Input::Volume { .. }) => volumes += 1,
                Err(what) => problem("bucket", what),
            }
        }
        if keys == 0 && problems.is_empty() {
            problems.push(Problem {
                field: "bucket",
                what: "expected an input of keys, such as \
                       `Fields(\"features:keys\", [\"key_type\", \"key\"])`"
                    .into(),
                candidates: None,
            });
        }
        if volumes == 0 {
            problems.push(Problem {
                field: "bucket",
                what: "expected an input of everything that is posted, such as \
                       `All(\"features\")`: what is expected of a key follows from its share"
                    .into(),
                candidates: None,
            });
        }
        problems
    }

    fn rules(&self) -> Rules {
        Rules {
            bucket_ms: self.bucket_ms(),
            decay: Decay::of_half_life(self.half_life.get().into()),
            enter: self.enter,
            exit: self.exit,
            p_value: self.p_value,
            min_count: self.min_count.get().into(),
            min_authors: self.min_authors.get().into(),
            warm_up: self.warm_up.into(),
            freeze: self.freeze.into(),
            seasonal: self.seasonal,
        }
    }
}

fn streams() -> Streams {
    Streams::default_with(row::fields())
        .and(PROVISIONAL, row::provisional_fields())
        .and(LATE, row::late_fields())
}

impl BoltConfig for Trends {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let problems = self.problems(inputs);
        if problems.is_empty() { Ok(streams()) } else { Err(problems) }
    }

    fn uses_event_time(&self) -> bool {
        true
    }

    fn state_key(&self) -> Option<Vec<String>> {
        Some(KEY_FIELDS[..2].iter().map(|name| (*name).to_owned()).collect())
    }

    fn input_share(&self, input: &Fields) -> InputShare {
        if input.position("key").is_some() { InputShare::ByKey } else { InputShare::Whole }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Detection::new(self, context)?))
    }
}

/// One task of the bolt.
struct Detection {
    task: usize,
    inputs: Vec<Input>,
    key_types: Vec<Text>,
    bucket_ms: i64,
    provisional: StreamId,
    late_stream: StreamId,
    detector: Detector,
    late: u64,
}

impl Detection {
    fn new(config: &Trends, context: &BoltContext) -> Result<Self> {
        let mut inputs = Vec::new();
        for fields in &context.inputs {
            inputs.push(Input::of(fields).map_err(Error::fatal)?);
        }
        let stream = |name: &str| {
            streams().id(name).ok_or_else(|| Error::fatal(format!("no stream \"{name}\"")))
        };
        let keys_max = config.max_keys.map(|max| max.get() as usize);
        Ok(Self {
            task: context.task,
            inputs,
            key_types: config.key_types.iter().map(Text::from).collect(),
            bucket_ms: config.bucket_ms(),
            provisional: stream(PROVISIONAL)?,
            late_stream: stream(LATE)?,
            detector: Detector::new(config.rules(), config.per_author.get(), keys_max),
            late: 0,
        })
    }

    fn count_key(&mut self, tuple: Tuple<'_>, out: &mut Output) {
        let Input::Keys { key_type, key, post, author, platform } = self.inputs[tuple.input] else {
            return;
        };
        let key_type = tuple.value(key_type);
        if !self.key_types.is_empty()
            && !key_type.as_text().is_some_and(|own| self.key_types.iter().any(|one| one == own))
        {
            return;
        }
        let (key, post, author) = (tuple.value(key), tuple.value(post), tuple.value(author));
        let Some(bucket) = self.detector.open_bucket(tuple.time) else {
            return self.refuse_late([key_type, key, post, author], tuple.time, out);
        };
        let platform = platform.map_or(&Value::Null, |at| tuple.value(at));
        let author = author_of(platform, author, post);
        let post = match post {
            Value::Text(id) => id.clone(),
            _ => Text::default(),
        };
        let provisional = self.detector.count(bucket, KeyPost { key_type, key, author, post });
        if let Some(row) = provisional {
            let values = row::values(&row, self.bucket_ms).into_iter();
            out.emit_to(self.provisional, values.chain([Value::Bool(true)]));
        }
    }

    fn count_volume(&mut self, tuple: Tuple<'_>, out: &mut Output) {
        let Input::Volume { count, stream, post } = self.inputs[tuple.input] else { return };
        if let Some(Value::Text(stream)) = stream.map(|at| tuple.value(at))
            && !["default", "edits"].contains(&stream.as_str())
        {
            return;
        }
        let posts = count.map_or(Some(1), |at| tuple.value(at).as_int()).unwrap_or(0);
        match self.detector.open_bucket(tuple.time) {
            Some(bucket) => self.detector.add_posts(bucket, u64::try_from(posts).unwrap_or(0)),
            // Every task gets the tuple, and one of them reports it.
            None if self.task == 0 => {
                let post = post.map_or(&Value::Null, |at| tuple.value(at));
                self.refuse_late([&Value::Null, &Value::Null, post, &Value::Null], tuple.time, out);
            }
            None => {}
        }
    }

    fn refuse_late(
        &mut self,
        [key_type, key, post, author]: [&Value; 4],
        time: EventTime,
        out: &mut Output,
    ) {
        self.late += 1;
        let bucket_start = row::bucket_start(self.detector.bucket_of(time), self.bucket_ms);
        let values = [key_type.clone(), key.clone(), bucket_start, post.clone(), author.clone()];
        out.emit_to(self.late_stream, values);
    }
}

impl Bolt for Detection {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        match self.inputs[tuple.input] {
            Input::Keys { .. } => self.count_key(tuple, out),
            Input::Volume { .. } => self.count_volume(tuple, out),
        }
        Ok(())
    }

    fn watermark(&mut self, time: EventTime, out: &mut Output) -> Result<()> {
        for row in self.detector.advance(time) {
            // The last moment of the bucket, so that the row isn't late for the windows after this
            // bolt.
            let end = row.bucket.saturating_add(1).saturating_mul(self.bucket_ms);
            out.set_time(EventTime::from_unix_millis(end.saturating_sub(1)));
            out.emit(row::values(&row, self.bucket_ms));
        }
        Ok(())
    }

    fn late(&self) -> u64 {
        self.late
    }

    fn snapshot(&mut self) -> Vec<StateChange> {
        self.detector.snapshot(self.task == 0)
    }

    fn state_size(&self) -> Option<StateSize> {
        Some(self.detector.size())
    }

    fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.detector.restore(key, value)
    }
}

#[cfg(test)]
mod tests;

//! The counting and scoring of one task: takes tuples and returns trends, without the data plane.

use std::collections::{BTreeMap, BTreeSet};

use super::bucket::{Counted, Observed};
use super::key::{KeyTrend, Moment, Rules, Trend};
use super::score::Score;
use super::volume::Volume;
use crate::bolt::keyed::KeyedState;
use crate::epoch::{StateChange, StateSize};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::keys::SHARED_GROUP;
use crate::value::{Text, Value};

/// The number of closed buckets with posts between two searches for faded baselines. A smaller
/// number costs time, a larger one memory.
const FADE_EVERY: u64 = 64;

/// The key of the saved totals: no key of the keyed state has this encoding.
const VOLUME_KEY: &[u8] = &[0];

/// A trend in one bucket.
#[derive(Clone, Debug)]
pub(crate) struct TrendRow {
    /// The type of the key, and the key.
    pub key: [Value; 2],
    pub bucket: i64,
    pub observed: Observed,
    pub score: Score,
    pub trend: Trend,
}

/// One post of a key.
pub(crate) struct KeyPost<'a> {
    pub key_type: &'a Value,
    pub key: &'a Value,
    pub author: u64,
    pub post: Text,
}

/// The state of one task.
pub(crate) struct Detector {
    rules: Rules,
    per_author: u32,
    keys: KeyedState<KeyTrend>,
    volume: Volume,
    volume_changed: bool,
    /// The first bucket that isn't closed.
    open: i64,
    /// The slots of the keys that occurred in each open bucket. If a slot's key was forgotten, the
    /// slot may now belong to another key.
    came: BTreeMap<i64, Vec<u32>>,
    /// The slots of the keys that are in a trend.
    trending: BTreeSet<u32>,
    /// True if `came` and `trending` must be rebuilt from a restored state.
    is_restored: bool,
    /// True if all sources have ended and the unfinished buckets are reported.
    has_ended: bool,
}

impl Detector {
    /// Creates a detector without any state.
    pub(crate) fn new(rules: Rules, per_author: u32, keys_max: Option<usize>) -> Self {
        Self {
            rules,
            per_author,
            keys: KeyedState::bounded(keys_max),
            volume: Volume::default(),
            volume_changed: false,
            open: i64::MIN,
            came: BTreeMap::new(),
            trending: BTreeSet::new(),
            is_restored: false,
            has_ended: false,
        }
    }

    /// Returns the bucket of a time, open or not.
    pub(crate) fn bucket_of(&self, time: EventTime) -> i64 {
        time.unix_millis().div_euclid(self.rules.bucket_ms)
    }

    /// Returns the open bucket of a time; `None` if the bucket is closed, or the time is missing.
    pub(crate) fn open_bucket(&self, time: EventTime) -> Option<i64> {
        let bucket = self.bucket_of(time);
        (time != EventTime::UNKNOWN && bucket >= self.open).then_some(bucket)
    }

    fn moment(&self, bucket: i64) -> Moment {
        Moment { bucket, ordinal: self.volume.ordinal(bucket), total: self.volume.total(bucket) }
    }

    /// Builds the indexes over a restored state.
    fn index(&mut self) {
        if !std::mem::take(&mut self.is_restored) {
            return;
        }
        for (slot, _, state) in self.keys.slots() {
            for bucket in state.open.numbers() {
                self.came.entry(bucket).or_default().push(slot);
            }
            if state.trend().is_some() {
                self.trending.insert(slot);
            }
        }
    }

    /// Adds to the number of all posts in an open bucket.
    pub(crate) fn add_posts(&mut self, bucket: i64, posts: u64) {
        self.volume.add(bucket, posts);
        self.volume_changed = true;
    }

    /// Counts a post of a key in an open bucket. Returns a provisional row if the key is due for
    /// scoring and is in a trend so far.
    pub(crate) fn count(&mut self, bucket: i64, post: KeyPost<'_>) -> Option<TrendRow> {
        self.index();
        let key = [post.key_type, post.key].into_iter();
        let (slot, state) = self.keys.get_or_insert_slot(key, KeyTrend::default);
        match state.open.count(bucket, post.author, post.post, self.rules.min_count) {
            Counted::First => self.came.entry(bucket).or_default().push(slot),
            Counted::More => {}
            Counted::Due => return self.look(slot, bucket),
        }
        None
    }

    #[cold]
    fn look(&mut self, slot: u32, bucket: i64) -> Option<TrendRow> {
        let moment = self.moment(bucket);
        let (key, state) = self.keys.slot_mut(slot)?;
        let key = [key[0].clone(), key[1].clone()];
        let observed = state.open.observed(bucket, self.per_author)?;
        let score = state.score(observed.count, moment, &self.rules);
        if !state.trends(&observed, &score, moment, &self.rules) {
            return None;
        }
        let trend = state.trend_with(observed.count, moment);
        Some(TrendRow { key, bucket, observed, score, trend })
    }

    /// Closes the buckets that end at a watermark or before it. Returns their trends, in the order
    /// of buckets and keys. At the end of all sources, the unfinished buckets are reported with
    /// their present counts.
    pub(crate) fn advance(&mut self, time: EventTime) -> Vec<TrendRow> {
        self.index();
        if time == EventTime::END {
            return if std::mem::replace(&mut self.has_ended, true) {
                Vec::new()
            } else {
                self.report_open()
            };
        }
        let mut rows = Vec::new();
        let open = self.bucket_of(time);
        if open > self.open {
            for bucket in self.buckets_before(open) {
                self.close(bucket, &mut rows);
            }
            self.open = open;
            self.volume.forget(open);
        }
        rows
    }

    /// Returns the open buckets before `open` that have posts.
    fn buckets_before(&self, open: i64) -> BTreeSet<i64> {
        let mut found: BTreeSet<i64> = self.came.range(..open).map(|(bucket, _)| *bucket).collect();
        found.extend(self.volume.between(self.open, open));
        found
    }

    /// Returns the trends of the open buckets as if these were over, in the order of buckets and
    /// keys. The buckets stay open: a later run may add posts to them, and then reports them again
    /// as if the first run hadn't ended. A trend that was reported with exactly the same numbers at
    /// the end of an earlier run isn't returned.
    fn report_open(&mut self) -> Vec<TrendRow> {
        let buckets = self.buckets_before(i64::MAX);
        let moments: Vec<Moment> = buckets.into_iter().map(|one| self.moment(one)).collect();
        let came = self.came.values().flatten().chain(&self.trending);
        let mut slots: Vec<u32> = came.copied().collect();
        slots.sort_unstable();
        slots.dedup();
        let mut rows = Vec::new();
        for slot in slots {
            let Some((key, state)) = self.keys.slot(slot) else { continue };
            if state.trend().is_none() && state.open.posts_max() < self.rules.min_count {
                continue;
            }
            let key = [key[0].clone(), key[1].clone()];
            let mut later = state.clone();
            for moment in &moments {
                if let Some(observed) = later.observe(*moment, self.per_author)
                    && let Some((score, trend)) = later.close(&observed, *moment, &self.rules)
                    && let Some((_, state)) = self.keys.slot_mut(slot)
                    && !state.open.tell(moment.bucket, self.volume.posts_until(moment.bucket))
                {
                    let (key, bucket) = (key.clone(), moment.bucket);
                    rows.push(TrendRow { key, bucket, observed, score, trend });
                }
                if self.fades_after(*moment) && later.has_faded(*moment, &self.rules) {
                    later.forget_baseline();
                }
            }
        }
        sort(&mut rows);
        rows
    }

    /// Scores every key that occurred in a bucket, and every key in a trend.
    fn close(&mut self, bucket: i64, rows: &mut Vec<TrendRow>) {
        let moment = self.moment(bucket);
        let posts = self.volume.posts_until(bucket);
        let mut slots = self.came.remove(&bucket).unwrap_or_default();
        slots.extend(&self.trending);
        slots.sort_unstable();
        slots.dedup();
        let first = rows.len();
        for slot in slots {
            self.trending.remove(&slot);
            let Some((key, state)) = self.keys.slot_mut(slot) else { continue };
            // The rows of an earlier run's end aren't returned again.
            let is_told = state.open.is_told(bucket, posts);
            let was_trend = state.trend().is_some();
            let Some(observed) = state.observe(moment, self.per_author) else {
                if was_trend {
                    self.trending.insert(slot);
                }
                continue;
            };
            if let Some((score, trend)) = state.close(&observed, moment, &self.rules) {
                let key = [key[0].clone(), key[1].clone()];
                if !is_told {
                    rows.push(TrendRow { key, bucket, observed, score, trend });
                }
                self.trending.insert(slot);
            }
        }
        sort(&mut rows[first..]);
        if self.fades_after(moment) {
            self.fade(moment);
        }
    }

    /// Returns true if faded keys are forgotten after this bucket.
    fn fades_after(&self, moment: Moment) -> bool {
        // A restored state may have handled this bucket before.
        moment.total > 0
            && moment.ordinal % FADE_EVERY == FADE_EVERY - 1
            && moment.ordinal >= self.volume.faded
    }

    /// Forgets the keys that score like keys that were never seen.
    fn fade(&mut self, moment: Moment) {
        self.volume.faded = moment.ordinal + 1;
        self.volume_changed = true;
        let faded = self.keys.slots().filter(|(_, _, state)| state.has_faded(moment, &self.rules));
        let faded: Vec<u32> = faded.map(|(slot, ..)| slot).collect();
        for slot in faded {
            if self.keys.slot_mut(slot).is_some_and(|(_, state)| state.forget_baseline()) {
                self.keys.remove_slot(slot);
            }
        }
    }

    /// Returns the changes of the state since the last call. One task saves the state that all
    /// tasks share.
    pub(crate) fn snapshot(&mut self, saves_shared: bool) -> Vec<StateChange> {
        let mut changes = self.keys.snapshot();
        if std::mem::take(&mut self.volume_changed) && saves_shared {
            let mut value = Vec::new();
            self.volume.encode(&mut value);
            changes.push(StateChange {
                key_group: SHARED_GROUP,
                key: VOLUME_KEY.to_vec(),
                value: Some(value),
            });
        }
        changes
    }

    /// Returns the size of the keyed state.
    pub(crate) fn size(&self) -> StateSize {
        self.keys.size()
    }

    /// Restores one entry of a snapshot.
    ///
    /// # Errors
    /// If the entry wasn't written by a snapshot.
    pub(crate) fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key == VOLUME_KEY {
            self.volume = Volume::decode(value)
                .ok_or_else(|| Error::fatal("the saved totals of posts are damaged"))?;
            return Ok(());
        }
        self.is_restored = true;
        self.keys.restore(key, value)
    }
}

/// Sorts rows by their buckets and keys.
fn sort(rows: &mut [TrendRow]) {
    rows.sort_by(|a, b| {
        let [a, b] = [a, b].map(|row| (row.bucket, row.key.each_ref().map(Value::as_text)));
        a.cmp(&b)
    });
}

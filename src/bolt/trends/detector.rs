//! The counting and scoring of one task: takes tuples and returns trends, without the data plane.

use std::collections::{BTreeMap, BTreeSet};

use super::bucket::{Observed, OpenBucket};
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
    at_end: AtEnd,
}

/// The keys in open buckets, by bucket and slot.
type Told = BTreeSet<(i64, u32)>;

/// The state that is saved when all sources have ended. Unfinished buckets are reported with their
/// present counts, but saved as open: a later run may add posts to them, and then reports them
/// again as if the first run hadn't ended.
enum AtEnd {
    /// The sources are still open.
    NotYet,
    /// The changes to save with the next checkpoint.
    Unsaved(Vec<StateChange>),
    Saved,
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
            at_end: AtEnd::NotYet,
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
            for bucket in state.open_buckets() {
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
        let Some(open) = state.open_mut(bucket) else {
            state.push_open(OpenBucket::one(bucket, post.author, post.post));
            self.came.entry(bucket).or_default().push(slot);
            return None;
        };
        if open.add(post.author, post.post, self.rules.min_count) {
            return self.look(slot, bucket);
        }
        None
    }

    #[cold]
    fn look(&mut self, slot: u32, bucket: i64) -> Option<TrendRow> {
        let moment = self.moment(bucket);
        let (key, state) = self.keys.slot_mut(slot)?;
        let key = [key[0].clone(), key[1].clone()];
        let observed = state.open_mut(bucket)?.observed(self.per_author);
        let score = state.score(observed.count, moment, &self.rules);
        if !state.trends(&observed, &score, moment, &self.rules) {
            return None;
        }
        let trend = state.trend_with(observed.count, moment);
        Some(TrendRow { key, bucket, observed, score, trend })
    }

    /// Closes the buckets that end at a watermark or before it. Returns their trends, in the order
    /// of buckets and keys. At the end of all sources, all buckets are treated as over, and the
    /// changes up to then are kept for the next [`snapshot`](Self::snapshot).
    pub(crate) fn advance(&mut self, time: EventTime, saves_shared: bool) -> Vec<TrendRow> {
        self.index();
        let mut rows = Vec::new();
        if time == EventTime::END {
            if self.open < i64::MAX {
                let told = self.tell_open();
                self.at_end = AtEnd::Unsaved(self.changes(saves_shared));
                self.close_before(i64::MAX, Some(&told), &mut rows);
            }
            return rows;
        }
        let open = self.bucket_of(time);
        if open > self.open {
            self.close_before(open, None, &mut rows);
        }
        rows
    }

    /// Records for all keys in open buckets that they are reported now. Returns the keys for which
    /// exactly the same was reported at the end of an earlier run.
    fn tell_open(&mut self) -> Told {
        let mut told = Told::new();
        for (bucket, slots) in &self.came {
            let posts = self.volume.posts_until(*bucket);
            for slot in slots {
                let Some((_, state)) = self.keys.slot_mut(*slot) else { continue };
                let Some(open) = state.open_mut(*bucket) else { continue };
                if open.tell(posts) {
                    told.insert((*bucket, *slot));
                }
            }
        }
        told
    }

    /// Closes the buckets before `open`. Results that were reported before make no rows: at the end
    /// of a run these are the keys of `told`, and otherwise the keys whose buckets are marked as
    /// reported.
    fn close_before(&mut self, open: i64, told: Option<&Told>, rows: &mut Vec<TrendRow>) {
        let mut over: BTreeSet<i64> = self.came.range(..open).map(|(bucket, _)| *bucket).collect();
        over.extend(self.volume.between(self.open, open));
        for bucket in over {
            self.close(bucket, told, rows);
        }
        self.open = open;
        self.volume.forget(open);
    }

    /// Scores every key that occurred in a bucket, and every key in a trend.
    fn close(&mut self, bucket: i64, told: Option<&Told>, rows: &mut Vec<TrendRow>) {
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
            let is_told = match told {
                Some(told) => told.contains(&(bucket, slot)),
                None => state.is_told(bucket, posts),
            };
            let observed = match state.take_open(bucket, self.per_author) {
                Some(observed) => observed,
                None if state.trend().is_none() => continue,
                // A restored state may have closed this bucket before.
                None if state.has_closed(moment) => {
                    self.trending.insert(slot);
                    continue;
                }
                None => Observed::NOTHING,
            };
            if let Some((score, trend)) = state.close(&observed, moment, &self.rules) {
                let key = [key[0].clone(), key[1].clone()];
                if !is_told {
                    rows.push(TrendRow { key, bucket, observed, score, trend });
                }
                self.trending.insert(slot);
            }
        }
        rows[first..].sort_by(|a, b| {
            let [a, b] = [a, b].map(|row| row.key.each_ref().map(Value::as_text));
            a.cmp(&b)
        });
        if moment.total > 0 && moment.ordinal % FADE_EVERY == FADE_EVERY - 1 {
            self.fade(moment);
        }
    }

    /// Forgets the keys that score like keys that were never seen.
    fn fade(&mut self, moment: Moment) {
        // A restored state may have handled this bucket before.
        if moment.ordinal < self.volume.faded {
            return;
        }
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
        match std::mem::replace(&mut self.at_end, AtEnd::Saved) {
            AtEnd::NotYet => {
                self.at_end = AtEnd::NotYet;
                self.changes(saves_shared)
            }
            AtEnd::Unsaved(changes) => changes,
            AtEnd::Saved => Vec::new(),
        }
    }

    fn changes(&mut self, saves_shared: bool) -> Vec<StateChange> {
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

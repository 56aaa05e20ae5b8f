//! The number of all posts in each bucket, which is the same in every task.

use std::collections::BTreeMap;

use crate::bolt::bytes::{Reader, Writer};

/// The number of buckets that are kept after they have closed. If a sender is idle, tasks may be at
/// different watermarks in a checkpoint; a task that is further behind would take a bucket's own
/// posts for all posts.
const CLOSED_MAX: usize = 64;

/// The number of all posts in each bucket. Buckets without any post don't count at all, so that an
/// outage changes no baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Volume {
    totals: BTreeMap<i64, u64>,
    /// The number of buckets with posts before those of `totals`.
    forgotten: u64,
    /// The number of posts in them.
    forgotten_posts: u64,
    /// The number of buckets with posts at the last search for faded keys.
    pub faded: u64,
}

impl Volume {
    /// Adds posts to a bucket.
    pub(crate) fn add(&mut self, bucket: i64, posts: u64) {
        if posts > 0 {
            let total = self.totals.entry(bucket).or_insert(0);
            *total = total.saturating_add(posts);
        }
    }

    /// Returns the number of posts in a bucket.
    pub(crate) fn total(&self, bucket: i64) -> u64 {
        self.totals.get(&bucket).copied().unwrap_or(0)
    }

    /// Returns the number of buckets with posts before a bucket.
    pub(crate) fn ordinal(&self, bucket: i64) -> u64 {
        self.forgotten + self.totals.range(..bucket).count() as u64
    }

    /// Returns the number of posts in a bucket and all buckets before it.
    pub(crate) fn posts_until(&self, bucket: i64) -> u64 {
        let known: u64 = self.totals.range(..=bucket).map(|(_, total)| total).sum();
        self.forgotten_posts.saturating_add(known)
    }

    /// The buckets from `from` on and before `to`.
    pub(crate) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let range = if from < to { from..to } else { to..to };
        self.totals.range(range).map(|(bucket, _)| *bucket)
    }

    /// Forgets old closed buckets, which are before `open`.
    pub(crate) fn forget(&mut self, open: i64) {
        let mut closed = self.totals.range(..open).count();
        while closed > CLOSED_MAX {
            let Some((_, posts)) = self.totals.pop_first() else { return };
            self.forgotten_posts = self.forgotten_posts.saturating_add(posts);
            self.forgotten += 1;
            closed -= 1;
        }
    }

    /// Appends the volume to a saved state.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        let mut into = Writer(into);
        into.number(self.forgotten);
        into.number(self.forgotten_posts);
        into.number(self.faded);
        into.number(self.totals.len() as u64);
        for (bucket, total) in &self.totals {
            into.signed(*bucket);
            into.number(*total);
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let (forgotten, forgotten_posts) = (from.number()?, from.number()?);
        let faded = from.number()?;
        let mut totals = BTreeMap::new();
        for _ in 0..from.number()? {
            totals.insert(from.signed()?, from.number()?);
        }
        from.end()?;
        Some(Self { totals, forgotten, forgotten_posts, faded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_numbered_without_those_that_have_no_posts() {
        let mut volume = Volume::default();
        for bucket in [3, 4, 9, 4] {
            volume.add(bucket, 5);
        }
        volume.add(6, 0);
        assert_eq!([3, 4, 9, 10].map(|bucket| volume.ordinal(bucket)), [0, 1, 2, 3]);
        assert_eq!([3, 4, 6].map(|bucket| volume.total(bucket)), [5, 10, 0]);
        assert_eq!(volume.between(4, 9).collect::<Vec<_>>(), [4]);
        assert_eq!(volume.between(9, 4).count(), 0);
    }

    #[test]
    fn numbers_stay_when_old_buckets_are_forgotten_and_saved() {
        let mut volume = Volume::default();
        (0..100).for_each(|bucket| volume.add(bucket, 1));
        volume.forget(90);
        assert_eq!(volume.totals.len(), CLOSED_MAX + 10);
        assert_eq!((volume.ordinal(95), volume.posts_until(95)), (95, 96));
        let mut bytes = Vec::new();
        volume.encode(&mut bytes);
        assert_eq!(Volume::decode(&bytes), Some(volume));
        assert_eq!(Volume::decode(&bytes[1..]), None);
    }
}

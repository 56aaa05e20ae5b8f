//! The counts of one key in one open bucket.

use super::authors::Authors;
use crate::bolt::bytes::{Reader, Writer};
use crate::keys::stable_hash;
use crate::value::{Text, Value};

/// The number of post ids that a trend lists.
const SAMPLES: usize = 3;

/// The counts of one key in its open buckets. Most keys occur once in a bucket: such a key needs no
/// memory beyond this value.
#[derive(Clone, Debug, Default)]
pub(crate) enum OpenBuckets {
    /// No open bucket has the key.
    #[default]
    None,
    /// One bucket has the key, once.
    One { bucket: i64, author: u64, post: Text },
    /// Some buckets have the key.
    Some(Vec<OpenBucket>),
}

/// The counts of one key in one bucket.
#[derive(Clone, Debug)]
pub(crate) struct OpenBucket {
    /// The number of the bucket.
    bucket: i64,
    posts: u64,
    authors: Authors,
    /// The posts with the smallest hashes of their ids, in that order, so that the order of arrival
    /// doesn't matter.
    samples: Vec<Sample>,
    /// The number of posts at which the key is next scored before the bucket closes.
    next_look: u64,
    /// The number of posts of all keys, up to the end of this bucket, when the sources ended and
    /// the unfinished bucket was reported; 0 if the bucket wasn't reported.
    told: u64,
}

/// The id of a post, with its hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    hash: u64,
    post: Text,
}

/// The effect of one more post on a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The post is the key's first one in the bucket.
    First,
    /// The key has another post.
    More,
    /// The key has another post, and so many that it should be scored now.
    Due,
}

/// The numbers of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// The number of posts, of which each author counts for a few at most.
    pub count: u64,
    /// The number of different authors.
    pub authors: u64,
    /// The ids of some posts.
    pub samples: Vec<Text>,
}

impl Observed {
    /// A bucket without the key.
    pub(crate) const NOTHING: Self = Self { count: 0, authors: 0, samples: Vec::new() };
}

fn keep_sample(samples: &mut Vec<Sample>, post: Text) {
    if post.is_empty() {
        return;
    }
    let hash = xxhash_rust::xxh3::xxh3_64(post.as_bytes());
    if samples.len() == SAMPLES && samples[SAMPLES - 1].hash < hash {
        return;
    }
    // For equal hashes, the text decides.
    let sample = Sample { hash, post };
    if let Err(at) = samples.binary_search(&sample)
        && at < SAMPLES
    {
        samples.truncate(SAMPLES - 1);
        samples.reserve_exact(1);
        samples.insert(at, sample);
    }
}

/// Returns the hash of the author's id. A post without a known author counts as having an author of
/// its own.
pub(crate) fn author_of(platform: &Value, author_id: &Value, post_id: &Value) -> u64 {
    match author_id {
        Value::Null => stable_hash([&Value::Bool(false), platform, post_id]),
        author => stable_hash([platform, author]),
    }
}

impl OpenBuckets {
    /// Counts a post of the key in a bucket. A key is due for scoring at `first_look` posts, and
    /// then after each increase by a quarter.
    pub(crate) fn count(
        &mut self,
        bucket: i64,
        author: u64,
        post: Text,
        first_look: u64,
    ) -> Counted {
        if let Self::None = self {
            *self = Self::One { bucket, author, post };
            return Counted::First;
        }
        let buckets = self.list();
        let Some(open) = buckets.iter_mut().find(|open| open.bucket == bucket) else {
            buckets.reserve_exact(1);
            buckets.push(OpenBucket::one(bucket, author, post));
            return Counted::First;
        };
        if open.add(author, post, first_look) { Counted::Due } else { Counted::More }
    }

    /// Returns the buckets as a list, which is made if there is none yet.
    fn list(&mut self) -> &mut Vec<OpenBucket> {
        if let Self::One { bucket, author, post } = self {
            *self = Self::Some(vec![OpenBucket::one(*bucket, *author, std::mem::take(post))]);
        } else if let Self::None = self {
            *self = Self::Some(Vec::new());
        }
        match self {
            Self::Some(buckets) => buckets,
            Self::None | Self::One { .. } => unreachable!("it was replaced by a list"),
        }
    }

    fn listed(&self) -> &[OpenBucket] {
        match self {
            Self::Some(buckets) => buckets,
            Self::None | Self::One { .. } => &[],
        }
    }

    /// Returns true if there is no open bucket.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns the numbers of the buckets.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = i64> {
        let one = if let Self::One { bucket, .. } = self { Some(*bucket) } else { None };
        one.into_iter().chain(self.listed().iter().map(|open| open.bucket))
    }

    /// Returns the largest number of posts in a bucket.
    pub(crate) fn posts_max(&self) -> u64 {
        let one = u64::from(matches!(self, Self::One { .. }));
        self.listed().iter().map(|open| open.posts).max().unwrap_or(one)
    }

    /// Records that an unfinished bucket is reported, with the number of posts of all keys up to
    /// its end. Returns true if it was reported with the same number before, so that nothing can
    /// have changed. A key with one post keeps no record, and is reported again with the same
    /// numbers.
    pub(crate) fn tell(&mut self, bucket: i64, all_posts: u64) -> bool {
        let Self::Some(buckets) = self else { return false };
        let open = buckets.iter_mut().find(|open| open.bucket == bucket && open.posts > 1);
        open.is_some_and(|open| std::mem::replace(&mut open.told, all_posts) == all_posts)
    }

    /// Returns true if the bucket was reported with this number of posts of all keys up to its end.
    pub(crate) fn is_told(&self, bucket: i64, all_posts: u64) -> bool {
        let mut told = self.listed().iter().filter(|open| open.told == all_posts);
        told.any(|open| open.bucket == bucket && open.posts > 1)
    }

    /// Returns the numbers of a bucket so far.
    pub(crate) fn observed(&mut self, bucket: i64, per_author: u32) -> Option<Observed> {
        match self {
            Self::One { bucket: one, author, post } if *one == bucket => {
                Some(OpenBucket::one(bucket, *author, post.clone()).observed(per_author))
            }
            Self::Some(buckets) => {
                let open = buckets.iter_mut().find(|open| open.bucket == bucket)?;
                Some(open.observed(per_author))
            }
            Self::None | Self::One { .. } => None,
        }
    }

    /// Removes a bucket, and returns its numbers.
    pub(crate) fn take(&mut self, bucket: i64, per_author: u32) -> Option<Observed> {
        let observed = self.observed(bucket, per_author)?;
        if let Self::Some(buckets) = self {
            buckets.retain(|open| open.bucket != bucket);
        }
        if self.listed().is_empty() {
            *self = Self::None;
        }
        Some(observed)
    }

    /// Appends the buckets to a saved state.
    pub(crate) fn encode(&self, into: &mut Writer<'_>) {
        if let Self::One { bucket, author, post } = self {
            into.number(1);
            return encode_one(*bucket, *author, post, into);
        }
        into.number(self.listed().len() as u64);
        self.listed().iter().for_each(|open| open.encode(into));
    }

    /// Reads the output of [`encode`](Self::encode).
    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut buckets = Self::None;
        for _ in 0..from.number()? {
            let bucket = from.signed()?;
            let posts = from.number()?;
            if posts == 1 {
                let author = from.hash()?;
                buckets.count(bucket, author, from.text()?.into(), u64::MAX);
            } else {
                buckets.list().push(OpenBucket::decode(bucket, posts, from)?);
            }
        }
        Some(buckets)
    }
}

fn encode_one(bucket: i64, author: u64, post: &str, into: &mut Writer<'_>) {
    into.signed(bucket);
    into.number(1);
    into.hash(author);
    into.text(post);
}

impl OpenBucket {
    /// Creates a bucket with one post.
    fn one(bucket: i64, author: u64, post: Text) -> Self {
        let mut samples = Vec::new();
        keep_sample(&mut samples, post);
        Self { bucket, posts: 1, authors: Authors::one(author), samples, next_look: 0, told: 0 }
    }

    /// Counts a post. Returns true if the key should be scored now.
    fn add(&mut self, author: u64, post: Text, first_look: u64) -> bool {
        if self.posts == 1 {
            self.next_look = first_look;
        }
        self.posts += 1;
        self.authors.add(author);
        keep_sample(&mut self.samples, post);
        let is_due = self.posts >= self.next_look;
        if is_due {
            self.next_look = (self.posts + 1).max(self.posts.saturating_mul(5) / 4);
        }
        is_due
    }

    fn observed(&mut self, per_author: u32) -> Observed {
        let (authors, count) = self.authors.numbers(per_author);
        let samples = self.samples.iter().map(|sample| sample.post.clone()).collect();
        Observed { count, authors, samples }
    }

    fn encode(&self, into: &mut Writer<'_>) {
        if self.posts == 1 {
            let author = self.authors.first().unwrap_or_default();
            let post = self.samples.first().map_or("", |sample| &sample.post);
            return encode_one(self.bucket, author, post, into);
        }
        into.signed(self.bucket);
        into.number(self.posts);
        into.number(self.next_look);
        into.number(self.told);
        into.number(self.samples.len() as u64);
        self.samples.iter().for_each(|sample| into.text(&sample.post));
        self.authors.encode(into);
    }

    fn decode(bucket: i64, posts: u64, from: &mut Reader<'_>) -> Option<Self> {
        let next_look = from.number()?;
        let told = from.number()?;
        let mut samples = Vec::new();
        for _ in 0..from.number()? {
            keep_sample(&mut samples, from.text()?.into());
        }
        let authors = Authors::decode(from)?;
        Some(Self { bucket, posts, authors, samples, next_look, told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(posts: &[u64]) -> OpenBuckets {
        let mut open = OpenBuckets::default();
        for post in posts {
            open.count(7, post % 5, Text::new(format!("post-{post}")), 4);
        }
        open
    }

    #[test]
    fn samples_and_numbers_do_not_depend_on_the_order() {
        let posts: Vec<u64> = (0..50).collect();
        let backward: Vec<u64> = (0..50).rev().collect();
        let observed = counted(&posts).observed(7, 3).unwrap();
        assert_eq!(Some(&observed), counted(&backward).observed(7, 3).as_ref());
        assert_eq!((observed.count, observed.authors, observed.samples.len()), (15, 5, SAMPLES));
        assert_eq!(counted(&[4]).observed(7, 3).unwrap().samples, ["post-4"]);
        assert_eq!(counted(&[4, 4, 4]).observed(7, 3).unwrap().samples, ["post-4"]);
        assert_eq!(counted(&[4]).observed(8, 3), None);
    }

    #[test]
    fn looks_come_more_rarely_the_more_posts_there_are() {
        let mut open = OpenBuckets::default();
        let mut count = |post: &u64| open.count(0, 0, Text::new(post.to_string()), 10);
        assert_eq!(count(&1), Counted::First);
        let looks: Vec<u64> = (2..=100).filter(|post| count(post) == Counted::Due).collect();
        assert_eq!(looks, [10, 12, 15, 18, 22, 27, 33, 41, 51, 63, 78, 97]);
    }

    #[test]
    fn buckets_are_counted_apart_and_taken_one_by_one() {
        let mut open = counted(&[1, 2, 2]);
        assert_eq!(open.count(8, 1, "a".into(), 4), Counted::First);
        assert_eq!(open.count(9, 1, Text::default(), 4), Counted::First);
        assert_eq!(open.numbers().collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(open.posts_max(), 3);
        assert!(!open.tell(7, 50) && open.tell(7, 50) && open.is_told(7, 50));
        assert!(!open.is_told(7, 51) && !open.tell(8, 50) && !open.is_told(8, 50));
        assert_eq!(
            [7, 9, 8, 9].map(|bucket| open.take(bucket, 3).map(|taken| taken.count)),
            [Some(3), Some(1), Some(1), None]
        );
        assert!(open.is_empty());
    }

    #[test]
    fn what_is_saved_reads_back() {
        let mut several = counted(&[1, 2, 3, 4, 5, 6, 7]);
        several.count(8, 1, "a".into(), 4);
        several.count(9, 1, Text::default(), 4);
        for mut open in [counted(&[]), counted(&[1]), counted(&[1, 2]), several] {
            let mut bytes = Vec::new();
            open.encode(&mut Writer(&mut bytes));
            let mut reader = Reader(&bytes);
            let mut read = OpenBuckets::decode(&mut reader).unwrap();
            assert_eq!(reader.end(), Some(()));
            assert!(read.numbers().eq(open.numbers()));
            for bucket in 7..10 {
                assert_eq!(read.observed(bucket, 3), open.observed(bucket, 3));
            }
        }
    }
}

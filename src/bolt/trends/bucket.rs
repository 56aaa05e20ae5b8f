//! The counts of one key in one open bucket.

use super::authors::Authors;
use crate::bolt::bytes::{Reader, Writer};
use crate::keys::stable_hash;
use crate::value::{Text, Value};

/// The number of post ids that a trend lists.
const SAMPLES: usize = 3;

/// The counts of one key in one bucket. Most keys occur once in a bucket.
#[derive(Clone, Debug)]
pub(crate) struct OpenBucket {
    /// The number of the bucket.
    pub bucket: i64,
    posts: Posts,
}

#[derive(Clone, Debug)]
enum Posts {
    One { author: u64, post: Text },
    Many(Box<Many>),
}

#[derive(Clone, Debug)]
struct Many {
    posts: u64,
    authors: Authors,
    /// The posts with the smallest hashes of their ids, in that order, so that the order of arrival
    /// doesn't matter.
    samples: Vec<Text>,
    /// The number of posts at which the key is next scored before the bucket closes.
    next_look: u64,
    /// The number of posts of all keys, up to the end of this bucket, when the sources ended and
    /// the unfinished bucket was reported; 0 if the bucket wasn't reported.
    told: u64,
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

fn place_of_sample(post: &str) -> (u64, &str) {
    // For equal hashes, the text decides.
    (xxhash_rust::xxh3::xxh3_64(post.as_bytes()), post)
}

fn keep_sample(samples: &mut Vec<Text>, post: &Text) {
    if post.is_empty() || samples.contains(post) {
        return;
    }
    let place = place_of_sample(post);
    let at = samples.partition_point(|known| place_of_sample(known) < place);
    if at < SAMPLES {
        samples.truncate(SAMPLES - 1);
        samples.insert(at, post.clone());
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

impl OpenBucket {
    /// Creates a bucket with one post.
    pub(crate) fn one(bucket: i64, author: u64, post: Text) -> Self {
        Self { bucket, posts: Posts::One { author, post } }
    }

    /// Counts a post. Returns the number of posts so far if the key should be scored now: at
    /// `first_look` posts, and then after each increase by a quarter.
    pub(crate) fn add(&mut self, author: u64, post: Text, first_look: u64) -> bool {
        if let Posts::One { author: first, post: sample } = &self.posts {
            let mut samples = Vec::with_capacity(SAMPLES);
            keep_sample(&mut samples, sample);
            let authors = Authors::one(*first);
            let many = Many { posts: 1, authors, samples, next_look: first_look, told: 0 };
            self.posts = Posts::Many(Box::new(many));
        }
        let Posts::Many(many) = &mut self.posts else { return false };
        many.posts += 1;
        many.authors.add(author);
        keep_sample(&mut many.samples, &post);
        let is_due = many.posts >= many.next_look;
        if is_due {
            many.next_look = (many.posts + 1).max(many.posts.saturating_mul(5) / 4);
        }
        is_due
    }

    /// Records that the unfinished bucket is reported, with the number of posts of all keys up to
    /// its end. Returns true if it was reported with the same number before, so that nothing can
    /// have changed. A key with one post keeps no record, and is reported again with the same
    /// numbers.
    pub(crate) fn tell(&mut self, all_posts: u64) -> bool {
        match &mut self.posts {
            Posts::One { .. } => false,
            Posts::Many(many) => std::mem::replace(&mut many.told, all_posts) == all_posts,
        }
    }

    /// Returns true if the bucket was reported with this number of posts of all keys up to its end.
    pub(crate) fn is_told(&self, all_posts: u64) -> bool {
        matches!(&self.posts, Posts::Many(many) if many.told == all_posts)
    }

    /// Returns the numbers so far.
    pub(crate) fn observed(&mut self, per_author: u32) -> Observed {
        match &mut self.posts {
            Posts::One { post, .. } => {
                let mut samples = Vec::new();
                keep_sample(&mut samples, post);
                Observed { count: 1, authors: 1, samples }
            }
            Posts::Many(many) => {
                let (authors, count) = many.authors.numbers(per_author);
                Observed { count, authors, samples: many.samples.clone() }
            }
        }
    }

    /// Appends the bucket to a saved state.
    pub(crate) fn encode(&self, into: &mut Writer<'_>) {
        into.signed(self.bucket);
        match &self.posts {
            Posts::One { author, post } => {
                into.number(1);
                into.hash(*author);
                into.text(post);
            }
            Posts::Many(many) => {
                into.number(many.posts);
                into.number(many.next_look);
                into.number(many.told);
                into.number(many.samples.len() as u64);
                many.samples.iter().for_each(|post| into.text(post));
                many.authors.encode(into);
            }
        }
    }

    /// Reads the output of [`encode`](Self::encode).
    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let bucket = from.signed()?;
        let posts = from.number()?;
        if posts == 1 {
            let author = from.hash()?;
            return Some(Self::one(bucket, author, from.text()?.into()));
        }
        let next_look = from.number()?;
        let told = from.number()?;
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..from.number()? {
            samples.push(from.text()?.into());
        }
        let authors = Authors::decode(from)?;
        let many = Many { posts, authors, samples, next_look, told };
        Some(Self { bucket, posts: Posts::Many(Box::new(many)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(posts: &[u64]) -> OpenBucket {
        let text = |post: &u64| Text::new(format!("post-{post}"));
        let mut bucket = OpenBucket::one(7, posts[0] % 5, text(&posts[0]));
        for post in &posts[1..] {
            bucket.add(post % 5, text(post), 4);
        }
        bucket
    }

    #[test]
    fn samples_and_numbers_do_not_depend_on_the_order() {
        let posts: Vec<u64> = (0..50).collect();
        let backward: Vec<u64> = (0..50).rev().collect();
        let observed = bucket(&posts).observed(3);
        assert_eq!(observed, bucket(&backward).observed(3));
        assert_eq!((observed.count, observed.authors, observed.samples.len()), (15, 5, SAMPLES));
        assert_eq!(bucket(&[4]).observed(3).samples, ["post-4"]);
        assert_eq!(bucket(&[4, 4, 4]).observed(3).samples, ["post-4"]);
    }

    #[test]
    fn looks_come_more_rarely_the_more_posts_there_are() {
        let mut bucket = OpenBucket::one(0, 0, "0".into());
        let is_due = |post: &u64| bucket.add(*post, Text::new(post.to_string()), 10);
        let looks: Vec<u64> = (2..=100).filter(is_due).collect();
        assert_eq!(looks, [10, 12, 15, 18, 22, 27, 33, 41, 51, 63, 78, 97]);
    }

    #[test]
    fn what_is_saved_reads_back() {
        for posts in [&[1][..], &[1, 2], &[1, 2, 3, 4, 5, 6, 7]] {
            let mut bucket = bucket(posts);
            let mut bytes = Vec::new();
            bucket.encode(&mut Writer(&mut bytes));
            let mut reader = Reader(&bytes);
            let mut read = OpenBucket::decode(&mut reader).unwrap();
            assert_eq!(reader.end(), Some(()));
            assert_eq!((read.bucket, read.observed(3)), (7, bucket.observed(3)));
        }
    }
}

//! The hashtags, their frequencies, and the bursts that are planted among them.

use std::ops::Range;
use std::sync::LazyLock;

use super::draw::{Draw, For};
use super::languages::Language;

/// The number of hashtags.
pub(super) const TAGS: u32 = 10_000;

/// The lowest rank of a burst's hashtag: without a burst, a tag of this rank occurs about once in
/// 7,000 posts.
const BURST_RANK_MIN: u32 = 1_000;

/// The number of posts between two periods. A burst begins in the second quarter of its period and
/// ends within the period, so it has quiet times before and after it.
const BURST_PERIOD: u64 = 20_000;

/// A hashtag.
pub(super) struct Tag {
    /// Its text, without `#`.
    pub text: String,
    /// The same text as in the path of a URL.
    pub in_url: String,
}

/// All hashtags by rank.
static VOCABULARY: LazyLock<Vec<Tag>> = LazyLock::new(|| (0..TAGS).map(Tag::new).collect());

/// The sum of the weights up to each rank. The weight of rank *r* is 1 / (*r* + 1): Zipf's law.
static WEIGHTS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let sum = |sum: &mut u64, rank: u32| {
        *sum += (1 << 32) / (u64::from(rank) + 1);
        Some(*sum)
    };
    (0..TAGS).scan(0, sum).collect()
});

impl Tag {
    /// Returns the hashtag of a rank. Its language is the one at that place.
    pub(crate) fn at(rank: u32) -> &'static Self {
        &VOCABULARY[rank as usize]
    }

    /// Makes a hashtag: the first tags of a language are its longer words, the others pairs of
    /// words.
    fn new(rank: u32) -> Self {
        let language = Language::at(rank);
        let words = &language.words[16..];
        let number = Language::earlier(rank) as usize;
        let text = match number.checked_sub(words.len()) {
            None => capitalised(words[number]),
            Some(pair) => {
                let (first, second) = (pair % words.len(), pair / words.len());
                // With an underscore between them, no pair equals another one.
                let between = if second < words.len() { "_" } else { "__" };
                capitalised(words[first]) + between + &capitalised(words[second % words.len()])
            }
        };
        Self { in_url: in_url(&text), text }
    }

    /// Draws a rank by Zipf's law.
    pub(crate) fn draw(draw: &mut Draw) -> u32 {
        let total = WEIGHTS[TAGS as usize - 1];
        let point = ((u128::from(draw.long()) * u128::from(total)) >> 64) as u64;
        WEIGHTS.partition_point(|sum| *sum <= point) as u32
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

fn in_url(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// A planted burst of a hashtag: for a while, one in `one_in` posts has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// The hashtag, without `#`.
    pub tag: String,
    /// The numbers of the posts from its beginning to its end.
    pub posts: Range<u64>,
    /// The frequency in this range: once in this many posts, on average, whatever their platform.
    pub one_in: u32,
}

/// The generator's data on a burst.
#[derive(Clone)]
pub(super) struct Planted {
    pub rank: u32,
    pub posts: Range<u64>,
    pub one_in: u32,
}

impl Planted {
    /// Returns the period that a post belongs to.
    pub(crate) fn period(number: u64) -> u64 {
        number / BURST_PERIOD
    }

    /// Draws the burst of a period.
    pub(crate) fn new(seed: u64, period: u64) -> Self {
        const QUARTER: u32 = BURST_PERIOD as u32 / 4;
        let mut draw = Draw::new(seed, For::Burst(period));
        let start =
            (period * BURST_PERIOD).saturating_add(u64::from(QUARTER + draw.below(QUARTER)));
        let length = QUARTER / 4 + draw.below(QUARTER * 3 / 4);
        Self {
            rank: BURST_RANK_MIN + draw.below(TAGS - BURST_RANK_MIN),
            posts: start..start.saturating_add(length.into()),
            one_in: 4 + draw.below(13),
        }
    }
}

impl From<Planted> for Burst {
    fn from(planted: Planted) -> Self {
        Self {
            tag: Tag::at(planted.rank).text.clone(),
            posts: planted.posts,
            one_in: planted.one_in,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashtags_are_distinct_and_of_several_scripts() {
        let tags: std::collections::HashSet<_> =
            VOCABULARY.iter().map(|tag| tag.text.to_lowercase()).collect();
        assert_eq!(tags.len(), TAGS as usize);
        assert!(VOCABULARY.iter().filter(|tag| !tag.text.is_ascii()).count() > 4_000);
        assert!(
            VOCABULARY
                .iter()
                .all(|tag| tag.in_url.is_ascii() && !tag.text.contains(char::is_whitespace))
        );
    }

    #[test]
    fn a_hashtag_of_rank_r_comes_r_times_more_rarely_than_the_first() {
        let mut times = vec![0_u32; TAGS as usize];
        let mut draw = Draw::new(1, For::Post(0));
        (0..1_000_000).for_each(|_| times[Tag::draw(&mut draw) as usize] += 1);
        // The sum of the weights is 9.79 times the first weight.
        assert!((100_000..104_500).contains(&times[0]), "{}", times[0]);
        for rank in [1_u32, 3, 9, 31, 99] {
            let expected = times[0] / (rank + 1);
            assert!(
                times[rank as usize].abs_diff(expected) < expected / 6 + 10,
                "{rank}: {}",
                times[rank as usize]
            );
        }
        let tail: u32 = times[1_000..].iter().sum();
        assert!((220_000..250_000).contains(&tail), "{tail}");
    }

    #[test]
    fn bursts_lie_in_their_periods_with_calm_around_them() {
        for period in 0..1_000 {
            let Planted { rank, posts, one_in } = Planted::new(1, period);
            let start = period * BURST_PERIOD;
            assert!(
                posts.start >= start + BURST_PERIOD / 4
                    && posts.end <= start + BURST_PERIOD * 3 / 4
            );
            assert!(posts.end - posts.start >= BURST_PERIOD / 16);
            assert!((BURST_RANK_MIN..TAGS).contains(&rank) && (4..=16).contains(&one_in));
        }
    }
}

//! The authors of posts: users whose name, age and followers never change.

use super::draw::{Draw, mix, skewed};
use super::json::{Json, Moment};
use super::languages::{Language, PLACES};

/// The number of users at each place of the languages' pattern; users with low numbers write more.
const USERS_AT_PLACE: u32 = 1 << 15;

/// A user who writes posts. All properties follow from the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    number: u32,
    /// The random bits from which the user's properties are read.
    pub mix: u64,
}

const SYLLABLES: [&str; 32] = [
    "ba", "ko", "mi", "ra", "to", "lu", "ne", "sa", "vi", "do", "ka", "le", "mo", "ri", "ta", "zu",
    "an", "el", "in", "or", "um", "ash", "bel", "cor", "dan", "fen", "gil", "hal", "jun", "kim",
    "lor", "mar",
];

impl User {
    /// Draws a user who writes in the language of a place.
    pub(crate) fn draw(draw: &mut Draw, place: u32) -> Self {
        let number = draw.below(USERS_AT_PLACE) + 1;
        Self::new(draw.below(number) * PLACES + place % PLACES)
    }

    fn new(number: u32) -> Self {
        Self { number, mix: mix(u64::from(number) + 1) }
    }

    /// Returns the user's place in the languages' pattern.
    pub(crate) fn place(self) -> u32 {
        self.number
    }

    /// Returns the language in which the user writes.
    pub(crate) fn language(self) -> &'static Language {
        Language::at(self.number)
    }

    /// Returns the user's numeric id, which is beyond 2^53 and unique.
    pub(crate) fn id(self) -> u64 {
        700_000_000_000_000_000 + (u64::from(self.number) << 22) + (self.mix & 0x3f_ffff)
    }

    /// Writes the name for mentions, which is ASCII and unique.
    pub(crate) fn username(self, into: &mut String) {
        let syllable = |shift: u32| SYLLABLES[(self.mix >> shift & 31) as usize];
        into.push_str(syllable(0));
        into.push_str(syllable(5));
        into.push_str(syllable(10));
        into.push_str(itoa::Buffer::new().format(self.number));
    }

    /// Returns the time at which the user joined: in the years before the first post.
    pub(crate) fn created_at(self) -> Moment {
        Moment(1_450_396_800_000_000).before(86_400 + self.mix % 250_000_000)
    }

    /// Returns the number of the user's followers.
    pub(crate) fn followers(self) -> u64 {
        skewed(self.mix >> 8, 20)
    }

    /// Returns the number of accounts that the user follows.
    pub(crate) fn following(self) -> u64 {
        skewed(self.mix >> 16, 12)
    }

    /// Returns the number of posts that the user has written.
    pub(crate) fn posts(self) -> u64 {
        skewed(self.mix >> 24, 17)
    }

    /// Returns true if the platform has verified the user.
    pub(crate) fn is_verified(self) -> bool {
        self.mix >> 58 == 0
    }

    /// Writes some words that are specific to the user: a display name, or a description.
    pub(crate) fn words(self, json: &mut Json<'_>, count: u32) {
        let language = self.language();
        for i in 0..count {
            if i > 0 {
                json.raw(" ");
            }
            // Frequent words would be the same for many users.
            let others = &language.words[16..];
            json.raw(others[((self.mix >> (i * 5 % 59)) as usize + i as usize) % others.len()]);
        }
    }
}

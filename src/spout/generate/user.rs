//! Who writes the posts: users with a name, an age and a following that stay theirs.

use super::draw::{Draw, mix, skewed};
use super::json::{Json, Moment};
use super::languages::{Language, PLACES};

/// How many users there are at each place of the languages' pattern; low numbers write more.
const USERS_AT_PLACE: u32 = 1 << 15;

/// Somebody who writes posts. All that is known follows from the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    number: u32,
    /// What the user's properties are read from.
    pub mix: u64,
}

const SYLLABLES: [&str; 32] = [
    "ba", "ko", "mi", "ra", "to", "lu", "ne", "sa", "vi", "do", "ka", "le", "mo", "ri", "ta", "zu",
    "an", "el", "in", "or", "um", "ash", "bel", "cor", "dan", "fen", "gil", "hal", "jun", "kim",
    "lor", "mar",
];

impl User {
    /// A user who writes in the language of a place.
    pub fn draw(draw: &mut Draw, place: u32) -> Self {
        let number = draw.below(USERS_AT_PLACE) + 1;
        Self::new(draw.below(number) * PLACES + place % PLACES)
    }

    fn new(number: u32) -> Self {
        Self { number, mix: mix(u64::from(number) + 1) }
    }

    /// The user's place in the languages' pattern.
    pub fn place(self) -> u32 {
        self.number
    }

    /// The language the user writes in.
    pub fn language(self) -> &'static Language {
        Language::at(self.number)
    }

    /// The user's id where ids are numbers: beyond 2^53, distinct.
    pub fn id(self) -> u64 {
        700_000_000_000_000_000 + (u64::from(self.number) << 22) + (self.mix & 0x3f_ffff)
    }

    /// The name for mentions: ASCII, distinct.
    pub fn username(self, into: &mut String) {
        let syllable = |shift: u32| SYLLABLES[(self.mix >> shift & 31) as usize];
        into.push_str(syllable(0));
        into.push_str(syllable(5));
        into.push_str(syllable(10));
        into.push_str(itoa::Buffer::new().format(self.number));
    }

    /// When the user came: in the years before the first post.
    pub fn created_at(self) -> Moment {
        Moment(1_450_396_800_000_000).before(86_400 + self.mix % 250_000_000)
    }

    /// How many follow the user.
    pub fn followers(self) -> u64 {
        skewed(self.mix >> 8, 20)
    }

    /// How many the user follows.
    pub fn following(self) -> u64 {
        skewed(self.mix >> 16, 12)
    }

    /// How much the user has written.
    pub fn posts(self) -> u64 {
        skewed(self.mix >> 24, 17)
    }

    /// Whether this is somebody whom the platform has verified.
    pub fn is_verified(self) -> bool {
        self.mix >> 58 == 0
    }

    /// Some words of the user's own: a display name, or a description.
    pub fn words(self, json: &mut Json<'_>, count: u32) {
        let language = self.language();
        for i in 0..count {
            if i > 0 {
                json.raw(" ");
            }
            // Frequent words say little about anybody.
            let others = &language.words[16..];
            json.raw(others[((self.mix >> (i * 5 % 59)) as usize + i as usize) % others.len()]);
        }
    }
}

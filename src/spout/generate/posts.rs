//! Makes post number *n*: the same bytes for the same seed, independently of the caller and the
//! order.

use super::draw::{Draw, For};
use super::json::{Json, Moment};
use super::pace::Rate;
use super::platform::Platform;
use super::shape;
use super::text::{Span, Text};
use super::trend::{Planted, Tag};
use super::user::User;

/// The time of the first post: 2015-12-18T00:00:00Z.
pub(super) const EPOCH: Moment = Moment(1_450_396_800_000_000);

/// The distance between posts without a rate.
const MICROS_BETWEEN: u64 = 1_000;

/// The number of hashtags in a post, with even probabilities; a burst adds one.
const TAGS_OF_A_POST: [usize; 8] = [0, 0, 0, 0, 1, 1, 2, 3];

/// A generator of posts by their number.
pub struct Posts {
    seed: u64,
    rate: Option<Rate>,
    /// The platforms, each as often as its weight.
    platforms: Vec<Platform>,
    period: u64,
    planted: Planted,
    draft: Draft,
}

/// The common content of all platforms' posts. It is drawn again for each post, and reused to avoid
/// allocations.
pub(super) struct Draft {
    pub number: u64,
    pub at: Moment,
    pub draw: Draw,
    pub author: User,
    pub tags: Vec<u32>,
    pub pieces: Text,
    /// The text without markup, and the positions of the entities in it.
    pub text: String,
    pub spans: Vec<Span>,
    /// A buffer for names and addresses.
    pub scratch: String,
}

/// Returns the time of post `number`.
pub(super) fn time_of(number: u64, rate: Option<Rate>) -> Moment {
    let micros = match rate {
        Some(rate) => rate.micros_of(number),
        None => number.saturating_mul(MICROS_BETWEEN),
    };
    Moment(EPOCH.0.saturating_add(micros))
}

impl Posts {
    pub(super) fn new(seed: u64, rate: Option<Rate>, platforms: &[Platform]) -> Self {
        let weighted = |platform: &Platform| std::iter::repeat_n(*platform, platform.weight());
        let mut draw = Draw::new(seed, For::Post(0));
        Self {
            seed,
            rate,
            platforms: platforms.iter().flat_map(weighted).collect(),
            period: 0,
            planted: Planted::new(seed, 0),
            draft: Draft {
                number: 0,
                at: EPOCH,
                author: User::draw(&mut draw, 0),
                draw,
                tags: Vec::new(),
                pieces: Text::default(),
                text: String::new(),
                spans: Vec::new(),
                scratch: String::new(),
            },
        }
    }

    /// Appends post `number`, and returns its platform.
    pub fn write(&mut self, number: u64, into: &mut Vec<u8>) -> Platform {
        let draft = &mut self.draft;
        draft.number = number;
        draft.at = time_of(number, self.rate);
        draft.draw = Draw::new(self.seed, For::Post(number));
        let platform = *draft.draw.of(&self.platforms);
        self.draw_tags();
        let draft = &mut self.draft;
        // The author writes in the language of the first hashtag.
        let place = draft.tags.first().copied().unwrap_or_else(|| draft.draw.bits());
        draft.author = User::draw(&mut draft.draw, place);
        draft.pieces.draw(&mut draft.draw, draft.author, &draft.tags, platform.bytes_max());
        shape::write(platform, &mut Json(into), draft);
        platform
    }

    fn draw_tags(&mut self) {
        let Draft { number, draw, tags, .. } = &mut self.draft;
        tags.clear();
        if self.period != Planted::period(*number) {
            self.period = Planted::period(*number);
            self.planted = Planted::new(self.seed, self.period);
        }
        if self.planted.posts.contains(number) && draw.one_in(self.planted.one_in) {
            tags.push(self.planted.rank);
        }
        for _ in 0..*draw.of(&TAGS_OF_A_POST) {
            let rank = Tag::draw(draw);
            if !tags.contains(&rank) {
                tags.push(rank);
            }
        }
    }
}

impl Draft {
    /// Writes the text without markup into `text`.
    pub(crate) fn plain(&mut self) {
        self.pieces.plain(&mut self.text, &mut self.spans);
    }
}

//! What goes wrong: one thing at a time as a test says, or by seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::super::random::Random;
use super::place::Place;

/// What is done to one answer, or to a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// An answer with this status and the platform's body for it, such as 503.
    Status(u16),
    /// An answer with this status and body.
    Answer(u16, Value),
    /// One of Facebook's errors by its code and subcode, with the status that it comes with.
    Code(u64, Option<u64>),
    /// 429 (Facebook: code 4; YouTube: `rateLimitExceeded`) until so long from now.
    RateLimited(Duration),
    /// X's other 429: the old connection is still held.
    TooManyConnections,
    /// Today's quota is used up.
    QuotaExceeded,
    /// The answer takes so long to begin.
    Slow(Duration),
    /// The connection ends by RST before there is an answer.
    Refuse,
    /// No bytes for so long, though the connection stays. On a stream also no keep-alive.
    Stall(Duration),
    /// A stream ends in good order between two lines; any other connection ends without an answer.
    Close,
    /// A stream ends by RST between two lines; any other connection as by [`Self::Refuse`].
    Reset,
    /// It ends in the middle of a line or of a body.
    CutLine,
    /// It ends within the bytes of one character.
    CutCharacter,
    /// The next post comes twice.
    Duplicate,
    /// The next post comes after the one that follows it; the posts of a body come in any order.
    Reorder,
    /// A line that says why the stream ends, and its end.
    Disconnect,
    /// A message of a type that no document names.
    Unknown,
    /// A line that is no JSON.
    Garbage,
    /// A body with both `data` and `errors`, status 200.
    Partial,
    /// The next post's bytes come one by one, so long apart.
    Dribble(Duration),
}

impl Fault {
    /// Whether it happens to a stream that stands, rather than to the answer that begins it.
    pub fn is_in_stream(&self) -> bool {
        !matches!(
            self,
            Self::Status(_)
                | Self::Answer(..)
                | Self::Code(..)
                | Self::RateLimited(_)
                | Self::TooManyConnections
                | Self::QuotaExceeded
                | Self::Slow(_)
                | Self::Refuse
        )
    }

    /// Whether it needs something to send.
    pub fn needs_post(&self) -> bool {
        use Fault::*;
        matches!(self, CutLine | CutCharacter | Duplicate | Reorder | Partial | Dribble(_))
    }
}

/// Faults by chance: at every request, and at everything that a stream sends, one in `one_in` is
/// met.
#[derive(Clone, Debug)]
pub struct Weather {
    pub seed: u64,
    pub one_in: u64,
    /// Which, each as often as it stands here.
    pub faults: Vec<Fault>,
    /// Where; everywhere if there are none.
    pub places: Vec<Place>,
}

/// What is to go wrong.
#[derive(Default)]
pub struct Faults {
    queues: BTreeMap<Place, VecDeque<Fault>>,
    weather: Option<(Weather, Random)>,
    /// What did, in order.
    pub met: Vec<(Place, Fault)>,
}

impl Faults {
    pub fn push(&mut self, place: Place, fault: Fault) {
        self.queues.entry(place).or_default().push_back(fault);
    }

    /// How many wait to be met.
    pub fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    pub fn clear(&mut self) {
        self.queues.clear();
        self.weather = None;
    }

    pub fn set_weather(&mut self, weather: Weather) {
        let random = Random(weather.seed);
        self.weather = Some((weather, random));
    }

    /// The next one for a request.
    pub fn for_answer(&mut self, place: Place) -> Option<Fault> {
        self.take(place, |fault| !place.is_stream() || !fault.is_in_stream(), true)
    }

    /// The next one for a stream that has something to send, or has not.
    pub fn for_stream(&mut self, place: Place, has_post: bool) -> Option<Fault> {
        self.take(
            place,
            |fault| fault.is_in_stream() && (has_post || !fault.needs_post()),
            has_post,
        )
    }

    /// By chance only if `draw`: a stream that waits doesn't wait for a fault.
    fn take(&mut self, place: Place, fits: impl Fn(&Fault) -> bool, draw: bool) -> Option<Fault> {
        let queued = self.queues.get_mut(&place).and_then(|queue| {
            let at = queue.iter().position(&fits)?;
            queue.remove(at)
        });
        let fault = match (queued, &mut self.weather) {
            (Some(fault), _) => fault,
            (None, Some((weather, random)))
                if draw && (weather.places.is_empty() || weather.places.contains(&place)) =>
            {
                let hit = random.below(weather.one_in) == 0;
                let fault = &weather.faults[random.below(weather.faults.len() as u64) as usize];
                (hit && fits(fault)).then(|| fault.clone())?
            }
            _ => return None,
        };
        self.met.push((place, fault.clone()));
        Some(fault)
    }
}

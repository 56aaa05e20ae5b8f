//! The faults of a test: one at a time as the test says, or by seed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::super::random::Random;
use super::place::Place;

/// A fault of one answer, or of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// An answer with this status and the platform's body for it, such as 503.
    Status(u16),
    /// An answer with this status and body.
    Answer(u16, Value),
    /// One of Facebook's errors by its code and subcode, with the status that it comes with.
    Code(u64, Option<u64>),
    /// 429 (Facebook: code 4; YouTube: `rateLimitExceeded`) for this time.
    RateLimited(Duration),
    /// X's other 429: X still holds the old connection.
    TooManyConnections,
    /// Today's quota is used up.
    QuotaExceeded,
    /// The answer begins after this time.
    Slow(Duration),
    /// The connection ends by RST before an answer.
    Refuse,
    /// No bytes come for this time, though the connection stays. On a stream no keep-alive comes
    /// either.
    Stall(Duration),
    /// A stream ends properly between two lines; any other connection ends without an answer.
    Close,
    /// A stream ends by RST between two lines; any other connection as by [`Self::Refuse`].
    Reset,
    /// The answer ends in the middle of a line or of a body.
    CutLine,
    /// The answer ends within the bytes of one character.
    CutCharacter,
    /// The next post comes twice.
    Duplicate,
    /// The next post comes after the one that follows it; the posts of a body come in any order.
    Reorder,
    /// A line with the reason for the stream's end comes, and then the end.
    Disconnect,
    /// A message of an undocumented type.
    Unknown,
    /// A line that isn't JSON.
    Garbage,
    /// A body with both `data` and `errors`, status 200.
    Partial,
    /// The next post's bytes come one by one, with this pause between them.
    Dribble(Duration),
}

impl Fault {
    /// Returns true if the fault happens to an open stream, and not to the answer that begins it.
    pub(crate) fn is_in_stream(&self) -> bool {
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

    /// Returns true if the fault needs a post to send.
    pub(crate) fn needs_post(&self) -> bool {
        use Fault::*;
        matches!(self, CutLine | CutCharacter | Duplicate | Reorder | Partial | Dribble(_))
    }
}

/// Faults by chance: one in `one_in` requests, and one in `one_in` things that a stream sends, has
/// a fault.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub seed: u64,
    pub one_in: u64,
    /// The faults, each as probable as it is frequent in this list.
    pub faults: Vec<Fault>,
    /// The endpoints with faults; empty for all endpoints.
    pub places: Vec<Place>,
}

/// The faults that are to happen.
#[derive(Default)]
pub(crate) struct Faults {
    queues: BTreeMap<Place, VecDeque<Fault>>,
    weather: Option<(Weather, Random)>,
    /// The faults that have happened, in order.
    pub met: Vec<(Place, Fault)>,
}

impl Faults {
    pub(crate) fn push(&mut self, place: Place, fault: Fault) {
        self.queues.entry(place).or_default().push_back(fault);
    }

    /// Returns the number of faults that are still to happen.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.queues.clear();
        self.weather = None;
    }

    pub(crate) fn set_weather(&mut self, weather: Weather) {
        let random = Random(weather.seed);
        self.weather = Some((weather, random));
    }

    /// Returns the next fault for a request.
    pub(crate) fn for_answer(&mut self, place: Place) -> Option<Fault> {
        self.take(place, |fault| !place.is_stream() || !fault.is_in_stream(), true)
    }

    /// Returns the next fault for a stream that has a post to send, or none.
    pub(crate) fn for_stream(&mut self, place: Place, has_post: bool) -> Option<Fault> {
        self.take(
            place,
            |fault| fault.is_in_stream() && (has_post || !fault.needs_post()),
            has_post,
        )
    }

    /// Takes the next fault. A fault by chance comes only with `draw`, since a stream without a
    /// post must not wait for one.
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

//! How fast a lake is replayed: as fast as it goes, or at a factor of its original tempo.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::mark::Nanos;

/// `Max`, or a factor of the original tempo.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Speed {
    /// As fast as posts are taken.
    #[default]
    Max,
    /// So many times as fast as the posts were written.
    Times(f64),
}

/// Posts that lie closer together are handed over at once: a shorter sleep costs more wakes.
const STEP: Duration = Duration::from_millis(5);

impl Speed {
    const MIN: f64 = 1e-6;
    const MAX: f64 = 1e9;

    fn times(factor: f64) -> Result<Self, String> {
        if (Self::MIN..=Self::MAX).contains(&factor) {
            return Ok(Self::Times(factor));
        }
        Err(Self::expected(&factor))
    }

    fn expected(found: &dyn fmt::Display) -> String {
        let (min, max) = (Self::MIN, Self::MAX);
        format!(
            "expected Max, or a factor of the original tempo from {min} to {max} such as 60, found {found}"
        )
    }

    /// How far the times of posts may be apart that are handed over at once.
    pub fn span(self) -> Option<Nanos> {
        match self {
            Self::Max => None,
            Self::Times(factor) => Some((STEP.as_nanos() as f64 * factor) as Nanos),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Max" | "max" => Ok(Self::Max),
            other => Self::times(
                other.parse().map_err(|_| Self::expected(&format_args!("\"{other}\"")))?,
            ),
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("Max"),
            Self::Times(factor) => write!(f, "{factor}"),
        }
    }
}

impl Serialize for Speed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Max => serializer.serialize_unit_variant("Speed", 0, "Max"),
            Self::Times(factor) => serializer.serialize_f64(*factor),
        }
    }
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl Visitor<'_> for Read {
    type Value = Speed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`Max` or a factor such as 60.0")
    }

    /// A name that stands alone, which can only be `Max`.
    fn visit_unit<E: Error>(self) -> Result<Speed, E> {
        Ok(Speed::Max)
    }

    fn visit_f64<E: Error>(self, factor: f64) -> Result<Speed, E> {
        Speed::times(factor).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, factor: u64) -> Result<Speed, E> {
        self.visit_f64(factor as f64)
    }

    fn visit_i64<E: Error>(self, factor: i64) -> Result<Speed, E> {
        self.visit_f64(factor as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Speed, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Speed {
    fn schema_name() -> Cow<'static, str> {
        "Speed".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "string", "const": "Max" }, { "type": "number" }] })
    }
}

/// The longest pause where nothing else is said.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How fast a lake is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tempo {
    /// The factor.
    pub speed: Speed,
    /// How long a pause is at most. A longer one makes gaps of the original truer, and costs as
    /// much for each post that bears a wrong time.
    pub max_pause: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self { speed: Speed::Max, max_pause: MAX_PAUSE }
    }
}

/// How many pieces in a row may lie far from the timetable until it is taken to have moved there.
/// Fewer would let a few stray posts move it, and more would hand over so many without a tempo.
const STRAYS_MAX: u32 = 16;

/// The timetable: the first post is due at once, the others at their distance from it. Nothing is
/// added up, so nothing drifts, and who was held up catches up.
///
/// A post that is further ahead than the longest pause waits for that long and moves the timetable,
/// since there may be a gap. If the posts behind it aren't there, it was a stray, and others like
/// it don't wait. A post that lies as far back doesn't wait at all.
#[derive(Debug)]
pub struct Pace {
    tempo: Tempo,
    /// A post's own time, and when by the monotonic clock it was due.
    anchor: Option<(Nanos, Duration)>,
    newest: Nanos,
    /// Where the timetable was before a post moved it that no other has confirmed.
    unconfirmed: Option<Nanos>,
    /// What is that new and far ahead of the timetable is a stray.
    strays_from: Nanos,
    strays: u32,
}

/// How long to wait for a post.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// How long.
    pub wait: Duration,
    /// How long it would have been without a bound, if that cut it.
    pub cut: Option<Duration>,
}

/// Shorter pauses than this aren't worth a message.
const NOTICED: Duration = Duration::from_millis(500);

impl Pause {
    /// Returns true if a person who watches should be told of it: the bound cut it, and it is felt.
    pub fn is_noticed(&self) -> bool {
        self.cut.is_some() && self.wait >= NOTICED
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pauses for {} before the next post", Coarse(self.wait))?;
        match self.cut {
            Some(whole) => write!(f, ", which is due in {} (see max_pause)", Coarse(whole)),
            None => Ok(()),
        }
    }
}

/// A long duration in whole days, hours or seconds.
struct Coarse(Duration);

impl fmt::Display for Coarse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.saturating_add(Duration::from_millis(500)).as_secs() {
            seconds @ ..7_200 => write!(f, "{seconds}s"),
            seconds @ ..172_800 => write!(f, "{}h", seconds / 3_600),
            seconds => write!(f, "{}d", seconds / 86_400),
        }
    }
}

impl Pace {
    /// One that begins with the first post.
    pub fn new(tempo: Tempo) -> Self {
        Self {
            tempo,
            anchor: None,
            newest: Nanos::MIN,
            unconfirmed: None,
            strays_from: Nanos::MAX,
            strays: 0,
        }
    }

    /// How long to wait at `now` for a post that was written at `time`. `anew` says that it is the
    /// first of another partition: if that lies further back, the timetable begins with it again.
    pub fn wait(&mut self, time: Option<Nanos>, anew: bool, now: Duration) -> Pause {
        let (Speed::Times(factor), Some(time)) = (self.tempo.speed, time) else {
            return Pause::default();
        };
        let anchor = self.anchor.filter(|_| !anew || time >= self.newest);
        let Some((first, started)) = anchor else { return self.begin(time, now) };
        let reach = (self.tempo.max_pause.as_nanos() as f64 * factor) as Nanos;
        let ahead = time.saturating_sub(self.newest);
        if ahead > reach {
            return self.far_ahead(time, ahead, factor, now);
        }
        if ahead < -reach {
            return self.far_behind(time, reach, now);
        }
        (self.strays, self.unconfirmed) = (0, None);
        self.newest = self.newest.max(time);
        let due = started.saturating_add(at_speed(time.saturating_sub(first), factor));
        match due.saturating_sub(now).min(self.tempo.max_pause) {
            Duration::ZERO => Pause::default(),
            wait => Pause { wait: wait.max(STEP).min(self.tempo.max_pause), cut: None },
        }
    }

    /// The timetable begins with this post.
    fn begin(&mut self, time: Nanos, now: Duration) -> Pause {
        self.anchor = Some((time, now));
        (self.newest, self.unconfirmed, self.strays) = (time, None, 0);
        Pause::default()
    }

    fn far_ahead(&mut self, time: Nanos, ahead: Nanos, factor: f64, now: Duration) -> Pause {
        if time >= self.strays_from {
            return self.stray(time, now);
        }
        let (first, started) = self.anchor.unwrap_or((time, now));
        let newest_due =
            started.saturating_add(at_speed(self.newest.saturating_sub(first), factor));
        let due = newest_due
            .saturating_add(self.tempo.max_pause)
            .clamp(now, now.saturating_add(self.tempo.max_pause));
        // Of several jumps in a row the timetable is where it was before the first.
        let before = self.unconfirmed.unwrap_or(self.newest);
        self.begin(time, due);
        self.unconfirmed = Some(before);
        Pause { wait: due.saturating_sub(now), cut: Some(at_speed(ahead, factor)) }
    }

    fn far_behind(&mut self, time: Nanos, reach: Nanos, now: Duration) -> Pause {
        match self.unconfirmed {
            // What moved the timetable was a stray: it goes on where it was.
            Some(before) if time.saturating_sub(before).saturating_abs() <= reach => {
                self.strays_from = self.strays_from.min(self.newest);
                self.begin(time, now)
            }
            _ => self.stray(time, now),
        }
    }

    /// A post that nobody waits for; after many in a row the timetable is where they are.
    fn stray(&mut self, time: Nanos, now: Duration) -> Pause {
        self.strays += 1;
        if self.strays >= STRAYS_MAX {
            self.strays_from = Nanos::MAX;
            return self.begin(time, now);
        }
        Pause::default()
    }
}

/// How long a distance of posts is at a factor of the tempo; nothing where it lies back.
fn at_speed(distance: Nanos, factor: f64) -> Duration {
    Duration::try_from_secs_f64(distance.max(0) as f64 / factor / 1e9).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;

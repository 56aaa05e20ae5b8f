//! Paces a replay: at full speed, or at a factor of its original tempo.

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
    /// This many times as fast as the posts were written.
    Times(f64),
}

/// Posts that are closer together are handed over at once: a shorter sleep would cost more
/// wake-ups.
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

    /// Returns the maximum difference between the times of posts that are handed over at once.
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

    /// Parses a name without quotes, which can only be `Max`.
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

/// The default of the longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The tempo of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tempo {
    /// The factor.
    pub speed: Speed,
    /// The longest pause. A longer one reproduces gaps of the original more exactly, but a post
    /// with a wrong time costs up to that much, too.
    pub max_pause: Duration,
}

impl Default for Tempo {
    fn default() -> Self {
        Self { speed: Speed::Max, max_pause: MAX_PAUSE }
    }
}

/// The number of consecutive pieces far from the timetable after which the timetable moves there.
/// With a smaller number a few stray posts could move it; with a larger one more posts would be
/// handed over without a tempo.
const STRAYS_MAX: u32 = 16;

/// The timetable: the first post is due at once, the others at their distance from it. Waiting
/// times aren't added up, so the timetable doesn't drift, and a delayed replay catches up.
///
/// A post that is further ahead than the longest pause waits for that pause and moves the
/// timetable, since there may be a gap. If the next posts aren't at its time, it was a stray post,
/// and others like it don't wait. A post that lies as far back doesn't wait at all.
#[derive(Debug)]
pub struct Pace {
    tempo: Tempo,
    /// A post's own time, and the time on the monotonic clock at which it was due.
    anchor: Option<(Nanos, Duration)>,
    newest: Nanos,
    /// The newest time before a post moved the timetable, until another post confirms the move.
    unconfirmed: Option<Nanos>,
    /// Posts from this time on are stray if they are far ahead of the timetable.
    strays_from: Nanos,
    strays: u32,
}

/// The pause before a post.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// The length of the pause.
    pub wait: Duration,
    /// The length without the bound, if the bound shortened it.
    pub cut: Option<Duration>,
}

/// The shortest pause that is worth a message.
const NOTICED: Duration = Duration::from_millis(500);

impl Pause {
    /// Returns true if the user should be told about the pause: the bound shortened it, and it is
    /// long enough to be noticed.
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

/// A long duration, printed in whole days, hours or seconds.
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
    /// Creates a timetable that begins with the first post.
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

    /// Returns the pause at `now` before a post that was written at `time`. `anew` is true for the
    /// first post of another partition: if that is older, the timetable begins again with it.
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

    /// Begins the timetable with this post.
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
        // After several jumps in a row, the timetable before the first of them counts.
        let before = self.unconfirmed.unwrap_or(self.newest);
        self.begin(time, due);
        self.unconfirmed = Some(before);
        Pause { wait: due.saturating_sub(now), cut: Some(at_speed(ahead, factor)) }
    }

    fn far_behind(&mut self, time: Nanos, reach: Nanos, now: Duration) -> Pause {
        match self.unconfirmed {
            // The post that moved the timetable was a stray one: the timetable returns to its time
            // before that.
            Some(before) if time.saturating_sub(before).saturating_abs() <= reach => {
                self.strays_from = self.strays_from.min(self.newest);
                self.begin(time, now)
            }
            _ => self.stray(time, now),
        }
    }

    /// Handles a stray post, which doesn't wait. After many in a row, the timetable moves to their
    /// time.
    fn stray(&mut self, time: Nanos, now: Duration) -> Pause {
        self.strays += 1;
        if self.strays >= STRAYS_MAX {
            self.strays_from = Nanos::MAX;
            return self.begin(time, now);
        }
        Pause::default()
    }
}

/// Returns the time that a distance between posts takes at a factor of the tempo; zero for a
/// negative distance.
fn at_speed(distance: Nanos, factor: f64) -> Duration {
    Duration::try_from_secs_f64(distance.max(0) as f64 / factor / 1e9).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;

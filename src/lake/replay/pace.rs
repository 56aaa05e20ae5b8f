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
        Err(format!("expected Max or a factor from {} to {}, found {factor}", Self::MIN, Self::MAX))
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
            other => Self::times(other.parse().map_err(|_| format!("expected Max or a factor, found \"{other}\""))?),
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

/// The timetable: the first post is due at once, the others at their distance from it. Nothing is added
/// up, so nothing drifts, and who was held up catches up.
#[derive(Debug)]
pub struct Pace {
    speed: Speed,
    /// A post's own time, and when by the monotonic clock it was due.
    anchor: Option<(Nanos, Duration)>,
    newest: Nanos,
}

impl Pace {
    /// One that begins with the first post.
    pub fn new(speed: Speed) -> Self {
        Self { speed, anchor: None, newest: Nanos::MIN }
    }

    /// How long to wait at `now` for a post that was written at `time`. `anew` says that it is the first
    /// of another partition: if that lies further back, the timetable begins with it again.
    pub fn wait(&mut self, time: Option<Nanos>, anew: bool, now: Duration) -> Duration {
        let (Speed::Times(factor), Some(time)) = (self.speed, time) else { return Duration::ZERO };
        if anew && time < self.newest {
            self.anchor = None;
            self.newest = time;
        }
        self.newest = self.newest.max(time);
        let (first, started) = *self.anchor.get_or_insert((time, now));
        let after = time.saturating_sub(first).max(0) as f64 / factor / 1e9;
        let due = started.saturating_add(Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX));
        match due.saturating_sub(now) {
            Duration::ZERO => Duration::ZERO,
            wait => wait.max(STEP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn posts_are_due_at_their_distance_from_the_first() {
        let mut pace = Pace::new(Speed::Times(60.0));
        assert_eq!(pace.wait(Some(1000 * SECOND), true, at(7)), at(0));
        assert_eq!(pace.wait(Some(1120 * SECOND), false, at(7)), at(2));
        assert_eq!(pace.wait(Some(1120 * SECOND), false, at(8)), at(1));
        assert_eq!(pace.wait(Some(1120 * SECOND), false, at(30)), at(0), "who was held up catches up");
        assert_eq!(
            pace.wait(Some(3000 * SECOND), false, at(30)),
            at(7 + 33) - at(30) + Duration::from_nanos(333_333_333)
        );
        assert_eq!(pace.wait(None, false, at(30)), at(0));
        assert_eq!(pace.wait(Some(500 * SECOND), false, at(30)), at(0), "what is late doesn't wait");
        assert_eq!(Pace::new(Speed::Max).wait(Some(9), true, at(0)), at(0));
    }

    #[test]
    fn a_partition_further_back_begins_the_timetable_anew() {
        let mut pace = Pace::new(Speed::Times(1.0));
        assert_eq!(pace.wait(Some(100 * SECOND), true, at(0)), at(0));
        assert_eq!(pace.wait(Some(110 * SECOND), false, at(10)), at(0));
        assert_eq!(pace.wait(Some(120 * SECOND), true, at(10)), at(10), "the next hour is waited for");
        assert_eq!(pace.wait(Some(90 * SECOND), true, at(20)), at(0));
        assert_eq!(pace.wait(Some(95 * SECOND), false, at(20)), at(5));
    }

    #[test]
    fn a_speed_is_max_or_a_factor() {
        let read = |text: &str| crate::registry::ron_options().from_str::<Speed>(text);
        assert_eq!(read("Max").unwrap(), Speed::Max);
        assert_eq!(read("60.0").unwrap(), Speed::Times(60.0));
        assert_eq!(read("2").unwrap(), Speed::Times(2.0));
        for bad in ["0.0", "-1", "\"fast\"", "1e99"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert!("NaN".parse::<Speed>().is_err());
    }
}

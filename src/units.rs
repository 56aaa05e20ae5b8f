//! Durations and sizes in the notation of topology files: `"1s"`, `"32MiB"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

/// A duration with its unit: a whole number and `ms`, `s`, `m`, `h` or `d`, at most
/// [`Interval::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);

/// A size in bytes with its unit: a whole number and `B`, `KB`, `MB`, `GB` (powers of 1,000) or
/// `KiB`, `MiB`, `GiB`, `TiB` (powers of 1,024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl Interval {
    /// The longest duration that is accepted: a hundred years. No current time overflows when it is
    /// added or subtracted, nor does a small multiple of it; a larger bound would have no practical
    /// use.
    pub const MAX: Self = Self(Duration::from_millis(100 * 366 * 86_400_000));
}

const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
    ("TB", 1_000_000_000_000),
];

/// Splits `"10MiB"` into 10 and the factor of `MiB`, and multiplies them.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Prints with the largest unit that divides the number, so that the printed text is parsed as the
/// same number.
fn print(number: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    let (name, factor) = units.iter().find(fits).unwrap_or(&units[units.len() - 1]);
    format!("{}{name}", number / factor)
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit_ms = TIME_UNITS.iter().find(|(name, _)| *name == unit.trim_start());
        let Some((_, unit_ms)) = unit_ms.filter(|_| !number.is_empty()) else {
            return Err(format!(
                "bad duration \"{text}\": expected a whole number and ms, s, m, h or d, such as \
                 \"90s\""
            ));
        };
        // A number that doesn't fit into the type is too long as well.
        let ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*unit_ms));
        match ms.map(Duration::from_millis) {
            Some(duration) if duration <= Self::MAX.0 => Ok(Self(duration)),
            _ => {
                Err(format!("bad duration \"{text}\": expected at most {} (100 years)", Self::MAX))
            }
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS))
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, &SIZE_UNITS).map(Self).ok_or_else(|| {
            format!(
                "bad size \"{text}\": expected a whole number and B, KB, MB, GB, KiB, MiB, GiB or \
                 TiB, such as \"32MiB\""
            )
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self.0, &SIZE_UNITS[..8]))
    }
}

/// Both types are text in files: serde and the schema use `FromStr` and `Display`.
macro_rules! as_text {
    ($type:ident, $what:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $what.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $what })
            }
        }
    };
}

as_text!(Interval, "duration");
as_text!(ByteSize, "size");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in ["1ms", "90s", "2m", "36h", "7d", "0ms"] {
            assert_eq!(
                text.parse::<Interval>().unwrap().to_string().parse(),
                text.parse::<Interval>()
            );
        }
        for text in ["1B", "1000B", "32MiB", "10GiB", "5GB", "0B"] {
            assert_eq!(
                text.parse::<ByteSize>().unwrap().to_string().parse(),
                text.parse::<ByteSize>()
            );
        }
        assert_eq!("256MiB".parse::<ByteSize>().unwrap().to_string(), "256MiB");
        assert_eq!("90s".parse::<Interval>().unwrap().to_string(), "90s");
    }

    #[test]
    fn a_unit_is_needed_and_nothing_overflows() {
        for text in [
            "",
            "s",
            "10",
            "1.5s",
            "-1s",
            "1S",
            "1 fortnight",
            "99999999999999999999s",
            "18446744073709551615d",
            "36601d",
            "18446744073709551615ms",
        ] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
        for text in ["", "MiB", "10", "1mb", "-1B", "18446744073709551615TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_is_a_hundred_years_at_most() {
        assert_eq!("36600d".parse(), Ok(Interval::MAX));
        for text in [
            "36601d",
            "9999999d",
            "99999999999999999999s",
            "18446744073709551615ms",
            "18446744073709551615d",
        ] {
            let error = text.parse::<Interval>().unwrap_err();
            assert!(error.ends_with("expected at most 36600d (100 years)"), "{error}");
        }
    }
}

//! A time as users write it: a date, or a duration before now.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::earlier;
use crate::units::Interval;

/// A time as users write it: `2015-12-18T01:00:00Z`, the same form as in a partition's name
/// (without the `Z`), or `2015-12-18`, in UTC; on the command line also `-1h`, an hour before now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment {
    time: OffsetDateTime,
    text: String,
    /// The relative form, if the user wrote one.
    relative: Option<String>,
}

impl Moment {
    /// Parses a time that may be relative. A relative one is resolved now: its text is that of the
    /// resulting time.
    ///
    /// # Errors
    /// If the text is neither a time nor a duration with a minus sign.
    pub fn parse(text: &str, now: OffsetDateTime) -> Result<Self, String> {
        let Some(ago) = text.strip_prefix('-') else {
            let expected =
                "a time like 2015-12-18T01:00:00Z or 2015-12-18, or one before now like -1h";
            return absolute(text).ok_or_else(|| format!("expected {expected}, found \"{text}\""));
        };
        let Interval(ago) =
            ago.parse().map_err(|problem| format!("a time before now, such as -1h: {problem}"))?;
        let time = earlier(now, ago).to_offset(time::UtcOffset::UTC);
        let time = time.replace_nanosecond(0).unwrap_or(time);
        let text =
            time.format(&Rfc3339).map_err(|_| format!("\"{text}\" lies before the year 0"))?;
        Ok(Self { time, text, relative: Some(format!("-{}", Interval(ago))) })
    }

    /// Returns the relative form that the user wrote, such as `-1h`, if any.
    pub fn relative(&self) -> Option<&str> {
        self.relative.as_deref()
    }

    /// Returns the time.
    pub fn time(&self) -> OffsetDateTime {
        self.time
    }
}

fn absolute(text: &str) -> Option<Moment> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339);
    let time = parse(text)
        .or_else(|_| parse(&format!("{text}Z")))
        .or_else(|_| parse(&format!("{text}T00:00:00Z")));
    Some(Moment { time: time.ok()?, text: text.into(), relative: None })
}

/// Parses an absolute time only: in a file, a relative one would change at each restart.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        absolute(text).ok_or_else(|| {
            let why = match text.starts_with('-') {
                true => {
                    ": a time before now is for the command line only, since it would change at \
                     each restart"
                }
                false => "",
            };
            format!(
                "expected a time like 2015-12-18T01:00:00Z or 2015-12-18, found \"{text}\"{why}"
            )
        })
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.text
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "time" })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-26 12:00:00.5 UTC);

    #[test]
    fn a_moment_may_be_short() {
        for text in [
            "2015-12-18",
            "2015-12-18T00:00:00",
            "2015-12-18T00:00:00Z",
            "2015-12-18T01:00:00+01:00",
        ] {
            let moment = Moment::parse(text, NOW).unwrap();
            assert_eq!(
                (moment.time(), moment.to_string().as_str()),
                (datetime!(2015-12-18 00:00:00 UTC), text)
            );
            assert_eq!(text.parse(), Ok(moment));
        }
    }

    #[test]
    fn a_moment_before_now_is_fixed_when_it_is_read() {
        let parse = |text: &str| Moment::parse(text, NOW).map(|moment| moment.to_string());
        assert_eq!(parse("-1h").unwrap(), "2026-11-26T11:00:00Z");
        assert_eq!(parse("-90s").unwrap(), "2026-11-26T11:58:30Z");
        assert_eq!(parse("-0s").unwrap(), "2026-11-26T12:00:00Z");
        assert_eq!(parse("-36600d").unwrap(), "1926-09-12T12:00:00Z");
        for bad in ["-", "-1", "-h", "--1h", "-1y", "-9999999d", "1h", "soon", "", "2015-13-01"] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains("such as -1h") || error.contains("like -1h"), "{error}");
        }
        assert!("-1h".parse::<Moment>().unwrap_err().contains("is for the command line"));
        assert!(Moment::parse("-36600d", datetime!(0050-01-01 00:00 UTC)).is_err());
    }
}

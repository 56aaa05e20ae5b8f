//! The rate of requests: `"30/m"`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use crate::units::Interval;

/// The largest number of requests in a rate. Each costs eight bytes, and no endpoint allows more.
const REQUESTS_MAX: u32 = 100_000;

/// A number of requests in any period of the given length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub requests: u32,
    /// Above 0.
    pub per: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "bad rate \"{text}\": expected a whole number from 1 to {REQUESTS_MAX} and a time, \
                 such as \"1/s\", \"30/m\" or \"5/2s\""
            )
        };
        let (requests, per) = text.split_once('/').ok_or_else(bad)?;
        let requests = requests.trim().parse().map_err(|_| bad())?;
        let per = per.trim();
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
            per.parse::<Interval>()
        } else {
            format!("1{per}").parse()
        };
        let per = per.map_err(|_| bad())?.0;
        if requests == 0 || requests > REQUESTS_MAX || per.is_zero() {
            return Err(bad());
        }
        Ok(Self { requests, per })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = Interval(self.per).to_string();
        let unit =
            per.strip_prefix('1').filter(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()));
        write!(f, "{}/{}", self.requests, unit.unwrap_or(&per))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "rate" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        let check = |text: &str, requests, per, printed: &str| {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate, Rate { requests, per: Duration::from_millis(per) }, "{text}");
            assert_eq!(rate.to_string(), printed);
        };
        check("1/s", 1, 1_000, "1/s");
        check("30/m", 30, 60_000, "30/m");
        check("5/2s", 5, 2_000, "5/2s");
        check(" 7 / 10s ", 7, 10_000, "7/10s");
        check("100000/d", 100_000, 86_400_000, "100000/d");
        for bad in ["", "1", "/s", "0/s", "1/", "1/0s", "-1/s", "1.5/s", "1/fortnight", "100001/s"]
        {
            let error = bad.parse::<Rate>().unwrap_err();
            assert!(error.starts_with(&format!("bad rate \"{bad}\"")), "{error}");
        }
    }
}

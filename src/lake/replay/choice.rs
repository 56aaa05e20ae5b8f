//! Selects the partitions that are replayed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use crate::lake::names::PartitionName;
use crate::moment::Moment;

/// One of several instances that share a lake's partitions: `(i, n)`, i from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Returns true if a partition belongs to this instance. The hash is the same in every version
    /// and on every machine.
    pub fn has(self, partition: &str) -> bool {
        xxh3_64(partition.as_bytes()) % u64::from(self.of) == u64::from(self.number)
    }
}

impl TryFrom<(u32, u32)> for Shard {
    type Error = String;

    fn try_from((number, of): (u32, u32)) -> Result<Self, String> {
        if number < of {
            return Ok(Self { number, of });
        }
        Err(format!(
            "expected (i, n) with i from 0 to n - 1, such as (0, 2) and (1, 2), found ({number}, {of})"
        ))
    }
}

impl From<Shard> for (u32, u32) {
    fn from(Shard { number, of }: Shard) -> Self {
        (number, of)
    }
}

impl FromStr for Shard {
    type Err = String;

    /// Parses `0/2`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (number, of) = text.split_once('/')?;
            Self::try_from((number.trim().parse().ok()?, of.trim().parse().ok()?)).ok()
        };
        parse().ok_or_else(|| {
            format!("expected I/N with I from 0 to N - 1, such as 0/2 and 1/2 for two halves, found \"{text}\"")
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// A range of posts' own times. A post without its own time is in no range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PostTimes {
    /// Only posts that were written at this time or later.
    pub from: Option<Moment>,
    /// Only posts that were written before this time.
    pub to: Option<Moment>,
}

impl PostTimes {
    /// Returns true if the range selects every post.
    pub fn is_everything(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Returns true if the range includes this time.
    pub fn has(&self, time: OffsetDateTime) -> bool {
        self.from.as_ref().is_none_or(|from| from.time() <= time)
            && self.to.as_ref().is_none_or(|to| time < to.time())
    }
}

/// A selection of partitions.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// A glob over the names of partitions.
    pub glob: String,
    /// Only partitions that begin at this boundary or later.
    pub from: Option<Moment>,
    /// Only partitions that begin before this boundary.
    pub to: Option<Moment>,
    /// Only the partitions of one instance.
    pub shard: Option<Shard>,
}

impl Choice {
    /// Selects all partitions whose names match a glob.
    pub fn glob(glob: &str) -> Self {
        Self { glob: glob.into(), ..Self::default() }
    }

    /// Returns true if a partition that matches the glob is selected. A name without a boundary is
    /// in no range of time.
    pub fn takes(&self, partition: &str) -> bool {
        let within = |boundary: OffsetDateTime| {
            self.from.as_ref().is_none_or(|from| from.time() <= boundary)
                && self.to.as_ref().is_none_or(|to| boundary < to.time())
        };
        let in_range = self.from.is_none() && self.to.is_none()
            || partition.parse::<PartitionName>().is_ok_and(|name| within(name.boundary));
        in_range && self.shard.is_none_or(|shard| shard.has(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2015-12-18T12:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    #[track_caller]
    fn check(from: Option<&str>, to: Option<&str>, taken: bool) {
        let moment = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let choice = Choice { from: moment(from), to: moment(to), ..Choice::default() };
        assert_eq!(choice.takes(NOON), taken, "{from:?} {to:?}");
        assert_eq!(choice.takes("sample"), from.is_none() && to.is_none());
    }

    #[test]
    fn a_partition_is_in_a_range_by_its_boundary() {
        check(None, None, true);
        check(Some("2015-12-18T12:00:00"), None, true);
        check(Some("2015-12-18T12:00:00.001Z"), None, false);
        check(Some("2015-12-18"), Some("2015-12-19"), true);
        check(None, Some("2015-12-18T12:00:00Z"), false);
        check(None, Some("2015-12-18T13:00:01+01:00"), true);
        assert!("noon".parse::<Moment>().unwrap_err().contains("found \"noon\""));
    }

    #[test]
    fn each_partition_is_in_one_shard() {
        let shards: Vec<Shard> = (0..3).map(|i| Shard::try_from((i, 3)).unwrap()).collect();
        let names: Vec<String> = (0..300).map(|i| format!("{NOON}{i}")).collect();
        assert!(
            names.iter().all(|name| shards.iter().filter(|shard| shard.has(name)).count() == 1)
        );
        assert!(
            shards.iter().all(|shard| names.iter().filter(|name| shard.has(name)).count() > 60)
        );
        assert_eq!("1/3".parse(), Ok(shards[1]));
        for bad in ["3/3", "2/2", "0/0", "1", "-1/2", "", "0/99999999999"] {
            assert!(bad.parse::<Shard>().unwrap_err().contains("from 0 to N - 1"), "{bad}");
        }
    }
}

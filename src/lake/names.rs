//! The names of the lake's folders and files, and the time boundaries at which folders begin.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use uuid::Uuid;

use super::form::Form;
use crate::error::{Error, Result};

/// The boundary in a partition's name: UTC, to the second.
const EXTENDED: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const BASIC: StaticFormatDescription =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The number of characters of the UUID in a partition's name, with the `-` before it.
const ID_CHARS: usize = 37;

/// The notation of the boundary in a partition's name: one of the two forms of ISO 8601.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub enum Names {
    /// `20151218T000000Z`, for the globs of Hadoop and Spark, which can't take colons.
    Basic,
    /// `2015-12-18T00:00:00`.
    #[default]
    Extended,
}

impl Names {
    fn format(self) -> StaticFormatDescription {
        match self {
            Self::Basic => BASIC,
            Self::Extended => EXTENDED,
        }
    }
}

/// The number of digits in the name of a file.
const NUMBER_DIGITS: usize = 7;

/// The name of a partition, `<YYYY-MM-DDTHH:MM:SS>-<uuid>` or `<YYYYMMDDTHHMMSSZ>-<uuid>`. Because
/// of the UUID any number of tasks and processes can write one lake without coordination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionName {
    /// The boundary at which the partition began, UTC; the name is precise to the second.
    pub boundary: OffsetDateTime,
    /// The UUID that makes the name unique.
    pub id: Uuid,
    /// The notation of the boundary.
    pub names: Names,
}

impl PartitionName {
    /// Creates the name of a new partition that begins at this boundary.
    pub fn begin(boundary: OffsetDateTime, names: Names) -> Self {
        Self { boundary, id: Uuid::new_v4(), names }
    }
}

impl fmt::Display for PartitionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let boundary = self.boundary.to_offset(time::UtcOffset::UTC).format(self.names.format());
        write!(f, "{}-{}", boundary.map_err(|_| fmt::Error)?, self.id)
    }
}

/// The error for a text that isn't a name of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadName;

impl FromStr for PartitionName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (boundary, id) = text
            .len()
            .checked_sub(ID_CHARS)
            .and_then(|at| text.split_at_checked(at))
            .ok_or(BadName)?;
        let id = id.strip_prefix('-').ok_or(BadName)?;
        let names = if boundary.ends_with('Z') { Names::Basic } else { Names::Extended };
        let name = Self {
            boundary: PrimitiveDateTime::parse(boundary, names.format())
                .map_err(|_| BadName)?
                .assume_utc(),
            id: Uuid::try_parse(id).map_err(|_| BadName)?,
            names,
        };
        // The parsers also accept other spellings (upper case, braces), which this project never
        // writes.
        if name.to_string() == text { Ok(name) } else { Err(BadName) }
    }
}

/// The number of a file within its partition. The file's name begins with it, in seven digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(u32);

impl FileNumber {
    /// The first file of a partition.
    pub const FIRST: Self = Self(0);

    /// The last number that seven digits can express. After it a new partition begins.
    pub const LAST: Self = Self(9_999_999);

    /// Returns the number of the next file, or `None` after the last number.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        (self < Self::LAST).then_some(Self(self.0 + 1))
    }
}

impl fmt::Display for FileNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0NUMBER_DIGITS$}", self.0)
    }
}

impl FromStr for FileNumber {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if text.len() != NUMBER_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadName);
        }
        text.parse().map(Self).map_err(|_| BadName)
    }
}

/// The name of a file: its number, and the extension that tells its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// The number.
    pub number: FileNumber,
    /// The form.
    pub form: Form,
    /// True if a plain array has the extension `.json`, which other tools add when they copy it.
    /// This project never writes it.
    pub json: bool,
}

/// The extension that other tools add to the name of a plain array.
const JSON: &str = ".json";

impl FileName {
    /// Creates the name of a file as this project writes it.
    pub fn new(number: FileNumber, form: Form) -> Self {
        Self { number, form, json: false }
    }

    /// Returns the part of the name after the number.
    pub fn extension(self) -> &'static str {
        if self.json { JSON } else { self.form.extension() }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.extension())
    }
}

impl FromStr for FileName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (number, extension) = text.split_at_checked(NUMBER_DIGITS).ok_or(BadName)?;
        let number = number.parse()?;
        if extension == JSON {
            return Ok(Self { number, form: Form::ARRAY, json: true });
        }
        Ok(Self::new(number, Form::of_extension(extension).ok_or(BadName)?))
    }
}

/// Sorts files of a partition by their numbers.
///
/// # Errors
/// If two of them have the same number: they may hold the same posts, so neither can be used.
pub fn in_order<T>(mut files: Vec<(FileName, T)>, partition: &str) -> Result<Vec<(FileName, T)>> {
    files.sort_by_key(|(name, _)| *name);
    match files.windows(2).find(|pair| pair[0].0.number == pair[1].0.number) {
        None => Ok(files),
        Some(pair) => {
            let (one, other) = (pair[0].0, pair[1].0);
            Err(Error::fatal(format!(
                "\"{partition}\" has \"{one}\" and \"{other}\": move one of them away"
            )))
        }
    }
}

/// The place of a file in a lake, `<partition>/<file>`. Promises of a lake are named by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Segment {
    /// The name of the partition's folder.
    pub partition: PartitionName,
    /// The name of the file in it.
    pub file: FileName,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.file)
    }
}

impl FromStr for Segment {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let (partition, file) = text.split_once('/').ok_or(BadName)?;
        Ok(Self { partition: partition.parse()?, file: file.parse()? })
    }
}

/// Returns the newest multiple of `period` since the Unix epoch that isn't after `time`, in UTC.
pub fn boundary(time: OffsetDateTime, period: Duration) -> OffsetDateTime {
    let period = i128::try_from(period.as_nanos()).unwrap_or(i128::MAX).max(1);
    let since_epoch = time.unix_timestamp_nanos().div_euclid(period) * period;
    // Only a boundary before the year -9999 is out of range; such a time is its own boundary.
    OffsetDateTime::from_unix_timestamp_nanos(since_epoch).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_partition_prints_as_the_design_says_and_reads_back() {
        let text = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
        let name: PartitionName = text.parse().unwrap();
        assert_eq!(name.boundary, datetime!(2015-12-18 00:00:00 UTC));
        assert_eq!(name.to_string(), text);
        let new = PartitionName::begin(datetime!(2026-02-03 04:05:06 +1), Names::Extended);
        assert!(new.to_string().starts_with("2026-02-03T03:05:06-"), "{new}");
        assert_eq!(new.id.get_version_num(), 4);
        assert_eq!(
            new.to_string().parse(),
            Ok(PartitionName { boundary: datetime!(2026-02-03 03:05:06 UTC), ..new })
        );
    }

    #[test]
    fn a_name_without_colons_is_read_and_printed_too() {
        let text = "20151218T000000Z-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
        let name: PartitionName = text.parse().unwrap();
        assert_eq!((name.boundary, name.names), (datetime!(2015-12-18 00:00:00 UTC), Names::Basic));
        assert_eq!(name.to_string(), text);
        let new = PartitionName::begin(datetime!(2026-02-03 04:05:06 +1), Names::Basic).to_string();
        assert!(new.starts_with("20260203T030506Z-"), "{new}");
    }

    #[test]
    fn two_files_of_one_number_are_an_error() {
        let named = |names: &[&str]| {
            names.iter().map(|name| (name.parse().unwrap(), ())).collect::<Vec<_>>()
        };
        let files =
            in_order(named(&["0000002", "0000000.json.gz", "0000001.parquet"]), "p").unwrap();
        assert_eq!(files, named(&["0000000.json.gz", "0000001.parquet", "0000002"]));
        let error =
            in_order(named(&["0000001", "0000000", "0000001.ndjson.zst"]), "p").unwrap_err();
        assert!(
            error.chain().contains("\"p\" has \"0000001\" and \"0000001.ndjson.zst\""),
            "{error:?}"
        );
    }

    #[test]
    fn what_is_no_partition_is_refused() {
        for text in [
            "",
            "_staging",
            "2015-12-18T00:00:00",
            "2015-12-18T00:00:00-",
            "20151218T000000-afa5ac3a-e695-4f96-aca2-d24c7527aed7",
            "2015-12-18T00:00:00Z-afa5ac3a-e695-4f96-aca2-d24c7527aed7",
            "2015-12-18T00:00:00-AFA5AC3A-e695-4f96-aca2-d24c7527aed7",
            "2015-12-18T00:00:00-{afa5ac3a-e695-4f96-aca2-d24c7527aed7}",
            "2015-13-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7",
            "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7 ",
            "äöüäöüäöüäöü",
        ] {
            assert_eq!(text.parse::<PartitionName>(), Err(BadName), "{text}");
        }
    }

    #[test]
    fn file_numbers_have_seven_digits_and_an_end() {
        assert_eq!(FileNumber::FIRST.to_string(), "0000000");
        assert_eq!(FileNumber::FIRST.next().unwrap().to_string(), "0000001");
        assert_eq!(FileNumber::LAST.to_string(), "9999999");
        assert_eq!(FileNumber::LAST.next(), None);
        assert_eq!("0001234".parse(), Ok(FileNumber(1234)));
        for text in ["", "1", "00000001", "+000001", "000000a", "00000.0"] {
            assert_eq!(text.parse::<FileNumber>(), Err(BadName), "{text}");
        }
    }

    #[test]
    fn a_plain_array_may_be_named_json_and_keeps_its_name() {
        let name: FileName = "0000012.json".parse().unwrap();
        assert_eq!((name.form, name.to_string().as_str()), (Form::ARRAY, "0000012.json"));
        let pair = ["0000012", "0000012.json"].map(|name| (name.parse().unwrap(), ()));
        assert!(
            in_order(pair.to_vec(), "p").unwrap_err().chain().contains("move one of them away")
        );
    }

    #[test]
    fn a_segment_stays_below_its_root() {
        let text = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000042";
        for extension in Form::ALL.map(|(_, extension)| extension) {
            let text = format!("{text}{extension}");
            assert_eq!(text.parse::<Segment>().unwrap().to_string(), text);
        }
        for text in
            ["../0000000", "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/../0000000"]
        {
            assert_eq!(text.parse::<Segment>(), Err(BadName), "{text}");
        }
    }

    #[test]
    fn boundaries_before_1970_are_floors_too() {
        assert_eq!(
            boundary(datetime!(1969-12-31 23:59:59 UTC), HOUR),
            datetime!(1969-12-31 23:00:00 UTC)
        );
    }

    proptest! {
        #[test]
        fn a_boundary_is_the_newest_multiple_that_is_not_later(seconds in -1i64 << 34..1 << 34, period in 1u64..200_000) {
            let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            let period = Duration::from_secs(period);
            let floor = boundary(time, period);
            prop_assert!(floor <= time && time < floor + period);
            prop_assert_eq!(floor.unix_timestamp().rem_euclid(i64::try_from(period.as_secs()).unwrap()), 0);
            prop_assert_eq!(boundary(floor, period), floor);
        }

        #[test]
        fn every_file_number_reads_back(number in 0u32..=9_999_999) {
            prop_assert_eq!(FileNumber(number).to_string().parse(), Ok(FileNumber(number)));
        }
    }
}

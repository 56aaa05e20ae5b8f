//! The time of a tweet. Its id contains the millisecond at which X created it; `created_at` of v1.1
//! is only precise to the second.

use time::{Duration, OffsetDateTime};

use super::super::dated;
use crate::post::fields::{id_text, leading_value, unix_time};

/// The time of the id 0, in milliseconds since 1970.
const IDS_BEGIN_MS: u64 = 1_288_834_974_657;

/// The number of low bits of an id that aren't time: the machine that created it, and a number.
const ID_LOW_BITS: u32 = 22;

/// The first id that contains its time, from 2010-11-04. Smaller ids were assigned consecutively.
const TIMED_ID_MIN: u64 = 29_700_859_247;

/// The maximum difference between the stated time and that of the id. X states times cut to the
/// second, or to the millisecond. If an id is further away, X didn't create it, and its time is
/// ignored.
const DISAGREEMENT_MAX: Duration = Duration::seconds(5);

/// The members of a tweet from which its time is derived, as they are found.
#[derive(Clone, Copy, Default)]
pub(super) struct TweetTime {
    id: Option<u64>,
    stated: Option<OffsetDateTime>,
}

impl TweetTime {
    /// Reads a member of a tweet; `json` begins with its value. If a name occurs several times, the
    /// first counts.
    pub(crate) fn read(&mut self, key: &[u8], json: &[u8]) {
        match key {
            b"id" | b"id_str" if self.id.is_none() => {
                let id = leading_value(json).and_then(id_text);
                self.id = id.and_then(|id| id.parse().ok());
            }
            b"created_at" if self.stated.is_none() => self.stated = dated(json),
            b"timestamp_ms" if self.stated.is_none() => {
                let value = leading_value(json);
                self.stated = value.and_then(|value| unix_time(value, 1_000_000));
            }
            _ => {}
        }
    }

    /// Returns true if no other member can change the time.
    pub(crate) fn is_complete(&self) -> bool {
        self.id.is_some() && self.stated.is_some()
    }

    /// Returns the time of the id, if it has one and the stated time doesn't contradict it;
    /// otherwise the stated time.
    pub(crate) fn time(&self) -> Option<OffsetDateTime> {
        let Some(of_id) = self.id.and_then(time_of_id) else { return self.stated };
        match self.stated {
            Some(stated) if (stated - of_id).abs() > DISAGREEMENT_MAX => Some(stated),
            _ => Some(of_id),
        }
    }
}

/// Returns the time at which X created an id.
fn time_of_id(id: u64) -> Option<OffsetDateTime> {
    if id < TIMED_ID_MIN {
        return None;
    }
    let milliseconds = (id >> ID_LOW_BITS) + IDS_BEGIN_MS;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[track_caller]
    fn check(members: &[(&str, &str)], expected: Option<OffsetDateTime>) {
        let mut time = TweetTime::default();
        for (key, json) in members {
            time.read(key.as_bytes(), json.as_bytes());
        }
        assert_eq!(time.time(), expected, "{members:?}");
    }

    #[test]
    fn an_id_says_the_millisecond() {
        let at = datetime!(2019-07-12 23:40:37.123 UTC);
        let milliseconds = (at.unix_timestamp_nanos() / 1_000_000) as u64;
        let id = format!("{}", (milliseconds - IDS_BEGIN_MS) << ID_LOW_BITS | 5);
        let stated = ("created_at", r#""Fri Jul 12 23:40:37 +0000 2019""#);
        check(&[("id", &id), stated], Some(at));
        check(&[stated, ("id_str", &format!("\"{id}\"")), ("id", "1")], Some(at));
        check(&[("id", &id)], Some(at));
        check(&[("timestamp_ms", r#""1562974837000""#), ("id", &id)], Some(at));
    }

    #[test]
    fn an_id_that_carries_no_time_or_another_one_leaves_the_stated_time() {
        let stated = ("created_at", r#""2019-07-12T23:40:37Z""#);
        let at = Some(datetime!(2019-07-12 23:40:37 UTC));
        for id in ["1", "29700859246", "29700859247", "1149834000000000000", "99999999999999999999"]
        {
            check(&[("id", id), stated], at);
        }
        check(&[("id", r#""abc""#), stated], at);
        check(&[("id", "29700859246")], None);
        check(&[], None);
    }
}

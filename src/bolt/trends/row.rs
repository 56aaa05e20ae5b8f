//! A trend in one bucket as a tuple. Numbers are rounded in a fixed way, so that the same posts
//! give the same bytes.

use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::format_description;

use super::bucket::Observed;
use super::detector::TrendRow;
use super::score::Score;
use crate::event_time::EventTime;
use crate::tuple::Fields;
use crate::value::Value;

/// The fields of a trend: the columns of the warehouse's table `trends`.
pub(crate) const FIELDS: [&str; 12] = [
    "key_type",
    "key",
    "bucket_start",
    "started_at",
    "peak_at",
    "count",
    "baseline",
    "score",
    "p_value",
    "authors",
    "sample_posts",
    "why",
];

/// The field that only rows of open buckets have.
pub(crate) const PROVISIONAL: &str = "provisional";

/// The fields of a late tuple. Of a post of the total, `key_type` and `key` are null.
pub(crate) const LATE_FIELDS: [&str; 5] =
    ["key_type", "key", "bucket_start", "post_id", "author_id"];

/// The fields of trends.
pub(crate) fn fields() -> Fields {
    Fields::new(FIELDS)
}

/// The fields of rows of open buckets. The last field, which is always true, distinguishes these
/// rows from final trends: a warehouse refuses them.
pub(crate) fn provisional_fields() -> Fields {
    Fields::new(FIELDS.into_iter().chain([PROVISIONAL]))
}

/// The fields of late tuples.
pub(crate) fn late_fields() -> Fields {
    Fields::new(LATE_FIELDS)
}

/// Returns the beginning of a bucket as text; null if the time can't be written.
pub(crate) fn bucket_start(bucket: i64, bucket_ms: i64) -> Value {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let time = EventTime::from_unix_millis(bucket.saturating_mul(bucket_ms));
    let date: Option<OffsetDateTime> = time.into();
    date.and_then(|date| date.format(format).ok()).map_or(Value::Null, Value::from)
}

/// Rounds a number to two decimals.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Rounds a probability to three digits.
fn three_digits(p_value: f64) -> f64 {
    format!("{p_value:.2e}").parse().unwrap_or(p_value)
}

/// Returns "in a minute", "in an hour", "in 5m".
pub(crate) fn in_a_bucket(bucket_ms: i64) -> String {
    match bucket_ms {
        1_000 => "in a second".into(),
        60_000 => "in a minute".into(),
        3_600_000 => "in an hour".into(),
        86_400_000 => "in a day".into(),
        _ => {
            let length = std::time::Duration::from_millis(bucket_ms.unsigned_abs());
            format!("in {}", crate::units::Interval(length))
        }
    }
}

fn why(observed: &Observed, score: &Score, bucket_ms: i64) -> String {
    let authors = if observed.authors == 1 { "author" } else { "authors" };
    format!(
        "{} {}, expected {:.1}, {} {authors}",
        observed.count,
        in_a_bucket(bucket_ms),
        score.expected,
        observed.authors
    )
}

/// The values of a trend's tuple.
pub(crate) fn values(row: &TrendRow, bucket_ms: i64) -> [Value; FIELDS.len()] {
    let TrendRow { key: [key_type, key], bucket, observed, score, trend } = row;
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let samples: Arc<[Value]> = observed.samples.iter().cloned().map(Value::Text).collect();
    [
        key_type.clone(),
        key.clone(),
        bucket_start(*bucket, bucket_ms),
        bucket_start(trend.started, bucket_ms),
        bucket_start(trend.peak, bucket_ms),
        int(observed.count),
        Value::Float(rounded(score.expected)),
        Value::Float(rounded(score.z)),
        Value::Float(three_digits(score.p_value)),
        int(observed.authors),
        Value::List(samples),
        Value::from(why(observed, score, bucket_ms)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::trends::key::Trend;
    use crate::tuple::to_json;

    #[test]
    fn a_row_explains_itself_in_the_same_bytes() {
        let minute = 60_000;
        let bucket = 1_450_396_800_000 / minute;
        let observed = Observed { count: 58, authors: 41, samples: vec!["1".into(), "2".into()] };
        let score = Score::new(58.0, 1_000.0, 0.0061, 0.0);
        let trend = Trend { started: bucket - 1, started_ordinal: 7, peak: bucket, peak_count: 58 };
        let key = ["hashtag".into(), "#storm".into()];
        let mut json = Vec::new();
        let row = TrendRow { key, bucket, observed, score, trend };
        to_json(&fields(), &values(&row, minute), &mut json);
        let expected = concat!(
            r##"{"key_type":"hashtag","key":"#storm","bucket_start":"2015-12-18T00:00:00.000000Z","##,
            r#""started_at":"2015-12-17T23:59:00.000000Z","peak_at":"2015-12-18T00:00:00.000000Z","#,
            r#""count":58,"baseline":6.1,"score":21.01,"p_value":3.77e-36,"authors":41,"#,
            r#""sample_posts":["1","2"],"why":"58 in a minute, expected 6.1, 41 authors"}"#,
        );
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    #[test]
    fn buckets_of_any_length_have_a_name_and_times_without_a_date_are_null() {
        assert_eq!(in_a_bucket(3_600_000), "in an hour");
        assert_eq!(in_a_bucket(300_000), "in 5m");
        assert_eq!(bucket_start(i64::MIN, 1_000), Value::Null);
    }
}

//! Compares the trends of two runs: the trends that both have, and the differences between them.
//!
//! A trend is all rows of a key with the same beginning. Two trends of a key are the same one if
//! their times overlap: a lower threshold makes a trend begin earlier and end later.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use serde::Serialize;
use serde_json::{Map, Value};

use super::row::PROVISIONAL;
use crate::error::{Error, Result};

/// The longest line, in bytes. A row of a trend has a few hundred bytes; a file with longer lines
/// isn't a file of trends, and must not fill the memory.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// The key of a trend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TrendKey {
    /// `hashtag`, `term`, `domain` or `mention`.
    pub key_type: String,
    /// The key.
    pub key: String,
}

/// One trend, from its first bucket to its last one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WholeTrend {
    /// The beginning of its first bucket. Times of rows have one form, so that they compare as
    /// text.
    pub start: String,
    /// The beginning of the last bucket for which the trend has a row.
    pub last: String,
    /// The beginning of the bucket with most posts.
    pub peak: String,
    /// The posts of that bucket.
    pub peak_count: u64,
    /// The highest score.
    pub score: f64,
    /// The number of rows.
    pub buckets: usize,
    /// The rows, by the beginnings of their buckets.
    #[serde(skip)]
    rows: BTreeMap<String, Map<String, Value>>,
}

/// The trends of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunTrends {
    /// The trends of each key, in the order of their beginnings.
    by_key: BTreeMap<TrendKey, Vec<WholeTrend>>,
}

/// A trend in one run or in both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrendPair {
    /// The key.
    #[serde(flatten)]
    pub key: TrendKey,
    /// Its state in both runs.
    pub fate: TrendFate,
    /// The trend in the first run.
    pub a: Option<WholeTrend>,
    /// The trend in the second run.
    pub b: Option<WholeTrend>,
}

/// The state of a trend of one run beside those of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendFate {
    /// Only the first run has it.
    OnlyInA,
    /// Only the second run has it.
    OnlyInB,
    /// Both runs have the trend, with different times, peaks, scores or rows.
    Changed,
    /// Both runs have the same rows for the trend.
    Same,
}

impl RunTrends {
    /// Reads rows of trends, one line of JSON each, as `Stdout` prints them. If rows have the same
    /// key and bucket, the last one counts, as in the table of a warehouse.
    ///
    /// # Errors
    /// If the file can't be read, or a line isn't a row of a trend; `name` is the file's name.
    pub fn read(name: &str, mut lines: impl BufRead) -> Result<Self> {
        let mut rows: BTreeMap<(TrendKey, String), Map<String, Value>> = BTreeMap::new();
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let mut bounded = std::io::Read::take(&mut lines, LINE_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut line);
            let read = read
                .map_err(|cause| Error::fatal(format!("can't read \"{name}\"")).because(cause))?;
            if read == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let row = row_of(&line)
                .map_err(|what| Error::fatal(format!("\"{name}\", line {number}: {what}")))?;
            let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
            let key = TrendKey { key_type: text("key_type"), key: text("key") };
            rows.insert((key, text("bucket_start")), row);
        }
        Ok(Self::of_rows(rows))
    }

    fn of_rows(rows: BTreeMap<(TrendKey, String), Map<String, Value>>) -> Self {
        let mut by_key: BTreeMap<TrendKey, Vec<WholeTrend>> = BTreeMap::new();
        for ((key, bucket), row) in rows {
            let trends = by_key.entry(key).or_default();
            let start = row["started_at"].as_str().unwrap_or_default();
            match trends.last_mut().filter(|trend| trend.start == start) {
                Some(trend) => trend.add(bucket, row),
                None => trends.push(WholeTrend::new(bucket, row)),
            }
        }
        Self { by_key }
    }

    /// Returns the number of trends, and the number of their rows.
    pub fn counts(&self) -> (usize, usize) {
        let trends = || self.by_key.values().flatten();
        (trends().count(), trends().map(|trend| trend.buckets).sum())
    }
}

/// Reads a line.
fn row_of(line: &[u8]) -> Result<Map<String, Value>, String> {
    let expected = "expected a row of Trends, as Stdout prints it";
    if line.len() as u64 >= LINE_BYTES_MAX && !line.ends_with(b"\n") {
        return Err(format!("{expected}, found a line of {LINE_BYTES_MAX} bytes or more"));
    }
    let row: Map<String, Value> = serde_json::from_slice(line)
        .map_err(|cause| format!("{expected}, which is a JSON object: {cause}"))?;
    if row.contains_key(PROVISIONAL) {
        return Err(format!(
            "{expected} on the stream \"default\", found one of the stream \"provisional\""
        ));
    }
    for field in ["key_type", "key", "bucket_start", "started_at", "peak_at"] {
        if !row.get(field).is_some_and(Value::is_string) {
            return Err(format!("{expected}: field \"{field}\" isn't there or isn't a text"));
        }
    }
    for field in ["count", "score"] {
        if !row.get(field).is_some_and(Value::is_number) {
            return Err(format!("{expected}: field \"{field}\" isn't there or isn't a number"));
        }
    }
    Ok(row)
}

impl WholeTrend {
    fn new(bucket: String, row: Map<String, Value>) -> Self {
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        let mut trend = Self {
            start: text("started_at"),
            last: String::new(),
            peak: String::new(),
            peak_count: 0,
            score: f64::NEG_INFINITY,
            buckets: 0,
            rows: BTreeMap::new(),
        };
        trend.add(bucket, row);
        trend
    }

    /// Adds the row of a later bucket.
    fn add(&mut self, bucket: String, row: Map<String, Value>) {
        let count = row["count"].as_u64().unwrap_or_default();
        if self.buckets == 0 || count > self.peak_count {
            (self.peak, self.peak_count) = (bucket.clone(), count);
        }
        self.score = self.score.max(row["score"].as_f64().unwrap_or_default());
        self.last.clone_from(&bucket);
        self.buckets += 1;
        self.rows.insert(bucket, row);
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }
}

/// Pairs the trends of two runs, in the order of their keys and beginnings.
pub fn compare(a: RunTrends, b: RunTrends) -> Vec<TrendPair> {
    let mut by_key: BTreeMap<TrendKey, [Vec<WholeTrend>; 2]> = BTreeMap::new();
    for (side, run) in [a, b].into_iter().enumerate() {
        for (key, trends) in run.by_key {
            by_key.entry(key).or_default()[side] = trends;
        }
    }
    let mut pairs = Vec::new();
    for (key, [of_a, of_b]) in by_key {
        let (mut of_a, mut of_b) = (of_a.into_iter().peekable(), of_b.into_iter().peekable());
        loop {
            let (a, b) = match (of_a.peek(), of_b.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) if a.overlaps(b) => (of_a.next(), of_b.next()),
                (Some(a), Some(b)) if b.start < a.start => (None, of_b.next()),
                (Some(_), _) => (of_a.next(), None),
                (None, Some(_)) => (None, of_b.next()),
            };
            let fate = match (&a, &b) {
                (Some(a), Some(b)) if a == b => TrendFate::Same,
                (Some(_), Some(_)) => TrendFate::Changed,
                (Some(_), None) => TrendFate::OnlyInA,
                (None, _) => TrendFate::OnlyInB,
            };
            pairs.push(TrendPair { key: key.clone(), fate, a, b });
        }
    }
    pairs
}

impl TrendPair {
    /// Returns the fields in which the rows of both runs differ, for buckets in which both have a
    /// row.
    pub fn fields_changed(&self) -> BTreeSet<&str> {
        let (Some(a), Some(b)) = (&self.a, &self.b) else { return BTreeSet::new() };
        let mut changed = BTreeSet::new();
        for (bucket, row) in &a.rows {
            let Some(other) = b.rows.get(bucket) else { continue };
            for field in row.keys().chain(other.keys()) {
                if row.get(field) != other.get(field) {
                    changed.insert(field.as_str());
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, minute: u32, start: u32, count: u64) -> String {
        let time = |minute: u32| format!("2015-12-18T00:{minute:02}:00.000000Z");
        format!(
            "{{\"key_type\":\"hashtag\",\"key\":\"{key}\",\"bucket_start\":\"{}\",\"started_at\":\"{}\",\
             \"peak_at\":\"{}\",\"count\":{count},\"score\":{}.5,\"why\":\"{count} in a \
             minute\"}}\n",
            time(minute),
            time(start),
            time(minute),
            count
        )
    }

    fn run(rows: &[String]) -> RunTrends {
        RunTrends::read("run.ndjson", rows.concat().as_bytes()).unwrap()
    }

    fn fates(a: &[String], b: &[String]) -> Vec<(String, TrendFate)> {
        let pairs = compare(run(a), run(b));
        pairs.into_iter().map(|pair| (pair.key.key, pair.fate)).collect()
    }

    #[test]
    fn a_trend_is_the_rows_of_a_key_with_one_beginning() {
        let rows =
            [row("#a", 3, 3, 20), row("#a", 4, 3, 50), row("#a", 5, 3, 30), row("#a", 9, 9, 10)];
        let run = run(&rows);
        assert_eq!(run.counts(), (2, 4));
        let trend = &run.by_key.values().next().unwrap()[0];
        assert_eq!((trend.peak_count, trend.score, trend.buckets), (50, 50.5, 3));
        assert!(trend.peak.contains("00:04") && trend.last.contains("00:05"));
    }

    #[test]
    fn what_overlaps_is_one_trend_whose_times_have_moved() {
        let a = [row("#a", 3, 3, 20), row("#a", 4, 3, 50), row("#b", 1, 1, 9), row("#c", 1, 1, 9)];
        let b = [row("#a", 4, 4, 50), row("#b", 2, 2, 9), row("#c", 1, 1, 9)];
        use TrendFate::{Changed, OnlyInA, OnlyInB, Same};
        let of = |key: &str, fate| (key.to_owned(), fate);
        let expected = [of("#a", Changed), of("#b", OnlyInA), of("#b", OnlyInB), of("#c", Same)];
        assert_eq!(fates(&a, &b), expected);
        let pair = &compare(run(&a), run(&b))[0];
        assert_eq!(pair.fields_changed(), BTreeSet::from(["started_at"]));
    }

    #[test]
    fn one_long_trend_is_the_first_of_two_short_ones() {
        let a: Vec<String> = (1..9).map(|minute| row("#a", minute, 1, 9)).collect();
        let b = [row("#a", 1, 1, 9), row("#a", 8, 8, 9)];
        let found: Vec<TrendFate> = fates(&a, &b).into_iter().map(|(_, fate)| fate).collect();
        assert_eq!(found, [TrendFate::Changed, TrendFate::OnlyInB]);
    }

    #[test]
    fn of_rows_of_the_same_bucket_the_last_one_counts() {
        let again = [row("#a", 1, 1, 5), row("#a", 1, 1, 9)];
        assert_eq!(fates(&again, &[row("#a", 1, 1, 9)]), [("#a".into(), TrendFate::Same)]);
        assert_eq!(fates(&[], &[]), []);
    }

    #[test]
    fn a_line_that_is_no_row_is_named() {
        let read = |text: &str| RunTrends::read("x", text.as_bytes()).unwrap_err().chain();
        let good = row("#a", 1, 1, 5);
        for (bad, what) in [
            ("nonsense\n".to_owned(), "line 2: expected a row of Trends"),
            ("{\"key\":\"#a\"}\n".into(), "field \"key_type\" isn't there"),
            (good.replace("\"score\"", "\"scores\""), "field \"score\" isn't there"),
            (good.replace("\"why\"", "\"provisional\":true,\"why\""), "stream \"provisional\""),
            ("x".repeat(2 << 20), "a line of 1048576 bytes or more"),
        ] {
            let error = read(&format!("{good}{bad}"));
            assert!(error.contains(what), "{error}");
        }
    }
}

//! Rows of the table `trends`: one for each key and bucket of a trend, as `Trends` emits it.
//!
//! A row replaces an existing row with the same key. `Trends` emits a bucket again only if the
//! bucket was unfinished at the end of a run and continued in the next one, so the later row has
//! all of its posts.

use std::collections::BTreeMap;

use super::columns::{Column, ColumnFate, ColumnForm, column};
use super::copy::copy_rows;
use super::failure::Done;
use super::months::Micros;
use super::row::time_at;
use super::session::Session;
use super::storable::storable_text;
use crate::tuple::Fields;
use crate::value::Value;

/// The fields that make the key of a row.
pub const TREND_KEY: [&str; 3] = ["key_type", "key", "bucket_start"];

/// The field that only the stream `provisional` of `Trends` has.
const PROVISIONAL: &str = "provisional";

const TREND_TIMES: [&str; 2] = ["started_at", "peak_at"];

/// The other columns.
const COLUMNS: [Column; 7] = [
    column("count", ColumnForm::Int, ColumnFate::Version),
    column("baseline", ColumnForm::Float, ColumnFate::Version),
    column("score", ColumnForm::Float, ColumnFate::Version),
    column("p_value", ColumnForm::Float, ColumnFate::Version),
    column("authors", ColumnForm::Int, ColumnFate::Version),
    column("sample_posts", ColumnForm::Texts, ColumnFate::Version),
    column("why", ColumnForm::Text, ColumnFate::Version),
];

/// All columns of the table, in the order in which they are sent.
pub fn trend_columns() -> Vec<&'static str> {
    let mut names = TREND_KEY.to_vec();
    names.extend(TREND_TIMES);
    names.extend(COLUMNS.iter().map(|column| column.name));
    names
}

/// The positions of the fields of a stream of trends.
#[derive(Clone, Debug)]
pub struct TrendLayout {
    key: [usize; 3],
    times: [Option<usize>; 2],
    columns: Vec<usize>,
}

/// The key of a row: the type of a key, the key, and the beginning of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrendKey {
    /// `hashtag`, `term`, `domain` or `mention`.
    pub key_type: String,
    /// The key.
    pub key: String,
    /// The beginning of the bucket.
    pub bucket_start: Micros,
}

/// One row.
#[derive(Clone, Debug)]
pub struct TrendRow {
    /// Its key.
    pub key: TrendKey,
    /// The beginning of the first bucket of the trend, and that of the bucket with most posts so
    /// far.
    pub(super) times: [Option<Micros>; 2],
    /// The values of the other columns.
    values: Vec<Value>,
}

impl TrendLayout {
    /// True if an input has trends and not posts.
    pub fn is_of(fields: &Fields) -> bool {
        let has = |name: &str| fields.position(name).is_some();
        TREND_KEY.into_iter().all(has) && !has("post")
    }

    /// Finds the layout of an input.
    ///
    /// # Errors
    /// If the tuples can't be rows; the error says why.
    pub fn of(fields: &Fields) -> Result<Self, String> {
        if fields.position(PROVISIONAL).is_some() {
            return Err(
                "the stream \"provisional\" of Trends has buckets that aren't over, whose \
                        scores still change: wire the stream \"default\", as Fields(\"trends\", \
                        [\"key_type\", \"key\"])"
                    .into(),
            );
        }
        let missing = |name: &&str| fields.position(name).is_none();
        let missing: Vec<_> = trend_columns().into_iter().filter(missing).collect();
        if !missing.is_empty() {
            return Err(format!(
                "expected the fields \"{}\", as Trends declares them; found {fields}, which has no \
                    \"{}\"",
                trend_columns().join("\", \""),
                missing.join("\" and no \"")
            ));
        }
        let at = |name: &str| fields.position(name).unwrap_or_default();
        Ok(Self {
            key: TREND_KEY.map(at),
            times: TREND_TIMES.map(|name| fields.position(name)),
            columns: COLUMNS.iter().map(|column| at(column.name)).collect(),
        })
    }

    /// Checks that a tuple has its required values before it is stored.
    ///
    /// # Errors
    /// If values are missing; the error names them.
    pub fn check(&self, values: &[Value]) -> Result<(), String> {
        self.key_of(values).map(drop)
    }

    fn key_of(&self, values: &[Value]) -> Result<TrendKey, String> {
        let [key_type, key, bucket_start] = self.key;
        let text = |name: &str, at: usize| match values.get(at).and_then(Value::as_text) {
            // Keys that look the same to the server are the same key.
            Some(text) => Ok(storable_text(text).into_owned()),
            None => Err(format!("field \"{name}\": expected a text")),
        };
        let time = time_at(TREND_KEY[2], Some(bucket_start), values)?;
        Ok(TrendKey {
            key_type: text(TREND_KEY[0], key_type)?,
            key: text(TREND_KEY[1], key)?,
            bucket_start: time.ok_or("field \"bucket_start\": expected a time, found null")?,
        })
    }

    /// Reads a tuple.
    ///
    /// # Errors
    /// If the tuple can't be a row; the reason goes into its dead letter.
    pub fn read(&self, values: &[Value]) -> Result<TrendRow, String> {
        let key = self.key_of(values)?;
        let started_at = time_at(TREND_TIMES[0], self.times[0], values)?;
        let peak_at = time_at(TREND_TIMES[1], self.times[1], values)?;
        let mut of_columns = Vec::with_capacity(COLUMNS.len());
        for (column, at) in COLUMNS.iter().zip(&self.columns) {
            let value = values.get(*at).unwrap_or(&Value::Null);
            column.check(value)?;
            of_columns.push(value.clone());
        }
        Ok(TrendRow { key, times: [started_at, peak_at], values: of_columns })
    }
}

impl TrendRow {
    /// Returns the columns besides the key and the times, each with its value.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        COLUMNS.iter().map(|column| column.name).zip(&self.values)
    }

    /// Returns the times, each with the name of its column.
    pub(super) fn times(&self) -> impl Iterator<Item = (&'static str, Option<Micros>)> {
        TREND_TIMES.into_iter().zip(self.times)
    }
}

/// Sorts rows of trends, and keeps the last row of each key.
pub(super) fn newest_trends<'r>(rows: impl Iterator<Item = &'r TrendRow>) -> Vec<&'r TrendRow> {
    let mut newest: BTreeMap<&TrendKey, &TrendRow> = BTreeMap::new();
    for row in rows {
        newest.insert(&row.key, row);
    }
    newest.into_values().collect()
}

/// Writes the staged rows, and replaces rows with the same keys.
fn add_trends() -> String {
    let columns = trend_columns();
    let set: Vec<String> =
        columns[TREND_KEY.len()..].iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let key = TREND_KEY.join(", ");
    format!(
        "insert into trends ({0}) select {0} from pg_temp.staged_trends order by {key} \
         on conflict ({key}) do update set {1}",
        columns.join(", "),
        set.join(", ")
    )
}

impl Session {
    /// Writes trends. Each key may occur only once.
    pub(super) async fn write_trends(&self, trends: &[&TrendRow]) -> Done<()> {
        if trends.is_empty() {
            return Ok(());
        }
        let columns = trend_columns();
        let names = columns.join(", ");
        copy_rows(self.client(), "pg_temp.staged_trends", &names, trends, |row, buffer| {
            buffer.row(columns.len());
            buffer.text(Some(&row.key.key_type));
            buffer.text(Some(&row.key.key));
            buffer.time(Some(row.key.bucket_start));
            for time in row.times {
                buffer.time(time);
            }
            for (column, value) in COLUMNS.iter().zip(&row.values) {
                column.write(value, buffer);
            }
        })
        .await?;
        Ok(self.client().batch_execute(&add_trends()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<Value> {
        let time = "2015-12-18T00:00:00.000000Z";
        vec![
            "hashtag".into(),
            "#a\0b".into(),
            time.into(),
            time.into(),
            Value::Null,
            Value::Int(58),
            Value::Float(6.1),
            Value::Int(21),
            Value::Float(3.77e-36),
            Value::Int(41),
            Value::List(["1".into()].into()),
            "58 in a minute".into(),
        ]
    }

    #[test]
    fn each_column_stands_in_the_schema_once() {
        let schema = include_str!("schema/0001.sql");
        let table = schema.split("create table trends (\n").nth(1).unwrap();
        let lines = table.lines().take_while(|line| !line.contains("primary key"));
        let names: Vec<_> =
            lines.map(|line| line.split_whitespace().next().unwrap_or_default()).collect();
        assert_eq!(names, trend_columns());
    }

    #[test]
    fn a_row_is_read_and_a_bad_value_is_named() {
        let layout = TrendLayout::of(&Fields::new(trend_columns())).unwrap();
        let row = layout.read(&values()).unwrap();
        assert_eq!(
            (row.key.key.as_str(), row.key.bucket_start),
            ("#a\u{fffd}b", 1_450_396_800_000_000)
        );
        assert_eq!(row.times, [Some(1_450_396_800_000_000), None]);
        for (at, value, what) in [
            (0, Value::Null, "\"key_type\": expected a text"),
            (2, Value::Null, "\"bucket_start\": expected a time, found null"),
            (2, "soon".into(), "expected a time, found \"soon\""),
            (5, "many".into(), "\"count\": expected a whole number"),
        ] {
            let mut bad = values();
            bad[at] = value;
            let error = layout.read(&bad).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn of_rows_with_the_same_key_the_last_one_counts() {
        let layout = TrendLayout::of(&Fields::new(trend_columns())).unwrap();
        let mut later = values();
        later[5] = Value::Int(60);
        let rows = [layout.read(&values()).unwrap(), layout.read(&later).unwrap()];
        let newest = newest_trends(rows.iter());
        assert_eq!(newest.len(), 1);
        assert_eq!(newest[0].values().next(), Some(("count", &Value::Int(60))));
    }
}

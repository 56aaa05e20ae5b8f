//! Monthly partitions, which are created when a row of the month arrives.

use std::collections::BTreeSet;

use time::{Date, OffsetDateTime};

use super::failure::Done;
use super::session::Session;

/// The tables with monthly partitions, each with its partition column.
pub(super) const PARTITIONED: [(&str, &str); 5] = [
    ("posts", "created_at"),
    ("post_hashtags", "created_at"),
    ("post_mentions", "created_at"),
    ("post_urls", "created_at"),
    ("engagement", "at"),
];

/// The first year with monthly partitions, and the first year after them. Two additional partitions
/// hold all other times, so that nonsensical times don't create thousands of tables.
const YEARS: std::ops::Range<i32> = 2000..2100;

/// Microseconds since 1970, the unit of times in the warehouse.
pub type Micros = i64;

/// Converts a time to microseconds.
pub fn micros(time: OffsetDateTime) -> Micros {
    // A time of this crate has a year of four digits.
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

/// Converts microseconds to a time, limited to the first and the last possible time.
pub fn time_of(micros: Micros) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A month that has partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    year: i32,
    month: time::Month,
}

impl Month {
    /// Returns the month of a time, if the month has partitions.
    pub fn of(micros: Micros) -> Option<Self> {
        let time = time_of(micros);
        YEARS.contains(&time.year()).then(|| Self { year: time.year(), month: time.month() })
    }

    /// Returns the month in a partition's name.
    pub fn of_partition(name: &str) -> Option<Self> {
        let (year, month) = name.strip_prefix("posts_")?.split_once('_')?;
        let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
        Some(Self { year: year.parse().ok()?, month })
    }

    /// Returns the next month.
    pub fn next(self) -> Self {
        let year = self.year + i32::from(self.month == time::Month::December);
        Self { year, month: self.month.next() }
    }

    /// Returns the month's first moment.
    pub fn begin(self) -> Micros {
        let day = Date::from_calendar_date(self.year, self.month, 1);
        day.map_or(0, |day| micros(day.midnight().assume_utc()))
    }

    /// Returns the name of a table's partition.
    pub fn partition(self, table: &str) -> String {
        format!("{table}_{:04}_{:02}", self.year, u8::from(self.month))
    }

    fn bound(self) -> String {
        format!("'{:04}-{:02}-01 00:00:00+00'", self.year, u8::from(self.month))
    }
}

impl Session {
    /// Creates the missing partitions of these months, each month in a transaction of its own, so
    /// that nothing else is locked. If several writers need a month, one of them creates it.
    pub(super) fn make_months(&mut self, wanted: BTreeSet<Month>) -> Done<()> {
        if wanted.is_subset(&self.months) {
            return Ok(());
        }
        self.months = self.wait(self.months_there())?;
        for month in wanted {
            if !self.months.contains(&month) {
                self.wait(self.make_month(month))?;
                self.months.insert(month);
            }
        }
        Ok(())
    }

    /// Returns the months that have partitions.
    pub(super) async fn months_there(&self) -> Done<BTreeSet<Month>> {
        let children = "select c.relname::text from pg_inherits i join pg_class c on c.oid = \
            i.inhrelid \
                        where i.inhparent = to_regclass('posts')";
        let mut months = BTreeSet::new();
        for row in self.client().query(children, &[]).await? {
            months.extend(Month::of_partition(row.get(0)));
        }
        Ok(months)
    }

    async fn make_month(&self, month: Month) -> Done<()> {
        let mut statements = format!("begin; select {};", self.months_lock());
        for (table, _) in PARTITIONED {
            let (name, from, to) = (month.partition(table), month.bound(), month.next().bound());
            // Attaching a partition, unlike creating it in place, doesn't block writers of other
            // months.
            statements += &format!(
                "do $$ begin if to_regclass('{name}') is null then \
                 create table {name} (like {table} including all); \
                 alter table {table} attach partition {name} for values from ({from}) to ({to}); \
                 end if; end $$;"
            );
        }
        statements += "commit";
        let made = self.client().batch_execute(&statements).await;
        if made.is_err() {
            // The server may be gone, and the transaction with it.
            let _ = self.client().batch_execute("rollback").await;
        }
        Ok(made?)
    }

    /// Takes the lock for creating and dropping partitions, until the end of the transaction.
    pub(super) fn months_lock(&self) -> String {
        let schema = self.warehouse().schema().replace('\'', "''");
        format!("pg_advisory_xact_lock(hashtextextended('waterspout months {schema}', 0))")
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_month_has_partitions_and_far_times_have_none() {
        let december = Month::of(micros(datetime!(2015-12-31 23:59:59.999999 UTC))).unwrap();
        assert_eq!(december.partition("posts"), "posts_2015_12");
        assert_eq!(december.next().bound(), "'2016-01-01 00:00:00+00'");
        assert_eq!(Month::of_partition("posts_2015_12"), Some(december));
        assert_eq!(time_of(december.begin()), datetime!(2015-12-01 00:00 UTC));
        assert_eq!(Month::of(micros(datetime!(1999-12-31 23:59 UTC))), None);
        assert_eq!(Month::of(micros(datetime!(2100-01-01 0:00 UTC))), None);
        assert_eq!(Month::of_partition("posts_early"), None);
    }
}

//! Drops posts that exceed the retention, by whole months.

use super::failure::{Done, Failure};
use super::months::{Micros, Month, PARTITIONED};
use super::session::Session;
use super::wire::WireTime;
use crate::error::Result;

/// The number of keys that are deleted at a time. More would delay writers of the same posts.
const KEYS_AT_ONCE: i64 = 10_000;

/// The time that the drop of a month waits for readers: a session that waits for a table blocks all
/// later ones.
const DROP_LOCK_MS: u32 = 2_000;

impl Session {
    /// Drops the months that end before a time, with everything that belongs to their posts.
    /// Returns their partitions. A month that another session reads is dropped the next time.
    /// Blocks.
    ///
    /// # Errors
    /// If the server doesn't do it; transient.
    pub fn drop_before(&mut self, time: Micros) -> Result<Vec<String>> {
        let mut dropped = Vec::new();
        let fail = |failure: Failure| failure.transient("can't drop old months");
        let there = self.wait(self.months_there()).map_err(fail)?;
        for month in there.into_iter().filter(|month| month.next().begin() <= time) {
            self.wait(self.drop_month(month)).map_err(fail)?;
            self.months.remove(&month);
            dropped.push(month.partition("posts"));
        }
        // A month's keys are deleted after its posts. A post that arrives in between is older than
        // the time, and isn't loaded.
        let newest = Month::of(time).map_or(time, Month::begin);
        for (table, column) in [("post_keys", "created_at"), ("deletions", "deleted_at")] {
            while self.wait(self.delete_some(table, column, newest)).map_err(fail)? > 0 {}
        }
        Ok(dropped)
    }

    async fn drop_month(&self, month: Month) -> Done<()> {
        let mut statements = format!(
            "begin; set local lock_timeout to {DROP_LOCK_MS}; select {};",
            self.months_lock()
        );
        for (table, _) in PARTITIONED {
            statements += &format!("drop table if exists {};", month.partition(table));
        }
        statements += "commit";
        let dropped = self.client().batch_execute(&statements).await;
        if dropped.is_err() {
            // The server may be gone, and the transaction with it.
            let _ = self.client().batch_execute("rollback").await;
        }
        Ok(dropped?)
    }

    /// Deletes rows of a table that are older than a time, in several steps.
    async fn delete_some(&self, table: &str, column: &str, time: Micros) -> Done<u64> {
        let delete = format!(
            "delete from {table} where ctid = any (array(select ctid from {table} \
             where {column} < $1 order by platform, post_id limit {KEYS_AT_ONCE} \
             for update skip locked))"
        );
        Ok(self.client().execute(&delete, &[&WireTime(time)]).await?)
    }
}

//! Many small files of closed partitions become few.

use std::sync::Arc;

use time::OffsetDateTime;

use super::rewrite::{Rewrite, Rewritten, rewrite};
use crate::error::Result;
use crate::lake::journal;
use crate::lake::store::{Store, list_all};

/// Compacts those of these partitions for which it pays, and hands each to `report`.
///
/// # Errors
/// As [`rewrite`]; what was compacted before stays so.
pub fn compact(
    store: &Arc<dyn Store>,
    partitions: &[String],
    bytes_max: u64,
    now: OffsetDateTime,
    mut report: impl FnMut(&Rewritten) -> Result<()>,
) -> Result<()> {
    journal::settle(store.as_ref(), now)?;
    for partition in partitions {
        if !pays(store.as_ref(), partition, bytes_max)? {
            continue;
        }
        let how = Rewrite { why: "compact", bytes_max, keep: &|_| true, now };
        if let Some(rewritten) = rewrite(store, partition, &how)? {
            report(&rewritten)?;
        }
    }
    Ok(())
}

/// Whether two files that follow each other fit into one.
fn pays(store: &dyn Store, partition: &str, bytes_max: u64) -> Result<bool> {
    let files = list_all(store, &format!("{partition}/"))?;
    // Two brackets become one comma.
    Ok(files.windows(2).any(|pair| pair[0].bytes + pair[1].bytes - 1 <= bytes_max))
}

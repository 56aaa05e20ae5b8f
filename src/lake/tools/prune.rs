//! Old partitions go.

use time::OffsetDateTime;

use crate::error::Result;
use crate::lake::journal::delete_partition;
use crate::lake::names::PartitionName;
use crate::lake::store::{Store, list_all};

/// Those of these partitions that began before a time.
pub fn older(partitions: &[String], than: OffsetDateTime) -> Vec<String> {
    let is_older = |name: &&String| name.parse::<PartitionName>().is_ok_and(|name| name.boundary < than);
    partitions.iter().filter(is_older).cloned().collect()
}

/// Deletes a partition with all that is in it.
///
/// # Errors
/// If something can't be deleted; then the rest can be deleted later.
pub fn prune(store: &dyn Store, partition: &str) -> Result<()> {
    delete_partition(store, partition)?;
    list_all(store, &format!("{partition}/"))?.iter().try_for_each(|object| store.delete(&object.key))
}

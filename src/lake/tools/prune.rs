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

/// Why a partition of these must not go. None if it may.
///
/// # Errors
/// If something can't be looked up.
pub fn stays(store: &dyn Store, all: &[String], partition: &str) -> Result<Option<&'static str>> {
    let boundary = |name: &str| name.parse::<PartitionName>().ok().map(|name| name.boundary);
    let newest = all.iter().filter_map(|name| boundary(name)).max();
    if boundary(partition) >= newest {
        return Ok(Some("none began after it, so it may be the one that is being written"));
    }
    if store.is_being_written(partition)? {
        return Ok(Some("a writer has files for it in _staging"));
    }
    if !store.links(&format!("{partition}/"))?.is_empty() {
        return Ok(Some("it is a link, or has one in it"));
    }
    Ok(None)
}

/// Deletes a partition with all that is in it.
///
/// # Errors
/// If something can't be deleted; then the rest can be deleted later.
pub fn prune(store: &dyn Store, partition: &str) -> Result<()> {
    delete_partition(store, partition)?;
    list_all(store, &format!("{partition}/"))?.iter().try_for_each(|object| store.delete(&object.key))
}

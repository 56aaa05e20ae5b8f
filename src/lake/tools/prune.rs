//! Old partitions go.

use time::OffsetDateTime;

use crate::error::Result;
use crate::lake::index::Generation;
use crate::lake::journal::{delete_partition, generation};
use crate::lake::names::PartitionName;
use crate::lake::replaced::{self, PRUNE};
use crate::lake::store::{Store, list_all};
use crate::lake::view;

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

/// Deletes a partition with all that is in it. Before the first file goes a note says so, for readers
/// that have listed it or have read a part of it, and for writers that come back.
///
/// # Errors
/// If something can't be deleted; then the rest can be deleted later.
pub fn prune(store: &dyn Store, partition: &str, now: OffsetDateTime) -> Result<()> {
    let files = view::objects(store, partition)?;
    let there = files.iter().map(|(name, _)| name.to_string()).collect();
    let bytes = files.iter().map(|(_, object)| object.bytes).sum();
    // How many posts there were isn't asked: what is damaged can be pruned as well.
    replaced::put(store, &Generation { files: there, bytes, ..generation(partition, &[], PRUNE, now) })?;
    delete_partition(store, partition)?;
    list_all(store, &format!("{partition}/"))?.iter().try_for_each(|object| store.delete(&object.key))
}

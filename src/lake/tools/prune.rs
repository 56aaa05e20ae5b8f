//! Deletes old partitions.

use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::lake::index::{Generation, Index};
use crate::lake::journal::{Attempt, generation};
use crate::lake::names::PartitionName;
use crate::lake::replaced::PRUNE;
use crate::lake::store::{Store, list_all};
use crate::lake::view;

/// Returns those of these partitions that began before a time.
pub fn older(partitions: &[String], than: OffsetDateTime) -> Vec<String> {
    let is_older =
        |name: &&String| name.parse::<PartitionName>().is_ok_and(|name| name.boundary < than);
    partitions.iter().filter(is_older).cloned().collect()
}

/// Returns the reason why one of these partitions must stay; `None` if it may be deleted.
///
/// # Errors
/// If the store can't be read.
pub fn stays(store: &dyn Store, all: &[String], partition: &str) -> Result<Option<&'static str>> {
    let boundary = |name: &str| name.parse::<PartitionName>().ok().map(|name| name.boundary);
    let newest = all.iter().filter_map(|name| boundary(name)).max();
    if boundary(partition) >= newest {
        return Ok(Some("no partition began after it, so it may still be written"));
    }
    if store.is_being_written(partition)? {
        return Ok(Some("a writer has files for it in _staging"));
    }
    if !store.links(&format!("{partition}/"))?.is_empty() {
        return Ok(Some("it is a link, or contains one"));
    }
    Ok(None)
}

/// Deletes a partition with all of its objects. The journal keeps other tools away, and lets them
/// finish the work of a killed one; a note informs readers that have listed the partition or have
/// read a part of it, and writers that come back. Returns false if another process works on the
/// partition.
///
/// # Errors
/// If an object can't be deleted; then the rest can be deleted later.
pub fn prune(store: &dyn Store, partition: &str, now: OffsetDateTime) -> Result<bool> {
    let name: PartitionName = partition.parse().map_err(|_| {
        Error::fatal(format!("bad partition \"{partition}\": expected <time>-<uuid>"))
    })?;
    // No partition of this name is ever written.
    let none = PartitionName::begin(name.boundary, name.names).to_string();
    let Some(attempt) = Attempt::begin(store, &[partition], &none, PRUNE, now)? else {
        return Ok(false);
    };
    let files = view::objects(store, partition)?;
    let there = files.iter().map(|(name, _)| name.to_string()).collect();
    let bytes = files.iter().map(|(_, object)| object.bytes).sum();
    let mut index = Index::new(&none, Vec::new());
    // The number of posts isn't recorded, so a damaged partition can be pruned as well.
    index.replaces.push(Generation {
        files: there,
        bytes,
        ..generation(partition, &[], PRUNE, now)
    });
    attempt.done(store, index, now)?;
    let others = list_all(store, &format!("{partition}/"))?;
    others.iter().try_for_each(|object| store.delete(&object.key)).map(|()| true)
}

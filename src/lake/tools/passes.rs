//! Searches all partitions in passes, although another process may replace some of them during a
//! pass.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::lake::names::FileName;
use crate::lake::store::{Object, Store};
use crate::lake::view;

pub use crate::lake::listing::partitions;

/// The searched partitions, with the files that they had at that time.
#[derive(Default)]
pub struct Passes {
    seen: BTreeMap<String, Vec<(FileName, Object)>>,
}

/// A partition that has to be searched.
pub struct Fresh {
    /// Its name.
    pub partition: String,
    /// True if no partition of this name was searched before; false if it was searched with other
    /// files.
    pub is_new: bool,
}

impl Passes {
    /// Returns those of these partitions that weren't searched in their current state, and records
    /// them as searched.
    ///
    /// # Errors
    /// If their files can't be listed.
    pub fn fresh(&mut self, store: &dyn Store, partitions: &[String]) -> Result<Vec<Fresh>> {
        let mut fresh = Vec::new();
        for partition in partitions {
            let there = view::objects(store, partition)?;
            if self.seen.get(partition) != Some(&there) {
                let is_new = self.seen.insert(partition.clone(), there).is_none();
                fresh.push(Fresh { partition: partition.clone(), is_new });
            }
        }
        Ok(fresh)
    }
}

//! Looks at every partition, though another process may replace some by others meanwhile.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::lake::names::FileName;
use crate::lake::store::{Object, Store};
use crate::lake::view;

pub use crate::lake::listing::partitions;

/// What was looked at: the partitions, with the files that they had then.
#[derive(Default)]
pub struct Passes {
    seen: BTreeMap<String, Vec<(FileName, Object)>>,
}

/// A partition that has to be looked at.
pub struct Fresh {
    /// Its name.
    pub partition: String,
    /// Whether there was none of this name, and not only other files in it.
    pub is_new: bool,
}

impl Passes {
    /// Those of these partitions that weren't looked at as they are now; from now on they were.
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

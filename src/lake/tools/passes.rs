//! Looks at every partition, though another process may replace some by others meanwhile.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::lake::names::FileName;
use crate::lake::store::{Object, Store};
use crate::lake::{journal, view};

/// How often the partitions are listed anew because the journal changed meanwhile.
const LISTINGS_MAX: usize = 10;

/// The names of the visible partitions at one moment: of an old one and the one in its place exactly one.
///
/// # Errors
/// If they can't be listed, or others are replaced all the time.
pub fn partitions(store: &dyn Store) -> Result<Vec<String>> {
    let mut before = journal::hidden(store)?;
    for _ in 0..LISTINGS_MAX {
        let listed = view::partitions(store)?;
        let after = journal::hidden(store)?;
        if before == after {
            return Ok(listed);
        }
        before = after;
    }
    Err(Error::transient(format!("another process is rewriting the lake at \"{}\": try again", store.address(""))))
}

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

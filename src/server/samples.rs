//! The posts that trends name as samples, found in the lakes that the topology writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::lake::scan::ObjectReader;
use crate::lake::store::Store;
use crate::lake::view::{objects, partitions};
use crate::post::Post;

/// The maximum size of the files that are searched in one look, in bytes. A search takes about
/// 10 ms of a core per megabyte.
const LOOK_BYTES_MAX: u64 = 16 << 20;

/// The maximum number of files, and of partitions, that are searched in one look. Each costs a
/// request to its store.
const FILES_MAX: usize = 100;
const PARTITIONS_MAX: usize = 3;

/// The maximum size of a post that is kept, in bytes. A larger one is shown by its id.
const POST_BYTES_MAX: usize = 64 << 10;

/// The partition and the name of a file, by which the files of a lake are ordered.
type Position = (String, String);

/// The sample posts that were wanted last. Its size is bounded by their number.
#[derive(Default)]
pub(crate) struct SampleBook {
    found: BTreeMap<String, Post>,
    /// The ids that aren't in any file up to `newest`, as far as one look goes.
    absent: BTreeSet<String>,
    /// The newest file that was searched, by the address of its lake.
    newest: BTreeMap<String, Position>,
}

impl SampleBook {
    /// Returns the posts with these ids that are in the newest files of these lakes. Files that
    /// were searched for the same ids before aren't read again. A file that can't be read counts as
    /// empty.
    pub(crate) fn find(
        &mut self,
        lakes: &[Arc<dyn Store>],
        ids: &BTreeSet<String>,
    ) -> BTreeMap<String, Post> {
        self.found.retain(|id, _| ids.contains(id));
        let mut missing: BTreeSet<String> = ids.clone();
        missing.retain(|id| !self.found.contains_key(id));
        let has_new = missing.iter().any(|id| !self.absent.contains(id));
        for lake in lakes {
            if missing.is_empty() {
                break;
            }
            let address = lake.address("");
            let searched = if has_new { None } else { self.newest.get(&address).cloned() };
            if let Some(newest) = self.search(lake.as_ref(), searched.as_ref(), &mut missing) {
                self.newest.insert(address, newest);
            }
        }
        self.absent = missing;
        self.found.clone()
    }

    /// Searches the files of a lake that are newer than `searched`, the newest first. Returns the
    /// newest one.
    fn search(
        &mut self,
        lake: &dyn Store,
        searched: Option<&Position>,
        missing: &mut BTreeSet<String>,
    ) -> Option<Position> {
        let names = partitions(lake).ok()?;
        let (mut newest, mut bytes, mut files) = (None, 0, 0);
        for partition in names.iter().rev().take(PARTITIONS_MAX) {
            for (name, object) in objects(lake, partition).ok()?.iter().rev() {
                let position = (partition.clone(), name.to_string());
                bytes += object.bytes;
                files += 1;
                let is_known = searched.is_some_and(|searched| position <= *searched);
                if is_known || missing.is_empty() || bytes > LOOK_BYTES_MAX || files > FILES_MAX {
                    return newest.or(searched.cloned());
                }
                self.search_file(lake, &object.key, missing);
                newest.get_or_insert(position);
            }
        }
        newest
    }

    fn search_file(&mut self, lake: &dyn Store, key: &str, missing: &mut BTreeSet<String>) {
        let mut reader = ObjectReader::new(lake, key);
        while let Ok(Some(posts)) = reader.next_posts() {
            for post in posts {
                let Some(id) = post.id() else { continue };
                if missing.remove(&*id) && post.len() <= POST_BYTES_MAX {
                    // A slice would keep all of the file's bytes.
                    self.found.insert(id.into_owned(), post.detached());
                }
            }
            if missing.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::memory::MemoryStore;

    const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn put(store: &MemoryStore, file: &str, id: &str, text: &str) {
        let post = format!(r#"[{{"tweet":{{"id":"{id}","text":"{text}"}}}}]"#);
        store.put(&format!("{PARTITION}/{file}"), post.into()).unwrap();
    }

    #[test]
    fn samples_are_found_in_the_newest_files_and_only_new_files_are_read_again() {
        let memory = Arc::new(MemoryStore::default());
        put(&memory, "0000000", "1", "old");
        put(&memory, "0000001", "2", "new");
        let lakes: [Arc<dyn Store>; 1] = [Arc::clone(&memory) as Arc<dyn Store>];
        let ids: BTreeSet<String> = ["1", "2", "3"].map(str::to_owned).into();
        let mut book = SampleBook::default();
        let found = book.find(&lakes, &ids);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(found["2"].text().unwrap(), "new");
        // Only the new file is read.
        put(&memory, "0000002", "3", "newest");
        memory.delete(&format!("{PARTITION}/0000000")).unwrap();
        assert_eq!(book.find(&lakes, &ids).len(), 3);
        assert!(book.absent.is_empty());
        // Posts that aren't wanted are dropped.
        assert_eq!(book.find(&lakes, &["2".to_owned()].into()).len(), 1);
        assert_eq!(book.found.len(), 1);
    }
}

//! The lakes that a topology writes, to look into: partitions, their files, and the posts in these.
//! All functions block.

use std::path::Path;
use std::sync::Arc;

use super::fleet::{Kept, Refusal, Shared};
use crate::dead_letter::DEAD;
use crate::engine::dead_letter_root;
use crate::error::Error;
use crate::lake::names::FileName;
use crate::lake::scan::ObjectReader;
use crate::lake::store::local::LocalStore;
use crate::lake::store::{Object, Store};
use crate::lake::tools::ls::{Line, ls};
use crate::lake::view::{objects, partitions};
use crate::post::Post;
use crate::registry::Config;
use crate::topology::Topology;

/// The maximum number of partitions or files on a page. Each partition costs a request to its
/// store.
pub(crate) const ENTRIES: usize = 50;

/// The maximum number of posts on a page.
pub(crate) const POSTS: usize = 20;

/// The number of posts at the beginning of a file that can be shown. For each page, all posts
/// before it are read.
const POSTS_SHOWN_MAX: usize = 10_000;

/// A lake that a topology writes.
pub(crate) struct TopologyLake {
    /// The sink that writes it, or `_dead` for the dead letters.
    pub component: String,
    store: Arc<dyn Store>,
}

/// A part of a list, and its position in the list.
pub(crate) struct Section<T> {
    /// The entries that are shown.
    pub entries: Vec<T>,
    /// The position of the first of them.
    pub from: usize,
    /// The length of the whole list, if it is known.
    pub all: Option<usize>,
    /// The position at which the next part begins.
    pub next: Option<usize>,
}

/// Returns the lakes that a topology writes, in the order of its sinks, and its dead letters last.
///
/// # Errors
/// If the topology can't be read, or a lake can't be opened.
pub(crate) fn lakes(shared: &Shared, kept: &Kept) -> Result<Vec<TopologyLake>, Refusal> {
    let topology = shared.read_offline(&kept.topology()).map_err(Refusal::Invalid)?;
    let mut found = Vec::new();
    for spec in &topology.components {
        if let Config::Sink(config) = &spec.config
            && let Some(store) = config.open_lake()?
        {
            found.push(TopologyLake { component: spec.id.clone(), store });
        }
    }
    found.push(dead_letters(&topology, &kept.folder.state()));
    Ok(found)
}

fn dead_letters(topology: &Topology, state: &Path) -> TopologyLake {
    let root = dead_letter_root(topology, state).join(DEAD);
    TopologyLake { component: DEAD.to_owned(), store: Arc::new(LocalStore::new(root)) }
}

/// Returns one of the lakes that a topology writes.
///
/// # Errors
/// If there is no such lake, or as [`lakes`].
pub(crate) fn find(shared: &Shared, kept: &Kept, component: &str) -> Result<TopologyLake, Refusal> {
    let all = lakes(shared, kept)?;
    all.into_iter()
        .find(|lake| lake.component == component)
        .ok_or_else(|| missing(&format!("\"{component}\" of this topology writes no lake")))
}

fn missing(what: &str) -> Refusal {
    Refusal::Missing(what.to_owned())
}

impl TopologyLake {
    /// Returns the lake's address.
    pub(crate) fn address(&self) -> String {
        self.store.address("").trim_end_matches('/').to_owned()
    }

    /// Returns the store that holds the lake.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Returns true if this is the lake of the dead letters.
    pub(crate) fn is_dead(&self) -> bool {
        self.component == DEAD
    }

    /// Returns its partitions from a position on, the newest first.
    ///
    /// # Errors
    /// If they can't be listed.
    pub(crate) fn partitions(&self, from: usize, max: usize) -> Result<Section<Line>, Error> {
        let mut names = partitions(self.store.as_ref())?;
        names.reverse();
        let section = section(&names, from, max);
        let entries = ls(self.store.as_ref(), &section.entries)?;
        Ok(Section { entries, from: section.from, all: section.all, next: section.next })
    }

    /// Returns the files of a partition from a position on, in their order.
    ///
    /// # Errors
    /// If there is no such partition, or the files can't be listed.
    pub(crate) fn files(
        &self,
        partition: &str,
        from: usize,
    ) -> Result<Section<(FileName, Object)>, Refusal> {
        Ok(section(&self.all_files(partition)?, from, ENTRIES))
    }

    fn all_files(&self, partition: &str) -> Result<Vec<(FileName, Object)>, Refusal> {
        // A name that isn't listed is never opened, because its path may lead out of the lake.
        if !partitions(self.store.as_ref())?.iter().any(|known| known == partition) {
            return Err(missing(&format!("there is no partition \"{partition}\"")));
        }
        Ok(objects(self.store.as_ref(), partition)?)
    }

    /// Returns the posts of a file from a position on, in their order.
    ///
    /// # Errors
    /// If there is no such file, it can't be read, or the position is too far into it.
    pub(crate) fn posts(
        &self,
        partition: &str,
        file: &str,
        from: usize,
    ) -> Result<Section<Post>, Refusal> {
        if from >= POSTS_SHOWN_MAX {
            let what = format!(
                "only the first {POSTS_SHOWN_MAX} posts of a file are shown: use `waterspout lake cat` \
                 for the others"
            );
            return Err(Refusal::Bad(what));
        }
        let files = self.all_files(partition)?;
        let found = files.into_iter().find(|(name, _)| name.to_string() == file);
        let Some((_, object)) = found else {
            return Err(missing(&format!("there is no file \"{file}\" in this partition")));
        };
        let mut reader = ObjectReader::new(self.store.as_ref(), &object.key);
        let (mut passed, mut entries, mut next) = (0, Vec::new(), None);
        while next.is_none() {
            let read = reader.next_posts();
            let read = read.map_err(|trouble| trouble.of(self.store.as_ref(), &object.key))?;
            let Some(posts) = read else { break };
            for post in posts {
                if passed >= from + POSTS {
                    next = Some(passed).filter(|next| *next < POSTS_SHOWN_MAX);
                    return Ok(Section { entries, from, all: None, next });
                }
                if passed >= from {
                    // A slice would keep all of the file's bytes.
                    entries.push(post.detached());
                }
                passed += 1;
            }
        }
        Ok(Section { entries, from, all: Some(passed), next })
    }

    /// Returns some of the newest posts, the newest first.
    ///
    /// # Errors
    /// If they can't be read.
    pub(crate) fn newest_posts(&self, max: usize) -> Result<Vec<Post>, Error> {
        let names = partitions(self.store.as_ref())?;
        let Some(partition) = names.last() else { return Ok(Vec::new()) };
        let files = objects(self.store.as_ref(), partition)?;
        let Some((_, object)) = files.last() else { return Ok(Vec::new()) };
        let mut reader = ObjectReader::new(self.store.as_ref(), &object.key);
        let mut newest: Vec<Post> = Vec::new();
        loop {
            let read = reader.next_posts();
            match read.map_err(|trouble| trouble.of(self.store.as_ref(), &object.key))? {
                Some(posts) => newest.extend(posts.iter().map(Post::detached)),
                None => break,
            }
            newest.drain(..newest.len().saturating_sub(max));
        }
        newest.reverse();
        Ok(newest)
    }
}

/// Returns a part of a list.
fn section<T: Clone>(all: &[T], from: usize, max: usize) -> Section<T> {
    let entries: Vec<T> = all.iter().skip(from).take(max).cloned().collect();
    let end = from.saturating_add(entries.len());
    let next = Some(end).filter(|end| *end < all.len() && !entries.is_empty());
    Section { entries, from, all: Some(all.len()), next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::memory::MemoryStore;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> TopologyLake {
        let store = MemoryStore::default();
        let posts: Vec<String> = (0..45).map(|number| format!("{{\"a\":{number}}}")).collect();
        store.put(&format!("{NIGHT}/0000000"), "[{\"a\":1}]".into()).unwrap();
        store.put(&format!("{MORNING}/0000000"), format!("[{}]", posts.join(",")).into()).unwrap();
        store.put("secret/0000000", "[{\"a\":1}]".into()).unwrap();
        TopologyLake { component: "lake".into(), store: Arc::new(store) }
    }

    #[test]
    fn a_lake_is_shown_part_by_part() {
        let lake = lake();
        let first = lake.partitions(0, 1).unwrap();
        assert_eq!(
            (&*first.entries[0].partition, first.all, first.next),
            (MORNING, Some(2), Some(1))
        );
        let second = lake.partitions(1, 1).unwrap();
        assert_eq!((&*second.entries[0].partition, second.next), (NIGHT, None));
        assert_eq!(lake.files(MORNING, 0).unwrap().entries.len(), 1);
        let posts = lake.posts(MORNING, "0000000", 0).unwrap();
        assert_eq!((posts.entries.len(), posts.next), (POSTS, Some(POSTS)));
        let posts = lake.posts(MORNING, "0000000", 40).unwrap();
        assert_eq!((posts.entries.len(), posts.all, posts.next), (5, Some(45), None));
        let newest = lake.newest_posts(2).unwrap();
        assert_eq!(
            newest.iter().map(|post| &post[..]).collect::<Vec<_>>(),
            [b"{\"a\":44}", b"{\"a\":43}"]
        );
    }

    #[test]
    fn only_listed_partitions_and_files_are_looked_up() {
        let lake = lake();
        for partition in ["secret", "..", "", "../secret", "_index"] {
            assert!(matches!(lake.files(partition, 0), Err(Refusal::Missing(_))), "{partition}");
        }
        for file in ["1", "../0000000", "0000001", ""] {
            assert!(matches!(lake.posts(NIGHT, file, 0), Err(Refusal::Missing(_))), "{file}");
        }
        assert!(matches!(lake.posts(NIGHT, "0000000", POSTS_SHOWN_MAX), Err(Refusal::Bad(_))));
        assert!(lake.posts(NIGHT, "0000000", 5).unwrap().entries.is_empty());
        assert!(lake.partitions(usize::MAX, 10).unwrap().entries.is_empty());
    }
}

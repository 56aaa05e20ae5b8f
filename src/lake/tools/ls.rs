//! Lists the contents of partitions, from the index if it exists.

use serde::Serialize;
use time::OffsetDateTime;

use crate::error::Result;
use crate::lake::index::{self, Found, Index};
use crate::lake::names::PartitionName;
use crate::lake::parallel;
use crate::lake::store::{Store, list_all};

/// A partition in the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its name.
    pub partition: String,
    /// The boundary at which it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub time: Option<OffsetDateTime>,
    /// The UUID in its name, which its writer chose at random.
    pub writer: Option<String>,
    /// The number of its files.
    pub micro_batches: u64,
    /// The number of posts in these files; unknown without the index.
    pub posts: Option<u64>,
    /// The total length of these files, in bytes.
    pub bytes: u64,
    /// The oldest post's own time, if the index knows it.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first: Option<OffsetDateTime>,
    /// The newest post's own time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last: Option<OffsetDateTime>,
}

/// Describes each of these partitions. If a partition has no index, its files are listed, but not
/// read.
///
/// # Errors
/// If a file can't be listed or read.
pub fn ls(store: &dyn Store, partitions: &[String]) -> Result<Vec<Line>> {
    let found: Vec<_> = partitions.iter().zip(index::read_all(store, partitions)?).collect();
    let line = |(name, found): &(&String, Found)| match found {
        Found::Index(index) => Ok(indexed(name, index)),
        _ => listed(store, name),
    };
    parallel::map(&found, line).into_iter().collect()
}

fn indexed(name: &str, index: &Index) -> Line {
    let first = index.files.iter().filter_map(|file| file.first).min();
    let last = index.files.iter().filter_map(|file| file.last).max();
    let (posts, bytes) = (Some(index.posts()), index.bytes());
    Line { micro_batches: index.files.len() as u64, posts, bytes, first, last, ..empty(name) }
}

fn listed(store: &dyn Store, name: &str) -> Result<Line> {
    let files = list_all(store, &format!("{name}/"))?;
    let bytes = files.iter().map(|file| file.bytes).sum();
    Ok(Line { micro_batches: files.len() as u64, bytes, ..empty(name) })
}

fn empty(name: &str) -> Line {
    let parsed: Option<PartitionName> = name.parse().ok();
    Line {
        partition: name.into(),
        time: parsed.map(|name| name.boundary),
        writer: parsed.map(|name| name.id.to_string()),
        micro_batches: 0,
        posts: None,
        bytes: 0,
        first: None,
        last: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::lake::store::watched::Watched;
    use crate::lake::view;

    #[test]
    fn partitions_with_an_index_are_not_listed_one_by_one() {
        let listings = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&listings);
        let store = Watched::before(&Arc::default(), move |request| {
            counted.fetch_add(usize::from(request.is_listing()), Ordering::Relaxed);
            Ok(())
        });
        let store: &dyn Store = &*store;
        let name =
            |number: u32| format!("2015-12-18T00:00:00-{number:08x}-e695-4f96-aca2-d24c7527aed7");
        for number in 0..300 {
            store.put(&format!("{}/0000000", name(number)), "[{\"a\":1}]".into()).unwrap();
            index::write(store, &index::build(store, &name(number)).unwrap()).unwrap();
        }
        let asked = || {
            listings.store(0, Ordering::Relaxed);
            let lines = ls(store, &view::partitions(store).unwrap()).unwrap();
            (lines.len(), listings.load(Ordering::Relaxed))
        };
        let (lines, first) = asked();
        assert!(lines == 300 && first <= 6, "{first} listings");
        store.delete(&index::key(&name(7))).unwrap();
        assert_eq!(asked(), (300, first + 1), "the one without an index is");
    }
}

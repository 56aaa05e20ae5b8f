//! Collects the side-channel index of a running capture: the number of posts and bytes of each file
//! that it closes, their checksum, and the posts' own times. When a partition has ended and all of
//! its files are visible, the commit that published the last of them writes its index.
//!
//! The index is optional, so no other work waits or fails for it: if anything goes wrong, the
//! partition has no index, and `lake index --missing` makes one. After a crash no task knows all
//! files of the partition: [`left`](super::left) then makes its index from the files.

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::index::{File, Index};
use crate::epoch::Promise;
use crate::post::own_time;

/// The number of files that are remembered for a partition, some hundred bytes each. A partition
/// with more files has no index until `lake index` makes it.
const FILES_MAX: usize = 100_000;

/// The number of partitions whose index can wait to be written. Further indexes that can't be
/// written are discarded.
const WAITING_MAX: usize = 100;

/// The oldest and the newest of posts' own times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    range: Option<(OffsetDateTime, OffsetDateTime)>,
}

impl Times {
    /// Adds one more post, which is one JSON object.
    #[inline]
    pub fn see(&mut self, post: &[u8]) {
        let Some(time) = own_time(post) else { return };
        self.range = Some(
            self.range.map_or((time, time), |(first, last)| (first.min(time), last.max(time))),
        );
    }
}

/// The partitions whose index isn't written yet.
#[derive(Debug, Default)]
pub struct Indexing {
    open: BTreeMap<String, Known>,
    /// Complete indexes that aren't written yet.
    waiting: Vec<Index>,
}

/// The known facts about a partition.
#[derive(Debug, Default)]
struct Known {
    files: Vec<File>,
    ended: bool,
}

impl Indexing {
    /// Records a closed file that is promised as a whole.
    pub fn file(&mut self, promise: &Promise, times: Times) {
        let Some((partition, file)) = promise.segment.split_once('/') else { return };
        let known = self.open.entry(partition.to_owned()).or_default();
        if known.files.len() > FILES_MAX {
            return;
        }
        let (first, last) = times.range.unzip();
        let Promise { posts, length: bytes, checksum: crc32, .. } = *promise;
        known.files.push(File { file: file.to_owned(), posts, bytes, crc32, first, last });
    }

    /// Records that a partition has ended: it gets no more files.
    pub fn ended(&mut self, partition: &str) {
        if let Some(known) = self.open.get_mut(partition) {
            known.ended = true;
        }
    }

    /// Takes the indexes that can be written: those of partitions that have ended and have no file
    /// among these unpublished promises.
    pub fn take(&mut self, unpublished: &[Promise]) -> Vec<Index> {
        let is_missing = |partition: &str| {
            let of = |promise: &Promise| {
                promise.segment.split_once('/').is_some_and(|(found, _)| found == partition)
            };
            unpublished.iter().any(of)
        };
        let is_done = |(name, known): &(&String, &Known)| known.ended && !is_missing(name);
        let done: Vec<String> =
            self.open.iter().filter(is_done).map(|(name, _)| name.clone()).collect();
        let mut complete = std::mem::take(&mut self.waiting);
        for name in done {
            let files = self.open.remove(&name).unwrap_or_default().files;
            if files.len() <= FILES_MAX {
                complete.push(Index::new(&name, files));
            }
        }
        complete
    }

    /// Puts back an index that couldn't be written. The next commit tries again.
    pub fn put_back(&mut self, index: Index) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn promise(partition: &str, number: u32) -> Promise {
        let segment = format!("{partition}/{number:07}");
        Promise { place: String::new(), segment, length: 10, posts: 2, checksum: 3, closed: true }
    }

    #[test]
    fn a_partition_is_indexed_when_it_has_ended_and_all_of_it_is_visible() {
        let mut indexing = Indexing::default();
        let (first, second) = (promise(NIGHT, 0), promise(NIGHT, 1));
        [&first, &second].into_iter().for_each(|promise| indexing.file(promise, Times::default()));
        assert_eq!(indexing.take(&[]), []);
        indexing.ended(NIGHT);
        indexing.ended(MORNING);
        assert_eq!(indexing.take(&[first, second]), []);
        let written = indexing.take(&[promise(MORNING, 0)]);
        assert_eq!((written.len(), written[0].files.len(), written[0].posts()), (1, 2, 4));
        assert_eq!(indexing.take(&[]), []);
        indexing.put_back(written[0].clone());
        assert_eq!(indexing.take(&[]), written);
    }

    #[test]
    fn times_are_the_oldest_and_the_newest_of_posts_that_have_one() {
        let mut times = Times::default();
        times.see(b"{\"note\":1}");
        assert_eq!(times, Times::default());
        for day in [19, 18, 20] {
            times.see(
                format!("{{\"toot\":{{\"created_at\":\"2015-12-{day}T00:00:00Z\"}}}}").as_bytes(),
            );
        }
        assert_eq!(
            times.range,
            Some((datetime!(2015-12-18 00:00 UTC), datetime!(2015-12-20 00:00 UTC)))
        );
    }

    #[test]
    fn too_many_files_are_given_up() {
        let mut indexing = Indexing::default();
        (0..FILES_MAX as u32 + 5)
            .for_each(|number| indexing.file(&promise(NIGHT, number), Times::default()));
        indexing.ended(NIGHT);
        assert_eq!(indexing.take(&[]), []);
        (0..2 * WAITING_MAX).for_each(|_| indexing.put_back(Index::new(NIGHT, Vec::new())));
        assert_eq!(indexing.take(&[]).len(), WAITING_MAX);
    }
}

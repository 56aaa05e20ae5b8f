//! What one task writes: one partition after the other, one file of it after the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::closing::{self, Decision, Open};
use super::disk::{failed, make_folders};
use super::micro_batch::MicroBatch;
use super::names::{FileNumber, PartitionName, Segment};
use super::staging::{Place, Prepare, SharedLedger, Staged, commit};
use crate::clock::SharedClock;
use crate::error::Result;
use crate::sink::{Barrier, Job, Prepared, Promise};
use crate::topology;

/// How many closed files are kept open until the barrier syncs them. The rest is opened again, so
/// that small files and many tasks don't use up the process's file handles.
const OPEN_FILES_MAX: usize = 16;

/// What a writer is made with.
pub struct Start {
    /// When a file closes.
    pub limits: topology::MicroBatch,
    /// The boundary of the first partition.
    pub boundary: OffsetDateTime,
    /// Whether barriers will be durable.
    pub durable: bool,
    /// The clock that the age of a file begins by.
    pub clock: SharedClock,
}

/// Writes posts into the lake for one task, in the two phases of a sink.
pub struct Writer {
    place: Arc<Place>,
    ledger: SharedLedger,
    limits: topology::MicroBatch,
    clock: SharedClock,
    /// The boundary of the partition that the next post goes to.
    boundary: OffsetDateTime,
    partition: Option<Partition>,
    open: Option<MicroBatch>,
    /// Files that were closed since the last barrier, in order.
    closed: Vec<Staged>,
    /// Folders that got new names since then.
    folders: BTreeSet<PathBuf>,
    /// Staging folders of the partitions that ended since then.
    ended: Vec<PathBuf>,
    /// Whether barriers are durable, so that writing back early pays.
    durable: bool,
}

/// The partition that is being written.
#[derive(Clone, Copy)]
struct Partition {
    name: PartitionName,
    /// The number of its next file; `None` after the last that a name can express.
    next: Option<FileNumber>,
}

impl Partition {
    fn begin(boundary: OffsetDateTime) -> Self {
        Self { name: PartitionName::begin(boundary), next: Some(FileNumber::FIRST) }
    }
}

impl Writer {
    /// A writer for one task. It makes nothing on the disk before the first post.
    pub fn new(place: Place, start: Start) -> Self {
        let Start { limits, boundary, durable, clock } = start;
        Self {
            place: Arc::new(place),
            ledger: SharedLedger::default(),
            limits,
            clock,
            boundary,
            partition: None,
            open: None,
            closed: Vec::new(),
            folders: BTreeSet::new(),
            ended: Vec::new(),
            durable,
        }
    }

    /// Makes the staging folder, to find out whether the lake can be written to.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn make_staging(&mut self) -> Result<()> {
        let staging = self.place.staging.clone();
        self.make_folders(&staging)
    }

    /// Writes a post, which is one JSON object on one line. On an error nothing of it counts, and it
    /// can be written again.
    ///
    /// # Errors
    /// If the disk doesn't take what was written before, or a new file.
    pub fn write(&mut self, post: &[u8]) -> Result<()> {
        let durable = self.durable;
        let file = self.file_for(post.len() as u64)?;
        file.append(post)?;
        if durable {
            file.begin_writing_back();
        }
        Ok(())
    }

    /// The first phase. What the barrier closes is closed, and everything is handed to the operating
    /// system; the job makes it durable.
    ///
    /// # Errors
    /// If the operating system doesn't take it; then preparing the same barrier can be tried again.
    pub fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.durable = barrier.durable;
        self.settle(barrier)?;
        let mut prepare = Prepare {
            closed: std::mem::take(&mut self.closed),
            folders: std::mem::take(&mut self.folders),
            open: self.open.as_ref().map(|open| (staged(open, true), open.since())),
            ended: std::mem::take(&mut self.ended),
            durable: barrier.durable,
            last: barrier.last,
        };
        let (place, ledger) = (Arc::clone(&self.place), Arc::clone(&self.ledger));
        Ok(Box::new(move || prepare.run(&place, &ledger)))
    }

    /// The second phase: the job moves closed files into their partitions. It can be repeated.
    pub fn commit(&mut self, promises: Vec<Promise>) -> Job<()> {
        let (place, ledger, durable) = (Arc::clone(&self.place), Arc::clone(&self.ledger), self.durable);
        Box::new(move || commit(&place, &ledger, &promises, durable))
    }

    /// The file that takes a post of this size: the open one, or a new one if that is full.
    fn file_for(&mut self, bytes: u64) -> Result<&mut MicroBatch> {
        if let Some(open) = self.open_now()
            && let Decision::Close(_) = closing::before_post(&open, bytes, &self.limits)
        {
            self.close()?;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        Ok(self.open.insert(open))
    }

    fn open_now(&self) -> Option<Open> {
        let (open, partition) = self.open.as_ref().zip(self.partition)?;
        Some(Open {
            posts: open.posts(),
            length: open.length(),
            since: open.since(),
            boundary: partition.name.boundary,
        })
    }

    /// Begins the next file, in a new partition if there is none, or if its numbers are used up.
    fn begin(&mut self) -> Result<MicroBatch> {
        if self.partition.is_some_and(|partition| partition.next.is_none()) {
            self.end_partition();
        }
        let boundary = self.boundary;
        let partition = self.partition.get_or_insert_with(|| Partition::begin(boundary));
        let (name, number) = (partition.name, partition.next.expect("one whose numbers are used up has just ended"));
        let folder = self.place.staged_partition(&name);
        self.make_folders(&folder)?;
        let segment = Segment { partition: name, number };
        let file = MicroBatch::begin(self.place.staged(&segment), segment.to_string(), self.clock.now())?;
        self.folders.insert(folder);
        self.partition = Some(Partition { name, next: number.next() });
        Ok(file)
    }

    fn make_folders(&mut self, folder: &Path) -> Result<()> {
        let changed = make_folders(folder).map_err(|cause| failed("make", folder, cause))?;
        self.folders.extend(changed);
        Ok(())
    }

    /// Closes the open file. After an error it is still there, and closing can be tried again.
    fn close(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.close()?;
        if self.durable {
            open.begin_writing_back();
        }
        let keep = self.durable && self.closed.len() < OPEN_FILES_MAX;
        self.closed.push(staged(open, keep));
        self.open = None;
        Ok(())
    }

    fn end_partition(&mut self) {
        if let Some(partition) = self.partition.take() {
            self.ended.push(self.place.staged_partition(&partition.name));
        }
    }

    /// Closes what the barrier closes, and hands the rest to the operating system.
    fn settle(&mut self, barrier: &Barrier) -> Result<()> {
        match self.open_now().map(|open| closing::at_barrier(&open, barrier, &self.limits)) {
            Some(Decision::Close(_)) => self.close()?,
            Some(Decision::Keep) => self.open.as_mut().map_or(Ok(()), MicroBatch::flush)?,
            None => {}
        }
        if barrier.last || barrier.boundary != self.boundary {
            self.end_partition();
        }
        self.boundary = barrier.boundary;
        Ok(())
    }
}

fn staged(file: &MicroBatch, keep_open: bool) -> Staged {
    Staged { promise: file.promise(), path: file.path().to_path_buf(), file: keep_open.then(|| file.file()) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use proptest::prelude::*;
    use tempfile::TempDir;
    use time::macros::datetime;

    use super::*;
    use crate::clock::ManualClock;

    const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);
    const SMALL: topology::MicroBatch = topology::MicroBatch { posts: 3, bytes: 1000, age: Duration::from_secs(60) };

    /// A lake with one writer, and a clock that starts at noon.
    struct Lake {
        root: TempDir,
        clock: Arc<ManualClock>,
        writer: Writer,
        epoch: u64,
    }

    impl Lake {
        fn new(limits: topology::MicroBatch) -> Self {
            let (root, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(NOON));
            let place = Place::new(root.path().into(), root.path(), "run", "lake", 0);
            let start = Start { limits, boundary: NOON, durable: true, clock: clock.clone() };
            Self { writer: Writer::new(place, start), root, clock, epoch: 0 }
        }

        fn write(&mut self, posts: &[&str]) {
            posts.iter().for_each(|post| self.writer.write(post.as_bytes()).unwrap());
        }

        fn barrier(&mut self) -> Barrier {
            use crate::clock::Clock;
            self.epoch += 1;
            let now = self.clock.now();
            let boundary = crate::lake::names::boundary(now, Duration::from_secs(3600));
            Barrier { epoch: self.epoch, now, boundary, last: false, durable: self.epoch % 2 == 1 }
        }

        fn prepare(&mut self, barrier: &Barrier) -> Prepared {
            self.writer.prepare(barrier).unwrap()().unwrap()
        }

        fn commit(&mut self, prepared: &Prepared) {
            let closed = prepared.promises.iter().filter(|promise| promise.closed).cloned().collect();
            self.writer.commit(closed)().unwrap();
        }

        fn checkpoint(&mut self) -> Prepared {
            let barrier = self.barrier();
            let prepared = self.prepare(&barrier);
            self.commit(&prepared);
            prepared
        }

        fn end(&mut self) {
            let barrier = Barrier { last: true, ..self.barrier() };
            let prepared = self.prepare(&barrier);
            assert_eq!(prepared.open_since, None);
            self.commit(&prepared);
        }

        /// Everything below the root but the staging: `<boundary> <number> <content>`, by partition.
        fn visible(&self) -> Vec<String> {
            let mut lines = Vec::new();
            for folder in fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().path()) {
                let name = folder.file_name().unwrap().to_str().unwrap().to_string();
                if name == "_staging" {
                    continue;
                }
                let name: PartitionName = name.parse().unwrap();
                for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                    let number = file.file_name().unwrap().to_str().unwrap();
                    let content = fs::read_to_string(&file).unwrap();
                    lines.push(format!("{} {number} {content}", name.boundary.time()));
                }
            }
            lines.sort();
            lines
        }

        fn has_staging(&self) -> bool {
            self.root.path().join("_staging").exists()
        }
    }

    #[test]
    fn nothing_is_visible_before_the_commit_and_an_open_file_not_even_then() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "{\"a\":4}"]);
        let barrier = lake.barrier();
        let prepared = lake.prepare(&barrier);
        assert_eq!(lake.visible(), Vec::<String>::new());
        assert_eq!(prepared.promises.iter().map(|p| (p.posts, p.closed)).collect::<Vec<_>>(), [(3, true), (1, false)]);
        assert_eq!(prepared.open_since, Some(NOON));
        lake.commit(&prepared);
        assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1},{\"a\":2},{\"a\":3}]"]);
    }

    #[test]
    fn a_file_spans_barriers_and_closes_by_age() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}"]);
        lake.checkpoint();
        lake.write(&["{\"a\":2}"]);
        lake.clock.advance(Duration::from_secs(59));
        assert_eq!(lake.checkpoint().open_since, Some(NOON));
        assert_eq!(lake.visible(), Vec::<String>::new());
        lake.clock.advance(Duration::from_secs(1));
        assert_eq!(lake.checkpoint().open_since, None);
        assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1},{\"a\":2}]"]);
    }

    #[test]
    fn a_full_file_is_visible_after_the_next_commit() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"]);
        lake.checkpoint();
        assert_eq!(lake.visible().len(), 1);
    }

    #[test]
    fn bytes_close_a_file_and_a_larger_post_has_one_for_itself() {
        let mut lake = Lake::new(topology::MicroBatch { bytes: 20, ..SMALL });
        lake.write(&["{\"a\":1}", "{\"a\":22}", "{\"a\":3}", "{\"a\":\"larger than twenty bytes\"}", "{\"a\":4}"]);
        lake.end();
        assert_eq!(
            lake.visible(),
            [
                "12:00:00.0 0000000 [{\"a\":1},{\"a\":22}]",
                "12:00:00.0 0000001 [{\"a\":3}]",
                "12:00:00.0 0000002 [{\"a\":\"larger than twenty bytes\"}]",
                "12:00:00.0 0000003 [{\"a\":4}]",
            ]
        );
    }

    #[test]
    fn a_rollover_begins_another_partition_with_the_next_post() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}"]);
        lake.clock.advance(Duration::from_secs(3600));
        assert_eq!(lake.checkpoint().open_since, None);
        lake.clock.advance(Duration::from_secs(3600));
        lake.checkpoint();
        lake.write(&["{\"a\":2}"]);
        lake.end();
        assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1}]", "14:00:00.0 0000000 [{\"a\":2}]"]);
        assert!(!lake.has_staging());
    }

    #[test]
    fn the_end_without_posts_leaves_nothing() {
        let mut lake = Lake::new(SMALL);
        lake.writer.make_staging().unwrap();
        assert!(lake.has_staging());
        lake.end();
        assert_eq!(fs::read_dir(lake.root.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_staging_of_others_stays() {
        let mut lake = Lake::new(SMALL);
        let other = lake.root.path().join("_staging/other/lake-0");
        fs::create_dir_all(&other).unwrap();
        lake.write(&["{\"a\":1}"]);
        lake.end();
        assert!(other.is_dir());
        assert!(!lake.root.path().join("_staging/run").exists());
    }

    #[test]
    fn after_the_last_number_a_new_partition_begins() {
        let mut lake = Lake::new(topology::MicroBatch { posts: 1, ..SMALL });
        lake.write(&["{\"a\":1}"]);
        lake.writer.partition.as_mut().unwrap().next = Some(FileNumber::LAST);
        lake.write(&["{\"a\":2}", "{\"a\":3}"]);
        lake.end();
        let visible = lake.visible();
        assert_eq!(visible.iter().filter(|line| line.contains(" 0000000 ")).count(), 2, "{visible:?}");
        assert_eq!(fs::read_dir(lake.root.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_was_not_committed_is_promised_again_and_may_be_committed_twice() {
        let mut lake = Lake::new(topology::MicroBatch { posts: 1, ..SMALL });
        lake.write(&["{\"a\":1}"]);
        let barrier = lake.barrier();
        let first = lake.prepare(&barrier);
        lake.write(&["{\"a\":2}"]);
        let barrier = lake.barrier();
        let second = lake.prepare(&barrier);
        assert_eq!(second.promises[..1], first.promises);
        lake.commit(&first);
        lake.commit(&second);
        lake.commit(&second);
        assert_eq!(lake.visible().len(), 2);
        assert_eq!(lake.checkpoint().promises, []);
    }

    #[test]
    fn a_barrier_beside_a_commit_promises_again_what_is_then_left_alone() {
        let mut lake = Lake::new(topology::MicroBatch { posts: 1, ..SMALL });
        lake.write(&["{\"a\":1}"]);
        let barrier = lake.barrier();
        let first = lake.prepare(&barrier);
        let barrier = lake.barrier();
        let stale = lake.prepare(&barrier);
        lake.commit(&first);
        let published = lake.root.path().join(&first.promises[0].segment);
        fs::rename(&published, lake.root.path().join("_elsewhere")).unwrap();
        lake.commit(&stale);
        assert!(!published.exists(), "the second commit didn't even look at it");
    }

    #[test]
    fn a_prepare_that_failed_can_be_run_again() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}"]);
        let barrier = Barrier { last: true, durable: true, ..lake.barrier() };
        let mut job = lake.writer.prepare(&barrier).unwrap();
        let staging = lake.root.path().join("_staging");
        fs::rename(&staging, lake.root.path().join("_hidden")).unwrap();
        assert_eq!(job().unwrap_err().kind(), crate::error::Kind::Transient);
        fs::rename(lake.root.path().join("_hidden"), staging).unwrap();
        let prepared = job().unwrap();
        lake.commit(&prepared);
        assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1}]"]);
    }

    #[test]
    fn what_is_written_while_a_job_waits_belongs_to_the_next_epoch() {
        let mut lake = Lake::new(SMALL);
        lake.write(&["{\"a\":1}", "{\"a\":2}"]);
        let barrier = lake.barrier();
        let mut job = lake.writer.prepare(&barrier).unwrap();
        lake.write(&["{\"a\":3}", "{\"a\":4}"]);
        let prepared = job().unwrap();
        assert_eq!(prepared.promises.iter().map(|p| (p.posts, p.closed)).collect::<Vec<_>>(), [(2, false)]);
    }

    #[test]
    fn a_folder_that_vanished_is_an_error_after_which_the_same_post_is_written_once() {
        let mut lake = Lake::new(SMALL);
        fs::write(lake.root.path().join("_staging"), "in the way").unwrap();
        for _ in 0..2 {
            let error = lake.writer.write(b"{\"a\":1}").unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Transient);
        }
        fs::remove_file(lake.root.path().join("_staging")).unwrap();
        lake.write(&["{\"a\":1}"]);
        lake.end();
        assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1}]"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_goes_in_comes_out_in_order_and_without_gaps(
            steps in prop::collection::vec((0usize..400, 0u64..2000), 1..40),
            posts in 1u64..6,
            bytes in 1u64..800,
        ) {
            let mut lake = Lake::new(topology::MicroBatch { posts, bytes, age: Duration::from_secs(60) });
            let mut expected = Vec::new();
            for (i, (size, seconds)) in steps.iter().enumerate() {
                let post = format!("{{\"{i}\":\"{}\"}}", "ä".repeat(*size));
                lake.write(&[&post]);
                expected.push(post);
                if seconds % 3 == 0 {
                    lake.clock.advance(Duration::from_secs(*seconds));
                    lake.checkpoint();
                }
            }
            lake.end();
            let (mut found, mut numbers) = (Vec::new(), Vec::new());
            for line in lake.visible() {
                let (head, content) = line.split_once(" [").unwrap();
                let (boundary, number) = head.split_once(' ').unwrap();
                numbers.push((boundary.to_string(), number.parse::<usize>().unwrap()));
                let raw: Vec<&serde_json::value::RawValue> = serde_json::from_str(&line[line.len() - content.len() - 1..]).unwrap();
                prop_assert!(raw.len() as u64 <= posts && ((content.len() as u64) < bytes || raw.len() == 1));
                found.extend(raw.into_iter().map(|raw| raw.get().to_string()));
            }
            // The clock may pass midnight, so partitions are compared in the order of their first posts.
            found.sort_by_key(|post| post[2..post[2..].find('"').unwrap() + 2].parse::<usize>().unwrap());
            prop_assert_eq!(found, expected);
            for boundary in numbers.chunk_by(|(a, _), (b, _)| a == b) {
                prop_assert!(boundary.iter().enumerate().all(|(i, (_, number))| i == *number), "{:?}", boundary);
            }
            prop_assert!(!lake.has_staging());
        }
    }
}

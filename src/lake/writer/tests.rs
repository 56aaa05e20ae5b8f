//! Tests one writer through checkpoints, with a clock that the test moves.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use time::macros::datetime;

use super::*;
use crate::clock::ManualClock;
use crate::lake::publish::{Place, Rename};

const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);
const SMALL: crate::epoch::MicroBatch =
    crate::epoch::MicroBatch { posts: 3, bytes: 1000, age: Duration::from_secs(60) };

/// A lake with one writer, and a clock that starts at noon.
struct Lake {
    root: TempDir,
    clock: Arc<ManualClock>,
    writer: Writer,
    epoch: u64,
}

impl Lake {
    fn new(limits: crate::epoch::MicroBatch) -> Self {
        Self::of(limits, Names::Extended, Form::ARRAY)
    }

    fn of(limits: crate::epoch::MicroBatch, names: Names, form: Form) -> Self {
        let (root, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(NOON));
        let place = Place::new(root.path().into(), "run", "lake", 0);
        let start =
            Start { limits, boundary: NOON, durable: true, clock: clock.clone(), names, form };
        let writer = Writer::new(Arc::new(Rename), place.name().unwrap(), start).unwrap();
        Self { writer, root, clock, epoch: 0 }
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

    /// Returns everything below the root except the staging folder:
    /// `<boundary> <number> <content>`, by partition.
    fn visible(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for folder in fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let name = folder.file_name().unwrap().to_str().unwrap().to_string();
            if name == "_staging" || name == "_index" {
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
    assert_eq!(
        prepared.promises.iter().map(|p| (p.posts, p.closed)).collect::<Vec<_>>(),
        [(3, true), (1, false)]
    );
    assert_eq!(prepared.open_since, Some(NOON));
    lake.commit(&prepared);
    assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1},{\"a\":2},{\"a\":3}]"]);
}

#[test]
fn a_partition_may_have_a_name_without_colons() {
    let mut lake = Lake::of(SMALL, Names::Basic, Form::ARRAY);
    lake.write(&["{\"a\":1}"]);
    lake.end();
    let names = fs::read_dir(lake.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let partitions: Vec<_> = names.filter(|name| !name.starts_with('_')).collect();
    assert!(partitions.iter().all(|name| name.starts_with("20260203T120000Z-")), "{partitions:?}");
    assert_eq!(lake.visible(), ["12:00:00.0 0000000 [{\"a\":1}]"]);
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
    let mut lake = Lake::new(crate::epoch::MicroBatch { bytes: 20, ..SMALL });
    lake.write(&[
        "{\"a\":1}",
        "{\"a\":22}",
        "{\"a\":3}",
        "{\"a\":\"larger than twenty bytes\"}",
        "{\"a\":4}",
    ]);
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
    assert_eq!(
        lake.visible(),
        ["12:00:00.0 0000000 [{\"a\":1}]", "14:00:00.0 0000000 [{\"a\":2}]"]
    );
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
    let mut lake = Lake::new(crate::epoch::MicroBatch { posts: 1, ..SMALL });
    lake.write(&["{\"a\":1}"]);
    lake.writer.partition.as_mut().unwrap().next = Some(FileNumber::LAST);
    lake.write(&["{\"a\":2}", "{\"a\":3}"]);
    lake.end();
    let visible = lake.visible();
    assert_eq!(visible.iter().filter(|line| line.contains(" 0000000 ")).count(), 2, "{visible:?}");
    assert_eq!(fs::read_dir(lake.root.path()).unwrap().count(), 3, "two partitions and the index");
}

#[test]
fn what_was_not_committed_is_promised_again_and_may_be_committed_twice() {
    let mut lake = Lake::new(crate::epoch::MicroBatch { posts: 1, ..SMALL });
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
    let mut lake = Lake::new(crate::epoch::MicroBatch { posts: 1, ..SMALL });
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
    assert_eq!(
        prepared.promises.iter().map(|p| (p.posts, p.closed)).collect::<Vec<_>>(),
        [(2, false)]
    );
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

/// Tests a post that would have fitted, and comes after a failed close.
#[test]
fn a_file_whose_packing_failed_is_packed_later_and_takes_no_other_post() {
    use crate::lake::form::{Compression, Format};
    let form = Form::Text(Format::JsonArray, Compression::Gzip);
    let mut lake = Lake::of(crate::epoch::MicroBatch { bytes: 30, ..SMALL }, Names::Extended, form);
    lake.write(&["{\"a\":1}"]);
    let partition = lake.writer.partition.unwrap().name;
    let packed = lake.writer.staging.partition(&partition).join("0000000.json.gz");
    fs::create_dir(&packed).unwrap();
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(30));
    for post in [large.as_str(), "{\"a\":2}"] {
        assert!(
            lake.writer.write(post.as_bytes()).unwrap_err().chain().contains("can't pack into")
        );
    }
    assert!(
        lake.writer
            .prepare(&Barrier { epoch: 1, now: NOON, boundary: NOON, last: false, durable: true })
            .is_err()
    );
    fs::remove_dir(&packed).unwrap();
    lake.write(&["{\"a\":2}"]);
    lake.end();
    let unpacked = |number: usize| {
        let path = lake.root.path().join(format!("{partition}/{number:07}.json.gz"));
        let mut text = Vec::new();
        crate::lake::unpack::unpack_file(Compression::Gzip, &path, |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        String::from_utf8(text).unwrap()
    };
    assert_eq!([unpacked(0), unpacked(1)], ["[{\"a\":1}]", "[{\"a\":2}]"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_goes_in_comes_out_in_order_and_without_gaps(
        steps in prop::collection::vec((0usize..400, 0u64..2000), 1..40),
        posts in 1u64..6,
        bytes in 1u64..800,
    ) {
        let mut lake = Lake::new(crate::epoch::MicroBatch { posts, bytes, age: Duration::from_secs(60) });
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
        // The clock may pass midnight, so partitions are compared in the order of their first
        // posts.
        found.sort_by_key(|post| post[2..post[2..].find('"').unwrap() + 2].parse::<usize>().unwrap());
        prop_assert_eq!(found, expected);
        for boundary in numbers.chunk_by(|(a, _), (b, _)| a == b) {
            prop_assert!(boundary.iter().enumerate().all(|(i, (_, number))| i == *number), "{:?}", boundary);
        }
        prop_assert!(!lake.has_staging());
    }
}

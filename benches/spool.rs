//! The spool alone: posts appended with group commit while a reader follows, beside
//! `cp` and `sync` of the same bytes.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use waterspout::spool::{Appended, Options, Spool};

const POST_BYTES: usize = 2_700;

/// About 200 MB.
const POSTS: usize = 75_000;

/// All posts, one after the other.
fn posts() -> Vec<u8> {
    let mut bytes = vec![0; POSTS * POST_BYTES];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

/// Appends all posts on a thread while a reader follows; all of it synced and read at the end.
fn spool(folder: &Path, posts: &[u8]) -> Duration {
    let _ = fs::remove_dir_all(folder);
    let started = Instant::now();
    let (spool, _) = Spool::open(folder, 0, Options::default()).expect("the disk has room");
    let mut reader = spool.reader(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    thread::scope(|scope| {
        scope.spawn(|| append(&spool, posts));
        let mut read = 0;
        while let Some(batch) = runtime.block_on(reader.next_batch()).expect("the log is whole") {
            read += batch.records.len();
        }
        assert_eq!(read, POSTS);
    });
    spool.sync().expect("the disk is well");
    started.elapsed()
}

fn append(spool: &Spool, posts: &[u8]) {
    for (number, post) in posts.chunks(POST_BYTES).enumerate() {
        let appended =
            spool.append(&(number as u64).to_le_bytes(), post).expect("the disk has room");
        assert_ne!(appended, Appended::Closed);
    }
    spool.finish();
}

fn copy(from: &Path, to: &Path) -> Duration {
    let _ = fs::remove_file(to);
    let started = Instant::now();
    let status =
        Command::new("sh").arg("-c").arg("cp \"$0\" \"$1\" && sync").args([from, to]).status();
    assert!(status.expect("a shell").success());
    started.elapsed()
}

/// Runs `once` as often as criterion asks, on a disk that has nothing else to write.
fn quiet(times: u64, mut once: impl FnMut() -> Duration) -> Duration {
    let sync = || Command::new("sync").status().expect("sync");
    (0..times).map(|_| (sync(), once()).1).sum()
}

fn write(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let posts = posts();
    let file = folder.path().join("posts");
    fs::write(&file, &posts).expect("the disk has room");
    let mut group = c.benchmark_group("200 MB of posts");
    group.throughput(Throughput::Bytes(posts.len() as u64)).sample_size(10);
    group.bench_function("cp + sync", |b| {
        b.iter_custom(|n| quiet(n, || copy(&file, &folder.path().join("copy"))))
    });
    let log = folder.path().join("spool");
    group.bench_function("spool, with a reader", |b| {
        b.iter_custom(|n| quiet(n, || spool(&log, &posts)))
    });
}

criterion_group!(benches, write);
criterion_main!(benches);

//! The cost of a checkpoint on this machine's disk, and how soon a large state is back.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use std::hint::black_box;
use std::path::Path;
use std::thread;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use time::OffsetDateTime;
use waterspout::checkpoint::{Changes, DiskStore, StateStore};
use waterspout::epoch::StateChange;

/// The number of keys in the restored state.
const KEYS: u64 = 1_000_000;

/// A count of a word: a key of about ten bytes, a value of eight.
fn change(key: u64, value: u64) -> StateChange {
    // Spreads neighbours over all key groups, as a hash does.
    let key_group = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u16;
    StateChange {
        key_group,
        key: format!("word{key:06}").into_bytes(),
        value: Some(value.to_le_bytes().to_vec()),
    }
}

fn changes(epoch: u64, keys: impl Iterator<Item = u64>) -> Changes {
    let mut changes = Changes::none(epoch, OffsetDateTime::UNIX_EPOCH, OffsetDateTime::UNIX_EPOCH);
    changes.state = vec![("count".to_owned(), keys.map(|key| change(key, epoch)).collect())];
    changes
}

/// A state with [`KEYS`] keys, complete in epoch 1.
fn million(folder: &Path) -> DiskStore {
    let store = DiskStore::open(folder).expect("the folder is new");
    store.save(&changes(1, 0..KEYS)).expect("there is room");
    store
}

fn save(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let store = million(folder.path());
    let mut epoch = 1;
    let mut group = c.benchmark_group("state");
    group.sample_size(10);
    for count in [0, 1_000, 100_000] {
        group.throughput(Throughput::Elements(count.max(1)));
        group.bench_function(BenchmarkId::new("save of 1 M keys, changed", count), |b| {
            let next = || {
                epoch += 1;
                // Keys from all over the state, and others each time.
                changes(epoch, (0..count).map(|i| (i * (KEYS / count) + epoch) % KEYS))
            };
            b.iter_batched(
                next,
                |changes| store.save(&changes).expect("there is room"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn restore(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let store = million(folder.path());
    let mut group = c.benchmark_group("state");
    group.sample_size(10).throughput(Throughput::Elements(KEYS));
    for threads in [1_u16, 2, 4] {
        group.bench_function(BenchmarkId::new("restore of 1 M keys, threads", threads), |b| {
            b.iter(|| assert_eq!(read(&store, threads), KEYS));
        });
    }
    drop(store);
    group.bench_function("open and restore of 1 M keys", |b| {
        b.iter(|| read(&DiskStore::open(folder.path()).expect("it was closed"), 1));
    });
    group.finish();
}

/// All keys, each thread a range of the key groups.
fn read(store: &DiskStore, threads: u16) -> u64 {
    let range = |thread: u16| thread * (1024 / threads)..(thread + 1) * (1024 / threads);
    let count = |thread: u16| {
        let mut count = 0;
        let take = &mut |key: &[u8], value: &[u8]| {
            black_box((key, value));
            count += 1;
            Ok(())
        };
        store.restore("count", range(thread), take).expect("it can be read");
        count
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..threads).map(|thread| scope.spawn(move || count(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it only counts")).sum()
    })
}

criterion_group!(benches, save, restore);
criterion_main!(benches);

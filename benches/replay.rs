//! Replay sorted by the posts' own time, over 64 partitions that were written together, beside the
//! same lake as it lies there.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

mod parts;
#[path = "parts/tweets.rs"]
mod tweets;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

/// The size of the replay, and the number of its partitions.
const BYTES: u64 = 512 << 20;
const PARTITIONS: usize = 64;

fn replay(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (lake, state) = (folder.path().join("lake"), folder.path().join("state"));
    let written = tweets::lake(&lake, PARTITIONS, BYTES);
    let registry = waterspout::components::standard();
    let mut group = c.benchmark_group("64 partitions into null");
    group
        .throughput(Throughput::Bytes(written.bytes))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat);
    for order in ["Partition", "Time"] {
        let text = format!(
            r#"Topology(
                name: "bench",
                spouts: {{"in": Spout(run: LocalReplay(root: {lake:?}, order: {order}))}},
                bolts: {{"out": Bolt(run: Null(), inputs: [LocalOrShuffle("in")])}},
            )"#
        );
        group.bench_function(order, |b| {
            b.iter_custom(|n| (0..n).map(|_| parts::run(&text, &registry, &state)).sum());
        });
    }
}

criterion_group!(benches, replay);
criterion_main!(benches);

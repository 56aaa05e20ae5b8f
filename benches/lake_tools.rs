//! The lake's tools, by the second: `verify` reads a lake in the page cache, with and without
//! its index, and `ls` lists 100,000 micro-batches with it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use waterspout::lake::index::{File, Index, build, write};
use waterspout::lake::store::Store;
use waterspout::lake::store::local::LocalStore;
use waterspout::lake::tools::{ls::ls, verify::verify};
use waterspout::lake::view::partitions;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many files are verified, and how long each is.
const FILES: usize = 32;
const FILE_BYTES: usize = 16 << 20;

/// How many partitions are listed, and how many micro-batches each has.
const PARTITIONS: usize = 100;
const MICRO_BATCHES: usize = 1_000;

fn partition(number: usize) -> String {
    format!("2015-12-18T00:00:00-{number:08x}-e695-4f96-aca2-d24c7527aed7")
}

/// Posts of 2.5 KB with nested objects, numbers, and text beyond ASCII.
fn fill(root: &Path) -> u64 {
    let user = serde_json::json!({"id": 17, "name": "台風が近づいています", "url": "https://example.org", "verified": false});
    let entities: Vec<_> = (0..12)
        .map(|i| serde_json::json!({"text": "storm", "indices": [i, i + 5], "user": user}))
        .collect();
    let post = serde_json::json!({"tweet": {
        "created_at": "Fri Dec 18 00:00:01 +0000 2015", "id_str": "1234567890", "text": "storm over the bay", "user": user,
        "entities": entities, "text2": "stay inside tonight ".repeat(40),
    }});
    let post = post.to_string();
    let content = format!("[{}]", vec![post.as_str(); FILE_BYTES / post.len()].join(","));
    fs::create_dir(root.join(partition(0))).expect("a new folder");
    for number in 0..FILES {
        fs::write(root.join(partition(0)).join(format!("{number:07}")), &content)
            .expect("the disk has room");
    }
    (content.len() * FILES) as u64
}

fn verifying(criterion: &mut Criterion) {
    let root = tempfile::tempdir().expect("a folder");
    let store = LocalStore::new(root.path());
    let mut group = criterion.benchmark_group("lake_tools");
    group.throughput(Throughput::Bytes(fill(root.path()))).sample_size(10);
    let check = || {
        let report = verify(&store, &partitions(&store).expect("a lake"), true).expect("a lake");
        assert_eq!(report.findings, []);
        report
    };
    group.bench_function("verify", |bencher| bencher.iter(|| black_box(check())));
    write(&store, &build(&store, &partition(0)).expect("a good lake")).expect("the disk has room");
    group.bench_function("verify_indexed", |bencher| bencher.iter(|| black_box(check())));
    group.bench_function("index", |bencher| {
        bencher.iter(|| black_box(build(&store, &partition(0))))
    });
    group.finish();
}

fn listing(criterion: &mut Criterion) {
    let root = tempfile::tempdir().expect("a folder");
    let store = LocalStore::new(root.path());
    let time = Some(time::OffsetDateTime::UNIX_EPOCH);
    let file = |number| File {
        file: format!("{number:07}"),
        posts: 500,
        bytes: 1 << 20,
        crc32: number,
        first: time,
        last: time,
    };
    for number in 0..PARTITIONS {
        let files = (0..MICRO_BATCHES as u32).map(file).collect();
        write(&store, &Index::new(&partition(number), files)).expect("the disk has room");
        store
            .put(&format!("{}/0000000", partition(number)), "[]".into())
            .expect("the disk has room");
    }
    let mut group = criterion.benchmark_group("lake_tools");
    group.throughput(Throughput::Elements((PARTITIONS * MICRO_BATCHES) as u64)).sample_size(10);
    group.bench_function("ls_indexed", |bencher| {
        bencher.iter(|| {
            let lines = ls(&store, &partitions(&store).expect("a lake")).expect("a lake");
            assert_eq!(lines.iter().map(|line| line.micro_batches).sum::<u64>(), 100_000);
            black_box(lines)
        });
    });
    group.finish();
}

criterion_group!(benches, verifying, listing);
criterion_main!(benches);

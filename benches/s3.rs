//! The time of a capture into S3, beside bare puts of the same objects by the same client, as many
//! at once; and what a server that is down costs the lake beside it.
//!
//! One server on loopback is what the tests have, moto, or MinIO with `WATERSPOUT_S3=minio`
//! (`tests/run --long` installs both); the other keeps nothing and checks nothing, so that all
//! there is to measure is the client.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

#[path = "parts/loopback.rs"]
mod loopback;
mod parts;
#[path = "../tests/support"]
#[allow(dead_code, reason = "tests use the rest")]
mod support {
    mod cache;
    pub(crate) mod s3_server;
    mod sign;

    fn repository(path: &str) -> String {
        format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
    }
}
#[path = "parts/tweets.rs"]
mod tweets;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use waterspout::checkpoint::disk::DiskStore;
use waterspout::engine::{Exit, RunOptions, start};
use waterspout::lake::store::s3::{S3, S3Store};
use waterspout::lake::store::{Put, Store};
use waterspout::lake::upload::UPLOADS_MAX;
use waterspout::metrics::{Phase, Status};
use waterspout::secret::Secret;
use waterspout::topology::{LoadOptions, parse};

use support::s3_server::{ID, KEY, S3Server};

/// How much is captured: some seconds' work, so that uploads run beside the rest.
const BYTES: u64 = 1 << 30;

/// The time after which the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A replay of `lake` into S3, and beside it into a folder if one is given.
fn topology(lake: &Path, endpoint: &str, beside: Option<&Path>) -> String {
    let beside = beside.map_or(String::new(), |root| {
        format!(r#""folder": Bolt(run: Local(root: {root:?}), inputs: [LocalOrShuffle("in")]),"#)
    });
    let [id, key] = ["id", "key"].map(|name| lake.with_file_name(name));
    fs::write(&id, ID).and_then(|()| fs::write(&key, KEY)).expect("the disk has room");
    format!(
        r#"Topology(
            name: "bench",
            spouts: {{"in": Spout(run: LocalReplay(root: {lake:?}))}},
            bolts: {{
                "bucket": Bolt(run: S3(bucket: "lake", endpoint: "{endpoint}", region: "us-east-1",
                                       access_key_id: File({id:?}), secret_access_key: File({key:?})),
                               inputs: [LocalOrShuffle("in")]),
                {beside}
            }},
            micro_batch: MicroBatch(bytes: "8MiB"),
            checkpoint: Checkpoint(every: "250ms"),
        )"#
    )
}

/// The same puts without anything before them: files of these lengths.
fn put_all(endpoint: &str, lengths: &[usize]) -> Duration {
    let key = |key: &str| Some(Secret::new(key));
    let (endpoint, region) = (Some(endpoint.to_owned()), Some("us-east-1".into()));
    let access = S3 { bucket: "lake".into(), endpoint, region, ..S3::default() };
    let store =
        S3Store::open(&S3 { access_key_id: key(ID), secret_access_key: key(KEY), ..access })
            .expect("good settings");
    let all = Bytes::from(vec![b'x'; lengths.iter().copied().max().unwrap_or(0)]);
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..UPLOADS_MAX {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(length) = lengths.get(number) else { break };
                    let put = store.put(&format!("bare/{number:07}"), all.slice(..*length));
                    assert_eq!(put.expect("the server takes it"), Put::Stored);
                }
            });
        }
    });
    started.elapsed()
}

/// The lengths of files of 8 MiB that hold so many bytes.
fn lengths(bytes: u64) -> Vec<usize> {
    (0..bytes.div_ceil(8 << 20))
        .map(|file| (bytes - file * (8 << 20)).min(8 << 20) as usize)
        .collect()
}

fn capture(c: &mut Criterion) {
    beside_bare_puts(c, "1 GiB into a server that keeps nothing", &loopback::start(), || ());
}

fn capture_into_a_real_server(c: &mut Criterion) {
    let server = S3Server::with_bucket("lake");
    let of = std::env::var("WATERSPOUT_S3").unwrap_or_else(|_| "moto".into());
    beside_bare_puts(c, &format!("1 GiB into {of}"), &server.endpoint(), || server.clear("lake"));
}

fn beside_bare_puts(c: &mut Criterion, name: &str, endpoint: &str, clear: impl Fn()) {
    let folder = tempfile::tempdir().expect("a folder");
    let (lake, state) = (folder.path().join("lake"), folder.path().join("state"));
    let written = tweets::lake(&lake, 1, BYTES);
    let (registry, objects) = (waterspout::components::standard(), lengths(written.bytes));
    let text = topology(&lake, endpoint, None);
    let mut group = c.benchmark_group(name);
    group
        .throughput(Throughput::Bytes(written.bytes))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat);
    let times = |n: u64, work: &dyn Fn() -> Duration| {
        let once = |_| {
            let took = work();
            clear();
            took
        };
        (0..n).map(once).sum()
    };
    group.bench_function("bare puts", |b| {
        b.iter_custom(|n| times(n, &|| put_all(endpoint, &objects)))
    });
    group.bench_function("capture", |b| {
        b.iter_custom(|n| times(n, &|| parts::run(&text, &registry, &state)))
    });
}

/// Measures the time until the folder is complete, whatever happens to the bucket.
fn until_captured(lake: &Path, endpoint: &str, posts: u64, folder: &Path) -> Duration {
    let (to, state) = (folder.join("copy"), folder.join("state"));
    let _ = (fs::remove_dir_all(&to), fs::remove_dir_all(&state));
    let text = topology(lake, endpoint, Some(&to));
    let topology = parse(
        "bench.ron",
        &text,
        &waterspout::components::standard(),
        &LoadOptions { online: true, ..LoadOptions::default() },
    )
    .unwrap_or_else(|problems| panic!("a good topology: {problems}"));
    let mut options =
        RunOptions::new(Arc::new(DiskStore::fresh(&state).expect("a folder")), &state);
    options.drain_deadline = Duration::from_millis(500);
    let started = Instant::now();
    let running = start(topology, options).expect("a good topology");
    let is_there = |status: &Status| {
        let received = |id: &str| {
            status.components.iter().find(|row| row.id == id).map_or(0, |row| row.received)
        };
        status.phase == Phase::Committing && received("folder") == posts
    };
    let took = loop {
        match running.wait(Duration::from_millis(2)) {
            None if is_there(&running.status()) => break started.elapsed(),
            None => assert!(started.elapsed() < PATIENCE, "it doesn't end"),
            Some(_) => break started.elapsed(),
        }
    };
    let exit = running.wait(PATIENCE);
    assert!(matches!(exit, Some(Exit::Finished | Exit::NotClean(_))), "{exit:?}");
    took
}

fn outage(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let (lake, endpoint) = (folder.path().join("lake"), loopback::start());
    let written = tweets::lake(&lake, 1, BYTES / 2);
    let mut group = c.benchmark_group("512 MiB into a folder beside S3");
    group
        .throughput(Throughput::Bytes(written.bytes))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat);
    for (name, endpoint) in [("S3 up", endpoint.as_str()), ("S3 down", "http://127.0.0.1:9")] {
        group.bench_function(name, |b| {
            b.iter_custom(|n| {
                (0..n).map(|_| until_captured(&lake, endpoint, written.posts, folder.path())).sum()
            });
        });
    }
}

criterion_group!(benches, capture, capture_into_a_real_server, outage);
criterion_main!(benches);

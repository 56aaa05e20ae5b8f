//! The lake alone: posts into synced files beside `cp` and `sync` of the same bytes,
//! and files back into posts.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

use std::fs;
use std::hint::black_box;
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use time::OffsetDateTime;
use uuid::Uuid;
use waterspout::checkpoint::MemoryStore;
use waterspout::clock::SystemClock;
use waterspout::component::Role;
use waterspout::engine::{Exit, RunOptions, start};
use waterspout::epoch::{Barrier, MicroBatch};
use waterspout::flow::Grouping;
use waterspout::lake::form::{Compression, Form, Format};
use waterspout::lake::names::Names;
use waterspout::lake::publish::{Place, Rename};
use waterspout::lake::replay::{Choice, Place as Lake, read};
use waterspout::lake::writer::{Start, Writer};
use waterspout::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Restarts, Topology};
use waterspout::tuple::{Fields, StreamId, Streams};

/// How much is written and read in one go.
const BYTES: usize = 200 << 20;

/// Posts of 2.6 KB: short and long strings, numbers, nesting, every other one beyond ASCII.
fn posts() -> Vec<Vec<u8>> {
    let post = |i: usize| {
        let text = if i.is_multiple_of(2) {
            "storm over the bay, stay inside tonight"
        } else {
            "台風が近づいています、気をつけて"
        };
        let user = serde_json::json!({
            "id": 1_000_000 + i, "id_str": (1_000_000 + i).to_string(), "name": text, "screen_name": "storm_chaser",
            "location": "Norddeutschland", "url": "https://example.org/storm/chaser", "followers_count": i % 9973,
            "friends_count": 312, "verified": false, "lang": "de", "profile_image_url": "https://example.org/images/1234567890/normal.jpg",
            "description": format!("{text} {text} {text}"), "created_at": "Fri Dec 18 00:00:01 +0000 2015", "protected": false,
        });
        let entities = serde_json::json!({
            "hashtags": [{"text": "storm", "indices": [20, 26]}, {"text": "rain", "indices": [27, 32]}], "symbols": [],
            "urls": [{"url": "https://t.co/abcdefghij", "expanded_url": "https://example.org/a/longer/address?with=query", "indices": [33, 56]}],
            "user_mentions": [{"screen_name": "weather", "name": "Weather", "id": 4242, "id_str": "4242", "indices": [3, 11]}],
        });
        let tweet = |inner: Option<serde_json::Value>| {
            serde_json::json!({
                "created_at": "Fri Dec 18 00:00:01 +0000 2015", "id": 10_u64.pow(15) + i as u64, "text": format!("RT {text} {text}"),
                "source": "<a href=\"https://example.org\" rel=\"nofollow\">Example</a>", "truncated": false, "user": user,
                "in_reply_to_status_id": null, "geo": null, "coordinates": null, "retweet_count": i % 77, "favorited": false,
                "entities": entities, "possibly_sensitive": false, "lang": "ja", "retweeted_status": inner,
            })
        };
        serde_json::json!({ "tweet": tweet(Some(tweet(None))) }).to_string().into_bytes()
    };
    (0..1000).map(post).collect()
}

/// Writes [`BYTES`] of posts into a lake, all of it synced and visible at the end.
fn capture(root: &Path, posts: &[Vec<u8>], durable: bool, form: Form) -> Duration {
    let clock = SystemClock::shared();
    let now = clock.now();
    let started = Instant::now();
    let place = Place::new(root.into(), &Uuid::new_v4().to_string(), "lake", 0);
    let mut writer = Writer::new(
        Arc::new(Rename),
        place.name().expect("the path is UTF-8"),
        Start {
            limits: MicroBatch::default(),
            boundary: OffsetDateTime::UNIX_EPOCH,
            durable,
            clock,
            names: Names::Extended,
            form,
        },
    )
    .expect("the place is Local's");
    let checkpoint = |writer: &mut Writer, last| {
        let barrier =
            Barrier { epoch: 1, now, boundary: OffsetDateTime::UNIX_EPOCH, last, durable };
        let prepared =
            writer.prepare(&barrier).and_then(|mut job| job()).expect("the disk has room");
        writer.commit(prepared.promises)().expect("the files were staged");
    };
    let mut bytes = 0;
    for post in posts.iter().cycle() {
        writer.write(post).expect("the disk has room");
        bytes += post.len() + 1;
        if bytes >= BYTES {
            break;
        }
    }
    checkpoint(&mut writer, true);
    started.elapsed()
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
    let (posts, lake) = (posts(), folder.path().join("lake"));
    let ndjson = folder.path().join("posts.ndjson");
    let lines: Vec<u8> = posts
        .iter()
        .cycle()
        .flat_map(|post| post.iter().copied().chain([b'\n']))
        .take(BYTES)
        .collect();
    fs::write(&ndjson, lines).expect("the disk has room");
    let mut group = c.benchmark_group("200 MiB written");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10);
    let fresh_as = |durable, form| {
        let _ = fs::remove_dir_all(&lake);
        capture(&lake, &posts, durable, form)
    };
    let fresh = |durable| fresh_as(durable, Form::ARRAY);
    group.bench_function("cp + sync", |b| {
        b.iter_custom(|n| quiet(n, || copy(&ndjson, &folder.path().join("copy"))))
    });
    group.bench_function("lake, synced", |b| b.iter_custom(|n| quiet(n, || fresh(true))));
    group.bench_function("lake, checkpoint: Off", |b| b.iter_custom(|n| quiet(n, || fresh(false))));
    for (name, compression) in [("gzip", Compression::Gzip), ("zstd", Compression::Zstd)] {
        let form = Form::Text(Format::Ndjson, compression);
        group.bench_function(format!("lake, synced, {name}"), |b| {
            b.iter_custom(|n| quiet(n, || fresh_as(true, form)))
        });
    }
}

fn read_back(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    capture(folder.path(), &posts(), false, Form::ARRAY);
    let mut group = c.benchmark_group("200 MiB from the page cache");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10);
    group.bench_function("read, checked and split into posts", |b| {
        b.iter(|| {
            let mut posts = 0;
            let lake = Lake::Folder(folder.path().into());
            for partition in lake.partitions(&Choice::glob("*")).expect("the lake is there") {
                let count = |found: Vec<_>, _| {
                    posts += black_box(found).len();
                    true
                };
                read(&lake, &partition, None, count).expect("the lake is whole");
            }
            posts
        });
    });
}

/// A topology of a replay and a sink, both with a hint of 1, checkpoints every second.
fn topology(lake: &Path, sink: &str) -> Topology {
    let registry = waterspout::components::standard();
    let read = |name: &str, ron: &str| {
        registry.find(name).and_then(|entry| entry.read(ron).ok()).expect("good RON").config
    };
    let component = |id: &str, role, config, streams, inputs| ComponentSpec {
        id: id.into(),
        type_name: "",
        role,
        guarantee: "",
        config,
        explained: String::new(),
        parallelism_hint: NonZeroU16::MIN,
        inputs,
        streams,
        on_error: OnError::default(),
        batch: 256,
        linger: None,
        in_front_of: None,
    };
    let input =
        InputSpec { from: 0, stream: StreamId::DEFAULT, grouping: Grouping::LocalOrShuffle };
    let posts = Streams::default_with(Fields::of_posts());
    let replay = read("LocalReplay", &format!("LocalReplay(root: {lake:?})"));
    let name = sink.split('(').next().unwrap_or_default();
    Topology {
        name: "bench".into(),
        components: vec![
            component("in", Role::Spout, replay, posts, vec![]),
            component("out", Role::Sink, read(name, sink), Streams::none(), vec![input]),
        ],
        checkpoint: Checkpoint::default(),
        micro_batch: MicroBatch::default(),
        partition_every: Duration::from_secs(3600),
        memory: 256 << 20,
        restarts: Restarts::default(),
        outside: std::collections::BTreeMap::new(),
        tests: Vec::new(),
    }
}

fn run(topology: Topology, state: &Path) -> Duration {
    let started = Instant::now();
    let options = RunOptions::new(Arc::new(MemoryStore::default()), state);
    let exit = start(topology, options).expect("a good topology").wait(Duration::from_secs(60));
    assert_eq!(exit, Some(Exit::Finished));
    started.elapsed()
}

fn engine(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (lake, to) = (folder.path().join("lake"), folder.path().join("copy"));
    capture(&lake, &posts(), false, Form::ARRAY);
    let mut group = c.benchmark_group("200 MiB through the engine");
    group.throughput(Throughput::Bytes(BYTES as u64)).sample_size(10);
    group.bench_function("lake to null", |b| {
        b.iter_custom(|n| (0..n).map(|_| run(topology(&lake, "Null()"), folder.path())).sum());
    });
    let local = format!("Local(root: {to:?})");
    group.bench_function("lake to lake, synced", |b| {
        b.iter_custom(|n| {
            quiet(n, || {
                let _ = fs::remove_dir_all(&to);
                run(topology(&lake, &local), folder.path())
            })
        });
    });
}

criterion_group!(benches, write, read_back, engine);
criterion_main!(benches);

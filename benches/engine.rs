//! The claims of the engine, a group for each: dynamic tuples through topologies as a file gives them,
//! and posts from an NDJSON file into a lake beside what else could have moved the same bytes.
//! Checkpoints are on, every second, unless the name says otherwise.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

mod parts;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::component::Component;
use waterspout::epoch::Cursor;
use waterspout::error::{Error, Result};
use waterspout::event_time::{EventTime, EventTimeOrder};
use waterspout::post::Post;
use waterspout::registry::Registry;
use waterspout::spout::generate::{Generate, Platform};
use waterspout::spout::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use waterspout::tuple::{Fields, StreamId, Streams};
use waterspout::value::Value;

use parts::{Busy, Identity, run, run_until_taken};

/// How many tuples (in the word count: words) a run moves: about a second's work for a core.
const TUPLES: u64 = 20_000_000;

/// The number of words in a sentence.
const WORDS: u64 = 10;

/// Of how many different words the sentences are made.
const VOCABULARY: u64 = 500;

/// The number of splits of `Constant`: enough for the hints that are measured.
const SPLITS: u64 = 4;

/// The number of tuples that `Constant` emits at a time.
const EMIT_TUPLES: u64 = 256;

/// How much is captured in one go.
const BYTES: u64 = 400_000_000;

/// Emits the same few tuples as fast as they are taken.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
struct Constant {
    /// The number of tuples.
    tuples: u64,
    /// `text`: sentences; `post`: posts; anything else: a number.
    field: String,
    /// The file with the posts, one per line, which are read once.
    #[serde(default)]
    posts: String,
}

impl Component for Constant {
    const NAME: &'static str = "Constant";
    const GUARANTEE: &'static str = "starts again from the beginning after a restart";
}

impl SpoutConfig for Constant {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new([&self.field]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..SPLITS).map(|split| split.to_string()).collect())
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        let sentence = |i: u64| {
            let words: Vec<_> =
                (0..WORDS).map(|j| format!("word{}", (i * 7 + j * j * 13) % VOCABULARY)).collect();
            Value::from(words.join(" "))
        };
        let values = match &*self.field {
            "text" => (0..64).map(sentence).collect(),
            "post" => posts_of(&self.posts)?,
            _ => vec![Value::Int(1)],
        };
        Ok(Box::new(ConstantTask { tuples: self.tuples / SPLITS, values }))
    }
}

/// The first posts of a file: so many that the caches of a core don't hold them all.
fn posts_of(file: &str) -> Result<Vec<Value>> {
    const POSTS: usize = 4_000;
    let text = fs::read_to_string(file).map_err(|error| Error::fatal(error.to_string()))?;
    let post = |line: &str| Post::check(line.as_bytes().to_vec().into()).map(Value::Post);
    text.lines().take(POSTS).map(post).collect::<Result<_, _>>().map_err(Error::fatal)
}

struct ConstantTask {
    /// Of each split.
    tuples: u64,
    values: Vec<Value>,
}

#[async_trait(?Send)]
impl Spout for ConstantTask {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let splits = out.splits().len();
        for split in 0..splits {
            let mut done = 0;
            while done < self.tuples {
                let now = EMIT_TUPLES.min(self.tuples - done);
                self.values
                    .iter()
                    .cycle()
                    .take(now as usize)
                    .for_each(|value| out.push([value.clone()]));
                done += now;
                out.emit(split, Cursor::At(done.to_string())).await?;
            }
        }
        Ok(())
    }
}

/// Emits keys of posts as `Features` does, on the stream `keys`, and a post for each ten of them.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
struct KeyTuples {
    /// The number of keys that are emitted.
    tuples: u64,
    /// The number of different keys.
    keys: u64,
}

impl Component for KeyTuples {
    const NAME: &'static str = "KeyTuples";
    const GUARANTEE: &'static str = "starts again from the beginning after a restart";
}

/// The key tuples of a second of event time.
const KEYS_PER_SECOND: u64 = 20_000;

/// The keys of a post.
const KEYS_OF_POST: u64 = 10;

impl SpoutConfig for KeyTuples {
    fn streams(&self) -> Streams {
        let keys = ["key_type", "key", "platform", "post_id", "author_id"];
        Streams::default_with(Fields::new(["post_id"])).and("keys", Fields::new(keys))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["all".into()])
    }

    fn event_time(&self) -> Option<EventTimeOrder> {
        Some(EventTimeOrder { disorder: Duration::ZERO, ..EventTimeOrder::files() })
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for KeyTuples {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let keys: Vec<Value> = (0..self.keys).map(|key| format!("#tag{key}").into()).collect();
        let ids: Vec<Value> = (0..100_000).map(|id| format!("67764341542434{id}").into()).collect();
        let mut done = 0_u64;
        while done < self.tuples {
            for number in done..done + EMIT_TUPLES {
                let at = (number * 1_000 / KEYS_PER_SECOND).cast_signed();
                out.set_event_time(Some(EventTime::from_unix_millis(at)));
                // Each key once, and then some more often than others.
                let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                let key = if self.keys > number {
                    number
                } else {
                    (mixed % self.keys) * (mixed / self.keys % self.keys) / self.keys
                };
                let post = ids[(number / KEYS_OF_POST % 100_000) as usize].clone();
                if number.is_multiple_of(KEYS_OF_POST) {
                    out.push([post.clone()]);
                }
                let author = ids[(mixed % 100_000) as usize].clone();
                let key = keys[key as usize].clone();
                out.push_to(StreamId(1), ["hashtag".into(), key, "x".into(), post, author]);
            }
            done += EMIT_TUPLES;
            out.emit(0, Cursor::At(done.to_string())).await?;
        }
        Ok(())
    }
}

/// The memory of this process that is in use, in bytes.
fn rss_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The claims: 1 M key tuples a second for a task, and 500,000 keys in less than 200 MB.
fn trends(c: &mut Criterion) {
    let state = tempfile::tempdir().expect("a temporary folder");
    let registry = registry();
    let tuples = TUPLES / 4;
    let mut group = group(c, "trends", Throughput::Elements(tuples));
    for keys in [10_000_u64, 500_000] {
        let topology = format!(
            "Topology(
    name: \"bench\",
    spouts: {{ \"in\": Spout(run: KeyTuples(tuples: {tuples}, keys: {keys})) }},
    bolts: {{
        \"trends\": Bolt(run: Trends(), inputs: [
            Fields(\"in:keys\", [\"key_type\", \"key\"]), All(\"in\"),
        ]),
        \"null\": Bolt(run: Null(), inputs: [LocalOrShuffle(\"trends\")]),
    }},
    checkpoint: Off,
)"
        );
        group.bench_function(format!("{keys} keys"), |b| {
            b.iter_custom(|n| {
                let before = rss_bytes();
                let took = (0..n).map(|_| run(&topology, &registry, state.path())).sum();
                // The allocator keeps what the run has given back, so this is about its peak.
                let grown = rss_bytes().saturating_sub(before) / 1_000_000;
                println!("trends, {keys} keys: memory grew by {grown} MB");
                took
            });
        });
    }
    group.finish();
}

fn registry() -> Registry {
    waterspout::components::standard()
        .spout::<Constant>()
        .spout::<KeyTuples>()
        .bolt::<Identity>()
        .bolt::<Busy>()
}

/// A topology of a `Constant` and these bolts, all with the same hint.
fn constant(tuples: u64, field: &str, hint: u16, bolts: &[(&str, &str, &str)]) -> String {
    let bolts: String = bolts
        .iter()
        .map(|(id, run, input)| {
            format!(
                "        \"{id}\": Bolt(run: {run}, inputs: [{input}], parallelism_hint: {hint}),\n"
            )
        })
        .collect();
    format!(
        "Topology(
    name: \"bench\",
    spouts: {{
        \"in\": Spout(run: Constant(tuples: {tuples}, field: \"{field}\"), parallelism_hint: {hint}),
    }},
    bolts: {{
{bolts}    }},
    checkpoint: Checkpoint(every: \"1s\"),
)"
    )
}

/// A group of whole runs, each long: ten samples of the same number of them.
fn group<'a>(
    c: &'a mut Criterion,
    name: &str,
    throughput: Throughput,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(throughput).sample_size(10).sampling_mode(SamplingMode::Flat);
    group
}

fn with_hints(c: &mut Criterion, name: &str, topology: impl Fn(u16) -> String) {
    let state = tempfile::tempdir().expect("a temporary folder");
    let registry = registry();
    let mut group = group(c, name, Throughput::Elements(TUPLES));
    for hint in [1, 2] {
        let text = topology(hint);
        group.bench_function(format!("hint {hint}"), |b| {
            b.iter_custom(|n| (0..n).map(|_| run(&text, &registry, state.path())).sum());
        });
    }
}

fn constant_to_null(c: &mut Criterion) {
    let bolts = [("null", "Null()", "LocalOrShuffle(\"in\")")];
    with_hints(c, "constant to null", |hint| constant(TUPLES, "n", hint, &bolts));
}

fn three_stages(c: &mut Criterion) {
    let bolts = [
        ("same", "Identity()", "LocalOrShuffle(\"in\")"),
        ("null", "Null()", "LocalOrShuffle(\"same\")"),
    ];
    with_hints(c, "three stages", |hint| constant(TUPLES, "n", hint, &bolts));
}

fn word_count(c: &mut Criterion) {
    let bolts = [
        ("words", "Words(field: \"text\")", "LocalOrShuffle(\"in\")"),
        ("count", "Count(fields: [\"word\"])", "Fields(\"words\", [\"word\"])"),
        ("null", "Null()", "LocalOrShuffle(\"count\")"),
    ];
    with_hints(c, "word count", |hint| constant(TUPLES / WORDS, "text", hint, &bolts));
}

/// A bolt that takes 5 µs for a tuple, with one spout before it: the claim is 1.8 times with two
/// tasks.
fn heavy_bolt(c: &mut Criterion) {
    const HEAVY_TUPLES: u64 = 400_000;
    let state = tempfile::tempdir().expect("a temporary folder");
    let registry = registry();
    let mut group = group(c, "heavy bolt", Throughput::Elements(HEAVY_TUPLES));
    for hint in [1, 2] {
        let text = format!(
            "Topology(
    name: \"bench\",
    spouts: {{\"in\": Spout(run: Constant(tuples: {HEAVY_TUPLES}, field: \"n\"))}},
    bolts: {{
        \"busy\": Bolt(
            run: Busy(nanoseconds: 5000),
            inputs: [LocalOrShuffle(\"in\")],
            parallelism_hint: {hint},
        ),
        \"null\": Bolt(run: Null(), inputs: [LocalOrShuffle(\"busy\")]),
    }},
)"
        );
        group.bench_function(format!("hint {hint}"), |b| {
            b.iter_custom(|n| (0..n).map(|_| run(&text, &registry, state.path())).sum());
        });
    }
}

/// Writes tweets, one on each line, and gives the size of the file: [`BYTES`] or a little more.
fn write_tweets(path: &Path) -> u64 {
    let platforms = vec![Platform::X].try_into().expect("each is named once");
    let mut posts = Generate { platforms, ..Generate::default() }.by_number();
    let mut file = BufWriter::new(File::create(path).expect("the folder is there"));
    let (mut line, mut bytes) = (Vec::new(), 0);
    for number in 0.. {
        line.clear();
        posts.write(number, &mut line);
        line.push(b'\n');
        file.write_all(&line).expect("the disk has room");
        bytes += line.len() as u64;
        if bytes >= BYTES {
            break;
        }
    }
    file.flush().expect("the disk has room");
    bytes
}

/// A topology that takes a file into a lake.
fn capture_topology(file: &Path, lake: &Path, checkpoint: &str) -> String {
    format!(
        "Topology(
    name: \"bench\",
    spouts: {{ \"in\": Spout(run: Lines(paths: [{file:?}])) }},
    bolts: {{ \"lake\": Bolt(run: Local(root: {lake:?}), inputs: [LocalOrShuffle(\"in\")]) }},
    checkpoint: {checkpoint},
)"
    )
}

fn copy(from: &Path, to: &Path) -> Duration {
    let started = Instant::now();
    let status =
        Command::new("sh").arg("-c").arg("cp \"$0\" \"$1\" && sync").args([from, to]).status();
    assert!(status.expect("a shell").success());
    started.elapsed()
}

/// Lines into array files of 10,000 posts, as a lake has them, without looking at a line and
/// without a sync. It takes its own time, so that Python's start isn't in it.
const SPLICE: &str = r#"
import os, sys, time
source, folder = sys.argv[1:]
os.makedirs(folder)
started = time.perf_counter()
with open(source, "rb", buffering=1 << 20) as lines:
    out = None
    for number, line in enumerate(lines):
        if number % 10_000 == 0:
            if out:
                out.write(b"\n]\n")
                out.close()
            out = open(f"{folder}/{number}.json", "wb", buffering=1 << 20)
            out.write(b"[\n")
        else:
            out.write(b",\n")
        out.write(line[:-1])
    out.write(b"\n]\n")
    out.close()
print(time.perf_counter() - started)
"#;

fn splice(from: &Path, to: &Path) -> Duration {
    let output =
        Command::new("python3").args(["-c", SPLICE]).args([from, to]).output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("the loop prints its seconds");
    Duration::from_secs_f64(seconds)
}

fn has_python() -> bool {
    Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs `once` as often as criterion asks: without what the last run left in `to`, and on a disk
/// that has nothing else to write.
fn quiet(times: u64, to: &Path, once: impl Fn() -> Duration) -> Duration {
    let clean = || {
        let _ = fs::remove_file(to).or_else(|_| fs::remove_dir_all(to));
        Command::new("sync").status().expect("sync");
    };
    (0..times).map(|_| (clean(), once()).1).sum()
}

fn capture(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, to, state] = ["posts.ndjson", "to", "state"].map(|name| folder.path().join(name));
    // The tweets are made up when the first of these is to run, since a filter may ask for none.
    let tweets = std::sync::LazyLock::new(|| write_tweets(&file));
    let registry = registry();
    let mut group = group(c, "capture", Throughput::Bytes(BYTES));
    let mut bench = |name: &str, once: &dyn Fn() -> Duration| {
        group.bench_function(name, |b| {
            b.iter_custom(|n| {
                assert!(*tweets >= BYTES);
                quiet(n, &to, once)
            });
        });
    };
    bench("cp + sync", &|| copy(&file, &to));
    for (name, checkpoint) in
        [("lake", "Checkpoint(every: \"1s\")"), ("lake, checkpoint: Off", "Off")]
    {
        let text = capture_topology(&file, &to, checkpoint);
        bench(name, &|| run(&text, &registry, &state));
    }
    if has_python() {
        bench("Python splices lines", &|| splice(&file, &to));
    } else {
        println!("capture/Python splices lines: skipped, there is no python3");
    }
}

/// Two members of each post, by pointers and by jq, and a filter: what each costs beside passing the
/// posts on.
fn look_inside(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("posts.ndjson");
    write_tweets(&file);
    let registry = registry();
    let mut group = group(c, "look inside", Throughput::Bytes(BYTES));
    for (name, bolt) in [
        ("Identity", "Identity()"),
        ("Pick", "Pick(fields: {\"id\": \"/tweet/id\", \"text\": \"/tweet/text\"})"),
        ("Jq", "Jq(filter: \".tweet | [.id, .text]\", fields: [\"id\", \"text\"])"),
        ("Filter", "Filter(where: \".tweet.lang == \\\"en\\\"\")"),
        ("Dedup", "Dedup()"),
    ] {
        let text = format!(
            "Topology(
    name: \"bench\",
    spouts: {{\"in\": Spout(run: Lines(paths: [{file:?}]))}},
    bolts: {{
        \"look\": Bolt(run: {bolt}, inputs: [LocalOrShuffle(\"in\")]),
        \"null\": Bolt(run: Null(), inputs: [LocalOrShuffle(\"look\")]),
    }},
)"
        );
        group.bench_function(name, |b| {
            b.iter_custom(|n| (0..n).map(|_| run(&text, &registry, folder.path())).sum());
        });
    }
}

/// The claims: 150,000 tweets of 2.5 KB a second for a task, and 1.8 times that for two.
fn features(c: &mut Criterion) {
    const POSTS: u64 = 200_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("posts.ndjson");
    write_tweets(&file);
    let registry = registry();
    let mut group = group(c, "features", Throughput::Elements(POSTS));
    for hint in [1, 2] {
        let text = format!(
            "Topology(
    name: \"bench\",
    spouts: {{
        \"in\": Spout(
            run: Constant(tuples: {POSTS}, field: \"post\", posts: {file:?}),
            parallelism_hint: {hint},
        ),
    }},
    bolts: {{
        \"features\": Bolt(
            run: Features(),
            inputs: [LocalOrShuffle(\"in\")],
            parallelism_hint: {hint},
        ),
        \"null\": Bolt(
            run: Null(),
            inputs: [LocalOrShuffle(\"features\")],
            parallelism_hint: {hint},
        ),
    }},
)"
        );
        group.bench_function(format!("hint {hint}"), |b| {
            b.iter_custom(|n| (0..n).map(|_| run(&text, &registry, folder.path())).sum());
        });
    }
}

/// Reads everything, and says how many bytes came, and how long they took from the first one on.
fn throw_away(mut stream: TcpStream) -> (u64, Duration) {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = stream.read(&mut buffer).expect("the first bytes") as u64;
    let started = Instant::now();
    loop {
        match stream.read(&mut buffer).expect("more bytes") {
            0 => return (bytes, started.elapsed()),
            more => bytes += more as u64,
        }
    }
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Connects as soon as somebody listens, and throws everything away.
fn reader_of(port: u16) -> JoinHandle<(u64, Duration)> {
    thread::spawn(move || {
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => return throw_away(stream),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    })
}

/// Returns the time of all bytes at the rate of the slowest reader: where nothing waits, a reader
/// that is slower than the file is read doesn't get all.
fn time_of_all(readers: Vec<JoinHandle<(u64, Duration)>>) -> Duration {
    let time = |reader: JoinHandle<(u64, Duration)>| {
        let (bytes, took) = reader.join().expect("a reader");
        took.mul_f64(BYTES as f64 / bytes as f64)
    };
    readers.into_iter().map(time).max().expect("a reader")
}

fn socat(file: &Path) -> Duration {
    let port = free_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port");
    let reader = thread::spawn(move || throw_away(listener.accept().expect("socat").0));
    let from = format!("FILE:{}", file.display());
    let to = format!("TCP:127.0.0.1:{port}");
    let status = Command::new("socat").args(["-u", &from, &to]).status().expect("socat");
    assert!(status.success());
    time_of_all(vec![reader])
}

/// One reader and eight that throw everything away, beside socat with the same bytes.
fn socket(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [file, state] = ["posts.ndjson", "state"].map(|name| folder.path().join(name));
    let tweets = std::sync::LazyLock::new(|| write_tweets(&file));
    let registry = registry();
    let mut group = group(c, "socket", Throughput::Bytes(BYTES));
    let mut bench = |name: &str, once: &dyn Fn() -> Duration| {
        group.bench_function(name, |b| {
            assert!(*tweets >= BYTES);
            b.iter_custom(|n| (0..n).map(|_| once()).sum());
        });
    };
    if Command::new("socat").arg("-V").output().is_ok_and(|output| output.status.success()) {
        bench("socat -u FILE TCP", &|| socat(&file));
    } else {
        println!("socket/socat: skipped, there is no socat");
    }
    let wait = ", on_no_reader: Wait, on_slow_reader: Wait";
    for (name, readers, options) in
        [("1 reader", 1, ""), ("8 readers", 8, ""), ("1 reader, Wait", 1, wait)]
    {
        let once = || {
            let port = free_port();
            let readers = (0..readers).map(|_| reader_of(port)).collect();
            let text = format!(
                "Topology(
    name: \"bench\",
    spouts: {{ \"in\": Spout(run: Lines(paths: [{file:?}])) }},
    bolts: {{
        \"out\": Bolt(
            run: Socket(listen: \"127.0.0.1:{port}\"{options}), inputs: [LocalOrShuffle(\"in\")],
        ),
    }},
)"
            );
            run(&text, &registry, &state);
            time_of_all(readers)
        };
        bench(name, &once);
    }
    let lake = folder.path().join("lake");
    for (name, has_reader) in [("lake alone", false), ("lake beside a slow reader", true)] {
        let once = || {
            let port = free_port();
            let text = beside_a_lake(&file, &lake, has_reader.then_some(port));
            let (end, ended) = mpsc::channel::<()>();
            let slow = has_reader.then(|| thread::spawn(move || read_one_byte(port, &ended)));
            let posts = fs::read_to_string(&file).expect("the tweets").lines().count() as u64;
            let took = quiet(1, &lake, || {
                // The reader goes when the lake has everything: the socket would wait for it.
                run_until_taken(&text, &registry, &state, ("lake", posts), || {
                    let _ = end.send(());
                })
            });
            if let Some(slow) = slow {
                slow.join().expect("a reader");
            }
            took
        };
        bench(name, &once);
    }
}

/// Connects as soon as somebody listens, and reads one byte a second until `ended` says so.
fn read_one_byte(port: u16, ended: &mpsc::Receiver<()>) {
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    };
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|bytes| bytes > 0)
        && ended.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout)
    {}
}

/// A topology that takes a file into a lake, and to a socket if there is a port for it.
fn beside_a_lake(file: &Path, lake: &Path, port: Option<u16>) -> String {
    let socket = port.map(|port| {
        format!(
            "\"out\": Bolt(
            run: Socket(listen: \"127.0.0.1:{port}\"), inputs: [LocalOrShuffle(\"in\")],
        ),"
        )
    });
    format!(
        "Topology(
    name: \"bench\",
    spouts: {{ \"in\": Spout(run: Lines(paths: [{file:?}])) }},
    bolts: {{
        \"lake\": Bolt(run: Local(root: {lake:?}), inputs: [LocalOrShuffle(\"in\")]),
        {}
    }},
)",
        socket.unwrap_or_default()
    )
}

criterion_group!(
    benches,
    constant_to_null,
    three_stages,
    word_count,
    heavy_bolt,
    features,
    trends,
    look_inside,
    capture,
    socket
);
criterion_main!(benches);

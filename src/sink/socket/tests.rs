//! Tests of a socket from its readers' side, over real connections to this machine.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar};

use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::datetime;

use super::hub::Hub;
use super::*;
use crate::clock::SystemClock;
use crate::epoch::{Barrier, MicroBatch};
use crate::tuple::Tuple;

const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);

const WAIT: &str = ", on_no_reader: Wait, on_slow_reader: Wait";

/// One socket on a free port, with what a checkpoint keeps of it.
struct Trial {
    config: Socket,
    sink: SocketSink,
    promises: Vec<Promise>,
    epoch: u64,
    next: usize,
}

fn config(options: &str) -> Socket {
    let ron = format!("(listen: \"127.0.0.1:0\"{options})");
    crate::registry::ron_options().from_str(&ron).unwrap()
}

fn context(state: &Path, run: usize) -> SinkContext {
    SinkContext {
        component: "spark".into(),
        task: 0,
        run: format!("run-{run:04}"),
        inputs: vec![Fields::new(["line"])],
        micro_batch: MicroBatch { posts: 1000, bytes: 1 << 20, age: Duration::from_secs(60) },
        boundary: NOON,
        durable: true,
        state: state.to_path_buf(),
        clock: SystemClock::shared(),
    }
}

impl Trial {
    fn new(state: &Path, options: &str) -> Self {
        let config = config(options);
        config.check(&[Fields::new(["line"])]).unwrap();
        let sink = SocketSink::open(&config, &context(state, 0)).unwrap();
        Self { config, sink, promises: Vec::new(), epoch: 0, next: 0 }
    }

    fn emitted(&self) -> u64 {
        self.sink.hub.counts.emitted()
    }

    fn dropped(&self) -> u64 {
        self.sink.hub.counts.dropped()
    }

    /// Connects a reader, and waits until the socket has accepted it.
    fn reader(&self) -> TcpStream {
        let before = self.sink.hub.count();
        let stream = TcpStream::connect(self.sink.hub.address).unwrap();
        self.until(|hub| hub.count() > before);
        stream
    }

    fn until(&self, wanted: impl Fn(&Hub) -> bool) {
        while !wanted(&self.sink.hub) {
            self.sink.hub.pause(&Condvar::new(), Duration::from_millis(10));
        }
    }

    /// Writes a number of lines of about the given size in bytes.
    fn write(&mut self, lines: usize, bytes: usize) {
        for _ in 0..lines {
            let line = line(self.next, bytes);
            self.next += 1;
            self.sink.write(Tuple::new(&[line.as_str().into()], 0)).unwrap();
        }
    }

    /// Completes a checkpoint and the commit after it.
    fn checkpoint(&mut self) {
        self.prepare();
        self.commit();
    }

    fn prepare(&mut self) {
        let prepared = self.prepared(false);
        self.promises.extend(prepared);
    }

    /// Returns the promises that a barrier closes.
    fn prepared(&mut self, last: bool) -> Vec<Promise> {
        self.epoch += 1;
        let epoch = self.epoch;
        let barrier = Barrier { epoch, now: NOON, boundary: NOON, last, durable: true };
        self.sink.prepare(&barrier).unwrap()().unwrap().promises
    }

    fn commit(&mut self) {
        let delivered = self.sink.commit(self.promises.clone())().unwrap();
        self.promises.retain(|promise| !delivered.segments.contains(&promise.segment));
    }

    /// Simulates the end of the engine's process and a start from the newest checkpoint.
    fn restart(self, state: &Path, run: usize) -> Self {
        let Self { config, sink, promises, epoch, next } = self;
        drop(sink);
        let places: BTreeSet<_> = promises.iter().map(|promise| promise.place.clone()).collect();
        let mut recovered = Vec::new();
        for place in places {
            let of_place = promises.iter().filter(|promise| promise.place == place);
            recovered
                .extend(config.recover(&place, &of_place.cloned().collect::<Vec<_>>()).unwrap());
        }
        let promises = recovered;
        let sink = SocketSink::open(&config, &context(state, run)).unwrap();
        Self { config, sink, promises, epoch, next }
    }
}

#[test]
fn a_commit_of_an_earlier_epoch_after_the_last_barrier_leaves_the_socket_open() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), WAIT);
    trial.write(10, 10);
    trial.prepare();
    trial.write(10, 10);
    let last = trial.prepared(true);
    let reader = trial.reader();
    // The checkpoint of the last barrier isn't complete yet.
    trial.commit();
    trial.promises.extend(last);
    trial.commit();
    assert_eq!(trial.promises, []);
    assert_eq!(numbers(reader), (0..20).collect::<Vec<_>>());
}

fn line(number: usize, bytes: usize) -> String {
    format!("{number} {}", "x".repeat(bytes))
}

/// Returns the numbers of the lines that a reader gets until its end; each line must be whole.
fn numbers(stream: TcpStream) -> Vec<usize> {
    let mut numbers = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).expect("a whole line");
        let (number, rest) = line["line"].as_str().unwrap().split_once(' ').unwrap();
        assert!(rest.bytes().all(|byte| byte == b'x'));
        numbers.push(number.parse().unwrap());
    }
    numbers
}

/// Reads a number of lines, and closes the connection.
fn take(stream: TcpStream, lines: usize) -> Vec<usize> {
    let mut reader = BufReader::new(stream);
    let mut numbers = Vec::new();
    for _ in 0..lines {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).expect("a whole line");
        numbers.push(line["line"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap());
    }
    numbers
}

#[test]
fn without_a_reader_lines_are_dropped_and_counted() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), "");
    trial.write(10, 10);
    trial.checkpoint();
    assert_eq!((trial.dropped(), trial.emitted()), (10, 0));
    let said = trial.sink.says().unwrap();
    assert_eq!(said, format!("no reader at {}", trial.sink.hub.address));
    let reader = trial.reader();
    trial.write(5, 10);
    trial.sink.idle().unwrap();
    assert_eq!(take(reader, 5), [10, 11, 12, 13, 14]);
    assert!(trial.promises.is_empty());
}

#[test]
fn several_readers_get_everything_from_when_they_come() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), "");
    let first = trial.reader();
    trial.write(3, 10);
    trial.sink.idle().unwrap();
    let second = trial.reader();
    trial.write(3, 10);
    trial.checkpoint();
    trial.sink.hub.drain(Duration::from_secs(60));
    assert_eq!(trial.sink.says().unwrap(), format!("2 readers at {}", trial.sink.hub.address));
    assert_eq!((trial.emitted(), trial.dropped()), (9, 0));
    drop(trial);
    assert_eq!(numbers(first), [0, 1, 2, 3, 4, 5]);
    assert_eq!(numbers(second), [3, 4, 5]);
}

#[test]
fn a_slow_reader_loses_lines_and_the_others_do_not() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), ", buffer: \"64KiB\"");
    let slow = trial.reader();
    let quick = trial.reader();
    let reading = std::thread::spawn(move || numbers(quick));
    for _ in 0..400 {
        trial.write(10, 10_000);
        trial.sink.idle().unwrap();
        // The quick reader, which connected second, has room again.
        trial.until(|hub| hub.is_idle(1));
    }
    let written = trial.next as u64;
    assert!(trial.dropped() > 0, "40 MB are more than the kernel takes");
    trial.sink.hub.drain(Duration::ZERO);
    let dropping = trial.sink.hub.clone();
    drop(trial);
    assert_eq!(reading.join().unwrap().len() as u64, written);
    let got = numbers_until_error(slow);
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(dropping.counts.emitted() + dropping.counts.dropped(), 2 * written);
}

/// Like `numbers`, for a reader that is disconnected: it gets an error where a line isn't whole.
fn numbers_until_error(stream: TcpStream) -> Vec<usize> {
    let mut bytes = Vec::new();
    let ended = BufReader::new(stream).read_to_end(&mut bytes);
    let whole = bytes.last().is_none_or(|last| *last == b'\n');
    assert!(whole || ended.is_err(), "a part of a line looks like a line");
    let text = String::from_utf8(bytes).unwrap();
    let mut numbers = Vec::new();
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: serde_json::Value = serde_json::from_str(line).expect("a whole line");
        numbers.push(line["line"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap());
    }
    numbers
}

#[test]
fn a_slow_reader_can_be_disconnected() {
    let state = tempfile::tempdir().unwrap();
    let options = ", buffer: \"64KiB\", on_slow_reader: Disconnect";
    let mut trial = Trial::new(state.path(), options);
    let slow = trial.reader();
    while trial.sink.hub.count() > 0 {
        trial.write(100, 10_000);
        trial.sink.idle().unwrap();
    }
    numbers_until_error(slow);
    assert!(trial.dropped() > 0);
    assert_eq!(trial.emitted() + trial.dropped(), trial.next as u64);
}

#[test]
fn a_reader_that_takes_nothing_is_found() {
    let state = tempfile::tempdir().unwrap();
    let options = ", on_no_reader: Wait, on_slow_reader: Wait, reader_timeout: \"100ms\"";
    let mut trial = Trial::new(state.path(), options);
    let silent = trial.reader();
    trial.write(5_000, 10_000);
    trial.prepare();
    // The call returns once the reader is gone.
    trial.commit();
    assert_eq!(trial.sink.hub.count(), 0);
    assert!(!trial.promises.is_empty(), "what it didn't take stays");
    drop(silent);
}

#[test]
fn what_waits_goes_to_the_next_reader_and_nothing_comes_twice() {
    let state = tempfile::tempdir().unwrap();
    let options = ", on_no_reader: Wait, on_slow_reader: Wait";
    let mut trial = Trial::new(state.path(), options);
    trial.write(100, 10);
    trial.checkpoint();
    assert_eq!((trial.promises.len(), trial.dropped()), (1, 0));
    let reader = trial.reader();
    trial.commit();
    assert!(trial.promises.is_empty());
    // The reader is gone, and has read everything before.
    assert_eq!(take(reader, 100), (0..100).collect::<Vec<_>>());
    trial.write(100, 10);
    trial.prepare();
    trial.commit();
    trial.until(|hub| hub.count() == 0);
    assert_eq!(trial.promises.len(), 1, "the first line told that nobody reads any more");
    let reader = trial.reader();
    trial.commit();
    // A commit may be repeated.
    trial.commit();
    drop(trial);
    assert_eq!(numbers(reader), (100..200).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_has_closed_its_own_side_still_reads() {
    let state = tempfile::tempdir().unwrap();
    for options in ["", ", on_no_reader: Wait, on_slow_reader: Wait"] {
        let mut trial = Trial::new(state.path(), options);
        let mut reader = trial.reader();
        reader.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        reader.shutdown(Shutdown::Write).unwrap();
        trial.write(1000, 100);
        trial.checkpoint();
        trial.sink.hub.drain(Duration::from_secs(60));
        assert_eq!(trial.emitted(), 1000, "{options}");
        drop(trial);
        assert_eq!(numbers(reader).len(), 1000, "{options}");
        std::fs::remove_dir_all(state.path().join("outbox")).ok();
    }
}

#[test]
fn a_restart_loses_nothing_that_waits() {
    let state = tempfile::tempdir().unwrap();
    let options = ", on_no_reader: Wait, on_slow_reader: Wait";
    let mut trial = Trial::new(state.path(), options);
    trial.write(50, 10);
    trial.checkpoint();
    trial.write(50, 10);
    trial.prepare();
    // Tuples that aren't in a checkpoint come from the source again.
    trial.write(7, 10);
    trial.next -= 7;
    let mut trial = trial.restart(state.path(), 1);
    let reader = trial.reader();
    trial.write(50, 10);
    trial.checkpoint();
    drop(trial);
    assert_eq!(numbers(reader), (0..150).collect::<Vec<_>>());
}

#[test]
fn with_an_outbox_a_slow_reader_can_still_lose_lines_or_be_disconnected() {
    for on_slow_reader in ["Drop", "Disconnect"] {
        let state = tempfile::tempdir().unwrap();
        let options =
            format!(", on_no_reader: Wait, on_slow_reader: {on_slow_reader}, buffer: \"64KiB\"");
        let mut trial = Trial::new(state.path(), &options);
        let slow = trial.reader();
        trial.write(4_000, 10_000);
        trial.checkpoint();
        let hub = Arc::clone(&trial.sink.hub);
        if on_slow_reader == "Drop" {
            assert!(trial.promises.is_empty(), "a slow reader holds up nothing");
            assert!(hub.counts.dropped() > 0);
        } else {
            // Lines that the reader hasn't taken wait for the next one.
            trial.until(|hub| hub.count() == 0);
        }
        drop(trial);
        let got = numbers_until_error(slow);
        assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{on_slow_reader}");
        assert!(got.len() as u64 <= hub.counts.emitted(), "{on_slow_reader}");
        assert!(hub.counts.emitted() + hub.counts.dropped() <= 4_000, "{on_slow_reader}");
    }
}

#[test]
fn what_another_configuration_has_left_is_sent() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), ", on_no_reader: Wait");
    trial.write(50, 10);
    trial.checkpoint();
    assert_eq!(trial.promises.len(), 1);
    trial.config = config("");
    let mut trial = trial.restart(state.path(), 1);
    let reader = trial.reader();
    trial.commit();
    assert!(trial.promises.is_empty());
    trial.write(5, 10);
    trial.checkpoint();
    trial.sink.hub.drain(Duration::from_secs(60));
    drop(trial);
    assert_eq!(numbers(reader), (0..55).collect::<Vec<_>>());
}

#[test]
fn a_projection_is_kept_in_the_outbox_with_any_number_of_lines() {
    let state = tempfile::tempdir().unwrap();
    let jq = ", jq: \"range(3) as $n | {line: .line, n: $n} | select(.n > 0)\"";
    let mut trial = Trial::new(state.path(), &format!(", on_no_reader: Wait{jq}"));
    trial.write(50, 10);
    trial.checkpoint();
    let reader = trial.reader();
    trial.commit();
    assert_eq!((trial.emitted(), trial.promises.len()), (100, 0));
    drop(trial);
    let twice: Vec<_> = (0..100).map(|line| line / 2).collect();
    assert_eq!(numbers(reader), twice);
}

#[test]
fn with_wait_lines_go_out_at_once_while_readers_keep_up() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), WAIT);
    let mut reader = BufReader::new(trial.reader());
    trial.checkpoint();
    trial.write(5_000, 100);
    trial.sink.idle().unwrap();
    // Without a checkpoint.
    let mut line = String::new();
    for _ in 0..5_000 {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    trial.until(|hub| hub.counts.emitted() == 5_000);
    trial.prepare();
    assert!(trial.promises.is_empty(), "nothing has to wait");
    // The reader stops reading: lines that don't fit into its buffers wait on the disk.
    trial.write(5_000, 10_000);
    trial.prepare();
    let bytes: u64 = trial.promises.iter().map(|promise| promise.length).sum();
    assert!((8 << 20..50_000_000).contains(&bytes), "{bytes}");
    trial.write(10, 100);
    trial.prepare();
    let reading = std::thread::spawn(move || numbers(reader.into_inner()));
    // Lines in the buffer of this test's own reader are lost to it.
    trial.commit();
    assert!(trial.promises.is_empty());
    assert_eq!((trial.emitted(), trial.dropped()), (10_010, 0));
    drop(trial);
    let mut got = reading.join().unwrap();
    got.sort_unstable();
    let before = got.len();
    got.dedup();
    assert_eq!(got.len(), before, "nothing comes twice");
    assert_eq!(got, (10_010 - before..10_010).collect::<Vec<_>>());
}

#[test]
fn what_a_reader_leaves_in_flight_goes_to_the_next_one() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), WAIT);
    let reader = trial.reader();
    trial.checkpoint();
    trial.write(3_000, 10_000);
    trial.prepare();
    let got = take(reader, 100);
    trial.until(|hub| hub.count() == 0);
    let next = trial.reader();
    let reading = std::thread::spawn(move || numbers(next));
    trial.checkpoint();
    assert!(trial.promises.is_empty());
    assert_eq!((trial.emitted(), trial.dropped()), (3_000, 0));
    drop(trial);
    let rest = reading.join().unwrap();
    assert_eq!(got, (0..100).collect::<Vec<_>>());
    assert!(rest.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert_eq!(rest.last(), Some(&2_999));
}

#[test]
fn a_rate_is_kept() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), ", max_rate: \"1MB/s\"");
    let reader = trial.reader();
    let clock = SystemClock::shared();
    let reading = std::thread::spawn(move || take(reader, 40));
    trial.write(40, 10_000);
    trial.sink.idle().unwrap();
    assert_eq!(reading.join().unwrap().len(), 40);
    // 400 kB, less the first grain.
    assert!(clock.monotonic() >= Duration::from_millis(370), "{:?}", clock.monotonic());
}

#[test]
fn more_readers_than_allowed_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let mut trial = Trial::new(state.path(), ", max_readers: 1");
    let first = trial.reader();
    let mut second = TcpStream::connect(trial.sink.hub.address).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_or(0), 0, "it is closed");
    trial.write(1, 1);
    trial.sink.idle().unwrap();
    assert_eq!(take(first, 1), [0]);
    assert!(trial.sink.says().unwrap().ends_with(", 1 refused"));
}

#[test]
fn problems_name_the_option() {
    let problems = |ron: &str| {
        let config: Socket = crate::registry::ron_options().from_str(ron).unwrap();
        let problems = config.check(&[Fields::of_posts()]).unwrap_err();
        problems.into_iter().map(|problem| (problem.field, problem.what)).collect::<Vec<_>>()
    };
    let found = problems("(listen: \"0.0.0.0:9999\", buffer: \"1KiB\", reader_timeout: \"0s\")");
    let fields: Vec<_> = found.iter().map(|(field, _)| *field).collect();
    assert_eq!(fields, ["listen", "buffer", "reader_timeout"]);
    assert!(found[0].1.contains("127.0.0.1:9999, or allow_remote"), "{}", found[0].1);
    let found = problems("(listen: \"[::1]:9999\", jq: \".a |\")");
    assert_eq!(found[0], ("jq", "at character 5: expected a term, found the end".into()));
    let remote = config(", allow_remote: [\"10.0.0.0/8\", \"::1\"]");
    assert!(remote.check(&[Fields::of_posts()]).is_ok());
}

#[test]
fn an_address_that_is_taken_is_told() {
    let state = tempfile::tempdir().unwrap();
    let trial = Trial::new(state.path(), "");
    let address = trial.sink.hub.address;
    let config = Socket { listen: ListenAddress(address), ..config("") };
    let error = config.check_online().unwrap_err();
    assert!(error.chain().contains("another Socket of the topology, listens there"), "{error}");
    drop(trial);
    assert_eq!(config.check_online().unwrap().unwrap(), format!("{address} is free to listen at"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Readers come and go at any line, and the engine restarts at any time: with `Wait` each line
    /// is taken, and no line comes twice within a connection.
    #[test]
    fn with_wait_each_line_reaches_a_reader(
        steps in prop::collection::vec((0_u8..6, 0_usize..300), 1..30),
    ) {
        let state = tempfile::tempdir().unwrap();
        let mut trial = Trial::new(state.path(), ", on_no_reader: Wait, on_slow_reader: Wait");
        let mut open: Vec<std::thread::JoinHandle<Vec<usize>>> = Vec::new();
        let mut got = Vec::new();
        for (run, (step, size)) in (1..).zip(steps) {
            match step {
                0 => trial.write(size, size * 3),
                1 => trial.checkpoint(),
                2 => {
                    let reader = trial.reader();
                    open.push(std::thread::spawn(move || numbers(reader)));
                }
                3 => trial.commit(),
                4 => trial.sink.idle().unwrap(),
                _ => {
                    // Lines written after the checkpoint come again.
                    trial.prepare();
                    trial = trial.restart(state.path(), run);
                    got.extend(open.drain(..).map(|reader| reader.join().unwrap()));
                }
            }
        }
        let reader = trial.reader();
        open.push(std::thread::spawn(move || numbers(reader)));
        trial.checkpoint();
        prop_assert!(trial.promises.is_empty());
        let written = trial.next;
        drop(trial);
        got.extend(open.into_iter().map(|reader| reader.join().unwrap()));
        for numbers in &got {
            let mut once = numbers.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), numbers.len(), "within a connection nothing comes twice");
        }
        let mut all: Vec<_> = got.concat();
        all.sort_unstable();
        all.dedup();
        prop_assert_eq!(all, (0..written).collect::<Vec<_>>());
    }
}

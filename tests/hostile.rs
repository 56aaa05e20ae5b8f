//! Clients against servers that do what no good server does (`support/hostile.rs`): each command
//! ends in time and within a limit on its memory, says what happened, and sends no credential to
//! another host.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::hostile::{Behaviour, For, Hostile};

/// The most memory that a process may have in use at any time. It needs some 30 MiB before it does
/// anything; the largest answer of an API that is read has 64 MiB.
const RESIDENT_KIB_MAX: u64 = 400 << 10;

/// The most that a process may map, so that one which takes memory in one step doesn't take the
/// machine's.
const MAPPED_KIB_MAX: u64 = 3_000_000;

/// A server that says nothing is asked for a minute in all; the rest is a machine that is busy.
const TIME_MAX: Duration = Duration::from_secs(110);

/// The longest that a run may take to stop after it was asked to.
const STOP_MAX: Duration = Duration::from_secs(45);

const SECRET: &str = "hidden-key";

/// The most memory that a running process had in use until now.
fn resident_kib_peak(process: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// When a program is asked to stop: once it has told one of these texts, and after so long in any
/// case.
struct Stops<'a> {
    after: Duration,
    told: &'a [&'a str],
}

/// Runs the program with limits on its memory and time.
fn limited(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    stops: Option<Stops>,
) -> Output {
    limited_to(RESIDENT_KIB_MAX, folder, arguments, environment, stops)
}

fn limited_to(
    resident_kib_max: u64,
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    stops: Option<Stops>,
) -> Output {
    let script = format!("ulimit -v {MAPPED_KIB_MAX}; exec \"$@\"");
    let (out, err) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_waterspout")])
        .args(arguments)
        .current_dir(folder);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
    let began = Instant::now();
    let mut process = command.spawn().unwrap();
    let (mut stopped, mut peak) = (None, 0);
    let status = loop {
        peak = resident_kib_peak(&process).unwrap_or_default().max(peak);
        let late =
            stopped.map_or(began.elapsed() > TIME_MAX, |at: Instant| at.elapsed() > STOP_MAX);
        if late || peak > resident_kib_max {
            process.kill().unwrap();
            process.wait().unwrap();
            let said = told(&fs::read_to_string(&err).unwrap());
            panic!("{arguments:?}: {peak} KiB after {:?}:\n{said}", began.elapsed());
        }
        if let Some(status) = process.try_wait().unwrap() {
            break status;
        }
        let is_due = |stops: &Stops| {
            let said = fs::read_to_string(&err).unwrap_or_default().to_lowercase();
            began.elapsed() > stops.after || stops.told.iter().any(|told| said.contains(told))
        };
        if stopped.is_none() && stops.as_ref().is_some_and(is_due) {
            Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
            stopped = Some(Instant::now());
        }
        // A peak is looked at now and then; nothing waits for this.
        thread::sleep(Duration::from_millis(50));
    };
    println!("{arguments:?}: {} MiB", peak >> 10);
    let ended = Output { status, stdout: fs::read(&out).unwrap(), stderr: fs::read(&err).unwrap() };
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!said.contains("panicked") && !said.contains("allocation"), "{arguments:?}:\n{said}");
    assert!(!said.contains(SECRET) && !said.contains('\x1b'), "{arguments:?}:\n{said}");
    ended
}

/// The states that a run's reports told, each once, and what it said besides.
fn told(said: &str) -> String {
    let mut told: Vec<String> = Vec::new();
    for line in said.lines() {
        let report = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
        let states = report["components"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| one["state"].to_string());
        let plain = if report.is_null() { Some(line.to_owned()) } else { None };
        for text in states.chain(plain).chain(report["message"].as_str().map(str::to_owned)) {
            if !told.contains(&text) {
                told.push(text);
            }
        }
    }
    told.join("\n")
}

fn access(endpoint: &str) -> [(&str, &str); 5] {
    [
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_SESSION_TOKEN", "hidden-token"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_REGION", "us-east-1"),
    ]
}

/// What one server does, to which requests, and what the program says of it.
struct Case {
    requests: For,
    behaviour: Behaviour,
    /// One of these texts is told, in whatever case; none has to be.
    why: &'static [&'static str],
}

fn case(behaviour: Behaviour, why: &'static [&'static str]) -> Case {
    Case { requests: For::All, behaviour, why }
}

fn objects(behaviour: Behaviour, why: &'static [&'static str]) -> Case {
    Case { requests: For::Objects, behaviour, why }
}

fn streams(behaviour: Behaviour, why: &'static [&'static str]) -> Case {
    Case { requests: For::Streams, behaviour, why }
}

impl Case {
    fn server(&self) -> Hostile {
        Hostile::only_for(self.requests, self.behaviour.clone())
    }

    #[track_caller]
    fn check(&self, who: &str, server: &Hostile, said: &str) {
        let Self { behaviour, why, .. } = self;
        // With --nocapture.
        println!("{who}, {behaviour:?}: {said}");
        assert!(!server.asked().is_empty(), "{who} asked nothing of {behaviour:?}: {said}");
        assert!(said.len() < 20_000, "{who}, {behaviour:?}: {} bytes", said.len());
        let said = said.to_lowercase();
        assert!(
            why.is_empty() || why.iter().any(|why| said.contains(why)),
            "{who}, {behaviour:?}: {said}"
        );
    }
}

/// Redirects of all kinds to a server that must not be asked.
fn redirects(to: &Hostile) -> impl Iterator<Item = Case> {
    let why = &["redirect", "another region"];
    [301, 302, 303, 307, 308]
        .into_iter()
        .map(move |status| case(Behaviour::Redirect(status, to.address()), why))
}

/// Runs each of these at once, so many at a time that a small machine keeps up.
fn side_by_side<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    for some in cases.chunks(16) {
        thread::scope(|scope| {
            for one in some {
                scope.spawn(|| check(one));
            }
        });
    }
}

#[test]
fn a_hostile_bucket_ends_every_tool_with_its_reason() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let listings = [
        case(Behaviour::Silent, &["said nothing for 30 s"]),
        case(Behaviour::HugeLength, &["100000000000 bytes, expected at most"]),
        case(Behaviour::EndlessChunks, &["more than"]),
        case(Behaviour::EndlessError, &["403"]),
        case(Behaviour::EndlessHead, &["can't list"]),
        case(Behaviour::RepeatedPage, &["repeats itself"]),
        case(Behaviour::EmptyPages, &["repeats itself"]),
        case(Behaviour::LongError, &["403 accessdenied"]),
        case(Behaviour::Garbage, &["can't list"]),
        case(Behaviour::Ends, &["can't list"]),
    ];
    let cases: Vec<_> = redirects(&elsewhere).chain(listings).collect();
    side_by_side(&cases, |case| {
        let (server, folder) = (case.server(), tempfile::tempdir().unwrap());
        let ended = limited(
            folder.path(),
            &["lake", "ls", "s3://lake/root"],
            &access(&server.address()),
            None,
        );
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{:?}: {said}", case.behaviour);
        case.check("lake ls", &server, &said);
        assert!(said.len() < 3_000, "{:?}: {} bytes", case.behaviour, said.len());
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// What reads posts from a bucket: none takes a hostile object for posts, or for the end of a lake.
#[test]
fn hostile_objects_end_every_reader_with_its_reason() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let cases = [
        objects(Behaviour::HugeLength, &["100000000000 bytes, expected at most"]),
        objects(Behaviour::EndlessChunks, &["more than"]),
        objects(Behaviour::EndlessError, &["403"]),
        objects(Behaviour::EndlessHead, &["head is too large"]),
        objects(Behaviour::LyingRange, &["another length than it says"]),
        objects(Behaviour::LongError, &["403"]),
        objects(Behaviour::Garbage, &["can't get"]),
        objects(Behaviour::Redirect(307, elsewhere.address()), &["redirect"]),
    ];
    let topology = r#"Topology(name: "t", spouts: {"s": Spout(run: S3Replay(bucket: "lake", prefix: "root"))},
        bolts: {"copy": Bolt(run: Local(root: "copy"), inputs: [Shuffle("s")])})"#;
    let readers: [(&str, &[&str]); 3] = [
        ("lake cat", &["lake", "cat", "s3://lake/root"]),
        ("replay", &["replay", "s3://lake/root"]),
        ("S3Replay", &["run", "t.ron", "--state", "st"]),
    ];
    let runs: Vec<_> = cases.iter().flat_map(|case| readers.map(|reader| (case, reader))).collect();
    side_by_side(&runs, |(case, (name, arguments))| {
        let (server, folder) = (case.server(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("t.ron"), topology).unwrap();
        let stops =
            (*name == "S3Replay").then_some(Stops { after: Duration::from_secs(75), told: &[] });
        let ended = limited(folder.path(), arguments, &access(&server.address()), stops);
        let said = told(&String::from_utf8_lossy(&ended.stderr));
        assert_ne!(ended.status.code(), Some(0), "{name}, {:?}: {said}", case.behaviour);
        case.check(name, &server, &said);
        assert!(
            ended.stdout.is_empty() || *name == "S3Replay",
            "{name}, {:?}: posts",
            case.behaviour
        );
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// An upload that meets such a server: nothing is lost, the sink beside it goes on, and the reason
/// is told.
#[test]
fn a_hostile_bucket_holds_up_an_upload_and_nothing_else() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    // After a failure it also asks whether the partition was replaced meanwhile.
    let why = &["can't put", "can't get"];
    let cases = [
        case(Behaviour::HugeLength, why),
        case(Behaviour::EndlessChunks, why),
        case(Behaviour::EndlessError, why),
        case(Behaviour::EndlessHead, why),
        case(Behaviour::LongError, why),
        case(Behaviour::Garbage, why),
        case(Behaviour::Redirect(307, elsewhere.address()), why),
    ];
    side_by_side(&cases, |case| {
        let (server, folder) = (case.server(), tempfile::tempdir().unwrap());
        let endpoint = server.address();
        let posts: String =
            (0..20).map(|id| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}\n")).collect();
        fs::write(folder.path().join("in.ndjson"), posts).unwrap();
        let topology = format!(
            r#"Topology(name: "t", spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"], follow: true))}},
                bolts: {{
                    "bucket": Bolt(run: S3(bucket: "lake", endpoint: "{endpoint}"), inputs: [Shuffle("in")]),
                    "folder": Bolt(run: Local(root: "local"), inputs: [Shuffle("in")]),
                }},
                checkpoint: Checkpoint(every: "100ms"), micro_batch: MicroBatch(posts: 10))"#
        );
        fs::write(folder.path().join("t.ron"), topology).unwrap();
        let arguments = ["run", "t.ron", "--state", "st"];
        let stops = Stops { after: Duration::from_secs(8), told: &[] };
        let ended = limited(folder.path(), &arguments, &access(&endpoint), Some(stops));
        let said = told(&String::from_utf8_lossy(&ended.stderr));
        case.check("S3", &server, &said);
        let captured = support::lake_by_partition(&folder.path().join("local"), &["_staging"]);
        assert_eq!(
            captured.values().map(Vec::len).sum::<usize>(),
            20,
            "{:?}:\n{said}",
            case.behaviour
        );
        assert!(
            folder.path().join("st/outbox").exists(),
            "{:?}: the outbox is gone",
            case.behaviour
        );
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// A webhook that meets such an endpoint: whatever a status says is believed and the rest cut, a
/// redirect is never followed, and the sink beside it goes on.
#[test]
fn a_hostile_endpoint_holds_up_its_alerts_and_nothing_else() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let taken: &[&str] = &[];
    let cases = [
        (case(Behaviour::HugeLength, taken), true),
        (case(Behaviour::EndlessChunks, taken), true),
        (case(Behaviour::EndlessError, &["since 20", "status 403"]), false),
        (case(Behaviour::EndlessHead, &["no answer: "]), false),
        (case(Behaviour::LongError, &["status 403"]), false),
        (case(Behaviour::Garbage, &["no answer: "]), false),
        (case(Behaviour::Ends, &["no answer: "]), false),
        (case(Behaviour::Silent, taken), false),
        (case(Behaviour::Redirect(301, elsewhere.address()), &["isn't followed"]), false),
        (case(Behaviour::Redirect(302, elsewhere.address()), &["isn't followed"]), false),
        (case(Behaviour::Redirect(303, elsewhere.address()), &["isn't followed"]), false),
        (case(Behaviour::Redirect(307, elsewhere.address()), &["isn't followed"]), false),
        (case(Behaviour::Redirect(308, elsewhere.address()), &["isn't followed"]), false),
    ];
    side_by_side(&cases, |(case, is_taken)| {
        let (server, folder) = (case.server(), tempfile::tempdir().unwrap());
        let posts: String =
            (0..3).map(|id| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}\n")).collect();
        fs::write(folder.path().join("in.ndjson"), posts).unwrap();
        let topology = r#"Topology(name: "t", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"], follow: true))},
            bolts: {
                "alert": Bolt(
                    run: Webhook(url: Env("ALERT_URL"), headers: {"Authorization": Env("TOKEN")},
                        signature: (secret: Env("TOKEN")), at_once: 3),
                    inputs: [Shuffle("in")]),
                "folder": Bolt(run: Local(root: "local"), inputs: [Shuffle("in")]),
            },
            checkpoint: Checkpoint(every: "100ms"), micro_batch: MicroBatch(posts: 1))"#;
        fs::write(folder.path().join("t.ron"), topology).unwrap();
        let url = format!("{}/{SECRET}?key={SECRET}", server.address());
        let arguments = ["run", "t.ron", "--state", "st", "--interval", "100ms"];
        let stops = Stops { after: Duration::from_secs(10), told: &[] };
        let environment = [("ALERT_URL", url.as_str()), ("TOKEN", SECRET)];
        let ended = limited(folder.path(), &arguments, &environment, Some(stops));
        let said = told(&String::from_utf8_lossy(&ended.stderr));
        case.check("Webhook", &server, &said);
        let captured = support::lake_by_partition(&folder.path().join("local"), &["_staging"]);
        assert_eq!(
            captured.values().map(Vec::len).sum::<usize>(),
            3,
            "{:?}:\n{said}",
            case.behaviour
        );
        let is_clean = ended.status.code() == Some(0);
        assert_eq!(is_clean, *is_taken, "{:?}: {:?}\n{said}", case.behaviour, ended.status);
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// The sources, with the addresses of a server of HTTP and of WebSocket in place of `URL` and `WS`.
const BLUESKY: &str = r#"Bluesky(base_url: "WS")"#;
const MASTODON: &str = r##"Mastodon(instance: "host.invalid", base_url: "URL", access_token: Env("TOKEN"), topics: ["#rust"])"##;
const MASTODON_SOCKET: &str = r##"Mastodon(instance: "host.invalid", base_url: "URL", access_token: Env("TOKEN"),
    topics: ["#rust"], transport: WebSocket)"##;
const X: &str = r#"X(base_url: "URL", bearer_token: Env("TOKEN"), topics: ["rust"])"#;
const YOUTUBE: &str = r#"YouTube(base_url: "URL", api_key: Env("TOKEN"), topics: ["rust"])"#;
const FACEBOOK: &str =
    r#"Facebook(base_url: "URL", access_token: Env("TOKEN"), topics: [Page("1")])"#;

/// Runs a source against each server for some seconds, or until it has told what it has to, which
/// may take longer where other work is done.
fn check_sources(sources: &[&str], cases: &[Case], seconds: u64) {
    let runs: Vec<_> =
        cases.iter().flat_map(|case| sources.iter().map(move |source| (case, *source))).collect();
    side_by_side(&runs, |(case, source)| {
        let (server, folder) = (case.server(), tempfile::tempdir().unwrap());
        let spout = source.replace("URL", &server.address()).replace("WS", &server.websocket());
        let topology = format!(
            r#"Topology(name: "t", spouts: {{"s": Spout(run: {spout})}},
                bolts: {{"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("s")])}})"#
        );
        fs::write(folder.path().join("t.ron"), topology).unwrap();
        let arguments = ["run", "t.ron", "--state", "st", "--interval", "200ms"];
        let after = if case.why.is_empty() { Duration::from_secs(seconds) } else { TIME_MAX / 2 };
        let stops = Stops { after, told: case.why };
        let ended = limited(folder.path(), &arguments, &[("TOKEN", SECRET)], Some(stops));
        case.check(&spout, &server, &told(&String::from_utf8_lossy(&ended.stderr)));
    });
}

#[test]
fn a_hostile_api_keeps_no_source_busy() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let answers = [
        case(Behaviour::HugeLength, &[]),
        case(Behaviour::EndlessChunks, &[]),
        case(Behaviour::EndlessError, &[]),
        case(Behaviour::EndlessHead, &[]),
        case(Behaviour::LongError, &[]),
        case(Behaviour::Garbage, &[]),
        case(Behaviour::Redirect(301, elsewhere.address()), &[]),
        case(Behaviour::Redirect(307, elsewhere.address()), &[]),
    ];
    check_sources(&[MASTODON, X, YOUTUBE, FACEBOOK], &answers, 25);
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

#[test]
fn a_hostile_socket_keeps_no_source_busy() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let frames = || {
        [
            streams(Behaviour::Pings, &["without end"]),
            streams(Behaviour::EmptyFragments, &["without end"]),
            streams(Behaviour::EndlessMessage, &["too long"]),
            streams(Behaviour::HugeFrame, &["too long"]),
        ]
    };
    check_sources(&[MASTODON_SOCKET], &frames(), 20);
    let others = [
        case(Behaviour::EndlessHead, &[]),
        case(Behaviour::Garbage, &[]),
        case(Behaviour::Ends, &[]),
        case(Behaviour::Redirect(302, elsewhere.address()), &["302"]),
    ];
    let all = frames().map(|case| Case { requests: For::All, ..case });
    check_sources(&[BLUESKY], &all.into_iter().chain(others).collect::<Vec<_>>(), 25);
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// Streams over HTTP that are answered well up to their bodies.
#[test]
fn a_hostile_body_of_a_stream_keeps_no_source_busy() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let bodies = [
        streams(Behaviour::Repeats("a"), &["larger than", "longer than", "at most"]),
        streams(Behaviour::Repeats("\r\n"), &["without end"]),
        streams(
            Behaviour::Repeats(": this is only to keep it alive\n"),
            &["without end", "expected a post of x"],
        ),
        streams(
            Behaviour::Repeats("data: x\n"),
            &["without end", "larger than", "expected a post of x"],
        ),
        streams(Behaviour::Repeats("event: update\ndata: {}\n\n"), &[]),
        streams(Behaviour::Repeats("{\"data\":\r\n"), &[]),
        streams(Behaviour::Hangs, &[]),
        streams(Behaviour::EndlessError, &[]),
        streams(Behaviour::Garbage, &[]),
        streams(Behaviour::Redirect(307, elsewhere.address()), &["307", "redirect"]),
    ];
    check_sources(&[MASTODON, X], &bodies, 15);
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// A lake of `count` packed files, each with one post of so many MiB.
fn lake_of_large_posts(root: &Path, count: usize, mib: usize) {
    for hour in 0..count {
        let partition =
            root.join(format!("2015-12-18T{hour:02}:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7"));
        fs::create_dir_all(&partition).unwrap();
        let packed = File::create(partition.join("0000000.json.gz")).unwrap();
        let mut gzip = Command::new("gzip")
            .arg("-1")
            .stdin(Stdio::piped())
            .stdout(packed)
            .spawn()
            .expect("gzip is part of every Debian");
        let mut text = gzip.stdin.take().unwrap();
        text.write_all(b"[{\"note\":\"").unwrap();
        for _ in 0..mib {
            text.write_all(&vec![b'x'; 1 << 20]).unwrap();
        }
        text.write_all(b"\"}]").unwrap();
        drop(text);
        assert!(gzip.wait().unwrap().success());
    }
}

#[test]
fn all_readers_of_a_lake_share_one_bound() {
    let folder = tempfile::tempdir().unwrap();
    lake_of_large_posts(&folder.path().join("lake"), 6, 40);
    // Beside the bound the program itself takes some 30 MiB, and each of four readers 16 MiB.
    let least = (64 + 30 + 4 * 16) << 10;
    for what in [&["lake", "verify", "lake"][..], &["replay", "lake"]] {
        let arguments = [what, &["--memory", "64MiB"]].concat();
        let ended = limited_to(least, folder.path(), &arguments, &[], None);
        assert!(ended.status.success(), "{what:?}: {ended:?}");
    }
    let arguments = ["lake", "verify", "lake", "--memory", "32MiB"];
    let ended = limited_to(least, folder.path(), &arguments, &[], None);
    let said = String::from_utf8_lossy(&ended.stdout);
    assert_eq!(ended.status.code(), Some(4), "{said}");
    assert!(
        said.contains("expected a post of at most 16MiB, which is what `memory` or --memory"),
        "{said}"
    );
}

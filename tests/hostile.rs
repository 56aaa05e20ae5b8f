//! Clients against servers that do what no good server does (`support/hostile.rs`): each command ends in time and
//! within a limit on its memory, says what happened, and sends no credential to another host.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::hostile::{Behaviour, Hostile};

/// What the process may map. The program needs some 300 MiB of it before it does anything.
const MEMORY_KIB: u64 = 3_000_000;

/// A server that says nothing is asked for a minute in all; the rest is a machine that is busy.
const TIME_MAX: Duration = Duration::from_secs(110);

const SECRET: &str = "hidden-key";

/// Runs the program with a limit on its memory, and ends it by this signal after so long.
fn limited(folder: &Path, arguments: &[&str], environment: &[(&str, &str)], ends: Option<Duration>) -> Output {
    let began = Instant::now();
    let script = format!("ulimit -v {MEMORY_KIB}; exec \"$@\"");
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]);
    if let Some(ends) = ends {
        command.args(["timeout", "-s", "INT", "-k", "30", &ends.as_secs().to_string()]);
    }
    command.arg(env!("CARGO_BIN_EXE_waterspout")).args(arguments).current_dir(folder);
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    let ended = command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
    assert!(began.elapsed() < TIME_MAX, "{arguments:?} took {:?}", began.elapsed());
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
        let states = report["components"].as_array().into_iter().flatten().map(|one| one["state"].to_string());
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

#[test]
fn a_hostile_bucket_ends_every_tool_with_its_reason() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let to = elsewhere.address();
    let redirects = [301, 302, 303, 307, 308].map(|status| (Behaviour::Redirect(status, to.clone()), "redirect"));
    let others = [
        (Behaviour::Silent, "said nothing for 30 s"),
        (Behaviour::HugeLength, "100000000000 bytes, expected at most"),
        (Behaviour::EndlessChunks, "more than"),
        (Behaviour::EndlessError, "403"),
        (Behaviour::EndlessHead, "can't list"),
        (Behaviour::RepeatedPage, "repeats itself"),
        (Behaviour::EmptyPages, "repeats itself"),
        (Behaviour::LongError, "403 AccessDenied"),
        (Behaviour::Garbage, "can't list"),
        (Behaviour::Ends, "can't list"),
    ];
    thread::scope(|scope| {
        for (behaviour, why) in redirects.into_iter().chain(others) {
            scope.spawn(move || {
                let (server, folder) = (Hostile::start(behaviour.clone()), tempfile::tempdir().unwrap());
                let ended = limited(folder.path(), &["lake", "ls", "s3://lake/root"], &access(&server.address()), None);
                let said = String::from_utf8_lossy(&ended.stderr);
                assert_eq!(ended.status.code(), Some(1), "{behaviour:?}: {said}");
                let moved_for_good = said.contains("another region");
                assert!(said.contains(why) || (why == "redirect" && moved_for_good), "{behaviour:?}: {said}");
                assert!(said.len() < 3_000, "{behaviour:?}: {} bytes", said.len());
            });
        }
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

/// An upload that meets such a server: nothing is lost, the sink beside it goes on, and the reason is told.
#[test]
fn a_hostile_bucket_holds_up_an_upload_and_nothing_else() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let behaviours = [
        Behaviour::HugeLength,
        Behaviour::EndlessChunks,
        Behaviour::EndlessError,
        Behaviour::EndlessHead,
        Behaviour::LongError,
        Behaviour::Garbage,
        Behaviour::Redirect(307, elsewhere.address()),
    ];
    thread::scope(|scope| {
        for behaviour in behaviours {
            scope.spawn(move || {
                let (server, folder) = (Hostile::start(behaviour.clone()), tempfile::tempdir().unwrap());
                let endpoint = server.address();
                let posts: String = (0..20).map(|id| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}\n")).collect();
                std::fs::write(folder.path().join("in.ndjson"), posts).unwrap();
                std::fs::write(
                    folder.path().join("t.ron"),
                    format!(
                        r#"Topology(name: "t", spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"], follow: true))}},
                            bolts: {{
                                "bucket": Bolt(run: S3(bucket: "lake", endpoint: "{endpoint}"), inputs: [Shuffle("in")]),
                                "folder": Bolt(run: Local(root: "local"), inputs: [Shuffle("in")]),
                            }},
                            checkpoint: Checkpoint(every: "100ms"), micro_batch: MicroBatch(posts: 10))"#
                    ),
                )
                .unwrap();
                let arguments = ["run", "t.ron", "--state", "st"];
                let wait = Some(Duration::from_secs(8));
                let ended = limited(folder.path(), &arguments, &access(&endpoint), wait);
                let said = told(&String::from_utf8_lossy(&ended.stderr));
                // After a failure it also asks whether the partition was replaced meanwhile.
                assert!(said.contains("can't put") || said.contains("can't get"), "{behaviour:?}: the reason isn't told:\n{said}");
                let captured = support::lake_by_partition(&folder.path().join("local"), &["_staging"]);
                assert_eq!(captured.values().map(Vec::len).sum::<usize>(), 20, "{behaviour:?}:\n{said}");
                assert!(folder.path().join("st/outbox").exists(), "{behaviour:?}: the outbox is gone");
            });
        }
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

#[test]
fn a_hostile_stream_or_api_keeps_no_source_busy() {
    let elsewhere = Hostile::start(Behaviour::Ends);
    let sockets = [
        (Behaviour::Pings, "without end"),
        (Behaviour::EmptyFragments, "without end"),
        (Behaviour::EndlessMessage, "too long"),
        (Behaviour::HugeFrame, "too long"),
        (Behaviour::EndlessHead, ""),
        (Behaviour::Garbage, ""),
        (Behaviour::Ends, ""),
        (Behaviour::Redirect(302, elsewhere.address()), "302"),
    ];
    let apis = [
        Behaviour::HugeLength,
        Behaviour::EndlessChunks,
        Behaviour::EndlessError,
        Behaviour::EndlessHead,
        Behaviour::LongError,
        Behaviour::Garbage,
        Behaviour::Redirect(301, elsewhere.address()),
        Behaviour::Redirect(307, elsewhere.address()),
    ];
    let run = |spout: &str, behaviour: &Behaviour| {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            r#"Topology(name: "t", spouts: {{"s": Spout(run: {spout})}},
                bolts: {{"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("s")])}})"#
        );
        std::fs::write(folder.path().join("t.ron"), text).unwrap();
        let arguments = ["run", "t.ron", "--state", "st", "--interval", "200ms"];
        let environment = [("TOKEN", SECRET)];
        let ended = limited(folder.path(), &arguments, &environment, Some(Duration::from_secs(25)));
        let said = told(&String::from_utf8_lossy(&ended.stderr));
        assert!(said.len() < 20_000, "{behaviour:?}: {} bytes", said.len());
        said
    };
    thread::scope(|scope| {
        for (behaviour, why) in &sockets {
            scope.spawn(move || {
                let server = Hostile::start(behaviour.clone());
                let said = run(&format!("Bluesky(base_url: \"{}\")", server.websocket()), behaviour);
                assert!(said.to_lowercase().contains(why), "{behaviour:?}: {said}");
                assert!(!server.asked().is_empty(), "{behaviour:?}: {said}");
            });
        }
    });
    thread::scope(|scope| {
        for behaviour in &apis {
            for spout in [
                r##"Mastodon(instance: "host.invalid", base_url: "URL", access_token: Env("TOKEN"), topics: ["#rust"])"##,
                r#"YouTube(base_url: "URL", api_key: Env("TOKEN"), topics: ["rust"])"#,
                r#"X(base_url: "URL", bearer_token: Env("TOKEN"), topics: ["rust"])"#,
                r#"Facebook(base_url: "URL", access_token: Env("TOKEN"), topics: [Page("1")])"#,
            ] {
                scope.spawn(move || {
                    let server = Hostile::start(behaviour.clone());
                    run(&spout.replace("URL", &server.address()), behaviour);
                    assert!(!server.asked().is_empty(), "{spout} asked nothing of {behaviour:?}");
                });
            }
        }
    });
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "a redirect was followed");
}

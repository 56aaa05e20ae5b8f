//! Tests of text from outside that reaches a terminal, a log or an error.

use std::fs;
use std::time::Duration;

use super::support::Sandbox;
use super::support::echo::{self, Packing};

const SECRET: &str = "hunter2/of+all&keys";

/// Environment with every secret that the topologies below name.
const ENVIRONMENT: [(&str, &str); 2] = [("KEY", SECRET), ("KEY_ID", "AKIAEXAMPLE")];

/// Fails if a text shows the secret, a raw escape, or a line that somebody else made up.
#[track_caller]
fn check_printed(what: &str, text: &str) {
    let base64 =
        ["aHVudGVyMi9vZithbGwma2V5c", "h1bnRlcjIvb2YrYWxsJmtleX", "odW50ZXIyL29mK2FsbCZrZXlz"];
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for shown in [SECRET, "hunter2%2Fof", "hunter2%2fof", &percent].iter().chain(&base64) {
        assert!(!text.contains(shown), "{what} shows the secret as {shown}:\n{text}");
    }
    let steers = |c: char| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
    assert!(!text.contains(steers), "{what} steers the terminal:\n{text:?}");
    assert!(
        !text.lines().any(|line| line.starts_with("forged")),
        "{what} has a forged line:\n{text}"
    );
}

/// Runs a topology with this spout until an attempt has failed, and everything that shows it.
fn show_all(spout: &str, sink: &str, checks_online: bool) {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        format!("Topology(name: \"t\", spouts: {{\"in\": Spout(run: {spout})}}, bolts: {{\"lake\": Bolt(run: {sink}, inputs: [Shuffle(\"in\")])}})"),
    );
    if checks_online {
        let checked = sandbox.run_with(&["validate", "--online", "t.ron"], &ENVIRONMENT);
        assert_eq!(checked.code, Some(1), "{spout}: {}{}", checked.out, checked.err);
        check_printed(&format!("validate of {spout}"), &(checked.out + &checked.err));
    }
    let arguments = ["run", "t.ron", "--state", "state", "--interval", "50ms"];
    let mut running = sandbox.start_with(&arguments, &ENVIRONMENT);
    let fails = |report: &serde_json::Value| {
        let components = report["components"].as_array().unwrap();
        components.iter().any(|component| {
            component["failed"].as_u64() > Some(0) && !component["troubles"].is_null()
        }) || report["phase"] == "failed"
    };
    running.wait_for("an attempt fails", fails);
    for command in
        [&["status", "--state", "state", "--interval", "50ms"][..], &["gaps", "--state", "state"]]
    {
        for json in [false, true] {
            let mut command = command.to_vec();
            command.extend(json.then_some("--json"));
            let shown = sandbox.run(&command);
            check_printed(&format!("{command:?} of {spout}"), &(shown.out + &shown.err));
        }
    }
    running.signal("INT");
    std::thread::yield_now();
    running.signal("INT");
    let ended = running.end();
    assert_ne!(ended.code, Some(0), "{spout}: a source that never got anything is no success");
    check_printed(&format!("run of {spout}"), &(ended.out.clone() + &ended.err));
}

#[test]
fn no_secret_and_no_escape_of_a_server_is_printed() {
    for status in [401, 500] {
        let url = |packing| format!("http://{}", echo::start(status, packing));
        let null = "Null()";
        let json = url(Packing::Json);
        show_all(
            &format!("X(topics: [\"a\"], bearer_token: Env(\"KEY\"), base_url: \"{json}\")"),
            null,
            true,
        );
        show_all(
            &format!(
                "Facebook(topics: [Page(\"1\")], access_token: Env(\"KEY\"), app_secret: Env(\"KEY\"), base_url: \"{json}\")"
            ),
            null,
            true,
        );
        show_all(
            &format!("YouTube(topics: [\"a\"], api_key: Env(\"KEY\"), base_url: \"{json}\")"),
            null,
            true,
        );
        let words = url(Packing::Words);
        show_all(
            &format!(
                "Mastodon(instance: \"a.example\", topics: [\"#a\"], access_token: Env(\"KEY\"), base_url: \"{words}\")"
            ),
            null,
            true,
        );
        let plain = url(Packing::Plain).replace("http", "ws");
        show_all(&format!("Bluesky(base_url: [\"{plain}\"])"), null, true);
    }
}

#[test]
fn no_secret_and_no_escape_of_a_store_is_printed() {
    for status in [403, 503] {
        let endpoint = format!("http://{}", echo::start(status, Packing::Xml));
        let access = "access_key_id: Env(\"KEY_ID\"), secret_access_key: Env(\"KEY\"), session_token: Env(\"KEY\")";
        let s3 = format!("S3(bucket: \"lake\", endpoint: \"{endpoint}\", {access})");
        let sandbox = Sandbox::new();
        sandbox.write("t.ron", format!("Topology(name: \"t\", spouts: {{\"in\": Spout(run: Generate(posts: 10))}}, bolts: {{\"lake\": Bolt(run: {s3}, inputs: [Shuffle(\"in\")])}})"));
        let mut running = sandbox
            .start_with(&["run", "t.ron", "--state", "state", "--interval", "50ms"], &ENVIRONMENT);
        running.wait_for("it fails", |report| {
            let fails = |component: &serde_json::Value| !component["troubles"].is_null();
            report["components"].as_array().unwrap().iter().any(fails)
                || report["phase"] == "failed"
        });
        running.signal("INT");
        std::thread::yield_now();
        running.signal("INT");
        check_printed("run", &running.end().err);
        let environment = [
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        if status == 403 {
            for command in [
                &["lake", "ls", "s3://lake/x"][..],
                &["replay", "s3://lake/x"],
                &["lake", "verify", "s3://lake"],
            ] {
                let ended = sandbox.run_with(command, &environment).with(1);
                check_printed(&format!("{command:?}"), &(ended.out + &ended.err));
            }
        }
    }
}

#[test]
fn names_in_a_lake_and_arguments_forge_no_line() {
    let sandbox = Sandbox::new();
    let bad = "2015-12-18T00:00:00-\u{1b}[31m\nforged: \u{202e}";
    let post = r#"[{"tweet":{"id_str":"1","text":"a"}}]"#;
    for partition in [bad, "2015-12-18T00:00:00-1b4e28ba-2fa1-4d2e-883f-0016d3cca427"] {
        fs::create_dir_all(sandbox.path("lake").join(partition)).unwrap();
        fs::write(sandbox.path("lake").join(partition).join("0000000.json"), post).unwrap();
        fs::write(sandbox.path("lake").join(partition).join("x\nforged: \u{1b}c"), "x").unwrap();
    }
    let bad_lake = format!("{bad}/lake");
    fs::create_dir_all(sandbox.path(bad)).unwrap();
    std::os::unix::fs::symlink(sandbox.path("lake"), sandbox.path(&bad_lake)).unwrap();
    sandbox.write("x\nforged: \u{9b}.ron", "Topology(\u{1b}");
    let bad_file = "x\nforged: \u{9b}.ron";
    for lake in ["lake", &bad_lake] {
        for command in [
            &["lake", "ls"][..],
            &["lake", "verify"],
            &["lake", "index"],
            &["lake", "ls", "--json"],
            &["lake", "verify", "--json"],
            &["lake", "prune", "--older-than", "1d", "--dry-run"],
            &["lake", "compact"],
            &["replay"],
        ] {
            let mut command = command.to_vec();
            command.push(lake);
            let ended = sandbox.run(&command);
            check_printed(&format!("{command:?}"), &(ended.out + &ended.err));
        }
    }
    for command in [
        &["validate", bad_file][..],
        &["validate", "nowhere\nforged: \u{1b}"],
        &["run", bad_file],
        &["graph", bad_file],
        &["x\nforged: \u{1b}[31m"],
        &["run", "x", "--forged\nforged: \u{1b}[31m"],
        &["run", "x", "--interval", "\nforged: \u{7f}"],
        &["lake", "ls", "s3://forged:hunter2/of+all&keys@x\nforged: y"],
        &["lake", "erase", "lake", "--ids", "no\nforged: \u{1b}"],
        &["components", "show", "a\nforged: \u{1b}"],
        &["rebalance", "--state", "no\nforged: \u{1b}", "a\nforged: b=1"],
        &["state", "rm", "no\nforged: \u{1b}"],
        &["spool", "verify", "no\nforged: \u{1b}"],
        &["gaps", "no\nforged: \u{1b}"],
        &["stop", "--state", "no\nforged: \u{1b}"],
        &["status", "--state", "no\nforged: \u{1b}"],
        &["diff", bad_file, bad_file],
        &["validate", "t.ron", "--set", "a\nforged: \u{1b}=b"],
    ] {
        let ended = sandbox.run(command);
        assert_ne!(ended.code, Some(0), "{command:?}");
        assert_ne!(ended.code, Some(101), "{command:?} panics: {}", ended.err);
        check_printed(&format!("{command:?}"), &(ended.out + &ended.err));
    }
}

#[test]
fn posts_stay_as_they_are_byte_for_byte() {
    let sandbox = Sandbox::new();
    let line = "{\"tweet\":{\"id_str\":\"1\",\"text\":\"\u{9b}\u{202e}\u{7f} https://u:p@h/?token=abc\"}}\n";
    sandbox.write("in.ndjson", line);
    sandbox.write(
        "t.ron",
        r#"Topology(name: "t", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))},
            bolts: {"out": Bolt(run: Stdout(), inputs: [Shuffle("in")]), "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])})"#,
    );
    let printed = sandbox.run(&["run", "t.ron", "--state", "state"]).with(0).out;
    assert!(printed.contains("\u{9b}\u{202e}\u{7f} https://u:p@h/?token=abc"), "{printed:?}");
    assert_eq!(sandbox.run(&["replay", "lake"]).with(0).out, line);
    assert_eq!(sandbox.run(&["lake", "cat", "lake"]).with(0).out, line);
}

#[test]
fn variables_of_the_environment_forge_no_line() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(name: Env("NAME"), spouts: {"in": Spout(run: Lines(paths: [Env("INPUT")]))},
            bolts: {"lake": Bolt(run: Local(root: Env("ROOT")), inputs: [Shuffle("in")])})"#,
    );
    let home = format!("{}\nforged: \u{1b}[31m", sandbox.path("home").display());
    for (name, input, root) in [
        ("a\u{1b}]0;b\u{7}", "no\u{9b}file", "lake\u{202e}"),
        ("a\nforged: b", "no\nforged: file", "lake\nforged: "),
        ("", "", ""),
        ("https://u:hunter2@h", "t.ron", "s3://u:hunter2@h/x"),
    ] {
        let environment = [
            ("NAME", name),
            ("INPUT", input),
            ("ROOT", root),
            ("XDG_STATE_HOME", &*home),
            ("HOME", &home),
        ];
        for command in [
            &["run", "t.ron"][..],
            &["validate", "--online", "t.ron"],
            &["validate", "--explain", "t.ron"],
            &["graph", "t.ron"],
            &["state", "ls"],
            &["state", "ls", "--json"],
            &["gaps"],
            &["status", "t.ron"],
        ] {
            let ended = sandbox.run_with(command, &environment);
            assert_ne!(ended.code, Some(101), "{command:?} panics: {}", ended.err);
            let printed = ended.out + &ended.err;
            check_printed(&format!("{command:?} with {name:?}"), &printed);
            assert!(!printed.contains("hunter2"), "{command:?}: {printed}");
        }
    }
}

#[test]
fn arguments_and_variables_that_are_no_text_are_refused_without_a_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let sandbox = Sandbox::new();
    let bad = OsStr::from_bytes(b"a\xff\x1b\nforged: b");
    let commands: [&[&OsStr]; 6] = [
        &[bad],
        &["run".as_ref(), bad],
        &["lake".as_ref(), "ls".as_ref(), bad],
        &["replay".as_ref(), bad],
        &["run".as_ref(), "x".as_ref(), "--set".as_ref(), bad],
        &["status".as_ref(), "--state".as_ref(), bad],
    ];
    for command in commands {
        let ended = sandbox.run(command);
        assert!(matches!(ended.code, Some(1 | 2)), "{command:?}: {:?} {}", ended.code, ended.err);
        check_printed(&format!("{command:?}"), &ended.err);
    }
}

#[test]
fn a_stop_that_waits_and_an_end_that_is_not_clean_say_why() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(name: "t", spouts: {"in": Spout(run: Generate(posts: 100))}, bolts: {"lake": Bolt(run:
            S3(bucket: "lake", endpoint: "http://127.0.0.1:1", access_key_id: Env("KEY_ID"), secret_access_key: Env("KEY")),
            inputs: [Shuffle("in")])})"#,
    );
    let mut running = sandbox
        .start_with(&["run", "t.ron", "--state", "state", "--interval", "50ms"], &ENVIRONMENT);
    let says = |report: &serde_json::Value, texts: &[&str]| {
        let message = report["message"].as_str().unwrap_or_default();
        texts.iter().all(|text| message.contains(text))
    };
    running.wait_for("the trouble is told", |report| {
        says(report, &["lake: commit fails", "127.0.0.1:1"])
            || says(report, &["lake: commit fails", "refused"])
    });
    running.wait_for("the wait is told", |report| {
        says(report, &["waits for commits of lake[0]", "refused", "given up in"])
    });
    let ended = running.end().with(5);
    ended.says(&[
        "commits of lake[0] were not done",
        "refused",
        "nothing is lost",
        "state/outbox",
        "the same command",
    ]);
}

#[test]
fn a_source_that_never_connected_is_no_success_and_its_attempts_are_failures() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(name: "t", spouts: {"in": Spout(run: Bluesky(base_url: ["ws://127.0.0.1:1"]))},
            bolts: {"out": Bolt(run: Null(), inputs: [Shuffle("in")])})"#,
    );
    let mut running = sandbox.start(&["run", "t.ron", "--state", "state", "--interval", "50ms"]);
    running.wait_for("attempts are counted", |report| {
        report["components"][0]["failed"].as_u64() > Some(1)
    });
    let status = sandbox.run(&["status", "--state", "state"]).with(0).out;
    assert!(status.contains("in: 127.0.0.1:1: can't connect: Connection refused"), "{status}");
    running.terminate();
    running.end().with(1).says(&[
        "in: jetstream fails",
        "never got anything",
        "Connection refused",
        "the same command",
    ]);
}

#[test]
fn a_process_that_answers_nothing_is_not_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(name: "t", spouts: {"in": Spout(run: Generate(rate: 10))}, bolts: {"out": Bolt(run: Null(), inputs: [Shuffle("in")])})"#,
    );
    let mut running = sandbox.start(&["run", "t.ron", "--state", "state", "--interval", "50ms"]);
    running.wait_for("it runs", |report| report["epoch"].as_u64() > Some(0));
    running.signal("STOP");
    let began = std::time::Instant::now();
    for command in [&["status", "--state", "state"][..], &["stop", "--state", "state"]] {
        sandbox.run(command).with(1).says(&["doesn't answer for 10 s", "kill -CONT"]);
    }
    assert!(began.elapsed() < Duration::from_secs(60));
    running.signal("CONT");
    running.terminate();
    running.end().with(0);
}

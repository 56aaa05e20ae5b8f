//! The binary as an outsider sees it: started in its own folder, with its lake read by code that
//! shares nothing with the crate.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod cache;
pub(crate) mod echo;
pub(crate) mod endpoint;
pub(crate) mod hostile;
pub(crate) mod once;
pub(crate) mod platform;
pub(crate) mod play;
pub(crate) mod postgres_server;
pub(crate) mod prism;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod s3_server;
pub(crate) mod sign;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;

/// Returns a time that is far longer than any run here takes, on any machine. A run that takes
/// longer hangs. With `tests/run --long` a run may have a million posts.
fn limit() -> Duration {
    let is_long = std::env::var_os("WATERSPOUT_LONG").is_some();
    Duration::from_secs(if is_long { 900 } else { 300 })
}

/// A folder for one test, in which the program runs.
pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Runs the program to its end, with an empty standard input.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ended {
        self.run_with_input(arguments, b"")
    }

    pub(crate) fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Ended {
        self.start(arguments).end_after(input)
    }

    /// Runs the program with fail points; see `src/fault.rs`.
    pub(crate) fn run_with_faults(&self, arguments: &[&str], faults: &str, input: &[u8]) -> Ended {
        self.start_with(arguments, &[("FAILPOINTS", faults)]).end_after(input)
    }

    /// Runs the program to its end, with these environment variables too.
    pub(crate) fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        self.start_with(arguments, environment).end()
    }

    /// Starts the program, and leaves it running.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Starts the program with these environment variables too, and leaves it running.
    pub(crate) fn start_with<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        environment: &[(&str, &str)],
    ) -> Running {
        let name =
            arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut program = Command::new(env!("CARGO_BIN_EXE_waterspout"));
        program.args(arguments).envs(environment.iter().copied());
        self.start_program(program, &name)
    }

    /// Starts another program in this folder, and leaves it running.
    pub(crate) fn start_program(&self, mut program: Command, name: &str) -> Running {
        let mut child = program
            .current_dir(self.folder.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let guard = Guard::of(&child);
        let (printed, out) = (child.stdout.take().unwrap(), Out::default());
        let reader = out.clone();
        let out_thread = thread::spawn(move || reader.read(printed));
        let child = Owned(child);
        Running {
            name: name.to_owned(),
            child,
            out,
            out_thread,
            stderr,
            read: String::new(),
            guard,
        }
    }
}

/// A guard that kills a process that hangs.
struct Guard {
    ended: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Guard {
    fn of(child: &Child) -> Self {
        let (ended, end) = mpsc::channel();
        let process = child.id();
        let thread = thread::spawn(move || {
            let hangs = end.recv_timeout(limit()) == Err(RecvTimeoutError::Timeout);
            if hangs {
                signal("KILL", process);
            }
            hangs
        });
        Self { ended, thread }
    }

    fn had_to_kill(self) -> bool {
        drop(self.ended);
        self.thread.join().unwrap()
    }
}

fn signal(name: &str, process: u32) {
    let status =
        Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(status.success(), "kill -{name} {process}");
}

/// A process that is killed when a test fails.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // A process that has ended needs no signal.
        let _ = self.0.kill();
    }
}

/// The state of reading a process's standard output: it is read unless a test holds it up.
#[derive(Clone, Default)]
struct Out(Arc<(Mutex<bool>, Condvar)>);

impl Out {
    fn hold(&self, held: bool) {
        *self.0.0.lock().unwrap() = held;
        self.0.1.notify_all();
    }

    fn read(&self, mut printed: ChildStdout) -> String {
        let (mut all, mut part) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |held| *held).unwrap());
            match printed.read(&mut part).unwrap() {
                0 => return text(all),
                bytes => all.extend_from_slice(&part[..bytes]),
            }
        }
    }
}

/// Returns printed bytes as text. A process that ends at once may end in the middle of a character;
/// only such an end is accepted.
fn text(mut printed: Vec<u8>) -> String {
    if let Err(error) = str::from_utf8(&printed)
        && error.error_len().is_none()
    {
        let whole = error.valid_up_to();
        printed.truncate(whole);
    }
    String::from_utf8(printed).unwrap()
}

/// A running process, and the output that was read so far.
pub(crate) struct Running {
    name: String,
    child: Owned,
    out: Out,
    out_thread: JoinHandle<String>,
    stderr: BufReader<ChildStderr>,
    read: String,
    guard: Guard,
}

impl Running {
    /// Stops reading the process's standard output.
    pub(crate) fn stop_reading(&self) {
        self.out.hold(true);
    }

    /// Returns the process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Writes to the process's standard input, and leaves that open.
    pub(crate) fn feed(&mut self, input: &str) {
        self.child.0.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
    }

    /// Kills the process by SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, name: &str) {
        signal(name, self.child.0.id());
    }

    /// Writes all of the input, and waits for the process's end.
    pub(crate) fn end_after(mut self, input: &[u8]) -> Ended {
        let mut stdin = self.child.0.stdin.take().unwrap();
        let input = input.to_vec();
        // A process that takes no input closes it early, which is no mistake.
        let feed = thread::spawn(move || stdin.write_all(&input));
        let ended = self.end();
        let _ = feed.join().unwrap();
        ended
    }

    pub(crate) fn terminate(&self) {
        signal("TERM", self.child.0.id());
    }

    /// Reads standard error until a line of JSON is as wanted.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) {
        loop {
            let mut line = String::new();
            let bytes = self.stderr.read_line(&mut line).unwrap();
            self.read += &line;
            assert!(bytes > 0, "`{}` ended before {what}:\n{}", self.name, self.read);
            if serde_json::from_str(&line).is_ok_and(|report| wanted(&report)) {
                return;
            }
        }
    }

    /// Waits for the process's end, and reads all of its output.
    pub(crate) fn end(mut self) -> Ended {
        // An input that nobody writes to is at its end.
        drop(self.child.0.stdin.take());
        self.stderr.read_to_string(&mut self.read).unwrap();
        let status = self.child.0.wait().unwrap();
        self.out.hold(false);
        let hung = self.guard.had_to_kill();
        assert!(
            !hung,
            "`{}` hung, and was killed after {:?}; it said:\n{}",
            self.name,
            limit(),
            self.read
        );
        Ended {
            name: self.name,
            code: status.code(),
            out: self.out_thread.join().unwrap(),
            err: self.read.lines().map(|line| errors_as_text(line) + "\n").collect(),
        }
    }
}

/// A line of standard error, where an error that is a line of JSON stands as a person would see it.
fn errors_as_text(line: &str) -> String {
    let json: Value = serde_json::from_str(line).unwrap_or_default();
    match (&json["level"], &json["message"], &json["components"]) {
        (Value::String(level), Value::String(message), Value::Null) if level == "error" => {
            format!("error: {message}")
        }
        _ => line.to_owned(),
    }
}

/// The result of a process that has ended.
pub(crate) struct Ended {
    name: String,
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Fails unless the process ended with this code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "the exit code of `{}`, which said:\n{}\n{}",
            self.name,
            self.out,
            self.err
        );
        self
    }

    /// Fails unless standard error contains all of these texts.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.err.contains(text),
                "`{}` doesn't say {text:?}, but:\n{}",
                self.name,
                self.err
            );
        }
        self
    }

    /// Returns the reports on standard error; every line has to be one.
    pub(crate) fn reports(&self) -> Vec<Value> {
        let read =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        self.err.lines().map(read).collect()
    }

    /// Returns a component's last total, such as the number of tuples that it emitted.
    pub(crate) fn total(&self, component: &str, key: &str) -> u64 {
        let last = self.reports().pop().unwrap();
        total(&last, component, key)
    }

    pub(crate) fn sorted_lines(&self) -> Vec<String> {
        sorted(self.out.lines())
    }
}

/// Returns a component's total in a report.
pub(crate) fn total(report: &Value, component: &str, key: &str) -> u64 {
    let components = report["components"].as_array().unwrap();
    components.iter().find(|c| c["id"] == component).unwrap()[key].as_u64().unwrap()
}

pub(crate) fn sorted<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<_> = lines.into_iter().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// Returns the path of a file of the repository.
pub(crate) fn repository(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// Returns all posts of a lake, sorted. Fails unless the lake is whole: it has nothing but
/// partitions (and, if there are `dead` letters, their folder), and their files are numbered from 0
/// without a gap, each one JSON array on one line.
pub(crate) fn lake(root: &Path, dead: bool) -> Vec<String> {
    assert_eq!(root.join("_dead").exists(), dead, "whether {} has dead letters", root.display());
    let mut posts: Vec<_> = lake_by_partition(root, &["_dead"]).into_values().flatten().collect();
    posts.sort_unstable();
    posts
}

/// Returns the posts of each partition, in order. The lake must be whole, as for [`lake`], but may
/// have these `others` beside its partitions.
pub(crate) fn lake_by_partition(root: &Path, others: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut partitions = BTreeMap::new();
    let beside = |name: &String| name == "_index" || others.contains(&name.as_str());
    for name in names(root).into_iter().filter(|name| !beside(name)) {
        assert_partition_name(&name);
        let folder = root.join(&name);
        let mut posts = Vec::new();
        for (number, file) in names(&folder).iter().enumerate() {
            assert_eq!(file.split('.').next(), Some(&*format!("{number:07}")), "in {name}");
            posts.extend(file_posts(&folder.join(file)));
        }
        partitions.insert(name, posts);
    }
    check_index(root);
    partitions
}

/// Fails unless each index agrees with its partition.
fn check_index(root: &Path) {
    let folder = root.join("_index");
    for name in if folder.exists() { names(&folder) } else { Vec::new() } {
        // The folder also has the records of `compact` and `erase`.
        let Some(partition) = name.strip_suffix(".json").filter(|name| root.join(name).exists())
        else {
            continue;
        };
        let index: Value = serde_json::from_slice(&fs::read(folder.join(&name)).unwrap()).unwrap();
        let files = index["files"].as_array().unwrap();
        let said: Vec<_> =
            files.iter().map(|file| file["file"].as_str().unwrap().to_owned()).collect();
        assert_eq!(said, names(&root.join(partition)), "what the index says of {partition}");
        for file in files {
            let path = root.join(partition).join(file["file"].as_str().unwrap());
            let bytes = fs::read(&path).unwrap();
            let found = (
                file_posts(&path).len() as u64,
                bytes.len() as u64,
                u64::from(crc32fast::hash(&bytes)),
            );
            let said = ["posts", "bytes", "crc32"].map(|key| file[key].as_u64().unwrap());
            assert_eq!(<[u64; 3]>::from(found), said, "what the index says of {}", path.display());
        }
    }
}

/// Returns the number of files of each partition.
pub(crate) fn files_by_partition(root: &Path) -> Vec<usize> {
    let partitions = names(root).into_iter().filter(|name| !name.starts_with('_'));
    partitions.map(|partition| names(&root.join(partition)).len()).collect()
}

/// Returns the file names of the repository's topologies.
pub(crate) fn topologies() -> Vec<String> {
    let mut files = names(Path::new(&repository("topologies")));
    files.retain(|name| name.ends_with(".ron"));
    files
}

fn names(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// Returns the posts of one file, whose extension names its form.
fn file_posts(file: &Path) -> Vec<String> {
    let (name, bytes) = (file.to_str().unwrap(), fs::read(file).unwrap());
    let (name, bytes) = if let Some(name) = name.strip_suffix(".gz") {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
        (name, text)
    } else if let Some(name) = name.strip_suffix(".zst") {
        (name, zstd::decode_all(&bytes[..]).unwrap())
    } else {
        (name, bytes)
    };
    let posts: Vec<Box<RawValue>> = if name.ends_with(".ndjson") {
        assert_eq!(bytes.last(), Some(&b'\n'), "{} breaks off", file.display());
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    } else {
        assert!(!bytes.contains(&b'\n'), "{} has more than one line", file.display());
        serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    assert!(!posts.is_empty(), "{} has no post", file.display());
    posts.iter().map(|post| post.get().to_owned()).collect()
}

/// Fails unless a partition's name is like
/// `2015-12-18T00:00:00-1b4e28ba-2fa1-4d2e-883f-0016d3cca427`, with or without colons.
fn assert_partition_name(name: &str) {
    let time = if name.contains(':') { "dddd-dd-ddTdd:dd:dd" } else { "ddddddddTddddddZ" };
    let pattern = format!("{time}-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    let fits = |(is, wanted): (char, char)| match wanted {
        'd' => is.is_ascii_digit(),
        'x' => matches!(is, '0'..='9' | 'a'..='f'),
        _ => is == wanted,
    };
    assert!(
        name.len() == pattern.len() && name.chars().zip(pattern.chars()).all(fits),
        "a partition named {name:?}"
    );
}

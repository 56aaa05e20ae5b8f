use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;
use time::OffsetDateTime;

use super::super::paths;
use super::super::reader::{self, Event, Opened};
use super::super::splitter::{Content, LineSplitter};
use super::super::spout::{Reading, jobs, moved_marks};
use super::*;
use crate::spout::Split;

/// A folder whose files are read by consecutive runs, with the checkpoint between them.
struct Runs {
    folder: tempfile::TempDir,
    paths: Vec<String>,
    checkpoint: BTreeMap<String, Cursor>,
    lines: Vec<String>,
    missing: Vec<String>,
}

impl Runs {
    fn of(paths: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        let paths = paths.iter().map(|path| format!("{root}/{path}")).collect();
        Self { folder, paths, checkpoint: BTreeMap::new(), lines: Vec::new(), missing: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, lines: &[&str]) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Writes a compressed copy of a file, and deletes the file.
    fn pack(&self, from: &str, to: &str) {
        let file = fs::File::create(self.path(to)).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        gzip.write_all(&fs::read(self.path(from)).unwrap()).unwrap();
        gzip.finish().unwrap();
        fs::remove_file(self.path(from)).unwrap();
    }

    /// Reads from the checkpoint to the end, or for this many cursors. Returns the lines.
    fn run(&mut self, cursors_max: usize) -> Vec<String> {
        let located = paths::located(&self.paths, &self.checkpoint).unwrap();
        for missing in &located.missing {
            let name = Path::new(&missing.path).file_name().unwrap().to_str().unwrap();
            self.missing.push(name.to_owned());
        }
        let cursor = |id: &String| self.checkpoint.get(id).cloned().unwrap_or(Cursor::Start);
        let split =
            |LocatedSplit { id, .. }: &LocatedSplit| Split { id: id.clone(), cursor: cursor(id) };
        let splits: Vec<Split> = located.splits.iter().map(split).collect();
        let jobs =
            moved_marks(&self.checkpoint, jobs(&splits, &located, |_| true).unwrap()).unwrap();
        let mut reports = reader::start(jobs, true).unwrap();
        let mut files: Vec<Option<Reading>> = splits.iter().map(|_| None).collect();
        let mut lines = Vec::new();
        for _ in 0..cursors_max {
            let Some((split, event)) = reports.blocking_recv() else { break };
            let now = OffsetDateTime::UNIX_EPOCH;
            let (cursor, line) = match event {
                Event::Opened(Opened { path, place, head, file }) => {
                    let splitter = LineSplitter::new(place, 1_000);
                    let reading = Reading { name: path, splitter, head, file };
                    (files[split].insert(reading).cursor(now, false), None)
                }
                Event::Chunk(chunk) => {
                    let file = files[split].as_mut().unwrap();
                    file.feed(chunk);
                    while let Some(line) = file.splitter.next_line() {
                        lines.extend(text(line.content));
                    }
                    (file.cursor(now, false), None)
                }
                Event::Ended => {
                    let mut file = files[split].take().unwrap();
                    let last = file.splitter.finish();
                    (file.cursor(now, true), last)
                }
                Event::Failed(error) => panic!("{}", error.chain()),
            };
            lines.extend(line.and_then(|line| text(line.content)));
            self.checkpoint.insert(splits[split].id.clone(), cursor);
        }
        self.lines.extend(lines.iter().cloned());
        lines
    }

    fn read(&mut self) -> Vec<String> {
        self.run(usize::MAX)
    }
}

fn text(content: Content) -> Option<String> {
    match content {
        Content::Whole(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
        Content::TooLong { .. } => panic!("a long line"),
    }
}

#[test]
fn a_file_rotated_between_two_runs_is_read_to_its_end_and_the_new_one_from_its_start() {
    for paths in [["x.log"], ["x.log*"]] {
        let mut runs = Runs::of(&paths);
        runs.append("x.log", &["a", "b"]);
        assert_eq!(runs.read(), ["a", "b"]);
        for (old, new) in [("rest", "new"), ("rest of new", "newer")] {
            runs.append("x.log", &[old]);
            if runs.path("x.log.1").exists() {
                runs.rename("x.log.1", "x.log.2");
            }
            runs.rename("x.log", "x.log.1");
            runs.append("x.log", &[new]);
            let mut read = runs.read();
            read.sort_unstable();
            let mut expected = [new, old];
            expected.sort_unstable();
            assert_eq!(read, expected, "{paths:?}");
            assert!(runs.read().is_empty());
        }
        assert!(runs.missing.is_empty(), "{:?}", runs.missing);
        let splits: Vec<_> =
            runs.checkpoint.keys().map(|id| id.rsplit_once('/').unwrap().1).collect();
        assert_eq!(splits, ["x.log", "2", "3"], "{paths:?}");
    }
}

#[test]
fn a_run_that_was_killed_in_the_middle_goes_on_in_the_rotated_file() {
    for paths in [["x.log"], ["x.log*"]] {
        for killed_after in 0..6 {
            let mut runs = Runs::of(&paths);
            runs.append("x.log", &["a", "b"]);
            runs.run(1);
            runs.append("x.log", &["c"]);
            runs.rename("x.log", "x.log.1");
            runs.append("x.log", &["new"]);
            runs.run(killed_after);
            runs.read();
            runs.lines.sort_unstable();
            assert_eq!(runs.lines, ["a", "b", "c", "new"], "{paths:?} {killed_after}");
            assert!(runs.missing.is_empty());
        }
    }
}

#[test]
fn a_compressed_or_copied_file_is_read_on_in_its_copy() {
    for paths in [["x.log"], ["x.log*"]] {
        for is_packed in [false, true] {
            let mut runs = Runs::of(&paths);
            runs.append("x.log", &["a"]);
            assert_eq!(runs.read(), ["a"]);
            runs.append("x.log", &["rest"]);
            if is_packed {
                runs.pack("x.log", "x.log.1.gz");
            } else {
                fs::copy(runs.path("x.log"), runs.path("x.log.1")).unwrap();
                fs::write(runs.path("x.log"), "").unwrap();
            }
            runs.append("x.log", &["new"]);
            let mut read = runs.read();
            read.sort_unstable();
            assert_eq!(read, ["new", "rest"], "{paths:?} {is_packed}");
            assert!(runs.read().is_empty() && runs.missing.is_empty());
        }
    }
}

#[test]
fn what_is_found_nowhere_is_told_until_the_next_file_of_its_name() {
    let mut runs = Runs::of(&["x.log"]);
    runs.append("x.log", &["a"]);
    assert_eq!(runs.read(), ["a"]);
    fs::remove_file(runs.path("x.log")).unwrap();
    runs.append("x.log", &["new"]);
    assert_eq!(runs.read(), ["new"]);
    assert_eq!(runs.missing, ["x.log"]);
    assert!(runs.read().is_empty());
    // The missing file was read to its end, and another known file has its name.
    assert_eq!(runs.missing, ["x.log"]);
}

#[test]
fn a_file_that_was_read_and_deleted_is_no_loss_unless_it_was_read_in_part() {
    let mut runs = Runs::of(&["*.log"]);
    runs.append("a.log", &["a"]);
    runs.append("b.log", &["b", "c"]);
    // The first file is opened, read and ended; no part of the second one is read.
    assert_eq!(runs.run(4), ["a"]);
    runs.append("c.log", &["d"]);
    fs::remove_file(runs.path("a.log")).unwrap();
    fs::remove_file(runs.path("b.log")).unwrap();
    assert_eq!(runs.read(), ["d"]);
    assert_eq!(runs.missing, ["b.log"]);
}

#[test]
fn a_restored_file_is_known_by_its_head_and_one_taken_out_of_the_paths_is_left_alone() {
    let mut runs = Runs::of(&["x.log", "y.log"]);
    runs.append("x.log", &["a"]);
    runs.append("y.log", &["b"]);
    assert_eq!(runs.read(), ["a", "b"]);
    fs::copy(runs.path("x.log"), runs.path("restored")).unwrap();
    runs.rename("restored", "x.log");
    runs.append("x.log", &["more"]);
    runs.append("y.log", &["late"]);
    runs.rename("y.log", "y.log.1");
    runs.paths.pop();
    assert_eq!(runs.read(), ["more"]);
    assert!(runs.missing.is_empty());
}

#[test]
fn a_cursor_of_an_earlier_version_is_found_by_its_head() {
    let mut runs = Runs::of(&["x.log"]);
    runs.append("x.log", &["a"]);
    runs.read();
    let cursor = runs.checkpoint.values_mut().next().unwrap();
    let Cursor::At(text) = cursor else { panic!("{cursor:?}") };
    *text = text.parse::<FileMark>().unwrap().mark.to_string();
    runs.append("x.log", &["b"]);
    runs.rename("x.log", "x.log.1");
    runs.append("x.log", &["new"]);
    assert_eq!(runs.read(), ["b", "new"]);
}

#[test]
fn a_file_that_an_earlier_run_followed_is_read_on_also_after_a_rotation() {
    for is_rotated in [false, true] {
        let mut runs = Runs::of(&["x.log"]);
        runs.append("x.log", &["a"]);
        runs.read();
        let Some(Cursor::At(cursor)) = runs.checkpoint.values().next() else { panic!("a place") };
        let FileMark { mark, file, .. } = cursor.parse().unwrap();
        let entry =
            known::Entry { file: file.unwrap(), path: runs.path("x.log"), mark, read_at: 7 };
        let mut cursor = String::new();
        entry.write(&mut cursor);
        runs.checkpoint = [("followed/001".to_owned(), Cursor::At(cursor))].into();
        runs.append("x.log", &["rest"]);
        if is_rotated {
            runs.rename("x.log", "x.log.1");
            runs.append("x.log", &["new"]);
        }
        let expected = if is_rotated { vec!["rest", "new"] } else { vec!["rest"] };
        assert_eq!(runs.read(), expected);
        assert!(runs.read().is_empty() && runs.missing.is_empty());
        // The split of the run that didn't follow records that the file was read to its end.
        fs::remove_file(runs.path(if is_rotated { "x.log.1" } else { "x.log" })).unwrap();
        runs.append("x.log", &[]);
        runs.read();
        assert_eq!(runs.missing.is_empty(), is_rotated, "its name has another file");
    }
}

#[test]
fn an_empty_file_gives_way_to_the_copy_of_another_that_has_its_name() {
    let mut runs = Runs::of(&["x*"]);
    runs.append("x1", &[]);
    runs.append("x3", &["a"]);
    assert_eq!(runs.read(), ["a"]);
    fs::remove_file(runs.path("x1")).unwrap();
    runs.pack("x3", "x1");
    assert!(runs.read().is_empty() && runs.read().is_empty());
}

#[test]
fn the_number_behind_a_path_is_no_part_of_it() {
    for (split, path) in
        [("/a/b", "/a/b"), ("/a/b//2", "/a/b"), ("//server/b", "//server/b"), ("-", "-")]
    {
        assert_eq!(path_of(split), path);
    }
    assert_eq!((next_id("/a"), next_id("/a//9")), ("/a//2".into(), "/a//10".into()));
}

/// A change of files between two runs; names are small numbers.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Rename(u8, u8),
    CopyAndCut(u8, u8),
    Pack(u8, u8),
    Link(u8, u8),
    Delete(u8),
    Run(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0_u8..4;
    let pair = || (0_u8..4, 0_u8..4);
    prop_oneof![
        6 => name().prop_map(Step::Append),
        3 => pair().prop_map(|(from, to)| Step::Rename(from, to)),
        1 => pair().prop_map(|(from, to)| Step::CopyAndCut(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Pack(from, to)),
        1 => pair().prop_map(|(from, to)| Step::Link(from, to)),
        1 => name().prop_map(Step::Delete),
        2 => (0_usize..12).prop_map(Step::Run),
        2 => Just(Step::Run(usize::MAX)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Tests that only lines of files that were deleted or overwritten are missing.
    #[test]
    fn every_line_comes_once_whatever_happens_between_two_runs(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut runs = Runs::of(&["x*"]);
        let mut written: Vec<String> = Vec::new();
        let mut deleted: BTreeSet<String> = BTreeSet::new();
        let lines_of = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        for step in steps {
            let name = |file: u8| format!("x{file}.log");
            let is_there = |runs: &Runs, file: u8| runs.path(&name(file)).exists();
            let is_packed = |runs: &Runs, file: u8| {
                fs::read(runs.path(&name(file))).is_ok_and(|bytes| bytes.starts_with(&[0x1f, 0x8b]))
            };
            let is_linked = |runs: &Runs, file: u8| {
                fs::metadata(runs.path(&name(file))).is_ok_and(|found| found.nlink() > 1)
            };
            match step {
                Step::Append(file) if !is_packed(&runs, file) => {
                    let line = format!("line {} of all that are written", written.len());
                    runs.append(&name(file), &[&line]);
                    written.push(line);
                }
                // An overwritten file is gone, so it can't be found.
                Step::Rename(from, to) if is_there(&runs, from) && !is_there(&runs, to) => {
                    runs.rename(&name(from), &name(to));
                }
                Step::CopyAndCut(from, to)
                    if is_there(&runs, from) && !is_there(&runs, to) && !is_packed(&runs, from) =>
                {
                    fs::copy(runs.path(&name(from)), runs.path(&name(to))).unwrap();
                    fs::write(runs.path(&name(from)), "").unwrap();
                }
                Step::Pack(from, to)
                    if is_there(&runs, from) && !is_there(&runs, to)
                        && !is_packed(&runs, from) && !is_linked(&runs, from) =>
                {
                    runs.pack(&name(from), &name(to));
                }
                Step::Link(from, to) if is_there(&runs, from) && !is_there(&runs, to) => {
                    fs::hard_link(runs.path(&name(from)), runs.path(&name(to))).unwrap();
                }
                Step::Delete(file) if is_there(&runs, file) && !is_packed(&runs, file) => {
                    if !is_linked(&runs, file) {
                        deleted.extend(lines_of(&runs.path(&name(file))).lines().map(str::to_owned));
                    }
                    fs::remove_file(runs.path(&name(file))).unwrap();
                }
                Step::Run(cursors_max) if (0..4).any(|file| is_there(&runs, file)) => {
                    runs.run(cursors_max);
                }
                _ => {}
            }
        }
        if (0..4).any(|file| runs.path(&format!("x{file}.log")).exists()) {
            runs.read();
        }
        let read: BTreeSet<&String> = runs.lines.iter().collect();
        prop_assert_eq!(read.len(), runs.lines.len(), "twice: {:?}", runs.lines);
        let is_lost = |line: &&String| !read.contains(*line) && !deleted.contains(*line);
        let lost: Vec<_> = written.iter().filter(is_lost).collect();
        prop_assert!(lost.is_empty(), "lost {:?}, read {:?}", lost, runs.lines);
    }
}

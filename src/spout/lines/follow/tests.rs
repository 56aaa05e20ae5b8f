//! Followed files against a model that knows what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;

use proptest::prelude::*;

use super::super::splitter::{Content, LineSplitter};
use super::*;

/// Plays the spout: what a follower reads, and what a checkpoint would know.
struct Played {
    folder: tempfile::TempDir,
    glob: &'static str,
    follower: Follower,
    now: Duration,
    entries: BTreeMap<u64, (String, Entry)>,
    readings: BTreeMap<u64, (LineSplitter, Vec<u8>)>,
    lines: Vec<String>,
    said: Vec<String>,
    lost: usize,
    failed: Option<String>,
    /// What the last start began with, until its first scan: a checkpoint before that says the same.
    unscanned: Option<HashMap<String, Option<Vec<Entry>>>>,
}

fn follower(folder: &Path, glob: &str, splits: HashMap<String, Option<Vec<Entry>>>) -> Follower {
    let paths = vec![format!("{}/{glob}", folder.display())];
    Follower::new(Followed { paths, has_kind: true, splits, not_followed: Vec::new() }).unwrap()
}

impl Played {
    fn start(glob: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let splits: HashMap<_, _> = known::splits().map(|split| (split, None)).collect();
        let follower = follower(folder.path(), glob, splits.clone());
        Self {
            folder,
            glob,
            follower,
            now: Duration::ZERO,
            entries: BTreeMap::new(),
            readings: BTreeMap::new(),
            lines: Vec::new(),
            said: Vec::new(),
            lost: 0,
            failed: None,
            unscanned: Some(splits),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Lets time go by, and reads what there is.
    fn tick(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            let now = self.now;
            while let Some(event) = self.follower.next(|| now) {
                self.take(event);
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { number, split, entry, head } => {
                self.readings.insert(number, (LineSplitter::new(entry.mark.place, 1_000), head));
                self.entries.insert(number, (split, entry));
            }
            Event::Chunk { number, chunk } => {
                let (splitter, head) = self.readings.get_mut(&number).unwrap();
                let wanted = (HEAD_BYTES - head.len()).min(chunk.len());
                head.extend_from_slice(&chunk[..wanted]);
                splitter.feed(chunk);
                while let Some(line) = splitter.next_line() {
                    let Content::Whole(line) = line.content else { panic!("a long line") };
                    self.lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
                let mark = Mark::new(splitter.place(), head);
                self.entries.get_mut(&number).unwrap().1.mark = mark;
            }
            Event::Moved { number, file, path } => {
                let entry = &mut self.entries.get_mut(&number).unwrap().1;
                (entry.file, entry.path) = (file, path);
            }
            Event::Closed { number } => {
                self.entries.remove(&number);
                let mut last = self.readings.remove(&number).unwrap().0;
                if let Some(line) = last.finish() {
                    let Content::Whole(line) = line.content else { panic!("a long line") };
                    self.lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
            }
            Event::Lost { why, .. } => {
                self.lost += 1;
                self.said.push(why);
            }
            Event::Said(what) => self.said.push(what),
            Event::Failed(error) => self.failed = Some(error.chain()),
            Event::Scanned => self.unscanned = None,
            Event::Waiting(..) => {}
        }
    }

    /// Stops without reading on, and starts again from what a checkpoint knows.
    fn restart(&mut self) {
        let entries = std::mem::take(&mut self.entries).into_values();
        let splits = self.unscanned.take().unwrap_or_else(|| {
            let mut splits: HashMap<_, _> = known::splits().map(|split| (split, Some(Vec::new()))).collect();
            for (split, entry) in entries {
                let mut text = String::new();
                entry.write(&mut text);
                splits.get_mut(&split).unwrap().as_mut().unwrap().extend(Entry::read_all(&text).unwrap());
            }
            splits
        });
        self.readings.clear();
        self.unscanned = Some(splits.clone());
        self.follower = follower(self.folder.path(), self.glob, splits);
    }

    /// The lines that were read since the last call.
    fn read(&mut self) -> Vec<String> {
        self.tick(2);
        std::mem::take(&mut self.lines)
    }

    fn open_files(&self) -> usize {
        self.follower.files.values().filter(|file| file.source.is_some()).count()
    }
}

#[test]
fn a_file_grows_and_its_last_line_waits_for_its_end() {
    let mut played = Played::start("*.log");
    assert!(played.read().is_empty());
    assert!(played.said[0].ends_with("stands for no file yet: it is waited for"), "{:?}", played.said);
    played.append("x.log", "a\nb");
    assert_eq!(played.read(), ["a"]);
    played.append("x.log", "b\nc\n");
    assert_eq!(played.read(), ["bb", "c"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_and_the_new_one_from_its_start() {
    for glob in ["x.log", "x.log*"] {
        let mut played = Played::start(glob);
        played.append("x.log", "a\n");
        assert_eq!(played.read(), ["a"]);
        played.append("x.log", "b\n");
        played.rename("x.log", "x.log.1");
        played.append("x.log", "new\n");
        played.append("x.log.1", "late\n");
        let mut read = played.read();
        read.sort();
        assert_eq!(read, ["b", "late", "new"], "{glob}");
        played.restart();
        assert!(played.read().is_empty());
    }
}

#[test]
fn rotated_while_stopped_it_is_found_beside_also_compressed() {
    for packed in [false, true] {
        for glob in ["x.log", "x.log*"] {
            let mut played = Played::start(glob);
            played.append("x.log", "a\n");
            assert_eq!(played.read(), ["a"]);
            played.append("x.log", "rest\n");
            if packed {
                let file = fs::File::create(played.path("x.log.1.gz")).unwrap();
                let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                gzip.write_all(&fs::read(played.path("x.log")).unwrap()).unwrap();
                gzip.finish().unwrap();
                fs::remove_file(played.path("x.log")).unwrap();
            } else {
                played.rename("x.log", "x.log.1");
            }
            played.append("x.log", "new\n");
            played.restart();
            let mut read = played.read();
            read.sort();
            assert_eq!((read, played.lost), (vec!["new".to_owned(), "rest".into()], 0), "{packed} {glob}");
            played.tick(20);
            played.restart();
            assert!(played.read().is_empty());
        }
    }
}

#[test]
fn a_rotation_that_copies_and_cuts_is_one_file_and_its_copy() {
    for glob in ["x.log", "x.log*"] {
        let mut played = Played::start(glob);
        played.append("x.log", "a\nb\n");
        assert_eq!(played.read(), ["a", "b"]);
        played.append("x.log", "c\n");
        fs::copy(played.path("x.log"), played.path("x.log.1")).unwrap();
        fs::write(played.path("x.log"), "").unwrap();
        assert_eq!(played.read(), ["c"], "{glob}");
        played.append("x.log", "d\n");
        assert_eq!(played.read(), ["d"]);
        played.tick(20);
        assert!(played.read().is_empty());
    }
}

#[test]
fn a_copy_that_stays_is_another_file() {
    let mut played = Played::start("*");
    played.append("x", "a\n");
    assert_eq!(played.read(), ["a"]);
    fs::copy(played.path("x"), played.path("y")).unwrap();
    assert!(played.read().is_empty());
    played.tick(10);
    assert_eq!(played.read(), ["a"]);
}

#[test]
fn links_are_no_files_of_their_own() {
    let mut played = Played::start("**/*");
    played.append("x", "a\n");
    std::os::unix::fs::symlink("x", played.path("link")).unwrap();
    std::os::unix::fs::symlink(".", played.path("loop")).unwrap();
    fs::hard_link(played.path("x"), played.path("hard")).unwrap();
    assert_eq!(played.read(), ["a"]);
    fs::remove_file(played.path("x")).unwrap();
    played.append("hard", "b\n");
    assert_eq!(played.read(), ["b"]);
}

#[test]
fn a_file_that_was_cut_is_said_and_read_from_its_start() {
    let mut played = Played::start("*");
    played.append("x", "a\nbbbb\n");
    assert_eq!(played.read(), ["a", "bbbb"]);
    for text in ["c\n", "other, and longer\n"] {
        fs::write(played.path("x"), text).unwrap();
        assert_eq!(played.read(), [text.trim()]);
        assert!(played.said.pop().unwrap().contains("was cut or written anew"));
    }
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_closed() {
    let mut played = Played::start("*");
    played.append("x", "a\n");
    assert_eq!(played.read(), ["a"]);
    assert_eq!(played.open_files(), 1);
    played.append("x", "b\nlast");
    fs::remove_file(played.path("x")).unwrap();
    played.tick(3);
    assert_eq!(played.read(), ["b", "last"]);
    assert_eq!((played.open_files(), played.entries.len(), played.lost), (0, 0, 0));
}

#[test]
fn what_is_gone_after_a_stop_is_told() {
    let mut played = Played::start("x");
    played.append("x", "a\n");
    assert_eq!(played.read(), ["a"]);
    fs::remove_file(played.path("x")).unwrap();
    played.append("x", "new\n");
    played.restart();
    assert_eq!(played.read(), ["new"]);
    assert_eq!(played.lost, 1);
    assert!(played.said[0].contains("after the last checkpoint (line 1, byte 2)"), "{:?}", played.said);
}

#[test]
fn many_files_are_read_with_few_of_them_open() {
    let mut played = Played::start("*");
    for number in 0..OPEN_MAX * 3 {
        played.append(&number.to_string(), &format!("{number}\n"));
    }
    assert_eq!(played.read().len(), OPEN_MAX * 3);
    assert!(played.open_files() <= OPEN_MAX);
    played.append("0", "again\n");
    assert_eq!(played.read(), ["again"]);
}

#[test]
fn a_file_that_cannot_be_looked_at_is_not_taken_for_gone() {
    // A chain of links that ends nowhere can't be followed, also not by root: the error is not "not found".
    let block = |played: &Played| {
        played.rename("logs", "away");
        std::os::unix::fs::symlink("logs", played.path("logs")).unwrap();
    };
    let mut played = Played::start("logs/x*");
    fs::create_dir(played.path("logs")).unwrap();
    played.append("logs/x", "a\n");
    assert_eq!(played.read(), ["a"]);
    block(&played);
    assert!(played.read().is_empty());
    assert_eq!((played.entries.len(), played.lost), (1, 0), "{:?}", played.said);
    played.restart();
    assert!(played.read().is_empty());
    let failed = played.failed.take().unwrap();
    assert!(failed.contains("logs/x\" can't be read now; it was read up to line 1 (byte 2)"), "{failed}");
    assert_eq!(played.lost, 0);

    fs::remove_file(played.path("logs")).unwrap();
    played.rename("away", "logs");
    played.append("logs/x", "b\n");
    played.restart();
    assert_eq!((played.read(), played.failed.take()), (vec!["b".to_owned()], None));
}

/// A step of the model, on files that are named by small numbers.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Rename(u8, u8),
    Truncate(u8),
    /// A copy that stays.
    Copy(u8, u8),
    CopyAndCut(u8, u8),
    Link(u8, u8),
    /// A symbolic link to the name of a file, whether it is there or not, instead of the one before.
    Symlink(u8),
    /// Writes to the file that the symbolic link names.
    AppendBySymlink,
    Delete(u8),
    Restart,
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0_u8..4;
    prop_oneof![
        6 => file().prop_map(Step::Append),
        2 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => file().prop_map(Step::Truncate),
        1 => (file(), file()).prop_map(|(from, to)| Step::Copy(from, to)),
        2 => (file(), file()).prop_map(|(from, to)| Step::CopyAndCut(from, to)),
        1 => file().prop_map(Step::Symlink),
        1 => Just(Step::AppendBySymlink),
        1 => (file(), file()).prop_map(|(from, to)| Step::Link(from, to)),
        1 => file().prop_map(Step::Delete),
        2 => Just(Step::Restart),
        4 => Just(Step::Tick),
    ]
}

/// A file of the model.
#[derive(Default)]
struct Model {
    /// Links share a file.
    names: Vec<u8>,
    unread: Vec<String>,
    /// It was looked at when it had a line.
    is_known: bool,
    /// It begins like a file that was copied: which of them is read first, and from where, is open. So its
    /// unread lines may be missing when it is cut or deleted, and aren't told.
    has_copy: bool,
}

/// What the model knows of all files.
#[derive(Default)]
struct Models {
    files: Vec<Model>,
    written: BTreeSet<String>,
    /// What may be missing of files that nobody ever looked at.
    unseen: BTreeSet<String>,
    /// What may be missing of files that were known, by file: each of them must be told of.
    torn: Vec<Vec<String>>,
    /// The lines of copies that stayed: each may come once more for each copy.
    copied: BTreeMap<String, usize>,
}

impl Models {
    fn append(&mut self, name: u8, line: &str) {
        self.written.insert(line.to_owned());
        match self.files.iter_mut().find(|file| file.names.contains(&name)) {
            Some(file) => file.unread.push(line.to_owned()),
            None => {
                let unread = vec![line.to_owned()];
                self.files.push(Model { names: vec![name], unread, ..Model::default() });
            }
        }
    }

    /// All that is there is read.
    fn look(&mut self) {
        for file in self.files.iter_mut().filter(|file| !file.has_copy) {
            file.is_known |= !file.unread.is_empty();
            file.unread.clear();
        }
    }

    /// A name is overwritten or deleted.
    fn forget(&mut self, name: u8) {
        for at in (0..self.files.len()).rev() {
            self.files[at].names.retain(|other| *other != name);
            if self.files[at].names.is_empty() {
                self.cut(at);
                self.files.remove(at);
            }
        }
    }

    /// The content of a file is gone.
    fn cut(&mut self, at: usize) {
        let file = &mut self.files[at];
        if file.has_copy {
            self.unseen.extend(file.unread.drain(..));
        }
        match std::mem::take(&mut file.is_known) {
            true if file.unread.is_empty() => {}
            true => self.torn.push(std::mem::take(&mut file.unread)),
            false => self.unseen.extend(file.unread.drain(..)),
        }
    }

    fn position(&self, name: u8) -> Option<usize> {
        self.files.iter().position(|file| file.names.contains(&name))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    /// Every line comes once. Missing may be only what was deleted or cut before a look at it, and that is
    /// told of each file that was ever looked at.
    #[test]
    fn every_line_comes_once_whatever_happens_to_its_file(steps in prop::collection::vec(step(), 1..40)) {
        let mut played = Played::start("x*");
        let mut models = Models::default();
        let mut linked = None;
        for step in steps {
            let name = |file: u8| format!("x{file}.log");
            let is_there = |played: &Played, file: u8| played.path(&name(file)).exists();
            match step {
                Step::Append(file) => {
                    let line = format!("line {} of all that are written", models.written.len());
                    played.append(&name(file), &format!("{line}\n"));
                    models.append(file, &line);
                }
                Step::Symlink(file) => {
                    let link = played.path("x-link.log");
                    // There may be none yet.
                    let _ = fs::remove_file(&link);
                    std::os::unix::fs::symlink(name(file), link).unwrap();
                    linked = Some(file);
                }
                Step::AppendBySymlink => {
                    let Some(file) = linked else { continue };
                    let line = format!("line {} of all that are written", models.written.len());
                    played.append("x-link.log", &format!("{line}\n"));
                    models.append(file, &line);
                }
                Step::Copy(from, to)
                    if from != to && is_there(&played, from) && !is_there(&played, to) =>
                {
                    fs::copy(played.path(&name(from)), played.path(&name(to))).unwrap();
                    let content = fs::read_to_string(played.path(&name(to))).unwrap();
                    for line in content.lines() {
                        *models.copied.entry(line.to_owned()).or_default() += 1;
                    }
                    let unread: Vec<String> = content.lines().map(str::to_owned).collect();
                    if let Some(at) = models.position(from) {
                        models.files[at].has_copy = true;
                        models.files[at].unread.clone_from(&unread);
                    }
                    models.files.push(Model { names: vec![to], unread, has_copy: true, ..Model::default() });
                }
                Step::Rename(from, to) if from != to && is_there(&played, from) => {
                    let same = fs::metadata(played.path(&name(from))).unwrap();
                    let other = fs::metadata(played.path(&name(to))).ok();
                    if other.is_some_and(|other| scan::id(&other) == scan::id(&same)) {
                        continue;
                    }
                    models.forget(to);
                    played.rename(&name(from), &name(to));
                    let names = models.files.iter_mut().flat_map(|file| &mut file.names);
                    names.filter(|other| **other == from).for_each(|other| *other = to);
                }
                Step::Truncate(file) if is_there(&played, file) => {
                    fs::write(played.path(&name(file)), "").unwrap();
                    if let Some(at) = models.position(file) {
                        models.cut(at);
                    }
                    // Grown beyond the old size before a look it would begin otherwise: no loss, but a look is simpler.
                    played.tick(2);
                    models.look();
                }
                Step::CopyAndCut(from, to) if from != to && is_there(&played, from) && !is_there(&played, to) => {
                    fs::copy(played.path(&name(from)), played.path(&name(to))).unwrap();
                    fs::write(played.path(&name(from)), "").unwrap();
                    played.tick(2);
                    models.look();
                    if let Some(at) = models.position(from) {
                        let file = &mut models.files[at];
                        let copy = Model {
                            names: vec![to],
                            unread: std::mem::take(&mut file.unread),
                            is_known: std::mem::take(&mut file.is_known),
                            has_copy: file.has_copy,
                        };
                        models.files.push(copy);
                    }
                }
                Step::Link(from, to) if from != to && is_there(&played, from) && !is_there(&played, to) => {
                    fs::hard_link(played.path(&name(from)), played.path(&name(to))).unwrap();
                    match models.position(from) {
                        Some(at) => models.files[at].names.push(to),
                        None => models.files.push(Model { names: vec![from, to], ..Model::default() }),
                    }
                }
                Step::Delete(file) if is_there(&played, file) => {
                    models.forget(file);
                    fs::remove_file(played.path(&name(file))).unwrap();
                }
                Step::Restart => played.restart(),
                Step::Tick => {
                    played.tick(2);
                    models.look();
                }
                _ => {}
            }
        }
        played.tick(20);
        let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
        for line in &played.lines {
            *counts.entry(line).or_default() += 1;
        }
        for (line, count) in &counts {
            let most = 1 + models.copied.get(*line).copied().unwrap_or(0);
            prop_assert!(*count <= most, "{} came {} times: {:?}", line, count, played.lines);
        }
        let read: BTreeSet<String> = played.lines.iter().cloned().collect();
        let torn: BTreeSet<&String> = models.torn.iter().flatten().collect();
        let excused = |line: &&String| models.unseen.contains(*line) || torn.contains(line);
        let missing: Vec<_> = models.written.difference(&read).filter(|line| !excused(line)).collect();
        prop_assert!(missing.is_empty(), "missing {:?}, said {:?}", missing, played.said);
        let untold = models.torn.iter().filter(|lines| lines.iter().any(|line| !read.contains(line))).count();
        prop_assert!(untold <= played.lost, "{} files lost lines, told of {}: {:?}", untold, played.lost, played.said);
    }
}

//! Tests followed files, one change after the other.

mod model;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;

use super::super::splitter::{Content, LineSplitter};
use super::*;

/// A simulated spout: the lines that a follower reads, and the resulting checkpoint.
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
    /// The splits with which the last start began, until its first scan: a checkpoint before that
    /// has the same ones.
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

    /// Advances the time, and reads all available lines.
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

    /// Stops without reading on, and starts again from the checkpoint.
    fn restart(&mut self) {
        let entries = std::mem::take(&mut self.entries).into_values();
        let splits = self.unscanned.take().unwrap_or_else(|| {
            let mut splits: HashMap<_, _> =
                known::splits().map(|split| (split, Some(Vec::new()))).collect();
            for (split, entry) in entries {
                let mut text = String::new();
                entry.write(&mut text);
                splits
                    .get_mut(&split)
                    .unwrap()
                    .as_mut()
                    .unwrap()
                    .extend(Entry::read_all(&text).unwrap());
            }
            splits
        });
        self.readings.clear();
        self.unscanned = Some(splits.clone());
        self.follower = follower(self.folder.path(), self.glob, splits);
    }

    /// Returns the lines that were read since the last call.
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
    assert!(played.said[0].ends_with("matches no file yet: waiting for one"), "{:?}", played.said);
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
            assert_eq!(
                (read, played.lost),
                (vec!["new".to_owned(), "rest".into()], 0),
                "{packed} {glob}"
            );
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
        assert!(played.said.pop().unwrap().contains("was cut or rewritten"));
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
    assert!(
        played.said[0].contains("after the last checkpoint (line 1, byte 2)"),
        "{:?}",
        played.said
    );
}

#[test]
fn a_file_that_an_earlier_run_did_not_follow_is_read_on_also_after_a_rotation() {
    for knows_inode in [false, true] {
        let mut played = Played::start("x.log");
        played.append("x.log.1", "a\nrest\n");
        played.append("x.log", "new\n");
        let file = if knows_inode {
            scan::id(&fs::metadata(played.path("x.log.1")).unwrap())
        } else {
            Default::default()
        };
        let mark = Mark::new(Place { offset: 2, line: 1 }, b"a\n");
        let entry = Entry { file, path: played.path("x.log"), mark, read_at: 0 };
        let splits = known::splits().map(|split| (split, None)).collect();
        let paths = vec![played.path("x.log").to_str().unwrap().to_owned()];
        played.follower =
            Follower::new(Followed { paths, has_kind: true, splits, not_followed: vec![entry] })
                .unwrap();
        let mut read = played.read();
        read.sort();
        assert_eq!((read, played.lost), (vec!["new".to_owned(), "rest".into()], 0));
    }
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
    // A chain of links that ends nowhere can't be followed, even by root: the error isn't "not
    // found".
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
    assert!(
        failed.contains("logs/x\" can't be read now; it was read up to line 1 (byte 2)"),
        "{failed}"
    );
    assert_eq!(played.lost, 0);

    fs::remove_file(played.path("logs")).unwrap();
    played.rename("away", "logs");
    played.append("logs/x", "b\n");
    played.restart();
    assert_eq!((played.read(), played.failed.take()), (vec!["b".to_owned()], None));
}

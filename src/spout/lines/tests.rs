use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use super::located::Located;
use super::reader::{Event, Opened};
use super::spout::{Reading, jobs};
use super::*;
use crate::dead_letter::DeadLetter;
use crate::spout::Split;
use time::OffsetDateTime;
use tokio::sync::mpsc;

fn posts(kind: Option<&str>, line_bytes_max: u64) -> Posts {
    let topics = Value::List([].into());
    Posts { kind: kind.map(Text::from), line_bytes_max: ByteSize(line_bytes_max), topics }
}

/// A post with its kind, or an error with the raw bytes.
type Became = Result<(String, String), (String, Vec<u8>)>;

/// Returns the fate of each line of a file.
fn read(posts: &Posts, file: &[u8]) -> Vec<Became> {
    let mut splitter = posts.splitter(Place::default());
    splitter.feed(Bytes::copy_from_slice(file));
    let mut lines: Vec<_> = std::iter::from_fn(|| splitter.next_line()).collect();
    lines.extend(splitter.finish());
    let read = |line| match posts.read("in.ndjson", line) {
        Ok([Value::Post(post), Value::Text(kind), Value::List(topics)]) if topics.is_empty() => {
            Ok((String::from_utf8(post.to_vec()).unwrap(), kind.into()))
        }
        Ok(other) => panic!("not the fields of a source: {other:?}"),
        Err(DeadLetter { raw, error, .. }) => Err((error, raw.to_vec())),
    };
    lines.into_iter().map(read).collect()
}

fn post(json: &str, kind: &str) -> Became {
    Ok((json.into(), kind.into()))
}

#[test]
fn each_line_is_a_post_of_the_kind_that_it_names() {
    let file =
        b"\xef\xbb\xbf{\"tweet\":{\"id\":1}}\r\n\r\n {\"toot\":{}} \n{\"a\":\"\\ud800\\u0000\"}";
    assert_eq!(
        read(&posts(None, 100), file),
        [
            post(r#"{"tweet":{"id":1}}"#, "tweet"),
            post(r#"{"toot":{}}"#, "toot"),
            post(r#"{"a":"\ud800\u0000"}"#, "a")
        ]
    );
}

#[test]
fn a_given_kind_wraps_every_line() {
    let found = read(&posts(Some("log"), 100), b"{\"level\":1,\"text\":\"x\"}\n{}\n[1]\n");
    assert_eq!(
        found[..2],
        [post(r#"{"log":{"level":1,"text":"x"}}"#, "log"), post(r#"{"log":{}}"#, "log")]
    );
    assert_eq!(
        found[2],
        Err(("in.ndjson:3: expected an object, found an array".into(), b"[1]".into()))
    );
}

#[test]
fn a_bad_line_is_a_dead_letter_with_file_line_reason_and_bytes_and_the_next_one_is_read() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(128), "]".repeat(128));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(300));
    let bad: [(&[u8], &str); 7] = [
        (b"{\"a\":1", "expected \"}\" at byte 7, found the end"),
        (b"null", "expected an object, found \"n\""),
        (b"{}", "expected one key that names the kind, found none at byte 2"),
        (b"{\"a\":1,\"b\":2}", "expected one key that names the kind, found more at byte 7"),
        (b"{\"a\":\"\xff\"}", "not UTF-8 at byte 7"),
        (deep.as_bytes(), "nested too deep at byte 133"),
        (long.as_bytes(), "expected at most 300B (max_post_bytes), found 308 bytes"),
    ];
    for (line, what) in bad {
        let file = [b"{\"a\":0}\n", line, b"\n{\"a\":2}\n"].concat();
        let error = format!("in.ndjson:2: {what}");
        let raw = line[..line.len().min(300)].to_vec();
        let expected = [post(r#"{"a":0}"#, "a"), Err((error, raw)), post(r#"{"a":2}"#, "a")];
        assert_eq!(read(&posts(None, 300), &file), expected);
    }
}

#[test]
fn the_configuration_has_defaults_and_says_what_is_unknown() {
    let registry = crate::components::standard();
    let read = |text| registry.find("Lines").unwrap().read(text).map(|read| read.explained);
    assert_eq!(
        read("Lines(paths: [\"in.ndjson\"])").unwrap(),
        "Lines(paths:[\"in.ndjson\"],kind:None,follow:false,max_post_bytes:\"16MiB\",\
         spool:(bytes_max:\"1GiB\",on_full:Wait,retain:\"0B\",sync_every:\"1s\"))"
    );
    assert!(
        read("Lines(paths: [\"-\"], kind: \"log\", follow: true, max_post_bytes: \"1KiB\")")
            .is_ok()
    );
    assert!(read("Lines(path: \"in.ndjson\")").is_err());
    assert!(read("Lines()").is_err());
}

#[test]
fn more_tasks_than_paths_are_no_use_unless_a_path_is_a_glob() {
    let context = SpoutContext { component: "in".into(), ..SpoutContext::default() };
    let lines = |paths: &[&str]| Lines {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        kind: None,
        follow: false,
        max_post_bytes: max_post_bytes(),
        spool: spool::Options::default(),
    };
    assert_eq!(lines(&["-"]).tasks_max(), Some(1));
    assert_eq!(lines(&["a", "b"]).tasks_max(), Some(2));
    assert_eq!(lines(&["a", "b*"]).tasks_max(), None);
    assert!(Lines { kind: Some(String::new()), ..lines(&["a"]) }.build(&context).is_err());
    let problems =
        Lines { max_post_bytes: ByteSize(129 << 20), ..lines(&["a"]) }.check().unwrap_err();
    assert!(problems[0].what.starts_with("expected at most 128MiB, since"), "{problems:?}");
}

/// A simulated spout for one file: its reader's events, and the cursor after them.
struct Played {
    reports: mpsc::Receiver<(usize, Event)>,
    file: Option<Reading>,
    lines: Vec<String>,
}

impl Played {
    fn start(path: &Path, cursor: Cursor) -> Self {
        let splits = [Split { id: path.to_str().unwrap().into(), cursor }];
        let reports =
            reader::start(jobs(&splits, &Located::default(), |_| true).unwrap(), false).unwrap();
        Self { reports, file: None, lines: Vec::new() }
    }

    fn next(&mut self) -> Option<Event> {
        let (split, event) = self.reports.blocking_recv()?;
        assert_eq!(split, 0);
        Some(event)
    }

    fn take(&mut self, line: Option<Line>) -> bool {
        let Some(Line { number, content: Content::Whole(content) }) = line else { return false };
        self.lines.push(format!("{number} {}", String::from_utf8_lossy(&content)));
        true
    }

    /// Plays until the file ends. Returns the lines that were read since the last call.
    fn play(&mut self) -> Result<Vec<String>> {
        while let Some(event) = self.next() {
            match event {
                Event::Opened(Opened { path, place, head, file }) => {
                    self.file = Some(Reading {
                        name: path,
                        splitter: LineSplitter::new(place, 100),
                        head,
                        file,
                    });
                }
                Event::Chunk(chunk) => {
                    self.file.as_mut().unwrap().feed(chunk);
                    while let line @ Some(_) = self.file.as_mut().unwrap().splitter.next_line() {
                        self.take(line);
                    }
                }
                Event::Ended => break,
                Event::Failed(error) => return Err(error),
            }
        }
        Ok(std::mem::take(&mut self.lines))
    }

    /// Returns the last line, which has no line break.
    fn last(&mut self) -> Vec<String> {
        let last = self.file.as_mut().and_then(|file| file.splitter.finish());
        self.take(last);
        std::mem::take(&mut self.lines)
    }

    fn cursor(&self) -> Cursor {
        self.file.as_ref().unwrap().cursor(OffsetDateTime::UNIX_EPOCH, false)
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn a_file_of_several_chunks_is_read_whole() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = (1..=50_000).map(|number| format!("{number} {number:060}")).collect();
    let text: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    fs::write(file.path(), text.join("\n")).unwrap();
    let mut played = Played::start(file.path(), Cursor::Start);
    let mut found = played.play().unwrap();
    found.extend(played.last());
    assert!(found == lines);
    assert!(Played::start(file.path(), Cursor::End).play().unwrap().is_empty());
}

#[test]
fn a_pipe_is_read_as_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    assert_eq!(
        paths::expand(&[path.to_str().unwrap().into()], false).unwrap().len(),
        1,
        "listing waits for no writer"
    );
    let mut played = Played::start(&path, Cursor::Start);
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(b"a\nb").unwrap();
    assert!(matches!(played.next(), Some(Event::Opened(..))));
    assert!(matches!(played.next(), Some(Event::Chunk(chunk)) if chunk == "a\nb"));
    drop(writer);
    assert!(matches!(played.next(), Some(Event::Ended)));
    assert!(played.next().is_none());
}

#[test]
fn reading_goes_on_behind_the_cursor() {
    let file = tempfile::NamedTempFile::new().unwrap();
    append(file.path(), "a\nb\nc");
    let mut played = Played::start(file.path(), Cursor::Start);
    assert_eq!(played.play().unwrap(), ["1 a", "2 b"]);
    let cursor = played.cursor();
    append(file.path(), "c\nd\n");
    let mut resumed = Played::start(file.path(), cursor.clone());
    assert_eq!(resumed.play().unwrap(), ["3 cc", "4 d"]);
}

#[test]
fn another_file_is_not_resumed_in_its_middle() {
    let file = tempfile::NamedTempFile::new().unwrap();
    append(file.path(), "a\nb\n");
    let mut played = Played::start(file.path(), Cursor::Start);
    played.play().unwrap();
    let cursor = played.cursor();
    for other in ["a\n", "", "x\ny\nz\n"] {
        fs::write(file.path(), other).unwrap();
        let error = Played::start(file.path(), cursor.clone()).play().unwrap_err();
        assert!(
            error.chain().ends_with(
                "is not the file that was read up to line 2 (byte 4) before the restart"
            )
        );
    }
}

#[test]
fn a_file_that_vanished_stops_the_spout_with_its_name() {
    let error = Played::start(Path::new("/nowhere/in.ndjson"), Cursor::Start).play().unwrap_err();
    assert_eq!(
        error.chain(),
        "\"/nowhere/in.ndjson\" can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn a_damaged_cursor_is_an_error() {
    let split = Split { id: "in.ndjson".into(), cursor: Cursor::At("here".into()) };
    let error = jobs(&[split], &Located::default(), |_| true).unwrap_err();
    assert_eq!(
        error.chain(),
        "the checkpoint's cursor for \"in.ndjson\" is damaged: expected offset, line and hash of a file, found \"here\""
    );
}

//! Expands the paths of a topology file to the files that are read.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};

use super::STANDARD_INPUT;
use super::input::is_stream;
use super::located::{Located, locate};
use super::mark::FileId;
use super::reader::{not_lines, unreadable};
use crate::error::{Error, Result};
use crate::globs::{self, Glob, Segment};
use crate::spout::Cursor;

/// Returns true if a path can match any number of files.
pub(super) fn is_glob(path: &str) -> bool {
    globs::is_glob(path)
}

/// Returns the absolute paths of all files, each file once, even if it has several names: in the
/// order of the paths, and sorted within a glob. A file comes before links to it. Each can be read,
/// or is a pipe (which isn't opened, since opening waits for a writer).
pub(super) fn expand(paths: &[String], has_kind: bool) -> Result<Vec<String>> {
    list_files(paths, |file| check(file, has_kind))
}

/// Returns the splits of the files that the paths match, and the missing files of cursors. Unlike
/// [`expand`] it doesn't read files without a cursor.
pub(super) fn located(paths: &[String], cursors: &BTreeMap<String, Cursor>) -> Result<Located> {
    let files = list_files(paths, |file| Ok(inode(file).filter(|_| !is_stream(file))))?;
    let mut globs = Vec::new();
    for path in paths.iter().filter(|path| *path != STANDARD_INPUT) {
        globs.push(absolute_glob(path)?);
    }
    Ok(locate(&files, &globs, cursors))
}

/// Returns the glob of a path from the root; for a path that isn't a glob, a glob for that file
/// alone.
pub(super) fn absolute_glob(path: &str) -> Result<Glob> {
    let absolute = absolute(Path::new(path))?;
    // A file's name may look like a glob.
    let is_file = !is_glob(path) || Path::new(path).exists();
    Glob::new(&if is_file { globs::escape(&absolute) } else { absolute })
}

/// Returns the absolute paths of all files, each file once. `inode_of` returns device and inode of
/// an ordinary file.
fn list_files(
    paths: &[String],
    inode_of: impl Fn(&str) -> Result<Option<FileId>>,
) -> Result<Vec<String>> {
    let mut files: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    let mut inodes = HashSet::new();
    for path in paths {
        if path == STANDARD_INPUT {
            if known.insert(path.clone()) {
                files.push(path.clone());
            }
            continue;
        }
        // A file's name may look like a glob.
        let found = if is_glob(path) && !Path::new(path).exists() {
            matches(path)?
        } else {
            vec![absolute(Path::new(path))?]
        };
        for file in found {
            let is_new = known.insert(file.clone());
            if is_new && inode_of(&file)?.is_none_or(|inode| inodes.insert(inode)) {
                files.push(file);
            }
        }
    }
    if files.is_empty() {
        return Err(Error::fatal("Lines: expected at least one file in \"paths\", found none"));
    }
    Ok(files)
}

/// Returns the streams among the paths of followed files: standard input, and existing pipes.
///
/// # Errors
/// If there is no path, or one is a malformed glob or a folder.
pub(super) fn streams(paths: &[String]) -> Result<Vec<String>> {
    let mut streams: Vec<String> = Vec::new();
    for path in paths {
        let mut found = Vec::new();
        if path == STANDARD_INPUT {
            found.push(path.clone());
        } else if is_glob(path) && !Path::new(path).exists() {
            for path in walk(&Glob::new(path)?, &mut Vec::new()) {
                if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
                    found.push(absolute(&path)?);
                }
            }
        } else if Path::new(path).is_dir() {
            return Err(folder(path));
        } else if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            found.push(absolute(Path::new(path))?);
        }
        for stream in found {
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::fatal("Lines: expected at least one file in \"paths\", found none"));
    }
    Ok(streams)
}

fn folder(path: &str) -> Error {
    Error::fatal(format!("\"{path}\" is a folder: expected a file, or a glob such as \"{path}/*\""))
}

/// Returns device and inode of an existing file.
pub(super) fn inode(path: &str) -> Option<FileId> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Returns the files that a glob matches: sorted, with links after other files.
fn matches(text: &str) -> Result<Vec<String>> {
    let glob = Glob::new(text)?;
    let unlisted =
        |what: &Unlisted| Error::fatal(format!("\"{}\" can't be listed", what.folder.display()));
    let mut unreadable = Vec::new();
    let found = walk(&glob, &mut unreadable);
    if let Some(what) = unreadable.pop() {
        return Err(unlisted(&what).because(what.cause));
    }
    let mut files = Vec::new();
    let mut links = Vec::new();
    for path in found {
        let is_link = fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink());
        let group = if is_link { &mut links } else { &mut files };
        group.push(absolute(&path)?);
    }
    files.append(&mut links);
    if files.is_empty() {
        return Err(Error::fatal(format!("\"{text}\" matches no file")));
    }
    Ok(files)
}

/// A folder that can't be listed.
pub(super) struct Unlisted {
    pub folder: PathBuf,
    pub cause: std::io::Error,
}

/// Returns everything that a glob matches except folders, sorted. As in a shell, `*` matches
/// neither `/` nor the dot of a hidden file. `**` doesn't follow links to folders, so a loop of
/// links does no harm. Folders that can't be listed are skipped, and added to `unlisted`.
pub(super) fn walk(glob: &Glob, unlisted: &mut Vec<Unlisted>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for segments in glob.alternatives() {
        let (root, rest) = match segments.split_first() {
            Some((first, rest)) if first.literal().is_some_and(|name| name.is_empty()) => {
                ("/", rest)
            }
            _ => ("", &segments[..]),
        };
        walk_below(Path::new(root), rest, &mut found, unlisted);
    }
    found.sort();
    found.dedup();
    found
}

fn walk_below(
    folder: &Path,
    segments: &[Segment],
    found: &mut Vec<PathBuf>,
    unlisted: &mut Vec<Unlisted>,
) {
    let Some((first, rest)) = segments.split_first() else {
        // The whole path is known: it matches unless it is a folder, or doesn't exist.
        if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
            found.push(folder.to_path_buf());
        }
        return;
    };
    if let Some(name) = first.literal() {
        return walk_below(&folder.join(name), rest, found, unlisted);
    }
    let folders = matches!(first, Segment::Folders);
    if folders {
        walk_below(folder, rest, found, unlisted);
    }
    for entry in list(folder, unlisted) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = folder.join(entry.file_name());
        if !first.matches_file(&entry.file_name()) {
            continue;
        }
        match (folders, rest.is_empty()) {
            (true, _) if is_folder => walk_below(&path, segments, found, unlisted),
            (true, true) | (false, true) if !is_folder => walk_below(&path, &[], found, unlisted),
            (false, false) if path.is_dir() => walk_below(&path, rest, found, unlisted),
            _ => {}
        }
    }
}

fn list(folder: &Path, unlisted: &mut Vec<Unlisted>) -> Vec<fs::DirEntry> {
    let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let listed = fs::read_dir(shown).and_then(Iterator::collect);
    match listed {
        Ok(entries) => entries,
        // The folder was deleted, or never existed: nothing matches.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(cause) => {
            unlisted.push(Unlisted { folder: shown.to_path_buf(), cause });
            Vec::new()
        }
    }
}

/// Returns the path from the root, so that it means the same file in every run.
pub(super) fn absolute(path: &Path) -> Result<String> {
    let absolute =
        path::absolute(path).map_err(|error| unreadable(&path.to_string_lossy(), error))?;
    absolute.into_os_string().into_string().map_err(|name| {
        let name = name.to_string_lossy().into_owned();
        Error::fatal(format!(
            "\"{name}\" can't be read: its name is not UTF-8; rename it, or leave it out"
        ))
    })
}

/// Returns a file's name relative to the current folder, if the file is in it: a command with this
/// name can be pasted.
fn shown(file: &str) -> &str {
    let Ok(folder) = std::env::current_dir() else { return file };
    Path::new(file).strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or(file)
}

/// Checks that a file can be read before any task runs, so that the run doesn't fail in the middle.
/// Returns device and inode of an ordinary file.
fn check(file: &str, has_kind: bool) -> Result<Option<FileId>> {
    let found = fs::metadata(file).map_err(|error| unreadable(file, error))?;
    if found.is_dir() {
        return Err(folder(file));
    }
    if !found.is_file() {
        return Ok(None);
    }
    match not_lines(file, has_kind).map_err(|error| unreadable(file, error))? {
        Some(what) => {
            let file = shown(file);
            Err(unreadable(file, io::Error::other(what.replace("FILE", file))))
        }
        None => Ok(Some((found.dev(), found.ino()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.ndjson", "a.ndjson", "c[1].ndjson", ".hidden.ndjson"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("d.ndjson")).unwrap();
        folder
    }

    /// Compares the names of the files under the folder, or the error, with the expected ones.
    fn check(paths: &[&str], expected: Result<&[&str], &str>) {
        let folder = folder();
        let root = folder.path().to_str().unwrap();
        let paths: Vec<_> = paths.iter().map(|path| path.replace("ROOT", root)).collect();
        let found = expand(&paths, false).map_err(|error| error.chain().replace(root, "ROOT"));
        let names = |files: Vec<String>| {
            files.iter().map(|file| file.replace(root, "ROOT")).collect::<Vec<_>>()
        };
        let expected = expected.map(|files| files.iter().map(|file| (*file).to_owned()).collect());
        assert_eq!(found.map(names), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_glob_stands_for_its_files_in_order_and_none_comes_twice() {
        check(
            &["ROOT/b.ndjson", "-", "ROOT/*.ndjson", "-"],
            Ok(&["ROOT/b.ndjson", "-", "ROOT/a.ndjson", "ROOT/c[1].ndjson"]),
        );
    }

    #[test]
    fn a_file_that_is_named_like_a_glob_is_itself() {
        check(&["ROOT/c[1].ndjson"], Ok(&["ROOT/c[1].ndjson"]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        check(
            &["ROOT/x.ndjson"],
            Err("\"ROOT/x.ndjson\" can't be read: No such file or directory (os error 2)"),
        );
        check(&["ROOT/x*"], Err("\"ROOT/x*\" matches no file"));
        check(&["ROOT/d*"], Err("\"ROOT/d*\" matches no file"));
        check(&[], Err("Lines: expected at least one file in \"paths\", found none"));
    }

    #[test]
    fn a_glob_that_is_none_is_named() {
        let error = expand(&["posts/**x".into()], false).unwrap_err().chain();
        assert!(error.starts_with("bad glob \"posts/**x\": "), "{error}");
    }

    #[test]
    fn a_folder_is_no_file() {
        check(
            &["ROOT/d.ndjson"],
            Err(
                "\"ROOT/d.ndjson\" is a folder: expected a file, or a glob such as \"ROOT/d.ndjson/*\"",
            ),
        );
    }

    #[test]
    fn a_file_under_several_names_comes_once_and_by_its_own_name() {
        let folder = folder();
        let root = folder.path();
        std::os::unix::fs::symlink("b.ndjson", root.join("a-link.ndjson")).unwrap();
        std::os::unix::fs::symlink(".", root.join("loop")).unwrap();
        fs::hard_link(root.join("b.ndjson"), root.join("e.ndjson")).unwrap();
        fs::write(root.join("d.ndjson/deep.ndjson"), "").unwrap();
        let name = |file: &String| file.replace(root.to_str().unwrap(), "ROOT");
        let found = |glob: &str| {
            let files = expand(&[format!("{}/{glob}", root.display())], false).unwrap();
            files.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(found("*.ndjson"), ["ROOT/a.ndjson", "ROOT/b.ndjson", "ROOT/c[1].ndjson"]);
        assert_eq!(found("{b,e}.nd*"), ["ROOT/b.ndjson"]);
        assert_eq!(found("loop/loop/b.*"), ["ROOT/loop/loop/b.ndjson"]);
        let deep =
            ["ROOT/a.ndjson", "ROOT/b.ndjson", "ROOT/c[1].ndjson", "ROOT/d.ndjson/deep.ndjson"];
        assert_eq!(found("**/*.ndjson"), deep);
        assert_eq!(
            found("{a,d.ndjson/deep}.ndjson"),
            ["ROOT/a.ndjson", "ROOT/d.ndjson/deep.ndjson"]
        );
    }

    #[test]
    fn a_name_that_is_not_utf_8_beside_the_files_is_no_matter() {
        use std::os::unix::ffi::OsStrExt;
        let folder = folder();
        fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.txt")), "").unwrap();
        let glob = |end: &str| expand(&[format!("{}/{end}", folder.path().display())], false);
        assert_eq!(glob("*.ndjson").unwrap().len(), 3);
        assert!(glob("*.txt").unwrap_err().chain().contains("its name is not UTF-8; rename it"));
    }
}

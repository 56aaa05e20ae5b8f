//! From the paths of a topology file to the files that are read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{self, Path, PathBuf};

use glob::MatchOptions;

use super::STANDARD_INPUT;
use super::reader::unreadable;
use crate::error::{Error, Result};

/// As a shell does it: `*` stands neither for `/` nor for the dot of a hidden file.
const AS_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Whether a path stands for any number of files.
pub(super) fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The absolute paths of all files, each once: in the order of the paths, those of a glob sorted.
/// Every one of them can be read, or is a pipe (which isn't opened, since that waits for a writer).
pub(super) fn expand(paths: &[String]) -> Result<Vec<String>> {
    let mut files: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for path in paths {
        let found = match path.as_str() {
            STANDARD_INPUT => vec![STANDARD_INPUT.to_owned()],
            // A file may have such a name.
            glob if is_glob(glob) && !Path::new(glob).exists() => matches(glob)?,
            path => vec![absolute(Path::new(path))?],
        };
        files.extend(found.into_iter().filter(|file| known.insert(file.clone())));
    }
    if files.is_empty() {
        return Err(Error::fatal("Lines: expected at least one file in \"paths\", found none"));
    }
    files.iter().filter(|file| *file != STANDARD_INPUT).try_for_each(|file| check(file))?;
    Ok(files)
}

/// The files that a glob stands for.
fn matches(glob: &str) -> Result<Vec<String>> {
    let bad = |error| Error::fatal(format!("\"{glob}\" is no glob")).because(error);
    let mut files = Vec::new();
    for found in glob::glob_with(glob, AS_A_SHELL).map_err(bad)? {
        let found: PathBuf =
            found.map_err(|error| Error::fatal(format!("\"{glob}\" can't be listed")).because(error))?;
        if !found.is_dir() {
            files.push(absolute(&found)?);
        }
    }
    if files.is_empty() { Err(Error::fatal(format!("\"{glob}\" matches no file"))) } else { Ok(files) }
}

/// The same path from the root, so that it means the same file in every run.
fn absolute(path: &Path) -> Result<String> {
    let absolute = path::absolute(path).map_err(|error| unreadable(&path.to_string_lossy(), error))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|name| Error::fatal(format!("\"{}\" can't be read: its name is not UTF-8", name.to_string_lossy())))
}

/// Fails before anything runs, and not in the middle, if a file can't be read.
fn check(file: &str) -> Result<()> {
    let found = fs::metadata(file).map_err(|error| unreadable(file, error))?;
    if found.is_dir() {
        return Err(Error::fatal(format!("\"{file}\" is a folder: expected a file, or a glob such as \"{file}/*\"")));
    }
    if found.is_file() {
        File::open(file).map_err(|error| unreadable(file, error))?;
    }
    Ok(())
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

    /// The names of the files under the folder, or what is wrong.
    fn check(paths: &[&str], expected: Result<&[&str], &str>) {
        let folder = folder();
        let root = folder.path().to_str().unwrap();
        let paths: Vec<_> = paths.iter().map(|path| path.replace("ROOT", root)).collect();
        let found = expand(&paths).map_err(|error| error.chain().replace(root, "ROOT"));
        let names = |files: Vec<String>| files.iter().map(|file| file.replace(root, "ROOT")).collect::<Vec<_>>();
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
        check(&["ROOT/x.ndjson"], Err("\"ROOT/x.ndjson\" can't be read: No such file or directory (os error 2)"));
        check(&["ROOT/x*"], Err("\"ROOT/x*\" matches no file"));
        check(&["ROOT/d*"], Err("\"ROOT/d*\" matches no file"));
        check(&[], Err("Lines: expected at least one file in \"paths\", found none"));
    }

    #[test]
    fn a_glob_that_is_none_is_named() {
        let error = expand(&["posts/**x".into()]).unwrap_err().chain();
        assert!(error.starts_with("\"posts/**x\" is no glob: "), "{error}");
    }

    #[test]
    fn a_folder_is_no_file() {
        check(
            &["ROOT/d.ndjson"],
            Err("\"ROOT/d.ndjson\" is a folder: expected a file, or a glob such as \"ROOT/d.ndjson/*\""),
        );
    }
}

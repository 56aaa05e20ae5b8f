//! What a lake holds, as its folders and files tell it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::Pattern;

use super::disk::failed;
use super::journal;
use super::names::{FileName, PartitionName, in_order};
use super::store::local::LocalStore;
use crate::error::{Error, Result};

/// A folder that holds numbered files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
}

impl Partition {
    /// Its files in number order. Numbers may be missing: then this is a sample of a partition.
    ///
    /// # Errors
    /// If the folder can't be read, or two files have the same number.
    pub fn files(&self) -> Result<Vec<(FileName, PathBuf)>> {
        let files = names(&self.folder)?.into_iter();
        let files = files.filter_map(|name| Some((name.parse().ok()?, self.folder.join(name))));
        in_order(files.collect(), &self.folder.display().to_string())
    }
}

/// The partitions below a root whose name matches a glob (`2015-12-18T00:00:00-*`), in name order. A
/// folder of another name counts if it holds numbered files; one whose name begins with `_` never does,
/// nor does one that `compact` or `erase` has replaced or not yet finished.
///
/// # Errors
/// If the root isn't there, the glob is none, or nothing matches it; but a lake may be empty for `*`.
pub fn partitions(root: &Path, glob: &str) -> Result<Vec<Partition>> {
    let pattern = Pattern::new(glob).map_err(|cause| Error::fatal(format!("bad glob \"{glob}\"")).because(cause))?;
    let mut all = names(root)?;
    all.sort();
    let hidden = journal::hidden(&LocalStore::new(root))?;
    all.retain(|name| !hidden.contains(name));
    let folder = |name: String| Partition { folder: root.join(&name), name };
    let all: Vec<Partition> = all.into_iter().map(folder).filter(is_partition).collect();
    let matching: Vec<_> = all.iter().filter(|partition| pattern.matches(&partition.name)).cloned().collect();
    if matching.is_empty() && glob != "*" {
        let (root, all) = (root.display(), all.len());
        return Err(Error::fatal(format!("no partition in \"{root}\" matches \"{glob}\"; there are {all} others")));
    }
    Ok(matching)
}

fn is_partition(partition: &Partition) -> bool {
    let is_file = |name: &String| name.parse::<FileName>().is_ok();
    let numbered = || names(&partition.folder).is_ok_and(|names| names.iter().any(is_file));
    !partition.name.starts_with('_')
        && partition.folder.is_dir()
        && (partition.name.parse::<PartitionName>().is_ok() || numbered())
}

/// The names in a folder. One that isn't UTF-8 is none of the lake's.
fn names(folder: &Path) -> Result<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        entries.filter_map(Result::transpose).collect()
    };
    read().map_err(|cause| failed("list", folder, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in ["0000002", "0000000", "_SUCCESS", "0000001.crc", "00000003"] {
            write(root.path(), &format!("{NIGHT}/{file}"));
        }
        write(root.path(), &format!("{MORNING}/0000007"));
        write(root.path(), "sample/0000000");
        write(root.path(), "notes/readme.txt");
        write(root.path(), "_dead/0000000");
        write(root.path(), "2015-file");
        root
    }

    fn write(root: &Path, file: &str) {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "[]").unwrap();
    }

    fn found(partitions: Result<Vec<Partition>>) -> Vec<String> {
        partitions.unwrap().into_iter().map(|partition| partition.name).collect()
    }

    #[test]
    fn a_glob_matches_folders_in_name_order() {
        let root = lake();
        assert_eq!(found(partitions(root.path(), "*")), [NIGHT, MORNING, "sample"]);
        assert_eq!(found(partitions(root.path(), "2015-12-18T00:00:00-*")), [NIGHT]);
        assert_eq!(found(partitions(root.path(), "2015-12-18*")), [NIGHT, MORNING]);
        assert_eq!(found(partitions(root.path(), "_dead").or_else(|_| partitions(root.path(), "s*"))), ["sample"]);
    }

    #[test]
    fn files_come_in_number_order_and_others_are_none() {
        let root = lake();
        let files = partitions(root.path(), "*00:00:00*").unwrap()[0].files().unwrap();
        assert_eq!(files.iter().map(|(number, _)| number.to_string()).collect::<Vec<_>>(), ["0000000", "0000002"]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let root = lake();
        let error = |path: &str, glob: &str| partitions(&root.path().join(path), glob).unwrap_err().chain();
        assert!(error("", "2016-*").contains("matches \"2016-*\"; there are 3 others"), "{}", error("", "2016-*"));
        assert!(error("nowhere", "*").contains("/nowhere\": No such file"), "{}", error("nowhere", "*"));
        assert!(error("", "[").contains("bad glob \"[\""), "{}", error("", "["));
        assert_eq!(found(partitions(tempfile::tempdir().unwrap().path(), "*")), Vec::<String>::new());
    }
}

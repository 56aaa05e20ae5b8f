//! Parses the addresses of lakes in the form in which people and topology files write them. Only
//! this module parses them.
//!
//! An address is `ROOT`, `ROOT/GLOB` or `ROOT/PARTITION`; a root is a folder or
//! `s3://bucket/prefix`. **An existing path is taken literally:** brackets, asterisks and question
//! marks form a glob only if no file, folder or object has exactly that name, and only in the last
//! part.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use glob::Pattern;

use super::names::{FileName, PartitionName};
use super::root::Root;
use super::store::open;
use crate::error::{Error, Result};

/// The partitions of a lake that an address selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partitions {
    /// All of them.
    All,
    /// The partition with this name.
    One(String),
    /// The partitions whose names match a glob.
    Matching(String),
}

impl Partitions {
    /// Returns the glob over the names of partitions that selects the same partitions.
    pub fn glob(&self) -> String {
        match self {
            Self::All => "*".into(),
            Self::One(name) => Pattern::escape(name),
            Self::Matching(glob) => glob.clone(),
        }
    }
}

/// A lake, and the selected partitions in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The lake's folder, or `s3://bucket/prefix`.
    pub root: String,
    /// The partitions.
    pub partitions: Partitions,
}

/// The kinds of folder that an address, read as a path, can lead to.
enum Found {
    Nothing,
    Lake,
    /// A folder of numbered files, or a folder with the name of a partition.
    Partition,
}

impl Address {
    /// Parses an address. For a folder, the file system is read; for a bucket, a request is sent
    /// only if the address looks like a glob.
    ///
    /// # Errors
    /// If the address leads to nothing, or the glob is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::fatal(
                "an empty address: expected the folder of a lake, or s3://bucket/prefix",
            ));
        }
        if is_remote(text) { Self::remote(text) } else { Self::folder(text) }
    }

    fn remote(text: &str) -> Result<Self> {
        let whole = text.trim_end_matches('/');
        let Some((root, last)) = whole.rsplit_once('/').filter(|(root, _)| !root.ends_with('/'))
        else {
            return Ok(Self::whole(text.strip_suffix('/').unwrap_or(text)));
        };
        if is_partition_name(last) {
            return Ok(Self { root: root.into(), partitions: Partitions::One(last.into()) });
        }
        // One request, for a key that begins with exactly this address.
        if !is_glob(last) || !open(whole)?.list("", None, 1)?.is_empty() {
            return Ok(Self::whole(whole));
        }
        Self::matching(root, last)
    }

    fn folder(text: &str) -> Result<Self> {
        let trimmed = text.trim_end_matches('/');
        let whole = if trimmed.is_empty() { "/" } else { trimmed };
        let (root, last) = match whole.rsplit_once('/') {
            Some(("", last)) => ("/", last),
            Some((root, last)) => (root, last),
            None => (".", whole),
        };
        match look_at(whole)? {
            Found::Lake => Ok(Self::whole(whole)),
            Found::Partition => Self::one(whole, root, last),
            Found::Nothing if is_glob(last) && Path::new(root).is_dir() => {
                Self::matching(root, last)
            }
            Found::Nothing if is_glob(root) => Err(Error::fatal(format!(
                "no lake at \"{root}\": only the last part of an address can be a glob, over the names of partitions"
            ))),
            Found::Nothing => Err(Error::fatal(format!(
                "no lake at \"{text}\": expected a folder, a partition in one, or a glob such as 'lake/2015-12-18T*'"
            ))),
        }
    }

    fn whole(root: &str) -> Self {
        Self { root: root.into(), partitions: Partitions::All }
    }

    /// Returns the address of one partition. `.` and `..` are resolved to the name of their folder.
    fn one(path: &str, root: &str, last: &str) -> Result<Self> {
        if last != "." && last != ".." {
            return Ok(Self { root: root.into(), partitions: Partitions::One(last.into()) });
        }
        let cant = |cause| Error::file(format!("can't look at \"{path}\""), cause);
        let real = fs::canonicalize(path).map_err(cant)?;
        let parts = real
            .parent()
            .and_then(Path::to_str)
            .zip(real.file_name().and_then(|name| name.to_str()));
        let Some((root, name)) = parts else {
            return Err(Error::fatal(format!(
                "\"{}\" isn't a partition of a lake",
                real.display()
            )));
        };
        Ok(Self { root: root.into(), partitions: Partitions::One(name.into()) })
    }

    fn matching(root: &str, glob: &str) -> Result<Self> {
        Pattern::new(glob)
            .map_err(|cause| Error::fatal(format!("bad glob \"{glob}\"")).because(cause))?;
        Ok(Self { root: root.into(), partitions: Partitions::Matching(glob.into()) })
    }

    /// Returns all places that hold the selected data: the lake, and the folder of a single
    /// partition, which may be a link.
    pub fn roots(&self) -> Vec<Root> {
        let mut roots = vec![Root::at(&self.root)];
        if let Partitions::One(name) = &self.partitions
            && !is_remote(&self.root)
        {
            roots.push(Root::Folder(PathBuf::from(&self.root).join(name)));
        }
        roots
    }
}

/// Returns true for an address with a scheme, such as `s3://`.
pub fn is_remote(address: &str) -> bool {
    address.contains("://")
}

fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn is_partition_name(name: &str) -> bool {
    name.parse::<PartitionName>().is_ok()
}

fn look_at(path: &str) -> Result<Found> {
    let cant = |cause| Error::file(format!("can't look at \"{path}\""), cause);
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Err(Error::fatal(format!(
            "\"{path}\" is a file: expected the folder of a lake, or of a partition"
        ))),
        Ok(_)
            if Path::new(path)
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(is_partition_name) =>
        {
            Ok(Found::Partition)
        }
        Ok(_) => {
            let names = fs::read_dir(path).map_err(cant)?;
            for name in names {
                let name = name.map_err(cant)?.file_name();
                if name.to_str().is_some_and(|name| name.parse::<FileName>().is_ok()) {
                    return Ok(Found::Partition);
                }
            }
            Ok(Found::Lake)
        }
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Found::Nothing)
        }
        Err(cause) => Err(cant(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn all() -> Partitions {
        Partitions::All
    }

    fn one(name: &str) -> Partitions {
        Partitions::One(name.into())
    }

    fn matching(glob: &str) -> Partitions {
        Partitions::Matching(glob.into())
    }

    #[test]
    fn what_exists_is_a_path_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |rest: &str| format!("{}/{rest}", root.path().display());
        for name in
            ["lake", "lake [2025]", "a*b", "what?", "größe ü", "[x]/[y]", "{a,b}", "[", "a=b"]
        {
            fs::create_dir_all(at(&format!("{name}/{NIGHT}"))).unwrap();
            let lake = at(name);
            let check = |rest: &str, partitions: Partitions| {
                let found = Address::parse(&format!("{lake}{rest}")).unwrap();
                assert_eq!(found, Address { root: lake.clone(), partitions }, "{name}{rest}");
            };
            check("", all());
            check("//", all());
            check("/2015-*", matching("2015-*"));
            check("/*", matching("*"));
            check(&format!("/{NIGHT}/"), one(NIGHT));
        }
    }

    #[test]
    fn a_folder_with_numbered_files_is_a_partition_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        let at = |rest: &str| format!("{}/{rest}", root.path().display());
        fs::create_dir_all(at("lake/file with [x]")).unwrap();
        fs::write(at("lake/file with [x]/0000000.json"), "[]").unwrap();
        let found = Address::parse(&at("lake/file with [x]")).unwrap();
        assert_eq!(found, Address { root: at("lake"), partitions: one("file with [x]") });
        let glob = Pattern::new(&found.partitions.glob()).unwrap();
        assert!(glob.matches("file with [x]") && !glob.matches("file with x"));
        let dots = Address::parse(&at("lake/file with [x]/.")).unwrap();
        assert_eq!(dots.partitions, one("file with [x]"));
        assert_eq!(Address::parse(&at("lake/file with [x]/..")).unwrap().partitions, all());
    }

    #[test]
    fn a_relative_path_begins_here() {
        let parse = |text: &str| Address::parse(text).unwrap();
        assert_eq!(parse("src"), Address::whole("src"));
        assert_eq!(parse("./src/"), Address::whole("./src"));
        assert_eq!(parse("src/../src"), Address::whole("src/../src"));
        assert_eq!(parse("2015-*"), Address { root: ".".into(), partitions: matching("2015-*") });
        assert_eq!(parse("/"), Address::whole("/"));
        assert_eq!(parse("/2015-*"), Address { root: "/".into(), partitions: matching("2015-*") });
    }

    #[test]
    fn a_bucket_is_asked_only_for_a_glob() {
        let s3 = |rest: &str| Address::parse(&format!("s3://bucket{rest}")).unwrap();
        assert_eq!(s3(""), Address::whole("s3://bucket"));
        assert_eq!(s3("/"), Address::whole("s3://bucket"));
        assert_eq!(s3("/a/b"), Address::whole("s3://bucket/a/b"));
        assert_eq!(s3("/a/b/"), Address::whole("s3://bucket/a/b"));
        assert_eq!(
            s3(&format!("/a/{NIGHT}/")),
            Address { root: "s3://bucket/a".into(), partitions: one(NIGHT) }
        );
    }

    #[test]
    fn what_is_not_there_is_named() {
        let root = tempfile::tempdir().unwrap();
        let lake = root.path().join("lake");
        fs::create_dir_all(&lake).unwrap();
        fs::write(lake.join("readme"), "").unwrap();
        for (rest, why) in [
            ("/nowhere", "no lake at"),
            ("/no/where/*", "no lake at"),
            ("/*/2015-*", "only the last part of an address can be a glob"),
            ("/readme", "is a file"),
            ("/readme/x", "no lake at"),
            ("/a[", "bad glob \"a[\""),
        ] {
            let error = Address::parse(&format!("{}{rest}", lake.display())).unwrap_err().chain();
            assert!(error.contains(why), "{rest}: {error}");
        }
        assert!(Address::parse("").is_err());
    }
}

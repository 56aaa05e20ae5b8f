//! A lake in a folder: an object is a file, and its key is the file's path.

use std::fs::{self, DirEntry, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use time::OffsetDateTime;

use super::{Object, Put, Store};
use crate::error::{Error, Result};
use crate::lake::disk::{
    failed, make_folders, remove_if_empty, rename_without_replacing, sync_folder,
};
use crate::lake::inside::{is_absent, is_no_file, link_below, open_file_with_length, stay_inside};
use crate::lake::staging::STAGING;
use crate::lake::temporary::{self, Temporary};
use crate::net::limits::OBJECT_BYTES_MAX;
use crate::units::ByteSize;

/// The number of attempts to create a file while other processes keep removing an empty folder.
const PUT_TRIES_MAX: usize = 100;

/// A store that keeps objects as files below a folder. Files in `_staging/` are incomplete, so they
/// aren't objects.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Creates a store for the lake in this folder, which is created with the first object.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the path of an object. A key can't lead out of the root.
    fn path(&self, key: &str) -> Result<PathBuf> {
        let bad =
            |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        if key.split('/').any(bad) {
            return Err(Error::fatal(format!(
                "bad key \"{key}\": expected names with \"/\" between them"
            )));
        }
        Ok(self.root.join(key))
    }

    /// Refuses a key whose folder is reached through a link.
    fn stay_inside(&self, path: &Path) -> io::Result<()> {
        stay_inside(&self.root, path.parent().unwrap_or(&self.root))
    }

    /// Stages the bytes, gives the file its name, and syncs the folders.
    fn publish(
        &self,
        key: &str,
        bytes: &[u8],
        name: impl Fn(&Path, &Path) -> io::Result<()>,
    ) -> Result<Put> {
        let path = self.path(key)?;
        let staged = Temporary::write(&self.root, &self.root.join(STAGING), bytes)?;
        let folder = path.parent().unwrap_or(&self.root);
        let moved = again_where_gone(|| {
            self.stay_inside(&path)?;
            let mut changed = make_folders(folder)?;
            name(&staged.path, &path)?;
            // The data is synced first, so that no power loss leaves a folder without the files it
            // was made for.
            changed.push(folder.to_path_buf());
            changed.iter().rev().try_for_each(|folder| sync_folder(folder))
        });
        if moved.is_err() {
            let _ = fs::remove_file(&staged.path);
        }
        remove_if_empty(&self.root.join(STAGING));
        match moved {
            Ok(()) => Ok(Put::Stored),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_file() => {
                Ok(Put::Exists)
            }
            Err(cause) => Err(failed("write", &path, cause)),
        }
    }

    /// Reads an object that may be absent. Something that isn't a file is an error of a separate
    /// kind, so that a FIFO can be told from a failing disk.
    fn read(
        &self,
        key: &str,
        read: impl Fn(File, u64) -> io::Result<Vec<u8>>,
    ) -> Result<Option<Bytes>> {
        let path = self.path(key)?;
        match open_file_with_length(&path).and_then(|(file, length)| read(file, length)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) if is_no_file(&error) => {
                Err(Error::rejected(format!("can't read \"{}\"", path.display())).because(error))
            }
            Err(cause) => Err(failed("read", &path, cause)),
        }
    }

    /// Returns the entries of a folder of the store, `""` or `a/b/`, in the order of keys.
    fn entries(&self, folder: &str) -> Result<Vec<Entry>> {
        let path = self.root.join(folder);
        let read = || -> io::Result<Vec<Entry>> {
            let found = fs::read_dir(&path)?.map(|entry| Entry::of(&entry?, folder));
            found.filter_map(Result::transpose).collect()
        };
        let mut entries = match read() {
            Err(error) if is_absent(&error) || is_no_file(&error) => Vec::new(),
            other => other.map_err(|cause| failed("list", &path, cause))?,
        };
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Adds the objects below a folder in the order of their keys. Returns true if there is room
    /// for more.
    fn walk(&self, folder: &str, wanted: &Wanted<'_>, found: &mut Vec<Object>) -> Result<bool> {
        for entry in self.entries(folder)? {
            let going_on = match entry.folder {
                true if wanted.may_hold(&entry.key) => self.walk(&entry.key, wanted, found)?,
                false if wanted.is(&entry.key) => {
                    found.extend(self.object(entry)?);
                    found.len() < wanted.max
                }
                _ => true,
            };
            if !going_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns an object with its length, or `None` if it has just been deleted. Something that
    /// isn't a file has the length 0, and reading it gives the error.
    fn object(&self, entry: Entry) -> Result<Option<Object>> {
        let path = self.root.join(&entry.key);
        match path.metadata() {
            Ok(found) if found.is_dir() => Ok(None),
            Ok(found) => Ok(Some(Object { bytes: found.len(), key: entry.key })),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) if is_no_file(&error) => Ok(Some(Object { bytes: 0, key: entry.key })),
            Err(cause) => Err(failed("look at", &path, cause)),
        }
    }
}

/// The filter of a listing.
struct Wanted<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    max: usize,
}

impl Wanted<'_> {
    fn is(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.after.is_none_or(|after| key > after)
    }

    /// Returns true if keys below this folder, whose name ends with `/`, may pass the filter.
    fn may_hold(&self, folder: &str) -> bool {
        let fits = folder.starts_with(self.prefix) || self.prefix.starts_with(folder);
        fits && self.after.is_none_or(|after| folder > after || after.starts_with(folder))
    }
}

/// A file or a folder, by its key; a folder's key ends with `/`.
struct Entry {
    key: String,
    folder: bool,
}

impl Entry {
    /// Returns an entry; `None` for a name that isn't UTF-8, which can't belong to a lake.
    fn of(entry: &DirEntry, folder: &str) -> io::Result<Option<Self>> {
        let Ok(name) = entry.file_name().into_string() else { return Ok(None) };
        if folder.is_empty() && name == STAGING {
            return Ok(None);
        }
        let kind = entry.file_type()?;
        // Only at the top level, so that following a link to a parent folder ends.
        let may_lead_to_folder = kind.is_symlink() && folder.is_empty();
        let is_folder = kind.is_dir() || may_lead_to_folder && entry.path().is_dir();
        Ok(Some(Self {
            key: format!("{folder}{name}{}", if is_folder { "/" } else { "" }),
            folder: is_folder,
        }))
    }
}

/// Returns true if a folder is empty. An unreadable folder counts as not empty.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Repeats the work while it fails because a folder has disappeared.
fn again_where_gone(mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 1..PUT_TRIES_MAX {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    work()
}

impl Store for LocalStore {
    fn address(&self, key: &str) -> String {
        self.root.join(key).display().to_string()
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        // The check avoids writing an object that already exists; the rename decides.
        let path = self.path(key)?;
        if path.is_file() && link_below(&self.root, &path).is_ok_and(|link| link.is_none()) {
            return Ok(Put::Exists);
        }
        self.publish(key, &bytes, rename_without_replacing)
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.publish(key, &bytes, |from, to| fs::rename(from, to)).map(drop)
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let found = self.read(key, |file, _| {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, OBJECT_BYTES_MAX + 1), &mut bytes)?;
            Ok(bytes)
        })?;
        if found.as_ref().is_some_and(|bytes| bytes.len() as u64 > OBJECT_BYTES_MAX) {
            return Err(Error::rejected(format!(
                "\"{}\" is longer than {}: expected an index, a note or an entry of the journal",
                self.path(key)?.display(),
                ByteSize(OBJECT_BYTES_MAX)
            )));
        }
        Ok(found)
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.read(key, |file, length| {
            let end = range.end.min(length);
            let mut bytes =
                vec![0; usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(bytes)
        })
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let mut found = Vec::new();
        let folder = prefix.rfind('/').map_or("", |at| &prefix[..=at]);
        if max > 0 {
            self.walk(folder, &Wanted { prefix, after, max }, &mut found)?;
        }
        Ok(found)
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let folder = prefix.rfind('/').map_or("", |at| &prefix[..=at]);
        let mut names = Vec::new();
        for entry in self.entries(folder)? {
            // An empty folder is part of no key, and a writer may have just created it.
            if let Some(name) = entry.key.strip_prefix(prefix)
                && !(entry.folder && is_empty(&self.root.join(&entry.key)))
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        // If the object is a link, the link is removed, and not its target.
        match self.stay_inside(&path).and_then(|()| fs::remove_file(&path)) {
            Err(error) if is_absent(&error) => return Ok(()),
            other => other.map_err(|cause| failed("remove", &path, cause))?,
        }
        // A folder only exists for its files.
        let folders = path.ancestors().skip(1).take_while(|folder| *folder != self.root);
        for folder in folders {
            if fs::remove_dir(folder).is_err() {
                return sync_if_there(folder).map_err(|cause| failed("sync", folder, cause));
            }
        }
        sync_if_there(&self.root).map_err(|cause| failed("sync", &self.root, cause))
    }

    fn list_whole(&self, prefix: &str) -> Result<Vec<Object>> {
        self.list(prefix, None, usize::MAX)
    }

    fn length(&self, key: &str) -> Result<Option<u64>> {
        // An object with an invalid key doesn't exist.
        let Ok(path) = self.path(key) else { return Ok(None) };
        match path.metadata() {
            Ok(found) => Ok((!found.is_dir()).then_some(found.len())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(cause) => Err(failed("look at", &path, cause)),
        }
    }

    fn links(&self, prefix: &str) -> Result<Vec<String>> {
        let folder = prefix.rfind('/').map_or("", |at| &prefix[..at]);
        let path = self.root.join(folder);
        let find = || -> io::Result<Vec<String>> {
            let mut links = Vec::new();
            if let Some(link) = link_below(&self.root, &path)? {
                links.extend(
                    link.strip_prefix(&self.root).ok().and_then(Path::to_str).map(str::to_owned),
                );
                return Ok(links);
            }
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if key.starts_with(prefix) && entry.file_type()?.is_symlink() {
                    links.push(key);
                }
            }
            links.sort_unstable();
            Ok(links)
        };
        match find() {
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            other => other.map_err(|cause| failed("list", &path, cause)),
        }
    }

    fn is_being_written(&self, partition: &str) -> Result<bool> {
        let staging = self.root.join(STAGING);
        let folders = |path: &Path| -> io::Result<Vec<PathBuf>> {
            let entries = match fs::read_dir(path) {
                Err(error) if is_absent(&error) => return Ok(Vec::new()),
                other => other?,
            };
            entries.map(|entry| Ok(entry?.path())).collect()
        };
        let find = || -> io::Result<bool> {
            for run in folders(&staging)? {
                if folders(&run)?.iter().any(|task| task.join(partition).is_dir()) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        find().map_err(|cause| failed("list", &staging, cause))
    }

    fn clean_up(&self, now: OffsetDateTime) -> Result<usize> {
        temporary::clean_up(&self.root, &self.root.join(STAGING), now)
    }
}

fn sync_if_there(folder: &Path) -> io::Result<()> {
    match sync_folder(folder) {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::error::Kind;
    use crate::lake::store::conformance::conformance;
    use crate::lake::store::list_all;

    #[test]
    fn it_is_a_store() {
        let root = tempfile::tempdir().unwrap();
        conformance(&LocalStore::new(root.path().join("made/later")));
    }

    #[test]
    fn nothing_is_left_but_the_objects() {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::new(root.path());
        store.put("a/b/c", Bytes::from_static(b"1")).unwrap();
        store.put("a/b/c", Bytes::from_static(b"2")).unwrap();
        store.replace("a/b/c", Bytes::from_static(b"3")).unwrap();
        assert!(!root.path().join(STAGING).exists());
        store.delete("a/b/c").unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_key_cannot_lead_out_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let store = LocalStore::new(root.path().join("lake"));
        for key in ["../x", "/x", "a//b", "a/../../x", "", "a/."] {
            assert!(store.put(key, Bytes::new()).is_err(), "{key}");
            assert!(store.get(key).is_err(), "{key}");
        }
    }

    #[test]
    fn what_is_staged_is_no_object() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(STAGING)).unwrap();
        fs::write(root.path().join(STAGING).join("put-x"), "half").unwrap();
        let store = LocalStore::new(root.path());
        assert_eq!(store.list("", None, 9).unwrap(), []);
        assert_eq!(store.names("").unwrap(), Vec::<String>::new());
    }

    /// Makes a lake with links to a partition, a file and an index outside of it.
    fn linked() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for made in ["outside/part", "outside/index", "lake/plain"] {
            fs::create_dir_all(at(made)).unwrap();
        }
        fs::write(at("outside/part/0000000"), "[]").unwrap();
        fs::write(at("lake/plain/0000000"), "[]").unwrap();
        symlink("../outside/part", at("lake/part")).unwrap();
        symlink("../outside/index", at("lake/_index")).unwrap();
        symlink("../../outside/part/0000000", at("lake/plain/0000001")).unwrap();
        let store = LocalStore::new(at("lake"));
        (folder, store)
    }

    #[test]
    fn links_are_read_and_nothing_is_written_or_deleted_through_them() {
        let (folder, store) = linked();
        let keys =
            |prefix: &str| list_all(&store, prefix).unwrap().into_iter().map(|found| found.key);
        assert!(keys("").eq(["part/0000000", "plain/0000000", "plain/0000001"]));
        assert_eq!(store.get("part/0000000").unwrap().unwrap(), "[]");
        assert_eq!(store.links("part/").unwrap(), ["part"]);
        assert_eq!(store.links("plain/").unwrap(), ["plain/0000001"]);
        assert_eq!(store.links("").unwrap(), ["_index", "part"]);
        for refused in [
            store.delete("part/0000000"),
            store.put("part/0000000", Bytes::new()).map(drop),
            store.put("part/0000009", Bytes::new()).map(drop),
            store.put("_index/new/x.json", Bytes::new()).map(drop),
            store.replace("_index/x.json", Bytes::new()),
        ] {
            assert!(refused.unwrap_err().chain().contains("is a link, and nothing is written"));
        }
        // If the key is a link to a file, the link itself is replaced or removed.
        store.replace("plain/0000001", "[1]".into()).unwrap();
        store.delete("plain/0000001").unwrap();
        assert_eq!(fs::read(folder.path().join("outside/part/0000000")).unwrap(), b"[]");
        assert_eq!(fs::read_dir(folder.path().join("outside/index")).unwrap().count(), 0);
        assert!(!folder.path().join("lake").join(STAGING).exists());
    }

    #[test]
    fn the_staging_may_be_no_link() {
        let (folder, store) = linked();
        symlink("../outside/index", folder.path().join("lake").join(STAGING)).unwrap();
        assert!(
            store.put("plain/0000009", Bytes::new()).unwrap_err().chain().contains("is a link")
        );
        assert!(
            store.clean_up(OffsetDateTime::UNIX_EPOCH).unwrap_err().chain().contains("is a link")
        );
        assert_eq!(fs::read_dir(folder.path().join("outside/index")).unwrap().count(), 0);
    }

    #[test]
    fn a_circle_of_links_and_what_is_no_file_fail_nothing_but_themselves() {
        let (folder, store) = linked();
        let at = |path: &str| folder.path().join("lake").join(path);
        symlink("..", at("plain/above")).unwrap();
        symlink("circle", at("circle")).unwrap();
        symlink("0000002", at("plain/0000002")).unwrap();
        symlink(".", at("self")).unwrap();
        assert!(
            std::process::Command::new("mkfifo")
                .arg(at("plain/0000003"))
                .status()
                .unwrap()
                .success()
        );
        let keys: Vec<_> =
            list_all(&store, "plain/").unwrap().into_iter().map(|found| found.key).collect();
        assert_eq!(keys, ["plain/0000000", "plain/0000001", "plain/0000002", "plain/0000003"]);
        assert!(list_all(&store, "").unwrap().len() < 20);
        for key in ["plain/0000002", "plain/0000003"] {
            for error in [store.get(key).unwrap_err(), store.get_range(key, 0..9).unwrap_err()] {
                assert!(error.kind() == Kind::Rejected && error.chain().contains(key), "{error:?}");
            }
        }
    }
}

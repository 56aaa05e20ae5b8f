//! The second phase of a sink of a lake in a folder: makes each promised file visible, whole and
//! exactly once.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{failed, make_folders, rename_without_replacing, sync_folder};
use super::index::{self, Index};
use super::inside::stay_inside;
use super::names::Segment;
use super::pack;
use super::replaced::{Replaced, has_now};
use super::staging::{Publish, STAGING, Staging, named};
use super::store::Store;
use super::store::local::LocalStore;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::fault::point;

/// The name of an index that isn't visible yet, in the staging folder of its task.
const STAGED_INDEX: &str = "index";

/// The place of one task of a sink that writes a lake in a folder.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder that holds the partitions.
    pub root: PathBuf,
    /// The files that aren't visible yet, in `<root>/_staging`.
    pub staging: Staging,
}

impl Place {
    /// Returns the place of a task whose partitions are in `root`.
    pub fn new(root: PathBuf, run: &str, component: &str, task: usize) -> Self {
        Self { staging: Staging::new(&root.join(STAGING), run, component, task), root }
    }

    /// Returns the name of the place in promises: the path of its staging folder.
    ///
    /// # Errors
    /// If the path isn't UTF-8.
    pub fn name(&self) -> Result<String> {
        let path = &self.staging.folder;
        let text = path.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::fatal(format!("the path \"{}\" is not UTF-8", path.display())))
    }

    /// Parses the place that a promise names.
    ///
    /// # Errors
    /// If the name isn't the path of a staging folder.
    pub fn named(name: &str) -> Result<Self> {
        let folder = PathBuf::from(name);
        let root =
            folder.ancestors().nth(3).filter(|_| folder.is_absolute()).map(Path::to_path_buf);
        let root = root.ok_or_else(|| {
            Error::fatal(format!("bad place \"{name}\" in a promise: expected a folder"))
        })?;
        Ok(Self { root, staging: Staging { folder } })
    }
}

/// The publisher within a file system, which renames files.
pub struct Rename;

impl Publish for Rename {
    fn staging(&self, place: &str) -> Result<Staging> {
        Ok(Place::named(place)?.staging)
    }

    fn publish(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()> {
        publish(&Place::named(place)?, promises, durable)
    }

    fn publish_left(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()> {
        let place = Place::named(place)?;
        publish(&place, &not_replaced(&place, promises)?, durable)
    }

    fn index(&self, place: &str, index: &Index, durable: bool) -> Result<()> {
        write_index(&Place::named(place)?, index, durable)
    }

    fn store(&self, place: &str) -> Result<Option<Arc<dyn Store>>> {
        Ok(Some(Arc::new(LocalStore::new(Place::named(place)?.root))))
    }
}

/// Writes an index beside the partitions. It is staged in the task's staging folder, so that
/// recovery after a crash deletes an unfinished one together with the rest.
fn write_index(place: &Place, index: &Index, durable: bool) -> Result<()> {
    let Place { root, staging } = place;
    let (staged, target) =
        (staging.folder.join(STAGED_INDEX), root.join(index::key(&index.partition)));
    let folder = target.parent().unwrap_or(root);
    let write = || -> io::Result<()> {
        stay_inside(root, folder)?;
        make_folders(&staging.folder)?;
        let mut changed = make_folders(folder)?;
        let mut file = File::create(&staged)?;
        point("index.write")?;
        file.write_all(&index::to_bytes(index))?;
        if durable {
            file.sync_data()?;
        }
        fs::rename(&staged, &target)?;
        point("index.written")?;
        changed.push(folder.to_path_buf());
        if durable {
            changed.iter().rev().try_for_each(|folder| sync_folder(folder))
        } else {
            Ok(())
        }
    };
    write().map_err(|cause| {
        // An index that can't be written mustn't leave a file behind.
        let _ = fs::remove_file(&staged);
        failed("write", &target, cause)
    })
}

/// Returns the promises whose files weren't in a partition when it was replaced. Deletes the other
/// files from the staging folder.
fn not_replaced(place: &Place, promises: &[Promise]) -> Result<Vec<Promise>> {
    let (store, mut replaced, mut rest) =
        (LocalStore::new(&place.root), Replaced::default(), Vec::new());
    for promise in promises {
        let (segment, _) = named(promise)?;
        if !replaced.has(&store, &segment)? {
            rest.push(promise.clone());
            continue;
        }
        let staged = place.staging.file(&segment);
        match fs::remove_file(&staged) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|cause| failed("remove", &staged, cause))?,
        }
    }
    Ok(rest)
}

/// Moves closed files from the staging folder into their partitions, in number order.
fn publish(place: &Place, promises: &[Promise], durable: bool) -> Result<()> {
    let mut files =
        promises.iter().filter(|promise| promise.closed).map(named).collect::<Result<Vec<_>>>()?;
    files.sort_by_key(|(segment, _)| *segment);
    files
        .chunk_by(|(a, _), (b, _)| a.partition == b.partition)
        .try_for_each(|files| partition(place, files, durable))
}

fn partition(place: &Place, files: &[(Segment, &Promise)], durable: bool) -> Result<()> {
    let folder = place.root.join(files[0].0.partition.to_string());
    let made = stay_inside(&place.root, &folder).and_then(|()| make_folders(&folder));
    let mut changed = made.map_err(|cause| failed("make", &folder, cause))?;
    let mut found = false;
    for (segment, promise) in files {
        found |= file(place, segment, promise)? == Outcome::Found;
    }
    if found {
        // The process that published it may have crashed before these folders were synced.
        changed.extend(
            [Some(place.root.as_path()), place.root.parent()]
                .into_iter()
                .flatten()
                .map(Path::to_path_buf),
        );
    }
    changed.push(folder);
    // The data is synced first, so that no power loss leaves a folder without the files it was made
    // for.
    let sync = |folder: &Path| sync_folder(folder).map_err(|cause| failed("sync", folder, cause));
    if durable { changed.iter().rev().try_for_each(|folder| sync(folder)) } else { Ok(()) }
}

/// The way in which a file became visible: moved now, or found visible.
#[derive(PartialEq, Eq)]
enum Outcome {
    Moved,
    Found,
}

fn file(place: &Place, segment: &Segment, promise: &Promise) -> Result<Outcome> {
    let (from, to) = (&place.staging.file(segment), &place.root.join(segment.to_string()));
    match from.metadata() {
        Ok(found) if found.len() == promise.length => {}
        Ok(found) => return Err(not_as_promised(from, found.len(), promise)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match published(from, to, promise) {
                // A commit that is tried again may find that the partition has been replaced since.
                Err(_) if !to.exists() && has_now(&LocalStore::new(&place.root), segment)? => {
                    Ok(Outcome::Found)
                }
                other => other,
            };
        }
        Err(error) => return Err(failed("look at", from, error)),
    }
    match rename_without_replacing(from, to) {
        Ok(()) => Ok(Outcome::Moved),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            half_published(from, to, promise)
        }
        Err(error) => Err(failed("publish", to, error)),
    }
}

/// Handles a staged file that is gone: the visible one has to be as promised.
fn published(from: &Path, to: &Path, promise: &Promise) -> Result<Outcome> {
    let (length, checksum) = match measure(to) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(gone(from, &to.to_string_lossy()));
        }
        Err(error) => return Err(failed("read", to, error)),
    };
    if (length, checksum) == (promise.length, promise.checksum) || is_of_promised_text(to, promise)?
    {
        Ok(Outcome::Found)
    } else {
        Err(another_writer(&to.to_string_lossy()))
    }
}

/// Returns true if a compressed file holds the promised text. Only the promise of the text is known
/// if a recovery has published the file and crashed.
fn is_of_promised_text(path: &Path, promise: &Promise) -> Result<bool> {
    if pack::compression(promise).is_none() {
        return Ok(false);
    }
    Ok(pack::is_as_promised(&fs::read(path).map_err(|cause| failed("read", path, cause))?, promise))
}

/// Handles a file that exists under both names. After a power loss, both may be one file whose old
/// name wasn't removed yet, or the staged file may hold the same text, compressed once more.
fn half_published(from: &Path, to: &Path, promise: &Promise) -> Result<Outcome> {
    let inode = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    let is_one = inode(from).is_some() && inode(from) == inode(to);
    if !is_one && !is_packed_again(from, to, promise)? {
        return Err(another_writer(&to.to_string_lossy()));
    }
    fs::remove_file(from).map_err(|cause| failed("remove", from, cause))?;
    Ok(Outcome::Found)
}

fn is_packed_again(from: &Path, to: &Path, promise: &Promise) -> Result<bool> {
    if pack::compression(promise).is_none() {
        return Ok(false);
    }
    let read = |path: &Path| fs::read(path).map_err(|cause| failed("read", path, cause));
    Ok(pack::are_of_one_text(&read(from)?, &read(to)?, promise))
}

/// Returns the length of a file and the CRC-32 of its bytes.
///
/// # Errors
/// If the file can't be read.
pub fn measure(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 << 10];
    let (mut length, mut checksum) = (0, crc32fast::Hasher::new());
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((length, checksum.finalize())),
            bytes => {
                length += bytes as u64;
                checksum.update(&buffer[..bytes]);
            }
        }
    }
}

pub(super) fn not_as_promised(path: &Path, length: u64, promise: &Promise) -> Error {
    let path = path.display();
    Error::fatal(format!(
        "\"{path}\" has {length} bytes, but {} were promised: it was changed from outside",
        promise.length
    ))
}

pub(super) fn gone(from: &Path, to: &str) -> Error {
    let from = from.display();
    Error::fatal(format!(
        "a promised file is gone: it is neither staged as \"{from}\" nor published as \"{to}\"; \
         put it back in one of these places, or start over without the old state"
    ))
}

pub(super) fn another_writer(address: &str) -> Error {
    Error::fatal(format!(
        "\"{address}\" was written by somebody else: it is not the file that was promised under this name; \
         move it away and start again"
    ))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::Kind;

    const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    /// Makes a lake in which files with these contents are staged and promised.
    fn staged(contents: &[&str]) -> (TempDir, Place, Vec<Promise>) {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().into(), "run", "lake", 0);
        fs::create_dir_all(place.staging.folder.join(PARTITION)).unwrap();
        let promise = |(i, content): (usize, &&str)| {
            let segment = format!("{PARTITION}/{i:07}");
            fs::write(place.staging.folder.join(&segment), content).unwrap();
            let (length, checksum) = (content.len() as u64, crc32fast::hash(content.as_bytes()));
            Promise {
                place: place.name().unwrap(),
                segment,
                length,
                posts: 1,
                checksum,
                closed: true,
            }
        };
        let promises = contents.iter().enumerate().map(promise).collect();
        (root, place, promises)
    }

    fn visible(place: &Place) -> Vec<String> {
        let read = |path: glob::GlobResult| fs::read_to_string(path.unwrap()).unwrap();
        glob::glob(&format!("{}/2*/*", place.root.display())).unwrap().map(read).collect()
    }

    const CONTENTS: [&str; 3] = ["[{\"a\":1}]", "[{\"a\":2}]", "[{\"a\":3}]"];

    #[test]
    fn a_crash_after_any_step_changes_nothing() {
        for renamed in 0..=3 {
            let (_root, place, promises) = staged(&CONTENTS);
            fs::create_dir_all(place.root.join(PARTITION)).unwrap();
            for promise in &promises[..renamed] {
                fs::rename(
                    place.staging.folder.join(&promise.segment),
                    place.root.join(&promise.segment),
                )
                .unwrap();
            }
            publish(&place, &promises, true).unwrap();
            publish(&place, &promises, renamed % 2 == 0).unwrap();
            assert_eq!(visible(&place), CONTENTS);
        }
    }

    #[test]
    fn a_power_loss_that_kept_both_names_changes_nothing() {
        let (_root, place, promises) = staged(&CONTENTS);
        fs::create_dir_all(place.root.join(PARTITION)).unwrap();
        fs::hard_link(
            place.staging.folder.join(&promises[1].segment),
            place.root.join(&promises[1].segment),
        )
        .unwrap();
        publish(&place, &promises, true).unwrap();
        assert_eq!(visible(&place), CONTENTS);
        assert!(!place.staging.folder.join(&promises[1].segment).exists());
    }

    #[test]
    fn an_open_file_is_never_published() {
        let (_root, place, mut promises) = staged(&CONTENTS[..2]);
        promises[1].closed = false;
        publish(&place, &promises, true).unwrap();
        assert_eq!(visible(&place), CONTENTS[..1]);
    }

    #[test]
    fn the_file_of_another_writer_is_never_replaced() {
        let (_root, place, promises) = staged(&CONTENTS);
        fs::create_dir_all(place.root.join(PARTITION)).unwrap();
        fs::write(place.root.join(&promises[0].segment), "[{\"b\":1}]").unwrap();
        for _ in 0..2 {
            let error = publish(&place, &promises, true).unwrap_err();
            assert_eq!(error.kind(), Kind::Fatal);
            assert!(error.chain().contains("written by somebody else"), "{error:?}");
            assert_eq!(visible(&place), ["[{\"b\":1}]"]);
            // The second time the staged file is gone as well.
            fs::remove_file(place.staging.folder.join(&promises[0].segment)).ok();
        }
    }

    #[test]
    fn a_file_that_is_nowhere_stops_with_what_to_do() {
        let (_root, place, promises) = staged(&CONTENTS);
        fs::remove_file(place.staging.folder.join(&promises[1].segment)).unwrap();
        let error = publish(&place, &promises, true).unwrap_err();
        assert_eq!(error.kind(), Kind::Fatal);
        assert!(
            error.chain().contains("0000001") && error.chain().contains("put it back"),
            "{error:?}"
        );
        assert_eq!(visible(&place), CONTENTS[..1], "number order: nothing after it became visible");
    }

    #[test]
    fn a_file_that_was_changed_is_never_published() {
        let (_root, place, promises) = staged(&CONTENTS[..1]);
        fs::write(place.staging.folder.join(&promises[0].segment), "[]").unwrap();
        let error = publish(&place, &promises, true).unwrap_err();
        assert!(error.chain().contains("has 2 bytes, but 9 were promised"), "{error:?}");
        assert_eq!(visible(&place), Vec::<String>::new());
    }

    #[test]
    fn a_promise_cannot_lead_out_of_the_root() {
        let (_root, place, mut promises) = staged(&CONTENTS[..1]);
        promises[0].segment = "../0000000".into();
        assert_eq!(publish(&place, &promises, true).unwrap_err().kind(), Kind::Fatal);
    }

    #[test]
    fn a_folder_that_cannot_be_made_may_be_tried_again() {
        let (_root, place, promises) = staged(&CONTENTS);
        fs::write(place.root.join(PARTITION), "in the way").unwrap();
        assert_eq!(publish(&place, &promises, true).unwrap_err().kind(), Kind::Transient);
        fs::remove_file(place.root.join(PARTITION)).unwrap();
        publish(&place, &promises, true).unwrap();
        assert_eq!(visible(&place), CONTENTS);
    }
}

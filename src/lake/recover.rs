//! Recovers the files of a crashed task: closes the promised ones, to be published, and cuts off
//! everything that came after the promise.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::disk::{failed, remove_if_empty, sync_folder};
use super::form::Compression;
use super::names::Segment;
use super::pack::{compression, delete_text, pack_file, restore_text};
use super::staging::{Staging, named};
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::fault::point;

/// Closes the files that an ended task has promised in the newest complete checkpoint: open files
/// are cut back to the promised length. Deletes the rest of the task's staging folder, which was
/// begun after that checkpoint. Returns the promises of the closed files. A crash during recovery
/// does no harm: it can be repeated, even after some of the files were published.
///
/// # Errors
/// Fatal ones if a staged file is shorter than promised or has other bytes.
pub fn recover(staging: &Staging, promises: &[Promise]) -> Result<Vec<Promise>> {
    staging.refuse_links()?;
    let closed =
        promises.iter().map(|promise| close(staging, promise)).collect::<Result<Vec<_>>>()?;
    let promised =
        closed.iter().map(|promise| Ok(staging.file(&named(promise)?.0))).collect::<Result<_>>()?;
    delete_all_but(&promised, &staging.folder)?;
    staging.tidy();
    Ok(closed)
}

/// Deletes all files of a folder except these, and the folders that are empty afterwards.
fn delete_all_but(keep: &BTreeSet<PathBuf>, folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|cause| failed("read", folder, cause))?,
    };
    for entry in entries {
        let entry = entry.map_err(|cause| failed("read", folder, cause))?;
        let (path, kind) =
            (entry.path(), entry.file_type().map_err(|cause| failed("look at", folder, cause))?);
        if kind.is_dir() {
            delete_all_but(keep, &path)?;
        } else if !keep.contains(&path) {
            point("recover.delete")
                .and_then(|()| fs::remove_file(&path))
                .map_err(|cause| failed("remove", &path, cause))?;
        }
    }
    remove_if_empty(folder);
    Ok(())
}

/// Closes the file of a promise, if it is open, and returns the promise of the closed file. If that
/// file is already published and compressed, returns the promise of its text, since nothing else is
/// known.
fn close(staging: &Staging, promise: &Promise) -> Result<Promise> {
    if promise.closed {
        return Ok(promise.clone());
    }
    let (segment, compression) = (named(promise)?.0, compression(promise));
    let (path, end) = (staging.text(&segment), segment.file.form.end());
    if let Some(compression) = compression {
        restore(staging, &segment, compression)?;
    }
    let found = match File::options().read(true).write(true).open(&path) {
        Ok(file) => cut(&file, &path, promise, end).map(|()| true)?,
        // The file may already be in its partition, if the last recovery crashed. Publishing finds
        // out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed("open", &path, error)),
    };
    let mut checksum = crc32fast::Hasher::new_with_initial_len(promise.checksum, promise.length);
    checksum.update(end);
    let (length, checksum) = (promise.length + end.len() as u64, checksum.finalize());
    let closed = Promise { length, checksum, closed: true, ..promise.clone() };
    match compression {
        Some(compression) if found => pack(staging, &segment, compression, closed),
        _ => Ok(closed),
    }
}

/// Restores the text of a file that was compressed after the promise, and not promised again.
fn restore(staging: &Staging, segment: &Segment, compression: Compression) -> Result<()> {
    let (text, packed) = (staging.text(segment), staging.file(segment));
    // The text is deleted only after the compressed file is durable, so if the text is missing, the
    // compressed file is complete.
    if text.exists() || !packed.exists() {
        Ok(())
    } else {
        restore_text(compression, &packed, &text)
    }
}

/// Compresses a closed text, durably.
fn pack(
    staging: &Staging,
    segment: &Segment,
    compression: Compression,
    closed: Promise,
) -> Result<Promise> {
    let (text, folder) = (staging.text(segment), staging.partition(&segment.partition));
    let staged = pack_file(compression, &text, staging.file(segment), closed)?;
    staged.sync()?;
    let sync = || sync_folder(&folder).map_err(|cause| failed("sync", &folder, cause));
    sync()?;
    delete_text(&text)?;
    // If the text reappeared after a power loss, it would be compressed and published once more.
    sync()?;
    Ok(staged.promise)
}

fn cut(file: &File, path: &Path, promise: &Promise, end: &[u8]) -> Result<()> {
    let failed = |cause| failed("cut", path, cause);
    verify(file, path, promise)?;
    point("recover.cut").and_then(|()| file.set_len(promise.length)).map_err(failed)?;
    point("recover.close").and_then(|()| file.write_all_at(end, promise.length)).map_err(failed)?;
    point("recover.sync").and_then(|()| file.sync_all()).map_err(failed)?;
    point("recover.closed").map_err(failed)
}

/// Checks that the promised bytes exist and are unchanged.
fn verify(file: &File, path: &Path, promise: &Promise) -> Result<()> {
    let mut checksum = crc32fast::Hasher::new();
    let mut rest = file.take(promise.length);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match rest.read(&mut buffer).map_err(|cause| failed("read", path, cause))? {
            0 => break,
            bytes => checksum.update(&buffer[..bytes]),
        }
    }
    let what = match rest.limit() {
        0 if checksum.finalize() == promise.checksum => return Ok(()),
        0 => format!(
            "\"{}\" has other bytes than were promised for its first {}",
            path.display(),
            promise.length
        ),
        missing => format!(
            "\"{}\" ends {missing} bytes before the promised {}",
            path.display(),
            promise.length
        ),
    };
    Err(Error::fatal(format!("{what}: it was damaged after it had been synced")))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::Kind;
    use crate::lake::publish::{Place, Rename};
    use crate::lake::staging::{Publish, SharedLedger, commit};

    const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    /// Makes a lake whose task has crashed: one closed file, one that grew after its promise, and
    /// one that was begun after the promise.
    fn crashed() -> (TempDir, Place, Vec<Promise>) {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().into(), "run", "lake", 0);
        fs::create_dir_all(place.staging.folder.join(PARTITION)).unwrap();
        let write = |number: usize, content: &str| {
            fs::write(place.staging.folder.join(format!("{PARTITION}/{number:07}")), content)
                .unwrap();
        };
        write(0, "[{\"a\":1}]");
        write(1, "[{\"a\":2},{\"a\":3},{\"a\":");
        write(2, "[{\"a\":4}]");
        let promise = |number: usize, promised: &str, closed| Promise {
            place: place.name().unwrap(),
            segment: format!("{PARTITION}/{number:07}"),
            length: promised.len() as u64,
            posts: 1,
            checksum: crc32fast::hash(promised.as_bytes()),
            closed,
        };
        let promises = vec![promise(0, "[{\"a\":1}]", true), promise(1, "[{\"a\":2}", false)];
        (root, place, promises)
    }

    /// Recovers, and publishes the resulting promises.
    fn recover_and_commit(place: &Place, promises: &[Promise]) {
        let closed = recover(&place.staging, promises).unwrap();
        let own = Place::new(place.root.clone(), "next-run", "lake", 0);
        commit(&Rename, &own.name().unwrap(), &SharedLedger::default(), &closed, true).unwrap();
    }

    /// Asserts that the lake holds the promised files, and no other.
    fn check(place: &Place) {
        let left: Vec<PathBuf> = glob::glob(&format!("{}/**/*", place.root.display()))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let partition = place.root.join(PARTITION);
        assert_eq!(left, [partition.clone(), partition.join("0000000"), partition.join("0000001")]);
        assert_eq!(fs::read_to_string(partition.join("0000000")).unwrap(), "[{\"a\":1}]");
        assert_eq!(fs::read_to_string(partition.join("0000001")).unwrap(), "[{\"a\":2}]");
    }

    #[test]
    fn what_was_promised_becomes_visible_and_the_rest_is_cut_off() {
        let (_root, place, promises) = crashed();
        recover_and_commit(&place, &promises);
        check(&place);
        recover_and_commit(&place, &promises);
        check(&place);
    }

    #[test]
    fn a_crash_within_the_recovery_changes_nothing() {
        let steps: [fn(&Place, &[Promise]); 3] = [
            |place, promises| {
                close(&place.staging, &promises[1]).unwrap();
            },
            |place, promises| {
                Rename.publish(&place.name().unwrap(), promises, true).unwrap();
            },
            |place, promises| {
                let closed = [promises[0].clone(), close(&place.staging, &promises[1]).unwrap()];
                Rename.publish(&place.name().unwrap(), &closed, true).unwrap();
            },
        ];
        for step in steps {
            let (_root, place, promises) = crashed();
            step(&place, &promises);
            recover_and_commit(&place, &promises);
            check(&place);
        }
    }

    #[test]
    fn nothing_promised_leaves_nothing() {
        let (_root, place, _) = crashed();
        recover(&place.staging, &[]).unwrap();
        assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0);
    }

    #[test]
    fn damage_is_named_and_nothing_is_deleted() {
        for (content, named) in [("[{\"a\":9},", "other bytes"), ("[{\"a\"", "ends 3 bytes before")]
        {
            let (_root, place, promises) = crashed();
            fs::write(place.staging.folder.join(&promises[1].segment), content).unwrap();
            let error = recover(&place.staging, &promises).unwrap_err();
            assert_eq!(error.kind(), Kind::Fatal);
            assert!(
                error.chain().contains(named) && error.chain().contains("0000001"),
                "{error:?}"
            );
            assert!(place.staging.folder.join(PARTITION).join("0000002").exists());
        }
    }
}

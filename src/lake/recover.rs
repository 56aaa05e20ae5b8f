//! After a crash: what was promised becomes visible, and what came after the promise is cut off.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::failed;
use super::publish::{named, publish};
use super::staging::Place;
use crate::error::{Error, Result};
use crate::sink::Promise;

/// Publishes what a dead task promised, as the newest complete checkpoint holds it. Files that were
/// open are cut back to the promised length and closed; the rest of the task's staging, which was
/// begun after that checkpoint, is deleted. A crash in here changes nothing: it can be repeated.
///
/// # Errors
/// As [`publish`]; and fatal ones if a staged file is shorter than promised or has other bytes.
pub fn recover(place: &Place, promises: &[Promise]) -> Result<()> {
    let closed = promises.iter().map(|promise| close(place, promise)).collect::<Result<Vec<_>>>()?;
    publish(place, &closed, true)?;
    match fs::remove_dir_all(&place.staging) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &place.staging, cause));
        }
        _ => place.tidy(),
    }
    Ok(())
}

/// Closes the file of a promise, if it is open, and returns the promise of the closed file.
fn close(place: &Place, promise: &Promise) -> Result<Promise> {
    if promise.closed {
        return Ok(promise.clone());
    }
    let path = place.staged(&named(promise)?.0);
    match File::options().read(true).write(true).open(&path) {
        Ok(file) => cut(&file, &path, promise)?,
        // It may be in its partition already: the last recovery crashed. Publishing finds out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", &path, error)),
    }
    let mut checksum = crc32fast::Hasher::new_with_initial_len(promise.checksum, promise.length);
    checksum.update(b"]");
    Ok(Promise { length: promise.length + 1, checksum: checksum.finalize(), closed: true, ..promise.clone() })
}

fn cut(file: &File, path: &Path, promise: &Promise) -> Result<()> {
    let failed = |cause| failed("cut", path, cause);
    verify(file, path, promise)?;
    file.set_len(promise.length).map_err(failed)?;
    file.write_all_at(b"]", promise.length).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// The promised bytes must be there, and must be the same.
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
        0 => format!("\"{}\" has other bytes than were promised for its first {}", path.display(), promise.length),
        missing => format!("\"{}\" ends {missing} bytes before the promised {}", path.display(), promise.length),
    };
    Err(Error::fatal(format!("{what}: it was damaged after it had been synced")))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::error::Kind;

    const PARTITION: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    /// A lake whose task died: one closed file, one that went on growing after its promise, and one
    /// that was begun after it.
    fn crashed() -> (TempDir, Place, Vec<Promise>) {
        let root = tempfile::tempdir().unwrap();
        let place = Place::new(root.path().into(), root.path(), "run", "lake", 0);
        fs::create_dir_all(place.staging.join(PARTITION)).unwrap();
        let write = |number: usize, content: &str| {
            fs::write(place.staging.join(format!("{PARTITION}/{number:07}")), content).unwrap();
        };
        write(0, "[{\"a\":1}]");
        write(1, "[{\"a\":2},{\"a\":3},{\"a\":");
        write(2, "[{\"a\":4}]");
        let promise = |number: usize, promised: &str, closed| Promise {
            segment: format!("{PARTITION}/{number:07}"),
            length: promised.len() as u64,
            posts: 1,
            checksum: crc32fast::hash(promised.as_bytes()),
            closed,
        };
        let promises = vec![promise(0, "[{\"a\":1}]", true), promise(1, "[{\"a\":2}", false)];
        (root, place, promises)
    }

    /// Asserts that the lake holds what was promised, and nothing else.
    fn check(place: &Place) {
        let left: Vec<PathBuf> =
            glob::glob(&format!("{}/**/*", place.root.display())).unwrap().map(Result::unwrap).collect();
        let partition = place.root.join(PARTITION);
        assert_eq!(left, [partition.clone(), partition.join("0000000"), partition.join("0000001")]);
        assert_eq!(fs::read_to_string(partition.join("0000000")).unwrap(), "[{\"a\":1}]");
        assert_eq!(fs::read_to_string(partition.join("0000001")).unwrap(), "[{\"a\":2}]");
    }

    #[test]
    fn what_was_promised_becomes_visible_and_the_rest_is_cut_off() {
        let (_root, place, promises) = crashed();
        recover(&place, &promises).unwrap();
        check(&place);
        recover(&place, &promises).unwrap();
        check(&place);
    }

    #[test]
    fn a_crash_within_the_recovery_changes_nothing() {
        let steps: [fn(&Place, &[Promise]); 3] = [
            |place, promises| {
                close(place, &promises[1]).unwrap();
            },
            |place, promises| {
                publish(place, promises, true).unwrap();
            },
            |place, promises| {
                let closed = [promises[0].clone(), close(place, &promises[1]).unwrap()];
                publish(place, &closed, true).unwrap();
            },
        ];
        for step in steps {
            let (_root, place, promises) = crashed();
            step(&place, &promises);
            recover(&place, &promises).unwrap();
            check(&place);
        }
    }

    #[test]
    fn nothing_promised_leaves_nothing() {
        let (_root, place, _) = crashed();
        recover(&place, &[]).unwrap();
        assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0);
    }

    #[test]
    fn damage_is_named_and_nothing_is_deleted() {
        for (content, named) in [("[{\"a\":9},", "other bytes"), ("[{\"a\"", "ends 3 bytes before")] {
            let (_root, place, promises) = crashed();
            fs::write(place.staging.join(&promises[1].segment), content).unwrap();
            let error = recover(&place, &promises).unwrap_err();
            assert_eq!(error.kind(), Kind::Fatal);
            assert!(error.chain().contains(named) && error.chain().contains("0000001"), "{error:?}");
            assert!(place.staging.join(PARTITION).join("0000002").exists());
        }
    }
}

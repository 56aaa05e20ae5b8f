//! After a crash: what was promised becomes visible, and what came after the promise is cut off.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::transient;
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
            return Err(transient("remove", &place.staging, cause));
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
        Err(error) => return Err(transient("open", &path, error)),
    }
    let mut checksum = crc32fast::Hasher::new_with_initial_len(promise.checksum, promise.length);
    checksum.update(b"]");
    Ok(Promise { length: promise.length + 1, checksum: checksum.finalize(), closed: true, ..promise.clone() })
}

fn cut(file: &File, path: &Path, promise: &Promise) -> Result<()> {
    let failed = |cause| transient("cut", path, cause);
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
        match rest.read(&mut buffer).map_err(|cause| transient("read", path, cause))? {
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

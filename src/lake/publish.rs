//! The second phase: what was promised becomes visible, each file whole and once.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::disk::{make_folders, rename_without_replacing, sync_folder, transient};
use super::names::Segment;
use super::staging::Place;
use crate::error::{Error, Result};
use crate::sink::Promise;

/// Moves closed files from the staging into their partitions, in number order. It can be repeated,
/// also after a crash in the middle: a file that is in its partition already stays as it is.
///
/// # Errors
/// Transient ones (a full disk), after which it can be repeated; fatal ones if a file isn't what was
/// promised, is nowhere, or if somebody else wrote one of that name.
pub fn publish(place: &Place, promises: &[Promise], durable: bool) -> Result<()> {
    let mut files = promises.iter().filter(|promise| promise.closed).map(named).collect::<Result<Vec<_>>>()?;
    files.sort_by_key(|(segment, _)| *segment);
    files.chunk_by(|(a, _), (b, _)| a.partition == b.partition).try_for_each(|files| partition(place, files, durable))
}

/// A promise whose name was read, so that it can't lead out of the root.
pub fn named(promise: &Promise) -> Result<(Segment, &Promise)> {
    let segment = promise.segment.parse().map_err(|_| {
        Error::fatal(format!("bad segment \"{}\" in a promise: expected <partition>/<number>", promise.segment))
    })?;
    Ok((segment, promise))
}

fn partition(place: &Place, files: &[(Segment, &Promise)], durable: bool) -> Result<()> {
    let folder = place.root.join(files[0].0.partition.to_string());
    let mut changed = make_folders(&folder).map_err(|cause| transient("make", &folder, cause))?;
    let mut found = false;
    for (segment, promise) in files {
        found |= file(&place.staged(segment), &place.root.join(segment.to_string()), promise)? == Outcome::Found;
    }
    if found {
        // Whoever published it may have crashed before these were synced.
        changed.extend([Some(place.root.as_path()), place.root.parent()].into_iter().flatten().map(Path::to_path_buf));
    }
    changed.push(folder);
    // The data comes first, so that no power loss leaves a folder without what it was made for.
    let sync = |folder: &Path| sync_folder(folder).map_err(|cause| transient("sync", folder, cause));
    if durable { changed.iter().rev().try_for_each(|folder| sync(folder)) } else { Ok(()) }
}

/// How a file came to be visible.
#[derive(PartialEq, Eq)]
enum Outcome {
    Moved,
    Found,
}

fn file(from: &Path, to: &Path, promise: &Promise) -> Result<Outcome> {
    match from.metadata() {
        Ok(found) if found.len() == promise.length => {}
        Ok(found) => return Err(not_as_promised(from, found.len(), promise)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return published(from, to, promise),
        Err(error) => return Err(transient("look at", from, error)),
    }
    match rename_without_replacing(from, to) {
        Ok(()) => Ok(Outcome::Moved),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => half_published(from, to),
        Err(error) => Err(transient("publish", to, error)),
    }
}

/// The staged file is gone: then the visible one has to be what was promised.
fn published(from: &Path, to: &Path, promise: &Promise) -> Result<Outcome> {
    let (length, checksum) = match measure(to) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(from, to)),
        Err(error) => return Err(transient("read", to, error)),
    };
    if (length, checksum) == (promise.length, promise.checksum) { Ok(Outcome::Found) } else { Err(another_writer(to)) }
}

/// Both names exist: after a power loss that may be one file, whose old name wasn't removed yet.
fn half_published(from: &Path, to: &Path) -> Result<Outcome> {
    let inode = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    if inode(from).is_none() || inode(from) != inode(to) {
        return Err(another_writer(to));
    }
    fs::remove_file(from).map_err(|cause| transient("remove", from, cause))?;
    Ok(Outcome::Found)
}

/// The length of a file, and the CRC-32 of its bytes.
///
/// # Errors
/// If it can't be read.
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

fn not_as_promised(path: &Path, length: u64, promise: &Promise) -> Error {
    let path = path.display();
    Error::fatal(format!(
        "\"{path}\" has {length} bytes, but {} were promised: it was changed from outside",
        promise.length
    ))
}

fn gone(from: &Path, to: &Path) -> Error {
    let (from, to) = (from.display(), to.display());
    Error::fatal(format!(
        "a promised file is gone: it is neither staged as \"{from}\" nor published as \"{to}\"; \
         put it back to either place, or start anew without the old state"
    ))
}

fn another_writer(path: &Path) -> Error {
    Error::fatal(format!(
        "\"{}\" was written by somebody else: it is not the file that was promised under this name; \
         move it away and start again",
        path.display()
    ))
}

//! A disk in memory that distinguishes synced data, and fails when a test requests it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use redb::StorageBackend;
use rustix::io::Errno;

use crate::checkpoint::DiskStore;
use crate::checkpoint::disk::folder::builder;
use crate::error::Result;

/// The unit that is written as a whole during a power loss: a sector is written or not.
const SECTOR_BYTES: usize = 512;

/// The disk; a clone is the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    synced: Vec<u8>,
    /// The content as a process sees it.
    now: Vec<u8>,
    unsynced: Vec<Change>,
    /// The number of changes and syncs that still work, and the error of those after them.
    fails: Option<(u64, Errno)>,
    /// True if it reports a sync, and doesn't do it.
    lies: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                image.resize(image.len().max(at + bytes.len()), 0);
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Length(length) => image.resize(*length, 0),
        }
    }

    /// Writes some of its sectors without the others.
    fn tear(&self, image: &mut Vec<u8>, random: &mut ChaCha8Rng) {
        let Self::Write(at, bytes) = self else { return };
        for (index, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
            if random.random() {
                Self::Write(at + index * SECTOR_BYTES, sector.to_vec()).apply(image);
            }
        }
    }
}

impl Disk {
    /// Creates a disk with this content, all of it synced.
    pub(crate) fn holding(image: Vec<u8>) -> Self {
        let content = Content { synced: image.clone(), now: image, ..Content::default() };
        Self(Arc::new(Mutex::new(content)))
    }

    /// Creates a disk that syncs nothing.
    pub(crate) fn lying() -> Self {
        Self(Arc::new(Mutex::new(Content { lies: true, ..Content::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Lets this many changes and syncs succeed, and the ones after them fail; `None` ends the
    /// failures.
    pub(crate) fn fail(&self, fails: Option<(u64, Errno)>) {
        self.lock().fails = fails;
    }

    /// Returns the content that a killed process leaves.
    pub(crate) fn killed(&self) -> Vec<u8> {
        self.lock().now.clone()
    }

    /// Returns the content after a power loss: the synced data, and any part of the rest, with one
    /// change torn.
    pub(crate) fn power_lost(&self, random: &mut ChaCha8Rng) -> Vec<u8> {
        let content = self.lock();
        let torn = random.random_range(0..=content.unsynced.len());
        let mut image = content.synced.clone();
        for (index, change) in content.unsynced.iter().enumerate() {
            if index == torn {
                change.tear(&mut image, random);
            } else if random.random() {
                change.apply(&mut image);
            }
        }
        image
    }

    /// Opens the store on the disk.
    pub(crate) fn open(&self) -> Result<DiskStore> {
        let disk = self.clone();
        let open = move || builder().create_with_backend(disk.clone());
        DiskStore::with(PathBuf::from("fake"), Box::new(open))
    }

    fn change(&self, change: Change) -> io::Result<()> {
        let mut content = self.lock();
        content.pass()?;
        change.apply(&mut content.now);
        content.unsynced.push(change);
        Ok(())
    }
}

impl Content {
    fn pass(&mut self) -> io::Result<()> {
        match &mut self.fails {
            Some((0, errno)) => Err((*errno).into()),
            Some((left, _)) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let content = self.lock();
        let bytes =
            content.now.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = self.lock();
        content.pass()?;
        if content.lies {
            return Ok(());
        }
        content.synced = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset as usize, bytes.to_vec()))
    }
}

//! Reads a database without changing it: the pages that redb writes while it opens the database
//! stay in memory. So a process that starts at the same time meets no lock, and a user with read
//! permission alone can look at a state.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// The number of bytes of the file in one changed block: a page of redb.
const BLOCK_BYTES: u64 = 4096;

/// The file, with the changed blocks in memory. redb writes little when it opens a database that
/// was closed, and only the pages that it rebuilds in one that wasn't.
#[derive(Debug)]
pub(crate) struct Snapshot {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    length: u64,
    /// Whole changed blocks, by their number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Snapshot {
    /// Opens a file, which must not be empty.
    ///
    /// # Errors
    /// If it can't be read, or is empty.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty"));
        }
        Ok(Self { file, changes: Mutex::new(Changes { length, blocks: BTreeMap::new() }) })
    }

    /// Locks the changes. They are never left half-made, so a panic elsewhere doesn't matter.
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a block of the file, with zeros after its end.
    fn read_block(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut block = vec![0; BLOCK_BYTES as usize];
        let (start, mut filled) = (number * BLOCK_BYTES, 0);
        while filled < block.len() {
            match self.file.read_at(&mut block[filled..], start + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(block)
    }
}

/// Splits a range of bytes into parts of one block each: the block's number, the offset of the part
/// in it, and its length.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (number, from) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
        let bytes = (BLOCK_BYTES - from).min(end - at);
        at += bytes;
        Some((number, from as usize, bytes as usize))
    })
}

impl StorageBackend for Snapshot {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let changes = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > changes.length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut filled = 0;
        for (number, from, bytes) in parts(offset, out.len()) {
            let to = &mut out[filled..filled + bytes];
            match changes.blocks.get(&number) {
                Some(block) => to.copy_from_slice(&block[from..from + bytes]),
                None => to.copy_from_slice(&self.read_block(number)?[from..from + bytes]),
            }
            filled += bytes;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.lock().length = length;
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut changes = self.lock();
        let mut taken = 0;
        for (number, from, bytes) in parts(offset, data.len()) {
            let mut block = match changes.blocks.remove(&number) {
                Some(block) => block,
                None => self.read_block(number)?,
            };
            block[from..from + bytes].copy_from_slice(&data[taken..taken + bytes]);
            changes.blocks.insert(number, block);
            taken += bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_the_file_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: Vec<u8> = (0..10_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(file.path(), &text).unwrap();
        let snapshot = Snapshot::open(file.path()).unwrap();
        snapshot.set_len(20_000).unwrap();
        snapshot.write(4_000, &[7; 5_000]).unwrap();
        let mut expected = text.clone();
        expected.resize(20_000, 0);
        expected[4_000..9_000].fill(7);
        let mut found = vec![1; 20_000];
        snapshot.read(0, &mut found).unwrap();
        assert!(found == expected);
        assert!(snapshot.read(19_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(file.path()).unwrap(), text);
    }
}

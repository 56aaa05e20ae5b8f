//! The disk operations of the log that can fail: a private trait, so that tests can make them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::fault::point;
use crate::lake::disk::sync_folder;

/// A disk that is written and synced.
pub(super) trait Disk: Send + Sync {
    /// Writes all bytes at this offset of the file, which may come to lie in the page cache only.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Brings the content and the length of a file to the disk.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Brings the names in a folder to the disk.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The operating system's files.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        point("spool.write")?;
        file.write_all_at(bytes, offset)?;
        point("spool.written")
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        point("spool.sync")?;
        file.sync_data()?;
        point("spool.synced")
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        sync_folder(folder)
    }
}

//! Tests of full disks, failing disks, and the times of syncs.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc;

use rustix::io::Errno;

use super::*;
use crate::error::Kind;

/// A disk on which the next write, or the next sync, may fail; it reports each sync.
#[derive(Default)]
struct Faulty {
    /// The bytes of the next write that succeed before the disk is full.
    room: Mutex<Option<usize>>,
    sync_fails: Mutex<bool>,
    syncs: Mutex<Option<mpsc::Sender<()>>>,
}

impl Disk for Faulty {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self.room.lock().unwrap().take() {
            None => RealDisk.write(file, bytes, offset),
            Some(room) => {
                RealDisk.write(file, &bytes[..room.min(bytes.len())], offset)?;
                Err(Errno::NOSPC.into())
            }
        }
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if let Some(syncs) = &*self.syncs.lock().unwrap() {
            syncs.send(()).unwrap();
        }
        if *self.sync_fails.lock().unwrap() { Err(Errno::IO.into()) } else { RealDisk.sync(file) }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let (spool, _) = Spool::open_on(disk.clone(), folder.path(), 0, options(SMALL)).unwrap();
    // Sometimes the disk is full at the beginning of a segment.
    for number in 0..20 {
        *disk.room.lock().unwrap() = Some(number * 7);
        let end = spool.end();
        assert_eq!(spool.append(b"x", &post(number, 300)).unwrap_err().kind(), Kind::NoRoom);
        assert_eq!(spool.end(), end);
        append(&spool, number, 300 - number);
    }
    assert_eq!(numbers(&read(&mut spool.reader(0))), (0..20).collect::<Vec<_>>());
    drop(spool);
    assert_eq!(numbers(&read(&mut open(folder.path(), 0).reader(0))), (0..20).collect::<Vec<_>>());
    assert!(verify(folder.path()).unwrap().are_none());
}

#[test]
fn a_full_disk_only_delays_a_sync_mark() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let (spool, _) = Spool::open_on(disk.clone(), folder.path(), 0, options(SMALL)).unwrap();
    let end = append(&spool, 1, 100);
    *disk.room.lock().unwrap() = Some(10);
    spool.sync().unwrap();
    assert_eq!((spool.synced(), spool.end()), (end, end));
    assert!(append(&spool, 2, 100) > end + 120);
    assert_eq!(numbers(&read(&mut spool.reader(0))), [1, 2]);
}

#[test]
fn a_sync_that_fails_is_the_end_for_writer_and_reader() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(Faulty::default());
    let (spool, _) = Spool::open_on(disk.clone(), folder.path(), 0, options(SMALL)).unwrap();
    let mut reader = spool.reader(0);
    append(&spool, 1, 100);
    assert_eq!(read(&mut reader).len(), 1);
    *disk.sync_fails.lock().unwrap() = true;
    let fail = async { assert_eq!(spool.sync().unwrap_err().kind(), Kind::Fatal) };
    let woken = run(futures_util::future::join(reader.next_batch(), fail)).0;
    assert_eq!(woken.unwrap_err().kind(), Kind::Fatal);
    *disk.sync_fails.lock().unwrap() = false;
    let error = spool.append(b"2", b"a").unwrap_err();
    assert_eq!(error.kind(), Kind::Fatal);
    assert!(error.chain().contains("so what was written to it may be lost"), "{error}");
    assert_eq!(spool.sync().unwrap_err().kind(), Kind::Fatal);
}

#[test]
fn the_thread_syncs_what_was_appended_and_then_rests() {
    let folder = tempfile::tempdir().unwrap();
    let (syncs, synced) = mpsc::channel();
    let disk = Arc::new(Faulty::default());
    let often = Options { sync_every: Interval(Duration::from_millis(1)), ..options(SMALL) };
    let (spool, _) = Spool::open_on(disk.clone(), folder.path(), 0, often).unwrap();
    *disk.syncs.lock().unwrap() = Some(syncs);
    append(&spool, 1, 100);
    synced.recv().unwrap();
    append(&spool, 2, 100);
    synced.recv().unwrap();
    spool.close().unwrap();
    *disk.syncs.lock().unwrap() = None;
    // The second post may have come while the first was being synced; marks alone are never synced.
    assert!(synced.iter().count() <= 1);
}

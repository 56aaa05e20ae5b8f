//! Tests of the spool as a whole.

mod bound;
mod faults;
mod model;
mod open;
mod power_loss;

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;

use super::*;
use crate::units::{ByteSize, Interval};

/// Returns options with which only the test syncs.
fn options(bytes_max: u64) -> Options {
    Options {
        bytes_max: ByteSize(bytes_max),
        sync_every: Interval(Duration::from_secs(1 << 20)),
        ..Options::default()
    }
}

/// A disk that doesn't sync: for models of many cases, in which the machine stays up.
struct Unsynced;

impl Disk for Unsynced {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        RealDisk.write(file, bytes, offset)
    }

    fn sync(&self, _file: &File) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> std::io::Result<()> {
        Ok(())
    }
}

/// A bound with segments of 1 KiB.
const SMALL: u64 = 8 << 10;

fn open(folder: &Path, position: u64) -> Spool {
    let (spool, torn) = Spool::open(folder, position, options(SMALL)).unwrap();
    assert_eq!(torn, None);
    spool
}

/// Returns the error with which opening fails.
#[track_caller]
fn refused(folder: &Path, position: u64) -> String {
    Spool::open(folder, position, options(SMALL)).err().unwrap().chain()
}

/// Appends a post whose cursor is its number, and returns the position behind it.
#[track_caller]
fn append(spool: &Spool, number: usize, bytes: usize) -> u64 {
    match spool.append(number.to_string().as_bytes(), &post(number, bytes)).unwrap() {
        Appended::At(position) => position,
        other => panic!("{other:?}"),
    }
}

fn post(number: usize, bytes: usize) -> Vec<u8> {
    format!("{number}:").into_bytes().into_iter().cycle().take(bytes).collect()
}

/// Returns the records that a reader gives without waiting.
fn read(reader: &mut Reader) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(Some(batch)) = reader.next_batch().now_or_never().transpose().unwrap() {
        assert_eq!(batch.position, batch.records.last().unwrap().position);
        records.extend(batch.records);
    }
    records
}

/// Returns the cursors as numbers.
fn numbers(records: &[Record]) -> Vec<usize> {
    records
        .iter()
        .map(|record| std::str::from_utf8(&record.cursor).unwrap().parse().unwrap())
        .collect()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

//! Files and manifests in S3, from which the server copies rows.
//!
//! ```text
//! <prefix>/<run>/<component>-<task>/<hash of the segments>/<table>-<hash of the lines>.json.gz
//!                                                          <table>-<hash of the lines>.manifest
//! ```
//!
//! The same segments give the same names, and the same lines the same file, so that a repeated load
//! finds its files.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use xxhash_rust::xxh3::xxh3_128;

use super::encode::TableLines;
use super::tables::StagedTable;
use crate::error::{Error, Result};
use crate::fault;
use crate::lake::store::Store;

/// The compression level of gzip, up to 9. A higher level is slower and hardly smaller.
const GZIP_LEVEL: u32 = 6;

/// The place for the files.
#[derive(Clone)]
pub struct LoadFiles {
    store: Arc<dyn Store>,
}

/// The file of one table, after its upload.
pub(super) struct TableFile {
    pub table: StagedTable,
    /// The address of the manifest.
    pub manifest: String,
    /// The address of the file, as the server's notes on refused lines have it.
    pub address: String,
    /// For each line, the positions of the rows that are refused with the line.
    pub rows: Vec<Vec<usize>>,
}

impl LoadFiles {
    /// Files in a store whose addresses the server can read.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Uploads the lines of each table, and a manifest for each.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn put(&self, folder: &str, tables: Vec<TableLines>) -> Result<Vec<TableFile>> {
        let mut files = Vec::new();
        for TableLines { table, json, rows } in tables {
            let name = format!("{folder}/{}-{:032x}", table.name(), xxh3_128(&json));
            let (file, manifest) = (format!("{name}.json.gz"), format!("{name}.manifest"));
            let address = self.store.address(&file);
            fault::point("redshift.put").map_err(put_failed)?;
            // An existing file has the same lines, because its name contains their hash.
            self.store.put(&file, packed(&json)?)?;
            self.store.put(&manifest, manifest_of(&address))?;
            let manifest = self.store.address(&manifest);
            files.push(TableFile { table, manifest, address, rows });
        }
        Ok(files)
    }

    /// Deletes everything below a folder.
    ///
    /// # Errors
    /// If the store fails.
    pub fn delete(&self, folder: &str) -> Result<()> {
        for object in self.store.list_whole(&format!("{folder}/"))? {
            self.store.delete(&object.key)?;
        }
        Ok(())
    }
}

/// Returns the folder of a load. The segments are in order.
pub(super) fn folder_of(segments: &[String]) -> String {
    let task = segments.first().map_or("", |segment| task_of(segment));
    format!("{task}/{:032x}", xxh3_128(segments.join("\n").as_bytes()))
}

/// Returns the task of a segment: `<run>/<component>-<task>`.
pub(super) fn task_of(segment: &str) -> &str {
    segment.rsplit_once('/').map_or("segments", |(task, _)| task)
}

fn put_failed(cause: std::io::Error) -> Error {
    Error::transient("can't put the files of a load").because(cause)
}

/// Compresses lines; the same lines always become the same bytes.
fn packed(json: &[u8]) -> Result<Bytes> {
    let compression = Compression::new(GZIP_LEVEL);
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), compression);
    let packed = encoder.write_all(json).and_then(|()| encoder.finish());
    let packed = packed.map_err(|cause| Error::fatal("can't compress a file").because(cause))?;
    Ok(packed.into())
}

fn manifest_of(address: &str) -> Bytes {
    let manifest = serde_json::json!({ "entries": [{ "url": address, "mandatory": true }] });
    manifest.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::memory::MemoryStore;

    #[test]
    fn the_same_segments_and_lines_have_the_same_names() {
        let store = Arc::new(MemoryStore::default());
        let files = LoadFiles::new(Arc::clone(&store) as _);
        let lines = |json: &[u8]| TableLines {
            table: StagedTable::Posts,
            json: json.to_vec(),
            rows: Vec::new(),
        };
        let folder = folder_of(&["run/a-0/0000001".into(), "run/a-0/0000002".into()]);
        assert!(folder.starts_with("run/a-0/"), "{folder}");
        for _ in 0..2 {
            files.put(&folder, vec![lines(b"{}\n")]).unwrap();
            assert_eq!(store.list("", None, 9).unwrap().len(), 2);
        }
        files.put(&folder, vec![lines(b"{\"a\":1}\n")]).unwrap();
        assert_eq!(store.list("", None, 9).unwrap().len(), 4);
        files.delete(task_of("run/a-0/0000001")).unwrap();
        assert!(store.list("", None, 9).unwrap().is_empty());
    }
}

//! Writes the rows that a database or service refuses as dead letters: one for each row, even if
//! the commit is repeated.
//!
//! The letters of a segment are one file, in a partition of the dead letters' lake whose name is
//! derived from the segment's. The file is written before the coordinator learns of the commit. A
//! commit that is repeated after a crash finds the file and doesn't write a second one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::task::TaskInput;
use crate::dead_letter::{DEAD, DeadLetter, of_tuple};
use crate::error::{Error, Result};
use crate::fault;
use crate::lake::form::{Compression, Form, Format};
use crate::lake::names::{FileName, FileNumber, Names, PartitionName, Segment};
use crate::lake::replaced::Replaced;
use crate::lake::store::local::LocalStore;
use crate::lake::store::{Put, Store};
use crate::sink::{RefusedRow, RefusedRows};
use crate::tuple::Tuple;
use crate::value::encode;

/// A writer of dead letters for the rows that one sink couldn't deliver.
#[derive(Clone)]
pub(crate) struct RefusedRowsWriter {
    dead_letters: PathBuf,
    component: String,
    inputs: Arc<[TaskInput]>,
}

impl RefusedRowsWriter {
    /// Creates the writer for a sink and its inputs. `dead_root` is the folder that contains the
    /// lake of dead letters.
    pub(crate) fn new(dead_root: &Path, component: &str, inputs: &[TaskInput]) -> Self {
        Self {
            dead_letters: dead_root.join(DEAD),
            component: component.into(),
            inputs: inputs.into(),
        }
    }

    /// Writes a dead letter for each row, and returns the number of new ones. Repeated calls write
    /// nothing twice.
    ///
    /// # Errors
    /// If the letters can't be written, or if an earlier commit of the segment had other refused
    /// rows.
    pub(crate) fn write(&self, refused: &[RefusedRows]) -> Result<u64> {
        let store = LocalStore::new(&self.dead_letters);
        let mut rows = 0;
        for of_segment in refused.iter().filter(|refused| !refused.rows.is_empty()) {
            if self.write_segment(&store, of_segment)? {
                rows += of_segment.rows.len() as u64;
            }
        }
        Ok(rows)
    }

    /// Returns true if the letters of the segment are new.
    fn write_segment(&self, store: &LocalStore, refused: &RefusedRows) -> Result<bool> {
        let segment = self.letters_segment(refused);
        if Replaced::default().has(store, &segment)? {
            return Ok(false);
        }
        let key = segment.to_string();
        let letters = self.letters(refused);
        if store.put(&key, letters.clone().into())? != Put::Exists {
            fault::point("refused.stored").map_err(|cause| {
                Error::transient("the file of the letters is there").because(cause)
            })?;
            return Ok(true);
        }
        if store.get(&key)?.as_deref() == Some(&letters) {
            return Ok(false);
        }
        Err(Error::fatal(format!(
            "\"{}\" refuses other rows of the segment \"{}\" than before: the letters of the first \
             ones are in \"{}\"",
            self.component,
            refused.segment,
            store.address(&key)
        )))
    }

    /// Returns the file of a segment's letters. It is the same at each repetition.
    fn letters_segment(&self, refused: &RefusedRows) -> Segment {
        let id =
            Uuid::from_u128(xxh3_128(format!("{}/{}", self.component, refused.segment).as_bytes()));
        let form = Form::Text(Format::JsonArray, Compression::None);
        Segment {
            partition: PartitionName { boundary: refused.at, id, names: Names::Extended },
            file: FileName { number: FileNumber::FIRST, form, json: false },
        }
    }

    fn letters(&self, refused: &RefusedRows) -> Vec<u8> {
        let mut array = vec![b'['];
        for (number, row) in refused.rows.iter().enumerate() {
            if number > 0 {
                array.push(b',');
            }
            array.extend_from_slice(&self.letter(row, refused.at));
        }
        array.push(b']');
        array
    }

    fn letter(&self, row: &RefusedRow, at: OffsetDateTime) -> bytes::Bytes {
        let input =
            self.inputs.get(row.input).filter(|input| input.fields.len() == row.values.len());
        let Some(TaskInput { from, fields }) = input else {
            // The topology's file was changed between the promise and the commit, so the inputs
            // differ.
            let mut raw = Vec::new();
            encode(&row.values, &mut raw);
            let error = format!("{}; its input is no longer in the topology", row.error);
            return DeadLetter { raw: raw.into(), error, cut: false }.to_json(&self.component, at);
        };
        let tuple = Tuple::new(&row.values, row.input);
        of_tuple(&self.component, &row.error, at, from, fields, tuple)
    }
}

//! Many small files of closed partitions become few, or of another form.

use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

use super::rewrite::{Rewrite, Rewritten, rewrite};
use crate::error::Result;
use crate::lake::form::Form;
use crate::lake::store::Store;
use crate::lake::{journal, parallel, view};

/// What became of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Another took its place.
    Rewritten(Rewritten),
    /// It was passed over, since another process is at it, or has just replaced it.
    Busy {
        /// The partition.
        busy: String,
    },
}

/// Compacts those of these partitions for which it pays, into files of a form if one is given, and
/// hands each to `report`.
///
/// # Errors
/// As [`rewrite`]; what was compacted before stays so.
pub fn compact(
    store: &Arc<dyn Store>,
    partitions: &[String],
    (bytes_max, form): (u64, Option<Form>),
    now: OffsetDateTime,
    mut report: impl FnMut(&Outcome) -> Result<()>,
) -> Result<()> {
    journal::settle(store.as_ref(), now)?;
    for partition in partitions {
        if !pays(store.as_ref(), partition, bytes_max, form)? {
            continue;
        }
        let how = Rewrite { why: "compact", bytes_max, form, keep: &|_| true, now };
        let rewritten = rewrite(store, partition, &how)?;
        report(&rewritten.map_or_else(|| Outcome::Busy { busy: partition.clone() }, Outcome::Rewritten))?;
    }
    Ok(())
}

/// Whether a file is of another form, or two that follow each other fit into one.
fn pays(store: &dyn Store, partition: &str, bytes_max: u64, form: Option<Form>) -> Result<bool> {
    let files = view::objects(store, partition)?;
    let Some(form) = form.or_else(|| files.first().map(|(name, _)| name.form)) else { return Ok(false) };
    if files.iter().any(|(name, _)| name.form != form) {
        return Ok(true);
    }
    if files.len() < 2 {
        return Ok(false);
    }
    let lengths = parallel::map(&files, |(name, object)| view::text_bytes(store, *name, object));
    let lengths = lengths.into_iter().collect::<Result<Vec<u64>>>()?;
    // Of two arrays, two brackets become one comma.
    Ok(lengths.windows(2).any(|pair| (pair[0] + pair[1]).saturating_sub(form.end().len() as u64) <= bytes_max))
}

//! Turns many small files of closed partitions into few, or into another form, and joins partitions
//! of one time.

use std::sync::Arc;

use serde::Serialize;
use time::OffsetDateTime;

use super::rewrite::{Rewrite, Rewritten, join};
use crate::error::{Error, Result};
use crate::lake::form::Form;
use crate::lake::names::FileName;
use crate::lake::store::{Object, Store};
use crate::lake::{journal, lineage, parallel, view};
use crate::progress;

/// The result for a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// The partition was rewritten.
    Rewritten(Rewritten),
    /// The partition was skipped, since another process works on it or has just replaced it.
    Busy {
        /// The partition.
        busy: String,
    },
}

/// The maximum number of partitions that are joined at once, and the maximum length of their text
/// together. All of it is written before the first partition is deleted, so a join needs that much
/// free space, and a kill wastes up to that much work.
const JOIN_PARTITIONS_MAX: usize = 256;
const JOIN_BYTES_MAX: u64 = 16 << 30;

/// A partition, and the lengths of its files' texts.
struct Measured<'a> {
    partition: &'a str,
    files: Vec<(FileName, Object)>,
    texts: Vec<u64>,
}

/// How often a rewrite reads what it writes: to write it, to prove that, and to index it.
const READS: u64 = 3;

/// How much [`compact`] reads of partitions at most, for whoever shows how far it has come.
///
/// # Errors
/// If they can't be listed.
pub fn work_bytes(store: &dyn Store, partitions: &[String]) -> Result<u64> {
    let mut bytes = 0_u64;
    for partition in partitions {
        let files = view::objects(store, partition)?;
        bytes += files.iter().map(|(_, object)| object.bytes).sum::<u64>() * READS;
    }
    Ok(bytes)
}

impl Measured<'_> {
    fn work_bytes(&self) -> u64 {
        self.files.iter().map(|(_, object)| object.bytes).sum::<u64>() * READS
    }

    fn text_bytes(&self) -> u64 {
        self.texts.iter().fold(0, |all, bytes| all.saturating_add(*bytes))
    }
}

/// Compacts those of these partitions for which it is worthwhile, into files of a form if one is
/// given. Joins partitions of one time, and passes each result to `report`.
///
/// # Errors
/// As [`join`]; partitions that were compacted before the error stay compacted.
pub fn compact(
    store: &Arc<dyn Store>,
    partitions: &[String],
    (bytes_max, form): (u64, Option<Form>),
    now: OffsetDateTime,
    mut report: impl FnMut(&Outcome) -> Result<()>,
) -> Result<()> {
    journal::settle(store.as_ref(), now)?;
    let mut names: Vec<&String> = partitions.iter().collect();
    names.sort();
    for of_one_time in names.chunk_by(|a, b| lineage::boundary(a) == lineage::boundary(b)) {
        let measured = of_one_time.iter().map(|partition| measure(store.as_ref(), partition));
        let mut measured = measured.collect::<Result<Vec<_>>>()?;
        // Another process has just replaced the partition, or it has no micro-batch.
        measured.retain(|one| !one.files.is_empty());
        for group in groups(measured, form) {
            progress::piece(|| Ok::<_, Error>(group.iter().map(Measured::work_bytes).sum()))?;
            if group.len() < 2 && !group.iter().any(|one| pays(one, bytes_max, form)) {
                progress::end_piece();
                continue;
            }
            let old: Vec<&str> = group.iter().map(|one| one.partition).collect();
            let how = Rewrite { why: "compact", bytes_max, form, keep: &|_| true, now };
            match join(store, &old, &how)? {
                Some(rewritten) => report(&Outcome::Rewritten(rewritten))?,
                None => old
                    .iter()
                    .try_for_each(|busy| report(&Outcome::Busy { busy: (*busy).to_owned() }))?,
            }
            progress::end_piece();
        }
    }
    Ok(())
}

fn measure<'a>(store: &dyn Store, partition: &'a str) -> Result<Measured<'a>> {
    let files = view::objects(store, partition)?;
    let texts = parallel::map(&files, |(name, object)| view::text_bytes(store, *name, object));
    Ok(Measured { partition, texts: texts.into_iter().collect::<Result<_>>()?, files })
}

/// Groups the partitions that are joined: those of one time, within the bounds, and, without a
/// given form, of one form.
fn groups(measured: Vec<Measured<'_>>, form: Option<Form>) -> Vec<Vec<Measured<'_>>> {
    let form_of =
        |one: &Measured<'_>| form.or_else(|| one.files.first().map(|(name, _)| name.form));
    let mut groups: Vec<Vec<Measured<'_>>> = Vec::new();
    for one in measured {
        let fits = |group: &&mut Vec<Measured<'_>>| {
            let bytes =
                group.iter().map(Measured::text_bytes).fold(one.text_bytes(), u64::saturating_add);
            let is_same = group.first().is_some_and(|first| form_of(first) == form_of(&one));
            is_same && group.len() < JOIN_PARTITIONS_MAX && bytes <= JOIN_BYTES_MAX
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

/// Returns true if a file has another form, or two consecutive files fit into one.
fn pays(one: &Measured<'_>, bytes_max: u64, form: Option<Form>) -> bool {
    let Some(form) = form.or_else(|| one.files.first().map(|(name, _)| name.form)) else {
        return false;
    };
    // Joining two arrays turns two brackets into one comma.
    let fit = |pair: &[u64]| {
        pair[0].saturating_add(pair[1]).saturating_sub(form.end().len() as u64) <= bytes_max
    };
    one.files.iter().any(|(name, _)| name.form != form) || one.texts.windows(2).any(fit)
}

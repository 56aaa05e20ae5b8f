//! Checks a lake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::lake::index::{self, File, Found, INDEX, Index, is_partition};
use crate::lake::journal::Journal;
use crate::lake::names::{FileName, FileNumber};
use crate::lake::replaced::PRUNE;
use crate::lake::scan::{ObjectReader, Trouble};
use crate::lake::store::{Object, Store, list_all};
use crate::lake::{journal, parallel};
use crate::progress;

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// An object that should exist is missing.
    Missing,
    /// An object exists that shouldn't.
    Extra,
    /// A file that breaks off, or isn't what its name says.
    Torn,
    /// A file of a form that isn't supported, so that it can't be checked.
    Unsupported,
    /// A file that differs from its index entry.
    Altered,
    /// An index of a partition that can't be read.
    Index,
}

/// One problem of a lake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// Its key below the lake's root.
    pub key: String,
    /// The kind of the problem.
    pub what: What,
    /// A description of the problem.
    pub why: String,
}

/// The result of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The number of partitions that were checked.
    pub partitions: usize,
    /// The number of their files.
    pub micro_batches: u64,
    /// The number of posts in the intact files.
    pub posts: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The problems.
    pub findings: Vec<Finding>,
    /// Notes that aren't problems.
    pub notes: Vec<String>,
}

/// Checks these partitions and, if `whole` is true, everything beside them.
///
/// # Errors
/// If the store can't be listed or read. A problem of the lake is no error.
pub fn verify(store: &dyn Store, partitions: &[String], whole: bool) -> Result<Report> {
    let mut report = Report { partitions: partitions.len(), ..Report::default() };
    if whole {
        beside(store, partitions, &mut report)?;
    }
    let (mut work, mut without) = (Vec::new(), 0);
    // How many files of each partition aren't read yet, where somebody watches.
    let mut unread = Vec::new();
    for (partition, found) in partitions.iter().zip(index::read_all(store, partitions)?) {
        without += usize::from(!matches!(found, Found::Index(_)));
        let mut files = names(store, partition, found, &mut report)?;
        files.iter_mut().for_each(|file| file.partition = unread.len());
        unread.push(AtomicUsize::new(files.len()));
        work.append(&mut files);
    }
    progress::piece(|| Ok::<_, Error>(work.iter().map(|file| file.object.bytes).sum()))?;
    let check_file = |file: &Work| {
        let checked = check(store, file);
        if unread[file.partition].fetch_sub(1, Ordering::Relaxed) == 1 {
            progress::tell(|| format!("{}: checked", partitions[file.partition]));
        }
        checked
    };
    for checked in parallel::map(&work, check_file) {
        let checked = checked?;
        report.micro_batches += 1;
        report.posts += checked.posts;
        report.bytes += checked.bytes;
        report.findings.extend(checked.finding);
    }
    report.findings.sort();
    if without > 0 {
        report.notes.push(format!(
            "{without} of {} partitions have no index: a byte that changed inside a text can't be seen there; \
             \"waterspout lake index\" makes one",
            partitions.len()
        ));
    }
    report.findings.extend(doubled(store)?);
    report.findings.sort();
    report.notes.extend(journal::unfinished(store)?.into_iter().map(|entry| {
        let done = if entry.end.is_some() { "and has to clean up" } else { "and hasn't ended" };
        format!(
            "{} of \"{}\" was begun {done}: run it again unless it is still running",
            entry.why, entry.old
        )
    }));
    Ok(report)
}

/// Adds a finding for each of these partitions that has no index: without one, a file that is
/// missing at the end can't be noticed.
///
/// # Errors
/// If the indexes can't be listed.
pub fn require_index(store: &dyn Store, partitions: &[String], report: &mut Report) -> Result<()> {
    let there: BTreeSet<String> = index::partitions(store)?.into_iter().collect();
    let why = "it has no index, so its last files may be missing unnoticed: \"waterspout lake index --missing\" makes one";
    let without = partitions.iter().filter(|partition| !there.contains(*partition));
    report
        .findings
        .extend(without.map(|partition| finding(index::key(partition), What::Missing, why)));
    report.findings.sort();
    Ok(())
}

/// Finds partitions that exist beside the one that replaces them, or is about to. Readers of
/// Waterspout know which of them count.
fn doubled(store: &dyn Store) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let Journal { done, unfinished } = journal::read(store)?;
    let gone = done.iter().map(|(partition, index)| (partition, goes_because(partition, index)));
    for (partition, why) in
        unfinished.iter().map(|partition| (partition, STANDS_BESIDE)).chain(gone)
    {
        if !store.list(&format!("{partition}/"), None, 1)?.is_empty() {
            found.push(finding(partition, What::Extra, why));
        }
    }
    Ok(found)
}

const STANDS_BESIDE: &str = "it stands beside a partition with the same posts, since `compact` or `erase` was killed or \
     is at work: tools that read the files directly count them twice until it has run again";

/// Returns the reason why a replaced partition is to be deleted.
fn goes_because(partition: &str, index: &Index) -> &'static str {
    let last = index.replaces.iter().rev().find(|generation| generation.partition == partition);
    if last.is_some_and(|generation| generation.why == PRUNE) {
        "it is to be deleted, and `prune` was killed or is at work: tools that read the files directly still count its \
         posts until `lake prune` has run again"
    } else if index.files.is_empty() {
        "all of its posts were erased, and `erase` was killed or is at work: tools that read the files directly still \
         count them until `lake erase` has run again"
    } else {
        STANDS_BESIDE
    }
}

fn finding(key: impl Into<String>, what: What, why: impl Into<String>) -> Finding {
    Finding { key: key.into(), what, why: why.into() }
}

/// Checks the objects beside the partitions: names that don't belong there, and indexes without a
/// partition.
fn beside(store: &dyn Store, partitions: &[String], report: &mut Report) -> Result<()> {
    let hidden = journal::hidden(store)?;
    for name in store.names("")? {
        let folder = name.strip_suffix('/');
        if !name.starts_with('_') && !folder.is_some_and(is_partition) {
            report.findings.push(finding(name, What::Extra, "it isn't a partition"));
        }
    }
    for key in store.strays()? {
        report.findings.push(finding(
            key,
            What::Extra,
            "no reader takes an object of this name: delete it",
        ));
    }
    let there: BTreeSet<&String> = partitions.iter().collect();
    for name in index::partitions(store)? {
        if !there.contains(&name) && !hidden.contains(&name) {
            let why = format!("\"{INDEX}{name}.json\" says that it exists");
            report.findings.push(finding(name, What::Missing, why));
        }
    }
    Ok(())
}

/// A file that is to be read, and its index entry.
struct Work {
    object: Object,
    /// The position of its partition among those that are checked.
    partition: usize,
    expected: Option<File>,
}

/// Compares the names in a partition with its index or, without one, checks for gaps in the
/// numbers.
fn names(
    store: &dyn Store,
    partition: &str,
    found: Found,
    report: &mut Report,
) -> Result<Vec<Work>> {
    let (mut numbers, mut seen, mut work) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let index = match found {
        Found::Index(index) => Some(index),
        Found::Missing => None,
        Found::Damaged(why) => {
            report.findings.push(finding(index::key(partition), What::Index, why));
            None
        }
    };
    let mut expected: Option<BTreeMap<String, File>> =
        index.map(|index| index.files.into_iter().map(|file| (file.file.clone(), file)).collect());
    numbers.extend(
        expected
            .iter()
            .flat_map(BTreeMap::keys)
            .filter_map(|name| Some(name.parse::<FileName>().ok()?.number)),
    );
    for object in list_all(store, &format!("{partition}/"))? {
        let name = object.key.get(partition.len() + 1..).unwrap_or_default();
        let Ok(FileName { number, .. }) = name.parse() else {
            report.findings.push(finding(object.key, What::Extra, "it isn't a micro-batch"));
            continue;
        };
        if !seen.insert(number) {
            let why = "another file has the same number, so neither is read: move one of them away";
            report.findings.push(finding(&object.key, What::Extra, why));
        }
        match &mut expected {
            None => {
                numbers.insert(number);
                work.push(Work { object, partition: 0, expected: None });
            }
            Some(expected) => match expected.remove(name) {
                Some(expected) => {
                    work.push(Work { object, partition: 0, expected: Some(expected) })
                }
                None => {
                    let why = "it isn't in the index; if a capture has continued since, \"waterspout lake index\" adds it";
                    report.findings.push(finding(&object.key, What::Extra, why));
                    work.push(Work { object, partition: 0, expected: None });
                }
            },
        }
    }
    for file in expected.iter().flat_map(BTreeMap::values) {
        let why = format!("the index says that it exists, with {} posts", file.posts);
        report.findings.push(finding(format!("{partition}/{}", file.file), What::Missing, why));
    }
    report.findings.extend(gaps(partition, &numbers));
    Ok(work)
}

/// Finds the numbers that are missing before an existing one.
fn gaps(partition: &str, numbers: &BTreeSet<FileNumber>) -> Vec<Finding> {
    let mut expected = FileNumber::FIRST;
    let mut findings = Vec::new();
    for number in numbers {
        if *number != expected {
            let why = format!("the next existing file is {number}");
            findings.push(finding(format!("{partition}/{expected}"), What::Missing, why));
        }
        expected = number.next().unwrap_or(*number);
    }
    findings
}

/// The result of reading a file.
struct Checked {
    posts: u64,
    bytes: u64,
    finding: Option<Finding>,
}

fn check(store: &dyn Store, work: &Work) -> Result<Checked> {
    let key = &work.object.key;
    let mut reader = ObjectReader::new(store, key);
    let (what, why) = match reader.pass_over() {
        Ok(()) => return Ok(compare(work, &reader)),
        Err(Trouble::Store(error)) if error.kind() == Kind::Rejected => (What::Torn, error.chain()),
        Err(Trouble::Store(error)) => {
            return Err(Error::fatal("can't verify the lake").because(error));
        }
        Err(Trouble::Gone) => {
            (What::Missing, "it was deleted while the lake was verified".to_owned())
        }
        Err(Trouble::Unsupported(what)) => {
            (What::Unsupported, format!("this form isn't supported: {what}"))
        }
        Err(Trouble::Damage { at, what }) => (What::Torn, format!("at {at}: {what}")),
    };
    Ok(Checked { posts: 0, bytes: reader.bytes(), finding: Some(finding(key, what, why)) })
}

/// Compares an intact file with its index entry.
fn compare(work: &Work, reader: &ObjectReader<'_>) -> Checked {
    let (posts, bytes, crc32) = (reader.posts(), reader.bytes(), reader.checksum());
    let differs = |what: &str, found: u64, expected: u64| {
        (found != expected)
            .then(|| (What::Altered, format!("it has {found} {what}, but {expected} in the index")))
    };
    let of_index = work.expected.as_ref().and_then(|expected| {
        let checksum = || {
            let why =
                format!("its checksum is {crc32:08x}, but {:08x} in the index", expected.crc32);
            (crc32 != expected.crc32).then_some((What::Altered, why))
        };
        differs("posts", posts, expected.posts)
            .or_else(|| differs("bytes", bytes, expected.bytes))
            .or_else(checksum)
    });
    let line_break =
        || reader.line_break().map(|at| (What::Altered, format!("there is a line break at {at}")));
    let wrong = of_index.or_else(line_break);
    Checked { posts, bytes, finding: wrong.map(|(what, why)| finding(&work.object.key, what, why)) }
}

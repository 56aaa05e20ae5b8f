//! Posts that must go: their partitions are rewritten without them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::Mutex;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::rewrite::{Rewrite, Rewritten, rewrite};
use crate::error::{Error, Result};
use crate::lake::scan::each_post;
use crate::lake::store::Store;
use crate::lake::{journal, parallel, view};
use crate::post::Post;

/// The kind of the posts that say which other was deleted. They hold no content, and stay.
const DELETE: &str = "delete";

/// How long a file may become that is rewritten, if it wasn't longer before.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// How long it may become at most, whatever the files before say: one is held in memory.
const SAID_BYTES_MAX: u64 = 1 << 30;

/// Which posts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Ids of posts of any kind.
    any: HashSet<String>,
    /// Ids of posts of a kind.
    of_kind: HashMap<String, HashSet<String>>,
}

impl Ids {
    /// One `kind id` or `id` a line; empty lines and those that begin with `#` don't count.
    ///
    /// # Errors
    /// If a line has more than two words.
    pub fn parse(text: &str) -> Result<Self> {
        let mut ids = Self::default();
        for (number, line) in text.lines().enumerate() {
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                [id] => _ = ids.any.insert(id.into()),
                [kind, id] => ids.add(kind, id),
                _ => return Err(Error::fatal(format!("line {}: expected \"kind id\" or \"id\"", number + 1))),
            }
        }
        Ok(ids)
    }

    /// Those that captured deletes name, `{"delete": {"kind": "tweet", "id": "…"}}`.
    ///
    /// # Errors
    /// If a file can't be read, or is damaged.
    pub fn from_deletes(store: &Arc<dyn Store>, partitions: &[String]) -> Result<Self> {
        let ids = Mutex::new(Self::default());
        for partition in partitions {
            let found = |(_, key): &(_, String)| {
                each_post(store, std::slice::from_ref(key), |post| {
                    if let Some(delete) = Delete::of(post) {
                        ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&delete.kind, &delete.id);
                    }
                    Ok(())
                })
            };
            parallel::map(&view::files(store.as_ref(), partition)?, found).into_iter().collect::<Result<()>>()?;
        }
        Ok(ids.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn add(&mut self, kind: &str, id: &str) {
        self.of_kind.entry(kind.into()).or_default().insert(id.into());
    }

    /// Whether a post goes.
    pub fn has(&self, post: &Post) -> bool {
        let kind = post.kind();
        let of_kind = self.of_kind.get(kind);
        if kind == DELETE || self.any.is_empty() && of_kind.is_none() {
            return false;
        }
        let goes = |id: &str| self.any.contains(id) || of_kind.is_some_and(|ids| ids.contains(id));
        // A deletion on Mastodon gives the number that the toot has on that server, and not its uri.
        [post.id(), post.other_id()].into_iter().flatten().any(|id| goes(&id))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.any.len() + self.of_kind.values().map(HashSet::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hash of each, `kind id` or `id`, for the record.
    fn hashes(&self) -> BTreeSet<String> {
        let of_kind = self.of_kind.iter().flat_map(|(kind, ids)| ids.iter().map(move |id| format!("{kind} {id}")));
        let all = self.any.iter().cloned().chain(of_kind);
        all.map(|id| format!("{:032x}", xxhash_rust::xxh3::xxh3_128(id.as_bytes()))).collect()
    }
}

#[derive(Deserialize)]
struct Delete {
    kind: String,
    id: String,
}

impl Delete {
    fn of(post: &Post) -> Option<Self> {
        if post.kind() == DELETE { serde_json::from_slice(post.body()).ok() } else { None }
    }
}

/// What was done, as `_index/erased/<time>-<uuid>.json` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// Whether it came to its end.
    pub finished: bool,
    /// How many ids there were.
    pub ids: usize,
    /// The xxh3-128 of each, never the id itself.
    pub hashes: BTreeSet<String>,
    /// How many posts went.
    pub posts_erased: u64,
    /// The partitions that were rewritten.
    pub partitions: Vec<Rewritten>,
    /// Partitions that have such posts and aren't closed, with how many.
    pub open: BTreeMap<String, u64>,
}

/// Erases posts from the closed ones of these partitions. The record is there before the first post
/// goes, and says at the end what was done.
///
/// # Errors
/// As [`rewrite`]; what was erased before stays so, and doing it again does the rest.
pub fn erase(
    store: &Arc<dyn Store>,
    partitions: &[String],
    closed: &[String],
    ids: &Ids,
    now: OffsetDateTime,
) -> Result<Record> {
    let mut record = Record {
        when: now,
        finished: false,
        ids: ids.len(),
        hashes: ids.hashes(),
        posts_erased: 0,
        partitions: Vec::new(),
        open: BTreeMap::new(),
    };
    let key = format!("_index/erased/{}-{}.json", now.unix_timestamp(), Uuid::new_v4());
    let write = |record: &Record| {
        let json = serde_json::to_vec(record).expect("a record has only text and numbers");
        store.replace(&key, Bytes::from(json))
    };
    write(&record)?;
    journal::settle(store.as_ref(), now)?;
    let closed: BTreeSet<&String> = closed.iter().collect();
    for partition in partitions {
        let posts = count(store, partition, ids)?;
        if posts > 0 && !closed.contains(partition) {
            record.open.insert(partition.clone(), posts);
        } else if posts > 0 {
            let bytes_max = longest(store.as_ref(), partition)?;
            let how = Rewrite { why: "erase", bytes_max, form: None, keep: &|post| !ids.has(post), now };
            let rewritten = rewrite(store, partition, &how)?.ok_or_else(|| busy(store.as_ref(), partition))?;
            record.posts_erased += rewritten.posts_erased;
            record.partitions.push(rewritten);
        }
    }
    record.finished = true;
    write(&record)?;
    Ok(record)
}

/// How long the files of a partition may become: compacted ones stay so. What a file says of itself may be
/// wrong, so it counts only up to a limit.
pub(super) fn longest(store: &dyn Store, partition: &str) -> Result<u64> {
    let lengths = view::objects(store, partition)?;
    let lengths = lengths.iter().map(|(name, object)| view::text_bytes(store, *name, object));
    let longest = lengths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    Ok(longest.clamp(FILE_BYTES_MAX, SAID_BYTES_MAX))
}

fn busy(store: &dyn Store, partition: &str) -> Error {
    Error::transient(format!("another process is rewriting \"{}\": try again", store.address(partition)))
}

/// How many posts of a partition would go.
fn count(store: &Arc<dyn Store>, partition: &str, ids: &Ids) -> Result<u64> {
    let count = |(_, key): &(_, String)| {
        let mut posts = 0;
        each_post(store, std::slice::from_ref(key), |post| {
            posts += u64::from(ids.has(post));
            Ok(())
        })?;
        Ok(posts)
    };
    parallel::map(&view::files(store.as_ref(), partition)?, count).into_iter().sum()
}

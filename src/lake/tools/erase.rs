//! Posts that must go: their partitions are rewritten without them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use glob::Pattern;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::closed;
use super::passes::{self, Fresh, Passes};
use super::rewrite::{Rewrite, Rewritten, rewrite};
use crate::error::{Error, Result};
use crate::lake::names::PartitionName;
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
    pub fn from_deletes(store: &Arc<dyn Store>) -> Result<Self> {
        let (mut ids, mut passes) = (Self::default(), Passes::default());
        loop {
            let fresh = passes.fresh(store.as_ref(), &passes::partitions(store.as_ref())?)?;
            if !fresh.iter().any(|fresh| fresh.is_new) {
                return Ok(ids);
            }
            for Fresh { partition, .. } in fresh {
                ids.add_deletes_of(store, &partition)?;
            }
        }
    }

    fn add_deletes_of(&mut self, store: &Arc<dyn Store>, partition: &str) -> Result<()> {
        let deletes = |(_, key): &(_, String)| {
            let mut deletes = Vec::new();
            each_post(store, std::slice::from_ref(key), |post| {
                deletes.extend(Delete::of(post));
                Ok(())
            })?;
            Ok(deletes)
        };
        for found in parallel::map(&view::files(store.as_ref(), partition)?, deletes) {
            let found: Vec<Delete> = found?;
            found.iter().for_each(|delete| self.add(&delete.kind, &delete.id));
        }
        Ok(())
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

/// Which partitions are looked at.
#[derive(Clone, Debug)]
pub struct Scope {
    /// A glob over their names.
    pub glob: Pattern,
    /// Those that begin before this time are taken for closed.
    pub closed_before: Option<OffsetDateTime>,
}

impl Scope {
    /// Those that match, or have come in the place of one that did: `first` are all that there were.
    fn chosen(&self, all: &[String], first: &[String]) -> Vec<String> {
        let time = |name: &str| name.parse().ok().map(|name: PartitionName| name.boundary);
        let times: BTreeSet<_> = first.iter().filter(|name| self.glob.matches(name)).map(|name| time(name)).collect();
        let came = |name: &String| !first.contains(name) && times.contains(&time(name));
        all.iter().filter(|name| self.glob.matches(name) || came(name)).cloned().collect()
    }
}

/// Erases posts from the closed partitions of a lake. The record is there before the first post goes, and says
/// at the end what was done.
///
/// # Errors
/// As [`rewrite`], or if another process is rewriting one of them; what was erased before stays so, and doing
/// it again does the rest.
pub fn erase(store: &Arc<dyn Store>, scope: &Scope, ids: &Ids, now: OffsetDateTime) -> Result<Record> {
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
    let done = journal::settle(store.as_ref(), now).and_then(|_| pass_by_pass(store, scope, ids, &mut record));
    record.finished = done.is_ok();
    write(&record).and(done)?;
    Ok(record)
}

/// Looks at partitions until there is none that wasn't looked at as it is: another process may replace one
/// by another meanwhile, with the same posts.
fn pass_by_pass(store: &Arc<dyn Store>, scope: &Scope, ids: &Ids, record: &mut Record) -> Result<()> {
    let (first, mut passes) = (passes::partitions(store.as_ref())?, Passes::default());
    let mut all = first.clone();
    loop {
        let closed: BTreeSet<String> = closed(&all, scope.closed_before, record.when).into_iter().collect();
        record.open.retain(|partition, _| all.contains(partition));
        let fresh = passes.fresh(store.as_ref(), &scope.chosen(&all, &first))?;
        // A partition that is being written changes all the time: that alone is no reason to go on.
        if !fresh.iter().any(|Fresh { partition, is_new }| *is_new || closed.contains(partition)) {
            return Ok(());
        }
        for Fresh { partition, .. } in fresh {
            let posts = count(store, &partition, ids)?;
            record.open.remove(&partition);
            if posts > 0 && !closed.contains(&partition) {
                record.open.insert(partition, posts);
            } else if posts > 0 {
                erase_from(store, &partition, ids, record)?;
            }
        }
        all = passes::partitions(store.as_ref())?;
    }
}

fn erase_from(store: &Arc<dyn Store>, partition: &str, ids: &Ids, record: &mut Record) -> Result<()> {
    let bytes_max = longest(store.as_ref(), partition)?;
    let how = Rewrite { why: "erase", bytes_max, form: None, keep: &|post| !ids.has(post), now: record.when };
    match rewrite(store, partition, &how)? {
        Some(rewritten) => {
            record.posts_erased += rewritten.posts_erased;
            record.partitions.push(rewritten);
        }
        // Another process has just replaced it: the next pass finds the one that came.
        None if view::files(store.as_ref(), partition)?.is_empty() => {}
        None => return Err(busy(store.as_ref(), partition)),
    }
    Ok(())
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

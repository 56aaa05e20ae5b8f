//! Tests readers, tools and writers on one lake in memory, with their steps in any order. Each
//! process runs on separate threads, and each of its requests to the store waits until a seeded
//! scheduler lets it through. Tools may be killed before any step, and readers stop and continue
//! from their cursors.
//!
//! `WATERSPOUT_LONG=1` runs ten times as many scenarios; `WATERSPOUT_SEED=n` begins with that seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use bytes::Bytes;
use time::macros::datetime;

use super::compact::compact;
use super::erase::{Ids, Scope, erase};
use super::*;
use crate::error::{Error, Result};
use crate::lake::lineage::Progress;
use crate::lake::replay::mark::Mark;
use crate::lake::replay::{
    Choice, Event, OnDamage, Order, Place, PostTimes, Replay, Shard, Sorting, Split, Tempo,
};
use crate::lake::store::memory::MemoryStore;
use crate::lake::store::{Object, Put, Store, list_all};
use crate::lake::tools::verify::verify;
use crate::lake::view;
use crate::lake::{index, journal};

const NOW: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);
const OPEN: &str = "2015-12-18T12:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

type Shared = Arc<dyn Store>;

/// The random numbers of xorshift64*, which is enough for these scenarios.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}

/// The state of one process at its gate.
#[derive(Default)]
struct Turns {
    /// The number of requests that wait to be let through.
    waiting: usize,
    /// The number of requests that may go through now.
    granted: usize,
    /// The number of finished requests.
    done: usize,
    ended: bool,
    /// The request before which the process is killed.
    dies_at: Option<usize>,
}

/// A gate that lets the requests of one process through, one by one.
#[derive(Default)]
struct Gate {
    turns: Mutex<Turns>,
    changed: Condvar,
}

impl Gate {
    fn pass<T>(&self, request: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut turns = self.turns.lock().unwrap();
        turns.waiting += 1;
        self.changed.notify_all();
        turns = self.changed.wait_while(turns, |turns| turns.granted == 0).unwrap();
        turns.granted -= 1;
        turns.waiting -= 1;
        let is_dead = turns.dies_at.is_some_and(|dies_at| turns.done >= dies_at);
        drop(turns);
        let answer = if is_dead { Err(Error::fatal("killed")) } else { request() };
        self.turns.lock().unwrap().done += 1;
        self.changed.notify_all();
        answer
    }

    /// Lets one request through. Returns false if the process has ended.
    fn step(&self) -> bool {
        let turns = self.turns.lock().unwrap();
        let mut turns =
            self.changed.wait_while(turns, |turns| turns.waiting == 0 && !turns.ended).unwrap();
        if turns.ended {
            return false;
        }
        turns.granted += 1;
        let done = turns.done;
        self.changed.notify_all();
        drop(self.changed.wait_while(turns, |turns| turns.done == done).unwrap());
        true
    }

    fn end(&self) {
        let mut turns = self.turns.lock().unwrap();
        turns.ended = true;
        // Requests that were made ahead, and that no thread waits for, go through.
        turns.granted = usize::MAX / 2;
        self.changed.notify_all();
    }
}

/// The lake as one process sees it.
struct Gated {
    store: Arc<MemoryStore>,
    gate: Arc<Gate>,
}

impl Store for Gated {
    fn address(&self, key: &str) -> String {
        self.store.address(key)
    }
    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        self.gate.pass(|| self.store.put(key, bytes))
    }
    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.gate.pass(|| self.store.replace(key, bytes))
    }
    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.gate.pass(|| self.store.get(key))
    }
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        self.gate.pass(|| self.store.get_range(key, range))
    }
    /// Lists in pages of two, as a server returns a large lake in several answers.
    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let (mut found, mut after) = (Vec::<Object>::new(), after.map(str::to_owned));
        while found.len() < max {
            let page = (max - found.len()).min(2);
            let more = self.gate.pass(|| self.store.list(prefix, after.as_deref(), page))?;
            let ended = more.len() < page;
            found.extend(more);
            if ended {
                break;
            }
            after = found.last().map(|object| object.key.clone());
        }
        Ok(found)
    }
    /// Lists in pages of two as well: names at the end are seen later.
    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let mut more = self.gate.pass(|| self.store.names(prefix))?;
            more.retain(|name| found.last().is_none_or(|last| name > last));
            let ended = more.len() <= 2;
            found.extend(more.into_iter().take(2));
            if ended {
                return Ok(found);
            }
        }
    }
    fn delete(&self, key: &str) -> Result<()> {
        self.gate.pass(|| self.store.delete(key))
    }
}

fn post(id: u64) -> String {
    format!(
        "{{\"tweet\":{{\"created_at\":\"2015-12-18T00:{:02}:00Z\",\"id\":\"{id}\"}}}}",
        id * 7 % 60
    )
}

fn id_of(post: &[u8]) -> u64 {
    crate::post::Post::check(Bytes::copy_from_slice(post)).unwrap().id().unwrap().parse().unwrap()
}

/// Makes a lake of two or three partitions, some of one time, and returns the ids of its posts.
fn lake(random: &mut Random) -> (Arc<MemoryStore>, BTreeSet<u64>) {
    let (store, mut next) = (MemoryStore::default(), 0);
    for partition in 0..2 + random.below(2) {
        // The UUID of the new partition may sort before this one or after it.
        let name = format!(
            "2015-12-18T0{}:00:00-7fa5ac3{partition}-e695-4f96-aca2-d24c7527aed7",
            partition / 2
        );
        for file in 0..1 + random.below(3) {
            let posts: Vec<String> =
                (0..1 + random.below(3)).map(|number| post(next + number)).collect();
            next += posts.len() as u64;
            store
                .put(&format!("{name}/{file:07}"), format!("[{}]", posts.join(",")).into())
                .unwrap();
        }
        if random.below(2) == 0 {
            index::write(&store, &index::build(&store, &name).unwrap()).unwrap();
        }
    }
    (Arc::new(store), (0..next).collect())
}

/// The posts that a reader has received, over all its runs.
#[derive(Default)]
struct Got {
    ids: Vec<u64>,
    error: Option<String>,
}

/// Reads the lake, in several runs that stop after some posts and continue from their cursors.
fn read(store: &Shared, order: Order, mut random: Random) -> Got {
    let sorting = Sorting {
        disorder: std::time::Duration::from_secs(60 * random.below(90)),
        buffer: 1 << 20,
    };
    let place = Place::Store(Arc::clone(store));
    let (tempo, times, on_damage) = (Tempo::default(), PostTimes::default(), OnDamage::Stop);
    let replay = Replay { place: place.clone(), order, sorting, tempo, times, on_damage };
    let choice = Choice::glob("*");
    let mut got = Got::default();
    let mut marks: BTreeMap<String, Option<Mark>> = BTreeMap::new();
    loop {
        let mut left = if random.below(3) == 0 { usize::MAX } else { random.below(8) as usize };
        let is_last = left == usize::MAX;
        let progress: Progress =
            marks.iter().map(|(id, mark)| (id.clone(), mark.is_none())).collect();
        let splits = match place.splits(&choice, &progress) {
            Ok(names) => names,
            Err(error) => return Got { error: Some(error.chain()), ..got },
        };
        let mut all = Vec::new();
        for partition in splits {
            let mark = marks.get(&partition).copied();
            all.push(Split { partition, mark: mark.flatten(), ended: mark == Some(None) });
        }
        let run = replay.run(&all, &mut |event| {
            let Event::Handed(handed, _) = event else { return true };
            got.ids.extend(handed.posts.iter().map(|post| id_of(post)));
            for (split, mark) in handed.marks {
                marks.insert(all[split].partition.clone(), mark);
            }
            left = left.saturating_sub(handed.posts.len().max(1));
            left > 0
        });
        if let Err(error) = run {
            return Got { error: Some(error.chain()), ..got };
        }
        if is_last {
            return got;
        }
    }
}

/// Returns the partitions that a tool is to work on: those that aren't being written.
fn closed_ones(store: &Shared) -> Result<Vec<String>> {
    let mut partitions = view::partitions(store.as_ref())?;
    partitions.retain(|name| *name != OPEN);
    Ok(partitions)
}

fn compact_all(store: &Shared, bytes_max: u64) -> Result<()> {
    compact(store, &closed_ones(store)?, (bytes_max, None), NOW, |_| Ok(()))
}

fn erase_ids(store: &Shared, ids: &BTreeSet<u64>) -> Result<bool> {
    let text: Vec<String> = ids.iter().map(|id| format!("tweet {id}")).collect();
    let scope =
        Scope { glob: "*".parse().unwrap(), closed_before: Some(datetime!(2015-12-18 12:00 UTC)) };
    erase(store, &scope, &Ids::parse(&text.join("\n"))?, NOW).map(|record| record.finished)
}

fn prune_old(store: &Shared) -> Result<()> {
    journal::settle(store.as_ref(), NOW)?;
    let all = view::partitions(store.as_ref())?;
    for partition in prune::older(&all, datetime!(2015-12-18 01:00 UTC)) {
        if prune::stays(store.as_ref(), &all, &partition)?.is_none() {
            prune::prune(store.as_ref(), &partition, NOW)?;
        }
    }
    Ok(())
}

/// Returns the ids of the posts in the partitions whose names have this prefix.
fn ids_below(store: &MemoryStore, prefix: &str) -> BTreeSet<u64> {
    let objects = list_all(store, prefix).unwrap();
    let texts = objects.iter().map(|object| store.get(&object.key).unwrap().unwrap());
    let texts: Vec<String> = texts.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
    let ids = texts.iter().flat_map(|text| text.split("\"id\":\"").skip(1));
    ids.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

fn index_all(store: &Shared) -> Result<()> {
    for partition in view::partitions(store.as_ref())? {
        // A partition that has just been replaced has no index.
        drop(index::renew(store.as_ref(), &partition)?);
    }
    index::sweep(store.as_ref())
}

/// Writes three posts into an open partition.
fn write(store: &Shared, first: u64) -> Result<()> {
    for number in 0..3 {
        store.put(&format!("{OPEN}/{number:07}"), format!("[{}]", post(first + number)).into())?;
    }
    index::write(store.as_ref(), &index::build(store.as_ref(), OPEN)?)
}

/// The end of a process.
enum Came {
    Read(Got),
    /// An `erase` that reported that it was finished.
    Erased,
    Other,
}

/// Plays one scenario: some processes, with their steps in an order that the seed determines.
fn play(seed: u64, order: Order, prunes: bool) -> usize {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (store, ids) = lake(&mut random);
    let erased: BTreeSet<u64> = ids.iter().copied().filter(|_| random.below(3) == 0).collect();
    let written: BTreeSet<u64> = (1000..1003).collect();
    let erases = random.below(2) == 0;
    let bytes_max = [60, 130, 1 << 20][random.below(3) as usize];
    let mut processes = Vec::new();
    let kinds: &[u64] = if prunes { &[0, 0, 1, 1, 2, 3, 4, 5] } else { &[0, 0, 1, 1, 2, 3, 4] };
    let pruned = if prunes { ids_below(&store, "2015-12-18T00") } else { BTreeSet::new() };
    for kind in kinds {
        let gate = Arc::new(Gate::default());
        let shared: Shared = Arc::new(Gated { store: Arc::clone(&store), gate: Arc::clone(&gate) });
        // Readers and writers may be slow, but aren't killed; tools are killed in every other
        // scenario.
        if [1, 2, 3, 5].contains(kind) && random.below(2) == 0 {
            gate.turns.lock().unwrap().dies_at = Some(random.below(120) as usize);
        }
        let (kind, seed, erased) = (*kind, random.below(u64::MAX / 2) | 1, erased.clone());
        let work = move || match kind {
            0 => Came::Read(read(&shared, order, Random(seed))),
            1 => compact_all(&shared, bytes_max).map_or(Came::Other, |()| Came::Other),
            2 if erases => match erase_ids(&shared, &erased) {
                Ok(true) => Came::Erased,
                _ => Came::Other,
            },
            3 => index_all(&shared).map_or(Came::Other, |()| Came::Other),
            4 => write(&shared, 1000).map_or(Came::Other, |()| Came::Other),
            5 => prune_old(&shared).map_or(Came::Other, |()| Came::Other),
            _ => Came::Other,
        };
        let ends = Arc::clone(&gate);
        let running = thread::spawn(move || {
            let came = work();
            ends.end();
            came
        });
        processes.push((gate, running));
    }
    let mut live: Vec<usize> = (0..processes.len()).collect();
    while !live.is_empty() {
        let at = random.below(live.len() as u64) as usize;
        // Sometimes one process makes several steps, as if the others slept.
        for _ in 0..1 + random.below(12) {
            if !processes[live[at]].0.step() {
                live.remove(at);
                break;
            }
        }
    }
    let (mut finished, mut whole) = (false, 0);
    for (_, running) in processes {
        match running.join().unwrap() {
            Came::Erased => finished = true,
            Came::Read(got) => {
                let once: BTreeSet<u64> = got.ids.iter().copied().collect();
                assert_eq!(
                    once.len(),
                    got.ids.len(),
                    "seed {seed}: a post is read twice: {:?}",
                    got.ids
                );
                if prunes
                    && got
                        .error
                        .as_ref()
                        .is_some_and(|error| error.contains("\"prune\" deleted it"))
                {
                    continue;
                }
                assert_eq!(got.error, None, "seed {seed}");
                let may_lack = if erases { &erased | &pruned } else { pruned.clone() };
                let lacks: Vec<_> =
                    ids.iter().filter(|id| !once.contains(id) && !may_lack.contains(id)).collect();
                assert!(
                    lacks.is_empty(),
                    "seed {seed}: a post is lost: {lacks:?} of {:?}",
                    got.ids
                );
                whole += 1;
            }
            Came::Other => {}
        }
    }
    let may_lack = if erases { &erased | &pruned } else { pruned };
    at_rest(seed, &store, &(&ids | &written), finished.then_some(&erased), Some(&may_lack));
    whole
}

/// Checks that once the tools have run again, only the posts are left, once each.
fn at_rest(
    seed: u64,
    store: &Arc<MemoryStore>,
    ids: &BTreeSet<u64>,
    erased: Option<&BTreeSet<u64>>,
    may_lack: Option<&BTreeSet<u64>>,
) {
    let shared: Shared = Arc::clone(store) as _;
    compact_all(&shared, 1 << 20).unwrap();
    index_all(&shared).unwrap();
    let gate = Arc::new(Gate::default());
    gate.end();
    let got = read(
        &(Arc::new(Gated { store: Arc::clone(store), gate }) as Shared),
        Order::Partition,
        Random(seed | 1),
    );
    assert_eq!(got.error, None, "seed {seed}");
    let once: BTreeSet<u64> = got.ids.iter().copied().collect();
    assert_eq!(once.len(), got.ids.len(), "seed {seed}: a post is there twice");
    let lacks: Vec<_> = ids
        .difference(&once)
        .filter(|id| may_lack.is_none_or(|erased| !erased.contains(id)))
        .collect();
    assert!(lacks.is_empty() && once.is_subset(ids), "seed {seed}: {lacks:?} of {once:?}");
    let partitions = view::partitions(store.as_ref()).unwrap();
    assert_eq!(verify(store.as_ref(), &partitions, true).unwrap().findings, [], "seed {seed}");
    for id in erased.into_iter().flatten() {
        for object in list_all(store.as_ref(), "").unwrap() {
            let content = store.get(&object.key).unwrap().unwrap();
            let has = String::from_utf8_lossy(&content).contains(&format!("\"id\":\"{id}\""));
            assert!(!has, "seed {seed}: {id} is left in {}", object.key);
        }
    }
}

fn seeds() -> Range<u64> {
    let first = std::env::var("WATERSPOUT_SEED").map_or(1, |seed| seed.parse().unwrap());
    let scenarios = if std::env::var_os("WATERSPOUT_LONG").is_some() { 10_000 } else { 1_000 };
    first..first + scenarios
}

fn play_all(order: Order) {
    let whole: usize = seeds().map(|seed| play(seed, order, false)).sum();
    assert!(whole > 1_000, "{whole} readers");
}

#[test]
fn a_reader_beside_prune_misses_only_what_is_pruned_and_doubles_nothing() {
    let half = seeds().step_by(2);
    let whole: usize = half.map(|seed| play(seed, Order::Partition, true)).sum();
    assert!(whole > 100, "{whole} readers");
}

#[test]
fn no_reader_that_reports_success_loses_or_doubles_a_post() {
    play_all(Order::Partition);
}

#[test]
fn no_reader_that_sorts_by_time_loses_or_doubles_a_post() {
    play_all(Order::Time);
}

#[test]
fn shards_stay_the_same_whatever_is_done_to_a_lake() {
    let (store, ids) = lake(&mut Random(7));
    let shared: Shared = store.clone();
    let of_shard = |shard: &str| {
        let shard: Shard = shard.parse().unwrap();
        let choice = Choice { shard: Some(shard), ..Choice::glob("*") };
        Place::Store(Arc::clone(&shared)).partitions(&choice).unwrap()
    };
    let before = [of_shard("0/2"), of_shard("1/2")];
    assert_eq!(before.concat().len(), view::partitions(store.as_ref()).unwrap().len());
    compact_all(&shared, 1 << 20).unwrap();
    compact_all(&shared, 60).unwrap();
    erase_ids(&shared, &ids.iter().copied().take(2).collect()).unwrap();
    assert_eq!([of_shard("0/2"), of_shard("1/2")], before);
}

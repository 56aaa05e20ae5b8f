//! Tests of going back to the newest checkpoint: after panics, after a failed run, and with other
//! numbers of tasks.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use super::components::{Does, Numbers, collect, count_to, does, forward};
use super::{Builder, Exit, MemoryStore, numbers, shuffle};
use crate::bolt::Count;
use crate::checkpoint::StateStore;
use crate::error::Error;
use crate::flow::Grouping;
use crate::topology::OnError;
use crate::value::Value;

/// Returns the counting bolt, with the first field as its key.
fn count() -> Count {
    let text = "Count(fields: [\"n\"])";
    crate::registry::ron_options().from_str(text).unwrap()
}

/// Passes numbers on modulo 7, and fails when `fault` does.
fn modulo(fault: impl Fn(i64) -> Result<(), Error> + Send + Sync + 'static) -> Does {
    does(move |_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        fault(number)?;
        out.emit([Value::Int(number % 7), Value::Int(0)]);
        Ok(())
    })
}

/// Returns the counts of each value that the counting bolt emitted. Each count is emitted once, so
/// that a loss and a repetition both show.
fn counts(visible: &[Vec<Value>]) -> BTreeMap<i64, Vec<i64>> {
    let mut counts: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for tuple in visible {
        counts.entry(tuple[0].as_int().unwrap()).or_default().push(tuple[1].as_int().unwrap());
    }
    counts.values_mut().for_each(|counts| counts.sort_unstable());
    counts
}

/// Returns the expected [`counts`] if each number up to `last` was counted once.
fn counted_once(last: i64) -> BTreeMap<i64, Vec<i64>> {
    let of =
        |rest: i64| (1..=(0..last).filter(|number| number % 7 == rest).count() as i64).collect();
    (0..7).map(|rest| (rest, of(rest))).collect()
}

/// Builds a topology that takes numbers modulo 7 and counts them by key.
fn counting(last: i64, tasks: u16, fault: Does) -> (Builder, super::Collected) {
    let (sink, collected) = collect();
    let topology = Builder::new()
        .spout("in", 2, count_to(last))
        .bolt("modulo", tasks, fault, &[shuffle("in")])
        .last(|spec| spec.on_error = OnError::Stop)
        .bolt("count", tasks, count(), &[("modulo", Grouping::Fields(vec![0]))])
        .sink("out", 1, sink, &[shuffle("count")]);
    (topology, collected)
}

#[test]
fn a_panic_that_does_not_come_again_loses_nothing_and_repeats_nothing() {
    let panics = AtomicUsize::new(0);
    let (sink, collected) = collect();
    let bolt = does(move |_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        assert!(number % 500 != 7 || panics.fetch_add(1, Ordering::Relaxed) >= 3, "a bad day");
        out.emit([tuple.value(0).clone(), Value::Null]);
        Ok(())
    });
    let started = Builder::new()
        .spout("in", 2, count_to(2_000))
        .bolt("mid", 2, bolt, &[shuffle("in")])
        .sink("out", 2, sink, &[shuffle("mid")])
        .start();
    assert_eq!(started.end(), Exit::Finished);
    assert_eq!(numbers(&collected), (0..2_000).collect::<Vec<_>>());
    let said = started.running.messages(0);
    assert!(
        !said.is_empty() && said[0].text.contains("panicked: a bad day; going back"),
        "{said:?}"
    );
}

#[test]
fn a_tuple_that_panics_again_and_again_goes_to_the_dead_letters_and_counts_once() {
    let (sink, collected) = collect();
    let bolt = does(|_, tuple, out| {
        assert!(tuple.value(0).as_int().unwrap() % 100 != 7, "poison");
        out.emit([tuple.value(0).clone(), Value::Null]);
        Ok(())
    });
    let started = Builder::new()
        .spout("in", 1, count_to(400))
        .bolt("mid", 1, bolt, &[shuffle("in")])
        .last(|spec| spec.on_error = OnError::DeadLetter)
        .sink("out", 1, sink, &[shuffle("mid")])
        .start();
    assert_eq!(started.end(), Exit::Finished, "four such tuples are fewer than five restarts");
    assert_eq!(
        numbers(&collected),
        (0..400).filter(|number| number % 100 != 7).collect::<Vec<_>>()
    );
    let mut letters = Vec::new();
    let dead = started._state.path().join("_dead/*").display().to_string();
    crate::lake::replay(&dead, &mut letters).unwrap();
    let letters = String::from_utf8(letters).unwrap();
    assert_eq!(letters.lines().count(), 4);
    assert!(
        letters.lines().all(|letter| letter.contains("panicked on this tuple repeatedly")),
        "{letters}"
    );
}

#[test]
fn a_run_that_failed_goes_on_where_its_newest_checkpoint_is_with_any_number_of_tasks() {
    let store = Arc::new(MemoryStore::default());
    let mut all = Vec::new();
    // Each run fails at a later number than the one before, even though some numbers are read
    // again.
    for (tasks, fails_at) in [(1, 300), (3, 900), (2, 1_500), (8, i64::MAX)] {
        let fault = modulo(move |number| match number {
            number if number >= fails_at => Err(Error::fatal("no more")),
            _ => Ok(()),
        });
        let (topology, collected) = counting(3_000, tasks, fault);
        let exit = topology.start_from(&store).end();
        assert_eq!(exit == Exit::Finished, fails_at == i64::MAX, "{exit:?}");
        all.push(collected);
    }
    // The next run delivers the promises of a failed run, but this sink's memory is its own, so
    // only the state is compared. Every number was counted once.
    let mut counted = 0;
    store
        .restore("count", 0..1024, &mut |_, value| {
            counted += i64::from_le_bytes(value[..8].try_into().unwrap());
            Ok(())
        })
        .unwrap();
    assert_eq!(counted, 3_000);
    assert!(store.saved().unwrap().finished.is_some());
}

#[test]
fn other_numbers_of_tasks_lose_nothing_repeat_nothing_and_keep_keyed_state() {
    let last = Arc::new(AtomicI64::new(0));
    let seen = Arc::clone(&last);
    let watched = modulo(move |number| {
        seen.fetch_max(number, Ordering::Relaxed);
        Ok(())
    });
    let (sink, collected) = collect();
    let endless = Numbers { endless: true, ..count_to(0) };
    let started = Builder::new()
        .spout("in", 1, endless)
        .bolt("modulo", 1, watched, &[shuffle("in")])
        .bolt("count", 1, count(), &[("modulo", Grouping::Fields(vec![0]))])
        .sink("out", 1, sink, &[shuffle("count")])
        .start();
    for tasks in [2_u16, 5, 1, 3] {
        let before = last.load(Ordering::Relaxed);
        started.until("numbers flow", |_| last.load(Ordering::Relaxed) > before);
        let hints = ["in", "modulo", "count", "out"]
            .map(|id| (id.to_owned(), NonZeroU16::new(tasks).unwrap()));
        started.running.rebalance(hints.into()).unwrap();
        let now = started.running.status();
        assert!(
            now.components.iter().all(|component| component.tasks == usize::from(tasks)),
            "{now:#?}"
        );
    }
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    let counts = counts(&collected.visible());
    assert_eq!(counts.len(), 7);
    for (rest, counts) in counts {
        assert_eq!(counts, (1..=counts.len() as i64).collect::<Vec<_>>(), "of {rest}");
    }
}

#[test]
fn what_can_not_be_rebalanced_is_refused_and_goes_on() {
    let (sink, _) = collect();
    let endless = Numbers { endless: true, ..count_to(0) };
    let started = Builder::new()
        .spout("in", 1, endless)
        .bolt("count", 2, count(), &[shuffle("in")])
        .sink("out", 1, sink, &[shuffle("count")])
        .start();
    let hints = |id: &str, tasks| [(id.to_owned(), NonZeroU16::new(tasks).unwrap())].into();
    let refused = |hints| started.running.rebalance(hints).unwrap_err().chain();
    assert!(
        refused(hints("cuont", 2))
            .contains("no component \"cuont\", but \"in\", \"count\", \"out\"")
    );
    assert!(refused(hints("count", 2_000)).contains("1024 tasks at most"));
    started.until("there is state", |running| running.status().epoch > 2);
    let why = refused(hints("count", 3));
    assert!(
        why.contains("its state was kept by each of 2 tasks, and is kept by each of 3 tasks"),
        "{why}"
    );
    started.running.rebalance(hints("out", 2)).unwrap();
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
}

#[test]
fn results_are_the_same_for_any_parallelism_and_batch_with_panics_and_without() {
    for (tasks, batch) in [(1, 1), (2, 7), (3, 256), (8, 1_024)] {
        for panics in [false, true] {
            let left = AtomicUsize::new(if panics { 3 } else { 0 });
            let fault = does(move |_, tuple, out| {
                let number = tuple.value(0).as_int().unwrap();
                let take =
                    |left: usize| (number % 400 == 399).then(|| left.checked_sub(1)).flatten();
                assert!(
                    left.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err(),
                    "now and then"
                );
                out.emit([Value::Int(number % 7), Value::Int(0)]);
                Ok(())
            });
            let (topology, collected) = counting(2_000, tasks, fault);
            let topology = topology.with(|topology| {
                for spec in &mut topology.components {
                    spec.batch = batch;
                    spec.on_error = OnError::default();
                }
            });
            assert_eq!(topology.run(), Exit::Finished);
            assert_eq!(
                counts(&collected.visible()),
                counted_once(2_000),
                "{tasks} tasks, batches of {batch}"
            );
        }
    }
}

#[test]
fn a_state_whose_components_changed_is_refused_unless_it_is_dropped() {
    let store = Arc::new(MemoryStore::default());
    let (topology, _) = counting(50, 1, modulo(|_| Ok(())));
    assert_eq!(topology.start_from(&store).end(), Exit::Finished);
    let (sink, _) = collect();
    let other = || {
        Builder::new()
            .spout("in", 1, count_to(50))
            .bolt("modulo", 1, forward(), &[shuffle("in")])
            .sink("out", 1, sink.clone(), &[shuffle("modulo")])
    };
    let start = |drop: &[&str]| {
        let mut options =
            super::RunOptions::new(Arc::<MemoryStore>::clone(&store), std::env::temp_dir());
        options.drop_state = drop.iter().map(|id| (*id).to_owned()).collect();
        super::start(other().0, options)
            .map(|running| running.wait(super::PATIENCE))
            .map_err(|error| error.chain())
    };
    let why = start(&[]).unwrap_err();
    assert!(
        why.contains("component \"count\": the topology has no Test \"count\" now; to discard"),
        "{why}"
    );
    assert!(start(&["cuont"]).unwrap_err().contains("no state of \"cuont\" to drop"));
    assert_eq!(start(&["count"]), Ok(Some(Exit::Finished)));
    assert!(!store.has_state("count").unwrap());
}

#[test]
fn many_rebalances_under_load_lose_nothing_and_repeat_nothing() {
    let (sink, collected) = collect();
    let endless = Numbers { endless: true, splits: 16, ..count_to(0) };
    let started = Builder::new()
        .spout("in", 1, endless)
        .bolt("modulo", 1, modulo(|_| Ok(())), &[shuffle("in")])
        .bolt("count", 1, count(), &[("modulo", Grouping::Fields(vec![0]))])
        .sink("out", 1, sink, &[shuffle("count")])
        .with(|topology| topology.memory = 1 << 16)
        .start();
    let rebalances = if std::env::var_os("WATERSPOUT_LONG").is_some() { 1_000 } else { 100 };
    for round in 0..rebalances {
        let before = started.running.status().components[0].emitted;
        started.until("numbers flow", |running| running.status().components[0].emitted > before);
        // One component or several at once are scaled up and down.
        let ids = ["in", "modulo", "count", "out"];
        let chosen =
            ids.iter().enumerate().filter(|(at, _)| (round + 1) >> at & 1 == 1 || round % 4 == *at);
        let tasks = |at: usize| NonZeroU16::new(((round * 5 + at * 3) % 8 + 1) as u16).unwrap();
        let hints = chosen.map(|(at, id)| ((*id).to_owned(), tasks(at))).collect();
        started.running.rebalance(hints).unwrap();
    }
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    for (rest, counts) in counts(&collected.visible()) {
        assert!(counts == (1..=counts.len() as i64).collect::<Vec<_>>(), "of {rest}");
    }
}

//! Tests that each tuple arrives where it should, once, for any batches, tasks and groupings.

use std::collections::{BTreeMap, BTreeSet};

use super::components::{count_to, does, forward, stream};
use super::*;
use crate::value::Value;

#[test]
fn every_tuple_arrives_once() {
    let (sink, collected) = collector();
    let exit = Builder::new()
        .spout("in", 2, count_to(10_000))
        .sink("out", 1, sink, &[shuffle("in")])
        .run();
    assert_eq!(exit, Exit::Finished);
    assert_eq!(numbers(&collected), (0..10_000).collect::<Vec<_>>());
    assert!(
        collected.finished.load(std::sync::atomic::Ordering::Relaxed),
        "the last barrier closes everything"
    );
}

#[test]
fn results_do_not_depend_on_batches_tasks_or_threads() {
    for (hint, batch, blocks) in [(1, 1, false), (2, 1, true), (3, 1024, false), (5, 7, true)] {
        let (mut sink, collected) = collector();
        sink.blocks = blocks;
        let mut bolt = forward();
        bolt.blocks = blocks;
        let exit = Builder::new()
            .spout("in", hint, count_to(5_000))
            .last(|spec| spec.batch = batch)
            .bolt("mid", hint, bolt, &[("in", Grouping::Fields(vec![0]))])
            .last(|spec| spec.batch = batch)
            .sink("out", hint, sink, &[("mid", Grouping::LocalOrShuffle)])
            .run();
        assert_eq!(exit, Exit::Finished);
        assert_eq!(
            numbers(&collected),
            (0..5_000).collect::<Vec<_>>(),
            "hint {hint}, batch {batch}, blocks {blocks}"
        );
    }
}

#[test]
fn a_diamond_of_streams_keeps_its_barriers_aligned() {
    let (sink, collected) = collector();
    let split = does(|_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        out.emit_to(stream(usize::from(number % 2 == 1)), [Value::Int(number), Value::Null]);
        Ok(())
    })
    .with_stream("odd", &["n", "none"]);
    let exit = Builder::new()
        .spout("in", 2, count_to(3_000))
        .bolt("split", 2, split, &[shuffle("in")])
        .bolt("even", 2, forward(), &[shuffle("split")])
        .bolt("odd", 1, forward(), &[shuffle("split:odd")])
        .sink("out", 2, sink, &[shuffle("even"), shuffle("odd"), shuffle("in")])
        .run();
    assert_eq!(exit, Exit::Finished);
    let twice: Vec<_> = (0..3_000).flat_map(|number| [number, number]).collect();
    assert_eq!(numbers(&collected), twice);
}

/// Returns the tasks of "mid" that got each number.
fn tasks_of(grouping: Grouping, hint: u16, count: i64) -> BTreeMap<i64, BTreeSet<i64>> {
    let (sink, collected) = collector();
    let exit = Builder::new()
        .spout("in", 1, count_to(count))
        .bolt("mid", hint, forward(), &[("in", grouping)])
        .sink("out", 1, sink, &[shuffle("mid")])
        .run();
    assert_eq!(exit, Exit::Finished);
    let mut tasks = BTreeMap::<i64, BTreeSet<i64>>::new();
    for tuple in collected.visible() {
        tasks.entry(tuple[1].as_int().unwrap()).or_default().insert(tuple[0].as_int().unwrap());
    }
    tasks
}

#[test]
fn shuffle_is_even_and_all_is_everywhere_and_global_is_the_first() {
    let even: Vec<_> =
        tasks_of(Grouping::Shuffle, 4, 4_000).into_values().map(|numbers| numbers.len()).collect();
    assert_eq!(even, [1_000; 4]);
    let all: Vec<_> =
        tasks_of(Grouping::All, 3, 500).into_values().map(|numbers| numbers.len()).collect();
    assert_eq!(all, [500; 3]);
    assert_eq!(tasks_of(Grouping::Global, 3, 500).into_keys().collect::<Vec<_>>(), [0]);
}

#[test]
fn a_key_has_one_task_and_a_partial_key_at_most_two() {
    let owned: usize =
        tasks_of(Grouping::Fields(vec![0]), 3, 999).values().map(BTreeSet::len).sum();
    assert_eq!(owned, 999, "no number is at two tasks");
    let partial = tasks_of(Grouping::PartialKey(vec![0]), 4, 2_000);
    assert!(
        partial.values().all(|numbers| (450..550).contains(&numbers.len())),
        "the less loaded of two is nearly even"
    );
}

#[test]
fn direct_goes_where_the_emitter_says_and_nowhere_else() {
    let (sink, collected) = collector();
    let direct = does(|_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        out.emit_direct(stream(0), usize::from(number % 3 == 0), [Value::Int(number), Value::Null]);
        Ok(())
    });
    let exit = Builder::new()
        .spout("in", 1, count_to(300))
        .bolt("choose", 1, direct, &[shuffle("in")])
        .bolt("mid", 2, forward(), &[("choose", Grouping::Direct)])
        .sink("out", 1, sink, &[shuffle("mid")])
        .run();
    assert_eq!(exit, Exit::Finished);
    assert_eq!(numbers(&collected), (0..300).collect::<Vec<_>>());
    assert!(
        collected
            .visible()
            .iter()
            .all(|tuple| (tuple[1] == Value::Int(1)) == (tuple[0].as_int().unwrap() % 3 == 0))
    );
}

#[test]
fn an_endless_source_drains_when_it_is_stopped() {
    let (sink, collected) = collector();
    let mut endless = count_to(0);
    endless.endless = true;
    let started =
        Builder::new().spout("in", 1, endless).sink("out", 2, sink, &[shuffle("in")]).start();
    started.until("a complete checkpoint", |running| running.status().epoch >= 3);
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    let emitted = started.running.status().components[0].emitted as usize;
    assert_eq!(collected.visible().len(), emitted, "everything that was emitted is visible");
}

#[test]
fn a_stalled_sink_stops_the_source_at_the_bounds_of_the_edge() {
    let (mut sink, collected) = collector();
    let gate = components::Gate::default();
    (sink.gate, sink.blocks) = (Some(gate.clone()), true);
    let mut endless = count_to(0);
    (endless.endless, endless.splits, endless.chunk) = (true, 1, 1);
    let started = Builder::new()
        .spout("in", 1, endless)
        .last(|spec| spec.batch = 10)
        .sink("out", 1, sink, &[shuffle("in")])
        .with(|topology| topology.checkpoint = Checkpoint::Every(Duration::from_secs(3600)))
        .start();
    started.until("the source is blocked", |running| {
        running.status().components[0].state == "blocked"
    });
    // The channel is full, one batch found no room, and one may be at the sink.
    let edge = crate::topology::Plan::of(&Builder::new().0).edge_batches as u64;
    let emitted = started.running.status().components[0].emitted;
    assert!([10 * (edge + 1), 10 * (edge + 2)].contains(&emitted), "{emitted}");
    gate.open();
    started.running.stop();
    assert_eq!(started.end(), Exit::Finished);
    assert_eq!(collected.visible().len() as u64, started.running.status().components[0].emitted);
}

//! Tests of errors, panics and hangs of components.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::components::{Gate, Scripted, count_to, does, forward};
use super::*;
use crate::clock::ManualClock;
use crate::dead_letter::LetterLimits;
use crate::error::{Error, Result};
use crate::flow::SpoutOutput;
use crate::spout::Spout;
use crate::topology::AfterRetries;
use crate::units::ByteSize;
use crate::value::Value;

fn with_bolt(bolt: components::Does, on_error: OnError) -> (Exit, Vec<i64>, u64, u64) {
    let (sink, collected) = collector();
    let started = Builder::new()
        .spout("in", 1, count_to(100))
        .bolt("mid", 1, bolt, &[shuffle("in")])
        .last(|spec| spec.on_error = on_error)
        .sink("out", 1, sink, &[shuffle("mid")])
        .start();
    let exit = started.end();
    let mid = &started.running.status().components[1];
    (exit, numbers(&collected), mid.failed, mid.dead_letters)
}

#[test]
fn a_transient_error_is_retried_and_leaves_nothing_behind() {
    let attempts = AtomicUsize::new(0);
    let flaky = does(move |_, tuple, out| {
        out.emit([tuple.value(0).clone(), Value::Null]);
        let fails =
            tuple.value(0) == &Value::Int(50) && attempts.fetch_add(1, Ordering::Relaxed) < 2;
        if fails { Err(Error::transient("not yet")) } else { Ok(()) }
    });
    let (exit, numbers, failed, dead) = with_bolt(flaky, OnError::default());
    assert_eq!((exit, failed, dead), (Exit::Finished, 2, 0));
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn what_is_refused_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let picky = does(|_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        out.emit([Value::Int(number), Value::Null]);
        if number % 10 == 3 { Err(Error::rejected("ends in three")) } else { Ok(()) }
    });
    let (exit, numbers, failed, dead) = with_bolt(picky, OnError::default());
    assert_eq!((exit, failed, dead), (Exit::Finished, 10, 10));
    assert_eq!(numbers, (0..100).filter(|number| number % 10 != 3).collect::<Vec<_>>());
}

#[test]
fn dead_letters_of_a_bolt_that_come_too_fast_are_counted_and_not_kept() {
    let (sink, collected) = collector();
    let topology = Builder::new()
        .spout("in", 1, count_to(100))
        .bolt("mid", 1, does(|_, _, _| Err(Error::rejected("no"))), &[shuffle("in")])
        .sink("out", 1, sink, &[shuffle("mid")])
        .0;
    let state = tempfile::tempdir().unwrap();
    let mut options = RunOptions::new(Arc::new(MemoryStore::default()), state.path());
    options.letters = LetterLimits { per_s: ByteSize(1), at_once: ByteSize(1_000) };
    let running = start(topology, options).unwrap();
    assert_eq!(running.wait(PATIENCE), Some(Exit::Finished));
    let mid = &running.status().components[1];
    // A letter has about 150 bytes.
    let kept = mid.dead_letters - mid.letters_dropped;
    assert_eq!((mid.failed, mid.dead_letters), (100, 100));
    assert!((1..=20).contains(&kept), "{kept}");
    assert!(numbers(&collected).is_empty());
    let said = running.messages(0);
    let begins = |what: &str| said.iter().any(|said| said.text.starts_with(what));
    assert!(
        begins("mid: dead letters come faster than can be kept (1B a second, 1KB at once)"),
        "{said:?}"
    );
    assert!(
        begins(&format!("mid: {} dead letters were counted and not kept", 100 - kept)),
        "{said:?}"
    );
    let text = files_below(&state.path().join("_dead"));
    assert_eq!(text.matches("\"component\":\"mid\"").count() as u64, kept, "{text}");
}

/// Returns the content of all files below a folder.
fn files_below(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        text += &if path.is_dir() {
            files_below(&path)
        } else {
            std::fs::read_to_string(path).unwrap_or_default()
        };
    }
    text
}

#[test]
fn an_error_stops_the_topology_where_on_error_says_so() {
    let failing = || does(|_, _, _| Err(Error::transient("no server")));
    for on_error in [OnError::Stop, OnError::Retry { times: 1, then: AfterRetries::Stop }] {
        let (exit, numbers, ..) = with_bolt(failing(), on_error);
        assert_eq!(exit, Exit::Failed("mid[0] failed: no server".into()));
        assert!(numbers.is_empty());
    }
}

#[test]
fn panics_over_more_tuples_than_it_may_restart_for_stop_the_topology_with_the_cause() {
    let (exit, ..) = with_bolt(does(|_, _, _| panic!("poison")), OnError::DeadLetter);
    assert_eq!(exit, Exit::Failed("mid[0] panicked: poison, after 5 restarts within 10m".into()));
    let mut blocking = does(|_, _, _| panic!("poison in a thread"));
    blocking.blocks = true;
    let (exit, ..) = with_bolt(blocking, OnError::Stop);
    assert_eq!(
        exit,
        Exit::Failed("mid[0] panicked: poison in a thread, once on the same tuple".into())
    );
}

#[test]
fn a_bolt_that_emits_what_it_has_not_declared_is_named() {
    let wrong = does(|_, _, out| {
        out.emit([Value::Null]);
        Ok(())
    });
    let (exit, ..) = with_bolt(wrong, OnError::default());
    assert_eq!(
        exit,
        Exit::Failed(
            "mid[0] failed: it emitted 1 values on stream number 0, which declares 2".into()
        )
    );
}

struct Source(fn() -> Result<()>);

#[async_trait(?Send)]
impl Spout for Source {
    async fn run(&mut self, _out: &mut SpoutOutput) -> Result<()> {
        (self.0)()
    }
}

#[test]
fn a_source_that_fails_or_panics_stops_the_topology_with_its_cause() {
    fn with_source(source: fn() -> Result<()>) -> Exit {
        let (sink, _) = collector();
        Builder::new()
            .spout("in", 1, Scripted(move || Source(source)))
            .sink("out", 1, sink, &[shuffle("in")])
            .run()
    }
    assert_eq!(
        with_source(|| Err(Error::fatal("no such host"))),
        Exit::Failed("in[0] failed: no such host".into())
    );
    assert_eq!(
        with_source(|| panic!("source")),
        Exit::Failed("in[0] panicked: source, after 5 restarts within 10m".into())
    );
    assert_eq!(with_source(|| Ok(())), Exit::Finished);
}

#[test]
fn a_task_that_hangs_is_named_when_the_drain_is_given_up() {
    let gate = Gate::default();
    let (inside, waiting) = (gate.clone(), std::sync::Arc::new(AtomicUsize::new(0)));
    let reached = std::sync::Arc::clone(&waiting);
    let mut hanging = does(move |_, _, _| {
        reached.store(1, Ordering::Release);
        inside.pass();
        Ok(())
    });
    hanging.blocks = true;
    let (sink, _) = collector();
    let state = tempfile::tempdir().unwrap();
    let topology = Builder::new()
        .spout("in", 1, count_to(10))
        .bolt("stuck", 1, hanging, &[shuffle("in")])
        .bolt("mid", 1, forward(), &[shuffle("stuck")])
        .sink("out", 1, sink, &[shuffle("mid")]);
    let mut options = RunOptions::new(std::sync::Arc::new(MemoryStore::default()), state.path());
    options.drain_deadline = Duration::from_millis(1);
    let running = start(topology.0, options).unwrap();
    let started = Started { running, _state: state };
    started.until("the bolt hangs", |_| waiting.load(Ordering::Acquire) == 1);
    started.running.stop();
    let Exit::NotClean(why) = started.end() else { panic!("a hanging task can't be drained") };
    assert!(why.starts_with("stuck[0], mid[0], out[0]") || why.contains("in[0]"), "{why}");
    gate.open();
}

#[test]
fn a_task_that_does_not_return_is_named_by_the_watchdog() {
    let (gate, clock) = (Gate::default(), ManualClock::at(time::OffsetDateTime::UNIX_EPOCH));
    let (inside, waiting) = (gate.clone(), std::sync::Arc::new(AtomicUsize::new(0)));
    let reached = std::sync::Arc::clone(&waiting);
    let hanging = does(move |_, _, _| {
        reached.store(1, Ordering::Release);
        inside.pass();
        Ok(())
    });
    let (sink, _) = collector();
    let state = tempfile::tempdir().unwrap();
    let topology = Builder::new()
        .spout("in", 1, count_to(1))
        .bolt("stuck", 1, hanging, &[shuffle("in")])
        .sink("out", 1, sink, &[shuffle("stuck")]);
    let mut options = RunOptions::new(std::sync::Arc::new(MemoryStore::default()), state.path());
    options.clock = clock.clone();
    let started = Started { running: start(topology.0, options).unwrap(), _state: state };
    started.until("the bolt hangs", |_| waiting.load(Ordering::Acquire) == 1);
    clock.advance(std::time::Duration::from_secs(10));
    assert!(started.running.status().hangs.is_empty(), "ten seconds are still no reason");
    clock.advance(std::time::Duration::from_secs(3));
    assert_eq!(started.running.status().hangs, ["stuck[0] for 12 s"]);
    gate.open();
    started.until("it goes on", |running| running.status().hangs.is_empty());
}

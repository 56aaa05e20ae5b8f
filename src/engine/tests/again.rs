//! Tests of sending dead letters again: each once, to the input that refused it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::components::{Collect, Does, Scripted, collect, count_to, does};
use super::{Builder, Exit, MemoryStore, PATIENCE, RunOptions, numbers, shuffle};
use crate::bolt::{Bolt, BoltConfig, BoltContext};
use crate::checkpoint::{Changes, StateStore};
use crate::component::Problem;
use crate::dead_letter::DeadLetter;
use crate::engine::{Again, send_dead_letters, start};
use crate::epoch::Cursor;
use crate::error::{Error, Result};
use crate::flow::{Grouping, Output, SpoutOutput};
use crate::post::Post;
use crate::spout::{Spout, SpoutConfig, SpoutContext};
use crate::topology::{Checkpoint, Topology};
use crate::tuple::{Fields, Streams, Tuple};
use crate::value::Value;

/// The store and the folders that outlive each run.
struct Home {
    store: Arc<MemoryStore>,
    state: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { store: Arc::default(), state: tempfile::tempdir().unwrap() }
    }

    fn options(&self) -> RunOptions {
        RunOptions::new(Arc::<MemoryStore>::clone(&self.store), self.state.path())
    }

    /// Runs a topology in the ordinary way.
    fn run(&self, topology: Builder) -> Exit {
        start(topology.0, self.options()).unwrap().wait(PATIENCE).unwrap()
    }

    /// Sends dead letters again. Returns the exit, the letters found, and the number sent.
    fn again(&self, topology: Builder) -> (Exit, Again) {
        let again = send_dead_letters(topology.0, self.options()).unwrap();
        (again.running.wait(PATIENCE).unwrap(), again)
    }

    fn letters(&self) -> usize {
        letters(self.state.path()).lines().count()
    }
}

fn letters(state: &Path) -> String {
    let mut letters = Vec::new();
    if state.join("_dead").is_dir() {
        crate::lake::replay(&state.join("_dead").display().to_string(), &mut letters).unwrap();
    }
    String::from_utf8(letters).unwrap()
}

/// Returns a bolt that refuses numbers for which the function returns true, and passes the others
/// on.
fn refusing(refuses: impl Fn(i64) -> bool + Send + Sync + 'static) -> Does {
    does(move |_, tuple, out| {
        let number = tuple.value(0).as_int().unwrap();
        out.emit([Value::Int(number), Value::Int(tuple.input as i64)]);
        if refuses(number) { Err(Error::rejected("not this one")) } else { Ok(()) }
    })
}

/// Returns two sources, a bolt that tells them apart, and a sink.
fn pair(bolt: Does, sink: &Collect) -> Builder {
    pair_to(100, bolt, sink)
}

fn pair_to(last: i64, bolt: Does, sink: &Collect) -> Builder {
    Builder::new()
        .spout("left", 2, count_to(last))
        .spout("right", 1, count_to(last))
        .bolt("mid", 2, bolt, &[shuffle("left"), ("right", Grouping::Fields(vec![0]))])
        .sink("out", 2, sink.clone(), &[shuffle("mid")])
}

/// Returns the numbers collected from each input, sorted.
fn by_input(visible: &[Vec<Value>], input: i64) -> Vec<i64> {
    let of = visible.iter().filter(|tuple| tuple[1] == Value::Int(input));
    let mut numbers: Vec<_> = of.map(|tuple| tuple[0].as_int().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn each_letter_comes_once_by_the_input_that_it_came_by_and_never_again() {
    let (home, (sink, collected)) = (Home::new(), collect());
    assert_eq!(home.run(pair(refusing(|number| number % 10 == 3), &sink)), Exit::Finished);
    let finished = home.store.saved().unwrap().finished;
    assert!(finished.is_some());
    assert_eq!((numbers(&collected).len(), home.letters()), (180, 20));

    let (exit, again) = home.again(pair(refusing(|number| number == 53), &sink));
    assert_eq!((exit, again.letters, again.sent(), again.left.len()), (Exit::Finished, 20, 20, 0));
    let expected: Vec<_> = (0..100).filter(|number| *number != 53).collect();
    for input in [0, 1] {
        assert_eq!(by_input(&collected.visible(), input), expected, "of input {input}");
    }
    assert_eq!(home.letters(), 22, "what is refused again is a new letter");
    assert_eq!(home.store.saved().unwrap().finished, finished, "its sources did nothing");

    for letters in [2, 0] {
        let (exit, again) = home.again(pair(refusing(|_| false), &sink));
        assert_eq!((exit, again.letters, again.sent()), (Exit::Finished, letters, letters));
    }
    let all: Vec<_> = (0..100).collect();
    assert_eq!(
        (by_input(&collected.visible(), 0), by_input(&collected.visible(), 1)),
        (all.clone(), all)
    );

    assert_eq!(home.run(pair(refusing(|_| false), &sink)), Exit::Finished);
    assert_eq!(numbers(&collected).len(), 200, "and the sources are still at their ends");
}

#[test]
fn a_failure_and_a_panic_in_the_middle_send_nothing_twice() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let one = |bolt: Does, batch: usize| {
        let small = |topology: &mut Topology| {
            topology.components.iter_mut().for_each(|spec| spec.batch = batch)
        };
        pair_to(1_000, bolt, &sink).with(small)
    };
    assert_eq!(home.run(one(refusing(|_| true), 7)), Exit::Finished);
    assert_eq!((numbers(&collected).len(), home.letters()), (0, 2_000));

    // Each run but the last fails, possibly after some of its work has become part of a checkpoint.
    let mut sent = 0;
    for fails_after in [400, 900, usize::MAX] {
        let (seen, panicked) = (AtomicUsize::new(0), AtomicBool::new(false));
        let bolt = does(move |_, tuple, out| {
            let seen = seen.fetch_add(1, Ordering::Relaxed);
            assert!(seen != 10 || panicked.swap(true, Ordering::Relaxed), "once");
            out.emit([tuple.value(0).clone(), Value::Int(tuple.input as i64)]);
            if seen >= fails_after { Err(Error::fatal("no more")) } else { Ok(()) }
        });
        let (exit, again) = home.again(one(bolt, 1));
        assert_eq!(exit == Exit::Finished, fails_after == usize::MAX, "{exit:?}");
        sent = again.sent();
        assert!(exit != Exit::Finished || again.sent() == again.letters);
    }
    assert!(sent <= 2_000);
    let all: Vec<_> = (0..1_000).collect();
    assert_eq!(
        (by_input(&collected.visible(), 0), by_input(&collected.visible(), 1)),
        (all.clone(), all)
    );
    assert_eq!(home.again(one(refusing(|_| false), 7)).1.letters, 0);
}

#[test]
fn an_unfinished_topology_goes_on_where_it_was() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let fails = refusing(|number| number % 10 == 3);
    let stops = does(|_, tuple, _| match tuple.value(0).as_int() {
        Some(number) if number > 60 => Err(Error::fatal("no more")),
        _ => Ok(()),
    });
    let before = || {
        Builder::new().spout("in", 1, count_to(100)).bolt("mid", 1, fails.clone(), &[shuffle("in")])
    };
    let ends = before().bolt("stop", 1, stops, &[shuffle("mid")]).sink(
        "out",
        1,
        sink.clone(),
        &[shuffle("mid")],
    );
    assert!(matches!(home.run(ends), Exit::Failed(_)));
    assert_eq!(
        home.again(before().sink("out", 1, sink.clone(), &[shuffle("mid")])).0,
        Exit::Finished
    );
    assert_eq!(home.store.saved().unwrap().finished, None, "the sources have more");

    assert_eq!(home.run(before().sink("out", 1, sink.clone(), &[shuffle("mid")])), Exit::Finished);
    let takes = Builder::new().spout("in", 1, count_to(100)).bolt(
        "mid",
        1,
        refusing(|_| false),
        &[shuffle("in")],
    );
    assert_eq!(home.again(takes.sink("out", 1, sink, &[shuffle("mid")])).0, Exit::Finished);
    assert_eq!(numbers(&collected), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_can_not_be_sent_is_named_and_stays() {
    let (home, (sink, _)) = (Home::new(), collect());
    assert_eq!(home.run(pair(refusing(|number| number < 2), &sink)), Exit::Finished);
    assert_eq!(home.letters(), 4);

    let sources = || Builder::new().spout("left", 1, count_to(1)).spout("right", 1, count_to(1));
    let (exit, again) = home.again(sources().sink("out", 1, sink.clone(), &[shuffle("left")]));
    assert_eq!((exit, again.letters, again.sent()), (Exit::Finished, 0, 0));
    assert_eq!(again.left, ["4 dead letters of \"mid\" stay: there is no such component now"]);

    let other = |grouping| {
        sources().bolt("mid", 2, refusing(|_| false), &[("left", grouping)]).sink(
            "out",
            1,
            sink.clone(),
            &[shuffle("mid")],
        )
    };
    let (_, again) = home.again(other(Grouping::All));
    assert!(
        again.left[0].starts_with("2 dead letters of \"mid\" stay: it has no input \"right\""),
        "{:?}",
        again.left
    );
    assert!(
        again.left[1].contains("\"left\" has the grouping All, and a letter doesn't say"),
        "{:?}",
        again.left
    );
    assert_eq!(
        home.again(other(Grouping::Shuffle)).1.sent(),
        2,
        "of those that its input is there for"
    );

    let (exit, again) = home.again(pair(refusing(|_| false), &sink));
    assert_eq!(
        (exit, again.letters, again.sent()),
        (Exit::Finished, 2, 2),
        "the others are sent when they can be"
    );
}

#[test]
fn without_checkpoints_it_is_refused() {
    let (sink, _) = collect();
    let off =
        pair(refusing(|_| false), &sink).with(|topology| topology.checkpoint = Checkpoint::Off);
    let why = send_dead_letters(off.0, Home::new().options()).err().unwrap().chain();
    assert!(why.contains("`checkpoint: Off`"), "{why}");
}

/// Writes letters of the bolt "count" into the lake of dead letters.
fn leave_letters(home: &Home, tuples: &[&str]) {
    let letter = |tuple: &&str| {
        let reason = r#""component":"count","error":"no","time":"""#;
        format!(r#"{{"dead":{{{reason},"from":"in","tuple":{tuple}}}}}"#)
    };
    let letters: Vec<_> = tuples.iter().map(letter).collect();
    let partition =
        home.state.path().join("_dead/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7");
    std::fs::create_dir_all(&partition).unwrap();
    std::fs::write(partition.join("0000000"), format!("[{}]", letters.join(","))).unwrap();
}

#[test]
fn keyed_state_goes_on_counting_and_keeps_its_shape() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let count = || -> crate::bolt::Count {
        crate::registry::ron_options().from_str("Count(fields: [\"n\"])").unwrap()
    };
    let topology = || {
        let by_key = ("in", Grouping::Fields(vec![0]));
        Builder::new().spout("in", 2, count_to(20)).bolt("count", 3, count(), &[by_key]).sink(
            "out",
            1,
            sink.clone(),
            &[shuffle("count")],
        )
    };
    assert_eq!(home.run(topology()), Exit::Finished);
    let components = home.store.saved().unwrap().components;
    leave_letters(&home, &["{\"n\":5}", "{\"n\":6}", "{\"n\":5}", "{\"m\":5}"]);
    let (exit, again) = home.again(topology());
    assert_eq!((exit, again.letters, again.sent()), (Exit::Finished, 3, 3));
    assert!(
        again.left[0].contains("its input \"in\" has the fields \"n\" now, and had \"m\""),
        "{:?}",
        again.left
    );
    assert_eq!(home.store.saved().unwrap().components, components);
    let of = |key: i64| {
        let visible = collected.visible().into_iter().filter(|tuple| tuple[0] == Value::Int(key));
        let mut counts: Vec<_> = visible.map(|tuple| tuple[1].as_int().unwrap()).collect();
        counts.sort_unstable();
        counts
    };
    assert_eq!((of(5), of(6), of(7)), (vec![1, 2, 3], vec![1, 2], vec![1]));
}

#[test]
fn a_letter_that_had_to_stay_is_named_again_and_sent_once_it_can_be() {
    let (home, (sink, collected)) = (Home::new(), collect());
    leave_letters(&home, &["{\"m\":5}", "{\"n\":6}", "{\"m\":7}", "{\"n\":8}"]);
    let topology = |field: &str| {
        let bolt = refusing(|_| false);
        let mut topology = Builder::new()
            .spout("in", 1, count_to(0))
            .bolt("count", 1, bolt, &[shuffle("in")])
            .sink("out", 1, sink.clone(), &[shuffle("count")]);
        topology.0.components[0].streams = Streams::default_with(Fields::new([field]));
        topology
    };
    for letters in [2, 0] {
        let (exit, again) = home.again(topology("n"));
        assert_eq!((exit, again.letters, again.left.len()), (Exit::Finished, letters, 1));
        assert!(again.left[0].starts_with("2 dead letters"), "{:?}", again.left);
    }
    let (_, again) = home.again(topology("m"));
    assert_eq!((again.letters, again.left.len()), (2, 0));
    assert_eq!(numbers(&collected), [5, 6, 7, 8]);
}

#[test]
fn it_goes_on_behind_the_cursor_of_an_earlier_run() {
    let (home, (sink, collected)) = (Home::new(), collect());
    leave_letters(&home, &["{\"n\":5}", "{\"n\":6}", "{\"n\":7}"]);
    let split = "_dead/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/count/in";
    let mut changes =
        Changes::none(1, time::OffsetDateTime::UNIX_EPOCH, time::OffsetDateTime::UNIX_EPOCH);
    changes.cursors.insert(("_again".into(), split.into()), Cursor::At("0000000:2:2".into()));
    home.store.save(&changes).unwrap();
    let topology = Builder::new().spout("in", 1, count_to(20)).bolt(
        "count",
        1,
        refusing(|_| false),
        &[shuffle("in")],
    );
    let (exit, again) = home.again(topology.sink("out", 1, sink, &[shuffle("count")]));
    assert_eq!((exit, again.letters, again.sent()), (Exit::Finished, 1, 1));
    assert_eq!(numbers(&collected), [7]);
}

/// A bolt that counts its tuples, and emits the count when its input has ended.
struct Holds;

impl BoltConfig for Holds {
    fn streams(&self, _inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(Fields::new(["n"])))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Held(0)))
    }
}

struct Held(i64);

impl Bolt for Held {
    fn execute(&mut self, _tuple: Tuple<'_>, _out: &mut Output) -> Result<()> {
        self.0 += 1;
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<()> {
        out.emit([Value::Int(self.0)]);
        Ok(())
    }
}

#[test]
fn what_bolts_hold_back_is_given_out_only_after_the_end_of_the_sources() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let topology = || {
        let bolts =
            Builder::new().spout("in", 1, count_to(20)).bolt("count", 1, Holds, &[shuffle("in")]);
        bolts.sink("out", 1, sink.clone(), &[shuffle("count")])
    };
    leave_letters(&home, &["{\"n\":5}", "{\"n\":6}"]);
    assert_eq!(home.again(topology()).0, Exit::Finished);
    assert_eq!(numbers(&collected), Vec::<i64>::new());
    assert_eq!(home.run(topology()), Exit::Finished);
    assert_eq!(numbers(&collected), [20], "this one keeps no state from one run to the next");
    assert_eq!(home.again(topology()).0, Exit::Finished);
    assert_eq!(numbers(&collected), [0, 20]);
}

/// A source of all kinds of values. A sink refuses every tuple the first time.
struct Odd;

fn odd_values() -> Vec<Vec<Value>> {
    let post = Value::Post(Post::trusted("{\"note\":{\"n\":1.50}}".into()));
    let list = Value::List(
        [Value::Float(2.0), Value::Int(2), post.clone(), Value::Json("{\"note\":1}".into())].into(),
    );
    let json =
        ["1", "\"x\"", "null", "[1,\n2]", "{\"a\":1,\"b\":2}"].map(|text| Value::Json(text.into()));
    let floats = [f64::NAN, f64::INFINITY, -0.0, 1e300].map(Value::Float);
    let plain = [
        Value::Null,
        Value::Bool(true),
        Value::Int(i64::MIN),
        Value::from("\u{2028}\n\"}"),
        post,
        list,
    ];
    plain.into_iter().chain(json).chain(floats).map(|value| vec![value]).collect()
}

#[async_trait(?Send)]
impl Spout for Odd {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        if out.splits()[0].cursor == Cursor::Start {
            odd_values().into_iter().for_each(|values| out.push(values));
            out.emit(0, Cursor::At("all".into())).await?;
        }
        Ok(())
    }
}

#[test]
fn values_of_all_types_arrive_as_they_were() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let passes =
        |refuses: bool| {
            let bolt = does(move |_, tuple, out| {
                out.emit([tuple.value(0).clone(), Value::Null]);
                if refuses { Err(Error::rejected("no")) } else { Ok(()) }
            });
            Builder::new()
                .spout("in", 1, Scripted(|| Odd))
                .bolt("mid", 1, bolt, &[shuffle("in")])
                .sink("out", 1, sink.clone(), &[shuffle("mid")])
        };
    assert_eq!(home.run(passes(true)), Exit::Finished);
    assert_eq!(home.again(passes(false)).0, Exit::Finished);
    let arrived: Vec<_> =
        collected.visible().into_iter().map(|tuple| vec![tuple[0].clone()]).collect();
    assert_eq!(arrived, odd_values());
}

/// A source that refuses raw numbers from a bound on. Raising the bound stands for a corrected
/// source.
#[derive(Clone)]
struct RawNumbers {
    below: i64,
}

impl SpoutConfig for RawNumbers {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["n"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["only".into()])
    }

    fn reread(&self, raw: &Bytes) -> Option<Result<Vec<Value>, String>> {
        let number: i64 = std::str::from_utf8(raw).unwrap().parse().unwrap();
        Some(if number < self.below {
            Ok(vec![Value::Int(number)])
        } else {
            Err(format!("{number} is too large"))
        })
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for RawNumbers {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        if out.splits()[0].cursor != Cursor::Start {
            return Ok(());
        }
        for number in 0..30 {
            let raw = Bytes::from(number.to_string());
            match self.reread(&raw) {
                Some(Ok(values)) => out.push(values),
                _ => out.push_dead_letter(&DeadLetter {
                    raw,
                    error: format!("in:{number}: no"),
                    cut: number == 29,
                }),
            }
        }
        out.emit(0, Cursor::At("all".into())).await
    }
}

#[test]
fn a_spout_reads_its_own_letters_again() {
    let (home, (sink, collected)) = (Home::new(), collect());
    let topology = |below| {
        Builder::new().spout("in", 1, RawNumbers { below }).sink(
            "out",
            1,
            sink.clone(),
            &[shuffle("in")],
        )
    };
    assert_eq!(home.run(topology(10)), Exit::Finished);
    assert_eq!(home.letters(), 20);
    let (exit, again) = home.again(topology(20));
    assert_eq!((exit, again.letters, again.sent()), (Exit::Finished, 19, 19));
    assert_eq!(again.left, ["1 dead letter of \"in\" stays: only the beginning of it was kept"]);
    assert_eq!(numbers(&collected), (0..20).collect::<Vec<_>>());
    assert_eq!(home.letters(), 29);
    assert!(
        letters(home.state.path())
            .contains("\"error\":\"20 is too large; refused before: in:20: no\"")
    );

    let (_, again) = home.again(topology(25));
    assert_eq!((again.letters, again.sent()), (9, 9));
    let (_, again) = home.again(topology(99));
    assert_eq!((again.letters, again.sent()), (4, 4));
    assert_eq!(numbers(&collected), (0..29).collect::<Vec<_>>());
    assert!(
        letters(home.state.path())
            .contains("\"error\":\"25 is too large; refused before: in:25: no\"")
    );
}

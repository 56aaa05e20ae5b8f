//! kill -9 at every point of the protocol where something is written, synced, renamed, saved or
//! told, and at random; then the same command again, until the input is done. What the lake holds
//! then is compared with the input by code that knows neither the engine nor the lake's own reader.
//!
//! `WATERSPOUT_LONG=1` makes ten times as many; `WATERSPOUT_SEED=n` begins with that seed.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "kills/rows.rs"]
mod rows;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::once::Run;
use support::random::Random;
use support::{Sandbox, lake_by_partition, repository};

/// The names of all fail points, as the sources have them.
fn points() -> BTreeSet<String> {
    let mut folders = vec![repository("src")];
    let mut points = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.to_str().unwrap().to_owned());
            } else if let Ok(text) = fs::read_to_string(&path) {
                for (_, rest) in text
                    .match_indices("point(\"")
                    .map(|(at, found)| (at, &text[at + found.len()..]))
                {
                    points.extend(rest.split('"').next().map(str::to_owned));
                }
            }
        }
    }
    points
}

fn long() -> bool {
    std::env::var_os("WATERSPOUT_LONG").is_some()
}

fn seed() -> u64 {
    std::env::var("WATERSPOUT_SEED")
        .map_or(1, |seed| seed.parse().expect("WATERSPOUT_SEED is a number"))
}

/// Points that this topology passes only on the way back, and so not in its first run.
fn in_recovery(point: &str) -> bool {
    point.starts_with("recover.")
}

/// Points of the spool, of the lake's tools, of uploads, of packed files and of sinks of rows, which
/// have tests of their own.
fn elsewhere(point: &str) -> bool {
    let others = [
        "spool.",
        "tools.",
        "s3.",
        "encode.",
        "outbox.",
        "refused.",
        "pg.",
        "redshift.",
        "webhook.",
    ];
    others.iter().any(|others| point.starts_with(others))
}

#[test]
fn a_kill_at_any_point_of_the_protocol_loses_nothing_and_repeats_nothing() {
    let points: Vec<_> = points().into_iter().filter(|point| !elsewhere(point)).collect();
    let mut never: BTreeSet<_> = points.iter().cloned().collect();
    let times: &[u64] = if long() { &[0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89] } else { &[0, 2, 13] };
    let mut kills = 0;
    for point in &points {
        for after in times {
            let mut run = Run::new();
            let done = if in_recovery(point) {
                // Something has to be left to recover.
                run.run("lake.write", 6 + after) || run.run(point, *after)
            } else {
                // Once more at the same place, while it recovers.
                run.run(point, *after) || run.run(point, after / 2)
            };
            if !done || run.kills > 0 {
                never.remove(point);
            }
            if !done {
                run.finish();
            }
            run.check();
            kills += run.kills;
        }
    }
    assert!(never.is_empty(), "never passed: {never:?}");
    println!("{kills} kills at {} points", points.len());
}

#[test]
fn random_kills_lose_nothing_and_repeat_nothing() {
    let points: Vec<_> = points().into_iter().filter(|point| !elsewhere(point)).collect();
    let wanted = if long() { 1_500 } else { 130 };
    let (mut kills, mut seed) = (0, seed());
    while kills < wanted {
        let mut random = Random(seed);
        let mut run = Run::new();
        run.story.push(format!("WATERSPOUT_SEED={seed}"));
        let mut done = false;
        for _ in 0..12 {
            let point = &points[random.below(points.len() as u64) as usize];
            let after = random.below(40);
            done = run.run(point, after);
            if done {
                break;
            }
        }
        if !done {
            run.finish();
        }
        run.check();
        kills += run.kills;
        seed += 1;
    }
    println!("{kills} kills");
}

/// The compression of files, besides plain arrays.
const PACKED: [&str; 2] =
    [", format: Ndjson, compression: Zstd", ", compression: Gzip, names: Basic"];

/// How often a point is aimed at that is passed only after some crashes.
const TRIES_MAX: u64 = 20;

#[test]
fn a_kill_around_the_packing_of_a_file_loses_nothing_and_repeats_nothing() {
    let around = ["encode.", "recover.", "state.", "disk.rename"];
    let points: Vec<_> = points()
        .into_iter()
        .filter(|point| around.iter().any(|part| point.starts_with(part)))
        .collect();
    let mut never: BTreeSet<_> =
        points.iter().filter(|point| point.starts_with("encode.")).cloned().collect();
    let times: &[u64] = if long() { &[0, 1, 2, 3, 5, 8, 13, 21, 34] } else { &[1] };
    let mut kills = 0;
    for (number, point) in points.iter().enumerate() {
        for after in times {
            // Which file is promised as open when it is packed is a matter of luck, and few are.
            for luck in 0..TRIES_MAX {
                let mut run = Run::with(PACKED[number % PACKED.len()]);
                let mut done = run.run("encode.deleted", luck + after);
                for nth in [0, *after] {
                    let before = run.kills;
                    done = done || run.run(point, nth);
                    if run.kills > before {
                        never.remove(point);
                    }
                }
                // What a recovery has published is still promised as open.
                if !done && !run.run("state.commit", 1) {
                    run.finish();
                }
                run.check();
                kills += run.kills;
                if !never.contains(point) {
                    break;
                }
            }
        }
    }
    assert!(never.is_empty(), "never passed: {never:?}");
    println!("{kills} kills at {} points", points.len());
}

#[test]
fn a_state_that_another_process_uses_is_refused_and_names_its_pid() {
    let sandbox = Sandbox::new();
    sandbox.write("t.ron", "Topology(name: \"a\", spouts: {\"in\": Spout(run: Generate(rate: 10))}, bolts: {\"out\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])})");
    let mut first = sandbox.start(&["run", "t.ron", "--state", "state", "--interval", "50ms"]);
    first.wait_for("it runs", |report| report["phase"] == "running");
    let pid = first.id().to_string();
    sandbox
        .run(&["run", "t.ron", "--state", "state"])
        .with(1)
        .says(&["is in use by process", &pid]);
    first.terminate();
    first.end().with(0);
}

/// A topology that reads standard input, and captures at once.
fn from_standard_input() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "t.ron",
        r#"Topology(
            name: "stdin",
            spouts: {"in": Spout(run: Lines(paths: ["-"], spool: (bytes_max: "1MiB")))},
            bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])},
            checkpoint: Checkpoint(every: "2ms"),
            micro_batch: MicroBatch(posts: 100),
        )"#,
    );
    sandbox
}

fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("{{\"tweet\":{{\"id\":\"0-{number:06}\"}}}}\n")).collect()
}

fn captured(sandbox: &Sandbox) -> String {
    let posts: BTreeMap<_, _> = lake_by_partition(&sandbox.path("lake"), &[]);
    let mut posts: Vec<_> = posts.into_values().flatten().map(|post| post + "\n").collect();
    posts.sort();
    posts.concat()
}

#[test]
fn what_was_read_from_standard_input_survives_a_kill_and_the_next_input_comes_behind_it() {
    let sandbox = from_standard_input();
    let arguments = ["run", "t.ron", "--state", "state", "--interval", "50ms"];
    let mut running = sandbox.start(&arguments);
    running.feed(&numbered(0..5_000));
    running.wait_for("all are read", |report| support::total(report, "in", "emitted") == 5_000);
    running.kill();
    assert_eq!(running.end().code, None);
    sandbox.run_with_input(&arguments, numbered(5_000..6_000).as_bytes()).with(0);
    assert!(captured(&sandbox) == numbered(0..6_000));
    // Another start has another input: it isn't said to have finished.
    sandbox.run_with_input(&arguments, numbered(6_000..6_001).as_bytes()).with(0);
    assert!(captured(&sandbox) == numbered(0..6_001));
    sandbox.run(&["spool", "verify", "state"]).with(0);
}

#[test]
fn a_spool_that_lost_what_the_checkpoint_covers_is_told_and_in_the_gap_ledger() {
    for (is_deleted, says) in
        [(true, "is gone, or empty"), (false, "before the newest checkpoint: it was cut")]
    {
        let sandbox = from_standard_input();
        let arguments = ["run", "t.ron", "--state", "state"];
        sandbox.run_with_input(&arguments, numbered(0..500).as_bytes()).with(0);
        let spool = sandbox.path("state/spool/in-stdin");
        if is_deleted {
            fs::remove_dir_all(spool).unwrap();
        } else {
            let segment = segments(&spool).pop().unwrap();
            let bytes = segment.metadata().unwrap().len();
            fs::OpenOptions::new().write(true).open(segment).unwrap().set_len(bytes / 2).unwrap();
        }
        let run = sandbox.run_with_input(&arguments, numbered(500..510).as_bytes()).with(0);
        run.says(&[
            says,
            "posts may be missing, see `waterspout gaps`",
            "1 gap in what was captured",
        ]);
        let gaps = sandbox.run(&["gaps", "t.ron", "--state", "state"]).with(4);
        assert!(gaps.out.contains("standard input") && gaps.out.contains(says), "{}", gaps.out);
        assert!(captured(&sandbox) == numbered(0..510));
        // It is told once.
        sandbox.run_with_input(&arguments, b"").with(0);
        assert_eq!(sandbox.run(&["gaps", "t.ron", "--state", "state"]).with(4).out, gaps.out);
    }
}

#[test]
fn a_kill_at_any_point_of_the_spool_leaves_a_prefix_of_the_input_and_each_post_once() {
    let input = numbered(0..100_000);
    let mut never: BTreeSet<_> =
        points().into_iter().filter(|point| point.starts_with("spool.")).collect();
    for point in never.clone() {
        for after in [0, 1, 7] {
            let sandbox = from_standard_input();
            let arguments = ["run", "t.ron", "--state", "state"];
            if point == "spool.cut" {
                // There is something to cut off.
                sandbox.run_with_faults(
                    &arguments,
                    "spool.written=3*off->return",
                    input.as_bytes(),
                );
                tear(&sandbox.path("state/spool/in-stdin"));
            }
            let faults = format!("{point}={after}*off->return");
            let killed =
                sandbox.run_with_faults(&arguments, &faults, input.as_bytes()).code.is_none();
            if killed {
                never.remove(&point);
            }
            sandbox.run(&arguments).with(0);
            let captured = captured(&sandbox);
            let again = point == "spool.cut" && captured.len() > input.len();
            assert!(input.starts_with(&captured) || again, "after {faults}");
            assert!(killed || captured.len() >= input.len(), "nothing stopped it after {faults}");
        }
    }
    assert!(never.is_empty(), "never passed: {never:?}");
}

fn segments(spool: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<_> =
        fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.retain(|path| path.file_name().unwrap() != "lock");
    segments.sort();
    segments
}

/// Writes half a record behind the last one.
fn tear(spool: &Path) {
    let mut file =
        fs::OpenOptions::new().append(true).open(segments(spool).last().unwrap()).unwrap();
    std::io::Write::write_all(&mut file, &[7; 33]).unwrap();
}

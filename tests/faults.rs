//! What goes wrong around a process that lives on: a full disk, no more file handles, a read-only
//! folder, a process that is stopped and goes on. What the lake holds in the end is what was read.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod support;
#[path = "faults/webhook.rs"]
mod webhook;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::once::Run;
use support::{Sandbox, lake_by_partition, total};

/// Runs it with a fault, and then, if that ended it, without.
fn check_with(faults: &str, ends_it: bool) {
    let mut run = Run::new();
    run.story.push(faults.to_owned());
    let ended = run.sandbox.run_with(&Run::ARGUMENTS, &[("FAILPOINTS", faults)]);
    run.check_visible();
    if ends_it {
        assert_eq!(ended.code, Some(1), "{faults} doesn't end it: {}", ended.err);
        run.finish();
    } else {
        assert!(matches!(ended.code, Some(0 | 4)), "{faults} ends it: {}", ended.err);
    }
    run.check();
}

#[test]
fn a_full_disk_and_too_many_open_files_are_waited_for() {
    let points = [
        "lake.create",
        "lake.write",
        "disk.make_folder",
        "disk.rename",
        "coordinator.save",
        "state.commit",
    ];
    for point in points {
        // The third time, so that the start itself has succeeded.
        check_with(&format!("{point}=6*off->1*return(ENOSPC)->off"), false);
    }
    check_with("lake.create=3*off->1*return(EMFILE)->off", false);
}

#[test]
fn a_sync_that_fails_ends_it_and_loses_nothing() {
    check_with("lake.sync=4*off->1*return(EIO)->off", true);
    check_with("state.commit=4*off->1*return(EIO)->off", true);
}

#[test]
fn a_folder_that_can_not_be_written_is_named_at_the_start() {
    let mut run = Run::new();
    let ended = run
        .sandbox
        .run_with(&Run::ARGUMENTS, &[("FAILPOINTS", "disk.make_folder=1*off->return(EROFS)")]);
    ended.with(1).says(&["error: ", "Read-only file system"]);
    run.finish();
    run.check();
}

#[test]
fn a_process_that_is_stopped_goes_on_where_it_was() {
    let run = Run::new();
    let mut running = run.start();
    running.signal("STOP");
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.id())).unwrap();
    // The letter comes with the signal's delivery; whatever it is now, the process goes on
    // afterwards.
    assert!(stat.contains(") "), "{stat}");
    running.signal("CONT");
    running.wait_for("its end", |report| report["phase"] == "finished");
    assert!(matches!(running.end().code, Some(0 | 4)));
    run.check();
}

/// A file system of some MiB, unmounted in the end.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        status.is_ok_and(|done| done.status.success()).then_some(Self(at))
    }

    fn resize(&self, options: &str) {
        let status = Command::new("mount").args(["-o", options]).arg(self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        // What is still in use is unmounted once it isn't.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_disk_that_is_really_full_pauses_the_topology_until_there_is_room() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path("disk");
    let Some(small) = Small::mount(&disk, "size=2m") else {
        // Only a machine where nobody may mount gets here; what follows is said in the test's
        // output.
        println!(
            "NOT RUN: a tmpfs can't be mounted here, so a disk that is really full wasn't tried"
        );
        return;
    };
    let text = "x".repeat(500);
    let posts: Vec<_> = (0..10_000)
        .map(|n| format!("{{\"tweet\":{{\"id\":\"{n:05}\",\"text\":\"{text}\"}}}}"))
        .collect();
    sandbox.write("in.ndjson", posts.join("\n"));
    sandbox.write(
        "t.ron",
        r#"Topology(
            name: "full",
            spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))},
            bolts: {"lake": Bolt(run: Local(root: "disk/lake"), inputs: [Shuffle("in")])},
            checkpoint: Checkpoint(every: "10ms"),
            memory: "1MiB",
        )"#,
    );
    let mut running =
        sandbox.start(&["run", "t.ron", "--state", "disk/state", "--interval", "50ms"]);
    running.wait_for("it says that the disk is full", |report| {
        report.to_string().contains("No space left")
    });
    small.resize("remount,size=64m");
    running.wait_for("its end", |report| {
        report["phase"] == "finished" && total(report, "in", "emitted") == 10_000
    });
    running.end().with(0);
    let mut captured: Vec<_> =
        lake_by_partition(&disk.join("lake"), &[]).into_values().flatten().collect();
    captured.sort();
    assert!(captured == posts, "{} posts of {}", captured.len(), posts.len());
}

/// A topology of one file and one lake.
fn one_lake() -> Sandbox {
    let sandbox = Sandbox::new();
    let posts: String = (0..50).map(|id| format!("{{\"tweet\":{{\"id\":\"{id}\"}}}}\n")).collect();
    sandbox.write("in.ndjson", posts);
    sandbox.write(
        "t.ron",
        r#"Topology(name: "t", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))},
            bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])},
            checkpoint: Checkpoint(every: "100ms"), micro_batch: MicroBatch(posts: 10))"#,
    );
    sandbox
}

#[test]
fn a_panic_is_one_message_and_has_a_backtrace_only_where_nobody_catches_it() {
    let cases = [
        (
            &["run", "t.ron", "--state", "st"][..],
            "lake.create=2*off->1*panic(made up)->off",
            "1",
            "lake[0] panicked: made up",
        ),
        (
            &["run", "t.ron", "--state", "st"],
            "state.commit=1*panic(made up)->off",
            "1",
            "error: the engine panicked: made up",
        ),
        (
            &["lake", "compact", "lake", "--closed-before", "9999-01-01"],
            "tools.step=panic(made up)",
            "0",
            "error: waterspout has a fault: its thread \"main\" panicked",
        ),
    ];
    for (arguments, faults, backtrace, message) in cases {
        let sandbox = one_lake();
        if arguments[0] == "lake" {
            sandbox.run(&["run", "t.ron", "--state", "st"]).with(0);
        }
        let environment = [("FAILPOINTS", faults), ("RUST_BACKTRACE", backtrace)];
        let ended = sandbox.run_with(arguments, &environment).says(&[message]);
        let lines = ended.err.lines().filter(|line| line.contains("panicked")).count();
        assert!(lines == 1 && !ended.err.contains("stack backtrace"), "{faults}:\n{}", ended.err);
    }
}

#[test]
fn a_limit_of_twenty_open_files_is_an_error_and_no_panic() {
    let sandbox = one_lake();
    let commands = [
        (&["run", "t.ron", "--state", "st"][..], 1, "this process may have 20 open files"),
        (&["validate", "t.ron"], 0, ""),
    ];
    for (arguments, code, message) in commands {
        let script = "ulimit -n 20; exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_waterspout")]).args(arguments);
        let ended = command.current_dir(sandbox.path("")).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message) && !said.contains("panicked"), "{arguments:?}: {said}");
    }
}

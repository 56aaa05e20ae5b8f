//! Children that are killed, and children whose parent is killed.

use std::fs;

use super::project::{children_of, input, is_alive, nothing_is_lost, part, python, topology};
use super::support::{Sandbox, total};

const POSTS: usize = 20_000;

fn echo(sandbox: &Sandbox, more: &str) {
    let shell = format!(
        "command: [\"{}\", \"{}\", \"Echo\"], fields: [\"id\"]",
        python("python"),
        part("bolts.py"),
    );
    topology(sandbox, &shell, more);
}

#[test]
fn kill_9_of_a_child_loses_nothing() {
    let sandbox = Sandbox::new();
    input(&sandbox, POSTS);
    echo(&sandbox, "");
    let mut running = sandbox.start(&["run", "shell.ron", "--interval", "50ms"]);
    running.wait_for("it is at work", |report| total(report, "out", "received") > 500);
    let children = children_of(running.id());
    assert_eq!(children.len(), 1, "{children:?}");
    let killed = std::process::Command::new("kill").args(["-9", &children[0].to_string()]).status();
    assert!(killed.unwrap().success());
    let ended = running.end().with(0);
    nothing_is_lost(&ended, POSTS);
    ended.says(&[&format!("its child {}", children[0]), "signal: 9 (SIGKILL)", "going back"]);
}

#[test]
fn children_die_with_a_parent_that_is_killed_and_the_next_run_goes_on() {
    let sandbox = Sandbox::new();
    input(&sandbox, POSTS);
    echo(&sandbox, "parallelism_hint: 2");
    let mut running = sandbox.start(&["run", "shell.ron", "--interval", "50ms"]);
    running.wait_for("it is at work", |report| total(report, "out", "received") > 500);
    let children = children_of(running.id());
    assert_eq!(children.len(), 2, "{children:?}");
    running.kill();
    let first = running.end();
    // The kernel has sent the signals already; the processes need a moment to be gone.
    while children.iter().any(|child| is_alive(*child)) {
        std::thread::yield_now();
    }
    let mut second = sandbox.run(&["run", "shell.ron"]).with(0);
    second.out = first.out + &second.out;
    // A process that is killed may end in the middle of a line.
    second.out =
        second.out.lines().filter(|line| line.ends_with('}')).collect::<Vec<_>>().join("\n");
    nothing_is_lost(&second, POSTS);
}

#[test]
fn two_hundred_tasks_start_soon_and_rest_cheaply() {
    let sandbox = Sandbox::new();
    // A cheap child, which only answers heartbeats.
    fs::write(sandbox.path("in.ndjson"), "{\"n\":{\"id\":1}}\n").unwrap();
    sandbox.write(
        "many.ron",
        "Topology(name: \"many\", \
            spouts: { \"in\": Spout(run: Lines(paths: [\"in.ndjson\"], follow: true)) }, \
            bolts: { \
                \"child\": Bolt(run: Shell(command: [\"sh\", \"-c\", \"while read line; do if [ \
                \\\"$line\\\" = end ]; \
                    then echo '{\\\"command\\\":\\\"sync\\\"}'; echo end; fi; done\"]), \
                    inputs: [Direct(\"in\")], parallelism_hint: 200), \
                \"out\": Bolt(run: Null(), inputs: [Shuffle(\"in\")]), \
            })",
    );
    let begun = std::time::Instant::now();
    let mut running = sandbox.start(&["run", "many.ron", "--interval", "200ms"]);
    let id = running.id();
    running.wait_for("all have started", |_| children_of(id).len() == 200);
    let started = begun.elapsed();
    assert!(started < std::time::Duration::from_secs(10), "200 children took {started:?}");
    let (cpu, at) = (cpu_ticks(running.id()), begun.elapsed());
    running.wait_for("some seconds are over", |_| begun.elapsed() > at * 2 + at.max(SECONDS));
    let (used, time) = (cpu_ticks(running.id()) - cpu, begun.elapsed() - at);
    // The kernel counts in hundredths of a second.
    let share = used as f64 / 100.0 / time.as_secs_f64();
    println!("200 shell tasks started in {started:?} and rest at {:.2}% of a core", share * 100.0);
    running.terminate();
    running.end();
    assert!(share < 0.03, "they take {:.1}% of a core at rest", share * 100.0);
}

const SECONDS: std::time::Duration = std::time::Duration::from_secs(5);

/// Returns the CPU time of a process, without its children, in hundredths of a second.
fn cpu_ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let rest: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    rest[11].parse::<u64>().unwrap() + rest[12].parse::<u64>().unwrap()
}

//! Random legal and illegal sequences of the protocol, played by children that are bolts and
//! spouts.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use serde_json::Value;

use super::project::{ids, input, nothing_is_lost, part, python, topology};
use super::support::Sandbox;

const POSTS: usize = 600;

/// Returns another number in each run, which a failure names.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let count = if std::env::var_os("WATERSPOUT_LONG").is_some() { count * 10 } else { count };
    let first = seed();
    (0..count).map(move |number| first.wrapping_add(number) % 1_000_000)
}

/// Writes a topology around a shell component with the streams `default` and `told`. All rows are
/// printed, those of `told` by two tasks that take it by direct grouping.
fn topology_with_direct(sandbox: &Sandbox, spouts: &str, bolts: &str) {
    sandbox.write(
        "shell.ron",
        format!(
            "Topology(name: \"shell\", spouts: {{ {spouts} }}, \
                bolts: {{ \
                    {bolts} \
                    \"direct\": Bolt(run: Count(fields: [\"id\"]), \
                                    inputs: [Direct(\"child:told\")], parallelism_hint: 2), \
                    \"out\": Bolt(run: Stdout(), inputs: [Shuffle(\"child\")]), \
                    \"out_of_direct\": Bolt(run: Stdout(), inputs: [Shuffle(\"direct\")]), \
                }}, \
                checkpoint: Checkpoint(every: \"100ms\"))"
        ),
    );
}

#[test]
fn random_legal_sequences_of_a_bolt_lose_nothing() {
    for seed in seeds(6) {
        let sandbox = Sandbox::new();
        input(&sandbox, POSTS);
        let (python, player) = (python("python"), part("player.py"));
        topology_with_direct(
            &sandbox,
            "\"in\": Spout(run: Lines(paths: [\"in.ndjson\"]))",
            &format!(
                "\"id\": Bolt(run: Pick(fields: {{\"id\": \"/n/id\"}}), inputs: \
                 [Shuffle(\"in\")]), \
                 \"child\": Bolt(run: Shell(command: [{python:?}, {player:?}, \"{seed}\"], \
                     fields: [\"id\", \"text\", \"none\", \"list\"], streams: {{\"told\": \
                     [\"id\"]}}, \
                     conf: {{\"my.option\": {{\"a\": [1, None]}}}}, \
                     ticks: \"200ms\"), inputs: [Shuffle(\"id\")]),"
            ),
        );
        let ended = sandbox.run(&["run", "shell.ron"]);
        assert_eq!(ended.code, Some(0), "seed {seed}: {}", ended.err);
        nothing_is_lost(&ended, POSTS);
        let twice: BTreeMap<_, _> = ids(&ended).into_iter().filter(|(_, n)| *n > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: a tuple that fails is answered once: {twice:?}");
        let rows = ended.out.lines().map(|line| serde_json::from_str(line).unwrap());
        let (texts, told): (Vec<Value>, Vec<Value>) =
            rows.partition(|row: &Value| row.get("text").is_some());
        assert!(!texts.is_empty() && !told.is_empty(), "seed {seed}: both streams are used");
        for row in texts {
            assert_eq!(row["text"], "é\u{2028}\u{1f600}");
            assert_eq!(row["list"], serde_json::json!([1.5, { "a": "end\n" }]));
        }
    }
}

/// Writes a topology with a spout of parts/spout_player.py.
fn spout_player(sandbox: &Sandbox, arguments: &str, more: &str) {
    let (python, player) = (python("python"), part("spout_player.py"));
    topology_with_direct(
        sandbox,
        &format!(
            "\"child\": Spout(run: Shell(command: [{python:?}, {player:?}, {arguments}], fields: \
             [\"id\"], \
                 streams: {{\"told\": [\"id\"]}}{more}))"
        ),
        "",
    );
}

#[test]
fn random_legal_sequences_of_a_spout_are_acknowledged() {
    for seed in seeds(4) {
        let sandbox = Sandbox::new();
        spout_player(&sandbox, &format!("\"{seed}\", \"{POSTS}\""), "");
        let mut running = sandbox.start(&["run", "shell.ron", "--interval", "100ms"]);
        running.wait_for("all is acknowledged", |_| sandbox.path("acked").exists());
        running.terminate();
        let ended = running.end();
        assert_eq!(ended.code, Some(0), "seed {seed}: {}", ended.err);
        assert!(!ended.err.contains("going back"), "seed {seed}: {}", ended.err);
        nothing_is_lost(&ended, POSTS);
        let twice: BTreeMap<_, _> = ids(&ended).into_iter().filter(|(_, n)| *n > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?}");
    }
}

/// The illegal acts of parts/spout_player.py, each with the message about it.
const SPOUT_BREAKS: [&str; 11] = [
    "wrote a line that isn't JSON",
    "a tuple of 2 values for the stream",
    "nonesuch",
    "the task 77",
    "needs a \"tuple\"",
    "which only bolts send",
    "there is no command",
    "UTF-8",
    "exit status: 3",
    "signal: 9",
    "hangs",
];

#[test]
fn each_illegal_sequence_of_a_spout_is_named_and_costs_nothing() {
    let seed = seed();
    for (number, said) in SPOUT_BREAKS.iter().enumerate() {
        let sandbox = Sandbox::new();
        let arguments = format!("\"{seed}\", \"{POSTS}\", \"{number}\", \"broke\"");
        spout_player(&sandbox, &arguments, ", timeout: \"2s\"");
        let mut running = sandbox.start(&["run", "shell.ron", "--interval", "100ms"]);
        running.wait_for("all is acknowledged", |_| sandbox.path("acked").exists());
        running.terminate();
        let ended = running.end();
        // Messages in reports are JSON.
        let heard = ended.err.replace("\\\"", "\"").replace("\\\\", "\\");
        assert!(
            ended.code == Some(0) && heard.contains(said) && heard.contains("going back"),
            "seed {seed}, break {number}: code {:?}, expected {said:?}; it said:\n{}",
            ended.code,
            ended.err
        );
        nothing_is_lost(&ended, POSTS);
    }
}

#[test]
fn each_illegal_sequence_of_a_bolt_is_named_and_costs_nothing() {
    let first = seed() % 1_000 * 19;
    for number in 0..19 {
        let seed = first + number;
        let sandbox = Sandbox::new();
        input(&sandbox, POSTS);
        let shell = format!(
            "command: [\"{}\", \"{}\", \"{seed}\", \"broke\"], fields: [\"id\"], timeout: \"2s\"",
            python("python"),
            part("breaker.py"),
        );
        topology(&sandbox, &shell, "");
        let ended = sandbox.run(&["run", "shell.ron"]);
        let said = "child[0]: its child";
        assert!(
            ended.code == Some(0) && ended.err.contains(said) && ended.err.contains("going back"),
            "seed {seed} (break {}): code {:?}, it said:\n{}",
            seed % 19,
            ended.code,
            ended.err
        );
        let named = match seed % 19 {
            0 => "wrote a line that isn't JSON: \\\"Traceback (most recent call last):\\\"",
            2 => "UTF-8",
            3 => "nonesuch",
            4 => "a tuple of 2 values for the stream",
            6 => "which it was never given",
            8 => "there is no command",
            13 => "exit status: 0",
            14 => "exit status: 3",
            15 => "signal: 9",
            17 => "floods standard error",
            18 => "hangs",
            _ => "its child",
        };
        assert!(ended.err.contains(named), "seed {seed} doesn't say {named}:\n{}", ended.err);
        nothing_is_lost(&ended, POSTS);
    }
}

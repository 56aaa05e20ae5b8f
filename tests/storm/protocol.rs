//! Random sequences of the protocol, legal and illegal, played by children.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use super::project::{ids, input, nothing_is_lost, part, python, topology};
use super::support::Sandbox;

const POSTS: usize = 600;

/// Another number in each run, which a failure names.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000
}

fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let count = if std::env::var_os("WATERSPOUT_LONG").is_some() { count * 10 } else { count };
    let first = seed();
    (0..count).map(move |number| first.wrapping_add(number) % 1_000_000)
}

#[test]
fn random_legal_sequences_lose_nothing() {
    for seed in seeds(6) {
        let sandbox = Sandbox::new();
        input(&sandbox, POSTS);
        let shell = format!(
            "command: [\"{}\", \"{}\", \"{seed}\"], fields: [\"id\", \"text\", \"none\", \"list\"], ticks: \"200ms\"",
            python("python"),
            part("player.py"),
        );
        topology(&sandbox, &shell, "");
        let ended = sandbox.run(&["run", "shell.ron"]);
        assert_eq!(ended.code, Some(0), "seed {seed}: {}", ended.err);
        nothing_is_lost(&ended, POSTS);
        let twice: BTreeMap<_, _> = ids(&ended).into_iter().filter(|(_, n)| *n > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: a tuple that fails is answered once: {twice:?}");
        let row: serde_json::Value =
            serde_json::from_str(ended.out.lines().next().unwrap()).unwrap();
        assert_eq!(row["text"], "é\u{2028}\u{1f600}");
        assert_eq!(row["list"], serde_json::json!([1.5, { "a": "end\n" }]));
    }
}

#[test]
fn each_illegal_sequence_is_named_and_costs_nothing() {
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

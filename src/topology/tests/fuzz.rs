//! Property tests: any file gives a topology or problems, and never a panic.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::super::{Problems, Topology, explain, load, parse};
use super::components::registry;
use super::{GOOD, LoadOptions, cases, parse_offline};

/// Generates a valid topology in which some pieces are left out, doubled, moved or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0..12_usize,
        any::<prop::sample::Index>(),
        0..5_u8,
        "[ -~\\n]{0,4}",
    );
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut chars: Vec<char> = GOOD.chars().collect();
        for (from, length, to, kind, text) in edits {
            let start = from.index(chars.len());
            let end = (start + length).min(chars.len());
            let piece: Vec<char> = match kind {
                0 => Vec::new(),
                1 => chars[start..end].repeat(2),
                2 => text.chars().collect(),
                3 => vec!['é'; end - start],
                _ => chars[to.index(chars.len())..].iter().take(length).copied().collect(),
            };
            chars.splice(start..end, piece);
            if chars.is_empty() {
                break;
            }
        }
        chars.into_iter().collect()
    })
}

/// Generates a text of meaningful words in random order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "Topology(",
        "name:",
        "\"t\"",
        ",",
        ")",
        "spouts:",
        "bolts:",
        "{",
        "}",
        "\"in\":",
        "\"out\":",
        "Spout(",
        "Bolt(",
        "run:",
        "Numbers(",
        "Shout(",
        "Void(",
        "count:",
        "1",
        "field:",
        "\"number\"",
        "inputs:",
        "[",
        "]",
        "Shuffle(",
        "Fields(",
        "\"in\"",
        "\"out\"",
        "Env(",
        "File(",
        "\"x\"",
        "None",
        "Some(",
        "include:",
        "checkpoint:",
        "Off",
        "memory:",
        "\"1MiB\"",
        "order:",
        "Random(",
        "seed:",
        "parallelism_hint:",
        "on_error:",
        "Retry(",
        "times:",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

fn set() -> impl Strategy<Value = String> {
    let path = prop::sample::select(vec![
        "name",
        "spouts",
        "spouts.in",
        "spouts.in.run",
        "spouts.in.run.order",
        "spouts.in.run.order.seed",
        "bolts.again.run.env.LANG",
        "bolts.out.inputs.0",
        "bolts.out.inputs.1",
        "checkpoint",
        "checkpoint.every",
        "",
        "bolts.out.run.needs",
        "a.b.c",
    ]);
    (path, prop_oneof![words(), "[ -~é]{0,12}"]).prop_map(|(path, value)| format!("{path}={value}"))
}

/// Checks that a result is either a list of problems or a topology that loads again to the same.
fn hold(loaded: Result<Topology, Problems>) -> Result<(), TestCaseError> {
    match loaded {
        Err(problems) => prop_assert!(!problems.to_string().is_empty()),
        Ok(topology) => {
            let explained = explain(&topology);
            let again = parse_offline(&explained)
                .map_err(|problems| TestCaseError::fail(problems.to_string()))?;
            prop_assert_eq!(explain(&again), explained);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_mutated_topology_loads_or_has_problems(text in mutated()) {
        hold(parse("t.ron", &text, &registry(), &LoadOptions::default()))?;
    }

    #[test]
    fn words_in_any_order_load_or_have_problems(text in words()) {
        hold(parse("t.ron", &text, &registry(), &LoadOptions::default()))?;
    }

    #[test]
    fn any_set_is_applied_or_has_problems(sets in prop::collection::vec(set(), 1..4)) {
        let options = LoadOptions { sets, online: false, ..LoadOptions::default() };
        hold(parse("t.ron", GOOD, &registry(), &options))?;
    }

    #[test]
    fn any_bytes_load_or_have_problems(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        at in any::<prop::sample::Index>(),
    ) {
        let mut file = GOOD.as_bytes().to_vec();
        file.splice(at.index(GOOD.len())..at.index(GOOD.len()), bytes);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.ron");
        std::fs::write(&path, file).unwrap();
        hold(load(&path, &registry(), &LoadOptions::default()))?;
    }
}

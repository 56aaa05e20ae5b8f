//! `diff OLD NEW`: what becomes of the state when a topology file changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::exit::{Code, Outcome};
use super::load::{self, Sets};
use super::run::units::plain;
use super::stdout;
use crate::engine::upgrade::{Fate, fates, kept};
use crate::printable::printable_line;
use crate::registry::Registry;
use crate::topology::{ComponentSpec, Topology};

/// Say what a changed topology file keeps of the old one's state
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Components keep their state by their id: cursors, keyed state, and what isn't delivered yet. `run` refuses to
drop any silently; `--drop-state ID` lets go of it. The state belongs to the path of the file: it stays when NEW takes
the place of OLD, and a file of another path begins anew.")]
pub struct Args {
    /// The topology file as it was
    old: PathBuf,
    /// The topology file as it is to be
    new: PathBuf,
    /// One line of JSON for each component
    #[arg(long)]
    json: bool,
}

/// What becomes of one component.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    id: String,
    /// `survives`, `new`, or `dropped`.
    fate: &'static str,
    /// Why it is dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// What else changed: `parallelism_hint 1 → 4`.
    changes: Vec<String>,
}

/// Compares the two files.
pub fn run(args: &Args, registry: &Registry) -> Outcome {
    let load = |file| load::load(file, registry, &Sets::default(), false);
    let (old, new) = (load(&args.old)?, load(&args.new)?);
    let rows = compare(&old, &new);
    stdout::print(&if args.json { json(&rows) } else { renamed(&old, &new) + &text(&rows) })?;
    let drops = rows.iter().any(|row| row.why.is_some());
    Ok(if drops { Code::Findings } else { Code::Success })
}

fn compare(old: &Topology, new: &Topology) -> Vec<Row> {
    let (specs_old, specs_new) = (by_id(old), by_id(new));
    let row = |(id, fate): (String, Fate)| {
        let both = specs_old.get(id.as_str()).zip(specs_new.get(id.as_str()));
        let changes = both.map(|(old, new)| changes(old, new)).unwrap_or_default();
        let (fate, why) = match fate {
            Fate::Survives => ("survives", None),
            Fate::New => ("new", None),
            Fate::Dropped(why) => ("dropped", Some(why)),
        };
        Row { id, fate, why, changes }
    };
    fates(&kept(old), &kept(new)).into_iter().map(row).collect()
}

/// What becomes of the state when the topology's name changes; nothing if it stays.
fn renamed(old: &Topology, new: &Topology) -> String {
    if old.name == new.name {
        return String::new();
    }
    let (old, new) = (plain(&old.name), plain(&new.name));
    format!(
        "name \"{old}\" → \"{new}\": the state stays, since it belongs to the file and not to the name\n"
    )
}

fn by_id(topology: &Topology) -> BTreeMap<&str, &ComponentSpec> {
    topology.components.iter().map(|spec| (spec.id.as_str(), spec)).collect()
}

fn changes(old: &ComponentSpec, new: &ComponentSpec) -> Vec<String> {
    let mut changes = Vec::new();
    if old.parallelism_hint != new.parallelism_hint {
        changes
            .push(format!("parallelism_hint {} → {}", old.parallelism_hint, new.parallelism_hint));
    }
    if old.type_name == new.type_name && old.explained != new.explained {
        changes.push(format!("run: {} → {}", old.explained, new.explained));
    }
    changes
}

fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Row { id, fate, why, changes } in rows {
        let why = why
            .as_ref()
            .map(|why| format!(": {why}; run needs --drop-state {id}"))
            .unwrap_or_default();
        // Writing into a text can't fail.
        let _ = writeln!(text, "{id:width$}  {fate}{}", printable_line(&why));
        for change in changes {
            let _ = writeln!(text, "{:width$}  {}", "", printable_line(change));
        }
    }
    text
}

fn json(rows: &[Row]) -> String {
    rows.iter().filter_map(|row| serde_json::to_string(row).ok()).map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::topology::{LoadOptions, parse};

    const OLD: &str = r#"Topology(name: "a", spouts: {"in": Spout(run: Generate(posts: 10))}, bolts: {
        "words": Bolt(run: Words(field: "text"), inputs: [Shuffle("in")]),
        "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
        "out": Bolt(run: Stdout(), inputs: [Shuffle("count")]),
    })"#;

    fn check(from: &str, to: &str, expected: Expect) {
        let topology = |text: &str| {
            let topology =
                parse("t.ron", text, &crate::components::standard(), &LoadOptions::default());
            topology.unwrap_or_else(|problems| panic!("{problems}"))
        };
        assert!(OLD.contains(from));
        expected.assert_eq(&text(&compare(&topology(OLD), &topology(&OLD.replace(from, to)))));
    }

    #[test]
    fn keyed_state_survives_another_number_of_tasks() {
        check(
            "Fields(\"words\", [\"word\"])])",
            "Fields(\"words\", [\"word\"])], parallelism_hint: 4)",
            expect![[r#"
                count  survives
                       parallelism_hint 1 → 4
                in     survives
                out    survives
                words  survives
            "#]],
        );
    }

    #[test]
    fn what_is_kept_by_another_key_or_is_another_component_is_dropped() {
        check(
            "\"count\": Bolt(run: Count(fields: [\"word\"]), inputs: [Fields(\"words\", [\"word\"])])",
            "\"count\": Bolt(run: Count(fields: [\"word\"]), inputs: [Shuffle(\"words\")], parallelism_hint: 2)",
            expect![[r#"
                count  dropped: its state was kept by word, and is kept by each of 2 tasks; run needs --drop-state count
                       parallelism_hint 1 → 2
                in     survives
                out    survives
                words  survives
            "#]],
        );
        check(
            "Stdout()",
            "Null()",
            expect![[r#"
                count  survives
                in     survives
                out    dropped: it was a Stdout, and is a Null; run needs --drop-state out
                words  survives
            "#]],
        );
    }
}

//! `diff OLD NEW`: what becomes of the state when a topology file changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::exit::{Code, Outcome};
use super::load::{self, Sets};
use super::remote::submit::submission;
use super::remote::{ServerArgs, is_file, path_of};
use super::run::units::plain;
use super::stdout;
use crate::engine::upgrade::{ComponentChange, compare};
use crate::printable::printable_line;
use crate::registry::Registry;
use crate::topology::Topology;

/// Say what a changed topology file keeps of the old one's state
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Components keep their state by their id: cursors, keyed state, and what isn't delivered yet. `run` refuses to
drop any silently; `--drop-state ID` lets go of it. The state belongs to the path of the file: it stays when NEW takes
the place of OLD, and a file of another path starts from nothing.")]
pub(crate) struct Args {
    /// The topology file as it was, or the name of a topology on the server
    #[arg(value_name = "OLD|NAME")]
    old: String,
    /// The topology file as it is to be
    new: PathBuf,
    /// One line of JSON for each component
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Compares the two files.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let load = |file| load::load(file, registry, &Sets::default(), false);
    let (rows, renamed) = if is_file(&args.old, &args.server) {
        let (old, new) = (load(Path::new(&args.old))?, load(&args.new)?);
        (compare(&old, &new), renamed(&old, &new))
    } else {
        let submission = submission(&args.new, &Sets::default(), registry)?;
        let server = args.server.server()?;
        (server.post(&path_of(&args.old, "diff"), &submission)?, String::new())
    };
    stdout::print(&if args.json { json(&rows) } else { renamed + &text(&rows) })?;
    let drops = rows.iter().any(|row| row.why.is_some());
    Ok(if drops { Code::Findings } else { Code::Success })
}

/// Describes the effect on the state when the topology's name changes; nothing if it stays.
fn renamed(old: &Topology, new: &Topology) -> String {
    if old.name == new.name {
        return String::new();
    }
    let (old, new) = (plain(&old.name), plain(&new.name));
    format!(
        "name \"{old}\" → \"{new}\": the state stays, since it belongs to the file and not to the name\n"
    )
}

fn text(rows: &[ComponentChange]) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut text = String::new();
    for ComponentChange { id, fate, why, changes } in rows {
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

fn json(rows: &[ComponentChange]) -> String {
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

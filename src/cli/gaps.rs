//! `gaps [TOPOLOGY]`: from when to when posts may be missing, and why.

use std::path::{Path, PathBuf};

use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};

use super::control::state_folder;
use super::exit::{Code, Failure, Outcome};
use super::run::state_dir::{Home, states};
use super::stdout;
use crate::error::Error;
use crate::gaps::{Gap, ledger_entries};
use crate::printable::printable_line;
use crate::registry::Registry;

/// Show from when to when posts of a source may be missing
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It reads the gap ledgers, whether the topology runs or not. What was fetched later by the \
                        platform's search is marked as filled. The exit code is 4 if anything may be missing still."
)]
pub(crate) struct Args {
    /// The topology file; all topologies of the user unless given
    file: Option<PathBuf>,
    /// The state folder that the topology was started with, if that was given to `run`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Only what was not filled
    #[arg(long)]
    open: bool,
    /// Print a JSON array with an object for each gap
    #[arg(long)]
    json: bool,
}

/// A gap, and the state that it is of.
#[derive(Serialize)]
struct Entry {
    #[serde(serialize_with = "stdout::path_as_text")]
    state: PathBuf,
    #[serde(flatten)]
    gap: Gap,
}

/// Prints the ledgers on standard output.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut entries = Vec::new();
    for state in folders(args, registry)? {
        let of = |gap| Entry { state: state.clone(), gap };
        entries.extend(
            ledger_entries(&state)?.into_iter().filter(|gap| !(args.open && gap.filled)).map(of),
        );
    }
    stdout::print(&if args.json { json(&entries)? } else { entries.iter().map(line).collect() })?;
    Ok(if entries.iter().all(|entry| entry.gap.filled) { Code::Success } else { Code::Findings })
}

/// What a run says of its ledgers at its end, if anything may be missing. One that can't be read is
/// told of by `gaps`.
pub(crate) fn left(state: &Path) -> Option<String> {
    let open = ledger_entries(state).ok()?.iter().filter(|gap| !gap.filled).count();
    let gaps = if open == 1 { "gap" } else { "gaps" };
    (open > 0).then(|| format!("{open} {gaps} in what was captured, see `waterspout gaps`"))
}

fn folders(args: &Args, registry: &Registry) -> Result<Vec<PathBuf>, Failure> {
    if args.file.is_some() || args.state.is_some() {
        return Ok(vec![state_folder(args.file.as_deref(), args.state.as_deref(), registry)?]);
    }
    let Some(all) = states(Home::of_process()) else { return Ok(Vec::new()) };
    let Ok(found) = std::fs::read_dir(&all) else { return Ok(Vec::new()) };
    let mut folders: Vec<_> = found.filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    Ok(folders)
}

fn json(entries: &[Entry]) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(entries);
    Ok(text.map_err(|error| Error::fatal("can't print the gaps").because(error))? + "\n")
}

/// `2026-11-25T12:00:00 to 12:05:00  tweets  filled, 250 posts  the connection was lost`.
fn line(entry: &Entry) -> String {
    let gap = &entry.gap;
    let spout =
        if gap.part.is_empty() { gap.spout.clone() } else { format!("{} {}", gap.spout, gap.part) };
    let what = match (gap.filled, gap.estimated_posts) {
        (true, _) => format!("filled, {} posts", gap.posts),
        (false, Some(posts)) => format!("open, about {posts} posts"),
        (false, None) => "open".into(),
    };
    let state = entry.state.file_name().map(Path::new).unwrap_or(&entry.state).display();
    let text =
        format!("{} to {}  {state}  {spout}  {what}  {}", time(gap.from), time(gap.to), gap.why);
    printable_line(&text).into_owned() + "\n"
}

/// To the second, in UTC.
fn time(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (hour, minute, second) = time.to_hms();
    format!("{}T{hour:02}:{minute:02}:{second:02}", time.date())
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_line_says_when_how_much_and_why() {
        let from = datetime!(2026-11-25 12:00:00 UTC);
        let gap = Gap {
            id: "1".into(),
            spout: "tweets".into(),
            kind: "tweet".into(),
            part: "#storm".into(),
            from,
            to: datetime!(2026-11-25 12:05:00 UTC),
            why: "the connection was lost".into(),
            estimated_posts: Some(75),
            filled: false,
            posts: 0,
            created_at: from,
        };
        let entry = |gap| Entry { state: "/s/capture-0".into(), gap };
        let filled = Gap { filled: true, posts: 80, ..gap.clone() };
        expect_test::expect![[r"
            2026-11-25T12:00:00 to 2026-11-25T12:05:00  capture-0  tweets #storm  open, about 75 posts  the connection was lost
            2026-11-25T12:00:00 to 2026-11-25T12:05:00  capture-0  tweets #storm  filled, 80 posts  the connection was lost
        "]]
        .assert_eq(&[gap, filled].map(|gap| line(&entry(gap))).concat());
    }

    #[test]
    fn a_state_without_a_ledger_has_no_gaps() {
        let state = tempfile::tempdir().unwrap();
        let args = Args { file: None, state: Some(state.path().into()), open: false, json: true };
        assert_eq!(run(&args, &crate::components::standard()).ok(), Some(Code::Success));
    }
}

//! `lake erase`: posts that must go.

use std::fs;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::super::exit::{Code, Outcome};
use super::super::progress::{ProgressBar, Unit};
use super::super::run::summary::plural;
use super::super::stdout;
use super::{json, moment, now};
use crate::error::Error;
use crate::lake::tools::erase::{Ids, Record, Scope, bytes_of, erase};
use crate::lake::view::Selection;
use crate::printable::printable_line;

/// Rewrite closed partitions without the posts of some ids
///
/// It may be killed at any moment and run again. What was done is kept in _index/erased/, with
/// hashes of the ids. Posts that quote or repeat an erased one stay, and so do captured deletes.
/// Ends with 4 if partitions that aren't closed, dead letters or staged files have such posts, if
/// an id of FILE is that of no post, or if nothing tells whether a toot is the one that was
/// deleted. Captured deletes name mostly posts that were never captured: with --from-deletes those
/// that match none are counted, and it ends with 0. The spools and outboxes of topologies are below
/// their --state, and aren't looked at.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("posts").required(true))]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// A file with one "kind id" or "id" a line
    #[arg(long, value_name = "FILE", group = "posts")]
    ids: Option<PathBuf>,
    /// Take the ids from the deletes that were captured into the same lake
    #[arg(long, group = "posts")]
    from_deletes: bool,
    /// Take the partitions that begin before this time for closed; -1d is a day before now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    closed_before: Option<OffsetDateTime>,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

/// Erases, and tells what was done.
pub(crate) fn run(args: &Args) -> Outcome {
    let (selection, now) = (Selection::parse(&args.lake)?, now());
    // It says what it doesn't find.
    selection.partitions()?;
    let ids = match &args.ids {
        Some(path) => {
            let failed = |cause| Error::file(format!("can't read \"{}\"", path.display()), cause);
            let of_file =
                |error| Error::fatal(format!("bad ids in \"{}\"", path.display())).because(error);
            Ids::parse(&fs::read_to_string(path).map_err(failed)?).map_err(of_file)?
        }
        None => Ids::from_deletes(&selection.store)?,
    };
    let scope = Scope { glob: selection.glob.clone(), closed_before: args.closed_before };
    let store = selection.store.as_ref();
    let total = || selection.partitions()?.iter().map(|partition| bytes_of(store, partition)).sum();
    let bar = ProgressBar::begin("erase", Unit::Bytes, total)?;
    let record = erase(&selection.store, &scope, &ids, now)?;
    drop(bar);
    stdout::print(&if args.json { json(&record) } else { text(&record) })?;
    // Deletes name posts by the thousand that weren't captured; a list is made of posts that were.
    let is_incomplete = args.ids.is_some() && record.ids_not_found > 0;
    Ok(if record.has_left_some() || is_incomplete { Code::Findings } else { Code::Success })
}

fn text(record: &Record) -> String {
    let (posts, partitions, ids) = (record.posts_erased, record.partitions.len(), record.ids);
    let (posts_erased, from) = (plural(posts, "post"), plural(partitions as u64, "partition"));
    let mut text = format!("{posts_erased} of {} erased from {from}\n", plural(ids as u64, "id"));
    for (partition, posts) in &record.open {
        let partition = printable_line(partition);
        text += &format!("{partition} isn't closed, and has {posts} more: see --closed-before\n");
    }
    if record.ids_not_found > 0 {
        text += &format!(
            "{} of {} matched no post: no visible partition has them\n",
            record.ids_not_found,
            plural(ids as u64, "id")
        );
    }
    if record.doubtful > 0 {
        let doubtful = record.doubtful;
        text += &format!(
            "{doubtful} toots stay, whose number was deleted on a server that may not be theirs: \
             name them by their uri in --ids\n"
        );
    }
    if record.not_understood > 0 {
        text += &format!(
            "{} captured deletes weren't understood, and erased nothing\n",
            record.not_understood
        );
    }
    for key in &record.dead_letters {
        text += &format!(
            "{key} has such posts among dead letters, which stay: send them again, or delete the file\n"
        );
    }
    for key in &record.staged {
        text += &format!(
            "{key} has, or may have, such posts and isn't visible yet: erase again once it is published, \
             or delete it if its topology or tool is gone for good\n"
        );
    }
    text += "not looked at: the spools and outboxes of topologies, below their --state\n";
    for state in &record.states {
        text += &format!("a topology that wrote here has its state in {state}\n");
    }
    text
}

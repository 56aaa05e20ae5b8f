//! `lake index`: builds the side-channel index.

use super::super::exit::{Code, Outcome};
use super::super::progress::{ProgressBar, Unit};
use super::super::run::summary::plural;
use super::json;
use crate::lake::index::{is_current, renew, sweep};
use crate::lake::tools::erase::bytes_of;
use crate::lake::view::Selection;
use crate::printable::printable_line;
use crate::progress;

/// Rebuild the index of each micro-batch, beside the data in _index/
///
/// A partition with a damaged file keeps the index that it had; it is named, and the others are
/// done.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// Leave out the partitions whose index names the files that are there
    #[arg(long)]
    missing: bool,
    /// Print a line of JSON for each partition
    #[arg(long)]
    json: bool,
}

/// What came of a partition.
#[derive(serde::Serialize)]
struct Line<'a> {
    partition: &'a str,
    micro_batches: usize,
    posts: u64,
    bytes: u64,
    error: Option<String>,
}

/// Builds them one after the other, each with several files at once.
pub(crate) fn run(args: &Args) -> Outcome {
    let selection = Selection::parse(&args.lake)?;
    let (store, mut code) = (selection.store.as_ref(), Code::Success);
    let partitions = selection.partitions()?;
    let total = || partitions.iter().map(|partition| bytes_of(store, partition)).sum();
    let bar = ProgressBar::begin("index", Unit::Bytes, total)?;
    for partition in partitions.clone() {
        progress::end_piece();
        progress::piece(|| bytes_of(store, &partition))?;
        if args.missing && is_current(store, &partition)? {
            continue;
        }
        let line = match &renew(store, &partition) {
            // What replaced it has an index already.
            Ok(None) => continue,
            Ok(Some(index)) => Line {
                partition: &partition,
                micro_batches: index.files.len(),
                posts: index.posts(),
                bytes: index.bytes(),
                error: None,
            },
            Err(error) => {
                code = Code::Runtime;
                Line {
                    partition: &partition,
                    micro_batches: 0,
                    posts: 0,
                    bytes: 0,
                    error: Some(error.chain()),
                }
            }
        };
        bar.print(&if args.json { json(&line) } else { text(&line) })?;
    }
    drop(bar);
    sweep(store)?;
    Ok(code)
}

fn text(line: &Line<'_>) -> String {
    let partition = printable_line(line.partition);
    match &line.error {
        Some(error) => format!("{partition}: not indexed: {}\n", printable_line(error)),
        None => {
            let micro_batches = plural(line.micro_batches as u64, "micro-batch");
            format!("{partition}: {micro_batches}, {}\n", plural(line.posts, "post"))
        }
    }
}

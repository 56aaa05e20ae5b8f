//! `lake prune`: old partitions go.

use super::super::exit::{Code, Outcome};
use super::super::stdout;
use super::{json, now};
use crate::lake::tools::prune::{older, prune};
use crate::lake::view::Selection;
use crate::printable::printable_line;
use crate::units::Interval;

/// Delete the partitions that began longer ago, and name them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// How old a partition becomes, such as 90d
    #[arg(long, value_name = "AGE")]
    older_than: Interval,
    /// Only name them
    #[arg(long)]
    dry_run: bool,
    /// Print a line of JSON for each partition
    #[arg(long)]
    json: bool,
}

/// Names and deletes them.
pub fn run(args: &Args) -> Outcome {
    let selection = Selection::parse(&args.lake)?;
    for partition in older(&selection.partitions()?, now() - args.older_than.0) {
        if !args.dry_run {
            prune(selection.store.as_ref(), &partition)?;
        }
        let line = serde_json::json!({"partition": partition, "deleted": !args.dry_run});
        stdout::print(&if args.json { json(&line) } else { format!("{}\n", printable_line(&partition)) })?;
    }
    Ok(Code::Success)
}

//! `lake prune`: old partitions go.

use std::time::Duration;

use super::super::exit::{Code, Failure, Outcome};
use super::super::progress::{ProgressBar, Unit};
use super::{json, now};
use crate::error::Error;
use crate::lake::journal::settle;
use crate::lake::tools::prune::{older, prune, stays};
use crate::lake::view::{Selection, partitions};
use crate::printable::printable_line;
use crate::progress;
use crate::units::Interval;

/// An age below this is rather a mistake than wanted.
const DAY: Duration = Duration::from_secs(86_400);

/// Delete the partitions that began longer ago, and name them
///
/// The newest partition, which a writer may be at, stays, and so do partitions that have files in
/// _staging or that links lead to; they are named, and it ends with 4.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// How old a partition becomes, such as 90d
    #[arg(long, value_name = "AGE")]
    older_than: Interval,
    /// Take an age under a day, too: `1m` is a minute, a month is `30d`
    #[arg(long)]
    force: bool,
    /// Only name them
    #[arg(long)]
    dry_run: bool,
    /// Print a line of JSON for each partition
    #[arg(long)]
    json: bool,
}

/// Names and deletes them.
pub(crate) fn run(args: &Args) -> Outcome {
    let age = args.older_than;
    if age.0 < DAY && !args.force {
        let what = format!(
            "--older-than {age} is less than a day: 1m is a minute, a month is 30d; --force takes it"
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let than = time::Duration::try_from(age.0).ok().and_then(|age| now().checked_sub(age));
    let than = than.ok_or_else(|| {
        Failure::new(Code::Usage, format!("--older-than {age} is before all times"))
    })?;
    let selection = Selection::parse(&args.lake)?;
    let store = selection.store.as_ref();
    if !args.dry_run {
        // What another that was killed has begun is finished.
        settle(store, now())?;
    }
    let (all, mut code) = (partitions(store)?, Code::Success);
    let old = older(&selection.partitions()?, than);
    let bar = ProgressBar::begin("prune", Unit::Partitions, || Ok(old.len() as u64))?;
    for partition in old {
        progress::end_piece();
        progress::piece(|| Ok::<_, Error>(1))?;
        if let Some(why) = stays(store, &all, &partition)? {
            code = Code::Findings;
            let line = serde_json::json!({"partition": partition, "deleted": false, "why": why});
            bar.print(&if args.json {
                json(&line)
            } else {
                format!("{partition} stays: {why}\n")
            })?;
            continue;
        }
        if !args.dry_run && !prune(store, &partition, now())? {
            code = Code::Findings;
            let why = "another process is at it: run it again";
            let line = serde_json::json!({"partition": partition, "deleted": false, "why": why});
            bar.print(&if args.json {
                json(&line)
            } else {
                format!("{partition} stays: {why}\n")
            })?;
            continue;
        }
        let line = serde_json::json!({"partition": partition, "deleted": !args.dry_run});
        bar.print(&if args.json {
            json(&line)
        } else {
            format!("{}\n", printable_line(&partition))
        })?;
    }
    Ok(code)
}

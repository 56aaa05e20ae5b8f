//! `lake compact`: many small files into few, or into another form.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use time::OffsetDateTime;

use super::super::exit::{Code, Outcome};
use super::super::progress::{ProgressBar, Unit};
use super::super::run::summary::plural;
use super::super::stdout;
use super::{json, moment, now};
use crate::lake::form::Form;
use crate::lake::tools::closed;
use crate::lake::tools::compact::{self, compact};
use crate::lake::tools::rewrite::Rewritten;
use crate::lake::view::{Selection, partitions};
use crate::printable::printable_line;
use crate::units::ByteSize;

/// Join the small files of closed partitions into few, and partitions of one time into one
///
/// Each is written as a new partition of the same time and proven equal, post for post, before the
/// old one goes. It may be killed at any moment and run again. A partition is closed an hour after
/// the next one began; a replay that is reading it goes on in the new one. Ends with 4 if
/// partitions were passed over because another process is at them, and names them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// The form of the new files, by their extension; without it as before
    #[arg(long, value_name = "FORM", value_parser = forms())]
    to: Option<Form>,
    /// How long a file may become, before it is compressed
    #[arg(long, value_name = "SIZE", default_value = "128MiB")]
    bytes: ByteSize,
    /// Take the partitions that begin before this time for closed; -1d is a day before now
    #[arg(long, value_name = "TIME", value_parser = moment, allow_hyphen_values = true)]
    closed_before: Option<OffsetDateTime>,
    /// Print a line of JSON for each partition
    #[arg(long)]
    json: bool,
}

/// Compacts, and tells what was done.
pub(crate) fn run(args: &Args) -> Outcome {
    let (selection, now) = (Selection::parse(&args.lake)?, now());
    let mut chosen = selection.partitions()?;
    let closed = closed(&partitions(selection.store.as_ref())?, args.closed_before, now);
    let all = chosen.len();
    chosen.retain(|partition| closed.binary_search(partition).is_ok());
    if chosen.is_empty() && !args.json {
        // It may still have something to finish that was killed.
        let why =
            "a partition is closed an hour after the next one began, or by --closed-before TIME";
        stdout::print(&format!(
            "nothing to compact: {all} partitions are not closed yet; {why}\n"
        ))?;
    }
    let mut code = Code::Success;
    let total = || compact::work_bytes(selection.store.as_ref(), &chosen);
    let bar = ProgressBar::begin("compact", Unit::Bytes, total)?;
    let mut printed = Ok(Code::Success);
    compact(&selection.store, &chosen, (args.bytes.0, args.to), now, |outcome| {
        if printed.is_ok() {
            printed = bar.print(&if args.json { json(outcome) } else { text(outcome) });
        }
        if let compact::Outcome::Busy { .. } = outcome {
            code = Code::Findings;
        }
        Ok(())
    })?;
    printed?;
    Ok(code)
}

/// All forms: `json`, `ndjson.zst`, `parquet`, …
fn forms() -> impl TypedValueParser<Value = Form> {
    let name = |extension: &'static str| extension.strip_prefix('.').unwrap_or("json");
    let parse = |name: String| Form::of_extension(&format!(".{name}")).unwrap_or(Form::ARRAY);
    PossibleValuesParser::new(Form::ALL.map(|(_, extension)| name(extension))).map(parse)
}

fn text(outcome: &compact::Outcome) -> String {
    let Rewritten { old, also, new, files_before, files, posts, .. } = match outcome {
        compact::Outcome::Rewritten(rewritten) => rewritten,
        compact::Outcome::Busy { busy } => {
            let busy = printable_line(busy);
            return format!(
                "{busy} was passed over, since another process is at it: run it again\n"
            );
        }
    };
    let new = new.as_deref().unwrap_or("nothing");
    let old = match also.len() {
        0 => printable_line(old).into_owned(),
        others => format!("{} and {others} more of its time", printable_line(old)),
    };
    let (before, posts) = (plural(*files_before as u64, "micro-batch"), plural(*posts, "post"));
    format!("{old}: {before} with {posts} became {files} in {new}\n")
}

//! `lake verify`: whether a lake is what it should be.

use std::fmt::Write;

use super::super::exit::{Code, Outcome};
use super::super::progress::{ProgressBar, Unit};
use super::super::run::summary::plural;
use super::super::run::units;
use super::super::stdout;
use super::json;
use crate::lake::tools::erase::bytes_of;
use crate::lake::tools::verify::{Report, require_index, verify};
use crate::lake::view::Selection;
use crate::printable::printable_line;

/// Check that every file is whole, none is missing or extra, and all agree with the index
///
/// Ends with 4 if there are findings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// Take it for a finding if a partition has no index
    #[arg(long)]
    require_index: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the findings.
pub(crate) fn run(args: &Args) -> Outcome {
    let selection = Selection::parse(&args.lake)?;
    let (store, partitions) = (selection.store.as_ref(), selection.partitions()?);
    let total = || partitions.iter().map(|partition| bytes_of(store, partition)).sum();
    let bar = ProgressBar::begin("verify", Unit::Bytes, total)?;
    let mut report = verify(store, &partitions, selection.is_whole())?;
    if args.require_index {
        require_index(store, &partitions, &mut report)?;
    }
    drop(bar);
    let printed = stdout::print(&if args.json { json(&report) } else { text(&report) })?;
    Ok(if report.findings.is_empty() { printed } else { Code::Findings })
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let what = format!("{:?}", finding.what).to_lowercase();
        let _ = writeln!(
            text,
            "{what:8} {}: {}",
            printable_line(&finding.key),
            printable_line(&finding.why)
        );
    }
    for note in &report.notes {
        let _ = writeln!(text, "note     {}", printable_line(note));
    }
    let (findings, bytes) = (report.findings.len(), units::bytes(report.bytes));
    let Report { partitions, micro_batches, posts, .. } = report;
    let _ = writeln!(
        text,
        "{}, {}, {}, {bytes}: {}",
        plural(*partitions as u64, "partition"),
        plural(*micro_batches, "micro-batch"),
        plural(*posts, "post"),
        plural(findings as u64, "finding"),
    );
    text
}

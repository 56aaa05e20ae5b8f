//! `lake ls`: the partitions.

use std::fmt::Write;

use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::super::exit::Outcome;
use super::super::run::summary::plural;
use super::super::run::units;
use super::super::stdout;
use super::json;
use crate::lake::tools::ls::{Line, ls};
use crate::lake::view::Selection;
use crate::printable::printable_line;

/// As most partitions are named.
const TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// List partitions: time, writer, micro-batches, posts, bytes
///
/// Posts are known where there is an index, and all of it is as of when that was built: see
/// `waterspout lake index`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The lake, or some of its partitions
    #[arg(value_name = "ROOT[/GLOB]")]
    lake: String,
    /// Print a line of JSON for each partition
    #[arg(long)]
    json: bool,
}

/// Prints the table.
pub(crate) fn run(args: &Args) -> Outcome {
    let selection = Selection::parse(&args.lake)?;
    let lines = ls(selection.store.as_ref(), &selection.partitions()?)?;
    stdout::print(&if args.json { lines.iter().map(json).collect() } else { table(&lines) })
}

fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:19} {:36} {:>13} {:>12} {:>9}\n",
        "time", "writer", "micro-batches", "posts", "bytes"
    );
    let mut row = |time: &str, writer: &str, micro_batches: u64, posts: String, bytes: u64| {
        let bytes = units::bytes(bytes);
        let _ = writeln!(text, "{time:19} {writer:36} {micro_batches:>13} {posts:>12} {bytes:>9}");
    };
    for line in lines {
        let time = line.time.map_or_else(
            || printable_line(&line.partition).into_owned(),
            |time| time.format(TIME).unwrap_or_default(),
        );
        let posts = line.posts.map_or("?".into(), |posts| posts.to_string());
        let writer = printable_line(line.writer.as_deref().unwrap_or("?"));
        row(&time, &writer, line.micro_batches, posts, line.bytes);
    }
    let posts: u64 = lines.iter().filter_map(|line| line.posts).sum();
    let unknown = if lines.iter().all(|line| line.posts.is_some()) { "" } else { "+?" };
    let (micro_batches, bytes) = (
        lines.iter().map(|line| line.micro_batches).sum(),
        lines.iter().map(|line| line.bytes).sum(),
    );
    row(
        "total",
        &plural(lines.len() as u64, "partition"),
        micro_batches,
        format!("{posts}{unknown}"),
        bytes,
    );
    text
}

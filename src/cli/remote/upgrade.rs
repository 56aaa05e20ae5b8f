//! `upgrade NAME FILE`: another version of a topology takes its place, on the same state.

use std::path::PathBuf;

use super::submit::submission;
use super::{ServerArgs, path_of, print_json};
use crate::cli::exit::Outcome;
use crate::cli::load::Sets;
use crate::cli::stdout;
use crate::registry::Registry;
use crate::server::TopologySummary;

/// Put another version in the place of a topology of a server, on the same state
#[derive(Debug, clap::Args)]
#[command(after_help = "\
`diff NAME FILE` says before what it keeps of the state. If the new version fails, the old one goes on.")]
pub(crate) struct Args {
    /// The topology's name
    name: String,
    /// The topology file of the new version
    file: PathBuf,
    #[command(flatten)]
    sets: Sets,
    /// Discard the saved state of component ID and continue (repeatable)
    #[arg(long, value_name = "ID")]
    drop_state: Vec<String>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Sends it, and waits until it has proven itself.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut submission = submission(&args.file, &args.sets, registry)?;
    submission.drop_state = args.drop_state.iter().cloned().collect();
    let server = args.server.server()?;
    let summary: TopologySummary = server.post(&path_of(&args.name, "upgrade"), &submission)?;
    if args.json {
        return print_json(&summary);
    }
    stdout::print(&format!("upgraded: {}\n", summary.state.name()))
}

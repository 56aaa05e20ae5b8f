//! `trends …`: what can be done with the rows that `Trends` emits.

mod diff;

use clap::Subcommand;

use super::exit::Outcome;

/// Compare what runs found to be trending
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Diff(diff::Args),
}

/// Does what the arguments say.
pub(crate) fn run(args: &Args) -> Outcome {
    match &args.what {
        What::Diff(args) => diff::run(args),
    }
}

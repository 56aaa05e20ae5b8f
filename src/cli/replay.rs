//! `replay GLOB`: the posts of a lake as NDJSON.

use super::exit::Outcome;
use super::stdout;

/// Print the posts of a lake as NDJSON, one post a line
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waterspout replay 'lake/2015-12-18T*' | jq -r .tweet.text")]
pub struct Args {
    /// The partitions, or files of them: 'lake/2015-12-18T00:00:00-*'
    // Several, since a shell expands a glob that isn't quoted.
    #[arg(required = true, value_name = "GLOB")]
    globs: Vec<String>,
}

/// Prints the posts on standard output.
pub fn run(args: &Args) -> Outcome {
    stdout::with(|out| args.globs.iter().try_for_each(|glob| crate::lake::replay(glob, out).map(drop)))
}

//! `completions SHELL`: a script that completes commands and options.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use super::exit::Outcome;
use super::stdout;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  source <(waterspout completions bash)")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script on standard output.
pub(crate) fn run(args: &Args) -> Outcome {
    // Gathered first: the generator panics where it can't write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "waterspout", &mut script);
    stdout::print(&String::from_utf8_lossy(&script))
}

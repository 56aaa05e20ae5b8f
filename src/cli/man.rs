//! `man --out DIR`: a manual page for each command.

use std::fs;
use std::path::PathBuf;

use super::exit::Outcome;
use super::stdout;
use crate::error::Error;

/// Write manual pages, one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  waterspout man --out ~/.local/share/man/man1")]
pub(crate) struct Args {
    /// The folder for the pages; it is created if it doesn't exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the pages of `command` and of all its subcommands.
pub(crate) fn run(args: &Args, command: clap::Command) -> Outcome {
    let folder = args.out.display();
    let failed =
        |cause| Error::fatal(format!("can't write manual pages to \"{folder}\"")).because(cause);
    fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(command, &args.out).map_err(failed)?;
    stdout::print(&format!("wrote manual pages to {folder}: see waterspout.1\n"))
}

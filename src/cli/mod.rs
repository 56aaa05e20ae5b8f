//! The command line. It reads topologies, starts the engine and reads the lake, and holds no
//! knowledge of its own: [`main`] can be called with any registry, so that a program with
//! components of its own gets every command.

mod completions;
mod components;
mod control;
mod diff;
mod exit;
mod gaps;
mod graph;
mod lake;
mod load;
mod new;
mod rebalance;
mod replay;
mod run;
mod spool;
mod state;
mod status;
mod stdout;
mod stop;
mod validate;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::registry::Registry;

pub use exit::Code;
use exit::Outcome;

/// Runs stream topologies: captures streams of posts into a lake, and runs the same pipeline live
/// and in replay.
#[derive(Debug, Parser)]
#[command(name = "waterspout", version, after_help = exit::help(), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One line for each command, one file for each line.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Status(status::Args),
    Rebalance(rebalance::Args),
    Stop(stop::Args),
    Validate(validate::Args),
    Gaps(gaps::Args),
    Graph(graph::Args),
    Diff(diff::Args),
    Components(components::Args),
    Replay(replay::Args),
    Spool(spool::Args),
    Lake(lake::Args),
    State(state::Args),
    New(new::Args),
    Completions(completions::Args),
}

/// The whole program: reads the arguments of the process, does what they say, prints errors on
/// standard error, and returns the exit code (see [`Code`]).
pub fn main(registry: Registry) -> ExitCode {
    crate::panics::keep_quiet();
    main_with(std::env::args_os(), &registry).into()
}

fn main_with(arguments: impl IntoIterator<Item = OsString>, registry: &Registry) -> Code {
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) => {
            // Help and version are "errors" too; where they can't be printed, nobody is reading.
            let _ = error.print();
            return if error.use_stderr() { Code::Usage } else { Code::Success };
        }
    };
    command.run(registry).unwrap_or_else(|failure| failure.print())
}

impl Command {
    fn run(self, registry: &Registry) -> Outcome {
        match self {
            Self::Run(args) => run::run(args, registry),
            Self::Status(args) => status::run(&args, registry),
            Self::Rebalance(args) => rebalance::run(&args, registry),
            Self::Stop(args) => stop::run(&args, registry),
            Self::Validate(args) => validate::run(&args, registry),
            Self::Gaps(args) => gaps::run(&args, registry),
            Self::Graph(args) => graph::run(&args, registry),
            Self::Diff(args) => diff::run(&args, registry),
            Self::Components(args) => components::run(&args, registry),
            Self::Replay(args) => replay::run(&args),
            Self::Spool(args) => spool::run(&args),
            Self::Lake(args) => lake::run(&args),
            Self::State(args) => state::run(&args),
            Self::New(args) => new::run(&args),
            Self::Completions(args) => completions::run(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn code(arguments: &[&str]) -> Code {
        let arguments = ["waterspout"].iter().chain(arguments).map(OsString::from);
        main_with(arguments, &Registry::standard())
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn wrong_arguments_are_a_matter_of_usage() {
        assert_eq!(code(&["walk"]), Code::Usage);
        assert_eq!(code(&["run"]), Code::Usage);
        assert_eq!(code(&["run", "x.ron", "--interval", "soon"]), Code::Usage);
        assert_eq!(code(&["components", "show", "Nonesuch"]), Code::Usage);
    }

    #[test]
    fn a_topology_file_that_is_not_there_is_a_runtime_error() {
        assert_eq!(code(&["run", "/nonexistent/x.ron"]), Code::Runtime);
        assert_eq!(code(&["graph", "/nonexistent/x.ron"]), Code::Runtime);
    }
}

//! The command line. It reads topologies, starts the engine and reads the lake, and holds no
//! knowledge of its own: [`main`] can be called with any registry, so that a program with
//! components of its own gets every command.

mod color;
mod completions;
mod components;
mod control;
mod diff;
mod exit;
mod gaps;
mod graph;
mod lake;
mod load;
mod log;
mod log_level;
mod man;
mod moment;
mod new;
mod progress;
mod rebalance;
mod remote;
mod replay;
mod run;
mod schema;
mod serve;
mod spool;
mod state;
mod status;
mod stderr;
mod stdout;
mod stop;
mod storm;
#[cfg(test)]
mod surface_tests;
mod test;
mod trends;
mod validate;
mod warehouse;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::lake::room;
use crate::printable::{is_unprintable, printable_line};
use crate::registry::Registry;
use crate::units::ByteSize;

pub use exit::Code;
use exit::Outcome;

/// The version, with the commit if the build knew it; see `build.rs`.
const VERSION: &str = env!("WATERSPOUT_VERSION");

/// Runs stream topologies: captures streams of posts into a lake, and runs the same pipeline live
/// and in replay.
#[derive(Debug, Parser)]
#[command(name = "waterspout", version = VERSION, after_help = exit::help(), max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    log: log::Args,
    #[command(flatten)]
    color: color::Args,
    #[command(subcommand)]
    command: Command,
}

/// One line for each command, one file for each line.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Serve(serve::Args),
    Submit(remote::submit::Args),
    List(remote::list::Args),
    Status(status::Args),
    Activate(remote::activate::Activate),
    Deactivate(remote::activate::Deactivate),
    Rebalance(rebalance::Args),
    Kill(remote::kill::Args),
    Upgrade(remote::upgrade::Args),
    Logs(remote::logs::Args),
    Top(remote::top::Args),
    Tap(remote::tap::Args),
    Stop(stop::Args),
    LogLevel(log_level::Args),
    Validate(validate::Args),
    Test(test::Args),
    Gaps(gaps::Args),
    Graph(graph::Args),
    Diff(diff::Args),
    Components(components::Args),
    Replay(replay::Args),
    Spool(spool::Args),
    Lake(lake::Args),
    State(state::Args),
    Warehouse(warehouse::Args),
    Storm(storm::Args),
    Trends(trends::Args),
    New(new::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The whole program: reads the arguments of the process, does what they say, prints errors on
/// standard error, and returns the exit code (see [`Code`]).
pub fn main(registry: Registry) -> ExitCode {
    completions::answer(&|| completions::with_values(Cli::command(), &registry));
    crate::panics::keep_quiet(stderr::say);
    main_with(std::env::args_os(), &registry).into()
}

/// The same with arguments of the caller's, of which the first is the program's name.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>, registry: &Registry) -> Code {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let command = match parse(&arguments) {
        Ok(cli) => match cli.log.install() {
            Ok(()) => cli.command,
            Err(failure) => return failure.print(),
        },
        Err(error) => return refuse(&error, &arguments),
    };
    command.run(registry).unwrap_or_else(|failure| failure.print())
}

/// Parses arguments. The parser's help and messages have colours as `--color` says.
fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let when = color::ColorWhen::of(arguments);
    when.choose();
    let mut command = Cli::command().color(when.for_parser());
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Prints why arguments aren't taken. Help and version are such "errors" too, in which nothing
/// comes from outside.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> Code {
    if !error.use_stderr() {
        stdout::help(error);
        return Code::Success;
    }
    if arguments
        .iter()
        .all(|argument| argument.to_str().is_some_and(|text| !text.contains(is_unprintable)))
    {
        stderr::usage(error);
    } else {
        stderr::print(&why_refused(error, arguments));
    }
    Code::Usage
}

/// Why arguments aren't taken. The text repeats arguments, and only here is known which of its line
/// breaks are theirs: they are read once more with escapes in them.
fn why_refused(error: &clap::Error, arguments: &[OsString]) -> String {
    let visible =
        arguments.iter().map(|argument| printable_line(&argument.to_string_lossy()).into_owned());
    let again = Cli::try_parse_from(visible).err();
    again.as_ref().unwrap_or(error).render().to_string()
}

impl Command {
    fn run(self, registry: &Registry) -> Outcome {
        match self {
            Self::Run(args) => run::run(args, registry),
            Self::Serve(args) => serve::run(&args, registry.clone()),
            Self::Submit(args) => remote::submit::run(&args, registry),
            Self::List(args) => remote::list::run(&args),
            Self::Activate(args) => remote::activate::activate(&args, registry),
            Self::Deactivate(args) => remote::activate::deactivate(&args, registry),
            Self::Kill(args) => remote::kill::run(&args, registry),
            Self::Upgrade(args) => remote::upgrade::run(&args, registry),
            Self::Logs(args) => remote::logs::run(&args, registry),
            Self::Top(args) => remote::top::run(&args, registry),
            Self::Tap(args) => remote::tap::run(&args, registry),
            Self::Status(args) => status::run(&args, registry),
            Self::Rebalance(args) => rebalance::run(&args, registry),
            Self::Stop(args) => stop::run(&args, registry),
            Self::LogLevel(args) => log_level::run(&args, registry),
            Self::Validate(args) => validate::run(&args, registry),
            Self::Test(args) => test::run(&args, registry),
            Self::Gaps(args) => gaps::run(&args, registry),
            Self::Graph(args) => graph::run(&args, registry),
            Self::Diff(args) => diff::run(&args, registry),
            Self::Components(args) => components::run(&args, registry),
            Self::Replay(args) => replay::run(&args),
            Self::Spool(args) => spool::run(&args),
            Self::Lake(args) => lake::run(&args),
            Self::State(args) => state::run(&args),
            Self::Warehouse(args) => warehouse::run(&args),
            Self::Storm(args) => storm::run(&args, registry),
            Self::Trends(args) => trends::run(&args),
            Self::New(args) => new::run(&args),
            Self::Schema(args) => schema::run(&args, registry),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args, Cli::command()),
        }
    }
}

/// The memory that the commands on a lake may use for large pieces of it.
#[derive(Debug, clap::Args)]
struct LakeMemory {
    /// How much memory the large posts, pages and indexes of a lake may take together that are read
    /// at once; what is below 8 MiB needs none of it
    #[arg(long, global = true, value_name = "SIZE", default_value = "256MiB")]
    memory: ByteSize,
}

impl LakeMemory {
    /// Makes it the bound of this process.
    fn set(&self) {
        room::set_total(self.memory.0);
    }
}

/// Tells the person who waits which server is waited for, on standard error.
fn tell_what_is_waited_for() {
    // Where standard error is closed there is nobody to tell.
    crate::net::notice::tell_by(stderr::say);
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::*;
    use crate::printable::printable_text;

    fn code(arguments: &[&str]) -> Code {
        let arguments = ["waterspout"].iter().chain(arguments).map(OsString::from);
        main_with(arguments, &crate::components::standard())
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

    /// Words of the command line and any text between them.
    fn word() -> impl Strategy<Value = OsString> {
        let known = prop::sample::select(vec![
            "run",
            "status",
            "lake",
            "ls",
            "cat",
            "replay",
            "state",
            "rm",
            "--json",
            "--state",
            "--speed",
            "--shard",
            "0/2",
            "--from",
            "2015-12-18",
            "--interval",
            "1s",
            "--set",
            "a=b",
            "--order",
            "time",
            "--buffer",
            "--only",
            "rebalance",
            "count=4",
            "--help",
            "-h",
            "--version",
            "--",
            "validate",
            "gaps",
            "diff",
            "prune",
            "--older-than",
            "new",
            "components",
            "show",
            "completions",
            "--closed-before",
            "--replay",
            "warehouse",
            "load",
            "--url",
        ]);
        prop_oneof![
            known.prop_map(OsString::from),
            any::<String>().prop_map(OsString::from),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(OsString::from_vec),
            "[0-9]{1,30}(ms|s|d|MiB|TiB|%)?".prop_map(OsString::from),
        ]
    }

    proptest! {
        #[test]
        fn any_arguments_are_taken_or_refused_in_printable_text(words in prop::collection::vec(word(), 0..8)) {
            // They are only read: a command may delete.
            let arguments: Vec<OsString> = std::iter::once("waterspout".into()).chain(words).collect();
            if let Err(error) = Cli::try_parse_from(&arguments) {
                let text = why_refused(&error, &arguments);
                prop_assert!(!printable_text(&text).chars().any(|c| c != '\n' && is_unprintable(c)));
            }
        }
    }
}

//! `completions SHELL`: a script that lets a shell ask this program what may come next.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::{CompleteEnv, Shells};

use super::exit::{Code, Failure, Outcome};
use super::run::state_dir::{self, Home};
use super::stdout;
use crate::error::Error;
use crate::registry::Registry;
use crate::topology::{LoadOptions, load};

/// The variable of the environment by which a shell asks. Its value is the name of the shell.
const ASKS: &str = "WATERSPOUT_COMPLETE";

/// Print a completion script for a shell
///
/// The script completes commands, options and files, and also the names of components, the ids of a
/// topology file's components, and the names of states.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  source <(waterspout completions bash)")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script on standard output.
pub(crate) fn run(args: &Args) -> Outcome {
    let shells = Shells::builtins();
    let name = args.shell.to_string();
    let Some(shell) = shells.completer(&name) else {
        return Err(Failure::new(Code::Usage, format!("there are no completions for {name}")));
    };
    let mut script = Vec::new();
    shell
        .write_registration(ASKS, "waterspout", "waterspout", "waterspout", &mut script)
        .map_err(|error| Error::fatal("can't write the completion script").because(error))?;
    stdout::print(&String::from_utf8_lossy(&script))
}

/// Answers a shell that asks, and ends the process then. Does nothing for anybody else.
pub(crate) fn answer(command: &dyn Fn() -> Command) {
    if env::var_os(ASKS).is_some() {
        CompleteEnv::with_factory(command).var(ASKS).complete();
    }
}

/// Tells the parser which values there are, beside those that it knows itself.
pub(crate) fn with_values(command: Command, registry: &Registry) -> Command {
    let components = ArgValueCompleter::new(component_names(registry));
    let ids = |ending: &'static str| {
        ArgValueCompleter::new(FileIds { registry: registry.clone(), ending })
    };
    command
        .mut_subcommand("components", |command| {
            command.mut_subcommand("show", |show| show.mut_arg("name", |name| name.add(components)))
        })
        .mut_subcommand("rebalance", |command| {
            command.mut_arg("arguments", |all| all.add(ids("=")))
        })
        .mut_subcommand("tap", |command| command.mut_arg("arguments", |all| all.add(ids(""))))
        .mut_subcommand("run", |command| {
            let command = command.mut_arg("only", |only| only.add(ids("")));
            command.mut_arg("drop_state", |id| id.add(ids("")))
        })
        .mut_subcommand("state", |command| {
            let states = ArgValueCompleter::new(state_names);
            command.mut_subcommand("rm", |rm| rm.mut_arg("states", |names| names.add(states)))
        })
}

/// Those of some names with which a word may go on.
fn candidates(names: impl IntoIterator<Item = String>, begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy().to_lowercase();
    let names = names.into_iter().filter(|name| name.to_lowercase().starts_with(&begun));
    names.map(CompletionCandidate::new).collect()
}

/// The names of all components, also other names for them.
fn component_names(registry: &Registry) -> impl ValueCompleter + use<> {
    let mut names = Vec::new();
    for entry in registry.entries() {
        names.push(entry.name.to_owned());
        names.extend(entry.aliases.iter().map(|alias| (*alias).to_owned()));
    }
    names.sort_unstable();
    names.dedup();
    move |begun: &OsStr| candidates(names.clone(), begun)
}

/// The names that `state ls` shows.
fn state_names(begun: &OsStr) -> Vec<CompletionCandidate> {
    let folders =
        state_dir::states(Home::of_process()).and_then(|states| fs::read_dir(states).ok());
    let entries = folders.into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    candidates(names, begun)
}

/// Completes the ids of the components of the topology file that stands on the same line, and files
/// as long as there is none.
struct FileIds {
    registry: Registry,
    /// The text that follows an id.
    ending: &'static str,
}

impl ValueCompleter for FileIds {
    fn complete(&self, begun: &OsStr) -> Vec<CompletionCandidate> {
        let words: Vec<OsString> = env::args_os().collect();
        let is_file = |word: &&OsString| word.to_string_lossy().ends_with(".ron") && *word != begun;
        match words.iter().rev().find(is_file) {
            Some(file) => candidates(self.ids(Path::new(file)), begun),
            None => PathCompleter::file().complete(begun),
        }
    }
}

impl FileIds {
    /// The ids of a topology file; none if it has problems.
    fn ids(&self, file: &Path) -> Vec<String> {
        let Ok(topology) = load(file, &self.registry, &LoadOptions::default()) else {
            return Vec::new();
        };
        let visible = topology.components.iter().filter(|component| !component.id.starts_with('_'));
        visible.map(|component| format!("{}{}", component.id, self.ending)).collect()
    }
}

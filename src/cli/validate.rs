//! `validate FILE…`: all problems of topology files, without running them.

use std::path::{Path, PathBuf};

use super::exit::{Code, Failure, Outcome};
use super::load::{self, Sets};
use super::run::state_dir;
use super::stdout;
use crate::component::Role;
use crate::lake::disk::check_writable;
use crate::printable::printable_line;
use crate::registry::{Config, Registry};
use crate::topology::{Checkpoint, Topology};

/// Check topology files, and report all their problems
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topology files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print each topology with every default written out
    #[arg(long)]
    explain: bool,
    /// Also check everything that `run` will need: what Env and File name, files and lakes that are
    /// read, folders that are written to, addresses that are listened at. Each source is asked,
    /// with the fewest calls, whether credentials and topics are good, each database whether it can
    /// be written to, and each bucket too (by an object below _probe/, which is deleted again). A
    /// webhook's host is asked for its root, and gets no event
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    sets: Sets,
}

/// Checks every file, also behind one that is wrong; the exit code is that of the first failure.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut first_failure = None;
    for file in &args.files {
        match load::load(file, registry, &args.sets, args.online) {
            Ok(topology) if args.explain => {
                stdout::print(&notes(&topology, "// note: "))?;
                stdout::print(&crate::topology::explain(&topology))?
            }
            Ok(topology) => {
                let asked = if args.online { ask(file, &topology) } else { Ok(String::new()) };
                match asked {
                    Ok(answers) => {
                        let file = file.to_string_lossy();
                        let (file, verdict) = (printable_line(&file), verdict(&topology));
                        let notes = notes(&topology, "  note: ");
                        stdout::print(&format!("{file}: {verdict}\n{notes}{answers}"))?
                    }
                    Err(failure) => *first_failure.get_or_insert(failure.print()),
                }
            }
            Err(failure) => *first_failure.get_or_insert(failure.print()),
        };
    }
    Ok(first_failure.unwrap_or(Code::Success))
}

/// Returns what a person should know of options that limit each other, a line each.
fn notes(topology: &Topology, prefix: &str) -> String {
    let is_durable = topology.checkpoint != Checkpoint::Off;
    let mut notes = String::new();
    for component in &topology.components {
        let id = &component.id;
        if let Config::Spout(spout) = &component.config {
            for note in spout.notes(is_durable) {
                notes.push_str(&format!("{prefix}{id}: {}\n", printable_line(&note)));
            }
        }
        for input in &component.inputs {
            if let Some(into) = component.destination(topology, input) {
                let name = topology.input_name(input);
                notes.push_str(&format!("{prefix}{id}: {name} goes into {into}\n"));
            }
        }
    }
    notes
}

/// What sources say of credentials and topics, and sinks of where they write, a line each.
fn ask(file: &Path, topology: &Topology) -> Result<String, Failure> {
    let mut answers = String::new();
    let mut refused = Vec::new();
    if topology.checkpoint != Checkpoint::Off {
        match check_writable(&state_dir::of(None, file, &topology.name)?) {
            Ok(answer) => answers.push_str(&format!("  state: {}\n", printable_line(&answer))),
            Err(error) => refused.push(format!("the state's folder: {}", error.chain())),
        }
    }
    for component in &topology.components {
        let asked = match &component.config {
            Config::Spout(spout) => spout.check_online(),
            Config::Sink(sink) => sink.check_online(),
            Config::Bolt(_) => continue,
        };
        match asked {
            Ok(None) => {}
            Ok(Some(answer)) => {
                answers.push_str(&format!("  {}: {}\n", component.id, printable_line(&answer)))
            }
            Err(error) => {
                refused.push(format!(
                    "{} \"{}\": {}",
                    component.role.name(),
                    component.id,
                    error.chain()
                ));
            }
        }
    }
    if refused.is_empty() { Ok(answers) } else { Err(Failure::several(Code::Runtime, refused)) }
}

/// `ok: 1 spout, 2 bolts, 1 sink, 3 tests`.
fn verdict(topology: &Topology) -> String {
    let parts = [Role::Spout, Role::Bolt, Role::Sink].map(|role| {
        let count = topology.components.iter().filter(|component| component.role == role).count();
        format!("{count} {}{}", role.name(), if count == 1 { "" } else { "s" })
    });
    let tests = match topology.tests.len() {
        0 => String::new(),
        1 => ", 1 test".to_owned(),
        count => format!(", {count} tests"),
    };
    format!("ok: {}{tests}", parts.join(", "))
}

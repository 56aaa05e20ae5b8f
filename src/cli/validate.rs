//! `validate FILE…`: all problems of topology files, without running them.

use std::path::PathBuf;

use super::exit::{Code, Outcome};
use super::load::{self, Sets};
use super::stdout;
use crate::registry::{Registry, Role};
use crate::topology::Topology;

/// Check topology files, and report all their problems
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topology files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print each topology with every default written out
    #[arg(long)]
    explain: bool,
    /// Also check that what Env and File name is there
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    sets: Sets,
}

/// Checks every file, also behind one that is wrong; the exit code is that of the first failure.
pub fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut first_failure = None;
    for file in &args.files {
        match load::load(file, registry, &args.sets, args.online) {
            Ok(topology) if args.explain => stdout::print(&crate::topology::explain(&topology))?,
            Ok(topology) => stdout::print(&format!("{}: {}\n", file.display(), verdict(&topology)))?,
            Err(failure) => *first_failure.get_or_insert(failure.print()),
        };
    }
    Ok(first_failure.unwrap_or(Code::Success))
}

/// `ok: 1 spout, 2 bolts, 1 sink`.
fn verdict(topology: &Topology) -> String {
    let parts = [Role::Spout, Role::Bolt, Role::Sink].map(|role| {
        let count = topology.components.iter().filter(|component| component.role == role).count();
        format!("{count} {}{}", role.name(), if count == 1 { "" } else { "s" })
    });
    format!("ok: {}", parts.join(", "))
}

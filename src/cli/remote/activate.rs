//! `activate NAME` and `deactivate NAME`: spouts go on, or emit nothing.

use super::{Attached, Target, path_of, print_json};
use crate::cli::control::{self, Request};
use crate::cli::exit::Outcome;
use crate::cli::stdout;
use crate::registry::Registry;
use crate::server::TopologySummary;

/// Let the spouts of a topology go on, or start one that has finished once more
#[derive(Debug, clap::Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    target: Target,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

/// Pause a topology, also a replay: its spouts emit nothing, and checkpoints go on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
While it is inactive, a social source captures into its spool, so nothing is lost. A topology
of a server stays inactive when the server is started again.")]
pub(crate) struct Deactivate {
    #[command(flatten)]
    target: Target,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

/// Lets them go on.
pub(crate) fn activate(args: &Activate, registry: &Registry) -> Outcome {
    set_active(&args.target, args.json, true, registry)
}

/// Lets them emit nothing.
pub(crate) fn deactivate(args: &Deactivate, registry: &Registry) -> Outcome {
    set_active(&args.target, args.json, false, registry)
}

fn set_active(target: &Target, json: bool, is_active: bool, registry: &Registry) -> Outcome {
    let (operation, done) =
        if is_active { ("activate", "active") } else { ("deactivate", "inactive") };
    match target.find(registry)? {
        Attached::Server(server, name) => {
            let empty = serde_json::json!({});
            let summary: TopologySummary = server.post(&path_of(&name, operation), &empty)?;
            if json {
                return print_json(&summary);
            }
        }
        Attached::Socket(state) => {
            let request = if is_active { Request::Activate {} } else { Request::Deactivate {} };
            let _: serde_json::Value = control::ask(&state, &request)?;
            if json {
                return print_json(&serde_json::json!({ "state": done }));
            }
        }
    }
    stdout::print(&format!("{done}\n"))
}

//! `kill NAME`: drains a topology, which is gone then.

use std::time::Duration;

use super::{Attached, LOOK_EVERY, Server, Target, path_of};
use crate::cli::control::{self, Request};
use crate::cli::exit::{Code, Failure, Outcome};
use crate::cli::stdout;
use crate::registry::Registry;
use crate::server::{Accepted, TopologyList, TopologySummary};
use crate::units::Interval;

/// The time beyond the drain after which a topology must be gone.
const GONE_MAX: Duration = Duration::from_secs(30);

/// Drain a topology of a server and remove it; a foreground `run` is stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Its state stays on the server, and a topology of the same name goes on with it, unless it is purged.")]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// How long the drain may take
    #[arg(long, value_name = "TIME", default_value = "30s")]
    wait: Interval,
    /// Delete what the server has of it: its checkpoints, and what isn't delivered
    #[arg(long)]
    purge: bool,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
}

/// Asks for it, and waits until it is gone.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let done = match args.target.find(registry)? {
        Attached::Socket(_) if args.purge => {
            let what = "--purge is for topologies of a server; `waterspout state rm` \
                        deletes the state of others";
            return Err(Failure::new(Code::Usage, what));
        }
        Attached::Socket(state) => {
            let within_s = Some(args.wait.0.as_secs());
            let _: serde_json::Value = control::ask(&state, &Request::Stop { within_s })?;
            "stopped"
        }
        Attached::Server(server, name) => {
            let kill = serde_json::json!({ "wait": args.wait.to_string(), "purge": args.purge });
            let _: Accepted = server.post(&path_of(&name, "kill"), &kill)?;
            wait_until_gone(&server, &name, args.wait.0 + GONE_MAX)?;
            if args.purge { "killed and purged" } else { "killed" }
        }
    };
    if args.json {
        return super::print_json(&serde_json::json!({ "done": done }));
    }
    stdout::print(&format!("{done}\n"))
}

fn wait_until_gone(server: &Server, name: &str, patience: Duration) -> Result<(), Failure> {
    let looks = patience.as_millis() / LOOK_EVERY.as_millis();
    let is_it = |topology: &TopologySummary| topology.name == name;
    for _ in 0..looks {
        let list: TopologyList = server.get("/api/v1/topologies", &[])?;
        if !list.topologies.iter().any(is_it) {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let what = format!("\"{name}\" is still draining after {} s", patience.as_secs());
    Err(Failure::new(Code::NotClean, what))
}

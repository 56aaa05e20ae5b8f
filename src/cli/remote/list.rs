//! `list`: the topologies of a server.

use super::{ServerArgs, print_json};
use crate::cli::exit::{Code, Outcome};
use crate::cli::run::units::plain;
use crate::cli::stdout;
use crate::server::{TopologyList, TopologySummary};

/// List the topologies of a server
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One line of JSON for each topology
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Prints them.
pub(crate) fn run(args: &Args) -> Outcome {
    let list: TopologyList = args.server.server()?.get("/api/v1/topologies", &[])?;
    if args.json {
        list.topologies.iter().try_for_each(|topology| print_json(topology).map(drop))?;
        return Ok(Code::Success);
    }
    stdout::print(&text(&list.topologies))
}

fn text(topologies: &[TopologySummary]) -> String {
    if topologies.is_empty() {
        return "no topologies\n".into();
    }
    let name = |topology: &TopologySummary| plain(&topology.name);
    let width = topologies.iter().map(|one| name(one).chars().count()).max().unwrap_or(0).max(4);
    let mut text =
        format!("{:width$}  {:10}  {:>5}  {:>8}  MESSAGE\n", "NAME", "STATE", "TASKS", "FAILURES");
    for topology in topologies {
        let line = format!(
            "{:width$}  {:10}  {:>5}  {:>8}  {}",
            name(topology),
            topology.state.name(),
            topology.tasks,
            topology.failures,
            topology.message.as_deref().map(plain).unwrap_or_default()
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

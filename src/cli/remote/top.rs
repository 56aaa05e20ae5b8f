//! `top`: what all topologies of a server do, or one of them, again and again.

use std::time::Duration;

use super::{Server, ServerArgs, Target, path_of, print_json};
use crate::cli::control::{self, Request, Seen};
use crate::cli::exit::{Code, Outcome};
use crate::cli::run::screen::View;
use crate::cli::run::units::plain;
use crate::cli::{stderr, stdout};
use crate::registry::Registry;
use crate::server::TopologyDetail;
use crate::watch::report::Report;

/// Clears the window of a terminal, and goes to its upper left.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Show what all topologies of a server do, or one topology, again and again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal it goes on until Ctrl-C; otherwise it shows one picture, or with --json lines without an end.")]
pub(crate) struct Args {
    /// The topology's name on the server, or the topology file that `run` runs; all topologies of
    /// the server without it
    #[arg(value_name = "NAME|FILE")]
    topology: Option<String>,
    /// The state folder that `run` was started with, if that was given
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "token_file"])]
    state: Option<std::path::PathBuf>,
    /// Lines of JSON: one for each picture
    #[arg(long)]
    json: bool,
    /// How often to show it
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = crate::cli::run::interval)]
    interval: Duration,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows it.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    if args.topology.is_none() && args.state.is_none() {
        return all(args, &args.server.server()?);
    }
    let target = Target {
        topology: args.topology.clone(),
        state: args.state.clone(),
        server: args.server.clone(),
    };
    let found = target.find(registry)?;
    let mut before = None;
    let mut look = || -> Result<Option<Report>, crate::cli::exit::Failure> {
        Ok(match &found {
            super::Attached::Server(server, name) => {
                server.get::<TopologyDetail>(&path_of(name, ""), &[])?.report
            }
            super::Attached::Socket(state) => {
                let seen: Seen = control::ask(state, &Request::Status {})?;
                let flow = &seen.flow;
                let report = Report::between(before.as_ref(), &seen.status, flow, seen.rss_bytes);
                before = Some(seen.status);
                Some(report)
            }
        })
    };
    let is_live = stderr::is_terminal() && stdout::is_terminal() && !args.json;
    // Rates need two looks.
    look()?;
    let mut view = View::of_process(false, true);
    loop {
        std::thread::sleep(args.interval);
        let Some(report) = look()? else { continue };
        if is_live {
            view.show(&report, false);
        } else if args.json {
            print_json(&report)?;
        } else {
            return stdout::print(&crate::cli::status::text(&report, crate::cli::status::width()));
        }
    }
}

fn all(args: &Args, server: &Server) -> Outcome {
    let look = || server.get::<Vec<TopologyDetail>>("/api/v1/top", &[]);
    let is_live = stdout::is_terminal() && !args.json;
    look()?;
    loop {
        std::thread::sleep(args.interval);
        let topologies = look()?;
        if args.json {
            print_json(&topologies)?;
            continue;
        }
        if is_live {
            stderr::draw(CLEAR);
        }
        stdout::print(&table(&topologies))?;
        if !is_live {
            return Ok(Code::Success);
        }
    }
}

fn table(topologies: &[TopologyDetail]) -> String {
    let names = topologies.iter().map(|one| plain(&one.summary.name).chars().count());
    let width = names.max().unwrap_or(0).max(4);
    let mut text = format!(
        "{:width$}  {:10}  {:>5}  {:>10}  {:>8}  {:>8}  BOTTLENECK\n",
        "NAME", "STATE", "TASKS", "POSTS/s", "LETTERS", "MEMORY"
    );
    for one in topologies {
        let report = one.report.as_ref();
        let spouts = |report: &Report| {
            let rows = report.components.iter().filter(|row| row.role == "spout");
            rows.map(|row| row.out_per_s).sum::<f64>()
        };
        let number =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0}"));
        let memory = report.and_then(|report| report.rss_bytes);
        let bottleneck =
            report.and_then(|report| report.components.iter().find(|row| row.bottleneck));
        let line = format!(
            "{:width$}  {:10}  {:>5}  {:>10}  {:>8}  {:>8}  {}",
            plain(&one.summary.name),
            one.summary.state.name(),
            one.summary.tasks,
            number(report.map(spouts)),
            number(report.map(|report| report.dead_letters() as f64)),
            memory.map_or("-".to_owned(), |bytes| format!("{} MB", bytes / 1_000_000)),
            bottleneck.map(|row| plain(&row.id)).unwrap_or_default()
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

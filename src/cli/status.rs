//! `status NAME`: what a running topology does, as `run` shows it.

use std::time::Duration;

use super::control::{self, Request, Seen};
use super::exit::{Code, Failure, Outcome};
use super::remote::{Attached, Target, path_of};
use super::run::table;
use super::run::units::plain;
use super::stdout;
use crate::error::Error;
use crate::registry::Registry;
use crate::server::TopologyDetail;
use crate::watch::report::Report;

/// How wide the table is where there is no terminal.
const WIDTH: usize = 160;

/// Show what a running topology does
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It looks twice, and shows the rates between: the same table, or line of JSON, as `run`."
)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    /// How long to watch it
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = super::run::interval)]
    interval: Duration,
}

/// Asks twice, and prints what happened in between on standard output.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let report = match args.target.find(registry)? {
        Attached::Socket(state) => {
            let before: Seen = control::ask(&state, &Request::Status {})?;
            std::thread::sleep(args.interval);
            let after: Seen = control::ask(&state, &Request::Status {})?;
            Report::between(Some(&before.status), &after.status, &after.flow, after.rss_bytes)
        }
        Attached::Server(server, name) => {
            let look = || server.get::<TopologyDetail>(&path_of(&name, ""), &[]);
            look()?;
            std::thread::sleep(args.interval);
            let detail = look()?;
            match detail.report {
                Some(report) => report,
                None if args.json => return super::remote::print_json(&detail.summary),
                None => return Err(Failure::new(Code::Runtime, without_process(&detail))),
            }
        }
    };
    stdout::print(&if args.json { json(&report)? } else { text(&report, width()) })
}

/// `"capture" is failed: no such disk`.
fn without_process(detail: &TopologyDetail) -> String {
    let summary = &detail.summary;
    let why = summary.message.as_deref().map(|why| format!(": {}", plain(why)));
    format!("\"{}\" is {}{}", plain(&summary.name), summary.state.name(), why.unwrap_or_default())
}

fn json(report: &Report) -> Result<String, Error> {
    let line = serde_json::to_string(report)
        .map_err(|error| Error::fatal("can't print the status").because(error))?;
    Ok(line + "\n")
}

/// The table whole, however high.
pub(crate) fn text(report: &Report, width: usize) -> String {
    let lines = table::render(report, width, usize::MAX);
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// How wide the table may be.
pub(crate) fn width() -> usize {
    let size = stdout::is_terminal().then(crossterm::terminal::size);
    // Some terminals say that they have no columns.
    size.and_then(Result::ok)
        .filter(|(width, _)| *width > 0)
        .map_or(WIDTH, |(width, _)| width.into())
}

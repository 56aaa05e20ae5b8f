//! `logs NAME`: what the process of a topology said.

use std::time::Duration;

use super::{Attached, Target, path_of, print_json};
use crate::cli::control::{self, Request};
use crate::cli::exit::{Code, Failure, Outcome};
use crate::cli::stdout;
use crate::error::Error;
use crate::printable::printable_line;
use crate::protocol::Message;
use crate::registry::Registry;
use crate::server::{LogLine, Logs};

/// The interval in which a foreground run is asked for more messages.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Show what a topology said: of one on a server its log, of a foreground `run` its messages
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest lines
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    lines: usize,
    /// Lines of JSON
    #[arg(long)]
    json: bool,
}

/// Prints them.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    match args.target.find(registry)? {
        Attached::Server(server, name) => {
            let count = args.lines.to_string();
            let query = [("lines", count.as_str())];
            if !args.follow {
                let logs: Logs = server.get(&path_of(&name, "logs"), &query)?;
                logs.lines.iter().try_for_each(|line| print_line(args.json, line).map(drop))?;
                return Ok(Code::Success);
            }
            let mut take = |_: &str, data: &str| {
                let line: LogLine = serde_json::from_str(data).map_err(unreadable)?;
                print_line(args.json, &line).map(|_| true)
            };
            server.events(&path_of(&name, "logs/follow"), &query, &mut take)?;
            Ok(Code::Success)
        }
        Attached::Socket(state) => {
            let mut newest = 0;
            loop {
                let request = Request::Messages { after: newest };
                let messages: Vec<Message> = match control::ask(&state, &request) {
                    Err(_) if newest > 0 => return Ok(Code::Success),
                    other => other?,
                };
                let skipped =
                    if newest == 0 { messages.len().saturating_sub(args.lines) } else { 0 };
                for message in &messages[skipped..] {
                    print_message(args.json, message)?;
                }
                newest = messages.last().map_or(newest, |message| message.number);
                if !args.follow {
                    return Ok(Code::Success);
                }
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}

fn unreadable(error: serde_json::Error) -> Failure {
    Error::fatal("the server sent an event of another version").because(error).into()
}

fn print_line(json: bool, line: &LogLine) -> Outcome {
    if json {
        return print_json(line);
    }
    let at = line.at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    stdout::print(&format!("{at} {:5} {}\n", line.level, printable_line(&line.text)))
}

fn print_message(json: bool, message: &Message) -> Outcome {
    if json {
        return print_json(message);
    }
    stdout::print(&format!("{:>5} {}\n", message.number, printable_line(&message.text)))
}

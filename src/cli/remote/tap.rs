//! `tap NAME COMPONENT`: tuples as they pass.

use super::{Attached, Target, path_of};
use crate::cli::exit::{Code, Failure, Outcome};
use crate::cli::run::summary::plural;
use crate::cli::{stderr, stdout};
use crate::control::{self, TapRequest};
use crate::error::Error;
use crate::registry::Registry;

/// Show the tuples that pass a component, without holding them up
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "waterspout tap <NAME|FILE|--state DIR> <COMPONENT[:STREAM]> [OPTIONS]",
    after_help = "\
Each tuple is a line of JSON: {\"from\":\"words\",\"tuple\":{\"word\":\"storm\"}}. Of a sink it shows what the sink takes.
What comes faster than it can be shown is counted, and standard error says how many."
)]
pub(crate) struct Args {
    /// The topology's name on the server, or the topology file that `run` runs (unless --state is
    /// given), and the component, or component:stream
    #[arg(required = true, num_args = 1..=2, value_name = "NAME|FILE|COMPONENT")]
    arguments: Vec<String>,
    /// The state folder that `run` was started with, if that was given
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "token_file"])]
    state: Option<std::path::PathBuf>,
    /// Only tuples of which a jq expression is true; it gets the post, or an object of all fields
    #[arg(long = "where", value_name = "JQ")]
    condition: Option<String>,
    /// Only each N-th tuple
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// End after so many tuples
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Lines of JSON, as they are anyway
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: super::ServerArgs,
}

/// Prints them, until somebody ends it.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let (topology, component) = match (&args.arguments[..], &args.state) {
        ([topology, component], None) => (Some(topology.clone()), component),
        ([component], Some(_)) => (None, component),
        _ => {
            let what = "expected the topology's name or file and a component";
            return Err(Failure::new(Code::Usage, what));
        }
    };
    let target = Target { topology, state: args.state.clone(), server: args.server.clone() };
    let mut shown = Shown { left: args.count, missed: 0, failed: 0 };
    match target.find(registry)? {
        Attached::Server(server, name) => {
            let sample = args.sample.to_string();
            let mut query = vec![("component", component.as_str()), ("sample", &sample)];
            query.extend(args.condition.as_deref().map(|code| ("where", code)));
            let mut take = |_: &str, data: &str| shown.take(data);
            server.events(&path_of(&name, "tap"), &query, &mut take)?;
        }
        Attached::Socket(state) => {
            let (component, stream) = match component.split_once(':') {
                Some((component, stream)) => (component.to_owned(), Some(stream.to_owned())),
                None => (component.clone(), None),
            };
            let condition = args.condition.clone();
            let request = TapRequest { component, stream, condition, sample: args.sample };
            let mut failure = None;
            control::tap(&state, request, &mut |line| match shown
                .take(String::from_utf8_lossy(line).trim_end())
            {
                Ok(goes_on) => goes_on,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            })?;
            failure.map_or(Ok(()), Err)?;
        }
    }
    Ok(Code::Success)
}

/// The progress of a tap.
struct Shown {
    /// The number of tuples that are still to be shown.
    left: Option<u64>,
    missed: u64,
    failed: u64,
}

impl Shown {
    /// Shows a line; false if that is enough.
    fn take(&mut self, line: &str) -> Result<bool, Failure> {
        if let Some(counts) = line.strip_prefix("{\"missed\":") {
            self.say_missed(counts);
            return Ok(self.left != Some(0));
        }
        // Posts go out byte for byte.
        stdout::with(|out| {
            let written = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
            written.map_err(|error| Error::fatal("can't write to standard output").because(error))
        })?;
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Ok(self.left != Some(0))
    }

    fn say_missed(&mut self, counts: &str) {
        let mut numbers =
            counts.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
        let (missed, failed) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if missed > self.missed {
            stderr::say(&format!(
                "{} came faster than could be shown",
                plural(missed - self.missed, "tuple")
            ));
        }
        if failed > self.failed {
            stderr::say(&format!(
                "the expression failed on {}",
                plural(failed - self.failed, "tuple")
            ));
        }
        (self.missed, self.failed) = (missed, failed);
    }
}

//! `stop TOPOLOGY`: a graceful drain of a running topology.

use super::control::{self, Place, Request};
use super::exit::{Code, Outcome};
use super::stdout;
use crate::registry::Registry;

/// Stop a running topology: what is in flight is written, and files are closed
#[derive(Debug, clap::Args)]
#[command(after_help = "It waits for the end. The next `run` goes on where this one stopped.")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
}

/// Asks for it, and waits for the end.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let state = args.place.folder(registry)?;
    let _: serde_json::Value = control::ask(&state, &Request::Stop { within_s: None })?;
    stdout::print("stopped\n")?;
    Ok(Code::Success)
}

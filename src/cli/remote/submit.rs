//! `submit FILE`: sends a topology to a server, which runs it. The same for `upgrade`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ServerArgs, print_json};
use crate::cli::exit::{Code, Failure, Outcome};
use crate::cli::load::Sets;
use crate::cli::run::state_dir;
use crate::cli::stdout;
use crate::error::Error;
use crate::printable::printable_line;
use crate::registry::Registry;
use crate::server::{State, Submission, TopologySummary};
use crate::topology::{Guard, LoadOptions, PathVerdict, load_united};

/// Send a topology to a server, which runs it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The files that it includes are united with it, and its paths are made absolute, before it is sent. What it names by
Env and File is read by the server. It goes on with the state that an earlier topology of its name left there.")]
pub(crate) struct Args {
    /// The topology file
    file: PathBuf,
    #[command(flatten)]
    sets: Sets,
    /// Forget the state that an earlier topology of its name left
    #[arg(long)]
    fresh: bool,
    /// Discard the saved state of component ID and continue (repeatable)
    #[arg(long, value_name = "ID", conflicts_with = "fresh")]
    drop_state: Vec<String>,
    /// Print a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Sends it, and says how its start went.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut submission = submission(&args.file, &args.sets, registry)?;
    submission.fresh = args.fresh;
    submission.drop_state = args.drop_state.iter().cloned().collect();
    let server = args.server.server()?;
    let summary: TopologySummary = server.post("/api/v1/topologies", &submission)?;
    if args.json {
        print_json(&summary)?;
    } else {
        stdout::print(&format!("{}\n", started(&summary)))?;
    }
    Ok(if summary.state == State::Failed { Code::Runtime } else { Code::Success })
}

/// `submitted "capture": it runs`.
pub(crate) fn started(summary: &TopologySummary) -> String {
    let name = printable_line(&summary.name);
    let why = summary.message.as_deref().map(printable_line).unwrap_or_default();
    match summary.state {
        State::Failed => {
            format!("submitted \"{name}\", but it failed, and is tried again and again: {why}")
        }
        State::Finished => format!("submitted \"{name}\": {why}"),
        state => format!("submitted \"{name}\": {}", state.name()),
    }
}

/// A topology file as it is sent: with all that it includes, and with absolute paths.
///
/// # Errors
/// All problems of the file.
pub(crate) fn submission(
    file: &Path,
    sets: &Sets,
    registry: &Registry,
) -> Result<Submission, Failure> {
    // A file that isn't there says nothing about its topology, so it isn't an invalid one.
    std::fs::File::open(file).map_err(|error| {
        Error::fatal(format!("can't read \"{}\"", file.display())).because(error)
    })?;
    let folder = state_dir::absolute(Path::new("."))?;
    let guard: Option<Arc<dyn Guard>> = Some(Arc::new(Absolute { folder }));
    let options = LoadOptions { sets: sets.sets.clone(), guard, ..LoadOptions::default() };
    let (_, topology) = load_united(file, registry, &options).map_err(Failure::problems)?;
    let file = Some(file.display().to_string());
    Ok(Submission { topology, file, ..Submission::default() })
}

/// Makes paths absolute, and refuses nothing: the server does.
struct Absolute {
    folder: PathBuf,
}

impl Guard for Absolute {
    fn path(&self, path: &str, _is_read: bool) -> PathVerdict {
        if path == "-" || Path::new(path).is_absolute() {
            return PathVerdict::Keep;
        }
        let mut absolute = self.folder.clone();
        for part in Path::new(path).components() {
            match part {
                std::path::Component::CurDir => {}
                // As the system reads it, unless a link is in between.
                std::path::Component::ParentDir => drop(absolute.pop()),
                part => absolute.push(part),
            }
        }
        PathVerdict::Replace(absolute.to_string_lossy().into_owned())
    }

    fn refuses_variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn refuses_component(&self, _type_name: &str) -> Option<String> {
        None
    }

    fn refuses_includes(&self) -> Option<String> {
        None
    }
}

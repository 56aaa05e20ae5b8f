//! The running topology of a command: one of a server by its name, or a foreground `run` by
//! its file or its state folder.

use std::path::{Path, PathBuf};

use super::{Server, ServerArgs};
use crate::cli::control::state_folder;
use crate::cli::exit::Failure;
use crate::registry::Registry;

/// A running topology.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The topology's name on the server, or the topology file that `run` runs
    #[arg(value_name = "NAME|FILE", required_unless_present = "state")]
    pub topology: Option<String>,
    /// The state folder that `run` was started with, if that was given
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "token_file"])]
    pub state: Option<PathBuf>,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// The place of a topology.
pub(crate) enum Attached {
    /// On a server, by its name.
    Server(Box<Server>, String),
    /// In a process of its own, by its state folder.
    Socket(PathBuf),
}

impl Target {
    /// Finds it.
    ///
    /// # Errors
    /// If its file can't be read, or there is no token for the server.
    pub(crate) fn find(&self, registry: &Registry) -> Result<Attached, Failure> {
        attach(self.topology.as_deref(), self.state.as_deref(), &self.server, registry)
    }
}

/// Finds a topology by what was said of it.
///
/// # Errors
/// If its file can't be read, or there is no token for the server.
pub(crate) fn attach(
    topology: Option<&str>,
    state: Option<&Path>,
    server: &ServerArgs,
    registry: &Registry,
) -> Result<Attached, Failure> {
    match topology {
        Some(name) if state.is_none() && !is_file(name, server) => {
            Ok(Attached::Server(Box::new(server.server()?), name.to_owned()))
        }
        other => {
            let folder = state_folder(other.map(Path::new), state, registry)?;
            Ok(Attached::Socket(folder))
        }
    }
}

/// Returns true if a word means a file and not a name: no server is named, and the word looks like
/// a path or is the name of a file.
pub(crate) fn is_file(word: &str, server: &ServerArgs) -> bool {
    server.url.is_none()
        && (word.contains('/') || word.ends_with(".ron") || Path::new(word).is_file())
}

//! Finds the running topology that a command refers to.

use std::path::{Path, PathBuf};

use crate::cli::exit::{Code, Failure};
use crate::cli::load::{self, Sets};
use crate::cli::run::state_dir;
use crate::registry::Registry;

/// A running topology: by its file, or by its state folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// The topology file that runs
    #[arg(required_unless_present = "state")]
    pub file: Option<PathBuf>,
    /// The state folder that it was started with, if that was given to `run`
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl Place {
    /// The state folder, as `run` finds it.
    ///
    /// # Errors
    /// If the file is needed and can't be read.
    pub(crate) fn folder(&self, registry: &Registry) -> Result<PathBuf, Failure> {
        state_folder(self.file.as_deref(), self.state.as_deref(), registry)
    }
}

/// The state folder of a topology file, or the one that was given.
///
/// # Errors
/// If there is neither, or the file can't be read.
pub(crate) fn state_folder(
    file: Option<&Path>,
    state: Option<&Path>,
    registry: &Registry,
) -> Result<PathBuf, Failure> {
    match (file, state) {
        (_, Some(state)) => state_dir::absolute(state),
        (Some(file), None) => {
            let topology = load::load(file, registry, &Sets::default(), false)?;
            state_dir::of(None, file, &topology.name)
        }
        (None, None) => {
            Err(Failure::new(Code::Usage, "which topology? give its file, or --state DIR"))
        }
    }
}

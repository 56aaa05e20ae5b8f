//! Stand-ins for what the topology loader and the lake will bring; this file goes when they are there.

use std::fmt;
use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::topology::Topology;

/// `topology::LoadOptions`.
#[derive(Debug, Default)]
pub struct LoadOptions {
    /// `path=value`, each.
    pub sets: Vec<String>,
    /// Whether `Env` and `File` must be there.
    pub online: bool,
}

/// `topology::Problems`.
#[derive(Debug)]
pub struct Problems(String);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `topology::load`.
pub fn load(file: &Path, _registry: &Registry, options: &LoadOptions) -> Result<Topology, Problems> {
    let LoadOptions { sets, online } = options;
    Err(Problems(format!("{}:1:1: no loader yet (sets {sets:?}, online {online})", file.display())))
}

/// `topology::explain`.
pub fn explain(_topology: &Topology) -> String {
    String::new()
}

/// `topology::graph_text`.
pub fn graph_text(_topology: &Topology) -> String {
    String::new()
}

/// `topology::graph_dot`.
pub fn graph_dot(_topology: &Topology) -> String {
    String::new()
}

/// `topology::graph_mermaid`.
pub fn graph_mermaid(_topology: &Topology) -> String {
    String::new()
}

/// `lake::replay`.
pub fn replay(glob: &str, _out: &mut dyn Write) -> Result<u64> {
    Err(Error::fatal(format!("no lake yet for \"{glob}\"")))
}

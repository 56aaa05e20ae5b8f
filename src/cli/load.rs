//! Reading a topology file for a command.

use std::path::Path;

use super::exit::Failure;
use super::stderr;
use crate::error::Error;
use crate::registry::Registry;
use crate::topology::{self, LoadOptions, Topology};

/// The changes to a topology while it is read.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Sets {
    /// Change a value of the file: --set spouts.posts.run.rate=500 (repeatable)
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = path_and_value)]
    pub sets: Vec<String>,
}

fn path_and_value(text: &str) -> Result<String, &'static str> {
    match text.split_once('=') {
        Some((path, _)) if !path.trim().is_empty() => Ok(text.to_owned()),
        _ => Err("expected PATH=VALUE"),
    }
}

/// Reads a topology. With `online`, what it needs from outside (`Env`, `File`) must be there.
pub(crate) fn load(
    file: &Path,
    registry: &Registry,
    sets: &Sets,
    online: bool,
) -> Result<Topology, Failure> {
    let options = LoadOptions { sets: sets.sets.clone(), online, ..LoadOptions::default() };
    load_with(file, registry, &options)
}

/// Reads a topology and the tests in its file, also with `sets`, which other commands take for another
/// topology than the tested one.
pub(crate) fn load_with_tests(
    file: &Path,
    registry: &Registry,
    sets: &Sets,
) -> Result<Topology, Failure> {
    let options =
        LoadOptions { sets: sets.sets.clone(), reads_tests: true, ..LoadOptions::default() };
    load_with(file, registry, &options)
}

/// Reads a topology. What it needs from outside must be there, but for these components.
pub(crate) fn load_sparing(
    file: &Path,
    registry: &Registry,
    sets: &Sets,
    spared: Vec<String>,
) -> Result<Topology, Failure> {
    let options = LoadOptions {
        sets: sets.sets.clone(),
        online: true,
        spared: spared.into_iter().collect(),
        ..LoadOptions::default()
    };
    load_with(file, registry, &options)
}

fn load_with(file: &Path, registry: &Registry, options: &LoadOptions) -> Result<Topology, Failure> {
    // A file that isn't there says nothing about its topology, so it isn't an invalid one.
    std::fs::File::open(file).map_err(|error| {
        Error::fatal(format!("can't read \"{}\"", file.display())).because(error)
    })?;
    topology::load(file, registry, options).map_err(|problems| {
        let fits = stderr::is_terminal();
        Failure::problems(if fits { problems.fitting(stderr::width()) } else { problems })
    })
}

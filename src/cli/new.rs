//! `new demo`: a commented topology to begin with.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use clap::Subcommand;

use super::exit::{Code, Failure, Outcome};
use super::stdout;
use crate::error::Error;

/// The demo is one of the topologies that the tests run, so that it can't grow stale.
const DEMO: &str = include_str!("../../topologies/demo.ron");

/// Write a commented topology to begin with
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write demo.ron: spouts, bolts, groupings, a lake, and every optional part, with comments
    Demo {
        /// Overwrite demo.ron
        #[arg(long)]
        force: bool,
    },
}

/// Writes into the working directory.
pub fn run(args: &Args) -> Outcome {
    let What::Demo { force } = args.what;
    let file = Path::new("demo.ron");
    write(file, DEMO, force)?;
    stdout::print("wrote demo.ron; try: waterspout run demo.ron\n")
}

fn write(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let name = file.display();
    let result = if force { fs::write(file, text) } else { write_new(file, text) };
    result.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(Code::Runtime, format!("\"{name}\" is there already; --force overwrites it"))
        }
        _ => Error::fatal(format!("can't write \"{name}\"")).because(error).into(),
    })
}

fn write_new(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_only_overwritten_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.ron");
        write(&file, "mine", false).unwrap();
        assert!(write(&file, "yours", false).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        write(&file, "yours", true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "yours");
    }
}

//! `schema`: the JSON schema of topology files, and a topology file in the form that it describes.

use std::path::PathBuf;

use super::exit::{Failure, Outcome};
use super::stdout;
use crate::registry::Registry;
use crate::topology::{file_as_json, json_schema};

/// Print the JSON schema of topology files, or a topology file as the JSON that it describes
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The schema is for programs that write or check topologies. In JSON, `Name(field: 1)` is {\"Name\": {\"field\": 1}},
`Name(\"text\")` is {\"Name\": \"text\"}, and a bare `Name` is \"Name\". The schema knows names and types of all fields;
`validate` also knows how components fit together.

Example:
  waterspout schema > schema.json
  waterspout schema topology.ron > topology.json
  check-jsonschema --schemafile schema.json topology.json")]
pub(crate) struct Args {
    /// Print this topology file as JSON, with everything that it includes, in place of the schema
    file: Option<PathBuf>,
}

/// Prints on standard output.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let value = match &args.file {
        Some(file) => file_as_json(file).map_err(Failure::problems)?,
        None => json_schema(registry),
    };
    stdout::print(&format!("{value:#}\n"))
}

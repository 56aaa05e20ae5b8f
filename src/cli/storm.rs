//! `storm`: topologies of Apache Storm here, and ours on a cluster of Storm.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::exit::{Code, Failure, Outcome};
use super::load::{self, Sets};
use super::{stderr, stdout};
use crate::error::Error;
use crate::registry::Registry;
use crate::storm::component;
use crate::storm::export::{ExportOptions, export};
use crate::storm::import::{FluxNote, import};

/// Take over topologies of Apache Storm, and run topologies on a cluster of Storm
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the topology that a Flux file with shell components becomes; what differs is told on
    /// standard error, with its place
    Import {
        /// The Flux file; `-` for standard input
        #[arg(value_name = "FLUX.yaml")]
        file: PathBuf,
    },
    /// Write a Flux file, and what is needed to submit it, that runs a topology on a cluster of
    /// Storm 2.8.3 or later
    Export(Export),
    /// Run a part of an exported topology as a shell component of Storm: only Storm calls this
    Component {
        /// The id of the component in the exported topology
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Export {
    /// The topology file
    file: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The path of this program on the workers [default: its path here]
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// The folder on the workers for the cursors of spouts; one that all workers share lets a spout
    /// go on elsewhere [default: a folder of each worker's user]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The number of Storm's worker processes
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: u16,
    #[command(flatten)]
    sets: Sets,
}

/// Imports, exports, or runs a component.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    match &args.what {
        What::Import { file } => run_import(file),
        What::Export(args) => run_export(args, registry),
        What::Component { id } => {
            component::run(id, registry)?;
            Ok(Code::Success)
        }
    }
}

fn run_import(file: &Path) -> Outcome {
    let name = file.display().to_string();
    let text = match name.as_str() {
        "-" => std::io::read_to_string(std::io::stdin()),
        _ => fs::read_to_string(file),
    };
    let text =
        text.map_err(|cause| Error::fatal(format!("can't read \"{name}\"")).because(cause))?;
    let told = |notes: &[FluxNote]| {
        let lines = notes.iter().map(|note| format!("{name}:{note}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    match import(&text) {
        Ok(imported) => {
            if !imported.notes.is_empty() {
                stderr::print(&told(&imported.notes));
            }
            stdout::print(&imported.ron)
        }
        Err(problems) => Err(Failure::problems(told(&problems))),
    }
}

fn run_export(args: &Export, registry: &Registry) -> Outcome {
    let topology = load::load(&args.file, registry, &args.sets, false)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|cause| Error::fatal("can't tell the path of this program").because(cause))?,
    };
    let state = args.state.as_ref().map(|state| {
        std::path::absolute(state).unwrap_or_else(|_| state.clone()).display().to_string()
    });
    let options =
        ExportOptions { program: program.display().to_string(), state, workers: args.workers };
    let exported = export(&topology, &options)
        .map_err(|problems| Failure::several(Code::InvalidTopology, problems))?;
    let failed = |cause| Error::fatal(format!("can't write to {:?}", args.out)).because(cause);
    fs::create_dir_all(&args.out).map_err(failed)?;
    for (name, text) in [
        ("topology.yaml", &exported.flux),
        ("topology.ron", &exported.ron),
        ("submit.sh", &exported.submit),
    ] {
        fs::write(args.out.join(name), text).map_err(failed)?;
    }
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(args.out.join("submit.sh"), executable).map_err(failed)?;
    let mut said =
        format!("wrote topology.yaml, topology.ron and submit.sh to {}\n", args.out.display());
    for note in &exported.notes {
        said.push_str(note);
        said.push('\n');
    }
    stdout::print(&said)
}

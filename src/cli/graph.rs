//! `graph FILE`: the topology as a drawing.

use std::path::PathBuf;

use clap::ValueEnum;

use super::exit::Outcome;
use super::load::{self, Sets};
use super::stdout;
use crate::registry::Registry;
use crate::topology;

/// Draw a topology: components, streams, groupings, guarantees
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topology file
    file: PathBuf,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    sets: Sets,
}

/// The languages that graphs are printed in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
}

/// Prints the drawing on standard output.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let loaded = load::load(&args.file, registry, &args.sets, false)?;
    let text = match args.format {
        Format::Text => topology::graph_text(&loaded),
        Format::Dot => topology::graph_dot(&loaded),
        Format::Mermaid => topology::graph_mermaid(&loaded),
    };
    stdout::print(&text)
}

//! `new NAME`: a commented topology to begin with.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use clap::builder::PossibleValuesParser;

use super::exit::{Code, Failure, Outcome};
use super::stdout;
use crate::error::Error;

/// A topology that can be written: its name, and its text. The texts are topologies that the tests
/// run, so that they can't grow stale.
const TEMPLATES: [(&str, &str); 9] = [
    ("demo", include_str!("../../topologies/demo.ron")),
    ("files", include_str!("../../topologies/files.ron")),
    ("s3", include_str!("../../topologies/s3.ron")),
    ("replay", include_str!("../../topologies/replay.ron")),
    ("x", include_str!("../../topologies/x.ron")),
    ("facebook", include_str!("../../topologies/facebook.ron")),
    ("youtube", include_str!("../../topologies/youtube.ron")),
    ("bluesky", include_str!("../../topologies/bluesky.ron")),
    ("mastodon", include_str!("../../topologies/mastodon.ron")),
];

/// Write a commented topology to begin with
#[derive(Debug, clap::Args)]
#[command(
    after_help = "`demo` has every part of a topology and needs no key. `files` reads lines of \
                  JSON, `s3` writes into a bucket, `replay` reads a lake. The others capture from \
                  a platform. Each says in its comments what it needs."
)]
pub(crate) struct Args {
    /// Which one; it is written to NAME.ron
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(TEMPLATES.map(|(name, _)| name)))]
    name: String,
    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

/// Writes into the working directory.
pub(crate) fn run(args: &Args) -> Outcome {
    let Some((name, text)) = TEMPLATES.iter().find(|(name, _)| *name == args.name) else {
        return Err(Failure::new(Code::Usage, format!("there is no topology \"{}\"", args.name)));
    };
    let file = format!("{name}.ron");
    write(Path::new(&file), text, args.force)?;
    stdout::print(&format!("wrote {file}; next:\n{}\n", next_step(&file, text)))
}

/// Returns the next steps with the file that was written: what to set, how to check it, and how to
/// run it. Comments of the file that begin with `// Before you run it: ` say what to change in it.
fn next_step(file: &str, text: &str) -> String {
    let mut steps = Vec::new();
    for line in text.lines() {
        if let Some(change) = line.strip_prefix("// Before you run it: ") {
            steps.push(format!("  edit    {change}"));
        }
    }
    let variables = variables(text);
    for name in &variables {
        steps.push(format!("  set     export {name}=…"));
    }
    if !variables.is_empty() {
        steps.push(format!("  check   waterspout validate --online {file}"));
    }
    steps.push(format!("  run     waterspout run {file}"));
    steps.join("\n")
}

/// The variables of the environment that a topology needs, outside of its comments.
fn variables(text: &str) -> Vec<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut names = Vec::new();
    for line in lines {
        if let Some((_, rest)) = line.split_once("Env(\"") {
            names.extend(rest.split('"').next());
        }
    }
    names
}

fn write(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let name = file.display();
    let result = if force { fs::write(file, text) } else { write_new(file, text) };
    result.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(
            Code::Runtime,
            format!("\"{name}\" is there already; --force overwrites it"),
        ),
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
    fn what_a_topology_needs_is_said() {
        let step = |name: &str| {
            let (_, text) = TEMPLATES.iter().find(|(known, _)| *known == name).unwrap();
            next_step("a.ron", text)
        };
        assert_eq!(step("demo"), "  run     waterspout run a.ron");
        assert_eq!(step("bluesky"), "  run     waterspout run a.ron");
        assert_eq!(
            step("x"),
            "  set     export X_BEARER_TOKEN=…\n  check   waterspout validate --online a.ron\n  \
             run     waterspout run a.ron"
        );
        assert_eq!(
            step("replay"),
            "  edit    root, the folder of the lake\n  run     waterspout run a.ron"
        );
        assert_eq!(
            step("s3"),
            "  edit    bucket and region, or endpoint\n  set     export AWS_ACCESS_KEY_ID=…\n  \
             set     export AWS_SECRET_ACCESS_KEY=…\n  check   waterspout validate --online a.ron\n  \
             run     waterspout run a.ron"
        );
    }

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

//! Other states that write the same input into the same lake: of a copy of the topology's file, of
//! the file before it was moved, or of the same file before its state was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::lake::writers::{self, WriterNote};
use crate::registry::Config;
use crate::topology::Topology;

use super::units::plain;

/// The outputs of this run and their destinations.
pub(crate) struct Copies {
    note: WriterNote,
    lakes: BTreeSet<PathBuf>,
}

impl Copies {
    /// Of a topology with its state in a folder; the topology's file is `about`.
    pub(crate) fn of(topology: &Topology, state: &Path, about: &str) -> Self {
        let (mut inputs, mut lakes) = (BTreeMap::new(), BTreeSet::new());
        for spec in &topology.components {
            match &spec.config {
                Config::Spout(spout) if !spout.is_handed_in() => {
                    inputs.insert(
                        spec.id.clone(),
                        format!("{:016x}", xxh3_64(spec.explained.as_bytes())),
                    );
                }
                Config::Sink(sink) => lakes.extend(sink.lake_root()),
                _ => {}
            }
        }
        Self {
            note: WriterNote { state: state.to_path_buf(), topology: about.to_owned(), inputs },
            lakes,
        }
    }

    /// What somebody should know who starts this with a new state, a sentence for each lake.
    ///
    /// # Errors
    /// If the topology's file was moved, and its state is still there: then that is meant.
    pub(crate) fn check(&self) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for lake in &self.lakes {
            for other in writers::all(lake) {
                let shared = self.note.shared_with(&other);
                if !shared.is_empty() {
                    warnings.push(self.warning(lake, &other, &shared)?);
                }
            }
        }
        Ok(warnings)
    }

    fn warning(&self, lake: &Path, other: &WriterNote, shared: &[String]) -> Result<String> {
        let spouts: Vec<_> = shared.iter().map(|id| format!("\"{}\"", plain(id))).collect();
        let (lake, state) = (plain(&lake.to_string_lossy()), plain(&other.state.to_string_lossy()));
        let written = format!("the lake \"{lake}\" has posts of {} already", spouts.join(", "));
        let file = plain(&other.topology);
        // Its own note is of the time before its state was removed.
        let state_is_there = other.state != self.note.state && other.state.exists();
        if state_is_there
            && other.topology != self.note.topology
            && !Path::new(&other.topology).exists()
        {
            return Err(Error::fatal(format!(
                "{written}: \"{file}\" captured them, which is gone, and its state is still in \"{state}\". If the file \
                 was moved, go on with --state \"{state}\"; to capture everything a second time, add --fresh"
            )));
        }
        Ok(match state_is_there {
            true => format!(
                "warning: {written}, captured by \"{file}\" with its state in \"{state}\": with a new state the same \
                 posts come a second time. To go on with that one: --state \"{state}\""
            ),
            false => format!(
                "warning: {written}, captured by \"{file}\", whose state \"{state}\" is gone: what its sources still \
                 have comes a second time"
            ),
        })
    }

    /// Takes the notes back, of a run that captured nothing.
    pub(crate) fn forget(&self) {
        self.lakes.iter().for_each(|lake| writers::forget(lake, &self.note.state));
    }

    /// Leaves notes in the lakes. They only help others: where they can't be written, nothing else
    /// fails.
    pub(crate) fn note(&self) {
        for lake in self.lakes.iter().filter(|_| !self.note.inputs.is_empty()) {
            let _ = writers::note(lake, &self.note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LoadOptions, parse};

    #[test]
    fn a_copy_is_told_of_and_a_file_that_was_moved_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let topology = |spout: &str| {
            let root = folder.path().join("lake");
            let text = format!(
                r#"Topology(name: "t", spouts: {{"in": Spout(run: {spout})}},
                    bolts: {{"lake": Bolt(run: Local(root: {root:?}), inputs: [Shuffle("in")])}})"#
            );
            parse("t.ron", &text, &crate::components::standard(), &LoadOptions::default()).unwrap()
        };
        let copies = |spout: &str, name: &str| {
            let path = |what: &str| folder.path().join(what);
            Copies::of(
                &topology(spout),
                &path(&format!("{name}.state")),
                path(name).to_str().unwrap(),
            )
        };
        let check = |spout: &str, name: &str| match copies(spout, name).check() {
            Ok(warnings) => warnings.join("\n").replace(&folder.path().display().to_string(), "F"),
            Err(error) => format!("refused: {}", error.chain())
                .replace(&folder.path().display().to_string(), "F"),
        };
        std::fs::create_dir(folder.path().join("a.state")).unwrap();
        std::fs::write(folder.path().join("a"), "").unwrap();
        copies("Generate()", "a").note();
        copies("Lines(paths: [\"-\"])", "stdin").note();
        assert_eq!(check("Generate(seed: 2)", "b"), "");
        assert_eq!(check("Lines(paths: [\"-\"])", "b"), "");
        assert!(
            check("Generate()", "a").contains("whose state \"F/a.state\" is gone"),
            "its own note, and a new state"
        );
        let told = check("Generate()", "b");
        assert!(
            told.starts_with(
                "warning: the lake \"F/lake\" has posts of \"in\" already, captured by \"F/a\" "
            ),
            "{told}"
        );
        assert!(told.ends_with("To go on with that one: --state \"F/a.state\""), "{told}");
        std::fs::remove_file(folder.path().join("a")).unwrap();
        let refused = check("Generate()", "b");
        assert!(
            refused.starts_with("refused: ")
                && refused.contains("go on with --state \"F/a.state\""),
            "{refused}"
        );
        std::fs::remove_dir(folder.path().join("a.state")).unwrap();
        assert!(check("Generate()", "b").contains("whose state \"F/a.state\" is gone"));
    }
}

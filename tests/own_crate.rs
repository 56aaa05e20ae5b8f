//! A crate outside of this repository's tree that uses Waterspout as a library, as the README
//! describes it: its manifest is the README's, and its source is `examples/custom_bolt.rs`.
//!
//! It is checked and not built: an optimised build would take minutes of each run of the tests. The
//! first check takes about three minutes of a core, later ones half a minute.

#![allow(clippy::unwrap_used, reason = "a test may fail where something is missing")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The block of the README with the manifest.
fn manifest(readme: &str) -> &str {
    let (_, rest) = readme.split_once("```toml file=Cargo.toml\n").unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn a_crate_of_ones_own_compiles_with_the_manifest_of_the_readme() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let readme = fs::read_to_string(repository.join("README.md")).unwrap();
    let beside = "path = \"../waterspout\"";
    assert!(manifest(&readme).contains(beside), "the README's manifest names the repository");
    let here = format!("path = {:?}", repository.display().to_string());
    let manifest = manifest(&readme).replace(beside, &here);
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    let copies = [("examples/custom_bolt.rs", "src/main.rs"), ("Cargo.lock", "Cargo.lock")];
    for (from, to) in copies {
        fs::copy(repository.join(from), folder.path().join(to)).unwrap();
    }
    // The same versions as here, which are on this machine already.
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet", "--target-dir"])
        .arg(repository.join("target/own-crate"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("warning"), "{said}");
}

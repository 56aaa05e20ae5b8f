//! Tells the crate its version with the commit, as `waterspout --version` prints it.
//!
//! The commit comes from `WATERSPOUT_COMMIT`, from the note that `cargo package` puts into the
//! archive of a crate, or from git. Git is asked only for release builds: otherwise each commit would compile
//! the crate again for the tests. Without any of the three the version stands alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The number of digits of a commit that are shown.
const DIGITS: usize = 12;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=WATERSPOUT_COMMIT");
    let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let given = env::var("WATERSPOUT_COMMIT").ok().filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| of_archive(&folder)).or_else(|| of_git(&folder));
    let shown = match commit {
        Some(commit) => {
            let digits: String = commit.chars().filter(char::is_ascii_hexdigit).collect();
            format!("{version} ({})", &digits[..digits.len().min(DIGITS)])
        }
        None => version,
    };
    println!("cargo:rustc-env=WATERSPOUT_VERSION={shown}");
}

/// Returns the commit from which a crate's archive was made.
fn of_archive(folder: &Path) -> Option<String> {
    let note = fs::read_to_string(folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = note.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// Returns the commit of a clone, for a release build.
fn of_git(folder: &Path) -> Option<String> {
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // A crate that was unpacked within another repository has no commit of its own.
    if !is_release || !folder.join(".git").exists() {
        return None;
    }
    let log = git(folder, &["rev-parse", "--git-path", "logs/HEAD"]).map(|log| folder.join(log));
    if let Some(log) = log.filter(|log| log.exists()) {
        println!("cargo:rerun-if-changed={}", log.display());
    }
    git(folder, &["rev-parse", "HEAD"])
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

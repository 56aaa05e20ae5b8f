//! Where tests/run has put what the tests need from other languages, with all that it pins.

use std::path::PathBuf;
use std::process::Command;

/// `${XDG_CACHE_HOME:-~/.cache}/waterspout/<language>-<the first 16 digits of the SHA-256 of the
/// pins>`
pub fn folder(language: &str, pins: &str) -> PathBuf {
    let sum = Command::new("sha256sum")
        .arg(super::repository(pins))
        .output()
        .expect("sha256sum comes with coreutils");
    let hash = String::from_utf8(sum.stdout).unwrap()[..16].to_owned();
    root().join(format!("{language}-{hash}"))
}

/// `${XDG_CACHE_HOME:-~/.cache}/waterspout`
pub fn root() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("waterspout")
}

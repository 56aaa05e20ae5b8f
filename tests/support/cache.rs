//! The cache in which tests/run puts the tools from other languages that the tests need, pinned by
//! version.

use std::path::PathBuf;
use std::process::Command;

/// Returns `${XDG_CACHE_HOME:-~/.cache}/waterspout/<language>-<the first 16 digits of the SHA-256
/// of the pins>`.
pub(crate) fn folder(language: &str, pins: &str) -> PathBuf {
    let sum = Command::new("sha256sum")
        .arg(super::repository(pins))
        .output()
        .expect("sha256sum comes with coreutils");
    let hash = String::from_utf8(sum.stdout).unwrap()[..16].to_owned();
    root().join(format!("{language}-{hash}"))
}

/// Returns `${XDG_CACHE_HOME:-~/.cache}/waterspout`.
pub(crate) fn root() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("waterspout")
}

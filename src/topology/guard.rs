//! Decides which files, variables and components another user's topology may name.

use std::fmt;

/// The decision about a path in a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathVerdict {
    /// The path stays as it is.
    Keep,
    /// The path is replaced by this one.
    Replace(String),
    /// The path is reported as a problem. The text says why, and what to do.
    Refuse(String),
}

/// Decides what a topology may name. Everything refused is reported as a problem with its place,
/// and is neither read nor checked for existence.
pub trait Guard: Send + Sync {
    /// Decides about a path in a field of a component, or in `File("…")` if `is_read`.
    fn path(&self, path: &str, is_read: bool) -> PathVerdict;

    /// Returns the reason if this variable of the environment is refused.
    fn refuses_variable(&self, name: &str) -> Option<String>;

    /// Returns the reason if this type of component is refused.
    fn refuses_component(&self, type_name: &str) -> Option<String>;

    /// Returns the reason if included files are refused.
    fn refuses_includes(&self) -> Option<String>;
}

impl fmt::Debug for dyn Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

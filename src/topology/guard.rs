//! What a topology of somebody else may name: files, variables of the environment, components.

use std::fmt;

/// What becomes of a path in a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathVerdict {
    /// It stays as it is.
    Keep,
    /// This path takes its place.
    Replace(String),
    /// It is a problem; the sentence says why, and what to do.
    Refuse(String),
}

/// Decides what a topology may name. What it refuses is a problem with its place, and is neither
/// read nor looked at.
pub trait Guard: Send + Sync {
    /// A path in a field of a component, or in `File("…")` if `is_read`.
    fn path(&self, path: &str, is_read: bool) -> PathVerdict;

    /// Why a variable of the environment is refused.
    fn refuses_variable(&self, name: &str) -> Option<String>;

    /// Why a type of component is refused, by its own name.
    fn refuses_component(&self, type_name: &str) -> Option<String>;

    /// Why included files are refused.
    fn refuses_includes(&self) -> Option<String>;
}

impl fmt::Debug for dyn Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

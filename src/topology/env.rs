//! `Env("NAME")` and `File("path")`: text from outside, so that a topology file needs to contain no
//! secrets.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::guard::{Guard, PathVerdict};
use super::print::quote;
use super::problem::Report;
use super::source::Span;
use super::syntax::{Kind, Node};

/// The largest file that `File(…)` reads. It is enough for a certificate, and the bound ends a read
/// of `/dev/zero`.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A reference to text from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A variable of the environment.
    Env(String),
    /// The content of a file, without the line break at its end.
    File(String),
}

impl Call {
    /// Returns the call as it is written in a topology file.
    pub(crate) fn ron(&self) -> String {
        match self {
            Self::Env(name) => format!("Env({})", quote(name)),
            Self::File(path) => format!("File({})", quote(path)),
        }
    }

    fn value(&self, given: &BTreeMap<String, String>) -> Result<String, String> {
        match self {
            Self::Env(name) if given.contains_key(name) => Ok(given[name].clone()),
            Self::Env(name) => std::env::var(name).map_err(|error| match error {
                std::env::VarError::NotPresent => {
                    format!("the environment variable \"{name}\" is not set")
                }
                std::env::VarError::NotUnicode(_) => {
                    format!("the environment variable \"{name}\" is not UTF-8")
                }
            }),
            Self::File(path) => {
                read_file(path).map_err(|error| format!("can't read \"{path}\": {error}"))
            }
        }
    }
}

fn read_file(path: &str) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 1 MiB".into());
    }
    let line = text.strip_suffix('\n').map_or(text.len(), |line| line.trim_end_matches('\r').len());
    text.truncate(line);
    Ok(text)
}

/// Access to the environment and to files, or placeholders for both.
pub(super) struct Env {
    /// True if variables and files are read.
    pub online: bool,
    /// True if a missing variable or file isn't a problem.
    pub spares: bool,
    /// Variables that take precedence over those of the environment.
    pub given: BTreeMap<String, String>,
    /// The calls in the engine's own fields, by the path of the field.
    pub written: BTreeMap<String, String>,
    /// The policy that decides which files and variables may be read.
    pub guard: Option<Arc<dyn Guard>>,
    /// The RON with which the guard replaced paths.
    pub replaced: RefCell<HashMap<Span, String>>,
}

/// The names of the calls. A component may have a value of its own by one of these names.
pub(super) const CALLS: [&str; 2] = ["Env", "File"];

impl Env {
    /// Creates the access; variables and files are read only if `online`.
    pub(crate) fn new(online: bool, guard: Option<Arc<dyn Guard>>) -> Self {
        let (given, written) = (BTreeMap::new(), BTreeMap::new());
        Self { online, spares: false, given, written, guard, replaced: RefCell::default() }
    }

    /// Asks the guard about a path in a field of a component, and returns the RON that replaces the
    /// path, if any.
    pub(crate) fn path(&self, report: &mut Report, what: &str, node: &Node) -> Option<String> {
        let (guard, path) = (self.guard.as_ref()?, node.as_text()?);
        match guard.path(path, false) {
            PathVerdict::Keep => None,
            PathVerdict::Replace(path) => {
                let path = quote(&path);
                self.replaced.borrow_mut().insert(node.span, path.clone());
                Some(path)
            }
            PathVerdict::Refuse(why) => {
                report.add(node.span, format!("{what}: {why}"));
                None
            }
        }
    }

    /// Asks the guard about a call. Returns true if the call is refused and must not be read.
    fn is_refused(&self, report: &mut Report, node: &Node, call: &mut Call) -> bool {
        let Some(guard) = &self.guard else { return false };
        let refused = match call {
            Call::Env(name) => guard.refuses_variable(name),
            Call::File(path) => match guard.path(path, true) {
                PathVerdict::Keep => None,
                PathVerdict::Refuse(why) => Some(why),
                PathVerdict::Replace(other) => {
                    let replaced = Call::File(other);
                    self.replaced.borrow_mut().insert(node.span, replaced.ron());
                    *call = replaced;
                    None
                }
            },
        };
        if let Some(why) = &refused {
            report.add(node.span, format!("{}: {why}", call.ron()));
        }
        refused.is_some()
    }

    /// Returns the call that a node represents, if any.
    pub(crate) fn call(&self, report: &mut Report, node: &Node) -> Option<Call> {
        let name = node.name().filter(|name| CALLS.contains(&name.text.as_str()))?;
        let text = match &node.kind {
            Kind::Tuple { items, .. } => {
                items.first().filter(|_| items.len() == 1).and_then(Node::as_text)
            }
            _ => None,
        };
        match (text, name.text.as_str()) {
            (None, _) | (Some(""), _) => {
                report.add(name.span, format!("expected one text, such as `{}(\"…\")`", name.text));
                Some(Call::Env(String::new()))
            }
            (Some(text), name) => {
                let text = text.to_owned();
                let mut call = if name == "Env" { Call::Env(text) } else { Call::File(text) };
                let is_refused = self.is_refused(report, node, &mut call);
                Some(if is_refused { Call::Env(String::new()) } else { call })
            }
        }
    }

    /// Reads a text that is no secret, like [`read`](Self::read), and requires it to be one line. A
    /// file of several lines is probably the wrong file, and messages would show its content later.
    pub(crate) fn read_line(&self, report: &mut Report, call: &Call, span: Span) -> Option<String> {
        let text = self.read(report, call, span)?;
        if text.contains(['\n', '\r', '\0']) {
            report.add(span, format!("expected one line from {}, found several", call.ron()));
            return None;
        }
        Some(text)
    }

    /// Returns the text that a call refers to, if variables and files are read and the text exists.
    pub(crate) fn read(&self, report: &mut Report, call: &Call, span: Span) -> Option<String> {
        // An empty name stands for a malformed call, which is reported already. The standard
        // library itself reports names that contain `=` or NUL as not found.
        if !self.online || *call == Call::Env(String::new()) {
            return None;
        }
        let value = call.value(&self.given);
        if self.spares { value.ok() } else { value.map_err(|what| report.add(span, what)).ok() }
    }
}

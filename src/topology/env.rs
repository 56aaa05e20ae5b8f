//! `Env("NAME")` and `File("path")`: text from outside, so that no secret stands in a topology
//! file.

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

/// A secret is a line; this is enough for a certificate, and ends a read of `/dev/zero`.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Text from outside, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// A variable of the environment.
    Env(String),
    /// A file without the line break at its end.
    File(String),
}

impl Call {
    /// As it stands in a topology file.
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

/// The outside, looked at or not.
pub(super) struct Env {
    /// True if it is looked at.
    pub online: bool,
    /// True if it is no problem if something isn't there.
    pub spares: bool,
    /// Variables that count before those of the environment.
    pub given: BTreeMap<String, String>,
    /// The calls that stand in the engine's own fields, by path.
    pub written: BTreeMap<String, String>,
    /// What decides about files and variables.
    pub guard: Option<Arc<dyn Guard>>,
    /// What the guard put in the place of paths, in RON.
    pub replaced: RefCell<HashMap<Span, String>>,
}

/// Which calls there are; a component may have a word of its own by one of these names.
pub(super) const CALLS: [&str; 2] = ["Env", "File"];

impl Env {
    /// The outside, looked at if `online`.
    pub(crate) fn new(online: bool, guard: Option<Arc<dyn Guard>>) -> Self {
        let (given, written) = (BTreeMap::new(), BTreeMap::new());
        Self { online, spares: false, given, written, guard, replaced: RefCell::default() }
    }

    /// A path in a field of a component, as the guard has it: RON that takes its place.
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

    /// What the guard says of a call; true if it is refused, and must not be read.
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

    /// The call that a node is, if it is one.
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

    /// The same for a text that is no secret: it is one line, so that no other file is taken for
    /// it, whose lines would stand in messages later.
    pub(crate) fn read_line(&self, report: &mut Report, call: &Call, span: Span) -> Option<String> {
        let text = self.read(report, call, span)?;
        if text.contains(['\n', '\r', '\0']) {
            report.add(span, format!("expected one line from {}, found several", call.ron()));
            return None;
        }
        Some(text)
    }

    /// The text that a call stands for, if the outside is looked at and has it.
    pub(crate) fn read(&self, report: &mut Report, call: &Call, span: Span) -> Option<String> {
        // An empty name is what a malformed call became, which is reported already. Asking the
        // environment for a name with `=` or NUL in it is refused by the standard library.
        if !self.online || *call == Call::Env(String::new()) {
            return None;
        }
        let value = call.value(&self.given);
        if self.spares { value.ok() } else { value.map_err(|what| report.add(span, what)).ok() }
    }
}

//! Reads a topology file and the files that it includes into one tree.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::guard::Guard;
use super::problem::{Report, TopologyProblem};
use super::record::Record;
use super::settings::TOPOLOGY_FIELDS;
use super::source::Span;
use super::syntax::{self, Field, Kind, Node};
use crate::lake::inside::open_file;

/// The largest file that is read. A topology is written by a person or a small program.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The longest chain of files that include one another.
const INCLUDE_DEPTH_MAX: usize = 32;

/// Reads topology files, each at most once.
pub(super) struct Files<'a> {
    pub report: &'a mut Report,
    /// The chain of files that include the current one, the outermost first, by their real paths.
    open: Vec<(PathBuf, String)>,
    done: HashSet<PathBuf>,
    guard: Option<&'a dyn Guard>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(report: &'a mut Report, guard: Option<&'a dyn Guard>) -> Self {
        Self { report, open: Vec::new(), done: HashSet::new(), guard }
    }

    /// Returns the tree of a file with everything that it includes. `from` is the place of the
    /// `include`.
    pub(crate) fn file(&mut self, path: &Path, from: Option<Span>) -> Option<Node> {
        let shown = path.display().to_string();
        let real = path.canonicalize().unwrap_or_else(|_| path.into());
        if self.open.iter().any(|(open, _)| *open == real) {
            let chain: Vec<_> = self
                .open
                .iter()
                .skip_while(|(open, _)| *open != real)
                .map(|(_, name)| name)
                .collect();
            let chain = chain.into_iter().map(|name| format!("{name} -> ")).collect::<String>();
            self.problem(&shown, from, format!("files include one another: {chain}{shown}"));
            return None;
        }
        if self.open.len() == INCLUDE_DEPTH_MAX {
            self.problem(
                &shown,
                from,
                format!("a chain of more than {INCLUDE_DEPTH_MAX} included files"),
            );
            return None;
        }
        if !self.done.insert(real.clone()) {
            return None;
        }
        let bytes = match read(path, from.is_some()) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.problem(&shown, from, format!("can't read \"{shown}\": {error}"));
                return None;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        if !looks_like_a_topology(&text) {
            let other = other_format(&text).map(|format| {
                format!(
                    "; it looks like {format}, and a topology is written in RON: \
                     see `waterspout new demo`"
                )
            });
            let other = other.unwrap_or_default();
            self.problem(&shown, from, format!("\"{shown}\" {NO_TOPOLOGY}{other}"));
            return None;
        }
        self.open.push((real, shown.clone()));
        let tree = self.bytes(&shown, bytes, path.parent().unwrap_or(Path::new("")));
        self.open.pop();
        tree
    }

    fn problem(&mut self, file: &str, from: Option<Span>, what: String) {
        self.report.incomplete = true;
        match from {
            Some(span) => self.report.add(span, what),
            None => self.report.add_file(TopologyProblem::of_file(file, what)),
        }
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>, folder: &Path) -> Option<Node> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            self.report.add_file(TopologyProblem::of_file(name, "the file is larger than 16 MiB"));
            return None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => self.text(name, text, folder),
            Err(error) => {
                self.report.incomplete = true;
                let start = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[start];
                // Each invalid sequence becomes one character, so that line and column stay right.
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let span = self.report.sources.add(name, text);
                self.report.add(
                    span.at(start, start),
                    format!("expected UTF-8, found the byte 0x{byte:02x}"),
                );
                None
            }
        }
    }

    /// Returns the tree of a text with everything that it includes. Paths are relative to `folder`.
    pub(crate) fn text(&mut self, name: &str, text: String, folder: &Path) -> Option<Node> {
        if text.len() as u64 > FILE_BYTES_MAX {
            self.report.add_file(TopologyProblem::of_file(name, "the text is larger than 16 MiB"));
            return None;
        }
        let whole = self.report.sources.add(name, text);
        let node = match syntax::parse(self.report.sources.text(whole), whole) {
            Ok(node) => node,
            Err(error) => {
                self.report.incomplete = true;
                self.report.add(whole.at(error.start, error.end), error.what);
                return None;
            }
        };
        let record =
            Record::open(self.report, &node, "the topology", "Topology", &TOPOLOGY_FIELDS)?;
        let included =
            record.get("include").map(|include| self.included(include, folder)).unwrap_or_default();
        Some(included.into_iter().fold(node, unite))
    }

    fn included(&mut self, include: &Node, folder: &Path) -> Vec<Node> {
        let Kind::List(items) = &include.kind else {
            let found = include.describe();
            self.report.incomplete = true;
            self.report.add(
                include.span,
                format!("include: expected a list of file names, found {found}"),
            );
            return Vec::new();
        };
        let guard = self.guard.filter(|_| !items.is_empty());
        if let Some(why) = guard.and_then(|guard| guard.refuses_includes()) {
            self.report.incomplete = true;
            self.report.add(include.span, format!("include: {why}"));
            return Vec::new();
        }
        let mut trees = Vec::new();
        for item in items {
            match item.as_text() {
                Some(path) => trees.extend(self.file(&folder.join(path), Some(item.span))),
                None => {
                    let found = item.describe();
                    self.report.incomplete = true;
                    self.report.add(
                        item.span,
                        format!("include: expected the name of a file, found {found}"),
                    );
                }
            }
        }
        trees
    }
}

/// The message about a file that isn't a topology. It repeats nothing from the file, which may be
/// any file of this machine.
const NO_TOPOLOGY: &str = "is no topology file: expected it to begin with `Topology(`";

/// Returns the format that a text seems to have instead of a topology's. Only the beginning of the
/// text is examined, and the message repeats none of it.
fn other_format(text: &str) -> Option<&'static str> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if text.starts_with('{') || text.starts_with("[{") {
        return Some("JSON");
    }
    let mut lines = text.lines().map(str::trim_end);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_name = |name: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        !name.is_empty() && name.chars().all(good)
    };
    let key_before =
        |sign: char| first.split_once(sign).is_some_and(|(name, _)| is_name(name.trim_end()));
    if first == "---" || first.starts_with("- ") || key_before(':') {
        return Some("YAML");
    }
    let is_table = first.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    (is_table.is_some_and(is_name) || key_before('=')).then_some("TOML")
}

/// Returns true if a text begins like a topology, after comments and attributes. An empty text is a
/// topology without components.
fn looks_like_a_topology(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest).trim_start();
        } else if rest.starts_with("#![") {
            rest = rest.split_once(']').map_or("", |(_, rest)| rest).trim_start();
        } else {
            break;
        }
    }
    let names = |text: &str| {
        let text = text.trim_start();
        TOPOLOGY_FIELDS.iter().any(|field| {
            text.strip_prefix(field).is_some_and(|rest| rest.trim_start().starts_with(':'))
        })
    };
    // A misspelt name is a single mistake, which is reported later with its place.
    let named = rest.get(..4).is_some_and(|begins| begins.eq_ignore_ascii_case("topo"));
    rest.is_empty() || named || rest.strip_prefix('(').is_some_and(names)
}

/// Reads a file. The main file may be a pipe of the shell. An included one must be a regular file,
/// because reading a pipe that nobody writes to would block.
fn read(path: &Path, is_included: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = if is_included { open_file(path)? } else { File::open(path)? };
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Adds an included tree. Maps are merged; for any other field the including file wins. If both
/// maps contain an id, both entries are kept, so that the duplicate is reported with both places.
fn unite(mut into: Node, included: Node) -> Node {
    let (Kind::Struct { fields, .. }, Kind::Struct { fields: added, .. }) =
        (&mut into.kind, included.kind)
    else {
        return into;
    };
    for Field { name, value } in added {
        let known = fields.iter_mut().find(|field| field.name.text == name.text);
        match (known.map(|field| &mut field.value.kind), value.kind) {
            _ if name.text == "include" || !TOPOLOGY_FIELDS.contains(&name.text.as_str()) => {}
            (None, kind) => fields.push(Field { name, value: Node { kind, ..value } }),
            (Some(Kind::Map(entries)), Kind::Map(more)) => entries.extend(more),
            (Some(_), _) => {}
        }
    }
    into
}

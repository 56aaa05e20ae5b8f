//! Reads `run:` of a component. Names are checked over the tree, types by the component's own
//! deserializer.

use std::collections::{HashMap, HashSet};

use ron::error::{Error, Position, SpannedError};

use super::print::{Changes, print, quote};
use super::record::{Values, words};
use super::schema::{Outside, Walk};
use super::source::Span;
use super::syntax::{self, Field, Kind, Node};
use crate::component::Problem;
use crate::registry::{Config, Entry, Read};

/// The number of characters of a value that a message repeats at most.
const FOUND_CHARS_MAX: usize = 40;

/// The number of further errors to look for in one component. Each costs a read of the whole
/// configuration.
const ATTEMPTS_MAX: usize = 32;

/// A component's configuration and the places of its fields.
pub(super) struct Configured {
    pub config: Config,
    /// The configuration with every default. `Env(…)` and `File(…)` stay as they were written.
    pub explained: String,
    /// The place to mark for a problem with the configuration as a whole.
    pub head: Span,
    fields: HashMap<String, Span>,
    /// The fields whose values come from `Env(…)` or `File(…)`.
    outside: HashSet<String>,
    /// True if some values may be placeholders, because the environment and files weren't read.
    has_placeholders: bool,
}

impl Configured {
    /// Returns the place of a field's value, or the place of the component's name if the field has
    /// its default.
    pub(crate) fn place(&self, field: &str) -> Span {
        self.fields.get(field).copied().unwrap_or(self.head)
    }

    /// Returns true if a field's value comes from outside, so that the value may be a secret or a
    /// placeholder.
    pub(crate) fn is_from_outside(&self, field: &str) -> bool {
        self.outside.contains(field)
    }

    /// Leaves out the problems of fields whose values are placeholders.
    pub(crate) fn without_guesses(&self, mut problems: Vec<Problem>) -> Vec<Problem> {
        problems.retain(|problem| !(self.has_placeholders && self.is_from_outside(problem.field)));
        problems
    }
}

/// Reads a component's configuration and reports all problems in it. `owner` is a title such as
/// `bolt "count"`.
pub(super) fn read(
    values: &mut Values<'_>,
    owner: &str,
    entry: &Entry,
    run: &Node,
) -> Option<Configured> {
    let what = format!("{owner}: {}", entry.name);
    let Some(fields) = run.fields() else {
        values.report.add(
            run.head(),
            format!("{what} takes named fields, such as `{}(field: …)`", entry.name),
        );
        return None;
    };
    let before = values.report.count();
    let schema = entry.schema();
    let mut walk = Walk {
        report: values.report,
        env: values.env,
        schema: schema.as_value(),
        outside: Vec::new(),
        changes: Changes::default(),
    };
    walk.component(&what, run.head(), fields);
    let Walk { outside, changes, .. } = walk;

    let online = values.env.online;
    // A component that won't run as it is (see `spared`) may have placeholders even when `online`
    // is set.
    let has_placeholders = !online || values.env.spares;
    let mut reader =
        Reader { values, what: &what, entry, run, outside: &outside, before, unread: false };
    let Some(config) = reader.read(changes) else {
        if values.report.count() == before {
            values.report.add(
                run.head(),
                format!("{what} can't be checked without what comes from outside"),
            );
        }
        return None;
    };
    // Read again with placeholders, so that no text from outside can get into the printed topology.
    let explained = if online && !outside.is_empty() {
        reader.explained()
    } else {
        reader.with_calls(&config.explained)
    };
    if values.report.count() > before {
        return None;
    }
    let from_outside =
        |value: &Node| outside.iter().any(|outside| find(value, outside.span).is_some());
    Some(Configured {
        config: config.config,
        explained,
        head: run.head(),
        has_placeholders,
        outside: fields
            .iter()
            .filter(|field| from_outside(&field.value))
            .map(|field| field.name.text.clone())
            .collect(),
        fields: fields.iter().map(|field| (field.name.text.clone(), field.value.span)).collect(),
    })
}

/// A refusal of a configuration by `ron`: the error, the node that the error is about, and the span
/// to mark.
struct Refused {
    error: SpannedError,
    node: Span,
    head: Span,
}

struct Reader<'a, 'v> {
    values: &'a mut Values<'v>,
    what: &'a str,
    entry: &'a Entry,
    run: &'a Node,
    outside: &'a [Outside],
    before: usize,
    /// True if a field was left out because its placeholder has the wrong type.
    unread: bool,
}

impl Reader<'_, '_> {
    /// Reads the configuration and reports the errors of `ron`. `ron` stops at the first error, so
    /// each reported value is left out and the rest is read again, until a read succeeds or nothing
    /// can be left out.
    fn read(&mut self, mut changes: Changes) -> Option<Read> {
        for outside in self.outside {
            let Values { report, env } = &mut *self.values;
            let text = if outside.is_secret {
                env.read(report, &outside.call, outside.span)
            } else {
                env.read_line(report, &outside.call, outside.span)
            };
            changes
                .instead
                .insert(outside.span, quote(text.as_ref().unwrap_or(&outside.placeholder)));
        }
        let mut loose = HashMap::new();
        for _ in 0..ATTEMPTS_MAX {
            let Refused { error, node, head } = match self.attempt(&changes) {
                Ok(read) => return Some(read),
                Err(error) => *error,
            };
            let word =
                self.values.report.sources.loose_text(node).filter(|_| !loose.contains_key(&node));
            if let Some(text) = word {
                changes.instead.insert(node, quote(text));
                loose.insert(node, error);
                continue;
            }
            // Reading the value as text failed too: report the error of the original form.
            let error = loose.remove(&node).unwrap_or(error);
            self.report(&error, node, head);
            let (_, field) = field_of(self.run, node)?;
            if !changes.left_out.insert(field) {
                return None;
            }
        }
        None
    }

    /// Reads the configuration once.
    fn attempt(&self, changes: &Changes) -> Result<Read, Box<Refused>> {
        let mut printed = print(&self.values.report.sources, self.run, changes);
        if matches!(self.run.kind, Kind::Name(_)) {
            printed.text.push_str("()");
        }
        self.entry.read(&printed.text).map_err(|error| {
            let leaves = !matches!(error.code, Error::MissingStructField { .. });
            let node = printed.node_at(offset(&printed.text, &error.span.end), leaves);
            let (node, head) = node.unwrap_or((self.run.span, self.run.head()));
            Box::new(Refused { error, node, head })
        })
    }

    fn report(&mut self, error: &SpannedError, node: Span, head: Span) {
        let what = match field_of(self.run, node) {
            Some((path, _)) => format!("{}: {path}", self.what),
            None => self.what.to_owned(),
        };
        let report = &mut self.values.report;
        if let Some(outside) = self.outside.iter().find(|outside| outside.span == node) {
            // A value that wasn't read can't be checked, and a value that was read may be a secret.
            if self.values.env.online && !self.values.env.spares {
                report.add(
                    node,
                    format!("{what}: the text of {} doesn't fit here", outside.call.ron()),
                );
            }
            self.unread = true;
            return;
        }
        match &error.code {
            // Missing fields are reported from the schema. A field that was left out here isn't
            // missing.
            Error::MissingStructField { .. } if self.unread || report.count() > self.before => {}
            Error::NoSuchEnumVariant { expected, found, .. } => {
                let text = format!("{what}: expected {}, found `{found}`", words(expected));
                report.add_unknown(head, text, found, expected.iter().copied());
            }
            code => {
                let found: String =
                    report.sources.text(node).chars().take(FOUND_CHARS_MAX).collect();
                report.add(head, format!("{what}: {}", say(code, &found)));
            }
        }
    }

    /// Returns the configuration with every default, read with placeholders only.
    fn explained(&mut self) -> String {
        let mut changes = Changes::default();
        for outside in self.outside {
            changes.instead.insert(outside.span, quote(&outside.placeholder));
        }
        match self.attempt(&changes) {
            Ok(read) => self.with_calls(&read.explained),
            Err(_) => self.as_written(),
        }
    }

    fn as_written(&self) -> String {
        print(&self.values.report.sources, self.run, &Changes::default()).text
    }

    /// Puts `Env(…)` and `File(…)` back where they were written.
    fn with_calls(&mut self, explained: &str) -> String {
        if self.outside.is_empty() {
            return explained.into();
        }
        let sources = &mut self.values.report.sources;
        let whole = sources.add("explained", explained.into());
        let Ok(mut tree) = syntax::parse(explained, whole) else { return self.as_written() };
        let calls: HashSet<_> = self.outside.iter().map(|outside| outside.span).collect();
        if put_back(self.run, &mut tree, &calls) < calls.len() {
            return self.as_written();
        }
        print(sources, &tree, &Changes::default()).text
    }
}

/// Returns the innermost field that contains a node: its path, and the place of its name.
fn field_of(run: &Node, node: Span) -> Option<(String, Span)> {
    find(run, node)?
}

/// Returns `Some` if a node is in a tree, and in it the field that contains the node. The tree is
/// searched, because the span of a node that a `--set` added says nothing about its parent.
fn find(tree: &Node, node: Span) -> Option<Option<(String, Span)>> {
    if tree.span == node {
        return Some(None);
    }
    match &tree.kind {
        Kind::Struct { fields, .. } => fields.iter().find_map(|Field { name, value }| {
            Some(Some(match find(value, node)? {
                Some((path, span)) => (format!("{}.{path}", name.text), span),
                None => (name.text.clone(), name.span),
            }))
        }),
        Kind::List(items) | Kind::Tuple { items, .. } => {
            items.iter().find_map(|item| find(item, node))
        }
        Kind::Map(entries) => {
            entries.iter().find_map(|(key, value)| find(key, node).or_else(|| find(value, node)))
        }
        _ => None,
    }
}

/// Copies the nodes at these spans from one tree to the same positions in another. Returns the
/// number of copied nodes.
fn put_back(written: &Node, into: &mut Node, calls: &HashSet<Span>) -> usize {
    if calls.contains(&written.span) {
        *into = written.clone();
        return 1;
    }
    match (&written.kind, &mut into.kind) {
        (Kind::Tuple { name: Some(name), items }, _) if name.text == "Some" && items.len() == 1 => {
            put_back(&items[0], into, calls)
        }
        (Kind::List(items), Kind::List(into))
        | (Kind::Tuple { items, .. }, Kind::Tuple { items: into, .. }) => {
            items.iter().zip(into).map(|(item, into)| put_back(item, into, calls)).sum()
        }
        (Kind::Map(entries), Kind::Map(into)) => entries
            .iter()
            .filter_map(|(key, value)| {
                let into = into.iter_mut().find(|(other, _)| other.as_text() == key.as_text())?;
                Some(put_back(value, &mut into.1, calls))
            })
            .sum(),
        (Kind::Struct { fields, .. }, Kind::Struct { fields: into, .. }) => fields
            .iter()
            .filter_map(|field| {
                let into = into.iter_mut().find(|other| other.name.text == field.name.text)?;
                Some(put_back(&field.value, &mut into.value, calls))
            })
            .sum(),
        _ => 0,
    }
}

/// Returns the byte offset of a line and a column.
fn offset(text: &str, position: &Position) -> usize {
    let start: usize = text.split_inclusive('\n').take(position.line - 1).map(str::len).sum();
    let column =
        text[start..].char_indices().nth(position.col - 1).map_or(text.len() - start, |(at, _)| at);
    start + column
}

/// Words an error of `ron` as this crate words its own.
fn say(error: &Error, found: &str) -> String {
    let expected = match error {
        Error::Message(text) => return text.clone(),
        Error::ExpectedInteger => "a whole number",
        Error::IntegerOutOfBounds => "a number within range",
        Error::ExpectedFloat => "a number",
        Error::ExpectedBoolean => "true or false",
        Error::ExpectedString => "text",
        Error::ExpectedChar => "a character",
        Error::ExpectedArray => "a list",
        Error::ExpectedMap => "a map",
        other => {
            let text = other.to_string();
            let mut chars = text.chars();
            return chars
                .next()
                .map(|first| first.to_lowercase().chain(chars).collect())
                .unwrap_or_default();
        }
    };
    format!("expected {expected}, found {found}")
}

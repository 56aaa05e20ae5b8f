//! Reads the engine's own parts of a topology file: named fields and their values.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use super::env::Env;
use super::problem::{Report, nearest, quoted};
use super::source::Span;
use super::syntax::{Field, Kind, Name, Node};
use crate::registry::ron_options;
use crate::units::{ByteSize, Interval};

/// The longest duration in a topology, a hundred years, so that no duration overflows a clock.
const DURATION_MAX: Duration = Interval::MAX.0;

/// A struct whose fields are all known, each given at most once.
pub(super) struct Record<'t> {
    /// The title for messages: `bolt "count"`.
    pub what: String,
    /// The span to mark if a field is missing.
    pub head: Span,
    fields: HashMap<&'t str, &'t Node>,
}

impl<'t> Record<'t> {
    /// Reads a node as the struct `name` with the fields `known`. Reports a node of another kind,
    /// and unknown fields.
    pub(crate) fn open(
        report: &mut Report,
        node: &'t Node,
        what: &str,
        name: &str,
        known: &[&'static str],
    ) -> Option<Self> {
        let named = node.name().is_none_or(|found| found.text == name);
        let bare = matches!(node.kind, Kind::Name(_));
        let Some(given) = node.fields().filter(|_| named && !bare) else {
            let first = known.first().copied().unwrap_or_default();
            let found = node.describe();
            report
                .add(node.head(), format!("{what}: expected `{name}({first}: …)`, found {found}"));
            return None;
        };
        report_duplicates(report, what, given);
        let mut fields: HashMap<_, _> = HashMap::new();
        for Field { name, value } in given {
            fields.entry(name.text.as_str()).or_insert(value);
        }
        for Field { name, value } in given {
            if known.contains(&name.text.as_str()) {
                continue;
            }
            let its = quoted(known.iter().copied());
            let text = format!("{what} has no field \"{}\": its fields are {its}", name.text);
            report.add_unknown(name.span, text, &name.text, known.iter().copied());
            // A misspelt field counts as the field that was probably meant, so that this one isn't
            // reported as missing.
            if let Some(meant) = nearest(&name.text, known.iter().copied()) {
                fields.entry(meant).or_insert(value);
            }
        }
        Some(Self { what: what.into(), head: node.head(), fields })
    }

    /// Returns the value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&'t Node> {
        self.fields.get(name).copied()
    }

    /// Returns the value of a required field; reports the field if it is missing.
    pub(crate) fn required(&self, report: &mut Report, name: &str) -> Option<&'t Node> {
        let value = self.get(name);
        if value.is_none() {
            report.add(self.head, format!("{} needs the field \"{name}\"", self.what));
        }
        value
    }
}

/// Reports fields that are given twice.
pub(super) fn report_duplicates(report: &mut Report, what: &str, fields: &[Field]) {
    let mut seen = HashMap::new();
    for Field { name, .. } in fields {
        if let Some(first) = seen.insert(name.text.as_str(), name.span) {
            report.add_again(
                name.span,
                format!("{what} has the field \"{}\" twice", name.text),
                first,
            );
        }
    }
}

/// Reads values of the engine's own fields. A method that finds a problem reports it and returns
/// `None`. It also returns `None` for text from outside that isn't read.
pub(super) struct Values<'a> {
    pub report: &'a mut Report,
    pub env: &'a mut Env,
}

impl Values<'_> {
    /// Returns text, written in the file or from outside. `path` identifies the field for
    /// `explain`.
    pub(crate) fn text(
        &mut self,
        what: &str,
        path: &str,
        node: &Node,
        example: &str,
    ) -> Option<String> {
        if let Some(text) = node.as_text() {
            return Some(text.into());
        }
        if let Some(call) = self.env.call(self.report, node) {
            self.env.written.insert(path.into(), call.ron());
            return self.env.read_line(self.report, &call, node.span);
        }
        if let Some(text) = self.report.sources.loose_text(node.span).map(str::to_owned) {
            return Some(text);
        }
        let found = node.describe();
        self.report.add(
            node.head(),
            format!("{what}: expected text such as \"{example}\", found {found}"),
        );
        None
    }

    fn parsed<T: FromStr<Err = String>>(
        &mut self,
        what: &str,
        path: &str,
        node: &Node,
        example: &str,
    ) -> Option<T> {
        let text = self.text(what, path, node, example)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) if !matches!(node.kind, Kind::Tuple { .. }) => {
                self.report.add(node.span, format!("{what}: {error}"));
                None
            }
            Err(_) => {
                // Text from outside may be a secret in the wrong field.
                let found = self.report.sources.text(node.span);
                let text = format!("{what}: expected text such as \"{example}\" from {found}");
                self.report.add(node.span, text);
                None
            }
        }
    }

    /// Returns a duration with its unit, of at least `min`.
    pub(crate) fn duration(
        &mut self,
        what: &str,
        path: &str,
        node: &Node,
        min: Duration,
    ) -> Option<Duration> {
        let Interval(duration) = self.parsed(what, path, node, "90s")?;
        if (min..=DURATION_MAX).contains(&duration) {
            return Some(duration);
        }
        let (min, max) = (Interval(min), Interval(DURATION_MAX));
        self.report.add(node.span, format!("{what}: expected {min} to {max}"));
        None
    }

    /// Returns a size with its unit, of at least one byte.
    pub(crate) fn size(&mut self, what: &str, path: &str, node: &Node) -> Option<u64> {
        let ByteSize(bytes) = self.parsed(what, path, node, "32MiB")?;
        if bytes == 0 {
            self.report.add(node.span, format!("{what}: expected at least 1B"));
            return None;
        }
        Some(bytes)
    }

    /// Returns a whole number from `min` to `max`.
    pub(crate) fn number(&mut self, what: &str, node: &Node, min: u64, max: u64) -> Option<u64> {
        let raw = self.report.sources.text(node.span);
        let number = match node.kind {
            Kind::Number => ron_options().from_str::<u64>(raw).ok(),
            _ => None,
        };
        if let Some(number) = number.filter(|number| (min..=max).contains(number)) {
            return Some(number);
        }
        let found =
            if matches!(node.kind, Kind::Number) { raw.to_owned() } else { node.describe() };
        let to = if max == u64::MAX { String::new() } else { format!(" to {max}") };
        self.report.add(
            node.head(),
            format!("{what}: expected a whole number from {min}{to}, found {found}"),
        );
        None
    }
}

/// Returns the name of a value that must be one of these words or calls, such as a grouping.
pub(super) fn choice<'t>(
    report: &mut Report,
    what: &str,
    node: &'t Node,
    known: &[&str],
) -> Option<&'t Name> {
    let Some(name) = node.name() else {
        if let Some(text) = node.as_text().filter(|text| nearest(text, known.to_vec()).is_some()) {
            let what =
                format!("{what}: expected {} without quotes, found \"{text}\"", words(known));
            report.add_unknown(node.span, what, text, known.iter().copied());
            return None;
        }
        report.add(
            node.span,
            format!("{what}: expected {}, found {}", words(known), node.describe()),
        );
        return None;
    };
    if known.contains(&name.text.as_str()) {
        return Some(name);
    }
    let text = format!("{what}: expected {}, found `{}`", words(known), name.text);
    report.add_unknown(name.span, text, &name.text, known.iter().copied());
    None
}

/// Returns words of RON as a list for a message.
pub(super) fn words(known: &[&str]) -> String {
    let words: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    words.join(" or ")
}

//! The engine's own parts of a topology file: named fields, and what their values have to be.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use super::env::Env;
use super::problem::{Report, nearest, quoted};
use super::source::Span;
use super::syntax::{Field, Kind, Name, Node};
use crate::registry::ron_options;
use crate::units::{ByteSize, Interval};

/// No duration of a topology is longer, so that none overflows a clock: a hundred years.
const DURATION_MAX: Duration = Interval::MAX.0;

/// A struct whose fields are known, each at most once.
pub(super) struct Record<'t> {
    /// What it is, for messages: `bolt "count"`.
    pub what: String,
    /// What to mark if a field is missing.
    pub head: Span,
    fields: HashMap<&'t str, &'t Node>,
}

impl<'t> Record<'t> {
    /// Takes a node for the struct `name`, whose fields are `known`; reports what else it is, and
    /// what else it has.
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
            // Read as what was probably meant, a misspelt field isn't missing as well.
            if let Some(meant) = nearest(&name.text, known.iter().copied()) {
                fields.entry(meant).or_insert(value);
            }
        }
        Some(Self { what: what.into(), head: node.head(), fields })
    }

    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&'t Node> {
        self.fields.get(name).copied()
    }

    /// The value of a field that must be there.
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

/// Reads values of the engine's own fields. Each method reports what is wrong and then answers
/// `None`, as it does where a value stands in an environment that isn't looked at.
pub(super) struct Values<'a> {
    pub report: &'a mut Report,
    pub env: &'a mut Env,
}

impl Values<'_> {
    /// Text, as it stands or from outside. `path` is where `explain` finds again what was written.
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
                // What comes from outside may be a secret that got into the wrong place.
                let found = self.report.sources.text(node.span);
                let text = format!("{what}: expected text such as \"{example}\" from {found}");
                self.report.add(node.span, text);
                None
            }
        }
    }

    /// A duration with its unit, of at least `min`.
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

    /// A size with its unit, of at least a byte.
    pub(crate) fn size(&mut self, what: &str, path: &str, node: &Node) -> Option<u64> {
        let ByteSize(bytes) = self.parsed(what, path, node, "32MiB")?;
        if bytes == 0 {
            self.report.add(node.span, format!("{what}: expected at least 1B"));
            return None;
        }
        Some(bytes)
    }

    /// A whole number from `min` to `max`.
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

/// The name of a value that is one of some words or calls, such as a grouping.
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

/// Words of RON as a list for a message.
pub(super) fn words(known: &[&str]) -> String {
    let words: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    words.join(" or ")
}

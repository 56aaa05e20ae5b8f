//! Reads the tests of a file from its tree, and checks them against the components that they name.

use std::collections::{BTreeMap, HashMap};

use time::OffsetDateTime;

use super::values::key_of;
use super::{TEST_CLOCK_DEFAULT, TestCase, TestPlace};
use crate::component::Role;
use crate::moment::Moment;
use crate::topology::ComponentSpec;
use crate::topology::problem::{Report, quoted};
use crate::topology::record::Record;
use crate::topology::source::Span;
use crate::topology::syntax::{Kind, Node};
use crate::tuple::StreamId;

pub(in crate::topology) const TEST_FIELDS: [&str; 6] =
    ["clock", "ends", "env", "input", "expect", "dead_letters"];

/// The components that tests may name.
pub(crate) struct Known<'a> {
    /// The ids of all components of the file, including those with problems, each with `true` if
    /// the component is a spout.
    pub ids: &'a [(String, bool)],
    /// The components without problems.
    pub components: &'a [ComponentSpec],
}

/// Reads `tests:` and reports all problems in it.
pub(crate) fn read_all(
    report: &mut Report,
    node: Option<&Node>,
    known: &Known<'_>,
) -> Vec<TestCase> {
    let Some(node) = node else { return Vec::new() };
    let Kind::Map(entries) = &node.kind else {
        let found = node.describe();
        let what = format!("tests: expected `{{ \"name\": Test(input: …) }}`, found {found}");
        report.add(node.head(), what);
        return Vec::new();
    };
    let mut tests = Vec::new();
    let mut names: HashMap<&str, Span> = HashMap::new();
    for (key, value) in entries {
        let Some(name) = key_of(report, "tests", key) else { continue };
        if let Some(first) = names.insert(name, key.span) {
            report.add_again(key.span, format!("the test \"{name}\" is there twice"), first);
            continue;
        }
        if name.trim().is_empty() {
            report.add(key.span, "tests: expected the name of a test, found an empty one");
            continue;
        }
        let mut reader = Reader { report, known, what: format!("test \"{name}\"") };
        tests.extend(reader.test(name, key.span, value));
    }
    tests
}

/// The target of an input or an expectation: a component, and optionally one of its streams.
pub(crate) struct Target<'a> {
    pub component: &'a ComponentSpec,
    /// The stream; `None` for everything that a sink gets, and for the streams that a spout
    /// chooses.
    pub stream: Option<StreamId>,
    /// The target for messages: `bolt "count"`.
    pub title: String,
}

/// Reads one test.
pub(crate) struct Reader<'a, 'k> {
    pub report: &'a mut Report,
    pub known: &'a Known<'k>,
    /// The title of the test, for messages.
    pub what: String,
}

impl<'k> Reader<'_, 'k> {
    fn test(&mut self, name: &str, place: Span, node: &Node) -> Option<TestCase> {
        let what = self.what.clone();
        let record = Record::open(self.report, node, &what, "Test", &TEST_FIELDS)?;
        let clock = record.get("clock").map(|node| (self.time("clock", node), node));
        let has_clock = clock.is_some();
        let clock = clock.and_then(|(time, _)| time).unwrap_or(TEST_CLOCK_DEFAULT);
        let inputs = match record.get("input") {
            Some(node) => self.inputs(node, clock, has_clock),
            None => Vec::new(),
        };
        if record.get("expect").is_none() && record.get("dead_letters").is_none() {
            let text = format!("{what} needs the field \"expect\": the rows that are to come out");
            self.report.add(record.head, text);
        }
        let expected = match record.get("expect") {
            Some(node) => self.expected(node),
            None => Vec::new(),
        };
        let letters = record.get("dead_letters").and_then(|node| self.letters(node));
        let ends = record.get("ends").and_then(|node| self.truth("ends", node)).unwrap_or(true);
        let env = record.get("env").map(|node| self.env(node)).unwrap_or_default();
        let place = self.place(place);
        let name = name.to_owned();
        Some(TestCase { name, place, clock, ends, env, inputs, expected, dead_letters: letters })
    }

    pub(crate) fn add(&mut self, span: Span, text: impl std::fmt::Display) {
        self.report.add(span, format!("{}: {text}", self.what));
    }

    pub(crate) fn place(&self, span: Span) -> TestPlace {
        let place = self.report.sources.place(span);
        TestPlace { file: place.file.into(), line: place.line, column: place.column }
    }

    fn truth(&mut self, field: &str, node: &Node) -> Option<bool> {
        if matches!(node.kind, Kind::Bool) {
            return Some(self.report.sources.text(node.span) == "true");
        }
        let found = node.describe();
        self.add(node.head(), format!("{field}: expected true or false, found {found}"));
        None
    }

    pub(crate) fn time(&mut self, field: &str, node: &Node) -> Option<OffsetDateTime> {
        let example = "a time such as \"2015-12-18T00:05:00Z\"";
        let Some(text) = node.as_text() else {
            let found = node.describe();
            self.add(node.head(), format!("{field}: expected {example}, found {found}"));
            return None;
        };
        match text.parse::<Moment>() {
            Ok(moment) => Some(moment.time()),
            Err(_) => {
                self.add(node.span, format!("{field}: expected {example}, found \"{text}\""));
                None
            }
        }
    }

    fn env(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Kind::Map(entries) = &node.kind else {
            let found = node.describe();
            let text = format!("env: expected `{{ \"NAME\": \"value\" }}`, found {found}");
            self.add(node.head(), text);
            return env;
        };
        for (key, value) in entries {
            match (key.as_text(), value.as_text()) {
                (Some(name), Some(value)) => {
                    if env.insert(name.to_owned(), value.to_owned()).is_some() {
                        self.add(key.span, format!("env: \"{name}\" is there twice"));
                    }
                }
                _ => self.add(key.span, "env: expected `\"NAME\": \"value\"`"),
            }
        }
        env
    }

    /// Returns the entries of a map whose keys are components or streams.
    pub(crate) fn entries<'t>(
        &mut self,
        field: &str,
        node: &'t Node,
    ) -> Vec<(&'t str, Span, &'t Node)> {
        let Kind::Map(entries) = &node.kind else {
            let found = node.describe();
            self.add(node.head(), format!("{field}: expected `{{ \"id\": […] }}`, found {found}"));
            return Vec::new();
        };
        let mut named: Vec<(&str, Span, &Node)> = Vec::new();
        let what = format!("{}: {field}", self.what);
        for (key, value) in entries {
            let Some(name) = key_of(self.report, &what, key) else { continue };
            if let Some((_, first, _)) = named.iter().find(|(known, ..)| *known == name) {
                self.report.add_again(
                    key.span,
                    format!("{what}: \"{name}\" is there twice"),
                    *first,
                );
                continue;
            }
            named.push((name, key.span, value));
        }
        named
    }

    /// Returns the component that a name refers to. A component with problems of its own gives
    /// `None`, without a further problem.
    pub(crate) fn target(&mut self, field: &str, name: &str, span: Span) -> Option<Target<'k>> {
        let (id, stream) = match name.split_once(':') {
            Some((id, stream)) => (id, Some(stream)),
            None => (name, None),
        };
        let spouts_only = field == "input";
        let known = self.known;
        let component = known.components.iter().find(|component| component.id == id);
        let fits = component.filter(|found| !spouts_only || found.role == Role::Spout);
        let Some(component) = fits else {
            self.unknown_component(field, id, span, component);
            return None;
        };
        let role = if component.role == Role::Spout { "spout" } else { component.role.name() };
        let title = format!("{role} \"{id}\"");
        let is_sink = component.role == Role::Sink;
        let stream = match stream {
            None if spouts_only || is_sink => None,
            None => match component.streams.id(crate::tuple::DEFAULT_STREAM) {
                Some(stream) => Some(stream),
                None => return self.unknown_stream(field, component, "default", span),
            },
            Some(stream) if is_sink => {
                let text = format!(
                    "{field}: sink \"{id}\" has no streams: `\"{id}\"` stands for all that it \
                     gets, found the stream \"{stream}\""
                );
                self.add(span, text);
                return None;
            }
            Some(stream) => match component.streams.id(stream) {
                Some(stream) => Some(stream),
                None => return self.unknown_stream(field, component, stream, span),
            },
        };
        let title = match stream {
            Some(stream) if stream != StreamId::DEFAULT => {
                let name = component.streams.iter().nth(stream.0).map_or("", |(name, _)| name);
                format!("{title}, stream \"{name}\"")
            }
            _ => title,
        };
        Some(Target { component, stream, title })
    }

    fn unknown_component(
        &mut self,
        field: &str,
        id: &str,
        span: Span,
        found: Option<&ComponentSpec>,
    ) {
        let spouts_only = field == "input";
        let of_file = self.known.ids.iter();
        // A component with problems of its own is reported at its own place.
        let is_wrong = found.is_none()
            && of_file.clone().any(|(known, is_spout)| known == id && (*is_spout || !spouts_only));
        if is_wrong || self.report.incomplete {
            return;
        }
        let fits = of_file.filter(|(_, is_spout)| *is_spout || !spouts_only);
        let known: Vec<_> = fits.map(|(known, _)| known.as_str()).collect();
        let kind = if spouts_only { "spout" } else { "component" };
        let but = match known.as_slice() {
            [] => String::new(),
            known => format!(", but {}", quoted(known.iter().copied())),
        };
        let why = match found {
            Some(found) => {
                format!("\"{id}\" is a {} and takes no posts of a test", found.role.name())
            }
            None => format!("there is no {kind} \"{id}\""),
        };
        let text = format!("{}: {field}: {why}{but}", self.what);
        self.report.add_unknown(span, text, id, known);
    }

    fn unknown_stream<T>(
        &mut self,
        field: &str,
        component: &ComponentSpec,
        stream: &str,
        span: Span,
    ) -> Option<T> {
        let names: Vec<_> = component.streams.iter().map(|(name, _)| name).collect();
        let declares = quoted(names.iter().copied());
        let text = format!(
            "{}: {field}: \"{}\" has no stream \"{stream}\", but {declares}",
            self.what, component.id
        );
        self.report.add_unknown(span, text, stream, names);
        None
    }
}

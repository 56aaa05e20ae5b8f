//! Reads `expect:` and `dead_letters:` of a test: the rows that the test expects.

use super::read::{Reader, Target};
use super::values::pattern;
use super::{EXPECTED_ROWS_MAX, ExpectedKind, ExpectedRow, ExpectedRows, ExpectedStream, Pattern};
use crate::topology::problem::{nearest, quoted};
use crate::topology::syntax::{Kind, Node};
use crate::tuple::Fields;

/// The members of a dead letter that a test may name.
const LETTER_FIELDS: [&str; 6] = ["component", "error", "time", "from", "tuple", "raw"];

impl Reader<'_, '_> {
    /// Reads the expectation of each component.
    pub(crate) fn expected(&mut self, node: &Node) -> Vec<ExpectedStream> {
        let mut expected = Vec::new();
        for (name, span, value) in self.entries("expect", node) {
            let Some(target) = self.target("expect", name, span) else { continue };
            let fields = self.fields_of(&target);
            let what = format!("{}: expect: {}", self.what, target.title);
            let Some(rows) = self.rows(&what, value, &fields) else { continue };
            let component = target.component.id.clone();
            let (stream, title) = (target.stream, target.title);
            expected.push(ExpectedStream { component, stream, title, rows });
        }
        expected
    }

    /// Returns the fields of each stream that a target takes.
    fn fields_of(&self, target: &Target<'_>) -> Vec<Fields> {
        if let Some(stream) = target.stream {
            return vec![target.component.streams.fields(stream).clone()];
        }
        let mut all = Vec::new();
        for input in &target.component.inputs {
            if let Some(from) = self.known.components.get(input.from)
                && input.stream.0 < from.streams.len()
            {
                all.push(from.streams.fields(input.stream).clone());
            }
        }
        all
    }

    /// Reads the expected dead letters.
    pub(crate) fn letters(&mut self, node: &Node) -> Option<ExpectedRows> {
        let what = format!("{}: dead_letters", self.what);
        self.rows(&what, node, &[Fields::new(LETTER_FIELDS)])
    }

    fn rows(&mut self, what: &str, node: &Node, fields: &[Fields]) -> Option<ExpectedRows> {
        let place = self.place(node.span);
        let inner = match &node.kind {
            Kind::Tuple { items, .. } => items.first().filter(|_| items.len() == 1),
            _ => None,
        };
        let name = match &node.kind {
            Kind::List(_) => None,
            _ => node.name().map(|name| name.text.as_str()),
        };
        let (kind, list) = match (name, inner) {
            (None, _) => (ExpectedKind::Exactly, node),
            (Some("Ordered"), Some(list)) => (ExpectedKind::Ordered, list),
            (Some("AtLeast"), Some(list)) => (ExpectedKind::AtLeast, list),
            (Some("Count"), Some(count)) if matches!(count.kind, Kind::Number) => {
                let count = self.report.sources.text(count.span).parse().ok();
                if let Some(count) = count {
                    return Some(ExpectedRows {
                        place,
                        kind: ExpectedKind::Count(count),
                        rows: Vec::new(),
                    });
                }
                self.report.add(node.span, format!("{what}: expected `Count(3)`"));
                return None;
            }
            (Some(_), _) => (ExpectedKind::Exactly, node),
        };
        let Kind::List(items) = &list.kind else {
            let found = list.describe();
            let text = format!(
                "{what}: expected a list of rows, `Ordered([…])`, `AtLeast([…])` or `Count(3)`, \
                 found {found}"
            );
            let name = name.unwrap_or_default();
            self.report.add_unknown(list.head(), text, name, ["Ordered", "AtLeast", "Count"]);
            return None;
        };
        if items.len() > EXPECTED_ROWS_MAX {
            let text = format!(
                "{what}: expected {EXPECTED_ROWS_MAX} rows at most, found {}: `Count` takes any \
                 number, and `AtLeast` needs only those that matter",
                items.len()
            );
            self.report.add(list.span, text);
            return None;
        }
        let mut rows = Vec::new();
        for item in items {
            let Some(pattern) = self.row(what, item, fields) else { continue };
            rows.push(ExpectedRow { place: self.place(item.span), pattern });
        }
        Some(ExpectedRows { place, kind, rows })
    }

    /// Reads one row: a map of fields, JSON in quotes, or a bare post if the target takes posts.
    fn row(&mut self, what: &str, item: &Node, fields: &[Fields]) -> Option<Pattern> {
        let row = match &item.kind {
            Kind::Text(json) => match serde_json::from_str::<serde_json::Value>(json) {
                Ok(json) => Pattern::of_json(&json),
                Err(error) => {
                    self.report.add(item.span, format!("{what}: this is no JSON: {error}"));
                    return None;
                }
            },
            _ => pattern(self.report, what, item)?,
        };
        let members = match row {
            Pattern::Object(members) => members,
            Pattern::Any => return Some(Pattern::Any),
            _ => {
                let found = item.describe();
                let text =
                    format!("{what}: expected a row such as `{{\"field\": 1}}`, found {found}");
                self.report.add(item.head(), text);
                return None;
            }
        };
        let is_field = |name: &str| fields.iter().any(|fields| fields.position(name).is_some());
        let Some(unknown) = members.iter().position(|(name, _)| !is_field(name)) else {
            return Some(Pattern::Object(members));
        };
        let name = &members[unknown].0;
        let names: Vec<_> =
            fields.iter().flat_map(|fields| fields.names().iter().map(String::as_str)).collect();
        let takes_posts = fields.contains(&Fields::of_posts());
        if takes_posts && members.len() == 1 && nearest(name, names.iter().copied()).is_none() {
            return Some(Pattern::Object(vec![("post".into(), Pattern::Object(members))]));
        }
        let key = match &item.kind {
            Kind::Map(entries) => entries.get(unknown).map_or(item.span, |(key, _)| key.span),
            _ => item.span,
        };
        let mut known = names.clone();
        known.sort_unstable();
        known.dedup();
        let text = match known.as_slice() {
            [] => format!("{what}: there is no field \"{name}\""),
            known => format!(
                "{what}: there is no field \"{name}\", but {}",
                quoted(known.iter().copied())
            ),
        };
        self.report.add_unknown(key, text, name, known.iter().copied());
        None
    }
}

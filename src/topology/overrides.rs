//! Applies `--set path=value`: changes to the tree before it is checked.

use super::problem::Report;
use super::source::Span;
use super::syntax::{self, Field, Kind, Name, Node};

/// A path of a `--set` that doesn't lead to a value, and the names that would.
struct PathNotFound {
    /// The part of the path that wasn't found.
    span: Span,
    what: String,
    name: String,
    known: Vec<String>,
}

/// Applies one `--set` to a tree.
pub(super) fn apply(report: &mut Report, root: &mut Node, text: &str) {
    let Some((path, value)) = text.split_once('=') else {
        let span = report.sources.add_set(text, text.len());
        report.add(span, "expected `path=value`, such as `spouts.in.run.posts=10`");
        return;
    };
    let whole = report.sources.add_set(text, path.len() + 1);
    let value_span = whole.at(path.len() + 1, text.len());
    // A value that isn't RON is text, so that a path or a duration needs no quotes within the
    // shell's.
    let value = syntax::parse(value, whole)
        .unwrap_or_else(|_| Node { span: value_span, kind: Kind::Text(value.to_owned()) });
    let names = names(path, whole);
    if let Some(empty) = names.iter().find(|name| name.text.is_empty()) {
        report.add(empty.span, "an empty name in the path");
    } else if names[0].text == "include" {
        report.add(names[0].span, "files are included before `--set` is applied");
    } else if let Err(lost) = set(root, &names, value) {
        report.add_unknown(lost.span, lost.what, &lost.name, lost.known.iter().map(String::as_str));
    }
}

fn names(path: &str, whole: Span) -> Vec<Name> {
    let mut start = 0;
    let name = |text: &str| {
        let span = whole.at(start, start + text.len());
        start += text.len() + 1;
        Name { text: text.to_owned(), span }
    };
    path.split('.').map(name).collect()
}

fn set(node: &mut Node, path: &[Name], value: Node) -> Result<(), PathNotFound> {
    let Some((name, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    let described = node.describe();
    match &mut node.kind {
        Kind::Map(entries) => set_in_map(entries, name, rest, value),
        Kind::List(items) => set_in_list(items, name, rest, value),
        _ => match as_fields(node) {
            Some(fields) => set_field(fields, name, rest, value),
            None => Err(lost(name, format!("{described} has no fields to set"), [])),
        },
    }
}

/// Returns the named fields of a node. `Null` and `Null()` become a struct without fields.
fn as_fields(node: &mut Node) -> Option<&mut Vec<Field>> {
    if matches!(node.kind, Kind::Tuple { .. } | Kind::Name(_)) && node.fields().is_some() {
        node.kind = Kind::Struct { name: node.name().cloned(), fields: Vec::new() };
    }
    match &mut node.kind {
        Kind::Struct { fields, .. } => Some(fields),
        _ => None,
    }
}

fn set_field(
    fields: &mut Vec<Field>,
    name: &Name,
    rest: &[Name],
    value: Node,
) -> Result<(), PathNotFound> {
    let known = fields.iter().position(|field| field.name.text == name.text);
    let position = known.unwrap_or_else(|| {
        // A missing field is added. Later checks report the field if it doesn't exist.
        let empty = Kind::Struct { name: None, fields: Vec::new() };
        fields.push(Field { name: name.clone(), value: Node { span: name.span, kind: empty } });
        fields.len() - 1
    });
    set(&mut fields[position].value, rest, value)
}

fn set_in_map(
    entries: &mut Vec<(Node, Node)>,
    name: &Name,
    rest: &[Name],
    value: Node,
) -> Result<(), PathNotFound> {
    if let Some((_, known)) = entries.iter_mut().find(|(key, _)| key.as_text() == Some(&name.text))
    {
        return set(known, rest, value);
    }
    if rest.is_empty() {
        entries.push((Node { span: name.span, kind: Kind::Text(name.text.clone()) }, value));
        return Ok(());
    }
    let known: Vec<_> =
        entries.iter().filter_map(|(key, _)| key.as_text().map(str::to_owned)).collect();
    Err(lost(name, format!("there is no \"{}\" to set anything of", name.text), known))
}

fn set_in_list(
    items: &mut Vec<Node>,
    name: &Name,
    rest: &[Name],
    value: Node,
) -> Result<(), PathNotFound> {
    let count = items.len();
    match name.text.parse::<usize>() {
        Ok(position) if position < count => set(&mut items[position], rest, value),
        Ok(position) if position == count && rest.is_empty() => {
            items.push(value);
            Ok(())
        }
        _ => Err(lost(
            name,
            format!("expected a position from 0 to {count}, found \"{}\"", name.text),
            [],
        )),
    }
}

fn lost(name: &Name, what: String, known: impl IntoIterator<Item = String>) -> PathNotFound {
    PathNotFound {
        span: name.span,
        what,
        name: name.text.clone(),
        known: known.into_iter().collect(),
    }
}

//! Reads `inputs:` of a bolt, before the fields that other components declare are known.

use std::collections::{HashMap, HashSet};

use super::component::Draft;
use super::problem::{Report, nearest, quoted};
use super::record::choice;
use super::source::Span;
use super::syntax::{Kind, Node};
use crate::component::Role;
use crate::tuple::DEFAULT_STREAM;

pub(super) const GROUPINGS: [&str; 7] =
    ["Shuffle", "LocalOrShuffle", "Fields", "PartialKey", "All", "Global", "Direct"];

/// True if a grouping takes the names of fields.
pub(super) fn has_keys(grouping: &str) -> bool {
    matches!(grouping, "Fields" | "PartialKey")
}

/// An input whose component was found.
pub(super) struct Input<'t> {
    /// The position of the component among the drafts.
    pub from: usize,
    /// True if the id doesn't exist and the nearest existing id was assumed.
    pub guessed: bool,
    pub stream: &'t str,
    /// The place of `"id:stream"`.
    pub place: Span,
    pub grouping: &'t str,
    /// The names of the fields that the input groups by, with their places.
    pub keys: Vec<(&'t str, Span)>,
}

/// The inputs of every component. `None` stands for an input that can't be read.
pub(super) fn read_all<'t>(
    report: &mut Report,
    drafts: &[Draft<'t>],
) -> Vec<Vec<Option<Input<'t>>>> {
    let ids: HashMap<_, _> =
        drafts.iter().enumerate().map(|(i, draft)| (draft.id.as_str(), i)).collect();
    drafts.iter().map(|draft| read(report, drafts, &ids, draft)).collect()
}

fn read<'t>(
    report: &mut Report,
    drafts: &[Draft<'t>],
    ids: &HashMap<&str, usize>,
    draft: &Draft<'t>,
) -> Vec<Option<Input<'t>>> {
    let what = draft.title();
    let Some(node) = draft.inputs else {
        // Without a known type, no further check makes sense.
        if !draft.is_spout && draft.entry.is_some() {
            report.add(
                draft.place,
                format!("{what} needs inputs, such as `inputs: [Shuffle(\"id\")]`"),
            );
        }
        return Vec::new();
    };
    match &node.kind {
        Kind::List(items) if items.is_empty() => {
            report.add(node.span, format!("{what} needs at least one input"));
            Vec::new()
        }
        Kind::List(items) => {
            items.iter().map(|item| input(report, drafts, ids, &what, draft, item)).collect()
        }
        _ => {
            let found = node.describe();
            report.add(
                node.head(),
                format!(
                    "{what}: expected a list of inputs such as `[Shuffle(\"id\")]`, found {found}"
                ),
            );
            Vec::new()
        }
    }
}

fn input<'t>(
    report: &mut Report,
    drafts: &[Draft<'t>],
    ids: &HashMap<&str, usize>,
    what: &str,
    draft: &Draft<'t>,
    node: &'t Node,
) -> Option<Input<'t>> {
    let grouping = choice(report, &format!("{what}: a grouping"), node, &GROUPINGS)?;
    let items = match &node.kind {
        Kind::Tuple { items, .. } => items.as_slice(),
        _ => &[],
    };
    let keyed = has_keys(&grouping.text);
    let name = items.first().and_then(|item| Some((item, item.as_text()?)));
    let Some((item, name)) = name.filter(|_| items.len() == 1 + usize::from(keyed)) else {
        let form = if keyed { "(\"id\", [\"field\"])" } else { "(\"id\")" };
        report.add(node.span, format!("{what}: expected `{}{form}`", grouping.text));
        return None;
    };
    let keys = if keyed { keys(report, what, &grouping.text, &items[1])? } else { Vec::new() };
    let (id, stream) = name.split_once(':').unwrap_or((name, DEFAULT_STREAM));
    let from = ids
        .get(id)
        .copied()
        .or_else(|| unknown(report, drafts, ids, what, draft, item.span, id))?;
    let guessed = !ids.contains_key(id);
    Some(Input { from, guessed, stream, place: item.span, grouping: &grouping.text, keys })
}

fn keys<'t>(
    report: &mut Report,
    what: &str,
    grouping: &str,
    node: &'t Node,
) -> Option<Vec<(&'t str, Span)>> {
    let Kind::List(items) = &node.kind else {
        report.add(
            node.head(),
            format!(
                "{what}: expected a list of fields such as `[\"word\"]`, found {}",
                node.describe()
            ),
        );
        return None;
    };
    if items.is_empty() {
        report.add(node.span, format!("{what}: a {grouping} grouping needs at least one field"));
        return None;
    }
    let mut keys = Vec::new();
    let mut seen = HashSet::new();
    for item in items {
        match item.as_text() {
            Some(key) if seen.insert(key) => keys.push((key, item.span)),
            Some(key) => report.add(item.span, format!("{what} groups by \"{key}\" twice")),
            None => report.add(
                item.head(),
                format!("{what}: expected a field's name, found {}", item.describe()),
            ),
        }
    }
    Some(keys)
}

/// Reports an id that doesn't exist. Returns the nearest id that does, so that components that
/// depend on this bolt can still be checked.
fn unknown(
    report: &mut Report,
    drafts: &[Draft<'_>],
    ids: &HashMap<&str, usize>,
    what: &str,
    draft: &Draft<'_>,
    place: Span,
    id: &str,
) -> Option<usize> {
    if report.incomplete {
        return None;
    }
    if report.is_full() {
        // Only counted: with very many inputs, listing all ids for each of them would take too
        // long.
        report.add(place, "");
        return None;
    }
    let emits = |other: &&Draft<'_>| {
        other.id != draft.id && other.entry.is_none_or(|entry| entry.role != Role::Sink)
    };
    let known: Vec<_> = drafts.iter().filter(emits).map(|other| other.id.as_str()).collect();
    let others = if known.is_empty() {
        "no other component emits".into()
    } else {
        format!("the components are {}", quoted(known.iter().copied()))
    };
    let text = format!("{what} takes input from \"{id}\", but {others}");
    report.add_unknown(place, text, id, known.iter().copied());
    nearest(id, known).and_then(|near| ids.get(near).copied())
}

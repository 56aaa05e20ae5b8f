//! Reads `Spout(…)` and `Bolt(…)`: everything in a component that can be read before its inputs are
//! resolved.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU16;
use std::time::Duration;

use super::config::{self, Configured};
use super::problem::quoted;
use super::record::{Record, Values, choice};
use super::source::Span;
use super::syntax::{Kind, Node};
use super::{AfterRetries, OnError, PARALLELISM_HINT_MAX};
use crate::component::Role;
use crate::registry::{Config, Entry, Registry};

/// The number of tuples that go to another task at once, unless a component sets `batch`.
const BATCH_DEFAULT: usize = 256;

/// The largest batch. A task may hold back this many tuples for each task that it sends to.
pub(super) const BATCH_MAX: u64 = 65_536;

pub(super) const SPOUT_FIELDS: [&str; 4] = ["run", "parallelism_hint", "batch", "linger"];
pub(super) const BOLT_FIELDS: [&str; 6] =
    ["run", "inputs", "parallelism_hint", "on_error", "batch", "linger"];

/// A component as read from the file, before its inputs are resolved.
pub(super) struct Draft<'t> {
    pub id: String,
    /// The place of its id in the file.
    pub place: Span,
    /// Its type, if the type is known and allowed here: a spout under `spouts`, anything else under
    /// `bolts`.
    pub entry: Option<&'t Entry>,
    /// Its configuration, if the configuration has no problems.
    pub configured: Option<Configured>,
    /// The `inputs:` of a bolt, if they are given.
    pub inputs: Option<&'t Node>,
    pub is_spout: bool,
    pub parallelism_hint: NonZeroU16,
    pub on_error: OnError,
    pub batch: usize,
    pub linger: Option<Duration>,
}

impl Draft<'_> {
    /// Returns the component's title for messages: `bolt "count"`.
    pub(crate) fn title(&self) -> String {
        title(self.is_spout, &self.id)
    }
}

fn title(is_spout: bool, id: &str) -> String {
    format!("{} \"{id}\"", if is_spout { "spout" } else { "bolt" })
}

/// Reads all components of a topology, the spouts first.
pub(super) fn read_all<'t>(
    values: &mut Values<'_>,
    registry: &'t Registry,
    root: &Record<'t>,
    spared: &BTreeSet<String>,
) -> Vec<Draft<'t>> {
    let mut drafts = Vec::new();
    let mut places = HashMap::new();
    for (field, is_spout) in [("spouts", true), ("bolts", false)] {
        let Some(node) = root.get(field) else { continue };
        let Kind::Map(entries) = &node.kind else {
            let form =
                if is_spout { "{ \"id\": Spout(run: …) }" } else { "{ \"id\": Bolt(run: …) }" };
            values
                .report
                .add(node.head(), format!("{field}: expected `{form}`, found {}", node.describe()));
            continue;
        };
        for (key, value) in entries {
            let Some(id) = id(values, key) else { continue };
            if let Some(first) = places.get(&id) {
                values.report.add_again(key.span, format!("the id \"{id}\" is used twice"), *first);
                continue;
            }
            places.insert(id.clone(), key.span);
            values.env.spares = spared.contains(&id);
            drafts.push(read(values, registry, id, key.span, is_spout, value));
            values.env.spares = false;
        }
    }
    drafts
}

fn id(values: &mut Values<'_>, key: &Node) -> Option<String> {
    let id = match (&key.kind, key.as_text()) {
        (_, Some(id)) => id,
        // The nearest known name is assumed, so that bolts that take input from this one aren't
        // reported too.
        (Kind::Name(name), None) => {
            let what = format!("expected an id in quotes, \"{0}\", found `{0}`", name.text);
            values.report.add(key.span, what);
            return Some(name.text.clone());
        }
        _ => {
            let what = format!("expected an id in quotes, found {}", key.describe());
            values.report.add(key.head(), what);
            return None;
        }
    };
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !id.starts_with(|c: char| c.is_ascii_lowercase()) || !id.chars().all(good) {
        let what = format!("the id \"{id}\" doesn't match `[a-z][a-z0-9_-]*`");
        values.report.add(key.span, what);
    }
    Some(id.into())
}

fn read<'t>(
    values: &mut Values<'_>,
    registry: &'t Registry,
    id: String,
    place: Span,
    is_spout: bool,
    node: &'t Node,
) -> Draft<'t> {
    let mut draft = Draft {
        id,
        place,
        entry: None,
        configured: None,
        inputs: None,
        is_spout,
        parallelism_hint: NonZeroU16::MIN,
        on_error: OnError::default(),
        batch: BATCH_DEFAULT,
        linger: None,
    };
    let what = draft.title();
    let (name, known) =
        if is_spout { ("Spout", &SPOUT_FIELDS[..]) } else { ("Bolt", &BOLT_FIELDS[..]) };
    let Some(record) = Record::open(values.report, node, &what, name, known) else { return draft };
    if let Some(run) = record.required(values.report, "run") {
        draft.entry = entry(values, registry, &draft, run);
        draft.configured = draft.entry.and_then(|entry| config::read(values, &what, entry, run));
    }
    draft.inputs = record.get("inputs").filter(|_| !is_spout);
    neighbours(values, &record, &mut draft);
    draft
}

/// Returns the type of a component, if a type of this name exists and is allowed here.
fn entry<'t>(
    values: &mut Values<'_>,
    registry: &'t Registry,
    draft: &Draft<'_>,
    run: &Node,
) -> Option<&'t Entry> {
    let what = draft.title();
    let fits = |entry: &&Entry| (entry.role == Role::Spout) == draft.is_spout;
    let Some(name) = run.name() else {
        let found = run.describe();
        values.report.add(
            run.span,
            format!("{what}: expected a component such as `Name(field: …)`, found {found}"),
        );
        return None;
    };
    let named = registry.find_for(&name.text, draft.is_spout);
    match named.or_else(|| registry.find(&name.text)) {
        Some(entry) if fits(&entry) => {
            let guard = values.env.guard.as_ref();
            if let Some(why) = guard.and_then(|guard| guard.refuses_component(entry.name)) {
                values.report.add(name.span, format!("{what}: {}: {why}", entry.name));
                return None;
            }
            Some(entry)
        }
        Some(entry) => {
            let (role, place) =
                (entry.role.name(), if draft.is_spout { "bolts" } else { "spouts" });
            values.report.add(
                name.span,
                format!("{what}: {} is a {role} and belongs under `{place}`", name.text),
            );
            None
        }
        None => {
            let names =
                |entry: &'t Entry| std::iter::once(entry.name).chain(entry.aliases.iter().copied());
            let kind = if draft.is_spout { "spout" } else { "bolt" };
            let known: Vec<_> = registry.entries().iter().filter(fits).flat_map(names).collect();
            let text = format!("{what}: there is no {kind} {}{}", name.text, but(&known));
            values.report.add_unknown(name.span, text, &name.text, known);
            None
        }
    }
}

/// Returns the known names as the end of a message that begins "there is no …".
fn but(known: &[&str]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!(", but {}", quoted(known.iter().copied()))
    }
}

/// Reads the engine's own fields beside `run`.
fn neighbours(values: &mut Values<'_>, record: &Record<'_>, draft: &mut Draft<'_>) {
    let what = draft.title();
    let path = format!("{}.{}", if draft.is_spout { "spouts" } else { "bolts" }, draft.id);
    if let Some(node) = record.get("parallelism_hint") {
        let hint = hint(values, draft, node);
        draft.parallelism_hint = hint.unwrap_or(draft.parallelism_hint);
    }
    if let Some(batch) = record
        .get("batch")
        .and_then(|node| values.number(&format!("{what}: batch"), node, 1, BATCH_MAX))
    {
        draft.batch = usize::try_from(batch).unwrap_or(draft.batch);
    }
    if let Some(node) = record.get("linger").filter(|node| !is_none(node)) {
        let min = Duration::from_millis(1);
        draft.linger = values.duration(
            &format!("{what}: linger"),
            &format!("{path}.linger"),
            unwrap_some(node),
            min,
        );
    }
    if let Some(node) = record.get("on_error") {
        draft.on_error = on_error(values, &what, node).unwrap_or_default();
    }
}

fn is_none(node: &Node) -> bool {
    matches!(&node.kind, Kind::Name(name) if name.text == "None")
}

/// Returns `x` for `Some(x)`, which mean the same everywhere in RON.
fn unwrap_some(node: &Node) -> &Node {
    match &node.kind {
        Kind::Tuple { name: Some(name), items } if name.text == "Some" && items.len() == 1 => {
            &items[0]
        }
        _ => node,
    }
}

fn hint(values: &mut Values<'_>, draft: &Draft<'_>, node: &Node) -> Option<NonZeroU16> {
    let what = format!("{}: parallelism_hint", draft.title());
    let hint = values.number(&what, node, 1, PARALLELISM_HINT_MAX.into())?;
    let config = draft.configured.as_ref().map(|configured| &configured.config);
    let bolt_max = match config {
        Some(Config::Bolt(bolt)) => bolt.tasks_max(),
        Some(Config::Sink(sink)) => sink.tasks_max(),
        _ => None,
    };
    if let Some((max, why)) = bolt_max.filter(|(max, _)| hint > *max as u64) {
        values
            .report
            .add(node.span, format!("{what}: expected {max} at most, found {hint}: {why}"));
        return None;
    }
    let max = match config {
        Some(Config::Spout(spout)) => spout.tasks_max(),
        _ => None,
    };
    if let Some(max) = max.filter(|max| hint > *max as u64) {
        let tasks = if max == 1 { "task" } else { "tasks" };
        values.report.add(
            node.span,
            format!("{what}: this source can be read by {max} {tasks} at most, found {hint}"),
        );
        return None;
    }
    NonZeroU16::new(u16::try_from(hint).ok()?)
}

fn on_error(values: &mut Values<'_>, what: &str, node: &Node) -> Option<OnError> {
    let what = format!("{what}: on_error");
    // `(times: 5)` is what `--set ….on_error.times=5` adds.
    let name = match node.name() {
        None if matches!(node.kind, Kind::Struct { .. }) => "Retry",
        _ => &choice(values.report, &what, node, &["Retry", "DeadLetter", "Stop"])?.text,
    };
    match name {
        "Retry" => retry(values, &what, node),
        word if !matches!(node.kind, Kind::Name(_)) => {
            values.report.add(node.head(), format!("{what}: `{word}` stands alone"));
            None
        }
        "DeadLetter" => Some(OnError::DeadLetter),
        _ => Some(OnError::Stop),
    }
}

fn retry(values: &mut Values<'_>, what: &str, node: &Node) -> Option<OnError> {
    let record = Record::open(values.report, node, what, "Retry", &["times", "then"])?;
    let OnError::Retry { mut times, mut then } = OnError::default() else { return None };
    if let Some(node) = record.get("times") {
        let number = values.number(&format!("{what}: times"), node, 0, u32::MAX.into())?;
        times = u32::try_from(number).unwrap_or(times);
    }
    if let Some(node) = record.get("then") {
        let name = choice(values.report, &format!("{what}: then"), node, &["DeadLetter", "Stop"])?;
        then = if name.text == "Stop" { AfterRetries::Stop } else { AfterRetries::DeadLetter };
    }
    Some(OnError::Retry { times, then })
}

//! Loads a topology: `file → check → Topology`, or all problems of the file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::component::{self, Draft};
use super::env::Env;
use super::explain::lay_out;
use super::guard::Guard;
use super::include::Files;
use super::print::{Changes, print};
use super::problem::{Problems, Report};
use super::record::{Record, Values};
use super::settings::{self, TOPOLOGY_FIELDS};
use super::source::{Sources, Span};
use super::syntax::{Kind, Node};
use super::{Topology, inputs, overrides, test_cases, wiring};
use crate::component::Role;
use crate::registry::Registry;

/// Options for loading a topology.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Changes to make before any check, each `path=value`, such as `spouts.in.run.posts=10`. A
    /// value that isn't RON is taken as text.
    pub sets: Vec<String>,
    /// True if `Env("…")` and `File("…")` are read, so that a missing one is a problem. Required
    /// for a topology that is going to run.
    pub online: bool,
    /// The ids of components that won't run as they are: variables and files that they name may be
    /// missing.
    pub spared: BTreeSet<String>,
    /// The policy that decides about files, variables and components that the topology names.
    pub guard: Option<Arc<dyn Guard>>,
    /// True if variables and files that the engine's own fields name may be missing.
    pub spares_settings: bool,
    /// True if the file's tests are read even though `sets` change the topology, for which the
    /// tests may not be meant.
    pub reads_tests: bool,
    /// Variables that take precedence over those of the environment.
    pub env: BTreeMap<String, String>,
}

/// Loads a topology from a file and the files that it includes.
///
/// # Errors
/// All problems, each with its place.
pub fn load(path: &Path, registry: &Registry, options: &LoadOptions) -> Result<Topology, Problems> {
    let mut report = Report::default();
    let tree = Files::new(&mut report, options.guard.as_deref()).file(path, None);
    check(report, tree, registry, options).map(|checked| checked.topology)
}

/// Loads a topology as [`load`] does. Also returns the topology's text, in which includes,
/// [`LoadOptions::sets`] and the paths that the guard replaced are resolved.
///
/// # Errors
/// All problems, each with its place.
pub fn load_united(
    path: &Path,
    registry: &Registry,
    options: &LoadOptions,
) -> Result<(Topology, String), Problems> {
    let mut report = Report::default();
    let tree = Files::new(&mut report, options.guard.as_deref()).file(path, None);
    let Checked { topology, sources, mut root, replaced } = check(report, tree, registry, options)?;
    if let Kind::Struct { fields, .. } = &mut root.kind {
        fields.retain(|field| field.name.text != "include");
    }
    let changes = Changes { instead: replaced, ..Changes::default() };
    Ok((topology, lay_out(print(&sources, &root, &changes).text)))
}

/// Loads a topology from a text. Messages call the text `name`. Included files are searched in the
/// working directory.
///
/// # Errors
/// All problems, each with its place.
pub fn parse(
    name: &str,
    text: &str,
    registry: &Registry,
    options: &LoadOptions,
) -> Result<Topology, Problems> {
    let mut report = Report::default();
    let files = &mut Files::new(&mut report, options.guard.as_deref());
    let tree = files.text(name, text.into(), Path::new(""));
    check(report, tree, registry, options).map(|checked| checked.topology)
}

/// A topology without problems, and the tree that it was read from.
struct Checked {
    topology: Topology,
    sources: Sources,
    root: Node,
    /// The RON with which the guard replaced paths.
    replaced: HashMap<Span, String>,
}

fn check(
    mut report: Report,
    tree: Option<Node>,
    registry: &Registry,
    options: &LoadOptions,
) -> Result<Checked, Problems> {
    let Some(mut root) = tree else { return Err(report.finish()) };
    options.sets.iter().for_each(|set| overrides::apply(&mut report, &mut root, set));
    match topology(&mut report, &root, registry, options) {
        Some((topology, replaced)) if report.count() == 0 => {
            Ok(Checked { topology, sources: report.sources, root, replaced })
        }
        _ => Err(report.finish()),
    }
}

fn topology(
    report: &mut Report,
    root: &Node,
    registry: &Registry,
    options: &LoadOptions,
) -> Option<(Topology, HashMap<Span, String>)> {
    let root = Record::open(report, root, "the topology", "Topology", &TOPOLOGY_FIELDS)?;
    let mut env = Env {
        spares: options.spares_settings,
        given: options.env.clone(),
        ..Env::new(options.online, options.guard.clone())
    };
    let mut values = Values { report, env: &mut env };
    let settings = settings::read(&mut values, &root);
    values.env.spares = false;
    let drafts = component::read_all(&mut values, registry, &root, &options.spared);
    report_missing(report, &root, &drafts);
    let inputs = inputs::read_all(report, &drafts);
    let ids: Vec<_> = drafts.iter().map(|draft| (draft.id.clone(), draft.is_spout)).collect();
    let components = wiring::connect(report, drafts, &inputs);
    let known = test_cases::Known { ids: &ids, components: &components };
    let tests = root.get("tests").filter(|_| options.sets.is_empty() || options.reads_tests);
    let tests = test_cases::read_all(report, tests, &known);
    let topology = Topology {
        name: settings.name,
        components,
        checkpoint: settings.checkpoint,
        micro_batch: settings.micro_batch,
        partition_every: settings.partition_every,
        memory: settings.memory,
        restarts: settings.restarts,
        outside: env.written,
        tests,
    };
    Some((topology, env.replaced.into_inner()))
}

/// Reports a missing spout or bolt: a topology needs a beginning and an end. A component that has
/// problems itself counts as present.
fn report_missing(report: &mut Report, root: &Record<'_>, drafts: &[Draft<'_>]) {
    if report.incomplete {
        return;
    }
    let is_map = |field| root.get(field).is_none_or(|node| matches!(node.kind, Kind::Map(_)));
    if is_map("spouts") && !drafts.iter().any(|draft| draft.is_spout) {
        report.add(root.head, "the topology has no spout, so nothing would come in");
    }
    let not_a_sink = |draft: &Draft<'_>| draft.entry.is_some_and(|entry| entry.role != Role::Sink);
    if is_map("bolts") && drafts.iter().all(|draft| draft.is_spout || not_a_sink(draft)) {
        report.add(root.head, "the topology has no sink, so nothing would be kept");
    }
}

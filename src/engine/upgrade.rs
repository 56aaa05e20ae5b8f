//! Decides which state survives a change of the topology: components keep their state by id.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_64;

use crate::bolt::InputShare;
use crate::checkpoint::{Kept, Saved, StateStore};
use crate::engine::AGAIN;
use crate::error::{Error, Result};
use crate::flow::Grouping;
use crate::registry::Config;
use crate::topology::{ComponentSpec, Topology};

/// The fate of a component's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The component continues with its state.
    Survives,
    /// The component is new.
    New,
    /// The state is unusable for the reason in this text.
    Dropped(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survives => f.write_str("survives"),
            Self::New => f.write_str("new"),
            Self::Dropped(why) => write!(f, "dropped: {why}"),
        }
    }
}

/// Returns the properties of all components on which their state depends. The hidden spout that
/// sends dead letters again is left out: it isn't in every run, and its cursors stay.
pub fn kept(topology: &Topology) -> BTreeMap<String, Kept> {
    let of = |spec: &ComponentSpec| {
        let run = format!("{:016x}", xxh3_64(spec.explained.as_bytes()));
        let kept = Kept { type_name: spec.type_name.to_owned(), shape: shape(topology, spec), run };
        (spec.id.clone(), kept)
    };
    topology.components.iter().filter(|spec| spec.id != AGAIN).map(of).collect()
}

/// Returns the layout of a bolt's state: by key, so that another number of tasks can divide it, or
/// by task.
fn shape(topology: &Topology, spec: &ComponentSpec) -> String {
    match state_key(topology, spec) {
        Some(key) => format!("kept by {}", key.join(", ")),
        None if matches!(&spec.config, Config::Bolt(config) if config.keeps_state()) => {
            format!("kept by each of {} tasks", spec.parallelism_hint)
        }
        None => String::new(),
    }
}

/// Returns the fields that are the key of a bolt's state, if all tuples with the same key come to
/// the same task.
pub fn state_key(topology: &Topology, spec: &ComponentSpec) -> Option<Vec<String>> {
    let Config::Bolt(config) = &spec.config else { return None };
    let key = config.state_key()?;
    let grouped = spec.inputs.iter().all(|input| {
        let streams = &topology.components[input.from].streams;
        let Some((_, fields)) = streams.iter().nth(input.stream.0) else { return false };
        match &input.grouping {
            Grouping::Fields(positions) => {
                let names = positions.iter().map(|at| fields.names()[*at].as_str());
                names.eq(key.iter().map(String::as_str))
            }
            Grouping::All => config.input_share(fields) == InputShare::Whole,
            _ => false,
        }
    });
    (grouped || spec.parallelism_hint.get() == 1).then_some(key)
}

/// Returns the fate of each component of the old or the new topology.
pub fn fates(old: &BTreeMap<String, Kept>, new: &BTreeMap<String, Kept>) -> BTreeMap<String, Fate> {
    let ids: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let fate = |id: &String| match (old.get(id), new.get(id)) {
        (None, _) => Fate::New,
        (Some(old), None) => {
            Fate::Dropped(format!("the topology has no {} \"{id}\" now", old.type_name))
        }
        (Some(old), Some(new)) if old.type_name != new.type_name => {
            Fate::Dropped(format!("it was a {}, and is a {}", old.type_name, new.type_name))
        }
        (Some(old), Some(new)) if old.shape != new.shape => {
            Fate::Dropped(format!("its state was {}, and is {}", old.shape, new.shape))
        }
        _ => Fate::Survives,
    };
    ids.into_iter().map(|id| (id.clone(), fate(id))).collect()
}

/// The change of a component between two topologies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentChange {
    /// Its id.
    pub id: String,
    /// `survives`, `new`, or `dropped`.
    #[schema(value_type = String)]
    pub fate: Cow<'static, str>,
    /// The reason, if the state is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Other changes: `parallelism_hint 1 → 4`.
    pub changes: Vec<String>,
}

/// Returns the fate of each component's state, and other changes.
pub fn compare(old: &Topology, new: &Topology) -> Vec<ComponentChange> {
    let (specs_old, specs_new) = (by_id(old), by_id(new));
    let row = |(id, fate): (String, Fate)| {
        let both = specs_old.get(id.as_str()).zip(specs_new.get(id.as_str()));
        let changes = both.map(|(old, new)| changes(old, new)).unwrap_or_default();
        let (fate, why) = match fate {
            Fate::Survives => ("survives", None),
            Fate::New => ("new", None),
            Fate::Dropped(why) => ("dropped", Some(why)),
        };
        ComponentChange { id, fate: fate.into(), why, changes }
    };
    fates(&kept(old), &kept(new)).into_iter().map(row).collect()
}

fn by_id(topology: &Topology) -> BTreeMap<&str, &ComponentSpec> {
    topology.components.iter().map(|spec| (spec.id.as_str(), spec)).collect()
}

fn changes(old: &ComponentSpec, new: &ComponentSpec) -> Vec<String> {
    let mut changes = Vec::new();
    if old.parallelism_hint != new.parallelism_hint {
        changes
            .push(format!("parallelism_hint {} → {}", old.parallelism_hint, new.parallelism_hint));
    }
    if old.type_name == new.type_name && old.explained != new.explained {
        changes.push(format!("run: {} → {}", old.explained, new.explained));
    }
    changes
}

/// Returns the components whose state must be discarded. Each of them must be in `drop`.
///
/// # Errors
/// If a component isn't in `drop` but its state must be discarded, or if `drop` names a component
/// without state.
pub fn dropped(
    store: &dyn StateStore,
    saved: &Saved,
    new: &BTreeMap<String, Kept>,
    drop: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    if let Some(unknown) = drop.iter().find(|id| !saved.components.contains_key(*id)) {
        let known =
            saved.components.keys().filter(|id| !id.starts_with('_')).map(|id| format!("\"{id}\""));
        let known = known.collect::<Vec<_>>().join(", ");
        return Err(Error::fatal(format!(
            "there is no state of \"{unknown}\" to drop; there is state of {known}"
        )));
    }
    let mut refused = Vec::new();
    for (id, fate) in fates(&saved.components, new) {
        if let Fate::Dropped(why) = fate
            && !drop.contains(&id)
            && keeps_something(store, saved, &id)?
        {
            refused.push(format!(
                "component \"{id}\": {why}; to discard its state and continue, add \
                 --drop-state {id}"
            ));
        }
    }
    if refused.is_empty() { Ok(drop.clone()) } else { Err(Error::fatal(refused.join("; "))) }
}

/// Returns the ids of components whose configuration differs from that of the last run.
pub fn changed(old: &BTreeMap<String, Kept>, new: &BTreeMap<String, Kept>) -> Vec<String> {
    let mut changed = Vec::new();
    for (id, new) in new {
        let differs = |old: &Kept| !old.run.is_empty() && old.run != new.run;
        if old.get(id).is_none_or(differs) {
            changed.push(id.clone());
        }
    }
    changed
}

fn keeps_something(store: &dyn StateStore, saved: &Saved, id: &str) -> Result<bool> {
    let cursors = saved.cursors.keys().any(|(component, _)| component == id);
    let promises = saved.promises.get(id).is_some_and(|promises| !promises.is_empty());
    Ok(cursors || promises || store.has_state(id)?)
}

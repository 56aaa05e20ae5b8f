//! What becomes of the state when a topology has changed: components keep theirs by their id.

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

/// What becomes of one component's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on with what it had.
    Survives,
    /// It wasn't there before.
    New,
    /// What it had means nothing any more; the text says why.
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

/// All components as far as their state depends on what they are. The hidden spout that sends dead
/// letters again comes and goes, and its cursors stay.
pub fn kept(topology: &Topology) -> BTreeMap<String, Kept> {
    let of = |spec: &ComponentSpec| {
        let run = format!("{:016x}", xxh3_64(spec.explained.as_bytes()));
        let kept = Kept { type_name: spec.type_name.to_owned(), shape: shape(topology, spec), run };
        (spec.id.clone(), kept)
    };
    topology.components.iter().filter(|spec| spec.id != AGAIN).map(of).collect()
}

/// How a bolt's state is laid out: by key, where another number of tasks can share it out, or by
/// task.
fn shape(topology: &Topology, spec: &ComponentSpec) -> String {
    match state_key(topology, spec) {
        Some(key) => format!("kept by {}", key.join(", ")),
        None if matches!(&spec.config, Config::Bolt(config) if config.keeps_state()) => {
            format!("kept by each of {} tasks", spec.parallelism_hint)
        }
        None => String::new(),
    }
}

/// The fields that a bolt's state is kept by, if whatever has the same key comes to the same task.
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

/// What becomes of each component, of the old topology or the new.
pub fn fates(old: &BTreeMap<String, Kept>, new: &BTreeMap<String, Kept>) -> BTreeMap<String, Fate> {
    let ids: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let fate = |id: &String| match (old.get(id), new.get(id)) {
        (None, _) => Fate::New,
        (Some(old), None) => {
            Fate::Dropped(format!("there is no {} \"{id}\" any more", old.type_name))
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

/// What becomes of one component when a topology changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ComponentChange {
    /// Its id.
    pub id: String,
    /// `survives`, `new`, or `dropped`.
    #[schema(value_type = String)]
    pub fate: Cow<'static, str>,
    /// Why it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What else changed: `parallelism_hint 1 → 4`.
    pub changes: Vec<String>,
}

/// What becomes of the state of each component, and what else changes.
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

/// The components whose state has to go, each of which must be among those that somebody asked to
/// `drop`.
///
/// # Errors
/// If state would be dropped that nobody asked for, or somebody asked for what isn't there.
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
                "component \"{id}\": {why}; to go on without its state, add --drop-state {id}"
            ));
        }
    }
    if refused.is_empty() { Ok(drop.clone()) } else { Err(Error::fatal(refused.join("; "))) }
}

/// The components whose configuration is another one than in the last run, by id.
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

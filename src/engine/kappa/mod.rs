//! Runs a topology over a lake instead of its sources: the same components, but each spout is
//! replaced by a replay of the posts that it would have made, on the same streams.
//!
//! ```text
//! lake ─┬─ spout "tweets": kinds tweet       ─▶ bolt … ─▶ sink   (not into that lake)
//!       └─ spout "skies":  kinds bsky, note  ─▶ bolt …
//!                   └─ what no spout takes is counted
//! ```
//!
//! It runs under a state of its own, so that the live run's cursors, counts and promises stay as
//! they are.

mod assign;
mod only;

use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::lake::address::{Address, is_remote};
use crate::lake::replay::{Choice, OnDamage, Order, Place, PostTimes, Replay, Sorting, Tempo};
use crate::lake::root::Root;
use crate::registry::Config;
use crate::spout::SpoutConfig;
use crate::spout::replay::{GUARANTEE, Lake, LakeReplay, Strays};
use crate::topology::{ComponentSpec, Topology};
use crate::tuple::Fields;
use assign::{Reads, assign};

/// The name of the type that spouts have in a replay: state of one replay is none of another
/// type's.
const TYPE_NAME: &str = "Replay";

/// A lake that is replayed, and perhaps the spout that it is for: `[SPOUT=]GLOB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The spout.
    pub spout: Option<String>,
    /// The lake, some of its partitions, or one.
    pub address: String,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_id = |id: &str| !id.is_empty() && !id.contains(['/', ':', '*', '?', '[', '.']);
        let (spout, address) = match text.split_once('=').filter(|(spout, _)| is_id(spout)) {
            Some((spout, address)) => (Some(spout.to_owned()), address),
            None => (None, text),
        };
        if address.is_empty() {
            return Err("expected a lake, such as 'lake/2015-12-18T*' or s3://bucket/prefix".into());
        }
        Ok(Self { spout, address: address.into() })
    }
}

impl Given {
    /// As it is given, with the path of a folder from the root on: the same wherever it is run
    /// from.
    pub fn absolute(&self) -> String {
        let whole = || std::path::absolute(&self.address).ok();
        let local = if is_remote(&self.address) { None } else { whole() };
        let address = local.map_or_else(|| self.address.clone(), |path| path.display().to_string());
        self.spout.as_ref().map_or_else(|| address.clone(), |spout| format!("{spout}={address}"))
    }
}

/// What is replayed, and how.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The lakes.
    pub given: Vec<Given>,
    /// Only these components, and what they need upstream; all of them if there are none.
    pub only: Vec<String>,
    /// Which partitions, within the globs.
    pub choice: Choice,
    /// In which order.
    pub order: Order,
    /// How far it sorts.
    pub sorting: Sorting,
    /// How fast.
    pub tempo: Tempo,
    /// Which posts, by their own time.
    pub times: PostTimes,
    /// What happens at a damaged file.
    pub on_damage: OnDamage,
}

/// A topology whose spouts are replays.
pub struct Kappa {
    /// The topology.
    pub topology: Topology,
    /// Counts the posts that no spout takes.
    pub strays: Strays,
    /// Spouts that no lake was given to, so that they send nothing.
    pub silent: Vec<String>,
    /// The replays in the places of the spouts.
    pub replays: Vec<LakeReplay>,
}

impl Kappa {
    /// Returns the bytes of text that all spouts read together, for a progress bar.
    ///
    /// # Errors
    /// If a lake can't be listed.
    pub fn text_bytes(&self) -> Result<u64> {
        self.replays.iter().map(LakeReplay::text_bytes).sum()
    }
}

/// The components that a replay of a topology doesn't run as they stand in the file: its spouts,
/// and what `only` leaves out. What those name by `Env` and `File` may be missing.
///
/// # Errors
/// If `only` names what isn't there.
pub fn spared(topology: &Topology, only: &[String]) -> Result<Vec<String>> {
    let needed = only::needed(topology, only)?;
    let runs =
        |(spec, needed): (&ComponentSpec, bool)| needed && !matches!(spec.config, Config::Spout(_));
    let all = topology.components.iter().zip(needed);
    Ok(all.filter(|one| !runs(*one)).map(|(spec, _)| spec.id.clone()).collect())
}

/// Puts replays in the place of all spouts.
///
/// # Errors
/// If a name is wrong, it isn't clear which spout a lake is for, or a sink would write into one of
/// the lakes.
pub fn rewrite(topology: &Topology, request: &Request) -> Result<Kappa> {
    let needed = only::needed(topology, &request.only)?;
    let reads = assign(topology, &needed, &request.given)?;
    let mut topology = only::keep(topology, &needed);
    refuse_own_lakes(&topology, &request.given)?;
    let strays = Strays::but(reads.taken);
    let (mut silent, mut replays) = (Vec::new(), Vec::new());
    let mut of_spouts = reads.of_spouts.into_iter();
    for spec in &mut topology.components {
        let Config::Spout(source) = &spec.config else { continue };
        let Some(read) = of_spouts.next() else { break };
        if read.globs.is_empty() {
            silent.push(spec.id.clone());
        }
        let replay = replay(spec, source.as_ref(), read, request, &strays)?;
        let tasks_max =
            replay.tasks_max().and_then(|max| NonZeroU16::new(u16::try_from(max).ok()?));
        spec.parallelism_hint =
            tasks_max.map_or(spec.parallelism_hint, |max| max.min(spec.parallelism_hint));
        (spec.type_name, spec.guarantee, spec.explained) = (TYPE_NAME, GUARANTEE, TYPE_NAME.into());
        replays.push(replay.clone());
        spec.config = Config::Spout(Arc::new(replay));
    }
    Ok(Kappa { topology, strays, silent, replays })
}

/// The replay in the place of a spout.
fn replay(
    spec: &ComponentSpec,
    source: &dyn SpoutConfig,
    reads: Reads,
    request: &Request,
    strays: &Strays,
) -> Result<LakeReplay> {
    let is_of_posts =
        spec.streams.iter().next().is_some_and(|(_, fields)| *fields == Fields::of_posts());
    if !is_of_posts {
        let what = format!(
            "spout \"{}\" ({}) makes no posts, so no lake can take its place",
            spec.id, spec.type_name
        );
        return Err(Error::fatal(what));
    }
    let mut lakes: Vec<(String, bool, Lake)> = Vec::new();
    for (address, counts) in reads.globs {
        let Address { root, partitions } = Address::parse(&address)?;
        let choice = Choice { glob: partitions.glob(), ..request.choice.clone() };
        if let Some((.., lake)) =
            lakes.iter_mut().find(|(known, also, _)| *known == root && *also == counts)
        {
            lake.choices.push(choice);
            continue;
        }
        let Request { order, sorting, tempo, on_damage, .. } = *request;
        let times = request.times.clone();
        let replay = Replay { place: Place::at(&root)?, order, sorting, tempo, times, on_damage };
        lakes.push((root, counts, Lake { choices: vec![choice], replay, counts }));
    }
    if lakes.len() > 1 && request.order == Order::Time {
        let roots: Vec<_> = lakes.iter().map(|(root, ..)| format!("\"{root}\"")).collect();
        let (id, roots) = (&spec.id, roots.join(" and "));
        return Err(Error::fatal(format!(
            "spout \"{id}\": {roots} can't be sorted by time together: one lake at a time"
        )));
    }
    Ok(LakeReplay {
        lakes: lakes.into_iter().map(|(.., lake)| lake).collect(),
        kinds: reads.kinds,
        streams: spec.streams.clone(),
        router: source.router(),
        strays: Some(strays.clone()),
    })
}

/// A replay that writes into the lake that it reads would double it, or never end.
fn refuse_own_lakes(topology: &Topology, given: &[Given]) -> Result<()> {
    for spec in &topology.components {
        let Config::Sink(sink) = &spec.config else { continue };
        let Some(root) = &sink.writes_to() else { continue };
        for Given { address, .. } in given {
            if reads_from(root, address)? {
                let id = &spec.id;
                return Err(Error::fatal(format!(
                    "sink \"{id}\" would write into the lake that is read: it writes \"{root}\", and \"{address}\" is \
                     replayed; --set bolts.{id}.run.… writes elsewhere, --only leaves it out"
                )));
            }
        }
    }
    Ok(())
}

/// Returns true if what is read at an address lies in a sink's lake, or around it.
fn reads_from(root: &Root, address: &str) -> Result<bool> {
    // As it stands first: that needs nobody to be asked.
    if root.overlaps(&Root::at(address)) {
        return Ok(true);
    }
    let read = Address::parse(address)?;
    Ok(read.roots().iter().any(|place| root.overlaps(place)))
}

#[cfg(test)]
mod tests;

//! Runs a topology over a lake instead of its sources. Each spout is replaced by a replay of the
//! posts that it would have emitted, on the same streams.
//!
//! ```text
//! lake ─┬─ spout "tweets": kinds tweet       ─▶ bolt … ─▶ sink   (not into that lake)
//!       └─ spout "skies":  kinds bsky, note  ─▶ bolt …
//!                   └─ what no spout takes is counted
//! ```
//!
//! The replay has a state of its own, so that it doesn't change the cursors, counts and promises of
//! the live run.

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

/// The name of the type that spouts have in a replay. State that a spout of another type saved
/// isn't used.
const TYPE_NAME: &str = "Replay";

/// A lake to replay, and optionally the spout that replays it: `[SPOUT=]GLOB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The spout.
    pub spout: Option<String>,
    /// The address of a lake, of some of its partitions, or of one.
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
    /// Returns the argument with an absolute path in place of a relative one, so that it doesn't
    /// depend on the working directory.
    pub fn absolute(&self) -> String {
        let whole = || std::path::absolute(&self.address).ok();
        let local = if is_remote(&self.address) { None } else { whole() };
        let address = local.map_or_else(|| self.address.clone(), |path| path.display().to_string());
        self.spout.as_ref().map_or_else(|| address.clone(), |spout| format!("{spout}={address}"))
    }
}

/// The lakes to replay and the options of the replay.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The lakes.
    pub given: Vec<Given>,
    /// The components to run, together with everything upstream of them; empty for all components.
    pub only: Vec<String>,
    /// The choice of partitions within the globs.
    pub choice: Choice,
    /// The order of the posts.
    pub order: Order,
    /// The bounds of sorting.
    pub sorting: Sorting,
    /// The speed.
    pub tempo: Tempo,
    /// The range of the posts' own time.
    pub times: PostTimes,
    /// The reaction to a damaged file.
    pub on_damage: OnDamage,
}

/// A topology whose spouts are replays.
pub struct Kappa {
    /// The topology.
    pub topology: Topology,
    /// The counts of posts that no spout takes.
    pub strays: Strays,
    /// Spouts without a lake, which emit nothing.
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

/// Returns the components that a replay doesn't run as they are in the file: the spouts, and all
/// that `only` leaves out. Variables and files that they name may be missing.
///
/// # Errors
/// If `only` names a component that doesn't exist.
pub fn spared(topology: &Topology, only: &[String]) -> Result<Vec<String>> {
    let needed = only::needed(topology, only)?;
    let runs =
        |(spec, needed): (&ComponentSpec, bool)| needed && !matches!(spec.config, Config::Spout(_));
    let all = topology.components.iter().zip(needed);
    Ok(all.filter(|one| !runs(*one)).map(|(spec, _)| spec.id.clone()).collect())
}

/// Replaces all spouts by replays.
///
/// # Errors
/// If a name is wrong, if it isn't clear which spout a lake is for, or if a sink would write into
/// one of the lakes.
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

/// Returns the replay that replaces a spout.
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

/// Refuses a sink that writes into a lake that is read: the replay would double the lake, or never
/// end.
fn refuse_own_lakes(topology: &Topology, given: &[Given]) -> Result<()> {
    for spec in &topology.components {
        let Config::Sink(sink) = &spec.config else { continue };
        let Some(root) = &sink.writes_to() else { continue };
        for Given { address, .. } in given {
            if reads_from(root, address)? {
                let id = &spec.id;
                return Err(Error::fatal(format!(
                    "sink \"{id}\" would write into the lake that is read: it writes \"{root}\", \
                     and \"{address}\" is replayed; write elsewhere with --set bolts.{id}.run.…, \
                     or leave the sink out with --only"
                )));
            }
        }
    }
    Ok(())
}

/// Returns true if an address lies in a sink's lake, or contains it.
fn reads_from(root: &Root, address: &str) -> Result<bool> {
    // The text is compared first, because that needs no access to the disk.
    if root.overlaps(&Root::at(address)) {
        return Ok(true);
    }
    let read = Address::parse(address)?;
    Ok(read.roots().iter().any(|place| root.overlaps(place)))
}

#[cfg(test)]
mod tests;

//! Sends the dead letters of a topology again, each to the component that refused it. The topology
//! and its state are the same, but each source reads its own dead letters instead of the outside,
//! and a hidden spout sends the tuples that bolts and sinks refused.
//!
//! ```text
//! _dead/… ─┬─ spout "in": its raw letters, read again ─▶ bolt "count" ─▶ …
//!          └─ _again ═══ stream "count/0" ═══════════════▶ (as by its input 0)
//! ```
//!
//! The letters to send are listed before the start (`survey`), so new letters of this run aren't
//! sent in the same run. The checkpoints contain the position of each split under the component
//! that reads it, so each letter is sent once, even after a crash.

mod survey;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::options::RunOptions;
use super::run::{Running, dead_letter_root, start};
use crate::component::Role;
use crate::dead_letter::DEAD;
use crate::error::{Error, Result};
use crate::flow::Grouping;
use crate::registry::Config;
use crate::spout::dead_letters::{DeadLetters, Job, Tally, Way};
use crate::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Topology};
use crate::tuple::Streams;
use survey::{Survey, survey};

/// The id of the hidden spout. Ids in a topology file begin with a letter, so none can be the same.
pub const AGAIN: &str = "_again";

/// A run that sends dead letters again.
pub struct Again {
    /// The run. It ends when all letters are sent and processed.
    pub running: Arc<Running>,
    /// The number of letters to send.
    pub letters: u64,
    /// The letters that aren't sent and stay where they are: a sentence with the number for each
    /// component and reason.
    pub left: Vec<String>,
    tally: Arc<Tally>,
}

impl Again {
    /// Returns the number of letters that have been sent.
    pub fn sent(&self) -> u64 {
        self.tally.sent()
    }
}

/// Starts a topology without its sources, to send the dead letters that exist at this time again.
///
/// # Errors
/// If the topology has no checkpoints, if a dead letter can't be read, or as for [`start`].
pub fn send_dead_letters(mut topology: Topology, mut options: RunOptions) -> Result<Again> {
    if topology.checkpoint == Checkpoint::Off {
        return Err(Error::fatal(
            "dead letters can't be sent again under `checkpoint: Off`: \
             only checkpoints record which were sent",
        ));
    }
    let saved = options.store.saved()?;
    let root = dead_letter_root(&topology, &options.state).join(DEAD);
    let Survey { jobs, letters, left } = survey(&topology, &root, &saved.cursors)?;
    let tally = Arc::new(Tally::default());
    rewrite(&mut topology, jobs, &tally);
    options.again = Some(UnchangedState { finished: saved.finished });
    Ok(Again { running: start(topology, options)?, letters, left, tally })
}

/// The part of the state that such a run must not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnchangedState {
    /// The time at which all sources had ended, if they had.
    pub finished: Option<time::OffsetDateTime>,
}

/// The jobs by the component that reads them and by the id of the split.
type Jobs = BTreeMap<String, BTreeMap<String, Job>>;

/// Replaces all sources by readers of dead letters, and adds the hidden spout with its inputs.
fn rewrite(topology: &mut Topology, mut jobs: Jobs, tally: &Arc<Tally>) {
    for spec in &mut topology.components {
        if let Config::Spout(source) = &spec.config {
            let jobs = jobs.remove(&spec.id).unwrap_or_default();
            let (source, streams) = (Some(Arc::clone(source)), spec.streams.clone());
            let reader =
                DeadLetters { streams, jobs: Arc::new(jobs), source, tally: Arc::clone(tally) };
            spec.config = Config::Spout(Arc::new(reader));
        }
    }
    if let Some(jobs) = jobs.remove(AGAIN) {
        add_hidden(topology, jobs, tally);
    }
}

fn add_hidden(topology: &mut Topology, jobs: BTreeMap<String, Job>, tally: &Arc<Tally>) {
    let mut streams = Streams::none();
    for job in jobs.values() {
        if let Way::Input { fields, stream, .. } = &job.wanted.way {
            streams = streams.and(stream, fields.clone());
        }
    }
    let from = topology.components.len();
    for (stream, name) in streams.iter().map(|(name, _)| name).enumerate() {
        let Some((id, number)) = name.rsplit_once('/') else { continue };
        let Some(spec) = topology.components.iter_mut().find(|spec| spec.id == id) else {
            continue;
        };
        let Some(like) = number.parse().ok().and_then(|number: usize| spec.inputs.get(number))
        else {
            continue;
        };
        let grouping = sent_by(&like.grouping);
        spec.inputs.push(InputSpec { from, stream: crate::tuple::StreamId(stream), grouping });
    }
    let reader = DeadLetters {
        streams: streams.clone(),
        jobs: Arc::new(jobs),
        source: None,
        tally: Arc::clone(tally),
    };
    topology.components.push(ComponentSpec {
        id: AGAIN.into(),
        type_name: "DeadLetters",
        role: Role::Spout,
        guarantee: "each dead letter is sent once",
        config: Config::Spout(Arc::new(reader)),
        explained: String::new(),
        parallelism_hint: NonZeroU16::MIN,
        inputs: Vec::new(),
        streams,
        on_error: OnError::default(),
        batch: 256,
        linger: None,
        in_front_of: None,
    });
}

/// Returns the name of the hidden stream that stands for an input of a component.
fn stream_name(component: &str, input: usize) -> String {
    format!("{component}/{input}")
}

/// Returns the grouping by which letters are distributed over tasks. A component with an input by
/// `All` or `Direct` has only one task in this run, which `Global` reaches.
fn sent_by(grouping: &Grouping) -> Grouping {
    match grouping {
        Grouping::All | Grouping::Direct => Grouping::Global,
        other => other.clone(),
    }
}

/// Returns the number of the original input that an input from the hidden spout replaces. The bolt
/// treats the tuples as if they came by the original input.
pub(crate) fn stands_for(topology: &Topology, input: &InputSpec) -> Option<usize> {
    let from = &topology.components[input.from];
    let (stream, _) = from.streams.iter().nth(input.stream.0).filter(|_| from.id == AGAIN)?;
    stream.rsplit_once('/')?.1.parse().ok()
}

//! The requests and answers of the API.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::ProblemPlace;
use crate::server::history::ComponentRate;
use crate::server::log_book::LogLine;
use crate::server::shown::TopologySummary;
use crate::watch::report::Report;

pub use crate::engine::upgrade::ComponentChange as DiffRow;

/// All topologies.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopologyList {
    /// By name.
    pub topologies: Vec<TopologySummary>,
}

/// A topology file on its way to the server.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The topology file, with everything that it includes.
    pub topology: String,
    /// The name of the file in the places of problems; `topology` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Forget the state that an earlier topology of this name left.
    #[serde(default)]
    pub fresh: bool,
    /// Components whose saved state is discarded.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub drop_state: BTreeSet<String>,
}

impl Submission {
    /// The name for places.
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or("topology")
    }
}

/// The result of checking a topology.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    /// True if it could be submitted.
    pub valid: bool,
    /// The problems, each with its place.
    pub problems: Vec<ProblemPlace>,
}

/// One topology.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TopologyDetail {
    /// Its state on the server.
    pub summary: TopologySummary,
    /// Its numbers, with rates over some seconds; `null` if its process doesn't answer.
    pub report: Option<Report>,
    /// The edges of its graph: pairs of ids, from and to.
    pub flow: Vec<(String, String)>,
    /// The rates of its components.
    pub rates: Rates,
    /// The reason for which checkpoints can't be saved; `null` if they can.
    #[serde(default)]
    pub checkpoint_trouble: Option<String>,
    /// The topology file.
    pub topology: String,
}

/// Rates over several windows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Over ten seconds.
    pub ten_seconds: Vec<ComponentRate>,
    /// Over a minute.
    pub one_minute: Vec<ComponentRate>,
    /// Over ten minutes.
    pub ten_minutes: Vec<ComponentRate>,
    /// Since its process started.
    pub all: Vec<ComponentRate>,
}

/// Other numbers of tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rebalance {
    /// By component, from 1 to 1,024.
    pub tasks: BTreeMap<String, u16>,
}

/// A rebalance that was done.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rebalanced {
    /// The seconds for which nothing flowed.
    pub seconds: f64,
    /// The numbers of tasks, by component.
    pub tasks: BTreeMap<String, TaskChange>,
}

/// The numbers of tasks of one component.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskChange {
    /// Before the rebalance.
    pub before: usize,
    /// After it.
    pub after: usize,
}

/// The options of a kill.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    /// The longest time for its drain, such as `30s`, which is the default.
    #[serde(default)]
    pub wait: Option<String>,
    /// Delete what the server has of it: its checkpoints, and what isn't delivered.
    #[serde(default)]
    pub purge: bool,
}

/// An operation that was begun.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Accepted {
    /// A sentence about the operation.
    pub message: String,
}

/// Lines of the log of a topology.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Logs {
    /// Oldest first.
    pub lines: Vec<LogLine>,
}

//! The summary of a topology that the server shows.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// The state of a topology on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process begins.
    Starting,
    /// It runs.
    Running,
    /// It runs, and its spouts emit nothing.
    Inactive,
    /// Its process failed, and is started again.
    Failed,
    /// Its sources have ended.
    Finished,
    /// It is replaced by another version.
    Upgrading,
    /// It drains, and is gone then.
    Killing,
    /// The server ends, and the topology goes on with its next start.
    Stopping,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Running,
        Self::Inactive,
        Self::Failed,
        Self::Finished,
        Self::Upgrading,
        Self::Killing,
        Self::Stopping,
    ];

    /// Its name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Finished => "finished",
            Self::Upgrading => "upgrading",
            Self::Killing => "killing",
            Self::Stopping => "stopping",
        }
    }
}

/// A topology in the list of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopologySummary {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The reason of its last failure, or the way in which it finished.
    pub message: Option<String>,
    /// The time of the next start of its process.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_start: Option<OffsetDateTime>,
    /// Its process.
    pub pid: Option<u32>,
    /// The number of failures of its process since the server started.
    pub failures: u32,
    /// The time of its submission.
    #[serde(with = "time::serde::rfc3339")]
    pub submitted_at: OffsetDateTime,
    /// The number of components of its file.
    pub components: usize,
    /// The number of tasks of all components.
    pub tasks: usize,
}

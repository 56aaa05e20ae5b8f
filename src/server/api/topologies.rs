//! The operations on topologies.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Json, Path, Query};
use actix_web::{HttpResponse, get, post};
use futures_util::future::join_all;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use utoipa::IntoParams;

use super::messages::{
    Accepted, DiffRow, Kill, Logs, Rates, Rebalance, Rebalanced, Submission, TaskChange,
    TopologyDetail, TopologyList, Verdict,
};
use super::problem::{ApiError, ProblemResponses, places};
use crate::control::{self, Request, Seen, TrendNow, Unanswered, ask_remote};
use crate::engine::DRAIN_DEADLINE;
use crate::engine::upgrade::compare;
use crate::metrics::ComponentStatus;
use crate::server::fleet::{Fleet, Kept, Refusal, Task};
use crate::server::shown::{State, TopologySummary};
use crate::units::Interval;

/// The longest wait for the status of a topology's process.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// The longest wait for a rebalance: a drain, and a start.
const REBALANCE_PATIENCE: Duration = Duration::from_secs(75);

/// The longest time for which a submission waits for the start.
const START_AWAITED: Duration = Duration::from_secs(10);

/// The interval at which a submission checks the start.
const START_LOOK: Duration = Duration::from_millis(20);

/// The longest drain that can be asked for.
const WAIT_MAX: Duration = Duration::from_secs(3600);

/// The default and the maximum number of lines of a log in an answer.
const LINES: usize = 100;
const LINES_MAX: usize = 1_000;

type Answer<T> = Result<Json<T>, ApiError>;

/// The topology that an address names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TopologyName {
    /// The topology's name
    #[param(example = "words")]
    pub name: String,
}

/// All topologies of this server.
#[utoipa::path(tag = "topologies", responses((status = 200, body = TopologyList), ProblemResponses))]
#[get("/topologies")]
pub(crate) async fn list_topologies(fleet: Data<Fleet>) -> Answer<TopologyList> {
    let topologies = fleet.all().iter().map(|kept| kept.summary()).collect();
    Ok(Json(TopologyList { topologies }))
}

/// Submits a topology, and starts it. It goes on with the state that an earlier one of its name
/// left.
#[utoipa::path(
    tag = "topologies",
    responses((status = 201, body = TopologySummary), ProblemResponses)
)]
#[post("/topologies")]
pub(crate) async fn submit_topology(
    fleet: Data<Fleet>,
    submission: Json<Submission>,
) -> Result<HttpResponse, ApiError> {
    let Submission { topology, fresh, drop_state, .. } = submission.clone();
    let file = submission.file().to_owned();
    let fleet = fleet.into_inner();
    let kept = fleet.submit((&file, &topology), fresh, drop_state).await?;
    let started = async {
        while kept.summary().state == State::Starting {
            sleep(START_LOOK).await;
        }
    };
    // A start that takes longer continues, and the state is `starting`.
    let _ = timeout(START_AWAITED, started).await;
    Ok(HttpResponse::Created().json(kept.summary()))
}

/// Checks a topology without submitting it.
#[utoipa::path(tag = "topologies", responses((status = 200, body = Verdict), ProblemResponses))]
#[post("/validate")]
pub(crate) async fn validate_topology(
    fleet: Data<Fleet>,
    submission: Json<Submission>,
) -> Answer<Verdict> {
    let read = fleet.shared().read(submission.file(), &submission.topology);
    let problems = read.err().map(places).unwrap_or_default();
    Ok(Json(Verdict { valid: problems.is_empty(), problems }))
}

/// One topology: what becomes of it, and what its components do.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = TopologyDetail), ProblemResponses)
)]
#[get("/topologies/{name}")]
pub(crate) async fn get_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
) -> Answer<TopologyDetail> {
    let kept = fleet.find(&path.name)?;
    Ok(Json(detail(&kept).await))
}

/// Returns the state, the numbers and the file of a topology.
pub(crate) async fn detail(kept: &Kept) -> TopologyDetail {
    let seen = look(kept).await.ok();
    let summary = kept.summary();
    let topology = kept.topology();
    let Some(seen) = seen else {
        let (flow, rates) = (Vec::new(), Rates::default());
        let checkpoint_trouble = None;
        return TopologyDetail { summary, report: None, flow, rates, checkpoint_trouble, topology };
    };
    let mut history = kept.history();
    let rates = |seconds: u64| history.rates(&seen, Some(Duration::from_secs(seconds)));
    let rates = Rates {
        ten_seconds: rates(10),
        one_minute: rates(60),
        ten_minutes: rates(600),
        all: history.rates(&seen, None),
    };
    let report = Some(history.report(&seen));
    let flow = seen.flow.edges().to_vec();
    let checkpoint_trouble = seen.status.waits.clone();
    history.add(seen);
    TopologyDetail { summary, report, flow, rates, checkpoint_trouble, topology }
}

/// Asks a topology's process for its status.
///
/// # Errors
/// If it doesn't answer.
pub(crate) async fn look(kept: &Kept) -> Result<Seen, Unanswered> {
    ask_remote(&kept.folder.state(), &Request::Status {}, STATUS_PATIENCE).await
}

/// Returns the last findings of a topology's `Trends`: the newest first, and of one bucket the
/// highest score first.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = Vec<TrendNow>), ProblemResponses)
)]
#[get("/topologies/{name}/trends")]
pub(crate) async fn topology_trends(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
) -> Answer<Vec<TrendNow>> {
    let kept = fleet.find(&path.name)?;
    Ok(Json(trends(&kept).await.map_err(unanswered)?))
}

/// Asks a topology's process for its trends.
///
/// # Errors
/// If it doesn't answer.
pub(crate) async fn trends(kept: &Kept) -> Result<Vec<TrendNow>, Unanswered> {
    ask_remote(&kept.folder.state(), &Request::Trends {}, STATUS_PATIENCE).await
}

/// Returns the numbers of all topologies: a short [`get_topology`] of each.
#[utoipa::path(
    tag = "topologies",
    responses((status = 200, body = Vec<TopologyDetail>), ProblemResponses)
)]
#[get("/top")]
pub(crate) async fn top(fleet: Data<Fleet>) -> Answer<Vec<TopologyDetail>> {
    let asked = fleet.all().into_iter().map(async |kept| {
        let mut detail = detail(&kept).await;
        detail.topology.clear();
        detail
    });
    Ok(Json(join_all(asked).await))
}

/// Lets the spouts of a topology go on, and starts one that has finished once more.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = TopologySummary), ProblemResponses)
)]
#[post("/topologies/{name}/activate")]
pub(crate) async fn activate_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
) -> Answer<TopologySummary> {
    set_active(&fleet, &path.name, true).await
}

/// Lets the spouts of a topology emit nothing, also in a replay. Checkpoints go on.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = TopologySummary), ProblemResponses)
)]
#[post("/topologies/{name}/deactivate")]
pub(crate) async fn deactivate_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
) -> Answer<TopologySummary> {
    set_active(&fleet, &path.name, false).await
}

async fn set_active(fleet: &Fleet, name: &str, is_active: bool) -> Answer<TopologySummary> {
    let kept = fleet.find(name)?;
    kept.order(Task::SetActive(is_active)).await?;
    Ok(Json(kept.summary()))
}

/// Changes the numbers of tasks, in place, at a checkpoint: nothing is lost or counted twice. A
/// later start has the same numbers; an upgrade has those of its file.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = Rebalanced), ProblemResponses)
)]
#[post("/topologies/{name}/rebalance")]
pub(crate) async fn rebalance_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
    asked: Json<Rebalance>,
) -> Answer<Rebalanced> {
    let kept = fleet.find(&path.name)?;
    rebalance(&fleet, &kept, &asked.tasks).await.map(Json)
}

/// Changes the numbers of tasks, and keeps them for later starts.
///
/// # Errors
/// If a number is wrong, there would be too many tasks, or the process can't do it.
pub(crate) async fn rebalance(
    fleet: &Fleet,
    kept: &Kept,
    tasks: &BTreeMap<String, u16>,
) -> Result<Rebalanced, ApiError> {
    let mut hints = BTreeMap::new();
    for (id, tasks) in tasks {
        let hint = NonZeroU16::new(*tasks).ok_or_else(|| {
            Refusal::Bad(format!("component \"{id}\": expected at least 1 task, found 0"))
        })?;
        hints.insert(id.clone(), hint);
    }
    if hints.is_empty() {
        let what = "expected at least one component in \"tasks\", such as {\"count\": 4}";
        return Err(Refusal::Bad(what.into()).into());
    }
    let seen = look(kept).await.map_err(unanswered)?;
    let tasks = |component: &ComponentStatus| {
        hints.get(&component.id).map_or(component.tasks, |hint| hint.get().into())
    };
    fleet.check_tasks(kept, seen.status.components.iter().map(tasks).sum())?;
    let request = Request::Rebalance(hints.clone());
    let done: control::Rebalanced =
        ask_remote(&kept.folder.state(), &request, REBALANCE_PATIENCE).await.map_err(unanswered)?;
    kept.order(Task::KeepHints(hints)).await?;
    let change = |(id, (before, after))| (id, TaskChange { before, after });
    let tasks = done.tasks.into_iter().map(change).collect();
    Ok(Rebalanced { seconds: done.seconds, tasks })
}

/// Returns the error for a process that doesn't answer.
pub(crate) fn unanswered(unanswered: Unanswered) -> ApiError {
    match unanswered {
        Unanswered::Refused(what) => Refusal::Conflict(what).into(),
        // The process has ended, or has just been started.
        Unanswered::Absent => Refusal::Conflict(unanswered.to_string()).into(),
        Unanswered::Silent => Refusal::Silent(unanswered.to_string()).into(),
    }
}

/// Drains a topology, which is gone then. Its state stays, and a topology of the same name goes on
/// with it, unless it is purged. The answer doesn't wait for the drain.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 202, body = Accepted), ProblemResponses)
)]
#[post("/topologies/{name}/kill")]
pub(crate) async fn kill_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
    kill: Json<Kill>,
) -> Result<HttpResponse, ApiError> {
    let Kill { wait, purge } = kill.into_inner();
    let within = match wait {
        None => DRAIN_DEADLINE,
        Some(text) => {
            let Interval(wait) =
                text.parse().map_err(|what: String| Refusal::Bad(format!("wait: {what}")))?;
            wait.min(WAIT_MAX)
        }
    };
    let message = match fleet.find(&path.name) {
        Ok(kept) => {
            kept.order(Task::Kill { within, purge }).await?;
            "it drains, and is gone then"
        }
        Err(unknown) if !purge => return Err(unknown.into()),
        Err(_) => {
            fleet.purge_killed(&path.name)?;
            "the state that it left is deleted"
        }
    };
    Ok(HttpResponse::build(StatusCode::ACCEPTED).json(Accepted { message: message.into() }))
}

/// Tells which state survives an upgrade to another version.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = Vec<DiffRow>), ProblemResponses)
)]
#[post("/topologies/{name}/diff")]
pub(crate) async fn diff_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
    submission: Json<Submission>,
) -> Answer<Vec<DiffRow>> {
    let kept = fleet.find(&path.name)?;
    let read = |file: &str, topology: &str| fleet.shared().read(file, topology);
    let old = read("the version that runs", &kept.topology()).map_err(Refusal::Invalid)?;
    let new = read(submission.file(), &submission.topology).map_err(Refusal::Invalid)?;
    Ok(Json(compare(&old, &new)))
}

/// Puts another version in the place of a topology, on the same state. The answer comes when the
/// new version has run for some seconds. If it fails, the old one goes on.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName),
    responses((status = 200, body = TopologySummary), ProblemResponses)
)]
#[post("/topologies/{name}/upgrade")]
pub(crate) async fn upgrade_topology(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
    submission: Json<Submission>,
) -> Answer<TopologySummary> {
    let kept = fleet.find(&path.name)?;
    let Submission { topology, drop_state, .. } = submission.clone();
    let new = fleet.shared().read(submission.file(), &topology).map_err(Refusal::Invalid)?;
    if new.name != kept.name {
        let what = format!(
            "the file's topology is \"{}\", and not \"{}\": an upgrade keeps the name",
            new.name, kept.name
        );
        return Err(Refusal::Conflict(what).into());
    }
    fleet.check_room(&new, Some(&kept))?;
    kept.order(Task::Upgrade { topology, drop_state }).await?;
    Ok(Json(kept.summary()))
}

/// A selection of lines of a log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLines {
    /// Only lines after the one with this number.
    after: Option<u64>,
    /// The number of newest lines: at most 1,000; 100 by default.
    lines: Option<usize>,
}

/// Returns lines of the log of a topology.
#[utoipa::path(
    tag = "topologies",
    params(TopologyName, LogLines),
    responses((status = 200, body = Logs), ProblemResponses)
)]
#[get("/topologies/{name}/logs")]
pub(crate) async fn topology_logs(
    fleet: Data<Fleet>,
    path: Path<TopologyName>,
    asked: Query<LogLines>,
) -> Answer<Logs> {
    let kept = fleet.find(&path.name)?;
    let lines = asked.lines.unwrap_or(LINES).min(LINES_MAX);
    let lines = kept.log().after(asked.after.unwrap_or(0), lines);
    Ok(Json(Logs { lines }))
}

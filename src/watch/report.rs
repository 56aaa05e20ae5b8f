//! The report of `run` on an interval of a topology: rates from two snapshots, and the bottleneck.
//! It is written to standard error as a line of JSON, and shown on a terminal as a table.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::component::Role;
use crate::log_level::LogLevel;
use crate::metrics::{ComponentStatus, Phase, Status, Trouble};

use crate::watch::bottleneck;
use crate::watch::bottleneck::Flow;
use crate::watch::notices;

/// One interval of a run. Its fields, in this order, are the schema of the JSON lines. Rates are
/// those of the interval; counts are totals since the start. In the final line, rates are averages
/// over the whole run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The topology's name.
    pub topology: String,
    /// `running`, `inactive`, `draining` or `committing`; in the last line `finished`, `failed` or
    /// `not clean`.
    #[schema(value_type = String)]
    pub phase: Cow<'static, str>,
    /// Seconds since the start.
    pub uptime_s: f64,
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// Seconds since that epoch was completed; `null` before the first.
    pub checkpoint_age_s: Option<f64>,
    /// Seconds from that epoch's barrier until the epoch was durable; `null` before the first.
    #[serde(default)]
    pub checkpoint_took_s: Option<f64>,
    /// The boundary of the open partition, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub partition: OffsetDateTime,
    /// The time at which the next partition begins, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub rolls_over: OffsetDateTime,
    /// The memory of the process in bytes; `null` if the system doesn't tell.
    pub rss_bytes: Option<u64>,
    /// The length of the state's file in bytes; `null` if there is no file.
    pub state_file_bytes: Option<u64>,
    /// A message for people; left out if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The level of the message: `error`, `warn`, `info`, `debug` or `trace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Every component, in the order of the topology.
    pub components: Vec<Row>,
}

/// One component in an interval.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// `spout`, `bolt` or `sink`.
    #[schema(value_type = String)]
    pub role: Cow<'static, str>,
    /// The number of its tasks.
    pub tasks: usize,
    /// Tuples taken per second.
    pub in_per_s: f64,
    /// Tuples emitted per second.
    pub out_per_s: f64,
    /// Tuples taken since the start.
    pub received: u64,
    /// Tuples emitted since the start.
    pub emitted: u64,
    /// Failed executions since the start; for a source, failed attempts to read it.
    pub failed: u64,
    /// Dead letters since the start.
    pub dead_letters: u64,
    /// The number of these that were only counted, because they came faster than they could be
    /// stored.
    pub letters_dropped: u64,
    /// Tuples that a sink or a bolt dropped according to its options, since the start.
    pub dropped: u64,
    /// Posts of a replay that came out of order, since the start.
    pub out_of_order: u64,
    /// Tuples that came after their window had closed, since the start.
    pub late: u64,
    /// Its watermark, UTC: no older tuple is expected. `null` if there is no event time.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub watermark: Option<OffsetDateTime>,
    /// Seconds of event time that the watermark is behind the newest post of all sources.
    pub behind_s: Option<f64>,
    /// Posts that don't have the form that a bolt expects of their kind, since the start.
    pub drifted: u64,
    /// Keys of its state; `null` without keyed state.
    pub keys: Option<u64>,
    /// Bytes of that state in the newest checkpoint.
    pub state_bytes: Option<u64>,
    /// Keys that were forgotten because of a bound, since the start.
    pub forgotten: u64,
    /// The median duration of one `execute`, in microseconds; `null` if there was no call.
    pub p50_us: Option<f64>,
    /// The 99th percentile of these durations.
    pub p99_us: Option<f64>,
    /// The share of the interval that its tasks worked, 0 to 1: busy time / (tasks × interval).
    pub capacity: f64,
    /// The fill level of its inboxes, 0 to 1: that of the fullest task.
    pub inbox: f64,
    /// Its activity, in a word or two.
    pub state: String,
    /// The operations that fail at the moment, with all causes; left out if none fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
    /// True if all attempts to read a source have failed.
    #[serde(skip)]
    pub only_failed: bool,
    /// True if this component limits the topology: its inbox is full, or it works most of the time.
    pub bottleneck: bool,
}

impl Report {
    /// Returns the report on the interval between two snapshots; without `before`, since the start.
    pub fn between(
        before: Option<&Status>,
        after: &Status,
        flow: &Flow,
        rss_bytes: Option<u64>,
    ) -> Self {
        let uptime = after.uptime.as_secs_f64();
        let seconds = uptime - before.map_or(0.0, |status| status.uptime.as_secs_f64());
        let then = |id: &str| before?.components.iter().find(|component| component.id == id);
        let mut components: Vec<Row> =
            after.components.iter().map(|now| Row::between(then(&now.id), now, seconds)).collect();
        for row in components.iter_mut().filter(|row| notices::hangs(after, &row.id)) {
            row.state = "hangs".into();
        }
        if !after.inactive
            && let Some(position) = bottleneck::find(&components, flow)
        {
            components[position].bottleneck = true;
        }
        Self {
            topology: after.topology.clone(),
            phase: phase(after).into(),
            uptime_s: round(uptime, 3),
            epoch: after.epoch,
            checkpoint_age_s: after.checkpoint_age.map(|age| round(age.as_secs_f64(), 3)),
            checkpoint_took_s: after.checkpoint_took.map(|took| round(took.as_secs_f64(), 6)),
            partition: after.partition,
            rolls_over: after.rolls_over,
            rss_bytes,
            state_file_bytes: after.state_file_bytes,
            message: None,
            level: None,
            components,
        }
    }

    /// Returns the number of tuples and dead letters of all spouts since the start.
    pub fn spouts_emitted(&self) -> u64 {
        let spouts = self.components.iter().filter(|row| row.role == Role::Spout.name());
        spouts.map(|row| row.emitted + row.dead_letters).sum()
    }

    /// Returns the number of dead letters of all components since the start.
    pub fn dead_letters(&self) -> u64 {
        self.components.iter().map(|row| row.dead_letters).sum()
    }
}

impl Row {
    fn between(before: Option<&ComponentStatus>, now: &ComponentStatus, seconds: f64) -> Self {
        let per_s = |now: u64, before: Option<u64>| {
            // Saturating, because a task may count from 0 after a roll-back.
            round(share(now.saturating_sub(before.unwrap_or(0)) as f64, seconds), 1)
        };
        let busy = now.busy.saturating_sub(before.map(|before| before.busy).unwrap_or_default());
        let us = |time: std::time::Duration| round(time.as_secs_f64() * 1e6, 3);
        Self {
            id: now.id.clone(),
            role: now.role.clone(),
            tasks: now.tasks,
            in_per_s: per_s(now.received, before.map(|before| before.received)),
            out_per_s: per_s(now.emitted, before.map(|before| before.emitted)),
            received: now.received,
            emitted: now.emitted,
            failed: now.failed,
            dead_letters: now.dead_letters,
            letters_dropped: now.letters_dropped,
            dropped: now.dropped,
            out_of_order: now.out_of_order,
            late: now.late,
            watermark: now.watermark,
            behind_s: now.behind.map(|behind| round(behind.as_secs_f64(), 3)),
            drifted: now.drifted,
            keys: now.keys,
            state_bytes: now.state_bytes,
            forgotten: now.forgotten,
            p50_us: now.p50.map(us),
            p99_us: now.p99.map(us),
            capacity: round(share(busy.as_secs_f64(), seconds * now.tasks as f64), 4),
            inbox: round(now.inbox, 3),
            state: now.state.clone(),
            troubles: now.troubles.clone(),
            only_failed: now.only_failed,
            bottleneck: false,
        }
    }
}

fn phase(status: &Status) -> &'static str {
    match status.phase {
        Phase::Running if status.inactive => "inactive",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Committing => "committing",
    }
}

/// Returns a part's share of a whole; 0 if the whole is 0.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn round(number: f64, digits: i32) -> f64 {
    let factor = 10f64.powi(digits);
    (number * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::watch::made_up;

    #[test]
    fn rates_are_those_between_two_snapshots() {
        let report =
            Report::between(Some(&made_up::before()), &made_up::after(), &made_up::flow(), None);
        let rates: Vec<_> = report
            .components
            .iter()
            .map(|row| (row.in_per_s, row.out_per_s, row.capacity))
            .collect();
        assert_eq!(rates, [(0.0, 2000.0, 0.04), (1990.0, 24000.0, 0.955), (24000.0, 0.0, 0.075)]);
    }

    #[test]
    fn without_an_earlier_snapshot_rates_are_averages_since_the_start() {
        let report = Report::between(None, &made_up::after(), &made_up::flow(), None);
        assert_eq!(report.components[0].out_per_s, 1000.0);
    }

    #[test]
    fn an_interval_of_no_length_and_counts_that_fell_give_zero() {
        let after = made_up::after();
        let same = Report::between(Some(&after), &after, &made_up::flow(), None);
        assert!(same.components.iter().all(|row| row.in_per_s == 0.0 && row.capacity == 0.0));
        let mut fallen = made_up::after();
        fallen.components[1].received = 3;
        fallen.components[1].busy = std::time::Duration::ZERO;
        let report = Report::between(Some(&made_up::before()), &fallen, &made_up::flow(), None);
        assert_eq!((report.components[1].in_per_s, report.components[1].capacity), (0.0, 0.0));
    }

    #[test]
    fn a_component_whose_task_hangs_says_so() {
        let after = Status { hangs: vec!["split[1] for 12 s".into()], ..made_up::after() };
        let report = Report::between(None, &after, &made_up::flow(), None);
        let states: Vec<_> = report.components.iter().map(|row| row.state.as_str()).collect();
        assert_eq!(states, ["blocked", "hangs", "idle"]);
    }

    #[test]
    fn the_json_line_keeps_its_schema() {
        let before = made_up::before();
        let mut report =
            Report::between(Some(&before), &made_up::after(), &made_up::flow(), Some(39_845_888));
        report.message = Some("stopping".into());
        let mut value = serde_json::to_value(report).unwrap();
        value["components"].as_array_mut().unwrap().truncate(2);
        expect![[r#"
            {
              "checkpoint_age_s": 0.412,
              "checkpoint_took_s": null,
              "components": [
                {
                  "behind_s": null,
                  "bottleneck": false,
                  "capacity": 0.04,
                  "dead_letters": 0,
                  "drifted": 0,
                  "dropped": 0,
                  "emitted": 12000,
                  "failed": 0,
                  "forgotten": 0,
                  "id": "posts",
                  "in_per_s": 0.0,
                  "inbox": 0.0,
                  "keys": null,
                  "late": 0,
                  "letters_dropped": 0,
                  "out_of_order": 0,
                  "out_per_s": 2000.0,
                  "p50_us": null,
                  "p99_us": null,
                  "received": 0,
                  "role": "spout",
                  "state": "blocked",
                  "state_bytes": null,
                  "tasks": 1,
                  "watermark": null
                },
                {
                  "behind_s": null,
                  "bottleneck": true,
                  "capacity": 0.955,
                  "dead_letters": 3,
                  "drifted": 0,
                  "dropped": 0,
                  "emitted": 144000,
                  "failed": 12,
                  "forgotten": 0,
                  "id": "split",
                  "in_per_s": 1990.0,
                  "inbox": 1.0,
                  "keys": null,
                  "late": 0,
                  "letters_dropped": 0,
                  "out_of_order": 0,
                  "out_per_s": 24000.0,
                  "p50_us": 16.4,
                  "p99_us": 3512.0,
                  "received": 11970,
                  "role": "bolt",
                  "state": "running",
                  "state_bytes": null,
                  "tasks": 2,
                  "watermark": null
                }
              ],
              "epoch": 11,
              "message": "stopping",
              "partition": "2015-12-18T00:00:00Z",
              "phase": "running",
              "rolls_over": "2015-12-18T01:00:00Z",
              "rss_bytes": 39845888,
              "state_file_bytes": null,
              "topology": "quickstart",
              "uptime_s": 12.0
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&value).unwrap());
    }
}

//! `/metrics` for Prometheus: the server, its topologies and their components.

use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use futures_util::future::join_all;

use super::exposition::{Exposition, Label};
use super::request_times::{BOUNDS_S, CLASSES, RequestTimes};
use super::topologies::look;
use crate::control::Seen;
use crate::metrics::{ComponentStatus, EXECUTE_BOUNDS_S};
use crate::server::fleet::Fleet;
use crate::server::shown::{State, TopologySummary};
use crate::watch::memory;

/// The media type of the text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A topology, and what its process says.
struct Scraped {
    summary: TopologySummary,
    seen: Option<Seen>,
}

/// A number of a topology's process, if it has one.
type OfStatus = fn(&Seen) -> Option<f64>;

/// A number of a component, if it has one.
type OfComponent = fn(&ComponentStatus) -> Option<f64>;

/// One line for each family of a topology's process: its name, its kind, its help, its number.
const OF_TOPOLOGIES: [(&str, &str, &str, OfStatus); 8] = [
    (
        "waterspout_topology_uptime_seconds",
        "gauge",
        "Time since the process of the topology started.",
        |seen| Some(seconds(seen.status.uptime)),
    ),
    (
        "waterspout_topology_resident_memory_bytes",
        "gauge",
        "Memory of the process of the topology.",
        |seen| seen.rss_bytes.map(|bytes| bytes as f64),
    ),
    ("waterspout_topology_checkpoint_epoch", "gauge", "The newest complete epoch.", |seen| {
        Some(seen.status.epoch as f64)
    }),
    (
        "waterspout_topology_checkpoint_age_seconds",
        "gauge",
        "Time since the newest epoch was completed.",
        |seen| seen.status.checkpoint_age.map(seconds),
    ),
    (
        "waterspout_topology_checkpoint_duration_seconds",
        "gauge",
        "Time that the newest complete epoch took.",
        |seen| seen.status.checkpoint_took.map(seconds),
    ),
    (
        "waterspout_topology_checkpoint_waiting",
        "gauge",
        "1 if something keeps checkpoints from being saved, such as a full disk.",
        |seen| Some(f64::from(seen.status.waits.is_some())),
    ),
    (
        "waterspout_topology_state_file_bytes",
        "gauge",
        "Length of the file with the checkpoints.",
        |seen| seen.status.state_file_bytes.map(|bytes| bytes as f64),
    ),
    (
        "waterspout_topology_hanging_tasks",
        "gauge",
        "Tasks that don't return from a call.",
        |seen| Some(seen.status.hangs.len() as f64),
    ),
];

/// The same for each component.
const OF_COMPONENTS: [(&str, &str, &str, OfComponent); 16] = [
    ("waterspout_component_tasks", "gauge", "Tasks of the component.", |component| {
        Some(component.tasks as f64)
    }),
    ("waterspout_component_received_tuples_total", "counter", "Tuples taken.", |component| {
        Some(component.received as f64)
    }),
    ("waterspout_component_emitted_tuples_total", "counter", "Tuples emitted.", |component| {
        Some(component.emitted as f64)
    }),
    (
        "waterspout_component_failed_executions_total",
        "counter",
        "Failed executions, retries included; of a source, failed attempts to read it.",
        |component| Some(component.failed as f64),
    ),
    (
        "waterspout_component_dead_letters_total",
        "counter",
        "Tuples that went to the dead letters.",
        |component| Some(component.dead_letters as f64),
    ),
    (
        "waterspout_component_dropped_tuples_total",
        "counter",
        "Tuples that were dropped because an option says so.",
        |component| Some(component.dropped as f64),
    ),
    (
        "waterspout_component_late_tuples_total",
        "counter",
        "Tuples that came after their window had closed.",
        |component| Some(component.late as f64),
    ),
    (
        "waterspout_component_out_of_order_posts_total",
        "counter",
        "Posts of a replay that came out of order.",
        |component| Some(component.out_of_order as f64),
    ),
    (
        "waterspout_component_drifted_posts_total",
        "counter",
        "Posts that weren't as their kind should be.",
        |component| Some(component.drifted as f64),
    ),
    (
        "waterspout_component_forgotten_keys_total",
        "counter",
        "Keys that were forgotten because of a bound.",
        |component| Some(component.forgotten as f64),
    ),
    (
        "waterspout_component_busy_seconds_total",
        "counter",
        "Time spent working, summed over the tasks.",
        |component| Some(seconds(component.busy)),
    ),
    (
        "waterspout_component_inbox_fill_ratio",
        "gauge",
        "How full the fullest inbox is, 0 to 1.",
        |component| Some(component.inbox),
    ),
    (
        "waterspout_component_watermark_lag_seconds",
        "gauge",
        "How far the watermark is behind the newest post of all sources.",
        |component| component.behind.map(seconds),
    ),
    ("waterspout_component_state_keys", "gauge", "Keys of the state.", |component| {
        component.keys.map(|keys| keys as f64)
    }),
    (
        "waterspout_component_state_bytes",
        "gauge",
        "Bytes of the state in the newest checkpoint.",
        |component| component.state_bytes.map(|bytes| bytes as f64),
    ),
    (
        "waterspout_component_troubles",
        "gauge",
        "Parts that fail at the moment, and are tried again.",
        |component| Some(component.troubles.len() as f64),
    ),
];

const EXECUTE: &str = "waterspout_component_execute_seconds";

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Metrics of the server and of all topologies.
#[get("/metrics")]
pub(crate) async fn metrics(fleet: Data<Fleet>, times: Data<RequestTimes>) -> HttpResponse {
    let asked = fleet.all().into_iter().map(async |kept| {
        let runs = kept.summary().pid.is_some();
        let seen = if runs { look(&kept).await.ok() } else { None };
        Scraped { summary: kept.summary(), seen }
    });
    let scraped = join_all(asked).await;
    let kind = HeaderValue::from_static(MEDIA_TYPE);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).body(text(&scraped, &times))
}

fn text(scraped: &[Scraped], times: &RequestTimes) -> String {
    let mut out = Exposition::default();
    of_server(scraped, times, &mut out);
    for (name, kind, help, number) in OF_TOPOLOGIES {
        out.family(name, kind, help);
        for one in scraped {
            if let Some(value) = one.seen.as_ref().and_then(number) {
                out.sample(name, &[("topology", &one.summary.name)], value);
            }
        }
    }
    for (name, kind, help, number) in OF_COMPONENTS {
        out.family(name, kind, help);
        for (one, component) in components(scraped) {
            if let Some(value) = number(component) {
                out.sample(name, &labels(one, component), value);
            }
        }
    }
    out.family(EXECUTE, "histogram", "Time that one execution took, since the tasks started.");
    for (one, component) in components(scraped) {
        if let Some(times) = &component.executes {
            let of = (&EXECUTE_BOUNDS_S[..], &times.counts[..]);
            let whole = (times.count, times.sum_s);
            out.histogram(EXECUTE, &labels(one, component), of, whole);
        }
    }
    out.into_text()
}

fn components(scraped: &[Scraped]) -> impl Iterator<Item = (&Scraped, &ComponentStatus)> {
    scraped.iter().flat_map(|one| {
        let components = one.seen.iter().flat_map(|seen| &seen.status.components);
        components.map(move |component| (one, component))
    })
}

fn labels<'a>(one: &'a Scraped, component: &'a ComponentStatus) -> [Label<'a>; 4] {
    [
        ("topology", &one.summary.name),
        ("component", &component.id),
        ("role", &component.role),
        ("type", &component.type_name),
    ]
}

fn of_server(scraped: &[Scraped], times: &RequestTimes, out: &mut Exposition) {
    let name = "waterspout_build_info";
    out.family(name, "gauge", "1, with the version of the server.");
    out.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let name = "waterspout_server_resident_memory_bytes";
    out.family(name, "gauge", "Memory of the server, without its topologies.");
    if let Some(bytes) = memory::resident_bytes() {
        out.sample(name, &[], bytes as f64);
    }
    let name = "waterspout_topologies";
    out.family(name, "gauge", "Topologies by what becomes of them.");
    for state in State::ALL {
        let count = scraped.iter().filter(|one| one.summary.state == state).count();
        out.sample(name, &[("state", state.name())], count as f64);
    }
    let name = "waterspout_topology_up";
    out.family(name, "gauge", "1 if the process of the topology answers.");
    for one in scraped {
        let up = f64::from(one.seen.is_some());
        out.sample(name, &[("topology", &one.summary.name)], up);
    }
    let name = "waterspout_topology_failures_total";
    out.family(name, "counter", "How often the process of the topology failed.");
    for one in scraped {
        out.sample(name, &[("topology", &one.summary.name)], one.summary.failures.into());
    }
    let name = "waterspout_http_request_duration_seconds";
    out.family(name, "histogram", "Time until a request had its answer, or its first part.");
    let counts = times.buckets();
    out.histogram(name, &[], (&BOUNDS_S, &counts), times.count_and_sum_s());
    let name = "waterspout_http_responses_total";
    out.family(name, "counter", "Answers by the class of their status.");
    for (class, count) in CLASSES.iter().zip(times.classes()) {
        out.sample(name, &[("class", class)], count as f64);
    }
}

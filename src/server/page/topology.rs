//! The page of one topology: its graph, its numbers, its messages.

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use maud::{Markup, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::curve::curve;
use super::frame::Column::{self, Number, Text};
use super::frame::{address, bytes, count, page, span, table};
use super::graph::graph;
use super::html as answer;
use super::list::state;
use crate::server::api::{ApiError, TopologyDetail, detail};
use crate::server::fleet::{Fleet, Kept};
use crate::server::history::ComponentRate;
use crate::server::shown::State;
use crate::watch::report::{Report, Row};

/// The maximum number of points of a curve.
const CURVE_POINTS: usize = 60;

/// The maximum number of lines of the log that are shown.
const LINES: usize = 30;

/// The columns of the table of components.
const COLUMNS: [Column; 14] = [
    Text("Component"),
    Text("State"),
    Number("Tasks"),
    Number("10 s"),
    Number("1 min"),
    Number("10 min"),
    Number("All"),
    Text("Curve"),
    Number("Busy"),
    Number("Inbox"),
    Number("p99"),
    Number("Failed"),
    Number("Dead"),
    Text("Watermark"),
];

/// Returns the whole page.
#[get("/topology/{name}")]
pub(crate) async fn topology_page(
    fleet: Data<Fleet>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&name)?;
    let content = html! {
        h1 { (kept.name) }
        div #live data-live=(address(&kept.name, "live"))
            data-events=(address(&kept.name, "live/events")) { (live(&kept).await) }
        div #data data-live=(address(&kept.name, "data")) data-every="10" {
            noscript {
                p { a href=(address(&kept.name, "data")) { "Trends, dead letters, gaps and lakes" } }
            }
        }
        h2 { "The topology file" }
        pre.file tabindex="0" { (kept.topology()) }
    };
    Ok(answer(&page(&kept.name, true, &content)))
}

/// Returns the part of the page that changes.
#[get("/topology/{name}/live")]
pub(crate) async fn topology_live(
    fleet: Data<Fleet>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&name)?;
    Ok(answer(&live(&kept).await))
}

pub(super) async fn live(kept: &Arc<Kept>) -> Markup {
    let shown = detail(kept).await;
    let report = shown.report.as_ref();
    html! {
        (head(&shown))
        @if let Some(report) = report {
            h2 { "Graph" }
            (graph(report, &shown.flow))
            h2 { "Components" }
            (components(kept, &shown, report))
            (troubles(report))
            h2 { "Checkpoints" }
            @if let Some(trouble) = &shown.checkpoint_trouble { p.message { (trouble) } }
            (checkpoints(report))
        } @else {
            p { "Its process gives no numbers at the moment." }
        }
        h2 { "Messages" }
        (messages(kept))
    }
}

fn head(shown: &TopologyDetail) -> Markup {
    let summary = &shown.summary;
    let rows = shown.report.as_ref().map(|report| &report.components[..]).unwrap_or_default();
    let bottleneck = rows.iter().find(|row| row.bottleneck);
    html! {
        p.head role="status" {
            (state(summary.state))
            @if let Some(report) = &shown.report { " for " (span(report.uptime_s)) }
            @if let Some(row) = bottleneck { ". Bottleneck: " strong { (row.id) } "." }
        }
        @if let Some(message) = &summary.message { p.message { (message) } }
        div.actions {
            @if summary.state == State::Running {
                a.button href=(address(&summary.name, "deactivate")) { "Deactivate…" }
            } @else {
                a.button href=(address(&summary.name, "activate")) { "Activate…" }
            }
            a.button href=(address(&summary.name, "rebalance")) { "Rebalance…" }
            a.button.danger href=(address(&summary.name, "kill")) { "Kill…" }
        }
    }
}

fn components(kept: &Kept, shown: &TopologyDetail, report: &Report) -> Markup {
    let rates = &shown.rates;
    html! {
        p.quiet { "Tuples per second that each component emits; of a sink, those that it takes." }
        @let rows = html! {
            @for row in &report.components {
                tr {
                    th scope="row" { (row.id) }
                    td { (row.state) }
                    td.number { (row.tasks) }
                    td.number { (rate(&rates.ten_seconds, row)) }
                    td.number { (rate(&rates.one_minute, row)) }
                    td.number { (rate(&rates.ten_minutes, row)) }
                    td.number { (rate(&rates.all, row)) }
                    td { (curve_of(kept, row)) }
                    td.number { (format!("{:.0} %", row.capacity * 100.0)) }
                    td.number { (format!("{:.0} %", row.inbox * 100.0)) }
                    td.number { @if let Some(us) = row.p99_us { (span(us * 1e-6)) } @else { "–" } }
                    td.number { (row.failed) }
                    td.number { (row.dead_letters) }
                    td { (watermark(row)) }
                }
            }
        };
        (table("Components", &COLUMNS, &rows))
    }
}

/// Returns the curve of a component's rate.
fn curve_of(kept: &Kept, row: &Row) -> Markup {
    let points = kept.history().curve(&row.id, CURVE_POINTS);
    curve(&points, &format!("Rate of {} in the last minutes", row.id))
}

/// Returns the rate out of a component, or into it if it is a sink.
fn rate(rates: &[ComponentRate], row: &Row) -> String {
    let found = rates.iter().find(|rate| rate.id == row.id);
    let is_sink = row.role == "sink";
    found.map_or("–".to_owned(), |rate| {
        count(if is_sink { rate.in_per_s } else { rate.out_per_s })
    })
}

fn watermark(row: &Row) -> Markup {
    html! {
        @match (row.watermark, row.behind_s) {
            (Some(at), Some(behind)) => { (instant(at)) ", " (span(behind)) " behind" },
            (Some(at), None) => (instant(at)),
            (None, _) => "–",
        }
    }
}

pub(super) fn instant(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()
}

fn troubles(report: &Report) -> Markup {
    let troubled = report.components.iter().filter(|row| !row.troubles.is_empty());
    html! {
        @for row in troubled {
            @for trouble in &row.troubles {
                p.message { (row.id) ", " (trouble.part) ": " (trouble.cause) }
            }
        }
    }
}

fn checkpoints(report: &Report) -> Markup {
    html! {
        dl {
            div { dt { "Epoch" } dd { (report.epoch) } }
            div {
                dt { "Age" }
                dd { @if let Some(age) = report.checkpoint_age_s { (span(age)) } @else { "none yet" } }
            }
            div {
                dt { "Took" }
                dd { @if let Some(took) = report.checkpoint_took_s { (span(took)) } @else { "–" } }
            }
            div {
                dt { "State's file" }
                dd { @if let Some(size) = report.state_file_bytes { (bytes(size)) } @else { "–" } }
            }
            div { dt { "Partition" } dd { (instant(report.partition)) } }
            div { dt { "Next partition" } dd { (instant(report.rolls_over)) } }
        }
    }
}

fn messages(kept: &Kept) -> Markup {
    let lines = kept.log().after(0, LINES);
    html! {
        @if lines.is_empty() { p.quiet { "None yet." } }
        ol.log {
            @for line in lines.iter().rev() {
                li data-level=(line.level) {
                    time datetime=(instant(line.at)) { (instant(line.at)) }
                    " " span.level { (line.level) } " " (line.text)
                }
            }
        }
    }
}

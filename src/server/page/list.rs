//! The list of all topologies.

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use futures_util::future::join_all;
use maud::{Markup, html};

use super::frame::Column::{self, Number, Text};
use super::frame::{address, bytes, count, page, table};
use super::html as answer;
use crate::server::api::TopologyDetail;
use crate::server::api::detail;
use crate::server::fleet::Fleet;
use crate::server::shown::State;

/// The columns of the list.
const COLUMNS: [Column; 7] = [
    Text("Name"),
    Text("State"),
    Number("Tasks"),
    Number("Tuples/s"),
    Number("Dead letters"),
    Number("Memory"),
    Text("Bottleneck"),
];

/// Returns the whole page.
#[get("/")]
pub(crate) async fn list_page(fleet: Data<Fleet>) -> HttpResponse {
    let content = html! {
        h1 { "Topologies" }
        div #live data-live="/live" data-events="/live/events" { (all(&fleet).await) }
    };
    answer(&page("Topologies", true, &content))
}

/// Returns the part of the page that changes.
#[get("/live")]
pub(crate) async fn list_live(fleet: Data<Fleet>) -> HttpResponse {
    answer(&all(&fleet).await)
}

pub(super) async fn all(fleet: &Fleet) -> Markup {
    let asked = fleet.all().into_iter().map(async |kept| detail(&kept).await);
    let topologies = join_all(asked).await;
    if topologies.is_empty() {
        return html! {
            p { "No topology runs here yet. " a href="/new" { "Submit one" } ", or use "
                code { "waterspout submit FILE" } "." }
        };
    }
    html! {
        @let rows = html! {
            @for topology in &topologies { (row(topology)) }
        };
        (table("All topologies", &COLUMNS, &rows))
    }
}

fn row(topology: &TopologyDetail) -> Markup {
    let (summary, report) = (&topology.summary, topology.report.as_ref());
    let rows = report.map(|report| &report.components[..]).unwrap_or_default();
    let spouts = rows.iter().filter(|row| row.role == "spout").map(|row| row.out_per_s);
    let bottleneck = rows.iter().find(|row| row.bottleneck).map(|row| row.id.as_str());
    html! {
        tr {
            th scope="row" { a href=(address(&summary.name, "")) { (summary.name) } }
            td { (state(summary.state)) }
            td.number { (summary.tasks) }
            td.number { @if report.is_some() { (count(spouts.sum())) } @else { "–" } }
            td.number { @if let Some(report) = report { (report.dead_letters()) } @else { "–" } }
            td.number {
                @if let Some(memory) = report.and_then(|report| report.rss_bytes) { (bytes(memory)) }
                @else { "–" }
            }
            td {
                @match (&summary.message, bottleneck) {
                    (Some(message), _) => span.message { (message) },
                    (None, Some(id)) => (id),
                    (None, None) => "",
                }
            }
        }
    }
}

/// Shows a state as a word with a colour.
pub(crate) fn state(state: State) -> Markup {
    html! { span.state data-state=(state.name()) { (state.name()) } }
}

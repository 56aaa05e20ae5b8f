//! The parts of an open page that change, as Server-Sent Events: one stream for each page. The data
//! of an event is a JSON string with the HTML of the part that the event names. A page whose stream
//! breaks asks for its parts by itself.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::spawn;
use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use maud::Markup;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::data::data;
use super::list::all;
use super::topology::live;
use crate::server::api::{ApiError, Events, Streams, TopologyName, open_stream};
use crate::server::fleet::{Fleet, Kept};

/// The interval at which numbers are sent. A shorter one asks the processes of topologies more
/// often.
const NUMBERS_EVERY: Duration = Duration::from_secs(2);

/// The number of these intervals after which trends, dead letters and lakes are sent, for which
/// files are read.
const DATA_EVERY: u64 = 5;

/// The event of the part with the numbers, and of the part with trends and lakes. They are the ids
/// of these parts in the page.
const NUMBERS: &str = "live";
const DATA: &str = "data";

/// The event after which the page is loaded again, since its topology is gone.
const GONE: &str = "gone";

/// A part of a page, sent when it changes.
struct Part {
    name: &'static str,
    last: String,
}

impl Part {
    fn new(name: &'static str) -> Self {
        Self { name, last: String::new() }
    }

    /// Sends the part if it has changed. Returns false if the page is closed.
    async fn send(&mut self, events: &Events, html: Markup) -> bool {
        if self.last == html.0 {
            return events.beat().await;
        }
        self.last = html.0;
        // A JSON string has no line breaks, which would end the event's data.
        let data = serde_json::to_string(&self.last).unwrap_or_default();
        events.send(self.name, &data).await
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(NUMBERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Sends the list of all topologies to an open page.
#[get("/live/events")]
pub(crate) async fn list_events(
    fleet: Data<Fleet>,
    streams: Data<Streams>,
) -> Result<HttpResponse, ApiError> {
    let (events, response) = open_stream(&streams)?;
    spawn(async move {
        let (mut ticks, mut list) = (ticks(), Part::new(NUMBERS));
        loop {
            ticks.tick().await;
            if !list.send(&events, all(&fleet).await).await {
                return;
            }
        }
    });
    Ok(response)
}

/// Sends the changing parts of a topology's page to an open page.
#[get("/topology/{name}/live/events")]
pub(crate) async fn topology_page_events(
    fleet: Data<Fleet>,
    streams: Data<Streams>,
    path: Path<TopologyName>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&path.name)?;
    let (events, response) = open_stream(&streams)?;
    spawn(send_topology(fleet, kept, events));
    Ok(response)
}

async fn send_topology(fleet: Data<Fleet>, kept: Arc<Kept>, events: Events) {
    let (mut numbers, mut found) = (Part::new(NUMBERS), Part::new(DATA));
    let mut ticks = ticks();
    for number in 0_u64.. {
        ticks.tick().await;
        if fleet.find(&kept.name).is_err() {
            events.send(GONE, "null").await;
            return;
        }
        if !numbers.send(&events, live(&kept).await).await {
            return;
        }
        if number % DATA_EVERY == 0
            && let Ok(html) = data(&fleet, &kept).await
            && !found.send(&events, html).await
        {
            return;
        }
    }
}

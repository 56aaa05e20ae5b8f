//! The browser of a topology's lakes: partition, micro-batch, posts. Only lakes that the topology
//! itself names can be looked at.

use actix_web::web::{Data, Path, Query, block};
use actix_web::{HttpResponse, get};
use maud::{Markup, html};
use serde::Deserialize;

use super::frame::Column::{self, Number, Text};
use super::frame::{address, bytes, page, quoted, table};
use super::html as answer;
use super::post::post;
use super::topology::instant;
use crate::error::Error;
use crate::lake::tools::ls::Line;
use crate::server::api::ApiError;
use crate::server::fleet::{Fleet, Kept, Refusal};
use crate::server::lakes::{ENTRIES, Section, TopologyLake, find};

/// The part of a list that is shown.
#[derive(Deserialize)]
pub(crate) struct From {
    /// The position of the first entry.
    #[serde(default)]
    from: usize,
}

/// Returns the page with the partitions of a lake.
#[get("/topology/{name}/lake/{lake}")]
pub(crate) async fn partitions_page(
    fleet: Data<Fleet>,
    path: Path<(String, String)>,
    query: Query<From>,
) -> Result<HttpResponse, ApiError> {
    let (name, component) = path.into_inner();
    let kept = fleet.find(&name)?;
    let from = query.from;
    let content = blocking(move || {
        let lake = find(fleet.shared(), &kept, &component)?;
        let listed = lake.partitions(from, ENTRIES)?;
        let own = lake_address(&kept, &lake, &[]);
        Ok(html! {
            (trail(&kept, &lake, &[]))
            h1 { (title(&lake)) }
            p.quiet { (lake.address()) }
            @if listed.entries.is_empty() { p { "There is nothing here yet." } }
            @else { (partition_table(&kept, &lake, &listed.entries)) }
            (pages(&own, &listed, ENTRIES))
        })
    })
    .await?;
    Ok(answer(&page(&format!("Lake of {name}"), true, &content)))
}

/// Returns the page with the micro-batches of a partition.
#[get("/topology/{name}/lake/{lake}/{partition}")]
pub(crate) async fn files_page(
    fleet: Data<Fleet>,
    path: Path<(String, String, String)>,
    query: Query<From>,
) -> Result<HttpResponse, ApiError> {
    let (name, component, partition) = path.into_inner();
    let kept = fleet.find(&name)?;
    let from = query.from;
    let content = blocking(move || {
        let lake = find(fleet.shared(), &kept, &component)?;
        let files = lake.files(&partition, from)?;
        let own = lake_address(&kept, &lake, &[&partition]);
        Ok(html! {
            (trail(&kept, &lake, &[&partition]))
            h1 { (partition) }
            @let rows = html! {
                @for (file, object) in &files.entries {
                    tr {
                        th scope="row" {
                            a href=(format!("{own}/{}", quoted(&file.to_string()))) { (file) }
                        }
                        td.number { (bytes(object.bytes)) }
                    }
                }
            };
            (table("Micro-batches", &[Text("Micro-batch"), Number("Size")], &rows))
            (pages(&own, &files, ENTRIES))
        })
    })
    .await?;
    Ok(answer(&page(&format!("Partition of {name}"), true, &content)))
}

/// Returns the page with the posts of a micro-batch.
#[get("/topology/{name}/lake/{lake}/{partition}/{file}")]
pub(crate) async fn posts_page(
    fleet: Data<Fleet>,
    path: Path<(String, String, String, String)>,
    query: Query<From>,
) -> Result<HttpResponse, ApiError> {
    let (name, component, partition, file) = path.into_inner();
    let kept = fleet.find(&name)?;
    let from = query.from;
    let content = blocking(move || {
        let lake = find(fleet.shared(), &kept, &component)?;
        let posts = lake.posts(&partition, &file, from)?;
        let own = lake_address(&kept, &lake, &[&partition, &file]);
        Ok(html! {
            (trail(&kept, &lake, &[&partition, &file]))
            h1 { "Micro-batch " (file) }
            @if posts.entries.is_empty() { p { "There are no more posts in this file." } }
            @for one in &posts.entries { (post(one)) }
            (pages(&own, &posts, crate::server::lakes::POSTS))
        })
    })
    .await?;
    Ok(answer(&page(&format!("Posts of {name}"), true, &content)))
}

/// Does work that reads files or asks a bucket, on a thread that may wait.
pub(super) async fn blocking(
    work: impl FnOnce() -> Result<Markup, Refusal> + Send + 'static,
) -> Result<Markup, ApiError> {
    let done = block(work).await.map_err(|cause| {
        Refusal::Failed(Error::fatal("the work on a lake was given up").because(cause))
    })?;
    Ok(done?)
}

/// Returns the name of a lake for people.
pub(super) fn title(lake: &TopologyLake) -> String {
    if lake.is_dead() { "Dead letters".to_owned() } else { format!("Lake of {}", lake.component) }
}

/// Returns the address of a lake's page, or of a partition or file in it.
pub(super) fn lake_address(kept: &Kept, lake: &TopologyLake, inside: &[&str]) -> String {
    let mut whole = format!("{}/{}", address(&kept.name, "lake"), quoted(&lake.component));
    for part in inside {
        whole.push('/');
        whole.push_str(&quoted(part));
    }
    whole
}

/// Links to the pages between the topology and this page.
fn trail(kept: &Kept, lake: &TopologyLake, inside: &[&str]) -> Markup {
    html! {
        nav.trail aria-label="Path" {
            ol {
                li { a href=(address(&kept.name, "")) { (kept.name) } }
                @if !inside.is_empty() {
                    li { a href=(lake_address(kept, lake, &[])) { (title(lake)) } }
                }
                @if inside.len() > 1 {
                    li { a href=(lake_address(kept, lake, &inside[..1])) { (inside[0]) } }
                }
            }
        }
    }
}

/// The columns of a table of partitions.
const PARTITION_COLUMNS: [Column; 6] = [
    Text("Partition"),
    Number("Micro-batches"),
    Number("Posts"),
    Number("Size"),
    Text("First post"),
    Text("Last post"),
];

/// Returns the partitions of a lake in a table.
pub(super) fn partition_table(kept: &Kept, lake: &TopologyLake, lines: &[Line]) -> Markup {
    let rows = html! {
        @for line in lines {
            tr {
                th scope="row" {
                    a href=(lake_address(kept, lake, &[&line.partition])) { (line.partition) }
                }
                td.number { (line.micro_batches) }
                td.number { @if let Some(posts) = line.posts { (posts) } @else { "–" } }
                td.number { (bytes(line.bytes)) }
                td { @if let Some(at) = line.first { (instant(at)) } @else { "–" } }
                td { @if let Some(at) = line.last { (instant(at)) } @else { "–" } }
            }
        }
    };
    table(&format!("Partitions, {}", title(lake)), &PARTITION_COLUMNS, &rows)
}

/// Links to the parts of a list before and after this one.
fn pages<T>(own: &str, section: &Section<T>, step: usize) -> Markup {
    let end = section.from.saturating_add(section.entries.len());
    html! {
        nav.pages aria-label="Parts of the list" {
            @if section.from > 0 {
                a.button href=(format!("{own}?from={}", section.from.saturating_sub(step))) { "Before" }
            }
            @if !section.entries.is_empty() {
                span.quiet {
                    (section.from.saturating_add(1)) " to " (end)
                    @if let Some(all) = section.all { " of " (all) }
                }
            }
            @if let Some(next) = section.next {
                a.button href=(format!("{own}?from={next}")) { "After" }
            }
        }
    }
}

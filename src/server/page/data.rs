//! The results of a topology: trends, dead letters, gaps, outboxes and lakes. It
//! changes more slowly than the numbers, and costs a look at files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, get};
use maud::{Markup, html};

use super::curve::curve;
use super::frame::Column::{Number, Text};
use super::frame::{bytes, count, table};
use super::html as answer;
use super::lake::{blocking, lake_address, partition_table, title};
use super::post::{post, sample};
use super::topology::instant;
use crate::control::TrendNow;
use crate::gaps::{Gap, ledger_entries};
use crate::lake::store::Store;
use crate::post::Post;
use crate::secret::hide_in_addresses;
use crate::server::api::{ApiError, trends};
use crate::server::fleet::{Fleet, Kept};
use crate::server::lakes::{TopologyLake, lakes};

/// The maximum number of trends that are shown.
const TRENDS: usize = 12;

/// The maximum number of dead letters that are shown.
const LETTERS: usize = 3;

/// The maximum number of gaps that are shown, the newest first.
const GAPS: usize = 20;

/// The maximum number of partitions of each lake that are shown.
const PARTITIONS: usize = 5;

/// The maximum number of files of outboxes whose sizes are read. More would take long.
const OUTBOX_FILES_MAX: usize = 20_000;

/// Returns the part of a topology's page with these results.
#[get("/topology/{name}/data")]
pub(crate) async fn topology_data(
    fleet: Data<Fleet>,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&name)?;
    Ok(answer(&data(&fleet, &kept).await?))
}

pub(super) async fn data(fleet: &Data<Fleet>, kept: &Arc<Kept>) -> Result<Markup, ApiError> {
    let (fleet, kept) = (fleet.clone(), Arc::clone(kept));
    let trending = trends(&kept).await.unwrap_or_default();
    blocking(move || {
        let state = kept.folder.state();
        let lakes = lakes(fleet.shared(), &kept)?;
        let samples = samples(&kept, &lakes, &trending);
        Ok(html! {
            @if !trending.is_empty() { h2 { "Trends" } (trend_list(&trending, &samples)) }
            @for lake in lakes.iter().filter(|lake| lake.is_dead()) { (letters(&kept, lake)) }
            (gaps(&state))
            (outboxes(&state))
            @for lake in lakes.iter().filter(|lake| !lake.is_dead()) { (partitions(&kept, lake)) }
        })
    })
    .await
}

/// Returns the sample posts of trends that are in the lakes of the topology, by their ids.
fn samples(kept: &Kept, lakes: &[TopologyLake], trends: &[TrendNow]) -> BTreeMap<String, Post> {
    let shown = trends.iter().take(TRENDS);
    let ids = shown.flat_map(|trend| trend.sample_posts.iter().cloned()).collect();
    let lakes = lakes.iter().filter(|lake| !lake.is_dead());
    let stores: Vec<Arc<dyn Store>> = lakes.map(TopologyLake::store).collect();
    kept.samples().find(&stores, &ids)
}

fn trend_list(trends: &[TrendNow], samples: &BTreeMap<String, Post>) -> Markup {
    html! {
        ul.cards {
            @for trend in trends.iter().take(TRENDS) {
                li.card {
                    p.card-head {
                        strong { (trend.key) }
                        @let values: Vec<f64> = trend.curve.iter().map(|count| *count as f64).collect();
                        (curve(&values, &format!("Posts of {} in its last buckets", trend.key)))
                    }
                    p { (trend.why) }
                    p.quiet {
                        (trend.key_type) ", "
                        time datetime=(trend.bucket_start) { (to_minute(&trend.bucket_start)) }
                        @if trend.provisional { ", so far" }
                        @if let Some(score) = trend.score { ", score " (count(score)) }
                    }
                    @if !trend.sample_posts.is_empty() {
                        p.quiet { "Sample posts:" }
                        ul.samples {
                            @for id in &trend.sample_posts {
                                li { (sample(id, samples.get(id))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `2015-12-18 00:07` of `2015-12-18T00:07:00.000000Z`; another text as it is.
fn to_minute(instant: &str) -> String {
    instant.get(..16).map_or_else(|| instant.to_owned(), |start| start.replace('T', " "))
}

/// Shows the error of a file that can't be read.
fn trouble(error: &crate::error::Error) -> Markup {
    html! { p.message { (hide_in_addresses(&error.chain())) } }
}

fn letters(kept: &Kept, lake: &TopologyLake) -> Markup {
    let newest = lake.newest_posts(LETTERS);
    html! {
        h2 { "Dead letters" }
        @match newest {
            Err(error) => (trouble(&error)),
            Ok(newest) if newest.is_empty() => p.quiet { "None." },
            Ok(newest) => {
                @for letter in &newest { (post(letter)) }
                p { a href=(lake_address(kept, lake, &[])) { "Browse all dead letters" } }
            },
        }
    }
}

fn gaps(state: &FilePath) -> Markup {
    let mut all = match ledger_entries(state) {
        Ok(all) => all,
        Err(error) => return html! { h2 { "Gaps" } (trouble(&error)) },
    };
    if all.is_empty() {
        return html! { h2 { "Gaps" } p.quiet { "None." } };
    }
    all.sort_by_key(|gap| std::cmp::Reverse(gap.from));
    let open = all.iter().filter(|gap| !gap.filled).count();
    html! {
        h2 { "Gaps" }
        p {
            (open) " of " (all.len()) " not filled"
            @if all.len() > GAPS { "; the newest " (GAPS) " are shown" } "."
        }
        @let rows = html! {
            @for gap in all.iter().take(GAPS) {
                tr {
                    th scope="row" { (gap.spout) @if !gap.part.is_empty() { " " (gap.part) } }
                    td { (instant(gap.from)) }
                    td { (instant(gap.to)) }
                    td { (missing_posts(gap)) }
                    td.text { (gap.why) }
                }
            }
        };
        @let columns = ["Spout", "From", "To", "Posts", "Why"].map(Text);
        (table("Gaps", &columns, &rows))
    }
}

fn missing_posts(gap: &Gap) -> String {
    match (gap.filled, gap.estimated_posts) {
        (true, _) => format!("filled, {}", gap.posts),
        (false, Some(posts)) => format!("about {posts} missing"),
        (false, None) => "unknown".to_owned(),
    }
}

/// The size of a component's outbox.
#[derive(Default)]
struct Outbox {
    files: usize,
    bytes: u64,
}

fn outboxes(state: &FilePath) -> Markup {
    let found = outbox_sizes(&state.join("outbox"));
    html! {
        @if !found.is_empty() {
            h2 { "Outboxes" }
            p.quiet { "What waits on this machine's disk until it is delivered." }
            @let rows = html! {
                @for (sink, outbox) in &found {
                    tr {
                        th scope="row" { (sink) }
                        td.number { (outbox.files) }
                        td.number { (bytes(outbox.bytes)) }
                    }
                }
            };
            (table("Outboxes", &[Text("Sink"), Number("Files"), Number("Size")], &rows))
        }
    }
}

/// Adds up the files in `<outbox>/<run>/<component>-<task>`, by component. Files may go while they
/// are looked at.
fn outbox_sizes(outbox: &FilePath) -> BTreeMap<String, Outbox> {
    let mut sizes: BTreeMap<String, Outbox> = BTreeMap::new();
    let mut left = OUTBOX_FILES_MAX;
    for run in entries(outbox) {
        for task in entries(&run) {
            let name = task.file_name().unwrap_or_default().to_string_lossy();
            let component = name.rsplit_once('-').map_or(&*name, |(component, _)| component);
            let size = sizes.entry(component.to_owned()).or_default();
            let mut folders = vec![task.clone()];
            while let Some(path) = folders.pop() {
                for entry in entries(&path) {
                    let Ok(metadata) = entry.symlink_metadata() else { continue };
                    if left == 0 {
                        return sizes;
                    }
                    left -= 1;
                    if metadata.is_dir() {
                        folders.push(entry);
                    } else {
                        size.files += 1;
                        size.bytes += metadata.len();
                    }
                }
            }
        }
    }
    sizes
}

/// Returns the entries of a folder; none if it can't be read.
fn entries(folder: &FilePath) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn partitions(kept: &Kept, lake: &TopologyLake) -> Markup {
    let listed = lake.partitions(0, PARTITIONS);
    html! {
        h2 { (title(lake)) }
        p.quiet { (lake.address()) }
        @match listed {
            Err(error) => (trouble(&error)),
            Ok(listed) if listed.entries.is_empty() => p.quiet { "No partition is visible yet." },
            Ok(listed) => {
                (partition_table(kept, lake, &listed.entries))
                @let all = listed.all.unwrap_or_default();
                p { a href=(lake_address(kept, lake, &[])) { "All partitions (" (all) ")" } }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outboxes_are_added_up_by_component() {
        let state = tempfile::tempdir().unwrap();
        let root = state.path().join("outbox");
        for (task, text) in [("to-s3-0", "abc"), ("to-s3-1", "de"), ("rows-0", "")] {
            let folder = root.join("run").join(task);
            std::fs::create_dir_all(folder.join("partition")).unwrap();
            std::fs::write(folder.join("partition/0000000"), text).unwrap();
        }
        let sizes = outbox_sizes(&root);
        let sizes: Vec<_> =
            sizes.iter().map(|(id, size)| (id.as_str(), size.files, size.bytes)).collect();
        assert_eq!(sizes, [("rows", 1, 0), ("to-s3", 2, 5)]);
        assert!(outbox_sizes(&state.path().join("nowhere")).is_empty());
    }

    #[test]
    fn a_trend_has_its_explanation_and_is_escaped() {
        let trend = TrendNow {
            component: "trends".into(),
            key_type: "hashtag".into(),
            key: "#<i>".into(),
            bucket_start: "2015-12-18T00:07:00.000000Z".into(),
            started_at: None,
            peak_at: None,
            count: 9,
            baseline: Some(1.0),
            score: Some(8.0),
            authors: 3,
            sample_posts: vec!["1".into(), "<2>".into()],
            why: "9 in a minute".into(),
            provisional: false,
            curve: vec![3, 9],
        };
        let json = r#"{"tweet":{"id":"1","text":"<i>rain","user":{"name":"<b>Ann"}}}"#;
        let samples = [("1".to_owned(), Post::check(json.into()).unwrap())].into();
        let html = trend_list(&[trend], &samples).into_string();
        for part in [
            "#&lt;i&gt;",
            "9 in a minute",
            "&lt;b&gt;Ann",
            "&lt;i&gt;rain",
            "&lt;2&gt;",
            "2015-12-18 00:07",
            "<polyline",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("<i>") && !html.contains("<b>"), "{html}");
    }
}

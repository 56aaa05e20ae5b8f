//! The API against its own description, and `/metrics`, by programs that nobody here wrote.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::support::{cache, lake_by_partition, repository};
use super::world::{Server, World, capture};

fn python(program: &str) -> Command {
    let folder = cache::folder("python", "tests/requirements.txt");
    let path = folder.join("bin").join(program);
    assert!(path.exists(), "\"{}\" is missing: tests/run installs it", path.display());
    Command::new(path)
}

/// A topology that counts, under the name that the description gives as an example.
fn submit_words(server: &Server, world: &World) {
    let words = capture("words", &world.path("lake"), 100_000_000, 200);
    server.submit(&words).with(201);
}

#[test]
fn the_api_is_as_it_is_described() {
    let world = World::new();
    let server = world.serve(&["--max-topologies", "3"]);
    submit_words(&server, &world);
    let is_long = std::env::var_os("WATERSPOUT_LONG").is_some();
    let examples = if is_long { "100" } else { "10" };
    let ended = python("schemathesis")
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", server.url))
        .arg("--header")
        .arg(format!("Authorization: Bearer {}", server.token()))
        // Streams have no end, and wrong tokens are slowed down.
        .args(["--exclude-tag", "streams", "--exclude-path", "/api/v1/session"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_headers_conformance,response_schema_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", examples])
        .args(["--seed", "17", "--no-color", "--continue-on-failure"])
        .current_dir(world.sandbox.path("."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    server.get("/api/v1/topologies").with(200);
    server.stop().with(0);
}

/// Parses the metrics, prints their names, and fails unless they are as Prometheus wants them.
const READ_METRICS: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation, family.name
    assert family.type in ("gauge", "counter", "histogram"), family
    for sample in family.samples:
        print(sample.name)
    if family.type == "histogram":
        buckets = {}
        for sample in family.samples:
            rest = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
            if sample.name.endswith("_bucket"):
                buckets.setdefault(rest, []).append(sample.value)
            if sample.name.endswith("_count"):
                assert buckets[rest] == sorted(buckets[rest]), family.name
                assert buckets[rest][-1] == sample.value, family.name
"#;

/// Loads the dashboard and the alert rules, and prints each metric that they name.
const READ_RULES: &str = r#"
import json, re, sys, yaml
dashboard, rules = sys.argv[1:]
panels = json.load(open(dashboard))["panels"]
expressions = [target["expr"] for panel in panels for target in panel["targets"]]
for group in yaml.safe_load(open(rules))["groups"]:
    for rule in group["rules"]:
        assert rule["alert"] and rule["annotations"]["summary"] and rule["labels"]["severity"], rule
        expressions.append(rule["expr"])
assert len(expressions) > 20
for expression in expressions:
    for name in re.findall(r"waterspout_[a-z_]+", expression):
        print(name)
"#;

#[test]
fn prometheus_reads_the_metrics_and_the_dashboard_names_no_others() {
    use std::io::Write;
    use std::process::Stdio;
    let world = World::new();
    let server = world.serve(&[]);
    // Something of each kind: a bolt with state, event time, a checkpoint.
    let topology = format!(
        r#"Topology(
            name: "all",
            spouts: {{"posts": Spout(run: Generate(rate: 200))}},
            bolts: {{
                "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("posts")]),
                "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
                "top": Bolt(run: Top(fields: ["word"]), inputs: [Fields("words", ["word"])]),
                "out": Bolt(run: Null(), inputs: [Shuffle("count"), Shuffle("top")]),
                "lake": Bolt(run: Local(root: "{}"), inputs: [Shuffle("posts")]),
            }},
            checkpoint: Checkpoint(every: "50ms"),
        )"#,
        world.path("lake")
    );
    let submitted = server.submit(&topology);
    assert_eq!(submitted.status, 201, "{}", submitted.body);
    server.wait_for_count("all", "count", "received", 100);
    let metrics = server.wait("there is a watermark", || {
        let metrics = server.get("/metrics").with(200);
        metrics.body.contains("waterspout_component_watermark_lag_seconds{").then_some(metrics)
    });
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut reader = python("python")
        .args(["-c", READ_METRICS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(metrics.body.as_bytes()).unwrap();
    let read = reader.wait_with_output().unwrap();
    assert!(read.status.success(), "{}", metrics.body);
    let known = String::from_utf8(read.stdout).unwrap();
    let known: Vec<&str> = known.lines().collect();
    let rules = python("python")
        .args(["-c", READ_RULES])
        .arg(repository("packaging/grafana-dashboard.json"))
        .arg(repository("packaging/prometheus-alerts.yml"))
        .output()
        .unwrap();
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    for name in String::from_utf8(rules.stdout).unwrap().lines() {
        assert!(known.contains(&name), "{name} isn't in /metrics");
    }
    server.raw("GET", "/metrics", &[], "").with(401);
    server.stop().with(0);
}

/// Returns all files below a folder; none if the folder doesn't exist.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn many_rebalances_under_load_lose_nothing() {
    use super::support::random::Random;
    let is_long = std::env::var_os("WATERSPOUT_LONG").is_some();
    let (rebalances, posts) = if is_long { (1_000, 3_000_000) } else { (100, 60_000) };
    let world = World::new();
    let server = world.serve(&[]);
    let topology = format!(
        r#"Topology(
            name: "moved",
            spouts: {{"posts": Spout(run: Generate(posts: {posts}, rate: 3000), parallelism_hint: 2)}},
            bolts: {{
                "words": Bolt(run: Words(field: "text"), inputs: [LocalOrShuffle("posts")]),
                "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
                "out": Bolt(run: Null(), inputs: [Shuffle("count")]),
                "lake": Bolt(run: Local(root: "{}"), inputs: [Shuffle("posts")]),
            }},
            checkpoint: Checkpoint(every: "50ms"),
        )"#,
        world.path("lake")
    );
    server.submit(&topology).with(201);
    let mut random = Random(17);
    for _ in 0..rebalances {
        let mut tasks = serde_json::Map::new();
        for component in ["posts", "words", "count", "out", "lake"] {
            if random.below(2) == 0 {
                tasks.insert(component.into(), json!(random.below(4) + 1));
            }
        }
        if !tasks.is_empty() {
            server.post("/api/v1/topologies/moved/rebalance", &json!({ "tasks": tasks })).with(200);
        }
    }
    server.wait_for_state("moved", "finished");
    // A task that a rebalance ended may leave empty folders, but no posts. With many rebalances some
    // partitions may still have no index: a note lists them for the next start.
    let lake = world.sandbox.path("lake");
    let mut left = files_below(&lake.join("_staging"));
    left.retain(|path| !path.ends_with("unindexed"));
    assert_eq!(left, Vec::<PathBuf>::new());
    let partitions = lake_by_partition(&lake, &["_staging"]);
    let mut written: Vec<String> = partitions.into_values().flatten().collect();
    written.sort_unstable();
    let all = written.len();
    written.dedup();
    assert_eq!((all, written.len()), (posts, posts));
    server.stop().with(0);
}

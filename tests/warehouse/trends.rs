//! Trends in the table `trends`: what `Stdout` prints beside it, also after kills of the engine and
//! over runs that end in the middle of a bucket.

use std::collections::BTreeMap;

use serde_json::Value;
use waterspout::spout::generate::Generate;

use crate::support::postgres_server::{Database, PostgresServer};
use crate::support::random::Random;
use crate::support::{Ended, Sandbox, repository};

/// Posts with a planted burst among them.
const POSTS: u64 = 24_000;

/// Options with which so many keys trend that there are many segments to load.
const OFTEN: &str =
    ", bucket: \"10s\", enter: 3, exit: 1, p_value: 0.01, min_count: 3, min_authors: 2";

/// The spout, the fields of which stand in [`generator`] as well.
const SPOUT: &str = "Generate(rate: 8, speed: Max, platforms: [X, Mastodon], posts: ";

fn generator() -> Generate {
    let text = SPOUT.strip_prefix("Generate").unwrap();
    ron::Options::default()
        .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME)
        .from_str(&format!("{text}{POSTS})"))
        .unwrap()
}

/// The topology; `options` go to `Trends`: `, enter: 4`.
fn topology(posts: u64, options: &str) -> String {
    format!(
        r#"Topology(
            name: "trends",
            spouts: {{"posts": Spout(run: {SPOUT}{posts}))}},
            bolts: {{
                "features": Bolt(run: Features(sentiment: false), inputs: [LocalOrShuffle("posts")]),
                "trends": Bolt(
                    run: Trends(key_types: ["hashtag"], warm_up: 5{options}),
                    inputs: [Fields("features:keys", ["key_type", "key"]), All("posts")],
                    parallelism_hint: 2,
                ),
                "warehouse": Bolt(
                    run: Postgres(url: Env("DATABASE_URL")),
                    inputs: [Fields("trends", ["key_type", "key"])],
                    parallelism_hint: 2,
                ),
                "print": Bolt(run: Stdout(), inputs: [Global("trends")]),
            }},
            checkpoint: Checkpoint(every: "20ms"),
        )"#
    )
}

/// The topology in a sandbox.
struct Trending<'d> {
    sandbox: Sandbox,
    database: &'d Database<'d>,
}

impl<'d> Trending<'d> {
    fn new(database: &'d Database<'d>, posts: u64) -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("t.ron", topology(posts, ""));
        Self { sandbox, database }
    }

    /// With [`OFTEN`].
    fn often(database: &'d Database<'d>) -> Self {
        let trending = Self::new(database, POSTS);
        trending.sandbox.write("t.ron", topology(POSTS, OFTEN));
        trending
    }

    fn run(&self, environment: &[(&str, &str)]) -> Ended {
        let url = self.database.url();
        let environment = [&[("DATABASE_URL", url.as_str())], environment].concat();
        self.sandbox.run_with(&["run", "t.ron", "--state", "state"], &environment)
    }

    /// The rows of the table as `Stdout` prints them, in the order of their keys.
    fn table(&self) -> Vec<Value> {
        let time =
            |name: &str| format!("'{name}', to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
        let row = format!(
            "jsonb_build_object('key_type', key_type, 'key', key, {}, {}, {}, 'count', count, \
             'baseline', baseline, 'score', score, 'p_value', p_value, 'authors', authors, \
             'sample_posts', sample_posts, 'why', why)",
            time("bucket_start"),
            time("started_at"),
            time("peak_at")
        );
        let query = format!(
            "set timezone to 'UTC'; select {row} from trends order by bucket_start, key_type, key"
        );
        let rows = self.database.ask(&query);
        rows.lines().map(row_of).collect()
    }
}

/// A row whose numbers are floats: some writers leave out the point of whole ones.
fn row_of(line: &str) -> Value {
    let mut row: Value = serde_json::from_str(line).unwrap();
    for value in row.as_object_mut().unwrap().values_mut() {
        if let Some(number) = value.as_f64() {
            *value = number.into();
        }
    }
    row
}

/// Printed rows, of each key and bucket the last one, in the order of the table.
fn printed(text: &str) -> Vec<Value> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let row = row_of(line);
        let of = |name: &str| row[name].as_str().unwrap().to_owned();
        rows.insert((of("bucket_start"), of("key_type"), of("key")), row);
    }
    rows.into_values().collect()
}

#[test]
fn trends_are_rows_of_a_table_each_once() {
    let database = PostgresServer::shared().database();
    let trending = Trending::new(&database, POSTS);
    let ended = trending.run(&[]).with(0);
    let printed = printed(&ended.out);
    assert!(printed.len() >= 4, "{}", ended.out);
    assert_eq!(ended.out.lines().count(), printed.len(), "each is printed once");
    assert_eq!(trending.table(), printed);
    let bursts = generator().bursts().count();
    let trends = database.ask("select count(distinct (key, started_at)) from trends");
    assert_eq!(trends, bursts.to_string());
    // The same again changes nothing.
    let again = trending
        .sandbox
        .run_with(&["run", "t.ron", "--state", "other"], &[("DATABASE_URL", &database.url())]);
    again.with(0);
    assert_eq!(trending.table(), printed);
    let graph = trending.sandbox.run(&["graph", "t.ron"]).with(0);
    assert!(
        graph.out.contains("<- trends: Fields(\"key_type\", \"key\"), into table trends"),
        "{}",
        graph.out
    );
    let environment = [("DATABASE_URL", "postgres://host/db")];
    let valid = trending.sandbox.run_with(&["validate", "t.ron"], &environment).with(0);
    assert!(valid.out.contains("note: warehouse: trends goes into table trends"), "{}", valid.out);
    let provisional = topology(1, "").replace("Fields(\"trends\"", "Fields(\"trends:provisional\"");
    trending.sandbox.write("t.ron", provisional);
    let refused = trending.sandbox.run_with(&["validate", "t.ron"], &environment).with(3);
    refused.says(&["buckets that aren't over", "wire the stream \"default\""]);
}

#[test]
fn kills_of_the_engine_leave_the_trends_of_an_undisturbed_run() {
    let database = PostgresServer::shared().database();
    let undisturbed = Trending::often(&database);
    undisturbed.run(&[]).with(0);
    let expected = undisturbed.table();
    assert!(expected.len() > 50, "{} rows", expected.len());
    let points =
        ["pg.commit", "pg.committed", "coordinator.save", "state.commit", "state.committed"];
    let wanted = if super::runs::is_long() { 50 } else { 6 };
    let (mut kills, mut random) = (0, Random(super::runs::seed()));
    while kills < wanted {
        let database = PostgresServer::shared().database();
        let trending = Trending::often(&database);
        let mut story = String::new();
        for _ in 0..6 {
            let point = points[random.below(points.len() as u64) as usize];
            let faults = format!("{point}={}*off->return", random.below(12));
            let ended = trending.run(&[("FAILPOINTS", &faults)]);
            story += &format!(" {faults}");
            match ended.code {
                None => kills += 1,
                Some(0 | 6) => break,
                code => panic!("{code:?} after {story}:\n{}", ended.err),
            }
        }
        let ended = trending.run(&[]);
        assert!(
            matches!(ended.code, Some(0 | 6)),
            "{:?} after {story}:\n{}",
            ended.code,
            ended.err
        );
        assert_eq!(trending.table(), expected, "after {story}");
    }
    println!("{kills} kills");
}

#[test]
fn a_run_that_goes_on_replaces_the_bucket_that_the_one_before_cut_off() {
    let burst = generator().bursts().next().unwrap();
    let middle = (burst.posts.start + burst.posts.end) / 2;
    let database = PostgresServer::shared().database();
    let trending = Trending::new(&database, middle);
    trending.run(&[]).with(0);
    let cut_off = trending.table();
    trending.sandbox.write("t.ron", topology(POSTS, ""));
    trending.run(&[]).with(0);
    let table = trending.table();
    let last = cut_off.last().unwrap();
    let again = table.iter().find(|row| row["bucket_start"] == last["bucket_start"]).unwrap();
    assert!(again["count"].as_f64() > last["count"].as_f64(), "{last} {again}");
    let whole = PostgresServer::shared().database();
    let undisturbed = Trending::new(&whole, POSTS);
    undisturbed.run(&[]).with(0);
    assert_eq!(table, undisturbed.table());
}

#[test]
fn the_topology_of_the_repository_writes_trends_as_well() {
    let database = PostgresServer::shared().database();
    let sandbox = Sandbox::new();
    let (file, url) = (repository("topologies/warehouse.ron"), database.url());
    let environment = [("DATABASE_URL", url.as_str())];
    let graph = sandbox.run(&["graph", &file]).with(0);
    for wanted in ["\"post_id\"), into table posts and those beside it", "into table trends"] {
        assert!(graph.out.contains(wanted), "{}", graph.out);
    }
    let run = ["run", &file, "--state", "state", "--set", "spouts.posts.run.posts=24000"];
    sandbox.run_with(&run, &environment).with(0);
    let found = database.ask("select count(*) > 0, count(distinct (key, started_at)) from trends");
    assert_eq!(found, "t|1");
}

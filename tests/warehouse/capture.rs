//! A topology that captures into a lake and into a warehouse beside it, and an independent check
//! that both hold the same.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::postgres_server::Database;
use crate::support::{Ended, Running, Sandbox, lake_by_partition};

pub(crate) const ARGUMENTS: [&str; 6] = ["run", "t.ron", "--state", "state", "--interval", "50ms"];

/// A post, one in `bad_every` of which the server refuses.
fn tweet(number: usize, bad_every: usize) -> String {
    let more = if number % bad_every == bad_every - 1 { ",\"n\":1e200000" } else { "" };
    format!(
        "{{\"tweet\":{{\"id_str\":\"{number:06}\",\"text\":\"größer #tag{} @user{}\",\"created_at\":\
         \"2015-12-18T00:00:00Z\",\"user\":{{\"id_str\":\"u{}\",\"screen_name\":\"u\"}}{more}}}}}\n",
        number % 7,
        number % 5,
        number % 100
    )
}

pub(crate) struct Capture<'d> {
    pub sandbox: Sandbox,
    pub database: &'d Database<'d>,
    pub posts: usize,
    pub bad_every: usize,
}

impl<'d> Capture<'d> {
    /// With all posts good.
    pub(crate) fn new(database: &'d Database<'d>, posts: usize) -> Self {
        Self::with_bad(database, posts, usize::MAX)
    }

    pub(crate) fn with_bad(database: &'d Database<'d>, posts: usize, bad_every: usize) -> Self {
        let sandbox = Sandbox::new();
        let lines: String = (0..posts).map(|number| tweet(number, bad_every)).collect();
        sandbox.write("in.ndjson", lines);
        let capture = Self { sandbox, database, posts, bad_every };
        capture.write("Lines(paths: [\"in.ndjson\"])", "");
        capture
    }

    /// Writes the topology, with another spout, and more options of the sink: `, raw: None`.
    pub(crate) fn write(&self, spout: &str, options: &str) {
        self.sandbox.write(
            "t.ron",
            format!(
                r#"Topology(
                    name: "capture",
                    spouts: {{"in": Spout(run: {spout}, batch: 8)}},
                    bolts: {{
                        "warehouse": Bolt(run: Postgres(url: Env("DATABASE_URL"){options}),
                                          inputs: [Shuffle("in")], parallelism_hint: 2),
                        "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")]),
                    }},
                    checkpoint: Checkpoint(every: "20ms"),
                    micro_batch: MicroBatch(posts: 500),
                )"#
            ),
        );
    }

    pub(crate) fn start(&self) -> Running {
        self.start_at(&self.database.url())
    }

    /// The same with another address of the server.
    pub(crate) fn start_at(&self, url: &str) -> Running {
        self.sandbox.start_with(&ARGUMENTS, &[("DATABASE_URL", url)])
    }

    pub(crate) fn run(&self) -> Ended {
        self.start().end()
    }

    /// Runs it with a fault; true if it came to its end.
    pub(crate) fn run_with_fault(&self, point: &str, after: u64) -> bool {
        let faults = format!("{point}={after}*off->return");
        let url = self.database.url();
        let environment = [("DATABASE_URL", url.as_str()), ("FAILPOINTS", &faults)];
        let ended = self.sandbox.run_with(&ARGUMENTS, &environment);
        match ended.code {
            None => false,
            Some(0 | 4 | 6) => true,
            code => panic!("{code:?} after {faults}:\n{}", ended.err),
        }
    }

    /// A command on the warehouse.
    pub(crate) fn warehouse(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["warehouse"], arguments].concat();
        self.sandbox.run_with(&arguments, &[("DATABASE_URL", &self.database.url())])
    }

    /// The ids in the lake, each of which is there once.
    pub(crate) fn lake_ids(&self) -> BTreeSet<String> {
        let partitions = lake_by_partition(&self.sandbox.path("lake"), &["_dead"]);
        let mut ids = BTreeSet::new();
        for post in partitions.into_values().flatten() {
            let post: Value = serde_json::from_str(&post.replace("1e200000", "0")).unwrap();
            let tweet = &post["tweet"];
            let id = tweet["id_str"].as_str().or(tweet["id"].as_str()).unwrap().to_owned();
            assert!(ids.insert(id.clone()), "{id} is in the lake twice");
        }
        ids
    }

    /// Both hold all posts once; the bad ones are dead letters, each once.
    #[track_caller]
    pub(crate) fn check(&self, story: &str) {
        let bad = self.posts / self.bad_every;
        let lake = self.lake_ids();
        assert_eq!(lake.len(), self.posts, "{story}");
        let found = self.database.ask("select post_id from posts order by post_id");
        let found: Vec<&str> = found.lines().collect();
        let wanted: Vec<&str> = lake
            .iter()
            .filter(|id| id.parse::<usize>().unwrap() % self.bad_every != self.bad_every - 1)
            .map(String::as_str)
            .collect();
        assert!(found == wanted, "{} rows instead of {} after {story}", found.len(), wanted.len());
        let good = self.posts - bad;
        let counts = self.database.ask(
            "select (select count(*) from post_keys), (select count(*) from post_hashtags), \
             (select count(*) from post_mentions), (select count(*) from authors)",
        );
        assert_eq!(counts, format!("{good}|{good}|{good}|{}", good.min(100)), "after {story}");
        let dead = self.sandbox.path("lake/_dead");
        let mut letters = 0;
        if dead.exists() {
            letters = lake_by_partition(&dead, &[]).into_values().flatten().count();
        }
        assert_eq!(letters, bad, "dead letters after {story}");
        let outbox = self.sandbox.path("state/outbox");
        let left = std::fs::read_dir(outbox).map_or(0, Iterator::count);
        assert_eq!(left, 0, "the outbox isn't empty after {story}");
    }

    /// A hash of all that the tables hold, but for when it was loaded.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hashes = Vec::new();
        for table in
            ["posts", "post_keys", "authors", "post_hashtags", "post_mentions", "engagement"]
        {
            let row = "md5((to_jsonb(t) - 'loaded_at')::text)";
            hashes.push(self.database.ask(&format!(
                "select count(*), md5(string_agg({row}, '' order by {row})) from {table} t"
            )));
        }
        hashes.join("\n")
    }
}

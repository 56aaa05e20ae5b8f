//! `notebooks/run` with the program under test: what it loads, and that each page shows it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, macros::datetime};

use crate::support::postgres_server::PostgresServer;
use crate::support::{Sandbox, cache, repository};

const PAGES: [&str; 6] = ["1-volume", "2-topics", "3-reach", "4-authors", "5-pipeline", "6-trends"];
/// The element with what a cell wrote on standard error.
const WARNING: &str = "data-mime-type=\"application/vnd.jupyter.stderr\"";
const BEGIN: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

/// The command, in a sandbox, with a warehouse of its own unless there is a database.
fn notebooks(sandbox: &Sandbox, database: Option<&str>, arguments: &[&str]) -> Command {
    let folder = cache::folder("notebooks", "notebooks/requirements.txt");
    assert!(folder.exists(), "{} is missing: tests/run installs it", folder.display());
    let mut command = Command::new(repository("notebooks/run"));
    command
        .args(["--folder", "warehouse"])
        .args(arguments)
        .current_dir(sandbox.path("."))
        .env("WATERSPOUT", env!("CARGO_BIN_EXE_waterspout"))
        .env_remove("DATABASE_URL")
        .envs(database.map(|url| ("DATABASE_URL", url)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end. Returns the pages that it names, in the order of `PAGES`, and what it said.
fn run(sandbox: &Sandbox, database: Option<&str>, arguments: &[&str]) -> (Vec<String>, String) {
    let ended = notebooks(sandbox, database, arguments).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}");
    let named = String::from_utf8(ended.stdout).unwrap();
    let mut paths = named.lines();
    let index = fs::read_to_string(paths.next().unwrap()).unwrap();
    let mut pages = Vec::new();
    for (path, name) in paths.zip(PAGES) {
        assert_eq!(Path::new(path).file_stem().unwrap(), name);
        assert!(index.contains(&format!("{name}.html")), "{index}");
        let page = fs::read_to_string(path).unwrap();
        assert!(!page.contains("Traceback"), "{path}");
        assert!(!page.contains(WARNING), "{path} has a warning");
        pages.push(page);
    }
    assert_eq!(pages.len(), PAGES.len(), "{named}");
    (pages, said)
}

#[track_caller]
fn shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "\"{text}\" isn't shown");
    }
}

fn text_of(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap()
}

/// A tweet of `second`, which was received two seconds later.
fn tweet(second: i64, likes: u64) -> Value {
    let at = BEGIN + Duration::seconds(second);
    let millis = at.unix_timestamp() * 1_000 - 1_288_834_974_657;
    json!({
        "id": (millis << 22).to_string(),
        "text": "a good #Storm is here",
        "lang": "en",
        "created_at": text_of(at),
        "received_at": text_of(at + Duration::SECOND * 2),
        "author": {"id": (second % 7).to_string(), "username": format!("u{}", second % 7)},
        "author_id": (second % 7).to_string(),
        "entities": {"hashtags": [{"tag": "Storm", "start": 7, "end": 13}]},
        "public_metrics": {"like_count": likes, "retweet_count": likes / 2, "reply_count": 1,
                           "quote_count": 0, "impression_count": likes * 9},
    })
}

/// Posts of which each page has something to show: originals, a cascade of twelve, posts that were
/// read again for their counts, a gap and a deletion.
fn posts() -> String {
    let mut posts: Vec<Value> = Vec::new();
    for second in (0..3_600).step_by(60) {
        posts.push(json!({"tweet": tweet(second, 4)}));
    }
    let root = tweet(0, 4)["id"].clone();
    for second in (30..390).step_by(30) {
        let mut repost = tweet(second * 2 + 1, 0);
        repost["referenced_tweets"] = json!([{"type": "retweeted", "id": root.clone()}]);
        posts.push(json!({"tweet": repost}));
    }
    for (second, age, likes) in
        (0..600).step_by(60).flat_map(|second| [(second, "10m", 40), (second, "1h", 90)])
    {
        let mut again = tweet(second, likes);
        let minutes = if age == "10m" { 10 } else { 60 };
        let read_at = BEGIN + Duration::seconds(second) + Duration::minutes(minutes);
        again["received_at"] = text_of(read_at).into();
        again["refreshed"] = age.into();
        posts.push(json!({"tweet": again}));
    }
    for second in (0..600).step_by(20) {
        let at = text_of(BEGIN + Duration::seconds(second));
        posts.push(json!({"toot": {
            "id": second.to_string(), "uri": format!("https://a.example/{second}"),
            "created_at": at, "received_at": at, "content": "<p>ein Tag am Meer</p>",
            "language": "de", "favourites_count": second, "account": {"id": "1", "acct": "ann"},
        }}));
    }
    posts.push(json!({"gap": {
        "id": "g", "spout": "tweets", "kind": "tweet", "part": "#storm", "why": "503 for a while",
        "from": text_of(BEGIN + Duration::minutes(20)), "estimated_posts": 9, "filled": false,
        "to": text_of(BEGIN + Duration::minutes(25)), "posts": 0,
        "created_at": text_of(BEGIN + Duration::minutes(26)),
    }}));
    posts.push(json!({"delete": {
        "kind": "tweet", "id": tweet(120, 4)["id"], "created_at": text_of(BEGIN),
    }}));
    posts.iter().map(|post| format!("{post}\n")).collect()
}

#[test]
fn notebooks_show_what_is_in_a_lake() {
    let sandbox = Sandbox::new();
    sandbox.write("posts.ndjson", posts());
    let topology = r#"Topology(
        name: "lake",
        spouts: {"in": Spout(run: Lines(paths: ["posts.ndjson"]))},
        bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])},
    )"#;
    sandbox.write("lake.ron", topology);
    sandbox.run(&["run", "lake.ron"]).with(0);
    let database = PostgresServer::shared().database();

    let (pages, _) = run(&sandbox, Some(&database.url()), &["lake"]);
    let [volume, topics, reach, authors, pipeline, trends] = pages.try_into().unwrap();
    assert_eq!(database.ask("select count(*) from posts"), "102");
    shows(
        &volume,
        &["102 posts from 2026-03-01", "X brings the most: 71% of 102 posts", "503 for a while"],
    );
    shows(
        &topics,
        &[
            "#storm is the hashtag of the most posts",
            "English is the language of",
            "More posts are positive",
        ],
    );
    shows(
        &reach,
        &[
            "After 1 hour, half of the posts on X have more than 90 likes",
            "The largest cascade has 12",
        ],
    );
    shows(&authors, &["of the authors have one post"]);
    shows(&pipeline, &["Half of the posts are in the warehouse", "No row is refused"]);
    shows(&trends, &["There are no trends in this warehouse", "bursts. By default:"]);
}

#[test]
fn notebooks_say_what_an_empty_database_lacks() {
    let sandbox = Sandbox::new();
    let database = PostgresServer::shared().database();
    let (pages, _) = run(&sandbox, Some(&database.url()), &["--no-load"]);
    for page in &pages {
        shows(page, &["The database has no warehouse in the schema"]);
    }
    sandbox.run_with(&["warehouse", "init"], &[("DATABASE_URL", &database.url())]).with(0);
    let (pages, _) = run(&sandbox, Some(&database.url()), &["--no-load"]);
    shows(&pages[0], &["There are no posts yet, so there is nothing to plot."]);
}

/// The process of a server is named in its folder, while it runs.
fn server_runs(sandbox: &Sandbox) -> bool {
    sandbox.path("warehouse/postgres/postmaster.pid").exists()
}

#[test]
fn notebooks_bring_a_server_of_their_own() {
    let sandbox = Sandbox::new();
    let endless = ["--posts", "1000000000"];
    let mut stopped = Owned(notebooks(&sandbox, None, &endless).spawn().unwrap());
    let mut said = BufReader::new(stopped.0.stderr.take().unwrap());
    // The first line of JSON is the engine's, which runs then.
    let mut line = String::new();
    while !line.starts_with('{') {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it loaded posts");
    }
    assert!(server_runs(&sandbox));
    let process = stopped.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(stopped.0.wait().unwrap().code(), Some(130), "{rest}");
    assert!(!server_runs(&sandbox), "{rest}");

    fs::remove_dir_all(sandbox.path("warehouse/generator")).unwrap();
    let (pages, _) = run(&sandbox, None, &["--posts", "12000"]);
    shows(&pages[0], &["X brings the most"]);
    shows(
        &pages[5],
        &["was detected", "The live run and the replay coincide: 1 trend", "finds the bursts"],
    );
    assert!(!server_runs(&sandbox));
}

#[test]
fn notebooks_in_the_repository_have_no_outputs() {
    for name in PAGES {
        let notebook = fs::read(repository(&format!("notebooks/{name}.ipynb"))).unwrap();
        let notebook: Value = serde_json::from_slice(&notebook).unwrap();
        for cell in notebook["cells"].as_array().unwrap() {
            let is_code = cell["cell_type"] == "code";
            assert!(!is_code || cell["outputs"] == json!([]), "{name}: {cell}");
            assert!(!is_code || cell["execution_count"].is_null(), "{name}: {cell}");
        }
    }
}

/// A process that a test which fails doesn't leave behind.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // One that has ended needs no more. It stops its server when it is terminated.
        if let Ok(None) = self.0.try_wait() {
            let _ = Command::new("kill").arg(self.0.id().to_string()).status();
            let _ = self.0.wait();
        }
    }
}

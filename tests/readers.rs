//! What other programs read: the lines of a socket (`readers/socket.rs`), and here lakes of every
//! form, captured by the real binary, and read by DuckDB, pandas, polars and PySpark with the very
//! statements that `lake paths` prints. What they see is compared with what was captured.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[path = "readers/socket.rs"]
mod socket;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::s3_server::{ID, KEY, S3Server};
use support::sign::escape;
use support::{Sandbox, repository, s3_server};

/// The number of posts in each lake.
const POSTS: usize = 1_200;

/// Lakes by the options of their sink.
const LAKES: [(&str, &str); 6] = [
    ("arrays", ""),
    ("arrays gzip", ", compression: Gzip"),
    ("arrays [zstd]", ", compression: Zstd, names: Basic"),
    ("lines", ", format: Ndjson, names: Basic"),
    ("lines gzip", ", format: Ndjson, compression: Gzip"),
    ("lines zstd", ", format: Ndjson, compression: Zstd"),
];

/// Posts of five kinds whose ids a float would spoil or that have none in one field, and whose
/// fields are of several types.
fn line(number: usize) -> String {
    let second = number % 60;
    match number % 5 {
        0 => {
            let id = 9_007_199_254_740_993 + number;
            format!(
                "{{\"tweet\":{{\"created_at\":\"2015-12-18T00:00:{second:02}Z\",\"id\":{id},\"id_str\":\"{id}\",\
                 \"text\":\"gr\u{f6}\u{df}er\\n\u{2028}\",\"geo\":{}}}}}",
                if number.is_multiple_of(2) { "null" } else { "{\"at\":[1.5,2]}" }
            )
        }
        1 => format!(
            "{{\"post\":{{\"id\":\"17_{number}\",\"created_time\":\"2015-12-18T00:00:{second:02}+0000\"}}}}"
        ),
        2 => format!(
            "{{\"bsky\":{{\"did\":\"did:plc:a{number}\",\"time_us\":14503968{second:02}000000,\
             \"commit\":{{\"collection\":\"app.bsky.feed.post\",\"rkey\":\"r{number}\"}}}}}}"
        ),
        3 => format!(
            "{{\"toot\":{{\"id\":\"{number}\",\"uri\":\"https://example.org/t/{number}\",\
             \"created_at\":\"2015-12-18T00:00:{second:02}Z\"}}}}"
        ),
        _ => format!(
            "{{\"video\":{{\"id\":\"v-{number}\",\"count\":{}}}}}",
            u64::MAX - number as u64
        ),
    }
}

/// `kind id` of each post, sorted.
fn wanted() -> Vec<String> {
    let of = |number| {
        let post: Value = serde_json::from_str(&line(number)).unwrap();
        let (kind, body) = post.as_object().unwrap().iter().next().unwrap();
        let id = match kind.as_str() {
            "bsky" => format!("at://did:plc:a{number}/app.bsky.feed.post/r{number}"),
            "toot" => body["uri"].as_str().unwrap().to_owned(),
            _ => body["id_str"].as_str().or_else(|| body["id"].as_str()).unwrap().to_owned(),
        };
        format!("{kind} {id}")
    };
    let mut wanted: Vec<_> = (0..POSTS).map(of).collect();
    wanted.sort();
    wanted
}

/// Captures the lakes, makes one of Parquet, and one in which all are mixed.
fn lakes() -> (Sandbox, BTreeMap<&'static str, usize>) {
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", (0..POSTS).map(|number| line(number) + "\n").collect::<String>());
    let mut lakes = BTreeMap::new();
    for (lake, options) in LAKES.into_iter().chain([("columns", "")]) {
        let topology = format!(
            "Topology(name: \"t\", spouts: {{\"in\": Spout(run: Lines(paths: [\"in.ndjson\"]))}},
             bolts: {{\"lake\": Bolt(run: Local(root: {lake:?}{options}), inputs: [Shuffle(\"in\")], parallelism_hint: 2)}},
             micro_batch: MicroBatch(posts: 100))"
        );
        sandbox.write("t.ron", topology);
        sandbox.run(&["run", "t.ron", "--state", &format!("state {lake}")]).with(0);
        lakes.insert(lake, 1);
    }
    let later = ["--closed-before", "9000-01-01"];
    sandbox.run(&[&["lake", "compact", "columns", "--to", "parquet"][..], &later].concat()).with(0);
    fs::create_dir(sandbox.path("mixed")).unwrap();
    for lake in lakes.keys() {
        for entry in fs::read_dir(sandbox.path(lake)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with('_') {
                copy(&entry.path(), &sandbox.path("mixed").join(name));
            }
        }
    }
    let all = lakes.len();
    lakes.insert("mixed", all);
    // A copy whose files are named as others name them, but for one.
    fs::create_dir(sandbox.path("named")).unwrap();
    let folders = fs::read_dir(sandbox.path("arrays")).unwrap().map(|entry| entry.unwrap().path());
    for folder in
        folders.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('_'))
    {
        let to = sandbox.path("named").join(folder.file_name().unwrap());
        copy(&folder, &to);
        for entry in fs::read_dir(&to)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.file_name() != "0000001")
        {
            fs::rename(entry.path(), entry.path().with_extension("json")).unwrap();
        }
    }
    lakes.insert("named", 1);
    (sandbox, lakes)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Runs the statements for some tools over lakes, and gives what each saw.
fn read(
    sandbox: &Sandbox,
    lakes: &[&str],
    tools: &[&str],
    environment: &[(&str, &str)],
) -> Vec<(String, Vec<String>)> {
    let mut statements = Vec::new();
    for lake in lakes {
        for tool in tools {
            let statement =
                sandbox.run_with(&["lake", "paths", "--for", tool, lake], environment).with(0).out;
            statements
                .push(serde_json::json!({"lake": lake, "tool": tool, "statement": statement}));
        }
    }
    let file = format!("{}.json", tools.join("-"));
    sandbox.write(&file, serde_json::to_vec(&statements).unwrap());
    let python = s3_server::python().join("bin/python");
    assert!(python.exists(), "{} is missing: tests/run installs it", python.display());
    let mut command = Command::new(python);
    command.envs(environment.iter().copied());
    let ended =
        command.arg(repository("tests/readers.py")).arg(sandbox.path(&file)).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{err}");
    let seen: Vec<Value> = String::from_utf8(ended.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}\n{err}")))
        .collect();
    assert_eq!(seen.len(), statements.len(), "{err}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let ids = |value: &Value| value.as_array().unwrap().iter().map(text).collect();
    seen.iter()
        .map(|seen| (format!("{} {}", text(&seen["tool"]), text(&seen["lake"])), ids(&seen["ids"])))
        .collect()
}

/// Compares what tools saw with what was captured, as often as a lake holds it.
fn check(tools: &[&str]) {
    let ((sandbox, lakes), wanted) = (lakes(), wanted());
    for lake in lakes.keys() {
        sandbox.run(&["lake", "verify", lake]).with(0);
    }
    let mut seen_by = BTreeSet::new();
    let names: Vec<_> = lakes.keys().copied().collect();
    for (who, seen) in read(&sandbox, &names, tools, &[]) {
        let (_, lake) = who.split_once(' ').unwrap();
        let times = lakes[lake];
        let all: Vec<_> = wanted.iter().flat_map(|id| vec![id.clone(); times]).collect();
        assert!(
            seen == all,
            "{who} sees {} posts instead of {}, or others: {:?}",
            seen.len(),
            all.len(),
            &seen[..3]
        );
        seen_by.insert(who);
    }
    assert_eq!(seen_by.len(), lakes.len() * tools.len());
}

#[test]
fn duckdb_pandas_and_polars_read_every_form_with_the_printed_statements() {
    check(&["duckdb", "pandas", "polars"]);
}

#[test]
fn spark_reads_every_form_with_the_printed_statements() {
    check(&["spark"]);
}

/// Copies a lake into a bucket.
fn upload(server: &S3Server, lake: &Path, prefix: &str) {
    for path in glob::glob(&format!("{}/*/*", glob::Pattern::escape(lake.to_str().unwrap())))
        .unwrap()
        .map(Result::unwrap)
    {
        let key = escape(
            &format!("{prefix}/{}", path.strip_prefix(lake).unwrap().to_str().unwrap()),
            "/",
        );
        if path.is_file() {
            assert_eq!(
                server.request("PUT", &format!("/lake/{key}"), &fs::read(&path).unwrap()).0,
                200
            );
        }
    }
}

#[test]
fn pandas_and_polars_read_lakes_in_a_bucket_with_the_printed_statements() {
    let ((sandbox, lakes), wanted, server) = (lakes(), wanted(), S3Server::with_bucket("lake"));
    let endpoint = server.endpoint();
    let environment = [
        ("AWS_ACCESS_KEY_ID", ID),
        ("AWS_SECRET_ACCESS_KEY", KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let mut times = BTreeMap::new();
    for (number, (lake, lakes)) in lakes.iter().enumerate() {
        upload(&server, &sandbox.path(lake), &format!("a root/{number}"));
        times.insert(format!("s3://lake/a root/{number}"), *lakes);
    }
    let addresses: Vec<_> = times.keys().map(String::as_str).collect();
    let seen = read(&sandbox, &addresses, &["pandas", "polars"], &environment);
    assert_eq!(seen.len(), 2 * lakes.len());
    for (who, seen) in seen {
        let times = times[who.split_once(' ').unwrap().1];
        let all: Vec<_> = wanted.iter().flat_map(|id| vec![id.clone(); times]).collect();
        assert!(seen == all, "{who} sees {} posts instead of {}", seen.len(), all.len());
    }
}

/// `tests/spark_windows.py` has the same posts windowed by Spark.
#[test]
fn windows_of_event_time_are_those_of_spark() {
    if std::env::var_os("WATERSPOUT_LONG").is_none() {
        println!("skipped: only with WATERSPOUT_LONG");
        return;
    }
    let ended = Command::new(s3_server::python().join("bin/python"))
        .arg(repository("tests/spark_windows.py"))
        .arg(env!("CARGO_BIN_EXE_waterspout"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let told = String::from_utf8(ended.stdout).unwrap();
    for kind in ["tumbling", "sliding", "session"] {
        assert!(told.contains(&format!("{kind}: ")), "{told}");
    }
    println!("{told}");
}

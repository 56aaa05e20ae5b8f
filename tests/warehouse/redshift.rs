//! The sink `Redshift`. It can't be run against the real one here: its statements are parsed by
//! sqlglot, and its loads go over the real wire protocol into a stand-in, behind which PostgreSQL
//! executes them, with files in a server that stands for S3.

#[path = "redshift/stand_in.rs"]
mod stand_in;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

use waterspout::error::Kind;
use waterspout::lake::store::s3::{self, S3};
use waterspout::secret::Secret;
use waterspout::warehouse::ledger::SegmentLoad;
use waterspout::warehouse::redshift::statements::every_statement;
use waterspout::warehouse::redshift::{CopyAccess, LoadFiles, RedshiftSession};

use self::stand_in::{Fault, StandIn};
use crate::capture::{ARGUMENTS, Capture};
use crate::support::postgres_server::{Database, PostgresServer};
use crate::support::random::Random;
use crate::support::repository;
use crate::support::s3_server::{ID, KEY, S3Server, python};
use crate::tuples::{self, Row};

const ROLE: &str = "arn:aws:iam::123456789012:role/load";
const BUCKET: &str = "loads";
const NOW: i64 = 1_700_000_000_000_000;

/// The server that all tests here share, with a bucket; it ends with the last of them.
fn bucket() -> Arc<S3Server> {
    static SHARED: Mutex<Weak<S3Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(S3Server::with_bucket(BUCKET));
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A database, and a stand-in before it.
struct Warehouse {
    database: Database<'static>,
    stand_in: StandIn,
    s3: Arc<S3Server>,
}

impl Warehouse {
    fn new() -> Self {
        let (server, s3) = (PostgresServer::shared(), bucket());
        let stand_in = StandIn::start(server.socket(), &s3);
        Self { database: server.database(), stand_in, s3 }
    }

    fn url(&self) -> String {
        self.stand_in.url(&self.database.name)
    }

    fn files(&self) -> LoadFiles {
        let config = S3 {
            bucket: BUCKET.into(),
            prefix: self.database.name.clone(),
            endpoint: Some(self.s3.endpoint()),
            region: Some("us-east-1".into()),
            access_key_id: Some(Secret::new(ID)),
            secret_access_key: Some(Secret::new(KEY)),
            ..S3::default()
        };
        LoadFiles::new(s3::open_for_uploads(&config).unwrap())
    }

    fn session(&self) -> RedshiftSession {
        let warehouse = RedshiftSession::warehouse(&Secret::new(self.url()), "waterspout").unwrap();
        let access = CopyAccess { iam_role: ROLE.into(), region: None };
        let session = RedshiftSession::connect(&warehouse, &access).unwrap();
        session.migrate(NOW).unwrap();
        session
    }

    /// Loads rows as one segment.
    #[track_caller]
    fn load(&self, session: &RedshiftSession, segment: &str, of: &[Row]) -> SegmentLoad {
        self.try_load(session, segment, of).unwrap()
    }

    fn try_load(
        &self,
        session: &RedshiftSession,
        segment: &str,
        of: &[Row],
    ) -> waterspout::error::Result<SegmentLoad> {
        let segments = [segment.to_owned()];
        let loaded = session.load_segments(&segments, &self.files(), NOW, |missing| {
            assert_eq!(missing, [0]);
            let mut rows = tuples::rows(of);
            rows.segments.insert(0, segment.to_owned());
            Ok(rows)
        });
        let loaded = loaded.map_err(|failure| failure.transient("load"))?;
        Ok(loaded[0].clone())
    }
}

/// Returns the contents of the tables of both warehouses, except the times of the load.
fn contents(database: &Database<'_>) -> String {
    let queries = [
        "select platform, post_id, created_at, received_at, edited_at, deleted_at, kind, author_id, text, \
         hashtags::text, likes, views, counted_at, is_reading, raw is null from posts",
        "select * from post_hashtags",
        "select platform, post_id, place, url, domain from post_urls",
        "select * from engagement",
        "select * from authors",
        "select * from deletions",
    ];
    let mut contents = Vec::new();
    for query in queries {
        // Lists are arrays in the one and JSON in the other.
        let rows = database.ask(query).replace(['"', '[', ']', '{', '}', ' '], "");
        let mut rows: Vec<&str> = rows.lines().collect();
        rows.sort_unstable();
        contents.push(format!("{query}:\n{}", rows.join("\n")));
    }
    contents.join("\n\n")
}

/// A row of some post: a version, a reading, a deletion.
fn any_row(random: &mut Random) -> Row {
    let id = format!("{}", random.below(6));
    let second = |random: &mut Random| format!("2015-12-18T00:00:{:02}Z", random.below(60));
    if random.below(6) == 0 {
        return Row::deleted(&id).with("created_at", second(random).as_str());
    }
    let mut row = Row::tweet(&id)
        .with("received_at", second(random).as_str())
        .with("created_at", second(random).as_str())
        .list("hashtags", [&["a"][..], &["a", "b"], &[]][random.below(3) as usize])
        .list("urls", &["https://www.example.org/x"])
        .list("domains", &["example.org"])
        .with("author_id", format!("u{}", random.below(3)).as_str())
        .with("author_name", format!("name {}", random.below(9)).as_str());
    if random.below(3) == 0 {
        row = row.with("edited_at", second(random).as_str());
    }
    if random.below(2) == 0 {
        row = row.with("likes", random.below(5) as i64).with("views", random.below(5) as i64);
    }
    if random.below(4) == 0 { row.with("stream", "counts") } else { row }
}

#[test]
fn a_load_leaves_what_the_same_load_leaves_in_postgres() {
    let mut random = Random(7);
    for _ in 0..4 {
        let redshift = Warehouse::new();
        let postgres = PostgresServer::shared().database();
        let (of_redshift, mut of_postgres) = (redshift.session(), tuples::session(&postgres));
        for number in 0..6 {
            let rows: Vec<Row> = (0..1 + random.below(8)).map(|_| any_row(&mut random)).collect();
            redshift.load(&of_redshift, &format!("run/w-0/{number:07}"), &rows);
            tuples::load(&mut of_postgres, &rows);
            assert_eq!(contents(&redshift.database), contents(&postgres), "load {number}");
        }
    }
}

#[test]
fn a_segment_comes_in_once_whatever_becomes_of_the_connection() {
    let warehouse = Warehouse::new();
    let rows = [Row::tweet("1").with("likes", 3), Row::tweet("2").list("hashtags", &["a"])];
    let faults = [
        ("lock", Fault::CloseBefore),
        ("copy", Fault::CloseBefore),
        ("merge", Fault::Isolation),
        ("commit", Fault::Isolation),
        ("commit", Fault::CloseBefore),
        ("commit", Fault::CloseAfter),
    ];
    for (number, (begin, fault)) in faults.into_iter().enumerate() {
        let segment = format!("run/w-0/{number:07}");
        let session = warehouse.session();
        warehouse.stand_in.fail(begin, fault);
        let error = warehouse.try_load(&session, &segment, &rows).unwrap_err();
        assert_eq!(error.kind(), Kind::Transient);
        if fault == Fault::Isolation {
            let text = error.chain();
            assert!(text.contains("serializable isolation violation: 1023"), "{text}");
        }
        let session = warehouse.session();
        for _ in 0..2 {
            warehouse.load(&session, &segment, &rows);
        }
    }
    assert_eq!(warehouse.stand_in.faults_left(), 0);
    let database = &warehouse.database;
    assert_eq!(database.ask("select count(*), sum(rows) from loads"), "6|12");
    assert_eq!(database.ask("select count(*) from posts"), "2");
    assert_eq!(database.ask("select count(*) from engagement"), "1");
    assert_eq!(database.ask("select count(*) from post_hashtags"), "1");
    let session = warehouse.session();
    session.forget(&["run/w-0/0000000".into()]).unwrap();
    session.forget_task("run/w-0/", &["run/w-0/0000001".into()]).unwrap();
    assert_eq!(database.ask("select segment from loads"), "run/w-0/0000001");
    assert_eq!(database.ask("select sum(loads), sum(rows) from load_history"), "5|10");
}

/// Rows of which the server refuses the second, the fourth, and the older version of the fifth.
fn some_bad() -> Vec<Row> {
    let bad = |id: &str| {
        let post = format!("{{\"tweet\":{{\"id_str\":\"{id}\",\"n\":1e200000}}}}");
        Row::new("default", "x", id, &post)
    };
    let long = "x".repeat(70_000);
    vec![
        Row::tweet("1"),
        bad("2"),
        Row::tweet("3"),
        Row::tweet("4").list("hashtags", &[long.as_str()]),
        bad("5").with("received_at", "2015-12-18T00:00:09Z"),
        Row::tweet("5").with("received_at", "2015-12-18T00:00:01Z"),
        Row::deleted("6"),
    ]
}

#[test]
fn refused_rows_are_found_by_their_lines_or_by_halving() {
    for hidden in [false, true] {
        let warehouse = Warehouse::new();
        if hidden {
            warehouse.stand_in.hide_refused();
        }
        let session = warehouse.session();
        let loaded = warehouse.load(&session, "run/w-0/0000001", &some_bad());
        let numbers: Vec<usize> = loaded.refused.iter().map(|refused| refused.number).collect();
        assert_eq!(numbers, [1, 3, 4], "{:?}", loaded.refused);
        if !hidden {
            let why = &loaded.refused[1].error;
            assert!(why.contains("value too long"), "{why}");
        }
        assert_eq!(warehouse.load(&session, "run/w-0/0000001", &some_bad()), loaded);
        let ids = warehouse.database.ask("select post_id from posts order by 1");
        assert_eq!(ids, "1\n3\n5", "hidden: {hidden}");
        assert_eq!(warehouse.database.ask("select rows, refused from loads"), "4|3");
    }
}

/// A topology with the sink, and more of its options.
fn capture<'d>(
    warehouse: &'d Warehouse,
    posts: usize,
    bad_every: usize,
    options: &str,
) -> Capture<'d> {
    let capture = Capture::with_bad(&warehouse.database, posts, bad_every);
    let (endpoint, prefix) = (warehouse.s3.endpoint(), &warehouse.database.name);
    capture.sandbox.write(
        "t.ron",
        format!(
            r#"Topology(
                name: "capture",
                spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"]), batch: 8)}},
                bolts: {{
                    "warehouse": Bolt(
                        run: Redshift(
                            url: Env("REDSHIFT_URL"), iam_role: Env("REDSHIFT_ROLE"), bucket: "{BUCKET}",
                            prefix: "{prefix}", endpoint: "{endpoint}", region: "us-east-1",
                            access_key_id: Env("WATERSPOUT_TEST_ID"),
                            secret_access_key: Env("WATERSPOUT_TEST_KEY"){options}),
                        inputs: [Shuffle("in")], parallelism_hint: 2),
                    "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")]),
                }},
                checkpoint: Checkpoint(every: "20ms"),
                micro_batch: MicroBatch(posts: 500),
            )"#
        ),
    );
    capture
}

fn run(warehouse: &Warehouse, capture: &Capture<'_>, faults: &str) -> Option<i32> {
    let url = warehouse.url();
    let mut environment = vec![
        ("REDSHIFT_URL", url.as_str()),
        ("REDSHIFT_ROLE", ROLE),
        ("WATERSPOUT_TEST_ID", ID),
        ("WATERSPOUT_TEST_KEY", KEY),
    ];
    if !faults.is_empty() {
        environment.push(("FAILPOINTS", faults));
    }
    let ended = capture.sandbox.run_with(&ARGUMENTS, &environment);
    assert!(matches!(ended.code, None | Some(0 | 4 | 6)), "{:?}: {}", ended.code, ended.err);
    ended.code
}

/// The objects that are left in the bucket.
fn left_over(warehouse: &Warehouse) -> Vec<String> {
    let begin = format!("{}/", warehouse.database.name);
    warehouse.s3.keys(BUCKET).into_iter().filter(|key| key.starts_with(&begin)).collect()
}

#[test]
fn segments_are_gathered_for_few_loads_whose_files_go() {
    let warehouse = Warehouse::new();
    let capture = capture(&warehouse, 2_000, 1_000, "");
    // The schema is there, so that the fault meets the commit of a load.
    drop(warehouse.session());
    warehouse.stand_in.fail("commit", Fault::CloseAfter);
    assert!(matches!(run(&warehouse, &capture, ""), Some(0 | 4 | 6)));
    capture.check("a run");
    assert_eq!(warehouse.stand_in.faults_left(), 0);
    let statements = warehouse.stand_in.statements();
    let loads = statements.iter().filter(|text| text.starts_with("merge into posts ")).count();
    // Two tasks load once each, once more after the lost answer, and once more without bad rows.
    assert!(loads <= 6, "{loads} loads within five minutes");
    assert_eq!(left_over(&warehouse), [""; 0]);
}

#[test]
fn kills_lose_nothing_and_repeat_nothing() {
    let warehouse = Warehouse::new();
    let options = r#", load_every: "50ms", load_bytes: "100KiB""#;
    let capture = capture(&warehouse, 2_000, usize::MAX, options);
    let points = [
        ("state.committed", 0),
        ("redshift.put", 3),
        ("redshift.commit", 0),
        ("redshift.committed", 0),
    ];
    for (point, after) in points {
        let code = run(&warehouse, &capture, &format!("{point}={after}*off->return"));
        assert_eq!(code, None, "{point} wasn't met");
    }
    assert!(run(&warehouse, &capture, "").is_some());
    capture.check("kills");
}

#[test]
fn every_statement_is_of_redshifts_dialect_and_no_other_is_sent() {
    let warehouse = Warehouse::new();
    let session = warehouse.session();
    warehouse.load(&session, "run/w-0/0000001", &some_bad());
    session.forget_task("run/w-0/", &["run/w-0/0000002".into()]).unwrap();
    session.prune_history(NOW).unwrap();
    let listed = every_statement();
    let known: BTreeSet<String> = listed.iter().map(|text| normal(text)).collect();
    for sent in warehouse.stand_in.statements() {
        assert!(known.contains(&normal(&sent)), "not in the list: {sent}");
    }
    let mut parser = Command::new(python().join("bin/python"))
        .arg(repository("tests/support/parse_redshift.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let json = serde_json::to_vec(&listed).unwrap();
    parser.stdin.take().unwrap().write_all(&json).unwrap();
    let parsed = parser.wait_with_output().unwrap();
    let problems = String::from_utf8_lossy(&parsed.stderr);
    assert!(parsed.status.success(), "{problems}");
    let said = String::from_utf8(parsed.stdout).unwrap();
    assert_eq!(said, format!("{} parsed\n", listed.len()));
}

/// A statement without what it says: lists have one entry, texts and numbers are all the same.
fn normal(statement: &str) -> String {
    let mut normal = String::new();
    let (mut chars, mut is_text) = (statement.chars().peekable(), false);
    while let Some(char) = chars.next() {
        if char != '\'' {
            normal.extend((!is_text).then_some(char));
        } else if is_text && chars.next_if_eq(&'\'').is_some() {
            // A quote within the text.
        } else {
            normal.extend((!is_text).then_some('?'));
            is_text = !is_text;
        }
    }
    let mut digits = String::new();
    for char in normal.chars() {
        let char = if char.is_ascii_digit() { '0' } else { char };
        if !(char == '0' && digits.ends_with('0')) {
            digits.push(char);
        }
    }
    for (many, one) in [("? || chr(0) || ?", "?"), ("?, ?", "?")] {
        while digits.contains(many) {
            digits = digits.replace(many, one);
        }
    }
    match digits.split_once(" values (") {
        Some((before, values)) => {
            let first = values.split("), (").next().unwrap();
            format!("{before} values ({}", first.trim_end_matches(')'))
        }
        None => digits,
    }
}

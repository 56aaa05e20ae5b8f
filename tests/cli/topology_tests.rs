//! `waterspout test`: the tests that stand in topology files.

use serde_json::Value;

use super::{Sandbox, repository, topologies};

/// A window of a minute, and a jq filter that can fail.
const WINDOWS: &str = r##"Topology(
    name: "windows",
    spouts: {
        "posts": Spout(run: Generate(posts: 10, rate: 1)),
        "notes": Spout(run: X(topics: ["storm"], bearer_token: Env("NO_SUCH_TOKEN"))),
    },
    bolts: {
        "minutes": Bolt(run: Window(over: Tumbling("1m")), inputs: [LocalOrShuffle("posts")]),
        "next": Bolt(run: Jq(filter: "[.tweet.n + 1]", fields: ["n"]), inputs: [Shuffle("notes")]),
        "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("notes"), Shuffle("notes:edits")]),
        "alert": Bolt(run: Webhook(url: Env("NO_SUCH_URL")), inputs: [Global("minutes"), Global("next")]),
    },
    tests: {
        "the clock closes windows": Test(
            clock: "2015-12-18T00:00:00Z",
            ends: false,
            input: {"posts": [
                {"tweet": {"id": "1", "created_at": "2015-12-18T00:00:01.000Z"}},
                Clock("+30s"),
                {"tweet": {"id": "2", "created_at": "2015-12-18T00:00:31.000Z"}},
                Clock("2015-12-18T00:01:00Z"),
                r#"{"tweet": {"id": "3", "created_at": "2015-12-18T00:00:32.000Z"}}"#,
                {"tweet": {"id": "4", "created_at": "2015-12-18T00:01:31.000Z"}},
            ]},
            expect: {
                "minutes": [{"window_start": "2015-12-18T00:00:00.000000Z", "count": 2}],
                "minutes:late": Count(1),
                "alert": [{"count": 2}],
                "posts": Ordered([{"tweet": {"id": "1"}}, {"tweet": {"id": "2"}}, Any, {"kind": "tweet"}]),
            },
        ),
        "the end closes what is open": Test(
            input: {"posts": [{"tweet": {"id": "1", "created_at": "2015-12-18T00:00:01.000Z"}}]},
            expect: {"minutes": [{"count": Between(1, 1)}]},
        ),
        "a post that the filter refuses is a dead letter": Test(
            input: {"notes": [
                {"tweet": {"n": 1, "text": "storm"}},
                Post(post: {"tweet": {"n": "a"}}, topics: ["mine"]),
            ]},
            expect: {
                "next": [{"n": 2}],
                "notes": [{"topics": ["storm"]}, {"topics": ["mine"]}],
            },
            dead_letters: [{"component": "next", "error": Contains("cannot calculate")}],
        ),
        "posts of a file": Test(
            input: {"notes:edits": [File("posts.ndjson")]},
            expect: {"lake": AtLeast([{"tweet": {"id": "2"}}])},
        ),
    },
)"##;

fn windows() -> Sandbox {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("in")).unwrap();
    sandbox.write("in/windows.ron", WINDOWS);
    sandbox.write("in/posts.ndjson", "{\"tweet\":{\"id\":\"1\"}}\n\n{\"tweet\":{\"id\":\"2\"}}\n");
    sandbox
}

#[test]
fn every_topology_of_the_repository_has_tests_and_they_pass() {
    let sandbox = Sandbox::new();
    let files: Vec<_> =
        topologies().iter().map(|name| repository(&format!("topologies/{name}"))).collect();
    let arguments: Vec<&str> =
        ["test"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let ended = sandbox.run(&arguments).with(0);
    assert!(!ended.out.contains("no tests"), "{}", ended.out);
    assert!(!ended.out.contains("FAILED"), "{}", ended.out);
    let several = [&arguments[..], &["--with-parallelism"]].concat();
    sandbox.run(&several).with(0);
    let left: Vec<_> = std::fs::read_dir(sandbox.path("")).unwrap().collect();
    assert!(left.is_empty(), "a test writes nothing: {left:?}");
}

#[test]
fn a_test_sets_the_clock_and_needs_neither_secrets_nor_a_network() {
    let sandbox = windows();
    for _ in 0..5 {
        let ended = sandbox.run(&["test", "in/windows.ron"]).with(0);
        assert!(ended.out.starts_with("in/windows.ron: 4 tests\n"), "{}", ended.out);
        assert!(ended.out.ends_with("4 passed, 0 failed\n"), "{}", ended.out);
    }
    assert!(!sandbox.path("lake").exists(), "sinks only note what they get");
    sandbox.run(&["validate", "in/windows.ron"]).with(0);
}

#[test]
fn a_test_that_fails_says_where_and_in_what() {
    let sandbox = windows();
    sandbox.write(
        "in/windows.ron",
        WINDOWS.replace(
            "\"count\": 2}],\n                \"minutes:l",
            "\"count\": 7}],\n                \"minutes:l",
        ),
    );
    let ended = sandbox.run(&["test", "in/windows.ron", "--filter", "clock"]).with(4);
    let lines: Vec<_> = ended.out.lines().collect();
    let (begin, took) = lines[1].split_at("  FAILED  the clock closes windows".len());
    assert_eq!(begin, "  FAILED  the clock closes windows");
    assert!(took.ends_with(" s)"), "{took}");
    let expected = [
        "    in/windows.ron:26:29: bolt \"minutes\": no row is as expected; this one is nearest",
        "      expected {\"window_start\":\"2015-12-18T00:00:00.000000Z\",\"count\":7}",
        "      found    {\"window_start\":\"2015-12-18T00:00:00.000000Z\",\
         \"window_end\":\"2015-12-18T00:01:00.000000Z\",\"count\":2}",
        "      - count: expected 7, found 2",
        "0 passed, 1 failed",
    ];
    assert_eq!(lines[2..], expected);

    let ended = sandbox.run(&["test", "in/windows.ron", "--json"]).with(4);
    let results: Vec<Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passed: Vec<_> = results.iter().map(|result| result["passed"].as_bool().unwrap()).collect();
    assert_eq!(passed, [false, true, true, true]);
    let difference = &results[0]["differences"][0];
    assert_eq!((&difference["line"], &difference["kind"]), (&26.into(), &"missing".into()));
    assert_eq!(difference["fields"][0]["path"], "count");
}

#[test]
fn dead_letters_and_unreadable_files_fail_a_test_that_does_not_expect_them() {
    let sandbox = windows();
    let without = WINDOWS.replace("            dead_letters: [{\"component\": \"next\", \"error\": Contains(\"cannot calculate\")}],\n", "");
    sandbox.write("in/windows.ron", without.replace("posts.ndjson", "none.ndjson"));
    let ended = sandbox.run(&["test", "in/windows.ron"]).with(4);
    for part in [
        "a dead letter that the test doesn't expect (see `dead_letters:`): \"next\" refused a tuple",
        "in/windows.ron:47:37: can't read \"in/none.ndjson\": No such file",
        "2 passed, 2 failed",
    ] {
        assert!(ended.out.contains(part), "{part}\n{}", ended.out);
    }
    sandbox.write("in/none.ndjson", "{\"tweet\":{}}\n[1]\n");
    let ended = sandbox.run(&["test", "in/windows.ron"]).with(4);
    assert!(ended.out.contains("in/none.ndjson:2: expected"), "{}", ended.out);
}

#[test]
fn wrong_names_in_tests_are_problems_of_the_file() {
    let sandbox = windows();
    sandbox.write("in/windows.ron", WINDOWS.replace("\"minutes:late\"", "\"minuets:late\""));
    for command in ["validate", "test", "run"] {
        let ended = sandbox.run(&[command, "in/windows.ron"]).with(3);
        let place = "in/windows.ron:27:17: test \"the clock closes windows\": expect: there is no component \
                     \"minuets\"";
        assert!(ended.err.contains(place), "{}", ended.err);
        assert!(ended.err.contains("did you mean \"minutes\"?"), "{}", ended.err);
    }
    sandbox.write("in/windows.ron", WINDOWS);
    let ended = sandbox.run(&["test", "in/windows.ron", "--filter", "no such"]).with(2);
    assert!(ended.err.contains("no test has \"no such\" in its name"), "{}", ended.err);
    let ended = sandbox.run(&["test", "in/windows.ron", "--list", "--filter", "file"]).with(0);
    assert_eq!(ended.out, "in/windows.ron:47:9: posts of a file\n");
}

#[test]
fn a_bolt_gets_what_a_test_gives_for_its_environment() {
    let sandbox = Sandbox::new();
    let topology = r#"Topology(
        name: "env",
        spouts: {"in": Spout(run: Generate(posts: 1))},
        bolts: {
            "words": Bolt(run: Words(field: Env("WORDS_OF")), inputs: [Shuffle("in")]),
            "out": Bolt(run: Stdout(), inputs: [Shuffle("words")]),
        },
        checkpoint: Checkpoint(every: Env("NO_SUCH_TIME")),
        tests: {
            "given": Test(
                env: {"WORDS_OF": "text"},
                input: {"in": [{"tweet": {"text": "a b"}}]},
                expect: {"out": [{"word": "a"}, {"word": "b"}]},
            ),
            "missing": Test(input: {}, expect: {"out": []}),
        },
    )"#;
    sandbox.write("env.ron", topology);
    let ended = sandbox.run(&["test", "env.ron"]).with(4);
    let missing = "env.ron:15:13: env.ron:5:45: the environment variable \"WORDS_OF\" is not set";
    assert!(ended.out.contains(missing), "{}", ended.out);
    assert!(ended.out.ends_with("1 passed, 1 failed\n"), "{}", ended.out);
}

#[test]
fn a_topology_that_set_has_changed_runs_without_the_tests_of_its_file() {
    let sandbox = Sandbox::new();
    sandbox.write("notes.ndjson", "{\"note\":{\"text\":\"a\"}}\n");
    let file = repository("topologies/capture.ron");
    let kind = "spouts.input.run.kind=note";
    let paths = "spouts.input.run.paths=[\"notes.ndjson\"]";
    sandbox.run(&["run", &file, "--set", kind, "--set", paths]).with(0);
    sandbox.run(&["test", &file, "--set", kind]).with(3).says(&["makes no posts of the kind"]);
}

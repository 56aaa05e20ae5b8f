//! `Webhook` against Flask: what an endpoint gets, and how often, whatever goes wrong on either
//! side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::endpoint::{Endpoint, SECRET};
use crate::support::{Ended, Sandbox, lake};

const ARGUMENTS: [&str; 6] = ["run", "t.ron", "--state", "state", "--interval", "50ms"];

/// Refused are 3, 13, 23, …; 1, 8, 15, … fail at first.
const PLAN: &str = r#"{"422": [10, 3], "503": [49, 8], "500": [61, 20]}"#;

fn is_refused(n: u64) -> bool {
    n % 10 == 3
}

/// A topology that sends so many posts, with these options of the sink, and keeps them in a lake.
fn sends(posts: u64, options: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let line = |n| format!("{{\"tweet\":{{\"id\":\"{n}\",\"n\":{n}}}}}\n");
    sandbox.write("in.ndjson", (0..posts).map(line).collect::<String>());
    sandbox.write(
        "t.ron",
        format!(
            r#"Topology(
                name: "alerts",
                spouts: {{"in": Spout(run: Lines(paths: ["in.ndjson"]), batch: 8)}},
                bolts: {{
                    "numbers": Bolt(run: Jq(filter: ".tweet | {{n, id}}", fields: ["n", "id"]), inputs: [Shuffle("in")]),
                    "alert": Bolt(
                        run: Webhook(url: Env("ALERT_URL"), headers: {{"Authorization": Env("ALERT_TOKEN")}},
                            signature: (secret: Env("ALERT_SECRET")), {options}),
                        inputs: [Shuffle("numbers")]),
                    "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")]),
                }},
                checkpoint: Checkpoint(every: "20ms"),
            )"#
        ),
    );
    sandbox
}

fn environment(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("ALERT_URL", url),
        ("ALERT_TOKEN", "Bearer hidden-token"),
        ("ALERT_SECRET", SECRET),
        ("NO_PROXY", "127.0.0.1"),
    ]
}

fn run(sandbox: &Sandbox, url: &str, faults: &str) -> Ended {
    let mut environment = environment(url);
    environment.push(("FAILPOINTS", faults));
    let ended = sandbox.run_with(&ARGUMENTS, &environment);
    assert!(!ended.err.contains("hidden-"), "a secret shows: {}", ended.err);
    ended
}

/// The numbers of the dead letters, sorted.
fn letters(sandbox: &Sandbox) -> Vec<u64> {
    let letters = lake(&sandbox.path("lake/_dead"), false);
    let number = |letter: &String| {
        assert!(!letter.contains("hidden-"), "a secret shows: {letter}");
        let letter: Value = serde_json::from_str(letter).unwrap();
        let error = letter["dead"]["error"].as_str().unwrap();
        assert!(error.starts_with("status 422: 422 for "), "{error}");
        letter["dead"]["tuple"]["n"].as_u64().unwrap()
    };
    let mut numbers: Vec<_> = letters.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Each tuple was taken or refused, each request was signed, and the same tuple always had the same
/// key. Returns how many requests were answered for good more than once.
fn check(endpoint: &Endpoint, sandbox: &Sandbox, posts: u64) -> usize {
    let requests = endpoint.requests();
    let mut keys: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut final_answers: BTreeMap<u64, usize> = BTreeMap::new();
    for request in &requests {
        assert_eq!(request["signed"], true, "{request}");
        assert_eq!(request["authorization"], "Bearer hidden-token");
        assert_eq!(request["path"], "/hook/hidden-path?key=hidden-query");
        let n = request["n"].as_u64().unwrap();
        keys.entry(n).or_default().insert(request["key"].as_str().unwrap().to_owned());
        if [200, 422].contains(&request["status"].as_u64().unwrap()) {
            *final_answers.entry(n).or_default() += 1;
        }
    }
    assert_eq!(final_answers.len() as u64, posts, "each tuple came at least once");
    assert!(keys.values().all(|keys| keys.len() == 1), "one key for each tuple: {keys:?}");
    let all: BTreeSet<_> = keys.values().flatten().collect();
    assert_eq!(all.len() as u64, posts, "no two tuples have the same key");
    assert_eq!(letters(sandbox), (0..posts).filter(|n| is_refused(*n)).collect::<Vec<_>>());
    final_answers.values().map(|answers| answers - 1).sum()
}

#[test]
fn an_endpoint_gets_each_tuple_once_signed_and_what_it_refuses_is_a_dead_letter() {
    for options in ["", "at_once: 8, method: Put, template: \"{n, text: (\\\"no. \\\" + .id)}\""] {
        let (endpoint, sandbox) = (Endpoint::start(PLAN), sends(100, options));
        let ended = run(&sandbox, &endpoint.url(), "").with(4);
        assert_eq!(check(&endpoint, &sandbox, 100), 0, "nothing is sent twice");
        assert_eq!(ended.total("alert", "dead_letters"), 10);
        let requests = endpoint.requests();
        assert!(requests.iter().all(|request| request["type"] == "application/json"));
        let method = if options.is_empty() { "POST" } else { "PUT" };
        assert!(requests.iter().all(|request| request["method"] == method));
        let times = |n: u64| {
            let of = requests.iter().filter(|request| request["n"] == n);
            of.map(|request| request["at"].as_f64().unwrap()).collect::<Vec<_>>()
        };
        for n in [8, 57] {
            let times = times(n);
            assert_eq!(times.len(), 2, "{n} was refused for a second");
            // A date has whole seconds only.
            assert!(n == 57 || times[1] - times[0] >= 0.99, "Retry-After: {times:?}");
        }
        if options.is_empty() {
            let taken = requests.iter().filter(|request| request["status"] == 200);
            let order: Vec<_> = taken.map(|request| request["n"].as_u64().unwrap()).collect();
            assert!(order.is_sorted(), "one at a time keeps the order: {order:?}");
        }
    }
}

#[test]
fn a_kill_at_any_point_repeats_no_more_than_was_under_way_and_with_the_same_key() {
    let points =
        ["webhook.answered", "webhook.note", "webhook.noted", "state.commit", "coordinator.commit"];
    let mut kills = 0;
    for point in points {
        let (endpoint, sandbox) = (Endpoint::start(PLAN), sends(60, "at_once: 3"));
        let mut killed = 0;
        for after in [0, 2, 17] {
            let ended = run(&sandbox, &endpoint.url(), &format!("{point}={after}*off->return"));
            if ended.code.is_some() {
                break;
            }
            killed += 1;
        }
        let ended = run(&sandbox, &endpoint.url(), "");
        // 6 if there was nothing to do any more.
        assert!(matches!(ended.code, Some(0 | 4 | 6)), "{}", ended.err);
        let repeated = check(&endpoint, &sandbox, 60);
        assert!(repeated <= killed * 3, "{point}: {repeated} repeated after {killed} kills");
        kills += killed;
    }
    assert!(kills > 10, "{kills} kills");
    println!("{kills} kills");
}

#[test]
fn a_dead_endpoint_harms_nobody_and_gets_all_once_it_lives() {
    let sandbox = sends(40, "");
    let dead = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{dead}/hidden-path");
    let arguments = [&ARGUMENTS[..], &["--set", "spouts.in.run.follow=true"]].concat();
    let mut running = sandbox.start_with(&arguments, &environment(&url));
    let waiting = format!("waiting for http://127.0.0.1:{dead} since 20");
    running.wait_for("it says that it waits", |report| {
        let components = report["components"].as_array().cloned().unwrap_or_default();
        let state = |id: &str| {
            let of = components.iter().find(|one| one["id"] == id);
            of.and_then(|one| one["state"].as_str()).unwrap_or_default().to_owned()
        };
        state("alert").starts_with(&waiting) && state("alert").contains("no answer: ")
    });
    // The checkpoints go on: standing still, they would keep the lake's posts in staging.
    running.terminate();
    let ended = running.end().with(5);
    assert!(!ended.err.contains("hidden-"), "{}", ended.err);
    assert_eq!(lake(&sandbox.path("lake"), false).len(), 40);

    let endpoint = Endpoint::start(PLAN);
    run(&sandbox, &endpoint.url(), "").with(4);
    assert_eq!(check(&endpoint, &sandbox, 40), 0);
}

#[test]
fn a_tuple_that_alone_is_never_taken_lets_the_others_pass() {
    let (endpoint, sandbox) = (Endpoint::start(r#"{"555": [1000, 5]}"#), sends(30, ""));
    let mut running = sandbox.start_with(&ARGUMENTS, &environment(&endpoint.url()));
    let waiting = format!("waiting for {} since 20", endpoint.origin());
    running.wait_for("all others are sent", |report| {
        let taken = endpoint.requests().iter().filter(|request| request["status"] == 200).count();
        let text = report.to_string();
        taken == 29 && text.contains(&waiting) && text.contains("status 555: 555 for 5 at ***")
    });
    running.terminate();
    let ended = running.end().with(5);
    assert!(!ended.err.contains("hidden-"), "{}", ended.err);
}

#[test]
fn a_rate_holds_over_all_tasks() {
    let sandbox = sends(12, "rate: \"4/s\", at_once: 2");
    let endpoint = Endpoint::start("{}");
    let two = ["--set", "bolts.alert.parallelism_hint=3"];
    let ended = sandbox.run_with(&[&ARGUMENTS[..], &two].concat(), &environment(&endpoint.url()));
    ended.with(0);
    let mut times: Vec<_> =
        endpoint.requests().iter().map(|request| request["at"].as_f64().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    assert_eq!(times.len(), 12);
    // What is sent at one moment comes a little later, one time more than another.
    assert!(times[11] - times[0] > 1.8, "{times:?}");
}

#[test]
fn a_configuration_that_shows_a_secret_is_refused_without_repeating_it() {
    let sandbox = Sandbox::new();
    let topology = |webhook: &str| {
        format!(
            r#"Topology(name: "t", spouts: {{"in": Spout(run: Generate())}},
                bolts: {{"alert": Bolt(run: Webhook({webhook}), inputs: [Shuffle("in")])}})"#
        )
    };
    for (webhook, says) in [
        (r#"url: "https://hooks.slack.com/services/hidden-a/b""#, "an address with a token"),
        (r#"url: "https://u:hidden-p@host""#, "an address with a user or a password"),
        (r#"url: "https://h", headers: {"Authorization": "Bearer hidden-t"}"#, "expected `Env"),
        (r#"url: "https://h", headers: {"X-Api-Key": "hidden-t"}"#, "expected `Env"),
        (r#"url: "https://h", signature: (secret: "hidden-t")"#, "expected `Env"),
        (r#"url: "ftp://h/path""#, "bad url: expected such as"),
        (r#"url: "https://h", headers: {"Host": "other"}"#, "belongs to the client"),
        (r#"url: "https://h", headers: {"a b": "c"}"#, "expected a name of letters"),
        (r#"url: "https://h", headers: {"A": "ü"}"#, "expected a value of ASCII"),
        (r#"url: "https://h", headers: {"idempotency-key": "1"}"#, "set twice"),
        (r#"url: "https://h", template: "{text: .tweet.text""#, "template"),
        (r#"url: "https://h", template: "input""#, "template"),
        (r#"url: "https://h", rate: "0/s""#, "bad rate \"0/s\""),
        (r#"url: "https://h", rate: "fast""#, "bad rate \"fast\""),
        (r#"url: "https://h", at_once: 1000"#, "expected at most 256"),
    ] {
        sandbox.write("t.ron", topology(webhook));
        let ended = sandbox.run(&["validate", "t.ron"]);
        assert_eq!(ended.code, Some(3), "{webhook}: {}", ended.err);
        assert!(ended.err.contains(says), "{webhook}: {}", ended.err);
        assert!(!ended.err.contains("hidden-"), "{webhook}: {}", ended.err);
    }
    sandbox.write(
        "t.ron",
        topology(
            r#"url: Env("U"), headers: {"Authorization": Env("T"), "X-Title": "alerts"},
            signature: (secret: Env("S")), rate: "30/m", template: "{content: .tweet.text, allowed_mentions: {parse: []}}""#,
        ),
    );
    let environment = [("U", "https://h/hidden-path"), ("T", "hidden-t"), ("S", "hidden-s")];
    for arguments in [&["validate", "t.ron", "--explain"][..], &["graph", "t.ron"]] {
        let ended = sandbox.run_with(arguments, &environment).with(0);
        assert!(!(ended.out + &ended.err).contains("hidden-"), "{arguments:?}");
    }
}

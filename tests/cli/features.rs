//! `Features` from outside: its ratings beside those of VADER itself, its streams, its options.

use super::*;
use std::process::Command;

use support::s3_server::python;

/// The number of sentences that are rated.
const SENTENCES: usize = 5_000;

/// Other sentences for another number.
const SEED: &str = "1";

const FEATURES: &str = r#"Topology(
    name: "features",
    spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))},
    bolts: {
        "features": Bolt(run: Features(), inputs: [Shuffle("in")]),
        "print": Bolt(run: Stdout(), inputs: [Global("features")]),
    },
)"#;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn sentences_are_rated_as_vader_rates_them() {
    let sandbox = Sandbox::new();
    let made = Command::new(python().join("bin/python"))
        .arg(repository("tests/vader.py"))
        .args([SEED, &SENTENCES.to_string()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox.write("in.ndjson", &made.stdout);
    sandbox.write("features.ron", FEATURES);
    let ended = sandbox.run(&["run", "features.ron"]).with(0);
    let (mut rated, mut wrong) = (0, Vec::new());
    for line in lines(&ended.out) {
        let expected = &line["post"]["note"]["expected"];
        rated += 1;
        if line["sentiment"] != *expected {
            wrong.push(format!("{}: {}, VADER {expected}", line["text"], line["sentiment"]));
        }
    }
    assert_eq!(rated, SENTENCES);
    assert!(wrong.is_empty(), "{} of {rated}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn hashtags_are_counted_without_a_line_of_rust() {
    let sandbox = Sandbox::new();
    let file = repository("topologies/keys.ron");
    let input = r##"{"tweet":{"id":"1","created_at":"2019-07-12T23:40:37Z","lang":"en","text":"#Storm over @Ann"}}
{"note":{"text":"a storm, see https://www.example.org/a"}}
{"toot":{"id":"2","created_at":"2019-07-12T23:40:37Z","language":"en","content":"<p>#<span>storm</span></p>","tags":[{"name":"STORM"}],"mentions":[]}}
{"delete":{"kind":"tweet","id":"1"}}
"##;
    sandbox.write("in.ndjson", input);
    let posts = "spouts.posts.run=Lines(paths: [\"in.ndjson\"])";
    let ended = sandbox.run(&run(&file, &[posts])).with(0);
    let mut counts = BTreeMap::new();
    for line in lines(&ended.out) {
        counts.insert(line["key"].as_str().unwrap().to_owned(), line["count"].as_i64().unwrap());
    }
    let expected = [("#storm", 2), ("@ann", 1), ("example.org", 1), ("storm", 1)];
    assert_eq!(counts, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

#[test]
fn posts_that_are_not_as_their_kind_should_be_pass_and_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", "{\"tweet\":{\"text\":\"a\"}}\n{\"thread\":{\"id\":\"1\"}}\n");
    sandbox.write("features.ron", FEATURES);
    let ended = sandbox.run(&["run", "features.ron"]).with(0);
    assert_eq!(lines(&ended.out).len(), 2);
    assert_eq!(ended.total("features", "drifted"), 2);
    ended.says(&["2 posts of features not as their kind should be"]);
}

#[test]
fn a_wrong_option_is_named() {
    let sandbox = Sandbox::new();
    for (options, said) in [
        ("langauge: Given", "did you mean \"language\"?"),
        ("language: Guess", "Detect"),
        ("sentiment: \"yes\"", "expected true or false"),
    ] {
        sandbox.write("wrong.ron", FEATURES.replace("Features()", &format!("Features({options})")));
        sandbox.run(&["validate", "wrong.ron"]).with(3).says(&["wrong.ron:5:", said]);
    }
    let posts = FEATURES.replace("Shuffle(\"in\")", "Shuffle(\"features:keys\")");
    sandbox.write("wrong.ron", posts);
    sandbox.run(&["validate", "wrong.ron"]).with(3);
}

//! The bolts that look inside posts: `Filter`, `Jq`, `Pick`, `Dedup`.

use std::collections::BTreeMap;

use serde_json::Value;
use waterspout::spout::generate::{Generate, Platform};

use super::*;

/// The newest count of each minute and hashtag.
fn counts_of(lines: &str) -> BTreeMap<(String, String), u64> {
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let mut counts = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = (text(&line, "minute"), text(&line, "tag"));
        let count = counts.entry(key).or_default();
        *count = line["count"].as_u64().unwrap().max(*count);
    }
    counts
}

#[test]
fn hashtags_per_minute_are_counted_without_a_line_of_rust() {
    let sandbox = Sandbox::new();
    let platforms = vec![Platform::X, Platform::Mastodon].try_into().unwrap();
    let mut made = Generate { platforms, ..Generate::default() }.by_number();
    let mut posts = Vec::new();
    for number in 0..3_000 {
        let mut post = Vec::new();
        // A millisecond lies between one number and the next: these are two minutes.
        made.write(number * 40, &mut post);
        posts.push(String::from_utf8(post).unwrap());
    }
    let mut expected = BTreeMap::<(String, String), u64>::new();
    for post in &posts {
        let post: Value = serde_json::from_str(post).unwrap();
        let (body, tags, name) = match post.get("tweet") {
            Some(tweet) => (tweet, &tweet["entities"]["hashtags"], "tag"),
            None => (&post["toot"], &post["toot"]["tags"], "name"),
        };
        let minute = body["created_at"].as_str().unwrap()[..16].to_owned();
        for tag in tags.as_array().into_iter().flatten() {
            let tag = tag[name].as_str().unwrap().to_ascii_lowercase();
            *expected.entry((minute.clone(), tag)).or_default() += 1;
        }
    }
    // Each third post comes twice.
    let twice = posts.iter().step_by(3);
    let lines = lines_of(&posts.iter().chain(twice).cloned().collect::<Vec<_>>());
    sandbox.write("in.ndjson", lines);
    let file = repository("topologies/hashtags.ron");
    let set = "spouts.posts.run=Lines(paths: [\"in.ndjson\"])";
    let ended = sandbox.run(&run(&file, &[set])).with(0);
    assert_eq!(ended.total("once", "dropped"), 1_000);
    assert_eq!(ended.total("once", "emitted"), 3_000);
    assert!(expected.len() > 100 && expected.values().any(|count| *count > 1));
    assert_eq!(counts_of(&ended.out), expected);
}

const LOOKING: &str = r#"Topology(
    name: "looking",
    spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))},
    bolts: {
        "even": Bolt(
            run: Filter(where: ".note.n % 2 == 0"), inputs: [Shuffle("in")], on_error: DeadLetter,
        ),
        "cut": Bolt(run: Jq(filter: "{note: (.note | {n, kind: $tuple.kind})}"), inputs: [Shuffle("even")]),
        "pick": Bolt(run: Pick(fields: {"n": "/note/n", "x": "/note/x"}, keep: ["kind"]), inputs: [Shuffle("cut")]),
        "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("cut")]),
        "print": Bolt(run: Stdout(), inputs: [Shuffle("pick")]),
    },
)"#;

#[test]
fn a_post_on_which_a_filter_fails_becomes_a_dead_letter() {
    let sandbox = Sandbox::new();
    sandbox.write("looking.ron", LOOKING);
    let posts = ["{\"note\":{\"n\":1}}", "{\"note\":{\"n\":2,\"x\":3}}", "{\"note\":{\"n\":[]}}"];
    sandbox.write("in.ndjson", posts.map(|post| format!("{post}\n")).concat());
    let ended = sandbox.run(&run("looking.ron", &[])).with(4);
    assert_eq!(ended.out, "{\"kind\":\"note\",\"n\":2,\"x\":null}\n");
    assert_eq!(lake(&sandbox.path("lake"), true), ["{\"note\":{\"n\":2,\"kind\":\"note\"}}"]);
    let letters = lake(&sandbox.path("lake/_dead"), false);
    assert_eq!(letters.len(), 1);
    assert!(letters[0].contains("the jq filter fails: cannot calculate [] % 2"), "{letters:?}");
}

#[test]
fn a_bad_expression_is_told_with_its_place_before_anything_starts() {
    let sandbox = Sandbox::new();
    sandbox.write("looking.ron", LOOKING);
    let cases = [
        (
            "bolts.even.run.where=.note.n % ",
            "even\": Filter: at character 11: expected a term, found the end",
        ),
        ("bolts.even.run.where=.note | lenght", "did you mean \"length\"?"),
        ("bolts.even.run.where=$ENV.HOME", "$ENV isn't available"),
        ("bolts.pick.run.fields={\"n\": \"note/n\"}", "begins with \"/\""),
        ("bolts.cut.run.fields=[]", "leave `fields` out for posts"),
    ];
    for (set, text) in cases {
        let quoted = match set.split_once('=') {
            Some((path, code)) if path.ends_with("where") => format!("{path}=\"{code}\""),
            _ => set.to_owned(),
        };
        sandbox.run(&["validate", "looking.ron", "--set", &quoted]).with(3).says(&[text]);
    }
}

#[test]
fn a_dedup_by_id_has_one_task() {
    let sandbox = Sandbox::new();
    let topology = r#"Topology(
        name: "dedup",
        spouts: {"in": Spout(run: Generate(posts: 10))},
        bolts: {
            "once": Bolt(run: Dedup(), inputs: [Shuffle("in")], parallelism_hint: 2),
            "out": Bolt(run: Null(), inputs: [Shuffle("once")]),
        },
    )"#;
    sandbox.write("dedup.ron", topology);
    sandbox.run(&["validate", "dedup.ron"]).with(3).says(&[
        "parallelism_hint: expected 1 at most, found 2: posts with the same key could come to \
         different tasks",
        "dedup.ron:5:",
    ]);
}

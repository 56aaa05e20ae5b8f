//! Tests of the topology that a replay runs.

use super::*;
use crate::topology::{LoadOptions, parse};

/// Two spouts, one of them with two kinds, a count, and a lake.
const TWO: &str = r#"Topology(
    name: "two",
    spouts: {
        "tweets": Spout(run: Generate(posts: 10, platforms: [X])),
        "others": Spout(
            run: Generate(posts: 10, platforms: [Bluesky, Mastodon]),
            parallelism_hint: 4,
        ),
    },
    bolts: {
        "words": Bolt(run: Words(field: "text"), inputs: [Shuffle("tweets")]),
        "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("words", ["word"])]),
        "null": Bolt(run: Null(), inputs: [Shuffle("count")]),
        "lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("tweets"), Shuffle("others")]),
    },
)"#;

fn topology(text: &str) -> Topology {
    parse("test.ron", text, &crate::components::standard(), &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn request(given: &[&str], only: &[&str]) -> Request {
    Request {
        given: given.iter().map(|given| given.parse().unwrap()).collect(),
        only: only.iter().map(|id| (*id).to_owned()).collect(),
        ..Request::default()
    }
}

/// Checks the assignment of each spout: its kinds, and `address`, or `address!` if it counts posts
/// that no spout takes.
#[track_caller]
fn check(text: &str, given: &[&str], only: &[&str], expected: &[&str]) {
    let topology = topology(text);
    let request = request(given, only);
    let needed = only::needed(&topology, &request.only).unwrap();
    let reads = assign(&topology, &needed, &request.given).unwrap().of_spouts;
    let spouts = topology.components.iter().zip(&needed);
    let spouts =
        spouts.filter(|(spec, needed)| **needed && matches!(spec.config, Config::Spout(_)));
    let line = |((spec, _), reads): ((&ComponentSpec, &bool), &Reads)| {
        let kinds = reads.kinds.as_ref().map_or("*".into(), |kinds| kinds.join(","));
        let globs = reads
            .globs
            .iter()
            .map(|(glob, counts)| format!(" {glob}{}", if *counts { "!" } else { "" }));
        format!("{} {kinds}{}", spec.id, globs.collect::<String>())
    };
    let found: Vec<_> = spouts.zip(&reads).map(line).collect();
    assert_eq!(found, expected);
}

#[track_caller]
fn refused(text: &str, given: &[&str], only: &[&str], why: &[&str]) {
    let error =
        rewrite(&topology(text), &request(given, only)).err().expect("it is refused").chain();
    for why in why {
        assert!(error.contains(why), "{error}");
    }
}

fn with(spout: &str) -> String {
    TWO.replace("Generate(posts: 10, platforms: [X])", spout)
}

#[test]
fn posts_go_to_the_spout_of_their_kind() {
    check(TWO, &["a/*"], &[], &["tweets tweet a/*!", "others bsky,toot a/*"]);
    check(TWO, &["a", "b"], &[], &["tweets tweet a! b!", "others bsky,toot a b"]);
    check(TWO, &["tweets=a", "b"], &[], &["tweets tweet a!", "others bsky,toot b!"]);
    check(TWO, &["tweets=a", "others=a"], &[], &["tweets tweet a!", "others bsky,toot a"]);
    check(TWO, &["others=a"], &[], &["tweets tweet", "others bsky,toot a!"]);
}

#[test]
fn the_only_spout_of_a_file_takes_everything() {
    let one = r#"Topology(
        name: "one",
        spouts: {"in": Spout(run: Generate(platforms: [X]))},
        bolts: {"out": Bolt(run: Null(), inputs: [Shuffle("in")])},
    )"#;
    check(one, &["a"], &[], &["in * a!"]);
    check(TWO, &["a"], &["count"], &["tweets tweet a!"]);
}

#[test]
fn where_it_is_not_clear_the_candidates_are_named() {
    let ways = ["--replay tweets=a/* or --replay others=a/*"];
    let same = with("Generate(platforms: [X, Bluesky])");
    refused(
        &same,
        &["a/*"],
        &[],
        &["kind \"bsky\" are made by \"tweets\" and \"others\"", ways[0]],
    );
    let any = with("Lines(paths: [\"-\"])");
    refused(&any, &["a/*"], &[], &["\"tweets\" makes posts of any kind", ways[0]]);
    check(&any, &["tweets=a", "others=a"], &[], &["tweets * a", "others bsky,toot a"]);
    check(&any, &["tweets=a", "b"], &[], &["tweets * a", "others bsky,toot b!"]);
    check(&same, &["a"], &["count"], &["tweets tweet,bsky a!"]);
}

#[test]
fn names_that_are_none_are_refused_with_those_that_are() {
    refused(TWO, &["tweet=a"], &[], &["no spout \"tweet\", but \"tweets\", \"others\""]);
    refused(TWO, &["lake=a"], &[], &["no spout \"lake\""]);
    refused(TWO, &["a"], &["cuont"], &["no component \"cuont\", but \"tweets\"", "\"count\""]);
    refused(
        TWO,
        &["others=a"],
        &["count"],
        &["\"others\" isn't upstream of the components that --only names"],
    );
    refused(TWO, &["others=a", "tweets=b", "c"], &[], &["\"c\" is for no spout"]);
}

#[test]
fn a_spout_is_named_before_the_first_equals_sign_unless_that_is_in_a_path() {
    let given = |text: &str| {
        text.parse::<Given>().map(|given| (given.spout.unwrap_or_default(), given.address))
    };
    let is = |spout: &str, address: &str| Ok((spout.to_owned(), address.to_owned()));
    assert_eq!(given("in=lake/2*"), is("in", "lake/2*"));
    assert_eq!(given("lake/day=1/2*"), is("", "lake/day=1/2*"));
    assert_eq!(given("./day=1"), is("", "./day=1"));
    assert_eq!(given("s3://bucket/day=1"), is("", "s3://bucket/day=1"));
    assert!(given("in=").is_err() && given("").is_err());
}

#[test]
fn only_what_is_needed_runs_and_needs_what_is_outside() {
    let kappa = rewrite(&topology(TWO), &request(&["src"], &["count"])).unwrap();
    let ids: Vec<_> = kappa.topology.components.iter().map(|spec| spec.id.as_str()).collect();
    assert_eq!(ids, ["tweets", "words", "count"]);
    assert_eq!(kappa.topology.components[2].inputs[0].from, 1);
    assert_eq!(
        spared(&topology(TWO), &["count".into()]).unwrap(),
        ["tweets", "others", "null", "lake"]
    );
    assert_eq!(spared(&topology(TWO), &[]).unwrap(), ["tweets", "others"]);
}

#[test]
fn a_sink_that_writes_into_the_lake_that_is_read_is_refused_by_whatever_name() {
    let root = tempfile::tempdir().unwrap();
    let lake = root.path().join("lake");
    std::fs::create_dir_all(&lake).unwrap();
    std::os::unix::fs::symlink(&lake, root.path().join("link")).unwrap();
    let at = |path: &str| root.path().join(path).display().to_string();
    let writes = |path: &str| TWO.replace("\"lake\"),", &format!("{:?}),", at(path)));
    for path in ["lake", "link", "link/../lake/.", "lake/inside", ""] {
        for read in ["lake", "lake/2*", "link/2*", "lake/*"] {
            refused(
                &writes(path),
                &[&at(read)],
                &[],
                &["sink \"lake\" would write into", &at(read), "--only"],
            );
        }
    }
    assert!(rewrite(&topology(&writes("lake2")), &request(&[&at("lake/*")], &[])).is_ok());
    assert!(rewrite(&topology(&writes("lake")), &request(&[&at("lake/*")], &["count"])).is_ok());
    let bucket = TWO.replace("Local(root: \"lake\")", "S3(bucket: \"lake\", prefix: \"a\")");
    refused(&bucket, &["s3://lake/a/2*"], &[], &["sink \"lake\"", "\"s3://lake/a\""]);
    refused(&bucket, &["s3://lake"], &[], &["sink \"lake\""]);
}

#[test]
fn a_replay_at_a_tempo_has_one_task_and_lakes_are_sorted_one_by_one() {
    let hints = |request: &Request| {
        let kappa = rewrite(&topology(TWO), request).unwrap();
        kappa
            .topology
            .components
            .iter()
            .map(|spec| spec.parallelism_hint.get())
            .take(2)
            .collect::<Vec<_>>()
    };
    let mut request = request(&["src/*"], &[]);
    assert_eq!(hints(&request), [1, 4]);
    request.tempo.speed = "60".parse().unwrap();
    assert_eq!(hints(&request), [1, 1]);
    request.order = Order::Time;
    request.given = vec!["src/1*".parse().unwrap(), "src/2*".parse().unwrap()];
    assert!(rewrite(&topology(TWO), &request).is_ok());
    request.given.push("tests/2*".parse().unwrap());
    let error = rewrite(&topology(TWO), &request).err().unwrap().chain();
    assert!(error.contains("\"src\" and \"tests\" can't be sorted by time together"), "{error}");
}

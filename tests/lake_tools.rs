//! `waterspout lake …` as somebody at a shell uses it.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

#[cfg(feature = "fail-points")]
#[path = "lake_tools/kills.rs"]
mod kills;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Sandbox, lake_by_partition, sorted};

/// The posts that are captured.
fn lines() -> Vec<String> {
    let line = |i: usize| {
        format!(
            "{{\"tweet\":{{\"created_at\":\"2015-12-18T00:00:{:02}Z\",\"id\":\"{i}\",\"text\":\"größe {i}\"}}}}",
            i % 60
        )
    };
    (0..2_000).map(line).collect()
}

/// A lake that the program itself captured.
fn captured() -> Sandbox {
    captured_with("")
}

/// One whose sink has more options, `, compression: Gzip`.
fn captured_with(options: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("in.ndjson", lines().join("\n") + "\n");
    sandbox.write(
        "t.ron",
        "Topology(name: \"t\", spouts: {\"in\": Spout(run: Lines(paths: [\"in.ndjson\"]))},
         bolts: {\"lake\": Bolt(run: Local(root: \"lake\"), inputs: [Shuffle(\"in\")], parallelism_hint: 2)},
         micro_batch: MicroBatch(posts: 100))"
            .replace("Local(root: \"lake\")", &format!("Local(root: \"lake\"{options})")),
    );
    sandbox.run(&["run", "t.ron"]).with(0);
    sandbox
}

const OTHERS: [&str; 1] = ["_index"];

fn partition(sandbox: &Sandbox) -> PathBuf {
    glob::glob(&format!("{}/2*", sandbox.path("lake").display())).unwrap().next().unwrap().unwrap()
}

fn posts(root: &Path) -> Vec<String> {
    let mut posts: Vec<_> = lake_by_partition(root, &OTHERS).into_values().flatten().collect();
    posts.sort();
    posts
}

fn all() -> Vec<String> {
    let lines = lines();
    sorted(lines.iter().map(String::as_str))
}

/// Later than any capture here.
const LATER: &str = "9000-01-01";

#[test]
fn a_lake_is_listed_and_printed() {
    let sandbox = captured();
    let index = || {
        let files =
            fs::read_dir(sandbox.path("lake/_index")).unwrap().map(|entry| entry.unwrap().path());
        // Beside the indexes are the notes of who wrote them.
        let files = files.filter(|path| path.is_file());
        files
            .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let of_the_capture = index();
    fs::remove_dir_all(sandbox.path("lake/_index")).unwrap();
    let before = sandbox.run(&["lake", "ls", "lake"]).with(0).out;
    assert!(before.contains("?") && before.contains("2 partitions"), "{before}");
    sandbox.run(&["lake", "index", "lake"]).with(0);
    assert_eq!(index(), of_the_capture, "the capture wrote the same");
    assert_eq!(
        sandbox.run(&["lake", "index", "lake", "--missing"]).with(0).out,
        "",
        "nothing is missing"
    );
    let listed = sandbox.run(&["lake", "ls", "lake", "--json"]).with(0).out;
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = |key: &str| listed.iter().map(|line| line[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((listed.len(), sum("posts"), sum("micro_batches")), (2, 2_000, 20));
    assert!(sandbox.run(&["lake", "ls", "lake"]).with(0).out.contains(" 2000 "));
    assert_eq!(sandbox.run(&["lake", "cat", "lake"]).with(0).sorted_lines(), all());
    assert_eq!(sandbox.run(&["replay", "lake"]).with(0).sorted_lines(), all());
    let one =
        sandbox.run(&["lake", "cat", "--json", partition(&sandbox).to_str().unwrap()]).with(0).out;
    let first: Value = serde_json::from_str(one.lines().next().unwrap()).unwrap();
    assert!(
        one.lines().count() < 2_000
            && first["file"] == "0000000"
            && first["post"]["tweet"].is_object()
    );
    sandbox.run(&["lake", "ls", "nowhere"]).with(1).says(&["no lake at \"nowhere\""]);
}

#[test]
fn damage_is_named_and_ends_with_4() {
    let sandbox = captured();
    fs::remove_dir_all(sandbox.path("lake/_index")).unwrap();
    let good = sandbox.run(&["lake", "verify", "lake"]).with(0).out;
    assert!(
        good.contains("no index") && good.contains("2000 posts") && good.contains(" 0 findings"),
        "{good}"
    );
    sandbox.run(&["lake", "index", "lake"]).with(0);
    let folder = partition(&sandbox);
    let mut bytes = fs::read(folder.join("0000001")).unwrap();
    let at = bytes.windows(4).position(|part| part == b"text").unwrap() + 8;
    bytes[at] = b'X';
    fs::write(folder.join("0000001"), bytes).unwrap();
    fs::remove_file(folder.join("0000002")).unwrap();
    fs::write(folder.join("0009999"), "[]\n").unwrap();
    let report = sandbox.run(&["lake", "verify", "lake", "--json"]).with(4).out;
    let report: Value = serde_json::from_str(&report).unwrap();
    let found: Vec<_> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            (
                finding["key"].as_str().unwrap().rsplit('/').next().unwrap(),
                finding["what"].as_str().unwrap(),
            )
        })
        .collect();
    // What is extra is read as well: it has a line break.
    let extra = [("0009999", "extra"), ("0009999", "altered")];
    assert_eq!(found, [&[("0000001", "altered"), ("0000002", "missing")][..], &extra].concat());
    sandbox.run(&["lake", "verify", "lake"]).with(4);
}

/// What a file is packed into, with its extension.
const PACKED: [(&str, &str); 4] = [
    (", compression: Gzip, names: Basic", ".json.gz"),
    (", compression: Zstd", ".json.zst"),
    (", compression: Gzip, format: Ndjson", ".ndjson.gz"),
    (", compression: Zstd, format: Ndjson, names: Basic", ".ndjson.zst"),
];

/// Damages, removes and adds files, and gives what `verify` finds: the ends of the keys, and what.
fn damaged(sandbox: &Sandbox, extension: &str) -> Vec<(String, String)> {
    let folder = partition(sandbox);
    let file = |number: usize| folder.join(format!("{number:07}{extension}"));
    let mut flipped = fs::read(file(0)).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    fs::write(file(0), flipped).unwrap();
    let torn = fs::read(file(1)).unwrap();
    fs::write(file(1), &torn[..torn.len() / 2]).unwrap();
    fs::remove_file(file(2)).unwrap();
    fs::copy(file(3), folder.join(format!("0009999{extension}"))).unwrap();
    let report = sandbox.run(&["lake", "verify", "lake", "--json"]).with(4).out;
    let report: Value = serde_json::from_str(&report).unwrap();
    let text = |finding: &Value, key: &str| {
        finding[key].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
    };
    report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| (text(found, "key"), text(found, "what")))
        .collect()
}

#[test]
fn every_tool_takes_packed_files_and_finds_what_is_wrong_with_them() {
    for (options, extension) in PACKED {
        let sandbox = captured_with(options);
        assert_eq!(
            posts(&sandbox.path("lake")),
            all(),
            "to a reader that shares nothing with the program"
        );
        for tool in [
            &["lake", "cat", "lake"][..],
            &["replay", "lake"],
            &["replay", "lake", "--order", "time"],
        ] {
            assert_eq!(
                sandbox.run(tool).with(0).sorted_lines(),
                all(),
                "{tool:?} with {extension}"
            );
        }
        sandbox.run(&["lake", "verify", "lake"]).with(0);
        sandbox.run(&["lake", "index", "lake"]).with(0);
        sandbox.run(&["lake", "verify", "lake"]).with(0);
        let one = partition(&sandbox);
        let (name, number) =
            (one.file_name().unwrap().to_str().unwrap().to_owned(), format!("0000000{extension}"));
        assert_eq!(name.contains(':'), !options.contains("Basic"));
        let wanted = [(0, "torn"), (1, "torn"), (2, "missing"), (9999, "extra")];
        let wanted =
            wanted.map(|(number, what)| (format!("{number:07}{extension}"), what.to_owned()));
        assert_eq!(damaged(&sandbox, extension), wanted);
        sandbox.run(&["replay", "lake"]).with(1).says(&[&name, &number, "is damaged at byte"]);
        sandbox
            .run(&["replay", "lake", "--skip-damaged"])
            .with(0)
            .says(&[&number, "is passed over"]);
    }
}

#[test]
fn compact_into_parquet_and_back_keeps_every_byte() {
    let sandbox = captured_with(", format: Ndjson");
    let compact = |form: &str| {
        sandbox.run(&["lake", "compact", "lake", "--to", form, "--closed-before", LATER]).with(0);
        assert_eq!(sandbox.run(&["lake", "cat", "lake"]).with(0).sorted_lines(), all(), "{form}");
        assert_eq!(sandbox.run(&["replay", "lake"]).with(0).sorted_lines(), all(), "{form}");
        sandbox.run(&["lake", "verify", "lake"]).with(0);
        let of_form =
            fs::read_dir(partition(&sandbox)).unwrap().map(|entry| entry.unwrap().file_name());
        let suffix = if form == "json" { "0000000".to_owned() } else { format!("0000000.{form}") };
        assert_eq!(of_form.collect::<Vec<_>>(), [suffix.as_str()]);
    };
    compact("json");
    compact("parquet");
    sandbox.write("ids", "tweet 17\n");
    sandbox.run(&["lake", "erase", "lake", "--ids", "ids", "--closed-before", LATER]).with(0);
    let mut rest = all();
    rest.retain(|post| !post.contains("\"id\":\"17\""));
    assert_eq!(sandbox.run(&["lake", "cat", "lake"]).with(0).sorted_lines(), rest);
    sandbox
        .run(&["lake", "compact", "lake", "--to", "csv"])
        .with(2)
        .says(&["ndjson.zst", "parquet"]);
    let file = sandbox.path("lake").join(partition_of(&sandbox, ".parquet"));
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let found = sandbox.run(&["lake", "verify", "lake"]).with(4).out;
    assert!(found.contains("0000000.parquet: "), "{found}");
}

/// The first file with this extension, below the lake.
fn partition_of(sandbox: &Sandbox, extension: &str) -> PathBuf {
    let pattern = format!("{}/2*/*{extension}", sandbox.path("lake").display());
    glob::glob(&pattern).unwrap().next().unwrap().unwrap()
}

#[test]
fn compact_keeps_every_post_and_prune_deletes_what_is_old() {
    let sandbox = captured();
    let nothing = sandbox.run(&["lake", "compact", "lake"]).with(0).out;
    let says = ["nothing to compact: 2 partitions are not closed yet", "--closed-before TIME"];
    assert!(says.iter().all(|part| nothing.contains(part)), "{nothing}");
    assert_eq!(
        support::files_by_partition(&sandbox.path("lake")).iter().sum::<usize>(),
        20,
        "nothing is closed"
    );
    sandbox.run(&["lake", "compact", "lake", "--closed-before", LATER, "--json"]).with(0);
    let root = sandbox.path("lake");
    assert_eq!(posts(&root), all());
    let partitions = lake_by_partition(&root, &OTHERS);
    assert!(partitions.keys().all(|name| fs::read_dir(root.join(name)).unwrap().count() == 1));
    sandbox.run(&["lake", "verify", "lake"]).with(0);
    assert!(sandbox.run(&["lake", "prune", "lake", "--older-than", "90d"]).with(0).out.is_empty());
    fs::create_dir(root.join("2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7")).unwrap();
    fs::write(root.join("2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000"), "[]")
        .unwrap();
    for (option, left) in [("--dry-run", 2), ("--json", 1)] {
        let out =
            sandbox.run(&["lake", "prune", "lake", "--older-than", "90d", option]).with(0).out;
        assert!(out.contains("2015-12-18T00:00:00-afa5"), "{out}");
        let there = fs::read_dir(&root)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() != "_index")
            .count();
        assert_eq!(there, left);
    }
}

#[test]
fn an_age_under_a_day_wants_force_to_prune() {
    let sandbox = captured();
    let (root, name) =
        (sandbox.path("lake"), "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7");
    fs::create_dir(root.join(name)).unwrap();
    fs::write(root.join(name).join("0000000"), "[{\"tweet\":{\"id\":\"old\"}}]").unwrap();
    for age in ["1m", "23h"] {
        let prune = ["lake", "prune", "lake", "--older-than", age];
        sandbox.run(&prune).with(2).says(&[age, "is less than a day", "a month is 30d", "--force"]);
        assert!(root.join(name).exists());
    }
    // The lake's own partition began within the last hour.
    let out = sandbox.run(&["lake", "prune", "lake", "--older-than", "23h", "--force"]).with(0).out;
    assert!(out.contains(name) && !root.join(name).exists(), "{out}");
    assert_eq!(posts(&root), all(), "nothing else went");
    // The newest stay, and it says so.
    let out = sandbox.run(&["lake", "prune", "lake", "--older-than", "0s", "--force"]).with(4).out;
    assert!(out.contains("stays: no partition began after it"), "{out}");
    assert_eq!(posts(&root), all());
}

/// Of captured deletes most name posts that were never captured.
#[test]
fn deletes_that_match_no_post_are_counted_and_end_with_0() {
    let sandbox = captured();
    let partition = sandbox.path("lake/2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7");
    fs::create_dir(&partition).unwrap();
    let delete = |id: &str| format!("{{\"delete\":{{\"kind\":\"tweet\",\"id\":\"{id}\"}}}}");
    fs::write(
        partition.join("0000000"),
        format!("[{},{},{}]", delete("17"), delete("x1"), delete("x2")),
    )
    .unwrap();
    let erase = ["lake", "erase", "lake", "--from-deletes", "--closed-before", LATER];
    let out = sandbox.run(&erase).with(0).out;
    assert!(
        out.contains("1 post of 3 ids erased") && out.contains("2 of 3 ids matched no post"),
        "{out}"
    );
    let help = sandbox.run(&["lake", "erase", "--help"]).with(0).out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        help.contains("with --from-deletes those that match none are counted, and it ends with 0"),
        "{help}"
    );
}

/// Gives some or all plain arrays the name that others give them.
fn name_json(root: &Path, only_some: bool) -> usize {
    let pattern = format!("{}/2*/0??????", root.display());
    let paths = glob::glob(&pattern).unwrap().map(Result::unwrap);
    let named = paths.enumerate().filter(|(number, _)| !only_some || number % 2 == 0);
    named.map(|(_, path)| fs::rename(&path, path.with_extension("json")).unwrap()).count()
}

#[test]
fn arrays_that_are_named_json_are_read_by_every_tool() {
    for only_some in [false, true] {
        let sandbox = captured();
        let root = sandbox.path("lake");
        fs::remove_dir_all(root.join("_index")).unwrap();
        assert!(name_json(&root, only_some) >= 10);
        sandbox.run(&["lake", "verify", "lake"]).with(0);
        sandbox.run(&["lake", "index", "lake"]).with(0);
        sandbox.run(&["lake", "verify", "lake"]).with(0);
        assert_eq!(
            sandbox.run(&["lake", "index", "lake", "--missing"]).with(0).out.lines().count(),
            0
        );
        assert_eq!(sandbox.run(&["lake", "cat", "lake"]).with(0).sorted_lines(), all());
        assert_eq!(sandbox.run(&["replay", "lake"]).with(0).sorted_lines(), all());
        let ls = sandbox.run(&["lake", "ls", "lake", "--json"]).with(0).out;
        assert!(ls.contains("\"micro_batches\":10"), "{ls}");
        // Two of one number can't both be taken.
        let file =
            glob::glob(&format!("{}/2*/*.json", root.display())).unwrap().next().unwrap().unwrap();
        fs::copy(&file, file.with_extension("")).unwrap();
        sandbox.run(&["lake", "verify", "lake"]).with(4).says(&[]);
        sandbox.run(&["replay", "lake"]).with(1).says(&["move one of them away"]);
        fs::remove_file(file.with_extension("")).unwrap();
        // What is written has the name that it always has.
        sandbox.run(&["lake", "compact", "lake", "--to", "json", "--closed-before", LATER]).with(0);
        assert!(glob::glob(&format!("{}/2*/*.json", root.display())).unwrap().next().is_none());
        assert_eq!(sandbox.run(&["replay", "lake"]).with(0).sorted_lines(), all());
        sandbox.run(&["lake", "verify", "lake"]).with(0);
    }
}

#[test]
fn erased_posts_are_gone_from_every_file() {
    let sandbox = captured();
    sandbox.write("ids", "tweet 17\n1999\nvideo 3\n");
    let open = sandbox.run(&["lake", "erase", "lake", "--ids", "ids"]).with(4).out;
    assert!(open.contains("isn't closed"), "{open}");
    let out = sandbox
        .run(&["lake", "erase", "lake", "--ids", "ids", "--closed-before", LATER])
        .with(4)
        .out;
    assert!(
        out.contains("2 posts of 3 ids erased") && out.contains("1 of 3 ids matched no post"),
        "{out}"
    );
    let mut rest = all();
    rest.retain(|post| !post.contains("\"id\":\"17\"") && !post.contains("\"id\":\"1999\""));
    assert_eq!(posts(&sandbox.path("lake")), rest);
    sandbox.run(&["lake", "verify", "lake"]).with(0);
    assert_eq!(fs::read_dir(sandbox.path("lake/_index/erased")).unwrap().count(), 2);
    sandbox.run(&["lake", "erase", "lake"]).with(2).says(&["--ids"]);
}

#[test]
fn a_statement_names_the_lake_and_no_double_star() {
    let sandbox = Sandbox::new();
    for tool in ["duckdb", "pandas", "polars", "spark"] {
        let out = sandbox.run(&["lake", "paths", "--for", tool, "my lake"]).with(0).out;
        assert!(out.contains("/my lake") && !out.contains("**"), "{out}");
    }
}

//! Tests of files that include one another, and of files that can't be read.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::super::load;
use super::components::registry;
use super::{LoadOptions, outcome};

const MAIN: &str = r#"Topology(
    name: "main",
    include: ["parts/more.ron"],
    spouts: { "in": Spout(run: Numbers()) },
    bolts: { "out": Bolt(run: Void(), inputs: [Shuffle("shout")]) },
    memory: "1MiB",
)"#;

const MORE: &str = r#"Topology(
    name: "more",
    bolts: { "shout": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]) },
    memory: "2MiB",
    partition: Partition(every: "1m"),
)"#;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Loads the first of these files.
#[expect(clippy::needless_pass_by_value, reason = "reads better at the places that call it")]
fn check_files(files: &[(&str, &str)], expected: Expect) {
    let folder = folder(files);
    let path = folder.path().join(files[0].0);
    let outcome = outcome(&load(&path, &registry(), &LoadOptions::default()));
    expected.assert_eq(&outcome.replace(&folder.path().display().to_string(), "."));
}

#[test]
fn included_maps_unite_and_the_including_file_wins() {
    let folder = folder(&[("main.ron", MAIN), ("parts/more.ron", MORE)]);
    let topology =
        load(&folder.path().join("main.ron"), &registry(), &LoadOptions::default()).unwrap();
    let ids: Vec<_> = topology.components.iter().map(|component| component.id.as_str()).collect();
    assert_eq!(ids, ["in", "shout", "out"]);
    assert_eq!((topology.name.as_str(), topology.memory), ("main", 1 << 20));
    assert_eq!(topology.partition_every.as_secs(), 60);
}

#[test]
fn an_id_in_two_files_is_named_with_both_places() {
    let twice = MORE
        .replace("\"shout\": Bolt", "\"in\": Bolt")
        .replace("field: \"number\"", "feild: \"number\"");
    check_files(
        &[("main.ron", MAIN), ("parts/more.ron", &twice)],
        expect![[r#"
        ./main.ron:5:56: bolt "out" takes input from "shout", but the components are "in"
            5 |     bolts: { "out": Bolt(run: Void(), inputs: [Shuffle("shout")]) },
              |                                                        ^^^^^^^
        ./parts/more.ron:3:14: the id "in" is used twice, first at ./main.ron:4:15
            3 |     bolts: { "in": Bolt(run: Shout(feild: "number"), inputs: [Shuffle("in")]) },
              |              ^^^^"#]],
    );
}

#[test]
fn files_that_include_one_another_are_named_as_a_chain() {
    let back = MORE.replace("bolts:", "include: [\"../main.ron\"], bolts:");
    check_files(
        &[("main.ron", MAIN), ("parts/more.ron", &back)],
        expect![[r#"
        ./parts/more.ron:3:15: files include one another: ./main.ron -> ./parts/more.ron -> ./parts/../main.ron
            3 |     include: ["../main.ron"], bolts: { "shout": Bolt(run: Shout(field: "number"), inputs: [Shuffle("in")]) },
              |               ^^^^^^^^^^^^^"#]],
    );
}

#[test]
fn a_file_that_is_included_on_two_ways_counts_once() {
    let both = MAIN.replace("\"parts/more.ron\"", "\"parts/more.ron\", \"./parts/more.ron\"");
    check_files(&[("main.ron", &both), ("parts/more.ron", MORE)], expect!["ok: 3 components"]);
}

#[test]
fn an_included_file_that_is_missing_is_named_where_it_is_included() {
    check_files(
        &[("main.ron", MAIN)],
        expect![[r#"
            ./main.ron:3:15: can't read "./parts/more.ron": No such file or directory (os error 2)
                3 |     include: ["parts/more.ron"],
                  |               ^^^^^^^^^^^^^^^^"#]],
    );
    check_files(
        &[("main.ron", &MAIN.replace("[\"parts/more.ron\"]", "\"parts/more.ron\""))],
        expect![[r#"
            ./main.ron:3:14: include: expected a list of file names, found text
                3 |     include: "parts/more.ron",
                  |              ^^^^^^^^^^^^^^^^"#]],
    );
    check_files(
        &[("main.ron", &MAIN.replace("\"parts/more.ron\"", "1"))],
        expect![[r#"
            ./main.ron:3:15: include: expected the name of a file, found a number
                3 |     include: [1],
                  |               ^"#]],
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let problems =
        load(Path::new("no/such.ron"), &registry(), &LoadOptions::default()).err().unwrap();
    expect![[r#"no/such.ron: can't read "no/such.ron": No such file or directory (os error 2)"#]]
        .assert_eq(&problems.to_string());
}

#[test]
fn bytes_that_are_not_utf_8_are_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.ron");
    fs::write(&path, b"Topology(\n  name: \"\xc3\xa4\xff\xfe\",\n)").unwrap();
    let problems = load(&path, &registry(), &LoadOptions::default()).err().unwrap();
    expect![[r#"
        t.ron:2:11: expected UTF-8, found the byte 0xff
            2 |   name: "ä��",
              |           ^"#]]
    .assert_eq(&problems.to_string().replace(&path.display().to_string(), "t.ron"));
}

#[test]
fn a_file_of_more_than_16_mib_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.ron");
    fs::write(&path, vec![b' '; (16 << 20) + 1]).unwrap();
    let problems = load(&path, &registry(), &LoadOptions::default()).err().unwrap();
    expect!["t.ron: the file is larger than 16 MiB"]
        .assert_eq(&problems.to_string().replace(&path.display().to_string(), "t.ron"));
}

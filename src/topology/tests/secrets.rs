//! Tests that no message shows secrets, or the content of files that aren't topologies.

use std::fs;
use std::path::Path;

use expect_test::expect;
use proptest::prelude::*;

use super::super::{explain, load, parse};
use super::{LoadOptions, cases, outcome};

const SECRET: &str = "hunter2-of-all-secrets";

/// A topology with this configuration of X.
fn with_x(run: &str) -> String {
    format!(
        "Topology(name: \"t\", spouts: {{\"in\": Spout(run: X({run}))}},\n\
         bolts: {{\"out\": Bolt(run: Null(), inputs: [Shuffle(\"in\")])}})"
    )
}

fn say(text: &str, sets: &[&str]) -> String {
    let sets = sets.iter().map(|&set| set.to_owned()).collect();
    outcome(&parse(
        "t.ron",
        text,
        &crate::components::standard(),
        &LoadOptions { sets, ..LoadOptions::default() },
    ))
}

#[test]
fn a_secret_in_a_file_is_refused_and_not_shown() {
    let text = with_x(r#"topics: ["a"], bearer_token: "hunter2-of-all-secrets""#);
    expect![[r#"
        t.ron:1:78: spout "in": X: bearer_token: expected `Env("NAME")` or `File("path")`: no secret stands in a topology file
            1 | Topology(name: "t", spouts: {"in": Spout(run: X(topics: ["a"], bearer_token: ************************))},
              |                                                                              ^^^^^^^^^^^^^^^^^^^^^^^^"#]]
    .assert_eq(&say(&text, &[]));
    for run in [
        r#"topics: ["a"], bearer_token: Some("hunter2-of-all-secrets")"#,
        r#"topics: ["a"], bearer_token: r"hunter2-of-all-secrets", x: 1"#,
        r#"topics: ["a"], baerer_tokn: "hunter2-of-all-secrets""#,
        r#"topics: ["a"], bearer_token: hunter2-of-all-secrets"#,
        r#"topics: ["a"], bearer_token: "hunter2-of-all-secrets", , "#,
        r#"bearer_token: ["hunter2-of-all-secrets"]"#,
        r#"topics: ["a"], bearer_token: Env("X"), base_url: "https://user:hunter2-of-all-secrets@host""#,
        r#"topics: ["a"], bearer_token: Env("X"), base_url: "https://hunter2-of-all-secrets@host""#,
        r#"topics: ["a"], bearer_token: Env("X"), base_url: "https://host/?access_token=hunter2-of-all-secrets""#,
        "topics: [\"a\"], bearer_token:\n\"hunter2-of-all-secrets\" +",
    ] {
        let said = say(&with_x(run), &[]);
        assert!(!said.contains("hunter2"), "{run}: {said}");
        assert!(said.starts_with("t.ron:"), "{run}: {said}");
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_shown() {
    let text = with_x(r#"topics: ["a"], bearer_token: Env("X")"#);
    assert_eq!(say(&text, &[]), "ok: 2 components");
    for set in [
        "spouts.in.run.bearer_token=hunter2-of-all-secrets",
        "spouts.in.run.bearer_token=\"hunter2-of-all-secrets\"",
        "spouts.in.run.bearer_token=hunter2 of-all-secrets, x",
        "spouts.no.run.bearer_token=hunter2-of-all-secrets",
        "spouts.in.run.base_url=https://u:hunter2-of-all-secrets@h",
    ] {
        let said = say(&text, &[set]);
        assert!(said.starts_with("--set:") && !said.contains("hunter2"), "{set}: {said}");
    }
}

#[test]
fn an_address_without_a_secret_is_explained_as_it_is() {
    let text =
        with_x(r#"topics: ["a"], bearer_token: Env("X"), base_url: "http://127.0.0.1:8080/x""#);
    let topology =
        parse("t.ron", &text, &crate::components::standard(), &LoadOptions::default()).unwrap();
    assert!(explain(&topology).contains("http://127.0.0.1:8080/x"));
    for bad in ["nowhere", "ftp://host", "https://", "https://host/?page=1", "https://host/#x"] {
        let said = say(&text.replace("http://127.0.0.1:8080/x", bad), &[]);
        assert!(said.contains("base_url"), "{bad}: {said}");
    }
}

/// Returns the result of checking a topology that is in this folder.
fn say_of_file(folder: &Path, name: &str) -> String {
    let loaded = load(
        &folder.join(name),
        &crate::components::standard(),
        &LoadOptions { online: true, ..LoadOptions::default() },
    );
    outcome(&loaded).replace(&folder.display().to_string(), ".")
}

#[test]
fn a_file_that_is_no_topology_is_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for stranger in [
        "root:hunter2:20000::\nme:x:1:1\n",
        "hunter2",
        "[hunter2]",
        "hunter2(a: 1)",
        "\u{0}hunter2",
    ] {
        fs::write(folder.path().join("stranger"), stranger).unwrap();
        let main = with_x("bearer_token: Env(\"PATH\")")
            .replace("name: \"t\"", "name: \"t\", include: [\"stranger\"]");
        fs::write(folder.path().join("t.ron"), main).unwrap();
        for name in ["t.ron", "stranger"] {
            let said = say_of_file(folder.path(), name);
            assert!(said.contains("stranger") && said.contains("is no topology file"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn a_file_of_several_lines_is_no_value_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("stranger"), "hunter2:x\nme:y\n").unwrap();
    let file = format!("File({:?})", folder.path().join("stranger").display().to_string());
    let x = format!("bearer_token: Env(\"PATH\"), base_url: {file}, topics: [{file}]");
    for text in [with_x(&x), with_x("bearer_token: Env(\"PATH\")").replace("\"t\"", &file)] {
        fs::write(folder.path().join("t.ron"), text).unwrap();
        let said = say_of_file(folder.path(), "t.ron");
        assert!(said.contains("expected one line") && !said.contains("hunter2"), "{said}");
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn no_mistake_elsewhere_shows_a_secret(
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\\n]{0,4}", 0..4_usize), 1..4),
    ) {
        let field = format!("bearer_token: \"{SECRET}\"");
        let text = with_x("topics: [\"a\"], FIELD, poll: \"1m\"");
        let (before, after) = text.split_once("FIELD").unwrap();
        let mut parts = [before.to_owned(), after.to_owned()];
        for (at, insert, cut) in edits {
            let part = &mut parts[at.index(2)];
            let start = at.index(part.len());
            let end = (start + cut).min(part.len());
            part.replace_range(start..end, &insert);
        }
        // A name with further letters attached is a different name.
        let text = format!("{} {field}{}", parts[0], parts[1]);
        let said = say(&text, &[]);
        prop_assert!(!said.contains(SECRET), "{}", said);
    }
}

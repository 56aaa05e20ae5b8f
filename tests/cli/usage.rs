//! What a person and a shell meet before a topology runs: colours, the version, manual pages,
//! completions and the schema.

use std::path::Path;
use std::process::Command;

use super::*;
use support::s3_server::python;

/// The character with which each change of colour begins.
const ESCAPE: char = '\u{1b}';

#[test]
fn colours_come_where_they_are_asked_for() {
    let sandbox = Sandbox::new();
    assert!(!sandbox.run(&["help", "run"]).with(0).out.contains(ESCAPE));
    assert!(!sandbox.run(&["walk"]).with(2).err.contains(ESCAPE));
    assert!(sandbox.run(&["--color", "always", "run", "--help"]).with(0).out.contains(ESCAPE));
    assert!(sandbox.run(&["--color=always", "walk"]).with(2).err.contains(ESCAPE));
    let forced = [("CLICOLOR_FORCE", "1")];
    assert!(sandbox.run_with(&["walk"], &forced).with(2).err.contains(ESCAPE));
    let ended = sandbox.run_with(&["--color", "never", "walk"], &forced).with(2);
    assert!(!ended.err.contains(ESCAPE), "{}", ended.err);
    sandbox.run(&["--color", "sometimes", "list"]).with(2).says(&["auto, always, never"]);
}

#[test]
fn the_version_may_have_a_commit() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["--version"]).with(0).out;
    let rest = printed.strip_prefix(concat!("waterspout ", env!("CARGO_PKG_VERSION"))).unwrap();
    let commit = rest.trim_end().strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let is_commit = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    assert!(rest == "\n" || commit.is_some_and(is_commit), "{printed}");
}

/// Runs the build script for a folder, and returns the version that it tells the crate.
fn built_version(script: &Path, folder: &Path, profile: &str, given: &str) -> String {
    let output = Command::new(script)
        .env("CARGO_MANIFEST_DIR", folder)
        .env("CARGO_PKG_VERSION", "1.2.3")
        .env("PROFILE", profile)
        .env("WATERSPOUT_COMMIT", given)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("cargo:rustc-env="));
    line.unwrap().strip_prefix("WATERSPOUT_VERSION=").unwrap().to_owned()
}

#[test]
fn the_build_knows_the_commit_of_a_clone_and_of_an_archive() {
    let sandbox = Sandbox::new();
    let script = sandbox.path("build-script");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .args([script.as_os_str(), repository("build.rs").as_ref()])
        .status()
        .unwrap();
    assert!(compiled.success());
    let clone = sandbox.path("clone");
    fs::create_dir(&clone).unwrap();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&clone).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    let author = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
    git(&[&author[..], &["commit", "--quiet", "--allow-empty", "-m", "a"]].concat());
    let commit = &git(&["rev-parse", "HEAD"])[..12];
    assert_eq!(built_version(&script, &clone, "release", ""), format!("1.2.3 ({commit})"));
    assert_eq!(built_version(&script, &clone, "debug", ""), "1.2.3");
    assert_eq!(built_version(&script, &clone, "debug", "0123456789abcdef"), "1.2.3 (0123456789ab)");

    let archive = sandbox.path("clone/archive");
    fs::create_dir(&archive).unwrap();
    assert_eq!(built_version(&script, &archive, "release", ""), "1.2.3");
    let note = r#"{"git": {"sha1": "fedcba9876543210fedc"}, "path_in_vcs": ""}"#;
    fs::write(archive.join(".cargo_vcs_info.json"), note).unwrap();
    assert_eq!(built_version(&script, &archive, "release", ""), "1.2.3 (fedcba987654)");
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(&["man", "--out", "pages/man1"]).with(0).out;
    assert_eq!(printed, "wrote manual pages to pages/man1: see waterspout.1\n");
    let page = |name: &str| fs::read_to_string(sandbox.path(&format!("pages/man1/{name}.1")));
    let main = page("waterspout").unwrap();
    assert!(main.contains(".TH waterspout 1") && main.contains("Exit codes"), "{main}");
    let help = sandbox.run(&["help"]).with(0).out;
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    let mut known = 0;
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        if command != "help" && command.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            known += usize::from(page(&format!("waterspout-{command}")).is_ok());
        }
    }
    assert!(known > 25, "{known}");
    assert!(page("waterspout-lake-erase").unwrap().contains("from\\-deletes"));
    sandbox.write("file", "");
    sandbox.run(&["man", "--out", "file/man1"]).with(1).says(&["can't write manual pages to"]);
}

/// What bash offers behind the words of a command line, of which the last is begun.
fn offered(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_waterspout")).parent().unwrap();
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let script = format!(
        r#"PATH="{}:$PATH"; source <(waterspout completions bash)
        COMP_WORDS=(waterspout {}); COMP_CWORD={}; COMP_TYPE=9
        function=$(complete -p waterspout | sed 's/.*-F \([^ ]*\).*/\1/')
        $function waterspout '{}' ''; printf '%s\n' "${{COMPREPLY[@]}}""#,
        binary.display(),
        quoted.join(" "),
        words.len(),
        words[words.len() - 1],
    );
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]);
    let ended = sandbox.start_program(bash, "bash").end().with(0);
    ended.out.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_names_of_components_ids_of_a_file_and_states() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE);
    sandbox.run(&["run", "one.ron"]).with(0);
    assert!(offered(&sandbox, &["valid"]).contains(&"validate".to_owned()));
    assert_eq!(offered(&sandbox, &["components", "show", "blue"]), ["Bluesky"]);
    assert_eq!(offered(&sandbox, &["rebalance", "one.ron", "la"]), ["lake="]);
    assert_eq!(offered(&sandbox, &["rebalance", "on"]), ["one.ron"]);
    assert_eq!(offered(&sandbox, &["tap", "one.ron", "po"]), ["posts"]);
    assert_eq!(offered(&sandbox, &["run", "one.ron", "--drop-state", ""]), ["posts", "lake"]);
    let states = offered(&sandbox, &["state", "rm", "one"]);
    assert!(states.len() == 1 && states[0].starts_with("one-"), "{states:?}");
}

/// Checks a file against a schema with a validator that nobody here wrote.
fn validate(sandbox: &Sandbox, json: &str) -> support::Ended {
    let mut program = Command::new(python().join("bin/python"));
    program.args(["-m", "jsonschema", "-i", json, "schema.json"]);
    sandbox.start_program(program, "jsonschema").end()
}

#[test]
fn every_topology_of_the_repository_fits_the_schema() {
    let sandbox = Sandbox::new();
    sandbox.write("schema.json", sandbox.run(&["schema"]).with(0).out);
    for name in topologies() {
        let file = repository(&format!("topologies/{name}"));
        sandbox.write("t.json", sandbox.run(&["schema", &file]).with(0).out);
        let ended = validate(&sandbox, "t.json");
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
    }
}

#[test]
fn what_the_loader_refuses_does_not_fit_the_schema() {
    let sandbox = Sandbox::new();
    sandbox.write("schema.json", sandbox.run(&["schema"]).with(0).out);
    for (from, to) in [
        ("Generate(posts: 50)", "Generate(post: 50)"),
        ("Generate(posts: 50)", "Generate(posts: \"many\")"),
        ("Generate(posts: 50)", "Nonesuch()"),
        ("Local(root: \"lake\")", "Local()"),
        ("Local(root: \"lake\")", "Generate(posts: 50)"),
        ("Shuffle(\"posts\")", "Shuffled(\"posts\")"),
        ("inputs:", "input:"),
    ] {
        let text = ONE_LAKE.replace(from, to);
        assert_ne!(text, ONE_LAKE);
        sandbox.write("t.ron", text);
        sandbox.run(&["validate", "t.ron"]).with(3);
        sandbox.write("t.json", sandbox.run(&["schema", "t.ron"]).with(0).out);
        assert_eq!(validate(&sandbox, "t.json").code, Some(1), "{to}");
    }
    sandbox.write("t.ron", "Topology(");
    sandbox.run(&["schema", "t.ron"]).with(3).says(&["this bracket is never closed"]);
}

/// The line of a field in what `components show` prints.
fn field(sandbox: &Sandbox, component: &str, name: &str) -> String {
    let shown = sandbox.run(&["components", "show", component]).with(0).out;
    let begins = format!("  {name}: ");
    shown.lines().find_map(|line| line.strip_prefix(&begins)).unwrap().to_owned()
}

#[test]
fn the_forms_of_topics_are_those_of_the_platform() {
    let sandbox = Sandbox::new();
    assert_eq!(field(&sandbox, "x", "topics"), "list of text (required)");
    assert_eq!(field(&sandbox, "bluesky", "topics"), "list of text (default [])");
    assert_eq!(field(&sandbox, "MASTODON", "topics"), "list of text (default [])");
    assert_eq!(field(&sandbox, "facebook", "topics"), "list of text | Page(text) (required)");
    assert_eq!(field(&sandbox, "youtube", "topics"), "list of text | Channel(text) (required)");
    let shown = sandbox.run(&["components", "show", "X"]).with(0).out;
    for explained in ["A duration is a text", "A size is a text", "A secret never stands"] {
        assert!(shown.contains(explained), "{explained}: {shown}");
    }
}

#[test]
fn a_wrong_value_of_an_option_brings_the_valid_ones() {
    let sandbox = Sandbox::new();
    let says = ["expected Max, or a factor of the original tempo", "found \"fast\""];
    sandbox.run(&["replay", "lake", "--speed", "fast"]).with(2).says(&says);
    let says = ["expected I/N with I from 0 to N - 1", "0/2 and 1/2"];
    sandbox.run(&["replay", "lake", "--shard", "2/2"]).with(2).says(&says);
    let says = ["--ids <FILE>|--from-deletes"];
    sandbox.run(&["lake", "erase", "lake"]).with(2).says(&says);
}

#[test]
fn numbers_agree_with_their_nouns_and_a_wrong_id_brings_the_nearest_one() {
    let sandbox = Sandbox::new();
    sandbox.write("one.ron", ONE_LAKE.replace("posts: 50", "posts: 1"));
    sandbox.run(&["run", "one.ron"]).with(0);
    let verified = sandbox.run(&["lake", "verify", "lake"]).with(0).out;
    assert!(verified.starts_with("1 partition, 1 micro-batch, 1 post, "), "{verified}");
    let listed = sandbox.run(&["lake", "ls", "lake"]).with(0).out;
    assert!(listed.contains("1 partition "), "{listed}");
    let indexed = sandbox.run(&["lake", "index", "lake"]).with(0).out;
    assert!(indexed.ends_with(": 1 micro-batch, 1 post\n"), "{indexed}");

    let slow = ONE_LAKE.replace("posts: 50", "posts: 1000000, rate: Some(10.0)");
    sandbox.write("slow.ron", slow.replace("\"one\"", "\"slow\""));
    let mut running = sandbox.start(&["run", "slow.ron", "--interval", "50ms"]);
    running.wait_for("it ran", |report| report["epoch"].as_u64() > Some(0));
    let ended = sandbox.run(&["rebalance", "slow.ron", "lkae=4"]).with(1);
    ended.says(&["there is no component \"lkae\"", "did you mean \"lake\"?"]);
    sandbox.run(&["stop", "slow.ron"]).with(0);
    running.end().with(0);
}

//! Commands on topology files: validate, graph, components, new, completions.

use super::*;
use crate::support::endpoint::Endpoint;

#[test]
fn all_problems_of_a_file_are_shown_at_once() {
    let sandbox = Sandbox::new();
    sandbox.write("wrong.ron", WRONG);
    let problems = [
        "wrong.ron:4:29: ",
        "did you mean \"Generate\"?",
        "wrong.ron:7:34: ",
        "did you mean \"field\"?",
        "wrong.ron:8:53: ",
        "did you mean \"words\"?",
        "wrong.ron:8:82: ",
        "from 1 to 1024, found 0",
        "wrong.ron:9:43: ",
        "wrong.ron:11:35: ",
        "bad duration \"1x\"",
        "    4 |         \"posts\": Spout(run: Genrate(posts: 10)),\n      |                             ^^^^^^^\n",
    ];
    sandbox.run(&["validate", "wrong.ron"]).with(3).says(&problems);
    sandbox.run(&["run", "wrong.ron"]).with(3).says(&problems);
    sandbox.run(&["graph", "wrong.ron"]).with(3).says(&problems);
}

#[test]
fn a_cycle_is_shown_as_its_path() {
    let sandbox = Sandbox::new();
    let cycle = r#"Topology(
        name: "cycle",
        spouts: {"posts": Spout(run: Generate(posts: 1))},
        bolts: {
            "a": Bolt(run: Count(fields: ["word"]), inputs: [Shuffle("words"), Shuffle("b")]),
            "b": Bolt(run: Count(fields: ["word"]), inputs: [Shuffle("a")]),
            "words": Bolt(run: Words(), inputs: [Shuffle("posts")]),
            "sink": Bolt(run: Null(), inputs: [Shuffle("b")]),
        },
    )"#;
    sandbox.write("cycle.ron", cycle);
    let ended = sandbox.run(&["validate", "cycle.ron"]).with(3).says(&["cycle.ron:"]);
    let shown = ["a -> b -> a", "b -> a -> b"].map(|path| path.replace(' ', ""));
    let said = ended.err.replace(['"', ' '], "").replace('→', "->");
    assert!(shown.iter().any(|path| said.contains(path)), "{}", ended.err);
}

#[test]
fn an_environment_variable_must_be_there_only_when_it_is_needed() {
    let sandbox = Sandbox::new();
    let file = ONE_LAKE.replace("\"lake\")", "Env(\"WATERSPOUT_TEST_NOWHERE\"))");
    sandbox.write("env.ron", file);
    sandbox.run(&["validate", "env.ron"]).with(0);
    sandbox
        .run(&["validate", "--online", "env.ron"])
        .with(3)
        .says(&["env.ron:4:", "WATERSPOUT_TEST_NOWHERE"]);
    sandbox.run(&["run", "env.ron"]).with(3).says(&["WATERSPOUT_TEST_NOWHERE"]);
}

#[test]
fn what_explain_prints_is_a_topology_that_explains_itself() {
    let sandbox = Sandbox::new();
    for name in topologies() {
        let file = repository(&format!("topologies/{name}"));
        let first = sandbox.run_with(&["validate", "--explain", &file], &TOKENS).with(0).out;
        assert!(first.contains("checkpoint: Checkpoint(every: \""), "{first}");
        sandbox.write("explained.ron", &first);
        sandbox.run_with(&["validate", "explained.ron"], &TOKENS).with(0);
        let second =
            sandbox.run_with(&["validate", "--explain", "explained.ron"], &TOKENS).with(0).out;
        assert_eq!(second, first, "{name}");
    }
}

#[test]
fn a_spool_that_makes_lines_shorter_is_a_note_of_validate() {
    let sandbox = Sandbox::new();
    let topology = |spool: &str| {
        format!(
            r#"Topology(name: "n", spouts: {{"in": Spout(run: Lines(paths: ["-"]{spool}))}},
                bolts: {{"out": Bolt(run: Null(), inputs: [Shuffle("in")])}})"#
        )
    };
    sandbox.write("small.ron", topology(", spool: Options(bytes_max: \"8MiB\")"));
    sandbox.write("large.ron", topology(""));
    let note = "note: in: max_post_bytes is 1048502 bytes";
    let out = sandbox.run(&["validate", "small.ron"]).with(0).out;
    assert!(
        out.contains(note) && out.contains("not 16MiB") && out.contains("bytes_max (8MiB)"),
        "{out}"
    );
    let explained = sandbox.run(&["validate", "--explain", "small.ron"]).with(0).out;
    assert!(explained.starts_with(&format!("// {note}")), "{explained}");
    sandbox.write("explained.ron", &explained);
    sandbox.run(&["validate", "explained.ron"]).with(0);
    let off = ["validate", "small.ron", "--set", "checkpoint=Off"];
    for arguments in [&["validate", "large.ron"][..], &off] {
        let out = sandbox.run(arguments).with(0).out;
        assert!(!out.contains("note"), "{out}");
    }
}

#[test]
fn a_graph_has_three_formats() {
    let sandbox = Sandbox::new();
    let file = repository("topologies/wordcount.ron");
    let graph = |format: &str| sandbox.run(&["graph", &file, "--format", format]).with(0).out;
    assert_eq!(sandbox.run(&["graph", &file]).with(0).out, graph("text"));
    assert!(graph("text").starts_with("topology \"wordcount\"\n"));
    let dot = graph("dot");
    assert!(
        dot.starts_with("digraph ")
            && dot.contains("\"words\" -> \"count\"")
            && dot.ends_with("}\n"),
        "{dot}"
    );
    assert!(graph("mermaid").starts_with("flowchart "));
    for format in ["text", "dot", "mermaid"] {
        let graph = graph(format);
        for part in ["posts", "words", "count", "print", "Fields", "Global", "2 tasks"] {
            assert!(graph.contains(part), "{format} lacks {part}:\n{graph}");
        }
    }
}

#[test]
fn components_are_listed_and_shown() {
    let sandbox = Sandbox::new();
    let all = sandbox.run(&["components"]).with(0).out;
    for line in all.lines() {
        let name = line.split_whitespace().nth(1).unwrap();
        let shown = sandbox.run(&["components", "show", name]).with(0).out;
        // It may have other names too: `X (also Twitter), a spout`.
        let first = shown.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(name) && first.contains(", a ") && shown.contains("Guarantee: "),
            "{shown}"
        );
    }
    assert_eq!(all.lines().count(), 29, "{all}");
    let lines = sandbox.run(&["components", "show", "Lines"]).with(0).out;
    for field in [
        "paths: list of path (required)",
        "follow: true or false (default false)",
        "default \"16MiB\"",
    ] {
        assert!(lines.contains(field), "{lines}");
    }
}

#[test]
fn a_new_topology_is_valid_and_runs() {
    let sandbox = Sandbox::new();
    sandbox.run(&["new", "demo"]).with(0);
    sandbox.run(&["validate", "demo.ron"]).with(0);
    sandbox.run(&run("demo.ron", &["spouts.posts.run=Generate(posts: 100)"])).with(0);
    assert_eq!(lake(&sandbox.path("demo-lake"), false).len(), 100);

    sandbox.write("demo.ron", "mine");
    sandbox.run(&["new", "demo"]).with(1).says(&["demo.ron", "--force"]);
    assert_eq!(fs::read_to_string(sandbox.path("demo.ron")).unwrap(), "mine");
    sandbox.run(&["new", "demo", "--force"]).with(0);
    sandbox.run(&["validate", "demo.ron"]).with(0);
}

#[test]
fn there_are_completions_for_five_shells() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.run(&["completions", shell]).with(0).out;
        assert!(script.contains("WATERSPOUT_COMPLETE"), "{shell}: {script}");
    }
    sandbox.run(&["completions", "abacus"]).with(2);
}

#[test]
fn a_file_of_another_format_is_told_by_its_name_and_never_quoted() {
    let sandbox = Sandbox::new();
    for (name, text, format) in [
        ("a.json", "{\"name\": \"secret\"}", "JSON"),
        ("a.yaml", "# secret\nname: secret\n", "YAML"),
        ("a.toml", "[secret]\nname = 1\n", "TOML"),
    ] {
        sandbox.write(name, text);
        let ended = sandbox.run(&["validate", name]).with(3);
        let hint = format!("it looks like {format}, and a topology is written in RON");
        assert!(ended.err.contains(&hint), "{}", ended.err);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
    }
}

#[test]
fn validate_online_looks_at_everything_that_run_needs() {
    let sandbox = Sandbox::new();
    let topology = |path: &str, root: &str| {
        format!(
            r#"Topology(
                name: "t",
                spouts: {{"in": Spout(run: Lines(paths: ["{path}"]))}},
                bolts: {{"lake": Bolt(run: Local(root: "{root}"), inputs: [Shuffle("in")])}},
            )"#
        )
    };
    sandbox.write("in.ndjson", "{\"note\":1}\n");
    sandbox.write("t.ron", topology("in.ndjson", "lake"));
    let ended = sandbox.run(&["validate", "--online", "t.ron"]).with(0);
    for part in ["state: ", "in: 1 path can be read", "lake\" isn't there yet, and can be made"] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    assert!(!sandbox.path("lake").exists() && !sandbox.path("state").exists());

    sandbox.write("t.ron", topology("none.ndjson", "in.ndjson/lake"));
    sandbox.run(&["validate", "t.ron"]).with(0);
    let ended = sandbox.run(&["validate", "--online", "t.ron"]).with(1);
    for part in ["spout \"in\": ", "none.ndjson", "sink \"lake\": ", "in.ndjson\" is no folder"] {
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
}

#[test]
fn validate_online_asks_the_host_of_a_webhook_and_sends_no_event() {
    let sandbox = Sandbox::new();
    let webhook = "Webhook(url: Env(\"ALERT_URL\"))";
    sandbox.write("t.ron", ONE_LAKE.replace("Local(root: \"lake\")", webhook));
    let endpoint = Endpoint::start("{}");
    let (url, origin) = (endpoint.url(), endpoint.origin());
    let validate = ["validate", "--online", "t.ron"];
    let ended = sandbox.run_with(&validate, &[("ALERT_URL", &url)]).with(0);
    let answer = format!("lake: {origin} answers (status 404 to a HEAD request for /); no event");
    assert!(ended.out.contains(&answer), "{}", ended.out);
    assert!(endpoint.requests().is_empty());
    drop(endpoint);
    let gone = sandbox.run_with(&validate, &[("ALERT_URL", &url)]).with(1);
    let answer = format!("sink \"lake\": can't reach {origin} of the webhook: ");
    assert!(gone.err.contains(&answer), "{}", gone.err);
    for said in [ended.out + &ended.err, gone.out + &gone.err] {
        assert!(!said.contains("hidden-path") && !said.contains("hidden-query"), "{said}");
    }
}

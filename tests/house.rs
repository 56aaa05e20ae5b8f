//! The invariants of the house, held against the sources: ARCHITECTURE.md tells what they are for.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

use std::fs;
use std::path::Path;

/// Every line of `src` that is code, not a comment and not for tests only, in a file for which
/// `room` is true, and that names one of `words`, must be one of `exceptions`: a part of the line,
/// its file, and the reason.
#[track_caller]
fn nothing_names(words: &[&str], room: impl Fn(&str) -> bool, exceptions: &[(&str, &str, &str)]) {
    let mut found = Vec::new();
    let mut used = vec![false; exceptions.len()];
    let mut rooms = 0;
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path) && room(path)) {
        rooms += 1;
        for (number, line) in code(&text) {
            let Some(word) = words.iter().find(|word| names(line, word)) else { continue };
            match exceptions.iter().position(|(part, file, _)| path == *file && line.contains(part))
            {
                Some(exception) => used[exception] = true,
                None => found.push(format!("src/{path}:{number}: {word}: {}", line.trim())),
            }
        }
    }
    assert!(rooms > 0, "no file is looked at: has the room moved?");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    let stale: Vec<_> = exceptions.iter().zip(used).filter(|(_, used)| !used).collect();
    assert!(stale.is_empty(), "exceptions that nothing needs: {stale:?}");
}

/// All of `src`: the path below it, and the text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources.sort();
    sources
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// The lines that are code, with their numbers. An item under `#[cfg(test)]` ends, as rustfmt has
/// it, with its first line, or with a brace as far in as it began.
fn code(text: &str) -> Vec<(usize, &str)> {
    let mut lines = text.lines().enumerate();
    let mut code = Vec::new();
    while let Some((index, line)) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let end = line.replace("#[cfg(test)]", "}");
            if lines.next().is_some_and(|(_, first)| !first.ends_with(';')) {
                lines.by_ref().find(|(_, line)| *line == end);
            }
        } else if !line.trim_start().starts_with("//") {
            code.push((index + 1, line));
        }
    }
    code
}

/// Whether `line` has `word` where no longer name begins: `Instant` isn't in `MyInstant`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inside = |c: char| c.is_alphanumeric() || c == '_';
        let begins = !word.starts_with(inside) || !line[..at].ends_with(inside);
        begins && (!word.ends_with(inside) || !line[at + word.len()..].starts_with(inside))
    })
}

fn is_component(path: &str) -> bool {
    ["spout/", "bolt/", "sink/"].iter().any(|room| path.starts_with(room))
}

fn is_pure(path: &str) -> bool {
    let reads = ["topology/include.rs", "topology/env.rs"];
    path == "coordinator/machine.rs" || path.starts_with("topology/") && !reads.contains(&path)
}

/// The floors of the house, from the ground up. A module imports only from floors below its own,
/// and on its own floor from those that stand before it.
const FLOORS: [&[&str]; 15] = [
    // The ground.
    &[
        "clock",
        "units",
        "moment",
        "fault",
        "printable",
        "error",
        "detached",
        "event_time",
        "globs",
        "log_level",
        "panics",
        "progress",
        "secret",
        "net",
    ],
    // What flows.
    &["post", "value", "tuple", "keys", "features"],
    // The contracts, and what tasks and the coordinator tell each other.
    &["epoch", "component", "metrics", "protocol", "dead_letter"],
    // What lies on a disk or in a bucket.
    &["lake", "spool", "checkpoint", "gaps"],
    // The tables of posts in a database.
    &["warehouse"],
    // The data plane.
    &["flow"],
    // The components.
    &["bolt", "sink", "spout", "social", "shell"],
    // WHAT runs.
    &["registry", "topology"],
    // WHEN and HOW.
    &["coordinator", "engine"],
    // The one list of components.
    &["components"],
    // Storm's topologies here, and ours there.
    &["storm"],
    // What any watcher shows.
    &["watch"],
    // Talking to a running topology.
    &["control"],
    // Many topologies in one place.
    &["server"],
    // The outside.
    &["cli"],
];

/// The modules of the crate that a file names, each with the line: by `crate::`, or by as many
/// `super::` as lead there.
fn rooms_named<'t>(path: &str, text: &'t str) -> Vec<(usize, &'t str)> {
    let depth = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
    let to_root = "super::".repeat(depth);
    let mut rooms = Vec::new();
    for (number, line) in code(text) {
        assert!(
            !line.contains("crate::{"),
            "src/{path}:{number}: a use for each room, so that floors can be read"
        );
        for root in ["crate::", to_root.as_str()] {
            for (at, _) in line.match_indices(root) {
                // `my_crate::` is another crate, and more `super::` than that can't be.
                let begins = !line[..at]
                    .ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
                let rest = &line[at + root.len()..];
                let end =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                if begins && end > 0 && rest[..end] != *"super" {
                    rooms.push((number, &rest[..end]));
                }
            }
        }
    }
    rooms
}

#[test]
fn a_module_imports_only_from_the_floors_below_it() {
    let floors = FLOORS.concat();
    let height = |room: &str| floors.iter().position(|known| *known == room);
    let mut found = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let room = path.split('/').next().unwrap().trim_end_matches(".rs");
        if ["lib", "main"].contains(&room) {
            continue;
        }
        let own = height(room)
            .unwrap_or_else(|| panic!("src/{path}: {room} has no floor: give it one in FLOORS"));
        for (number, named) in rooms_named(&path, &text) {
            if named != room && height(named).is_some_and(|other| other > own) {
                found.push(format!(
                    "src/{path}:{number}: {room} imports from {named}, which is above it"
                ));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn an_import_is_found_whichever_way_it_is_written() {
    let named =
        |path, text| rooms_named(path, text).into_iter().map(|(_, room)| room).collect::<Vec<_>>();
    assert_eq!(
        named("a/b.rs", "use crate::error::Error;\nfn f(x: crate::lake::X) {}"),
        ["error", "lake"]
    );
    assert_eq!(named("a/b.rs", "use super::super::cli::X;\nuse super::c::X;"), ["cli"]);
    assert_eq!(named("a/mod.rs", "use super::cli::X;"), ["cli"]);
    assert_eq!(
        named("a.rs", "// crate::cli\n#[cfg(test)]\nmod tests {\n    use crate::cli::X;\n}"),
        [""; 0]
    );
}

#[test]
fn what_decides_does_no_io() {
    let io = [
        "std::fs",
        "fs::",
        "std::io",
        "io::Read",
        "io::Write",
        "std::net",
        "std::process",
        "File::",
        "tokio",
    ];
    nothing_names(&io, is_pure, &[]);
}

#[test]
fn what_decides_reads_no_clock() {
    nothing_names(&["Instant", "SystemTime", "now_utc"], is_pure, &[]);
}

#[test]
fn a_component_names_no_actor_and_no_channel_of_the_engine() {
    nothing_names(&["actix", "crossbeam_channel"], is_component, &[]);
}

#[test]
fn only_what_runs_tasks_and_what_they_tell_each_other_name_actix() {
    let may = ["engine/", "protocol/", "flow/channel.rs", "coordinator/actor.rs"];
    nothing_names(&["actix"], |path| !may.iter().any(|room| path.starts_with(room)), &[]);
}

#[test]
fn only_the_store_on_s3_names_a_client_of_it() {
    let clients = ["object_store", "rusoto", "aws_sdk_s3"];
    nothing_names(&clients, |path| !path.starts_with("lake/store/s3"), &[]);
}

#[test]
fn the_network_is_named_in_its_rooms_only() {
    let network = ["reqwest", "rustls", "tungstenite", "TcpStream"];
    let may = |path: &str| {
        path.starts_with("lake/store/s3")
            || path.starts_with("social/ws")
            || path.starts_with("net/http")
            || path.starts_with("sink/socket")
            || path == "warehouse/tls.rs"
            || path == "server/tls.rs"
    };
    nothing_names(&network, |path| !may(path), &[]);
}

#[test]
fn only_the_clock_asks_for_the_time() {
    nothing_names(
        &["Instant::now", "SystemTime::now", "now_utc", "now_local"],
        |path| path != "clock.rs",
        &[],
    );
}

#[test]
fn posts_know_nothing_of_what_is_built_on_them() {
    let rooms = [
        "bolt", "engine", "lake", "registry", "sink", "social", "spout", "topology", "tuple",
        "value",
    ];
    let above = rooms.map(|room| format!("crate::{room}"));
    nothing_names(&above.each_ref().map(|room| &**room), |path| path.starts_with("post/"), &[]);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    nothing_names(&[".unwrap()"], |_| true, &[]);
}

#[test]
fn nothing_is_left_for_later() {
    nothing_names(&["todo!", "unimplemented!", "dbg!"], |_| true, &[]);
}

#[test]
fn every_file_can_be_read_in_one_go() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines >= 600)
        .collect();
    assert!(long.is_empty(), "600 lines or more: {long:?}");
}

#[test]
fn code_for_tests_is_told_from_the_rest() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n    #[cfg(test)]\n    fn c() {\n        d;\n    }\n// e\nf\n\
                #[cfg(test)]\nmod tests {\n    g;\n}\nh";
    assert_eq!(code(text), [(1, "a"), (4, "b"), (10, "f"), (15, "h")]);
}

#[test]
fn text_leaves_the_command_line_in_two_places_only() {
    let ways = [
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "io::stdout",
        "io::stderr",
        "stdout()",
        "stderr()",
    ];
    let places = ["cli/stdout.rs", "cli/stderr.rs"];
    let data = ("io::stdout()", "sink/stdout.rs", "posts go out byte for byte");
    let to_storm = ("io::stdout()", "storm/component.rs", "what a component says to Storm is data");
    let seed = ("eprintln!(", "coordinator/simulation/mod.rs", "for tests only");
    nothing_names(&ways, |path| !places.contains(&path), &[data, to_storm, seed]);
}

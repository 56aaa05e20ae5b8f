//! What `packaging/` has: the unit of systemd, the container file, and the scripts.

use std::path::Path;
use std::process::Command;

use super::*;

fn packaging(name: &str) -> String {
    fs::read_to_string(repository(&format!("packaging/{name}"))).unwrap()
}

/// The words behind `waterspout` on the line of a command.
fn arguments(text: &str, begins: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(begins)).unwrap();
    let words = shlex::split(line).unwrap();
    words.into_iter().skip_while(|word| !word.ends_with("waterspout")).skip(1).collect()
}

/// Checks that the program knows a command line: `--help` behind it is reached only then.
fn is_known(mut words: Vec<String>) {
    words.push("--help".into());
    Sandbox::new().run(&words).with(0);
}

#[test]
fn the_commands_of_the_unit_and_of_the_container_are_known() {
    is_known(arguments(&packaging("waterspout.service"), "ExecStart="));
    let lists = packaging("Containerfile");
    for name in ["ENTRYPOINT", "HEALTHCHECK CMD"] {
        let line = lists.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let words: Vec<String> = serde_json::from_str(line).unwrap();
        let words = words.into_iter().skip_while(|word| word != "waterspout").skip(1);
        is_known(words.collect());
    }
}

/// systemd's own check, where it is installed. The program's path is one that exists here.
#[test]
fn the_unit_has_no_mistake_that_systemd_finds() {
    let sandbox = Sandbox::new();
    let unit = packaging("waterspout.service");
    let here = unit.replace("/usr/local/bin/waterspout", env!("CARGO_BIN_EXE_waterspout"));
    assert_ne!(unit, here);
    sandbox.write("waterspout.service", here);
    let file = sandbox.path("waterspout.service");
    match Command::new("systemd-analyze").arg("verify").arg(file).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("waterspout"), "{said}");
        }
        Err(error) => eprintln!("systemd-analyze isn't installed, the unit isn't checked: {error}"),
    }
}

/// The files that the sources include are copied before the container's build, and nothing that
/// doesn't exist.
#[test]
fn the_container_has_every_file_that_the_build_needs() {
    let text = packaging("Containerfile");
    let mut copied = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        copied.extend(words[..words.len() - 1].iter().map(|word| (*word).to_owned()));
    }
    for path in &copied {
        assert!(Path::new(&repository(path)).exists(), "{path}");
    }
    for needed in ["Cargo.toml", "Cargo.lock", "build.rs", "src", "topologies", "benches"] {
        assert!(copied.iter().any(|path| path == needed), "{needed} isn't copied");
    }
}

#[test]
fn the_scripts_are_right_for_bash_and_say_what_they_miss() {
    for script in ["build-static", "build-deb"] {
        let path = repository(&format!("packaging/{script}"));
        assert!(Command::new("bash").args(["-n", &path]).status().unwrap().success(), "{script}");
    }
    let output =
        Command::new(repository("packaging/build-deb")).arg("/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("\"/nonexistent\" isn't there: build it with packaging/build-static"),
        "{said}"
    );
}

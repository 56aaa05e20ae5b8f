//! The book (`docs/`) and the README: every command in them is run, and prints what they show.
//!
//! Each page runs from top to bottom in a sandbox of its own, with the repository's `topologies`
//! and `examples` and an empty folder for states. The words behind the three backticks of a block
//! say what it is:
//!
//! | block | is |
//! |---|---|
//! | `console` | commands, each behind `$ `; the lines below one are parts of its output, with `…` for any text |
//! | `console exit=4` | the same, where the last command ends with this exit code |
//! | `console needs=jq` | run only where this program is on the path |
//! | `console needs=KEY`, `needs=+build` | not run: the commands' options are checked, and their topology files |
//! | `ron file=NAME` | a topology file, written to the sandbox and checked |
//! | `ron spouts`, `ron bolts` | entries of a topology, checked within a topology around them |
//! | `ron part` | entries that need a program, not checked |
//!
//! A command that ends with ` &` is left running until a later command stops it.
//!
//! The README runs twice, in terminals of 80 and of 200 columns; the chapters are piped.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use super::*;
use crate::support::{Ended, Running};

/// Where the chapters are.
const CHAPTERS: &str = "docs/src";

/// How many pages run side by side: most of them wait for the clock of a topology.
const PAGES_AT_ONCE: usize = 4;

/// Files that a page may name, copied into its sandbox.
const COPIED: [&str; 3] = ["topologies", "topologies/parts", "examples"];

/// The exit code of a program in a shell whose reader (`| head`) has seen enough.
const READER_LEFT: i32 = 128 + 13;

#[test]
fn every_command_of_the_book_and_the_readme_runs() {
    let mut pages: Vec<_> = chapters().into_iter().map(|page| (page, None)).collect();
    pages.extend([80, 200].map(Some).map(|columns| ("README.md".to_owned(), columns)));
    let (pages, problems) = (Mutex::new(pages), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..PAGES_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((page, columns)) = pages.lock().unwrap().pop() else { return };
                    let found = Page::new(&page, columns).check();
                    problems.lock().unwrap().extend(found);
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_summary_of_the_book_names_each_chapter() {
    let summary = fs::read_to_string(repository(&format!("{CHAPTERS}/SUMMARY.md"))).unwrap();
    for chapter in chapters() {
        let name = chapter.rsplit('/').next().unwrap();
        assert!(name == "SUMMARY.md" || summary.contains(&format!("({name})")), "{name}");
    }
}

#[test]
fn links_of_the_book_and_the_readme_lead_somewhere() {
    let mut dead = Vec::new();
    for page in chapters().into_iter().chain(["README.md".to_owned()]) {
        let text = fs::read_to_string(repository(&page)).unwrap();
        let folder = Path::new(&page).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            if path.contains("://") {
                continue;
            }
            let target = if path.is_empty() { page.clone().into() } else { folder.join(path) };
            let target = PathBuf::from(repository(&target.to_string_lossy()));
            let is_there = target.exists()
                && (anchor.is_empty() || anchors(&target).iter().any(|found| found == anchor));
            if !is_there {
                dead.push(format!("{page}: {link}"));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}", dead.join("\n"));
}

/// Each heading of the troubleshooting chapter is a message as the sources have it.
#[test]
fn the_book_explains_messages_that_exist() {
    let sources = sources();
    let chapter =
        fs::read_to_string(repository(&format!("{CHAPTERS}/troubleshooting.md"))).unwrap();
    let mut unknown = Vec::new();
    for heading in chapter.lines().filter_map(|line| line.strip_prefix("### ")) {
        for part in heading.trim_matches(['`', ' ']).split('…').map(str::trim) {
            if !sources.contains(part) {
                unknown.push(part.to_owned());
            }
        }
    }
    assert!(unknown.is_empty(), "no source says:\n{}", unknown.join("\n"));
}

fn chapters() -> Vec<String> {
    let entries = fs::read_dir(repository(CHAPTERS)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut chapters: Vec<_> = names.map(|name| format!("{CHAPTERS}/{name}")).collect();
    chapters.sort_unstable();
    chapters
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|heading| {
            let title = heading.trim_start_matches('#').trim().to_lowercase();
            let kept =
                title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// All of `src`, with the texts in it as they are printed: on one line, with plain quotes.
fn sources() -> String {
    let mut folders = vec![PathBuf::from(repository("src"))];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let mut parts = text.split("\\\n");
                all += parts.next().unwrap();
                for part in parts {
                    all += part.trim_start();
                }
            }
        }
    }
    all.replace("\\\"", "\"")
}

/// A block between two lines of three backticks.
struct Block {
    /// The words behind the first three backticks.
    words: Vec<String>,
    /// The number of its first line.
    line: usize,
    lines: Vec<String>,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.words.iter().any(|found| found == word)
    }

    fn option(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// The commands, each with the lines that it prints.
    fn commands(&self) -> Vec<(&str, Vec<&str>)> {
        let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in self.lines.iter().filter(|line| !line.trim().is_empty()) {
            match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command, Vec::new())),
                (None, Some((_, printed))) => printed.push(line),
                (None, None) => panic!("line {}: output before the first command", self.line),
            }
        }
        commands
    }

    /// A topology file: the block, or one around it.
    fn topology(&self) -> String {
        let text = self.lines.join("\n");
        if self.is("spouts") {
            let id = text.split('"').nth(1).unwrap();
            format!(
                r#"Topology(name: "book", spouts: {{ {text} }}, bolts: {{
                    "all": Bolt(run: Null(), inputs: [Shuffle("{id}")]),
                }})"#
            )
        } else if self.is("bolts") {
            format!(
                r#"Topology(name: "book", spouts: {{"posts": Spout(run: Generate(posts: 1))}}, bolts: {{
                    "features": Bolt(run: Features(), inputs: [Shuffle("posts")]),
                    "words": Bolt(run: Words(field: "text"), inputs: [Shuffle("posts")]),
                    "count": Bolt(run: Count(fields: ["word"]), inputs: [Shuffle("words")]),
                    "rest": Bolt(run: Null(), inputs: [Shuffle("features"), Shuffle("count")]),
                    {text}
                }})"#
            )
        } else {
            text
        }
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block>);
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(words), None) => {
                let words = words.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { words, line: index + 1, lines: Vec::new() });
            }
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line.to_owned());
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    blocks
}

/// A page, and the sandbox in which it runs.
struct Page {
    name: String,
    /// The width of the terminal in which its commands run; piped without one.
    columns: Option<usize>,
    sandbox: Sandbox,
    /// Commands that were left running, and are read to their end.
    running: Vec<JoinHandle<Ended>>,
    problems: Vec<String>,
}

impl Page {
    fn new(name: &str, columns: Option<usize>) -> Self {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("bin")).unwrap();
        let binary = env!("CARGO_BIN_EXE_waterspout");
        std::os::unix::fs::symlink(binary, sandbox.path("bin/waterspout")).unwrap();
        for folder in COPIED {
            fs::create_dir(sandbox.path(folder)).unwrap();
            for entry in fs::read_dir(repository(folder)).unwrap() {
                let file = entry.unwrap().path();
                if file.is_file() {
                    let copy = sandbox.path(folder).join(file.file_name().unwrap());
                    fs::copy(&file, copy).unwrap();
                }
            }
        }
        let (running, problems) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), columns, sandbox, running, problems }
    }

    /// Runs all of it, and returns what isn't true.
    fn check(mut self) -> Vec<String> {
        let text = fs::read_to_string(repository(&self.name)).unwrap();
        for block in blocks(&text) {
            match block.words.first().map(String::as_str) {
                Some("ron") if !block.is("part") => self.check_topology(&block),
                Some("console") => self.check_commands(&block),
                _ => {}
            }
        }
        for running in self.running {
            let ended = running.join().unwrap();
            if ended.code != Some(0) {
                self.problems.push(format!("{}: {}", self.name, ended.err));
            }
        }
        self.problems
    }

    fn problem(&mut self, block: &Block, what: String) {
        let columns = self.columns.map(|columns| format!(" in {columns} columns"));
        let columns = columns.unwrap_or_default();
        self.problems.push(format!("{}:{}{columns}: {what}", self.name, block.line));
    }

    fn check_topology(&mut self, block: &Block) {
        let file = block.option("file").unwrap_or("block.ron");
        self.sandbox.write(file, block.topology());
        let ended = self.sandbox.run(&["validate", file]);
        if ended.code != Some(0) {
            self.problem(block, ended.err);
        }
    }

    fn check_commands(&mut self, block: &Block) {
        let is_run = block.option("needs").is_none_or(is_installed);
        let commands = block.commands();
        let last = commands.len() - 1;
        for (index, (command, printed)) in commands.into_iter().enumerate() {
            if !is_run {
                self.check_options(block, command);
                continue;
            }
            if let Some(left) = command.strip_suffix(" &") {
                self.start(left);
                continue;
            }
            let code = block.option("exit").filter(|_| index == last).unwrap_or("0");
            let ended = self.shell(command).end();
            for line in too_wide(&ended, self.columns) {
                self.problem(block, format!("`{command}` draws a line that is too wide: {line:?}"));
            }
            let is_cut = ended.code == Some(READER_LEFT) && code == "0";
            if ended.code != Some(code.parse().unwrap()) && !is_cut {
                let what = format!("`{command}` ended with {:?}, not {code}", ended.code);
                self.problem(block, format!("{what}:\n{}{}", ended.out, ended.err));
            }
            for line in printed {
                if !prints(&ended, line) {
                    let what = format!("`{command}` doesn't print {line:?}");
                    self.problem(block, format!("{what}, but:\n{}{}", ended.out, ended.err));
                }
            }
        }
    }

    /// A command in a shell that finds the program.
    fn shell(&self, command: &str) -> Running {
        let path = env::var("PATH").unwrap();
        let mut shell = match self.columns {
            Some(columns) => {
                let mut terminal = Command::new("python3");
                terminal.arg(repository("tests/support/terminal.py")).arg(columns.to_string());
                terminal.arg("bash");
                terminal
            }
            None => Command::new("bash"),
        };
        shell.args(["-o", "pipefail", "-c", command]).env("TERM", "xterm-256color");
        shell.env("PATH", format!("{}:{path}", self.sandbox.path("bin").display()));
        self.sandbox.start_program(shell, command)
    }

    /// Starts a topology, and waits until it can be asked.
    fn start(&mut self, command: &str) {
        let words = shlex::split(command).unwrap();
        let mut running = self.sandbox.start(&words[1..]);
        running.wait_for("it ran", |report| report["epoch"].as_u64() > Some(0));
        self.running.push(thread::spawn(|| running.end()));
    }

    /// Checks the options of a command that can't be run here: `--help` behind them is reached only
    /// if each is known. Its topology files have to be right, too.
    fn check_options(&mut self, block: &Block, command: &str) {
        let Some((_, arguments)) = command.split_once("waterspout ") else { return };
        let arguments = arguments.split(['|', '>', '<', '&']).next().unwrap();
        let Some(words) = shlex::split(arguments) else {
            return self.problem(block, format!("can't split `{command}` into words"));
        };
        let mut asked: Vec<_> = words.iter().map(String::as_str).collect();
        asked.push("--help");
        let ended = self.sandbox.run(&asked);
        if ended.code != Some(0) {
            self.problem(block, format!("`{command}`: {}", ended.err));
        }
        for file in words.iter().filter(|word| word.ends_with(".ron")) {
            let ended = self.sandbox.run(&["validate", file]);
            if self.sandbox.path(file).exists() && ended.code != Some(0) {
                self.problem(block, format!("`{command}`: {}", ended.err));
            }
        }
    }
}

/// The lines of the live table, in which the first names the columns, that don't fit a terminal.
fn too_wide(ended: &Ended, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return Vec::new() };
    let mut wide = Vec::new();
    let mut is_table = false;
    for raw in ended.out.lines() {
        // What stands behind a table that was erased is a message, or the title of the next table.
        let (is_erased, line) = (raw.contains("\u{1b}[J"), without_controls(raw));
        let goes_on = is_table && !is_erased && !line.starts_with("finished ");
        is_table = line.starts_with("component ") || goes_on;
        if is_table && line.chars().count() > columns {
            wide.push(line);
        }
    }
    wide
}

/// A line without the control sequences of a terminal.
fn without_controls(line: &str) -> String {
    let mut parts = line.trim_end_matches('\r').split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).map_or(part.len(), |end| end + 1);
        text += &part[end..];
    }
    text
}

/// True if a program of this name is on the path. Keys, in capitals, are on none.
fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// True if a line of its output has these parts in this order.
fn prints(ended: &Ended, expected: &str) -> bool {
    // A message within a line of JSON has its quotes escaped.
    let expected = expected.replace("\\\"", "\"");
    let printed = format!("{}{}", ended.out, ended.err).replace("\\\"", "\"");
    let has_parts = |line: &str| {
        let mut rest = line;
        for part in expected.split('…') {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        true
    };
    printed.lines().any(has_parts)
}

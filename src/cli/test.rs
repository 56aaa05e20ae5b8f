//! `test FILE…`: runs the tests that stand in topology files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::exit::{Code, Failure, Outcome};
use super::load::{self, Sets};
use super::stdout;
use crate::clock::SystemClock;
use crate::component::Role;
use crate::engine::test_run::{Difference, DifferenceKind, TestOptions, run_test};
use crate::error::Error;
use crate::printable::printable_line;
use crate::registry::Registry;
use crate::topology::{self, LoadOptions, TestCase, Topology};
use crate::units::Interval;

/// The longest time that a test may take unless an option says otherwise.
const TIMEOUT_DEFAULT: &str = "60s";

/// The most characters of a row that are shown; `--json` has all of them.
const ROW_CHARS_MAX: usize = 400;

/// Run the tests that stand in topology files under `tests:`
///
/// A test says which posts go in and which rows come out of which components. The real bolts run in
/// the real engine; spouts send the test's posts, sinks keep what they get, and nothing is written.
/// The clock is the test's own. Neither secrets nor servers are needed. Ends with 4 if a test fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A test in a topology file:

    tests: {
        \"a word that comes twice is counted twice\": Test(
            input: {\"posts\": [{\"tweet\": {\"text\": \"storm over storm\"}}]},
            expect: {
                \"count\": AtLeast([{\"word\": \"storm\", \"count\": 2}]),
                \"print\": Count(3),
            },
        ),
    },

input         by spout (\"id\" or \"id:stream\") a list of posts: as above, as JSON in quotes,
              Post(post: …, topics: [\"…\"]), or File(\"posts.ndjson\"), relative to this file.
              Between them Clock(\"2015-12-18T00:05:00Z\") or Clock(\"+5m\") moves the clock: no
              older post comes, so windows that end before it close.
expect        by bolt or spout (\"id\" or \"id:stream\") what it emits, by sink what it gets.
              […] in any order, Ordered([…]), AtLeast([…]) or Count(3). A row names the fields
              that matter; a value may be Any, Contains(\"text\") or Between(1, 2).
clock         the time at which the test begins, 2000-01-01T00:00:00Z unless given
ends          false if the sources don't end behind the last post, so that windows stay open
dead_letters  rows such as {\"component\": \"tags\", \"error\": Contains(\"…\")}. Without this field
              any dead letter is a failure.
env           {\"NAME\": \"value\"} for what bolts name by Env")]
pub(crate) struct Args {
    /// The topology files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only tests with this text in their names (repeatable)
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// List the tests instead of running them
    #[arg(long)]
    list: bool,
    /// Give bolts and sinks as many tasks as their parallelism_hint says, instead of one; rows of
    /// `Ordered([…])` may then come in another order
    #[arg(long)]
    with_parallelism: bool,
    /// The longest time that one test may take
    #[arg(long, value_name = "TIME", default_value = TIMEOUT_DEFAULT)]
    timeout: Interval,
    /// Print a JSON object for each test, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sets: Sets,
}

/// The tests of one file that are to be run.
struct FileTests<'a> {
    file: &'a Path,
    topology: Topology,
    cases: Vec<TestCase>,
}

/// The result of one test.
struct TestResult {
    took: Duration,
    differences: Vec<Difference>,
}

/// Runs the tests of every file, also behind one that is wrong; the exit code is that of the first
/// failure.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let mut first_failure = None;
    let mut files = Vec::new();
    for file in &args.files {
        match load::load_with_tests(file, registry, &args.sets) {
            Ok(topology) => files.push(selected(args, file, topology)),
            Err(failure) => {
                first_failure.get_or_insert(failure.print());
            }
        }
    }
    check_filter(args, &files)?;
    if args.list {
        list(args, &files)?;
        return Ok(first_failure.unwrap_or(Code::Success));
    }
    let (mut passed, mut failed) = (0, 0);
    for tests in &files {
        if !args.json {
            let file = tests.file.to_string_lossy();
            let count = tests_in_words(tests.cases.len());
            stdout::print(&format!("{}: {count}\n", printable_line(&file)))?;
        }
        for case in &tests.cases {
            let result = run_case(args, registry, tests, case)?;
            if result.differences.is_empty() {
                passed += 1
            } else {
                failed += 1
            }
            let text =
                if args.json { result_json(case, &result) } else { result_text(case, &result) };
            stdout::print(&text)?;
        }
    }
    if !args.json && !files.is_empty() {
        stdout::print(&format!("{passed} passed, {failed} failed\n"))?;
    }
    let findings = (failed > 0).then_some(Code::Findings);
    Ok(first_failure.or(findings).unwrap_or(Code::Success))
}

fn selected<'a>(args: &Args, file: &'a Path, topology: Topology) -> FileTests<'a> {
    let mut cases = topology.tests.clone();
    if !args.filter.is_empty() {
        cases.retain(|case| args.filter.iter().any(|part| case.name.contains(part.as_str())));
    }
    FileTests { file, topology, cases }
}

/// A filter that no test has in its name is a mistake.
fn check_filter(args: &Args, files: &[FileTests<'_>]) -> Result<(), Failure> {
    let mut names = files.iter().flat_map(|tests| &tests.topology.tests).peekable();
    if args.filter.is_empty() || files.is_empty() {
        return Ok(());
    }
    if names.peek().is_none() {
        return Err(Failure::new(Code::Usage, "--filter: there are no tests"));
    }
    let names: Vec<_> = names.map(|case| case.name.as_str()).collect();
    for part in &args.filter {
        if !names.iter().any(|name| name.contains(part.as_str())) {
            const NAMES_MAX: usize = 10;
            let mut known: Vec<_> =
                names.iter().take(NAMES_MAX).map(|name| format!("\"{name}\"")).collect();
            if names.len() > NAMES_MAX {
                known.push("…".into());
            }
            let known = known.join(", ");
            let what =
                format!("--filter: no test has \"{part}\" in its name, but there are {known}");
            return Err(Failure::new(Code::Usage, what));
        }
    }
    Ok(())
}

fn list(args: &Args, files: &[FileTests<'_>]) -> Outcome {
    for case in files.iter().flat_map(|tests| &tests.cases) {
        let line = if args.json {
            let (place, name) = (&case.place, &case.name);
            let (file, line, column) = (&place.file, place.line, place.column);
            json!({ "file": file, "line": line, "column": column, "name": name }).to_string()
        } else {
            let place = case.place.to_string();
            format!("{}: {}", printable_line(&place), printable_line(&case.name))
        };
        stdout::print(&format!("{line}\n"))?;
    }
    Ok(Code::Success)
}

fn run_case(
    args: &Args,
    registry: &Registry,
    tests: &FileTests<'_>,
    case: &TestCase,
) -> Result<TestResult, Failure> {
    let clock = SystemClock::shared();
    let begun = clock.monotonic();
    let options = TestOptions { timeout: args.timeout.0, keeps_parallelism: args.with_parallelism };
    let differences = match load_for_test(args, registry, tests, case) {
        Ok(topology) => {
            run_test(&topology, case, options).unwrap_or_else(|error| vec![broken(case, &error)])
        }
        Err(problems) => vec![Difference::of_run(case.place.clone(), problems)],
    };
    Ok(TestResult { took: clock.monotonic().saturating_sub(begun), differences })
}

fn broken(case: &TestCase, error: &Error) -> Difference {
    Difference::of_run(case.place.clone(), error.chain())
}

/// The topology with what its bolts name by `Env` and `File`. Spouts and sinks are replaced, so what
/// they name may be missing, and so may what the engine's own fields name.
fn load_for_test(
    args: &Args,
    registry: &Registry,
    tests: &FileTests<'_>,
    case: &TestCase,
) -> Result<Topology, String> {
    let replaced = tests.topology.components.iter().filter(|spec| spec.role != Role::Bolt);
    let options = LoadOptions {
        sets: args.sets.sets.clone(),
        online: true,
        spared: replaced.map(|spec| spec.id.clone()).collect(),
        spares_settings: true,
        reads_tests: true,
        env: case.env.clone(),
        guard: None,
    };
    topology::load(tests.file, registry, &options).map_err(|problems| {
        let all: Vec<_> = problems.0.iter().map(|problem| problem.to_string()).collect();
        all.join("\n")
    })
}

fn tests_in_words(count: usize) -> String {
    match count {
        0 => "no tests".into(),
        1 => "1 test".into(),
        count => format!("{count} tests"),
    }
}

fn result_text(case: &TestCase, result: &TestResult) -> String {
    let name = printable_line(&case.name).into_owned();
    let seconds = result.took.as_secs_f64();
    if result.differences.is_empty() {
        return format!("  ok      {name} ({seconds:.2} s)\n");
    }
    let mut text = format!("  FAILED  {name} ({seconds:.2} s)\n");
    for difference in &result.differences {
        text.push_str(&difference_text(difference));
    }
    text
}

/// The place, what differs, and the two rows below each other.
fn difference_text(difference: &Difference) -> String {
    let of = match difference.of.as_str() {
        "" => String::new(),
        of => format!("{of}: "),
    };
    let place = difference.place.to_string();
    let mut text = format!("    {}: {of}", printable_line(&place));
    for (number, line) in difference.what.lines().enumerate() {
        let indent = if number > 0 { "      " } else { "" };
        text.push_str(&format!("{indent}{}\n", printable_line(line)));
    }
    let rows = [("expected", &difference.expected), ("found", &difference.found)];
    for (label, row) in rows {
        if let Some(row) = row {
            text.push_str(&format!("      {label:8} {}\n", printable_line(&cut(row))));
        }
    }
    for field in &difference.fields {
        let found = field.found.as_deref().map_or("nothing".to_owned(), cut);
        let line = format!("{}: expected {}, found {found}", field.path, cut(&field.expected));
        text.push_str(&format!("      - {}\n", printable_line(&line)));
    }
    text
}

fn cut(text: &str) -> String {
    if text.chars().count() <= ROW_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(ROW_CHARS_MAX).chain(['…']).collect()
}

fn result_json(case: &TestCase, result: &TestResult) -> String {
    let differences: Vec<_> = result.differences.iter().map(difference_json).collect();
    let place = &case.place;
    let line = json!({
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "name": case.name,
        "passed": result.differences.is_empty(),
        "seconds": result.took.as_secs_f64(),
        "differences": differences,
    });
    format!("{line}\n")
}

fn difference_json(difference: &Difference) -> serde_json::Value {
    let kind = match difference.kind {
        DifferenceKind::Missing => "missing",
        DifferenceKind::Unexpected => "unexpected",
        DifferenceKind::Count => "count",
        DifferenceKind::Run => "run",
    };
    let mut fields = Vec::new();
    for field in &difference.fields {
        let (path, expected, found) = (&field.path, &field.expected, &field.found);
        fields.push(json!({ "path": path, "expected": expected, "found": found }));
    }
    json!({
        "file": difference.place.file,
        "line": difference.place.line,
        "column": difference.place.column,
        "kind": kind,
        "of": difference.of,
        "what": difference.what,
        "expected": difference.expected,
        "found": difference.found,
        "fields": fields,
    })
}

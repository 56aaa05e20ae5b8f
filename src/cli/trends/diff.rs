//! `trends diff A B`: the trends of two runs beside each other.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use super::super::exit::{Code, Failure, Outcome};
use super::super::stdout;
use crate::bolt::trends::comparison::{RunTrends, TrendFate, TrendPair, WholeTrend, compare};
use crate::post::fields::date;
use crate::printable::printable_line;
use crate::units::Interval;

/// The sections of the text, in order.
const SECTIONS: [(TrendFate, &str); 3] = [
    (TrendFate::OnlyInA, "only in A"),
    (TrendFate::OnlyInB, "only in B"),
    (TrendFate::Changed, "in both, and different"),
];

/// Compare the trends of two runs
///
/// A and B have a line of JSON for each row, as a topology with Trends and Stdout prints them when it is
/// piped. Trends of one key whose times overlap are the same trend. The exit code is that of diff:
/// 0 if all rows are equal, 1 if they differ, 2 if a file can't be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  waterspout run trends.ron --replay 'lake/2*' > a.ndjson
  waterspout run trends.ron --replay 'lake/2*' --set bolts.trends.run.enter=8 > b.ndjson
  waterspout trends diff a.ndjson b.ndjson")]
pub(crate) struct Args {
    /// The rows of one run; - for standard input
    a: PathBuf,
    /// The rows of the other run; - for standard input
    b: PathBuf,
    /// One line of JSON for each trend, also for those that are the same
    #[arg(long)]
    json: bool,
}

/// Compares the two files.
pub(crate) fn run(args: &Args) -> Outcome {
    let is_stdin = |path: &Path| path.as_os_str() == "-";
    if is_stdin(&args.a) && is_stdin(&args.b) {
        let what = "A and B can't both be standard input: name a file for one of them";
        return Err(Failure::new(Code::Usage, what));
    }
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let head = [head("A", &args.a, &a), head("B", &args.b, &b)].concat();
    let pairs = compare(a, b);
    let printed = stdout::print(&if args.json { json(&pairs) } else { head + &text(&pairs) })?;
    let is_equal = pairs.iter().all(|pair| pair.fate == TrendFate::Same);
    // The code of `diff` for files that differ.
    Ok(if is_equal { printed } else { Code::Runtime })
}

fn read(path: &Path) -> Result<RunTrends, Failure> {
    let name = path.to_string_lossy();
    let trouble = |what: String| Failure::new(Code::Usage, what);
    let file: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(stdin())
    } else {
        let opened = File::open(path);
        Box::new(opened.map_err(|cause| trouble(format!("can't open \"{name}\": {cause}")))?)
    };
    RunTrends::read(&name, BufReader::new(file)).map_err(|error| trouble(error.chain()))
}

fn head(letter: &str, path: &Path, run: &RunTrends) -> String {
    let (trends, rows) = run.counts();
    let name = path.to_string_lossy();
    format!(
        "{letter}  {}  {}, {}\n",
        printable_line(&name),
        counted(trends, "trend"),
        counted(rows, "row")
    )
}

/// `1 row`, `2 rows`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn text(pairs: &[TrendPair]) -> String {
    let mut text = String::new();
    // Writing into a text can't fail.
    for (fate, title) in SECTIONS {
        let of_fate: Vec<&TrendPair> = pairs.iter().filter(|pair| pair.fate == fate).collect();
        let _ = writeln!(text, "\n{title}: {}", counted(of_fate.len(), "trend"));
        let width = of_fate.iter().map(|pair| name(pair).chars().count()).max().unwrap_or(0);
        for pair in of_fate {
            let name = name(pair);
            for (number, line) in lines(pair).into_iter().enumerate() {
                let name = if number == 0 { name.as_str() } else { "" };
                let _ = writeln!(text, "  {name:width$}  {line}");
            }
        }
    }
    let same = pairs.iter().filter(|pair| pair.fate == TrendFate::Same).count();
    let _ = writeln!(text, "\nin both, and equal: {}", counted(same, "trend"));
    text
}

fn name(pair: &TrendPair) -> String {
    printable_line(&format!("{} {}", pair.key.key_type, pair.key.key)).into_owned()
}

/// The lines about a trend: one of it as a whole, or one for each thing that has moved.
fn lines(pair: &TrendPair) -> Vec<String> {
    match (&pair.a, &pair.b) {
        (Some(a), Some(b)) => moved(a, b, pair),
        (Some(one), None) | (None, Some(one)) => vec![format!(
            "{} to {}, {}, peak {} at {}, score {}",
            time(&one.start),
            time(&one.last),
            counted(one.buckets, "row"),
            one.peak_count,
            time(&one.peak),
            one.score
        )],
        (None, None) => Vec::new(),
    }
}

fn moved(a: &WholeTrend, b: &WholeTrend, pair: &TrendPair) -> Vec<String> {
    let mut lines = Vec::new();
    for (what, a, b) in
        [("start", &a.start, &b.start), ("last ", &a.last, &b.last), ("peak ", &a.peak, &b.peak)]
    {
        if a != b {
            lines.push(format!("{what}  {} → {}{}", time(a), time(b), later(a, b)));
        }
    }
    if a.peak_count != b.peak_count {
        lines.push(format!("count  {} → {} at the peak", a.peak_count, b.peak_count));
    }
    if a.score.to_bits() != b.score.to_bits() {
        lines.push(format!("score  {} → {}", a.score, b.score));
    }
    let changed = pair.fields_changed();
    if lines.is_empty() || a.buckets != b.buckets {
        lines.push(format!("rows   {} → {}", a.buckets, b.buckets));
    }
    if lines.len() == 1 && a.buckets == b.buckets && !changed.is_empty() {
        lines = vec![format!(
            "rows   differ in {}",
            changed.into_iter().collect::<Vec<_>>().join(", ")
        )];
    }
    lines
}

/// A time without the part that is 0 in nearly all of them.
fn time(text: &str) -> String {
    printable_line(&text.replace(".000000Z", "Z")).into_owned()
}

/// `, 2m later`; nothing if one of them is no time.
fn later(a: &str, b: &str) -> String {
    let (Some(a), Some(b)) = (date(a), date(b)) else { return String::new() };
    let apart = Interval((b - a).unsigned_abs());
    format!(", {apart} {}", if b > a { "later" } else { "earlier" })
}

fn json(pairs: &[TrendPair]) -> String {
    let lines = pairs.iter().filter_map(|pair| serde_json::to_string(pair).ok());
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn row(key: &str, minute: u32, start: u32, count: u64, authors: u64) -> String {
        let time = |minute: u32| format!("2015-12-18T00:{minute:02}:00.000000Z");
        let [bucket, start] = [minute, start].map(time);
        format!(
            "{{\"key_type\":\"hashtag\",\"key\":\"{key}\",\"bucket_start\":\"{bucket}\",\
             \"started_at\":\"{start}\",\"peak_at\":\"{bucket}\",\"count\":{count},\
             \"score\":{count}.25,\"authors\":{authors}}}\n"
        )
    }

    fn run(rows: &[String]) -> RunTrends {
        RunTrends::read("x", rows.concat().as_bytes()).unwrap()
    }

    #[test]
    fn the_text_says_what_has_moved() {
        let a = [
            row("#storm", 3, 3, 20, 9),
            row("#storm", 4, 3, 50, 9),
            row("#rain", 1, 1, 12, 9),
            row("#hail", 1, 1, 12, 9),
            row("#wind", 1, 1, 12, 9),
        ];
        let b = [
            row("#storm", 4, 4, 50, 9),
            row("#storm", 5, 4, 60, 9),
            row("#hail", 1, 1, 12, 8),
            row("#wind", 1, 1, 12, 9),
            row("#s\\u001b", 7, 7, 12, 9),
        ];
        let pairs = compare(run(&a), run(&b));
        expect![[r#"

            only in A: 1 trend
              hashtag #rain  2015-12-18T00:01:00Z to 2015-12-18T00:01:00Z, 1 row, peak 12 at 2015-12-18T00:01:00Z, score 12.25

            only in B: 1 trend
              hashtag #s\u001b  2015-12-18T00:07:00Z to 2015-12-18T00:07:00Z, 1 row, peak 12 at 2015-12-18T00:07:00Z, score 12.25

            in both, and different: 2 trends
              hashtag #hail   rows   differ in authors
              hashtag #storm  start  2015-12-18T00:03:00Z → 2015-12-18T00:04:00Z, 1m later
                              last   2015-12-18T00:04:00Z → 2015-12-18T00:05:00Z, 1m later
                              peak   2015-12-18T00:04:00Z → 2015-12-18T00:05:00Z, 1m later
                              count  50 → 60 at the peak
                              score  50.25 → 60.25

            in both, and equal: 1 trend
        "#]]
        .assert_eq(&text(&pairs));
        let json = json(&pairs);
        assert_eq!(json.lines().count(), 5);
        let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["fate"], "changed");
        assert_eq!(first["a"]["buckets"], 1);
    }
}

//! A report as the lines of a terminal: pure, for any width and height.

use time::OffsetDateTime;
use time::macros::format_description;

use super::report::{Report, Row};
use super::units::{bytes, count, micros, percent, plain, rate, seconds};

/// One line, no wider than was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// How it stands out where there are colours.
    pub style: Style,
}

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Not at all.
    Plain,
    /// The names of the columns.
    Heading,
    /// The component that limits the topology.
    Bottleneck,
}

/// A column of the table.
struct Column {
    name: &'static str,
    /// Numbers stand at the right.
    right: bool,
    /// The column with the highest rank goes first where there is little room; 0 stays.
    rank: u8,
    cell: fn(&Row) -> String,
}

const COLUMNS: [Column; 12] = [
    Column { name: "component", right: false, rank: 0, cell: |row| row.id.clone() },
    Column { name: "tasks", right: true, rank: 10, cell: |row| row.tasks.to_string() },
    Column { name: "in/s", right: true, rank: 1, cell: |row| unless(row.role == "spout", rate(row.in_per_s)) },
    Column { name: "out/s", right: true, rank: 2, cell: |row| unless(row.role == "sink", rate(row.out_per_s)) },
    Column { name: "failed", right: true, rank: 6, cell: |row| count(row.failed) },
    Column { name: "dead letters", right: true, rank: 5, cell: |row| count(row.dead_letters) },
    Column { name: "p50", right: true, rank: 9, cell: |row| row.p50_us.map_or_else(|| "-".into(), micros) },
    Column { name: "p99", right: true, rank: 8, cell: |row| row.p99_us.map_or_else(|| "-".into(), micros) },
    Column { name: "capacity", right: true, rank: 3, cell: |row| percent(row.capacity) },
    Column { name: "inbox", right: true, rank: 4, cell: |row| unless(row.role == "spout", percent(row.inbox)) },
    Column { name: "state", right: false, rank: 7, cell: |row| cut(&plain(&row.state), STATE_WIDTH_MAX) },
    Column { name: "", right: false, rank: 0, cell: |row| if row.bottleneck { MARK.into() } else { String::new() } },
];

/// What marks the component that limits the topology.
const MARK: &str = "bottleneck";

/// Sources say what they do in their own words, which must not push the table out of the window.
const STATE_WIDTH_MAX: usize = 24;

/// Between two columns, and between two facts above the table.
const GAP: &str = "  ";

fn unless(meaningless: bool, cell: String) -> String {
    if meaningless { "-".to_owned() } else { cell }
}

/// The report in at most `height` lines of at most `width` characters. Where that is too little,
/// columns and then rows are left out, the bottleneck's last.
pub fn render(report: &Report, width: usize, height: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = facts(report, width).into_iter().map(|text| line(text, Style::Plain, width)).collect();
    // A window that can't hold the facts and three rows shows rows only.
    if height < lines.len() + 4 {
        lines.clear();
    }
    let rows = shown(&report.components, height.saturating_sub(lines.len() + 1));
    let left_out = report.components.len() - rows.len();
    let columns = fitting(&rows, width);
    let heading = columns.iter().map(|(column, width)| pad(column.name, *width, column.right));
    lines.push(line(join(heading), Style::Heading, width));
    for row in rows {
        let cells = columns.iter().map(|(column, width)| pad(&(column.cell)(row), *width, column.right));
        lines.push(line(join(cells), if row.bottleneck { Style::Bottleneck } else { Style::Plain }, width));
    }
    if left_out > 0 {
        lines.push(line(format!("... {left_out} more"), Style::Plain, width));
    }
    lines.truncate(height);
    lines
}

/// The lines without their styles.
#[cfg(test)]
pub fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// What stands above the table, as many facts on a line as fit.
fn facts(report: &Report, width: usize) -> Vec<String> {
    let age = match report.checkpoint_age_s {
        Some(age) => format!("epoch {}, {} ago", report.epoch, seconds(age)),
        None => "no checkpoint yet".to_owned(),
    };
    let facts = [
        format!("{} {} for {}", plain(&report.topology), report.phase, seconds(report.uptime_s)),
        format!("partition {} until {} UTC", moment(report.partition), end(report.partition, report.rolls_over)),
        age,
        format!("RSS {}", report.rss_bytes.map_or_else(|| "?".into(), bytes)),
    ];
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        match lines.last_mut() {
            Some(last) if last.len() + 3 + fact.len() <= width => *last = format!("{last} | {fact}"),
            _ => lines.push(fact),
        }
    }
    lines
}

fn moment(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]")).unwrap_or_else(|_| "?".into())
}

/// The end of a partition; the day only where it is another one.
fn end(partition: OffsetDateTime, rolls_over: OffsetDateTime) -> String {
    let full = moment(rolls_over);
    match full.split_once('T') {
        Some((_, time)) if partition.date() == rolls_over.date() => time.to_owned(),
        _ => full,
    }
}

/// The rows for `height` lines, in their order; one line is kept for saying that there are more.
fn shown(rows: &[Row], height: usize) -> Vec<&Row> {
    if rows.len() <= height {
        return rows.iter().collect();
    }
    let room = height.saturating_sub(1);
    let bottleneck = rows.iter().position(|row| row.bottleneck).filter(|position| *position >= room);
    let first = rows.iter().take(room.saturating_sub(usize::from(bottleneck.is_some())));
    first.chain(bottleneck.filter(|_| room > 0).map(|position| &rows[position])).collect()
}

/// The columns that fit into `width`, with the width of each.
fn fitting(rows: &[&Row], width: usize) -> Vec<(&'static Column, usize)> {
    let wide = |column: &Column| {
        let cells = rows.iter().map(|row| chars(&(column.cell)(row)));
        cells.chain([chars(column.name)]).max().unwrap_or(0)
    };
    let mut columns: Vec<(&'static Column, usize)> =
        COLUMNS.iter().map(|column| (column, wide(column))).filter(|(_, width)| *width > 0).collect();
    let total = |columns: &[(&Column, usize)]| {
        columns.iter().map(|(_, width)| width).sum::<usize>() + GAP.len() * columns.len().saturating_sub(1)
    };
    while total(&columns) > width && columns.iter().any(|(column, _)| column.rank > 0) {
        let least = columns.iter().map(|(column, _)| column.rank).max().unwrap_or(0);
        columns.retain(|(column, _)| column.rank != least);
    }
    // Only the id and the mark are left by then, and of these the id can be cut.
    let excess = total(&columns).saturating_sub(width);
    columns[0].1 = columns[0].1.saturating_sub(excess).max(1);
    columns
}

fn join(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(GAP)
}

fn line(text: String, style: Style, width: usize) -> Line {
    Line { text: cut(text.trim_end(), width), style }
}

fn pad(text: &str, width: usize, right: bool) -> String {
    let text = cut(text, width);
    if right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

/// The text in at most `width` characters, with a sign where something was cut off.
fn cut(text: &str, width: usize) -> String {
    if chars(text) <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { String::new() } else { format!("{kept}~") }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::made_up;
    use super::*;

    fn report() -> Report {
        Report::between(Some(&made_up::before()), &made_up::after(), &made_up::flow(), Some(39_845_888))
    }

    fn check(report: &Report, width: usize, height: usize, expected: Expect) {
        expected.assert_eq(&text(&render(report, width, height)));
    }

    #[test]
    fn a_wide_window_shows_everything() {
        check(
            &report(),
            140,
            24,
            expect![[r#"
            quickstart running for 12.0 s | partition 2015-12-18T00:00:00 until 01:00:00 UTC | epoch 11, 0.4 s ago | RSS 38.0 MiB
            component  tasks   in/s  out/s  failed  dead letters      p50     p99  capacity  inbox  state
            posts          1      -   2000       0             0        -       -        4%      -  blocked
            split          2   1990  24.0k      12             3  16.4 µs  3.5 ms       96%   100%  running  bottleneck
            words          1  24.0k      -       0             0  16.4 µs  3.5 ms        8%    12%  idle
        "#]],
        );
    }

    #[test]
    fn eighty_columns_leave_out_what_matters_least() {
        check(
            &report(),
            80,
            24,
            expect![[r#"
            quickstart running for 12.0 s | partition 2015-12-18T00:00:00 until 01:00:00 UTC
            epoch 11, 0.4 s ago | RSS 38.0 MiB
            component   in/s  out/s  failed  dead letters  capacity  inbox
            posts          -   2000       0             0        4%      -
            split       1990  24.0k      12             3       96%   100%  bottleneck
            words      24.0k      -       0             0        8%    12%
        "#]],
        );
    }

    #[test]
    fn a_narrow_window_still_names_the_bottleneck() {
        check(
            &report(),
            30,
            24,
            expect![[r#"
            quickstart running for 12.0 s
            partition 2015-12-18T00:00:00~
            epoch 11, 0.4 s ago
            RSS 38.0 MiB
            component   in/s
            posts          -
            split       1990  bottleneck
            words      24.0k
        "#]],
        );
    }

    #[test]
    fn a_low_window_leaves_out_rows_but_not_the_bottleneck() {
        let mut report = report();
        let idle = Row { id: "idle".into(), bottleneck: false, ..report.components[2].clone() };
        report.components.splice(0..0, vec![idle; 9]);
        check(
            &report,
            80,
            6,
            expect![[r#"
            quickstart running for 12.0 s | partition 2015-12-18T00:00:00 until 01:00:00 UTC
            epoch 11, 0.4 s ago | RSS 38.0 MiB
            component   in/s  out/s  failed  dead letters  capacity  inbox
            idle       24.0k      -       0             0        8%    12%
            split       1990  24.0k      12             3       96%   100%  bottleneck
            ... 10 more
        "#]],
        );
    }

    #[test]
    fn before_the_first_checkpoint_it_says_so() {
        let mut report = report();
        report.checkpoint_age_s = None;
        report.rss_bytes = None;
        report.rolls_over += time::Duration::DAY;
        assert_eq!(
            facts(&report, 200),
            [
                "quickstart running for 12.0 s | partition 2015-12-18T00:00:00 until 2015-12-19T01:00:00 UTC | no checkpoint yet | RSS ?"
            ]
        );
    }

    #[test]
    fn no_line_is_ever_wider_or_higher_than_the_window() {
        let mut report = report();
        report.components[0].state = "429 until 23:59:10, and a long story\u{1b}[31m".into();
        for (width, height) in (0..150).flat_map(|width| (0..12).map(move |height| (width, height))) {
            let lines = render(&report, width, height);
            assert!(lines.len() <= height, "{width}x{height}");
            assert!(lines.iter().all(|line| chars(&line.text) <= width), "{width}x{height}");
            assert!(lines.iter().all(|line| !line.text.chars().any(char::is_control)), "{width}x{height}");
        }
    }
}

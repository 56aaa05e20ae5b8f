//! A report as the lines of a terminal: pure, for any width and height.

use time::OffsetDateTime;
use time::macros::format_description;

use super::troubles::trouble_lines;
use super::units::{bytes, count, micros, percent, plain, rate, seconds};
use crate::watch::report::{Report, Row};

/// One line, no wider than was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it says.
    pub text: String,
    /// How it stands out where there are colours.
    pub style: Style,
}

/// The emphasis of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
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
    /// The name where there is little room.
    short: &'static str,
    /// No narrower than this, so that the table stands still while its numbers change.
    least: usize,
    /// Numbers stand at the right.
    right: bool,
    /// The column with the highest rank goes first where there is little room; 0 stays.
    rank: u8,
    layouts: &'static [Layout],
    /// Left out where no row has anything in it.
    is_optional: bool,
    cell: fn(&Row) -> String,
}

/// The spacing between columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// With their whole names.
    Wide,
    /// All of them in 80 characters, for ids that aren't long.
    Tight,
}

impl Layout {
    /// The separator between two columns.
    fn gap(self) -> &'static str {
        match self {
            Self::Wide => "  ",
            Self::Tight => " ",
        }
    }
}

const fn number(
    name: &'static str,
    short: &'static str,
    least: usize,
    rank: u8,
    cell: fn(&Row) -> String,
) -> Column {
    Column {
        name,
        short,
        least,
        right: true,
        rank,
        layouts: &[Layout::Wide, Layout::Tight],
        is_optional: false,
        cell,
    }
}

const fn text(
    name: &'static str,
    least: usize,
    rank: u8,
    layouts: &'static [Layout],
    cell: fn(&Row) -> String,
) -> Column {
    Column { name, short: name, least, right: false, rank, layouts, is_optional: false, cell }
}

/// A column that is left out where no row has anything in it.
const fn optional(name: &'static str, least: usize, rank: u8, cell: fn(&Row) -> String) -> Column {
    Column { is_optional: true, ..number(name, name, least, rank, cell) }
}

/// The text of an empty cell.
const NOTHING: &str = "-";

const COLUMNS: [Column; 16] = [
    text("component", 9, 0, &[Layout::Wide, Layout::Tight], |row| plain(&row.id)),
    number("tasks", "tasks", 5, 12, |row| row.tasks.to_string()),
    number("in/s", "in/s", 5, 1, |row| unless(row.role == "spout", rate(row.in_per_s))),
    number("out/s", "out/s", 5, 2, |row| unless(row.role == "sink", rate(row.out_per_s))),
    number("failed", "failed", 6, 6, |row| count(row.failed)),
    number("dead letters", "dead", 4, 5, |row| count(row.dead_letters)),
    number("p50", "p50", 7, 11, |row| row.p50_us.map_or_else(|| "-".into(), micros)),
    number("p99", "p99", 7, 9, |row| row.p99_us.map_or_else(|| "-".into(), micros)),
    number("capacity", "cap", 4, 3, |row| percent(row.capacity)),
    number("inbox", "inbox", 5, 4, |row| unless(row.role == "spout", percent(row.inbox))),
    optional("behind", 6, 7, |row| row.behind_s.map_or_else(|| NOTHING.into(), seconds)),
    optional("keys", 5, 8, |row| row.keys.map_or_else(|| NOTHING.into(), count)),
    optional("saved", 8, 10, |row| row.state_bytes.map_or_else(|| NOTHING.into(), bytes)),
    text("state", 8, 0, &[Layout::Wide], state),
    text("", MARK.len(), 0, &[Layout::Wide], |row| {
        if row.bottleneck { MARK.into() } else { String::new() }
    }),
    // The mark has no room there: the bottleneck is named above the table.
    text("state", 8, 0, &[Layout::Tight], state),
];

/// The mark of the component that limits the topology.
const MARK: &str = "bottleneck";

/// Sources say what they do in their own words, which must not push the table out of the window.
/// A longer one stands in full below the table.
pub(crate) const STATE_WIDTH_MAX: usize = 24;

fn state(row: &Row) -> String {
    let mut state = plain(&row.state);
    let counts = [
        (row.out_of_order, "out of order"),
        (row.late, "late"),
        (row.drifted, "drifted"),
        (row.forgotten, "forgotten"),
        (row.letters_dropped, "letters lost"),
        (row.dropped, "dropped"),
    ];
    for (number, what) in counts {
        if number > 0 {
            state = format!("{} {what}, {state}", count(number));
        }
    }
    cut(&state, STATE_WIDTH_MAX)
}

fn unless(meaningless: bool, cell: String) -> String {
    if meaningless { "-".to_owned() } else { cell }
}

/// The report in at most `height` lines of at most `width` characters. Where that is too little,
/// columns and then rows are left out, the bottleneck's last; what fails stands in full below, as
/// far as there is room.
pub(crate) fn render(report: &Report, width: usize, height: usize) -> Vec<Line> {
    let all: Vec<&Row> = report.components.iter().collect();
    let layout = Grid::fitting(&all, width).layout;
    let facts = facts(report, width, layout);
    let mut lines: Vec<Line> =
        facts.into_iter().map(|text| line(text, Style::Plain, width)).collect();
    // A window that can't hold the facts and three rows shows rows only.
    if height < lines.len() + 4 {
        lines.clear();
    }
    let rows = shown(&report.components, height.saturating_sub(lines.len() + 1));
    let left_out = report.components.len() - rows.len();
    let grid = Grid::fitting(&rows, width);
    lines.push(line(grid.heading(), Style::Heading, width));
    for row in rows {
        lines.push(line(
            grid.row(row),
            if row.bottleneck { Style::Bottleneck } else { Style::Plain },
            width,
        ));
    }
    if left_out > 0 {
        lines.push(line(format!("... {left_out} more"), Style::Plain, width));
    }
    let mut below = trouble_lines(report, width);
    let room = height.saturating_sub(lines.len());
    if below.len() > room && room > 0 {
        below.truncate(room - 1);
        below.push("...".to_owned());
    }
    lines.extend(below.into_iter().map(|text| line(text, Style::Plain, width)));
    lines.truncate(height);
    lines
}

/// Returns the lines above the table, with as many facts on a line as fit.
fn facts(report: &Report, width: usize, layout: Layout) -> Vec<String> {
    let age = match report.checkpoint_age_s {
        Some(age) => format!("epoch {}, {} ago", report.epoch, seconds(age)),
        None => "no checkpoint yet".to_owned(),
    };
    let facts = [
        format!("{}: {}, {}", plain(&report.topology), report.phase, seconds(report.uptime_s)),
        format!(
            "partition {}, rolls over {} UTC",
            moment(report.partition),
            end(report.partition, report.rolls_over)
        ),
        age,
        format!("RSS {}", report.rss_bytes.map_or_else(|| "?".into(), bytes)),
    ];
    let file = report.state_file_bytes.map(|length| format!("state file {}", bytes(length)));
    let bottleneck = report.components.iter().find(|row| row.bottleneck);
    let bottleneck = bottleneck.filter(|_| layout == Layout::Tight);
    let bottleneck = bottleneck.map(|row| format!("{MARK}: {}", plain(&row.id)));
    let mut lines: Vec<String> = Vec::new();
    for fact in facts.into_iter().chain(file).chain(bottleneck) {
        match lines.last_mut() {
            Some(last) if last.len() + 3 + fact.len() <= width => {
                *last = format!("{last} | {fact}")
            }
            _ => lines.push(fact),
        }
    }
    lines
}

fn moment(time: OffsetDateTime) -> String {
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]"))
        .unwrap_or_else(|_| "?".into())
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
    let bottleneck =
        rows.iter().position(|row| row.bottleneck).filter(|position| *position >= room);
    let first = rows.iter().take(room.saturating_sub(usize::from(bottleneck.is_some())));
    first.chain(bottleneck.filter(|_| room > 0).map(|position| &rows[position])).collect()
}

/// The columns that are shown, each with its width.
struct Grid {
    layout: Layout,
    columns: Vec<(&'static Column, usize)>,
}

impl Grid {
    fn new(layout: Layout, rows: &[&Row]) -> Self {
        let wide = |column: &Column| {
            let cells = rows.iter().map(|row| chars(&(column.cell)(row)));
            cells.chain([column.least, chars(heading(column, layout))]).max().unwrap_or(0)
        };
        let says_something = |column: &Column| rows.iter().any(|row| (column.cell)(row) != NOTHING);
        let is_shown = |column: &&Column| {
            column.layouts.contains(&layout) && (!column.is_optional || says_something(column))
        };
        let columns = COLUMNS.iter().filter(is_shown);
        Self { layout, columns: columns.map(|column| (column, wide(column))).collect() }
    }

    /// What fits into `width`: all columns, and otherwise as many as there is room for.
    fn fitting(rows: &[&Row], width: usize) -> Self {
        let wide = Self::new(Layout::Wide, rows);
        if wide.width() <= width {
            return wide;
        }
        let mut tight = Self::new(Layout::Tight, rows);
        while tight.width() > width && tight.columns.len() > 2 {
            let least = tight.columns.iter().map(|(column, _)| column.rank).max();
            tight.columns.retain(|(column, _)| Some(column.rank) != least);
        }
        // Only the id and the state are left by then, and of these the id can be cut.
        let excess = tight.width().saturating_sub(width);
        tight.columns[0].1 = tight.columns[0].1.saturating_sub(excess).max(1);
        tight
    }

    fn width(&self) -> usize {
        let widths: usize = self.columns.iter().map(|(_, width)| width).sum();
        widths + self.layout.gap().len() * self.columns.len().saturating_sub(1)
    }

    fn heading(&self) -> String {
        self.join(|column| heading(column, self.layout).to_owned())
    }

    fn row(&self, row: &Row) -> String {
        self.join(|column| (column.cell)(row))
    }

    fn join(&self, cell: impl Fn(&Column) -> String) -> String {
        let cells =
            self.columns.iter().map(|(column, width)| pad(&cell(column), *width, column.right));
        cells.collect::<Vec<_>>().join(self.layout.gap())
    }
}

fn heading(column: &Column, layout: Layout) -> &'static str {
    match layout {
        Layout::Wide => column.name,
        Layout::Tight => column.short,
    }
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
mod tests;

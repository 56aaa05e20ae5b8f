//! A table of the newest tuples, redrawn in place on a terminal.

use std::collections::VecDeque;
use std::io::Write;
use std::num::NonZeroU16;

use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::queue;
use crossterm::terminal::{Clear, ClearType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unwritable;
use crate::component::Problem;
use crate::epoch::{Barrier, Job, Prepared};
use crate::error::Result;
use crate::printable::printable_line;
use crate::sink::Sink;
use crate::tuple::{Fields, Tuple, value_to_json};
use crate::value::Value;

/// A table of the newest tuples, the newest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The fields that identify a row: a tuple replaces an earlier one with the same values.
    pub by: Vec<String>,
    /// The fields that are shown, from left to right.
    pub columns: Vec<String>,
    /// The number of rows, at most; the window may show fewer.
    #[serde(default = "rows_usual")]
    pub rows: NonZeroU16,
}

fn rows_usual() -> NonZeroU16 {
    const { NonZeroU16::new(20).expect("20 isn't 0") }
}

/// The assumed size of a window that doesn't report one.
const WINDOW_UNKNOWN: (u16, u16) = (80, 24);

/// A wider cell is cut, unless it is the last of its row.
const CELL_WIDTH_MAX: usize = 32;

impl Table {
    /// Returns the fields that some input doesn't have.
    pub(super) fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |what: String, candidates| {
            problems.push(Problem { field: "table", what, candidates });
        };
        for (list, name) in [(&self.by, "by"), (&self.columns, "columns")] {
            if list.is_empty() {
                problem(format!("expected at least one field in \"{name}\", found none"), None);
            }
            for field in list {
                if let Some(input) = inputs.iter().find(|input| input.position(field).is_none()) {
                    problem(
                        format!("shows \"{field}\", but an input declares {input}"),
                        Some((field.clone(), input.names().to_vec())),
                    );
                }
            }
        }
        problems
    }
}

/// The positions of a row's parts among the fields of an input.
struct Positions {
    by: Vec<usize>,
    columns: Vec<usize>,
}

struct Row {
    key: Vec<Value>,
    cells: Vec<String>,
}

/// The size of the window in columns and rows, if known.
pub(super) type Window = Box<dyn Fn() -> Option<(u16, u16)> + Send>;

/// Draws the table.
pub(super) struct TablePrinter<W> {
    out: W,
    window: Window,
    heading: Vec<String>,
    inputs: Vec<Positions>,
    rows: VecDeque<Row>,
    rows_max: usize,
    /// The number of lines that the last drawing has.
    drawn: u16,
    has_news: bool,
}

impl<W: Write> TablePrinter<W> {
    pub(crate) fn new(out: W, window: Window, table: &Table, inputs: &[Fields]) -> Self {
        let positions = |fields: &Fields, names: &[String]| {
            names.iter().filter_map(|name| fields.position(name)).collect()
        };
        let mut of_inputs = Vec::new();
        for fields in inputs {
            let by = positions(fields, &table.by);
            of_inputs.push(Positions { by, columns: positions(fields, &table.columns) });
        }
        Self {
            out,
            window,
            heading: table.columns.clone(),
            inputs: of_inputs,
            rows: VecDeque::new(),
            rows_max: table.rows.get().into(),
            drawn: 0,
            has_news: false,
        }
    }

    fn take(&mut self, tuple: Tuple<'_>) {
        let Positions { by, columns } = &self.inputs[tuple.input];
        let key: Vec<Value> = by.iter().map(|at| tuple.value(*at).detached()).collect();
        let cells = columns.iter().map(|at| cell(tuple.value(*at))).collect();
        self.rows.retain(|row| row.key != key);
        self.rows.push_front(Row { key, cells });
        self.rows.truncate(self.rows_max);
        self.has_news = true;
    }

    fn draw(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.has_news) {
            return Ok(());
        }
        let (width, height) = (self.window)()
            .filter(|(width, height)| *width > 0 && *height > 0)
            .unwrap_or(WINDOW_UNKNOWN);
        let lines = self.lines(width.into(), usize::from(height).saturating_sub(1).max(1));
        let mut bytes = Vec::new();
        let mut frame = || {
            if self.drawn > 0 {
                let up = MoveUp(self.drawn);
                queue!(bytes, MoveToColumn(0), up, Clear(ClearType::FromCursorDown))?;
            }
            for line in &lines {
                writeln!(bytes, "{line}")?;
            }
            self.out.write_all(&bytes)?;
            self.out.flush()
        };
        frame().map_err(unwritable)?;
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        Ok(())
    }

    /// Returns the table in at most `height` lines, each at most `width` wide.
    fn lines(&self, width: usize, height: usize) -> Vec<String> {
        let cells = self.rows.iter().map(|row| &row.cells).take(height.saturating_sub(1));
        let all: Vec<&Vec<String>> = std::iter::once(&self.heading).chain(cells).collect();
        let last = self.heading.len().saturating_sub(1);
        let mut widths = vec![0; self.heading.len()];
        for row in &all {
            for (column, cell) in row.iter().enumerate() {
                let wide = cell.chars().count().min(CELL_WIDTH_MAX);
                widths[column] = wide.max(widths[column]);
            }
        }
        let mut lines = Vec::new();
        for row in all {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                if column == last {
                    line.push_str(cell);
                } else {
                    let kept: String = cell.chars().take(CELL_WIDTH_MAX).collect();
                    let wide = widths[column];
                    line.push_str(&format!("{kept:<wide$}  "));
                }
            }
            lines.push(line.trim_end().chars().take(width).collect());
        }
        lines
    }
}

/// Formats a value for people.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Text(text) => text.to_string(),
        Value::List(values) => values.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => {
            let mut json = Vec::new();
            value_to_json(other, &mut json);
            String::from_utf8_lossy(&json).into_owned()
        }
    };
    printable_line(&text).into_owned()
}

impl<W: Write + Send> Sink for TablePrinter<W> {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.take(tuple);
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        self.draw()
    }

    fn prepare(&mut self, _barrier: &Barrier) -> Result<Job<Prepared>> {
        self.draw()?;
        Ok(Box::new(|| Ok(Prepared::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        crate::registry::ron_options()
            .from_str("(by: [\"key\"], columns: [\"key\", \"count\", \"why\"], rows: 2)")
            .unwrap()
    }

    fn printer() -> TablePrinter<Vec<u8>> {
        let fields = [Fields::new(["why", "key", "count"])];
        TablePrinter::new(Vec::new(), Box::new(|| Some((20, 10))), &table(), &fields)
    }

    #[test]
    fn a_tuple_takes_the_place_of_the_one_before_it() {
        let mut printer = printer();
        for (key, count) in [("#a", 1), ("#b", 2), ("#c", 3), ("#b", 40)] {
            let values = ["a\u{1b}[2Jlong explanation".into(), key.into(), Value::Int(count)];
            printer.write(Tuple::new(&values, 0)).unwrap();
        }
        printer.idle().unwrap();
        let drawn = String::from_utf8(printer.out.clone()).unwrap();
        assert_eq!(drawn.lines().count(), 3, "{drawn}");
        assert!(drawn.starts_with("key  count  why\n#b   40     a"), "{drawn}");
        assert!(!drawn.contains('\u{1b}') && drawn.lines().all(|line| line.len() <= 20));
        printer.idle().unwrap();
        assert_eq!(printer.out.len(), drawn.len(), "nothing is new");
        printer.write(Tuple::new(&[Value::Null, "#b".into(), Value::Int(41)], 0)).unwrap();
        printer.idle().unwrap();
        let redrawn = String::from_utf8(printer.out[drawn.len()..].to_vec()).unwrap();
        assert!(redrawn.starts_with("\u{1b}[1G\u{1b}[3A\u{1b}[Jkey"), "{redrawn:?}");
    }

    #[test]
    fn fields_that_an_input_lacks_are_problems() {
        let problems = table().problems(&[Fields::new(["key", "count"])]);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].what, "shows \"why\", but an input declares \"key\", \"count\"");
    }
}

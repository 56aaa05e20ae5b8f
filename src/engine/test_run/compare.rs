//! Compares actual rows with those that a test expects.

use serde_json::Value as Json;

use super::recorder::Recorder;
use crate::topology::{
    ExpectedKind, ExpectedRow, ExpectedRows, FieldDifference, Pattern, TestPlace,
};
use crate::tuple::{Fields, to_json};

/// The largest number of rows that are compared for one expectation. Beyond it only the number of
/// rows is checked.
const ROWS_COMPARED_MAX: usize = 10_000;

/// The largest number of differences reported for one expectation.
const DIFFERENCES_MAX: usize = 20;

/// An actual row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its value.
    pub json: Json,
    /// The text of the row, with its fields in order.
    pub text: String,
}

impl Row {
    /// Creates a row from a value.
    pub(crate) fn of_json(json: Json) -> Self {
        let text = json.to_string();
        Self { json, text }
    }
}

/// A difference between the expectation and the actual result.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The place of the expectation.
    pub place: TestPlace,
    /// Its kind.
    pub kind: DifferenceKind,
    /// The component with the difference; empty for a difference of the run as a whole.
    pub of: String,
    /// The difference in a sentence.
    pub what: String,
    /// The row that was expected.
    pub expected: Option<String>,
    /// The actual row, or the one nearest to the expected row.
    pub found: Option<String>,
    /// The places in which the two rows differ.
    pub fields: Vec<FieldDifference>,
}

/// The kinds of differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// An expected row is missing.
    Missing,
    /// A row isn't expected.
    Unexpected,
    /// The number of rows is wrong.
    Count,
    /// The test couldn't be run to its end, or left dead letters.
    Run,
}

impl Difference {
    /// Creates a difference of the run as a whole.
    pub fn of_run(place: TestPlace, what: String) -> Self {
        let kind = DifferenceKind::Run;
        let of = String::new();
        Self { place, kind, of, what, expected: None, found: None, fields: Vec::new() }
    }
}

/// Returns the rows of a recorder. `fields` returns the fields of an input, or `None` if its rows
/// don't belong to the expectation.
pub(crate) fn rows_of(recorder: &Recorder, fields: impl Fn(usize) -> Option<Fields>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (input, values) in recorder.tuples() {
        let Some(fields) = fields(input) else { continue };
        let mut json = Vec::new();
        to_json(&fields, &values, &mut json);
        let text = String::from_utf8_lossy(&json).into_owned();
        // Posts may contain text that a strict parser refuses, such as half of a surrogate pair.
        let json = serde_json::from_str(&text).unwrap_or_else(|_| Json::from(text.as_str()));
        rows.push(Row { json, text });
    }
    rows
}

/// Returns the differences between the expected and the actual rows of a component.
pub(crate) fn compare(title: &str, expected: &ExpectedRows, rows: &[Row]) -> Vec<Difference> {
    let comparison = Comparison { title, expected, rows };
    let mut differences = match expected.kind {
        ExpectedKind::Count(count) => comparison.count(count),
        ExpectedKind::Ordered => comparison.ordered(),
        ExpectedKind::Exactly | ExpectedKind::AtLeast => comparison.unordered(),
    };
    if differences.len() > DIFFERENCES_MAX {
        let more = differences.len() - DIFFERENCES_MAX;
        differences.truncate(DIFFERENCES_MAX);
        let what = format!("and {more} more differences");
        differences.push(comparison.difference(DifferenceKind::Count, what));
    }
    differences
}

struct Comparison<'a> {
    title: &'a str,
    expected: &'a ExpectedRows,
    rows: &'a [Row],
}

impl Comparison<'_> {
    fn difference(&self, kind: DifferenceKind, what: String) -> Difference {
        Difference {
            place: self.expected.place.clone(),
            kind,
            of: self.title.to_owned(),
            what,
            expected: None,
            found: None,
            fields: Vec::new(),
        }
    }

    fn count(&self, count: u64) -> Vec<Difference> {
        if self.rows.len() as u64 == count {
            return Vec::new();
        }
        let what = format!("expected {}, found {}", rows(count), self.rows.len());
        vec![self.difference(DifferenceKind::Count, what)]
    }

    fn ordered(&self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (position, expected) in self.expected.rows.iter().enumerate() {
            match self.rows.get(position) {
                Some(row) if expected.pattern.matches(&row.json) => {}
                Some(row) => {
                    let what = format!("row {} isn't as expected", position + 1);
                    differences.push(self.missing(expected, Some(row), what));
                }
                None => {
                    let what = format!("row {} didn't come", position + 1);
                    differences.push(self.missing(expected, None, what));
                }
            }
        }
        let more = self.rows.iter().skip(self.expected.rows.len());
        differences.extend(more.map(|row| self.unexpected(row)));
        differences
    }

    fn unordered(&self) -> Vec<Difference> {
        let compared = &self.rows[..self.rows.len().min(ROWS_COMPARED_MAX)];
        let Matching { row_of_pattern, pattern_of_row } = matching(&self.expected.rows, compared);
        let mut left: Vec<&Row> = Vec::new();
        for (row, pattern) in compared.iter().zip(&pattern_of_row) {
            if pattern.is_none() {
                left.push(row);
            }
        }
        let mut differences = Vec::new();
        for (expected, row) in self.expected.rows.iter().zip(&row_of_pattern) {
            if row.is_some() {
                continue;
            }
            let near = nearest_row(&expected.pattern, &left);
            let what = match near {
                Some(_) => "no row is as expected; this one is nearest",
                None => "a row is missing",
            };
            let near_row = near.map(|position| left[position]);
            differences.push(self.missing(expected, near_row, what.into()));
            if let Some(position) = near.filter(|_| self.expected.kind == ExpectedKind::Exactly) {
                left.remove(position);
            }
        }
        if self.expected.kind == ExpectedKind::Exactly {
            differences.extend(left.into_iter().map(|row| self.unexpected(row)));
            let beyond = self.rows.len() - compared.len();
            if beyond > 0 {
                let what = format!(
                    "expected {}, found {}",
                    rows(self.expected.rows.len() as u64),
                    self.rows.len()
                );
                differences.insert(0, self.difference(DifferenceKind::Count, what));
            }
        }
        differences
    }

    fn missing(&self, expected: &ExpectedRow, found: Option<&Row>, what: String) -> Difference {
        Difference {
            place: expected.place.clone(),
            expected: Some(expected.pattern.to_string()),
            found: found.map(|row| row.text.clone()),
            fields: found.map(|row| expected.pattern.differences(&row.json)).unwrap_or_default(),
            ..self.difference(DifferenceKind::Missing, what)
        }
    }

    fn unexpected(&self, row: &Row) -> Difference {
        Difference {
            found: Some(row.text.clone()),
            ..self.difference(DifferenceKind::Unexpected, "a row came that isn't expected".into())
        }
    }
}

fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

/// An assignment of rows to patterns.
struct Matching {
    row_of_pattern: Vec<Option<usize>>,
    pattern_of_row: Vec<Option<usize>>,
}

/// Assigns rows to as many patterns as possible, one to each. A pattern may match several rows and
/// a row several patterns, so a row may later have to move to another pattern (augmenting paths).
fn matching(patterns: &[ExpectedRow], rows: &[Row]) -> Matching {
    let mut found = Matching {
        row_of_pattern: vec![None; patterns.len()],
        pattern_of_row: vec![None; rows.len()],
    };
    let mut candidates: Vec<Vec<usize>> = Vec::new();
    for expected in patterns {
        let fits = rows.iter().enumerate().filter(|(_, row)| expected.pattern.matches(&row.json));
        candidates.push(fits.map(|(position, _)| position).collect());
    }
    for pattern in 0..patterns.len() {
        found.augment(pattern, &candidates);
    }
    found
}

impl Matching {
    /// Finds a row for a pattern; other patterns may have to change their rows. The search is
    /// breadth-first, since a chain may be as long as the list.
    fn augment(&mut self, pattern: usize, candidates: &[Vec<usize>]) {
        // The pattern from which each row was reached.
        let mut reached: Vec<Option<usize>> = vec![None; self.pattern_of_row.len()];
        let mut waiting = std::collections::VecDeque::from([pattern]);
        while let Some(from) = waiting.pop_front() {
            for &row in &candidates[from] {
                if reached[row].is_some() {
                    continue;
                }
                reached[row] = Some(from);
                match self.pattern_of_row[row] {
                    Some(owner) => waiting.push_back(owner),
                    None => return self.take(row, pattern, &reached),
                }
            }
        }
    }

    /// Moves each pattern on the path from `pattern` to a free row by one row.
    fn take(&mut self, mut row: usize, pattern: usize, reached: &[Option<usize>]) {
        while let Some(owner) = reached[row] {
            let given_up = self.row_of_pattern[owner].replace(row);
            self.pattern_of_row[row] = Some(owner);
            match given_up {
                Some(next) if owner != pattern => row = next,
                _ => return,
            }
        }
    }
}

/// Returns the position of the row that differs in the fewest places.
fn nearest_row(pattern: &Pattern, rows: &[&Row]) -> Option<usize> {
    let differing = |row: &Row| pattern.differences(&row.json).len();
    let (position, _) = rows.iter().enumerate().min_by_key(|(_, row)| differing(row))?;
    Some(position)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn place(line: usize) -> TestPlace {
        TestPlace { file: "t.ron".into(), line, column: 1 }
    }

    fn expect(kind: ExpectedKind, rows: &[Json]) -> ExpectedRows {
        let row = |(number, json): (usize, &Json)| ExpectedRow {
            place: place(number + 2),
            pattern: Pattern::of_json(json),
        };
        ExpectedRows { place: place(1), kind, rows: rows.iter().enumerate().map(row).collect() }
    }

    #[track_caller]
    fn check(kind: ExpectedKind, expected: &[Json], found: &[Json], says: &[&str]) {
        let rows: Vec<_> = found.iter().cloned().map(Row::of_json).collect();
        let mut lines = Vec::new();
        for difference in compare("bolt \"b\"", &expect(kind, expected), &rows) {
            let fields: Vec<_> =
                difference.fields.iter().map(|field| field.path.as_str()).collect();
            lines.push(format!(
                "{} {:?} {}",
                difference.place.line,
                difference.kind,
                fields.join(" ")
            ));
        }
        let lines: Vec<_> = lines.iter().map(|line| line.trim_end()).collect();
        assert_eq!(lines, says);
    }

    #[test]
    fn rows_are_compared_in_any_order_unless_an_order_is_asked_for() {
        let (a, b) = (json!({"n": 1}), json!({"n": 2}));
        let both = [a.clone(), b.clone()];
        let turned = [b.clone(), a.clone()];
        check(ExpectedKind::Exactly, &both, &turned, &[]);
        check(ExpectedKind::Ordered, &both, &both, &[]);
        check(ExpectedKind::Ordered, &both, &turned, &["2 Missing n", "3 Missing n"]);
        check(ExpectedKind::AtLeast, &[b], &both, &[]);
        check(ExpectedKind::Exactly, &[a], &both, &["1 Unexpected"]);
        check(ExpectedKind::Count(2), &[], &both, &[]);
        check(ExpectedKind::Count(3), &[], &both, &["1 Count"]);
        check(ExpectedKind::Exactly, &both, &[], &["2 Missing", "3 Missing"]);
    }

    #[test]
    fn a_pattern_that_fits_several_rows_leaves_the_right_one_to_another() {
        let patterns = [json!({"a": 1}), json!({"a": 1, "b": 1}), json!({"b": 1})];
        let rows = [json!({"a": 1, "b": 1}), json!({"a": 0, "b": 1}), json!({"a": 1, "b": 2})];
        check(ExpectedKind::Exactly, &patterns, &rows, &[]);
    }

    #[test]
    fn the_nearest_row_is_shown_beside_one_that_is_missing() {
        let expected = [json!({"word": "storm", "count": 2})];
        let rows = [json!({"word": "rain", "count": 1}), json!({"word": "storm", "count": 3})];
        check(ExpectedKind::Exactly, &expected, &rows, &["2 Missing count", "1 Unexpected"]);
    }

    proptest! {
        #[test]
        fn as_many_patterns_as_possible_get_a_row(
            patterns in prop::collection::vec((0..3_i64, prop::option::of(0..3_i64)), 0..7),
            rows in prop::collection::vec((0..3_i64, 0..3_i64), 0..7),
        ) {
            let mut expected = Vec::new();
            for (a, b) in &patterns {
                expected.push(match b {
                    Some(b) => json!({"a": a, "b": b}),
                    None => json!({"a": a}),
                });
            }
            let list = expect(ExpectedKind::AtLeast, &expected).rows;
            let found: Vec<_> =
                rows.iter().map(|(a, b)| Row::of_json(json!({"a": a, "b": b}))).collect();
            let matching = matching(&list, &found);
            let given = matching.row_of_pattern.iter().flatten().count();
            // In this test it is best to match exact patterns first, and then those that leave `b`
            // open.
            let mut free = rows.clone();
            let mut best = 0;
            for exact in [true, false] {
                for (a, b) in patterns.iter().filter(|(_, b)| b.is_some() == exact) {
                    let fits = |row: &(i64, i64)| row.0 == *a && b.is_none_or(|b| row.1 == b);
                    if let Some(position) = free.iter().position(fits) {
                        free.remove(position);
                        best += 1;
                    }
                }
            }
            prop_assert_eq!(given, best);
            for (pattern, row) in matching.row_of_pattern.iter().enumerate() {
                if let Some(row) = row {
                    prop_assert_eq!(matching.pattern_of_row[*row], Some(pattern));
                    prop_assert!(list[pattern].pattern.matches(&found[*row].json));
                }
            }
        }
    }
}

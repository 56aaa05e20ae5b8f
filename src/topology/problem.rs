//! Problems of a topology file: all of them, each with its place.

use std::fmt;
use std::ops::Range;

use super::concealed::{masked, unrepeated};
use super::source::{Place, Sources, Span, excerpt};
use crate::printable::printable_line;

/// The number of problems beyond which further ones are only counted. Nobody reads more, a file of
/// 16 MiB could have millions, and finding the place of each requires a walk over its line, which
/// may be the whole file.
const PROBLEMS_MAX: usize = 256;

/// The number of characters shown of a long line.
const LINE_CHARS_MAX: usize = 160;

/// A problem in a topology file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyProblem {
    /// The file as it was named, or `--set`.
    pub file: String,
    /// The line, from 1; 0 if the problem concerns the whole file.
    pub line: usize,
    /// The column in characters, from 1; 0 if the problem concerns the whole file.
    pub column: usize,
    /// The text of the problem: what is wrong, and what was expected.
    pub what: String,
    /// The line in the file, shortened if it is very long. Control characters are replaced by
    /// spaces.
    pub source_line: String,
    /// Spaces and carets that mark the place in [`source_line`](Self::source_line).
    pub marker: String,
    /// A suggestion: `did you mean "word"?`.
    pub hint: Option<String>,
}

impl TopologyProblem {
    /// Creates a problem with the whole file.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            what: what.into(),
            source_line: String::new(),
            marker: String::new(),
            hint: None,
        }
    }

    fn new(
        place: &Place<'_>,
        secrets: &[Range<usize>],
        what: String,
        hint: Option<String>,
    ) -> Self {
        let skipped = (place.column - 1).saturating_sub(LINE_CHARS_MAX / 2);
        let text = masked(place.text, place.start, secrets);
        let line: String = text.chars().skip(skipped).take(LINE_CHARS_MAX).collect();
        let indent = place.column - 1 - skipped;
        let width = place.width.min(LINE_CHARS_MAX - indent);
        Self {
            file: place.file.into(),
            line: place.line,
            column: place.column,
            what,
            source_line: excerpt(&line).into_owned(),
            marker: " ".repeat(indent) + &"^".repeat(width),
            hint,
        }
    }
}

impl fmt::Display for TopologyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", printable_line(&self.file))?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", printable_line(&self.what))?;
        if let Some(hint) = &self.hint {
            write!(f, "; {}", printable_line(hint))?;
        }
        if self.line > 0 {
            write!(f, "\n{:>5} | {}\n      | {}", self.line, self.source_line, self.marker)?;
        }
        Ok(())
    }
}

/// The width of the margin before a source line: the line number and a bar.
const MARGIN_CHARS: usize = 8;

/// The smallest number of characters shown of a line, however narrow the window is.
const LINE_CHARS_MIN: usize = 16;

impl TopologyProblem {
    /// Returns the problem for a window of this width. Of a longer line only the part around the
    /// place is shown, so that the line isn't wrapped and the carets stay below the text that they
    /// mark.
    #[must_use]
    pub fn fitting(mut self, window: usize) -> Self {
        let room = window.saturating_sub(MARGIN_CHARS).max(LINE_CHARS_MIN);
        if self.source_line.chars().count() <= room {
            return self;
        }
        let indent = self.marker.chars().take_while(|c| *c == ' ').count();
        let skipped = indent.saturating_sub(room / 2);
        self.source_line = self.source_line.chars().skip(skipped).take(room).collect();
        self.marker = self.marker.chars().skip(skipped).take(room).collect();
        self
    }
}

/// All problems of a topology file, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<TopologyProblem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl Problems {
    /// Returns the problems for a window of this width; see [`TopologyProblem::fitting`].
    #[must_use]
    pub fn fitting(self, window: usize) -> Self {
        Self(self.0.into_iter().map(|problem| problem.fitting(window)).collect())
    }
}

impl std::error::Error for Problems {}

/// The collector to which checks report problems.
#[derive(Default)]
pub(super) struct Report {
    pub sources: Sources,
    found: Vec<(Span, String, Option<String>)>,
    files: Vec<TopologyProblem>,
    uncounted: usize,
    /// Spans that no excerpt and no message may show, in addition to text that looks like a secret.
    concealed: Vec<Span>,
    /// True if an included file is missing: names that aren't found may be defined in it.
    pub incomplete: bool,
}

impl Report {
    /// Adds a problem.
    pub(crate) fn add(&mut self, span: Span, what: impl Into<String>) {
        self.push(span, what.into(), None);
    }

    /// Reports an unknown name, and lists the known names.
    pub(crate) fn add_unknown<'n>(
        &mut self,
        span: Span,
        what: impl Into<String>,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let near = if self.is_full() { None } else { nearest(name, known) };
        let hint = near.map(|near| format!("did you mean \"{near}\"?"));
        self.push(span, what.into(), hint);
    }

    /// Reports something that is given a second time, and the place of the first.
    pub(crate) fn add_again(&mut self, span: Span, what: impl Into<String>, first: Span) {
        let first = if self.is_full() { String::new() } else { self.sources.place_name(first) };
        self.push(span, format!("{}, first at {first}", what.into()), None);
    }

    /// Keeps a span out of all excerpts and messages.
    pub(crate) fn conceal(&mut self, span: Span) {
        self.concealed.push(span);
    }

    /// Reports a problem with a whole file.
    pub(crate) fn add_file(&mut self, problem: TopologyProblem) {
        self.files.push(problem);
    }

    fn push(&mut self, span: Span, what: String, hint: Option<String>) {
        if self.is_full() {
            self.uncounted += 1;
        } else {
            self.found.push((span, what, hint));
        }
    }

    /// Returns true if further problems are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() == PROBLEMS_MAX
    }

    /// Returns the number of problems.
    pub(crate) fn count(&self) -> usize {
        self.found.len() + self.files.len() + self.uncounted
    }

    /// Returns all problems, in the order of the text.
    pub(crate) fn finish(mut self) -> Problems {
        self.found.sort();
        self.found.dedup();
        let mut problems = self.files;
        let sources = &self.sources;
        // Problems are sorted by source, so that each source is searched for secrets only once.
        let (mut of, mut secrets): (Option<Span>, Vec<Range<usize>>) = (None, Vec::new());
        for (span, what, hint) in self.found {
            if of.is_none_or(|of| !of.is_in_source_of(span)) {
                (of, secrets) = (Some(span), sources.secrets(span));
                let concealed =
                    self.concealed.iter().filter(|concealed| concealed.is_in_source_of(span));
                secrets.extend(
                    concealed.map(|concealed| concealed.start as usize..concealed.end as usize),
                );
            }
            let what = unrepeated(&what, sources.whole_text(span), &secrets);
            problems.push(TopologyProblem::new(&sources.place(span), &secrets, what, hint));
        }
        if let (true, Some(last)) = (self.uncounted > 0, problems.last()) {
            let more = TopologyProblem::of_file(
                &last.file,
                format!("and {} more problems", self.uncounted),
            );
            problems.push(more);
        }
        Problems(problems)
    }
}

/// Returns the known name that was probably meant. A difference in case counts little, and up to a
/// third of the letters may be wrong.
pub fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    const NAME_BYTES_MAX: usize = 64;
    // A comparison takes a microsecond, and a file of 16 MiB may contain very many names.
    const KNOWN_MAX: usize = 10_000;
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = name.to_lowercase();
    let wrong_max = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .take(KNOWN_MAX)
        .filter(|known| known.len().abs_diff(name.len()) <= NAME_BYTES_MAX)
        .map(|known| (strsim::osa_distance(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= wrong_max && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Returns names as a list for a message: `"a", "b"`.
pub(super) fn quoted<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    const NAMES_MAX: usize = 20;
    let mut names = names.into_iter();
    let mut list =
        names.by_ref().take(NAMES_MAX).map(|name| format!("\"{name}\"")).collect::<Vec<_>>();
    list.extend(names.next().map(|_| "…".into()));
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let near = |name| nearest(name, ["in", "words", "count", "null"]);
        assert_eq!(near("inn"), Some("in"));
        assert_eq!(near("wrods"), Some("words"));
        assert_eq!(near("Count"), Some("count"));
        assert_eq!(near("nowhere"), None);
        assert_eq!(near(""), None);
        assert_eq!(near("x"), None);
    }

    #[test]
    fn in_a_narrow_window_the_carets_stand_below_what_they_mark() {
        let mut report = Report::default();
        let text = format!("{}bad{}", "a".repeat(90), "b".repeat(40));
        let span = report.sources.add("long.ron", text);
        report.add(span.at(90, 93), "no");
        let problem = report.finish().0.remove(0);
        assert_eq!(problem.clone().fitting(200), problem);
        for window in [20, 40, 60, 100] {
            let narrow = problem.clone().fitting(window);
            let text = narrow.to_string();
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= window.max(LINE_CHARS_MIN + MARGIN_CHARS), "{text}");
            let at = narrow.marker.find('^').unwrap();
            assert_eq!(narrow.source_line[at..at + 3], *"bad", "{text}");
            assert_eq!(narrow.marker[at..], *"^^^", "{text}");
        }
    }

    #[test]
    fn a_very_long_line_is_shown_around_the_place() {
        let mut report = Report::default();
        let span =
            report.sources.add("long.ron", format!("{}\tbad{}", "a".repeat(500), "b".repeat(500)));
        report.add(span.at(501, 504), "no");
        let problem = report.finish().0.remove(0);
        assert_eq!((problem.line, problem.column), (1, 502));
        assert_eq!(problem.source_line.chars().count(), LINE_CHARS_MAX);
        let marked: String =
            problem.source_line.chars().skip(problem.marker.find('^').unwrap()).take(3).collect();
        assert_eq!(marked, "bad");
    }
}

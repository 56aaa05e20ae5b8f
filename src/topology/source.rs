//! The texts from which a topology is read, and places in these texts.

use std::borrow::Cow;
use std::ops::Range;

use super::concealed::secrets_in;
use crate::printable::is_unprintable;

/// A piece of one of the [`Sources`], in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Span {
    source: u32,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Returns true if both spans are in the same text.
    pub(crate) fn is_in_source_of(self, other: Self) -> bool {
        self.source == other.source
    }

    /// Returns a span of the same text.
    pub(crate) fn at(self, start: usize, end: usize) -> Self {
        Self { source: self.source, start: to_u32(start), end: to_u32(end) }
    }
}

fn to_u32(offset: usize) -> u32 {
    u32::try_from(offset).expect("a source is refused above 16 MiB")
}

/// One text: a file, or the value of a `--set`.
struct Source {
    name: String,
    text: String,
    line_starts: Vec<u32>,
    /// The position at which the value begins, if this is a `--set`.
    set_value: Option<usize>,
}

/// A line of a source with a column, for a person.
pub(super) struct Place<'a> {
    pub file: &'a str,
    /// The position in the source at which the line begins, in bytes.
    pub start: usize,
    /// The line number, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line without its end.
    pub text: &'a str,
    /// The number of characters of this line that the span covers, at least one.
    pub width: usize,
}

/// All texts of one topology. The first is the main file.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

impl Sources {
    /// Adds a text, and returns the span of the whole text.
    pub(crate) fn add(&mut self, name: &str, text: String) -> Span {
        let line_starts = std::iter::once(0)
            .chain(
                text.bytes()
                    .enumerate()
                    .filter(|(_, byte)| *byte == b'\n')
                    .map(|(i, _)| to_u32(i + 1)),
            )
            .collect();
        let span = Span { source: to_u32(self.0.len()), start: 0, end: to_u32(text.len()) };
        self.0.push(Source { name: name.into(), text, line_starts, set_value: None });
        span
    }

    /// Adds the text of a `--set` whose value begins at byte `value`.
    pub(crate) fn add_set(&mut self, text: &str, value: usize) -> Span {
        let span = self.add("--set", text.into());
        self.0[span.source as usize].set_value = Some(value);
        span
    }

    /// Returns the text of a span.
    pub(crate) fn text(&self, span: Span) -> &str {
        &self.0[span.source as usize].text[span.start as usize..span.end as usize]
    }

    /// Returns the value of a `--set`, if the span is a bare word or a number at the beginning of
    /// the value: the value may be meant as text.
    pub(crate) fn loose_text(&self, span: Span) -> Option<&str> {
        let source = &self.0[span.source as usize];
        let value = &source.text[source.set_value?..];
        let start = source.text.len() - value.trim_start().len();
        let bare = !self.text(span).contains(['"', '\'', '(', '[', '{']);
        (bare && span.start as usize == start).then_some(value)
    }

    /// Returns the place at which a span begins.
    pub(crate) fn place(&self, span: Span) -> Place<'_> {
        let source = &self.0[span.source as usize];
        let line = source.line_starts.partition_point(|start| *start <= span.start);
        let start = source.line_starts[line - 1] as usize;
        let end = source.line_starts.get(line).map_or(source.text.len(), |next| *next as usize - 1);
        let text = source.text[start..end].trim_end_matches('\r');
        let chars = |from: usize, to: usize| {
            source.text.get(from..to).map_or(0, |piece| piece.chars().count())
        };
        let from = span.start as usize;
        Place {
            file: &source.name,
            start,
            line,
            column: 1 + chars(start, from),
            text,
            width: chars(from, (span.end as usize).min(start + text.len())).max(1),
        }
    }

    /// Returns the ranges that look like secrets in the source of a span.
    pub(crate) fn secrets(&self, span: Span) -> Vec<Range<usize>> {
        let source = &self.0[span.source as usize];
        secrets_in(&source.text, source.set_value.is_some())
    }

    /// Returns the whole text that contains a span.
    pub(crate) fn whole_text(&self, span: Span) -> &str {
        &self.0[span.source as usize].text
    }

    /// Returns a place as `file:line:column`.
    pub(crate) fn place_name(&self, span: Span) -> String {
        let place = self.place(span);
        format!("{}:{}:{}", place.file, place.line, place.column)
    }
}

/// Returns a line of a source in which each unprintable character is replaced by one character, so
/// that a marker below the line stays right.
pub(super) fn excerpt(line: &str) -> Cow<'_, str> {
    if line.contains(is_unprintable) {
        Cow::Owned(line.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect())
    } else {
        Cow::Borrowed(line)
    }
}

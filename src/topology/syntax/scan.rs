//! Scans blanks, comments, names and literals. This module only finds the end of a literal. `ron`
//! decides whether the literal is valid and which value it has, so that these rules are implemented
//! only once.

use unicode_ident::{is_xid_continue, is_xid_start};

use super::{Kind, SyntaxError};

/// A position in a text.
pub(super) struct Scanner<'s> {
    text: &'s str,
    pub at: usize,
}

fn is_blank(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t'
            | '\n'
            | '\r'
            | '\x0B'
            | '\x0C'
            | '\u{85}'
            | '\u{200E}'
            | '\u{200F}'
            | '\u{2028}'
            | '\u{2029}'
    )
}

fn is_number_start(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '+' | '-' | '.')
}

impl<'s> Scanner<'s> {
    /// Starts at the beginning of a text; skips a byte order mark.
    pub(crate) fn new(text: &'s str) -> Self {
        Self { text, at: if text.starts_with('\u{FEFF}') { '\u{FEFF}'.len_utf8() } else { 0 } }
    }

    pub(crate) fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Skips `piece` if the text continues with it.
    pub(crate) fn eat(&mut self, piece: &str) -> bool {
        let here = self.rest().starts_with(piece);
        self.at += if here { piece.len() } else { 0 };
        here
    }

    /// Returns the line and the column of a byte, both from 1, the column in characters.
    pub(crate) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// Returns the text from `start` to the current position.
    pub(crate) fn since(&self, start: usize) -> &'s str {
        &self.text[start..self.at]
    }

    fn eat_while(&mut self, test: impl Fn(char) -> bool) {
        self.at += self.rest().find(|c| !test(c)).unwrap_or(self.rest().len());
    }

    /// Returns an error that marks the text at the current position.
    pub(crate) fn error(&self, what: impl Into<String>) -> SyntaxError {
        let width = self.peek().map_or(0, char::len_utf8);
        SyntaxError { start: self.at, end: self.at + width, what: what.into() }
    }

    /// Returns an error that marks the text from `start` to the current position.
    pub(crate) fn error_since(&self, start: usize, what: impl Into<String>) -> SyntaxError {
        SyntaxError { start, end: self.at, what: what.into() }
    }

    /// Describes the text at the current position, for "expected …, found …".
    pub(crate) fn found(&self) -> String {
        self.peek().map_or("the end of the file".into(), |c| format!("{c:?}"))
    }

    /// Skips white space and comments.
    pub(crate) fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.eat_while(is_blank);
            if self.eat("//") {
                self.eat_while(|c| c != '\n');
            } else if self.rest().starts_with("/*") {
                self.skip_block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_block_comment(&mut self) -> Result<(), SyntaxError> {
        let (start, mut depth) = (self.at, 0_usize);
        loop {
            if self.eat("/*") {
                depth += 1;
            } else if self.eat("*/") {
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else if let Some(c) = self.peek() {
                self.at += c.len_utf8();
                self.eat_while(|c| c != '/' && c != '*');
            } else {
                return Err(SyntaxError {
                    start,
                    end: start + 2,
                    what: "this comment has no end".into(),
                });
            }
        }
    }

    /// Returns the identifier at the current position, plain or raw (`r#like-this`), if any.
    pub(crate) fn name(&mut self) -> Option<&'s str> {
        let rest = self.rest();
        let literals = ["b\"", "b'", "br#", "br\"", "r\"", "r#\"", "r##"];
        if literals.iter().any(|start| rest.starts_with(start)) {
            return None;
        }
        let start = self.at;
        if self.eat("r#") {
            self.eat_while(|c| is_xid_continue(c) || matches!(c, '.' | '+' | '-'));
            let name = self.since(start + 2);
            self.at = if name.is_empty() { start } else { self.at };
            return (!name.is_empty()).then_some(name);
        }
        if self.peek().is_some_and(|c| c == '_' || is_xid_start(c)) {
            self.eat_while(is_xid_continue);
            return Some(self.since(start));
        }
        None
    }

    /// Parses a text, a character, bytes or a number.
    pub(crate) fn literal(&mut self) -> Result<Kind, SyntaxError> {
        let start = self.at;
        if self.eat("\"") {
            return self.text_literal(start);
        }
        if self.eat("b\"") {
            self.skip_quoted(start, '"')?;
            return self.checked(start, Kind::Bytes);
        }
        if self.eat("br") || self.eat("r") {
            return self.raw_literal(start);
        }
        if self.eat("b'") || self.eat("'") {
            self.skip_character(start)?;
            let byte = self.since(start).starts_with('b');
            return self.checked(start, if byte { Kind::Number } else { Kind::Char });
        }
        if self.peek().is_some_and(is_number_start) {
            return self.number();
        }
        let found = self.found();
        Err(self.error(format!("expected a value, found {found}")))
    }

    /// Parses a number, or a range of numbers.
    pub(crate) fn number(&mut self) -> Result<Kind, SyntaxError> {
        let start = self.at;
        self.eat_while(|c| is_xid_continue(c) || matches!(c, '.' | '+' | '-' | '='));
        self.checked(start, Kind::Number)
    }

    fn text_literal(&mut self, start: usize) -> Result<Kind, SyntaxError> {
        self.skip_quoted(start, '"')?;
        let inside = &self.text[start + 1..self.at - 1];
        if !inside.contains('\\') {
            return Ok(Kind::Text(inside.into()));
        }
        let text =
            ron::from_str(self.since(start)).map_err(|error| self.bad_literal(start, &error))?;
        Ok(Kind::Text(text))
    }

    fn raw_literal(&mut self, start: usize) -> Result<Kind, SyntaxError> {
        let hashes = self.at;
        self.eat_while(|c| c == '#');
        let end = format!("\"{}", self.since(hashes));
        if !self.eat("\"") {
            return Err(self.error_since(start, "expected a raw text such as r#\"…\"#"));
        }
        let inside = self.at;
        let Some(length) = self.rest().find(&end) else {
            return Err(SyntaxError {
                start,
                end: inside,
                what: format!("this text has no end: expected {end}"),
            });
        };
        self.at += length;
        let text = self.since(inside).to_owned();
        self.at += end.len();
        if self.since(start).starts_with('b') {
            return self.checked(start, Kind::Bytes);
        }
        Ok(Kind::Text(text))
    }

    /// Skips to the position after the closing quote. The opening one has been read.
    fn skip_quoted(&mut self, start: usize, quote: char) -> Result<(), SyntaxError> {
        let opened = self.at;
        loop {
            self.eat_while(|c| c != quote && c != '\\');
            match self.peek() {
                Some('\\') => {
                    self.at += 1;
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                Some(_) => {
                    self.at += 1;
                    return Ok(());
                }
                None => {
                    return Err(SyntaxError {
                        start,
                        end: opened,
                        what: "this text has no end".into(),
                    });
                }
            }
        }
    }

    /// Skips to the position after the closing quote of a character. The opening one has been read;
    /// `'''` is a quote character.
    fn skip_character(&mut self, start: usize) -> Result<(), SyntaxError> {
        if self.peek() == Some('\\') {
            return self.skip_quoted(start, '\'');
        }
        self.at += self.peek().map_or(0, char::len_utf8);
        if self.eat("'") {
            Ok(())
        } else {
            Err(self.error_since(start, "expected a character such as 'a'"))
        }
    }

    /// Returns the literal from `start` to the current position, if `ron` accepts it.
    fn checked(&self, start: usize, kind: Kind) -> Result<Kind, SyntaxError> {
        match ron::from_str::<ron::Value>(self.since(start)) {
            Ok(_) => Ok(kind),
            Err(_) if matches!(kind, Kind::Number) => {
                Err(self.error_since(start, format!("bad number {}", self.since(start))))
            }
            Err(error) => Err(self.bad_literal(start, &error)),
        }
    }

    fn bad_literal(&self, start: usize, error: &ron::error::SpannedError) -> SyntaxError {
        let what = error.code.to_string().to_lowercase();
        self.error_since(start, format!("bad literal: {what}"))
    }
}

//! Parses text into a tree.

use super::scan::Scanner;
use super::{DEPTH_MAX, Field, Kind, Name, Node, SyntaxError};
use crate::topology::source::Span;

/// Parses a text that consists of one value. `text` is the end of the source that `whole` spans:
/// text before it (the path of a `--set`) is ignored.
pub(in crate::topology) fn parse(text: &str, whole: Span) -> Result<Node, SyntaxError> {
    let before = whole.end as usize - text.len();
    let mut parser = Parser { scan: Scanner::new(text), whole, before, depth: 0 };
    parser.document().map_err(|error| SyntaxError {
        start: before + error.start,
        end: before + error.end,
        what: error.what,
    })
}

struct Parser<'s> {
    scan: Scanner<'s>,
    whole: Span,
    before: usize,
    depth: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

impl Parser<'_> {
    fn document(&mut self) -> Parsed<Node> {
        self.attributes()?;
        let node = self.value()?;
        self.scan.skip_blanks()?;
        if self.scan.peek().is_some() {
            let found = self.scan.found();
            return Err(self.scan.error(format!("expected the end of the file, found {found}")));
        }
        Ok(node)
    }

    /// Returns the span from `start` to the current position.
    fn span(&self, start: usize) -> Span {
        self.whole.at(self.before + start, self.before + self.scan.at)
    }

    /// Skips `#![enable(…)]` lines, whose extensions the loader doesn't need.
    fn attributes(&mut self) -> Parsed<()> {
        self.scan.skip_blanks()?;
        while self.scan.peek() == Some('#') {
            let start = self.scan.at;
            for piece in ["#", "!", "["] {
                if !self.scan.eat(piece) {
                    return Err(self.scan.error_since(
                        start,
                        "expected an attribute such as #![enable(implicit_some)]",
                    ));
                }
                self.scan.skip_blanks()?;
            }
            self.attribute_body()?;
            self.scan.skip_blanks()?;
        }
        Ok(())
    }

    fn attribute_body(&mut self) -> Parsed<()> {
        let _name = self.scan.name();
        self.scan.skip_blanks()?;
        if self.scan.eat("=") {
            self.scan.skip_blanks()?;
            self.scan.literal()?;
        } else if self.scan.eat("(") {
            let opened = self.scan.at - 1;
            self.separated(opened, ")", |parser| {
                let name = parser.scan.name().map(|_| ());
                name.ok_or_else(|| parser.scan.error("expected the name of an extension"))
            })?;
        }
        self.scan.skip_blanks()?;
        if self.scan.eat("]") {
            Ok(())
        } else {
            Err(self.scan.error("expected `]`, the end of the attribute"))
        }
    }

    fn value(&mut self) -> Parsed<Node> {
        self.scan.skip_blanks()?;
        let start = self.scan.at;
        let kind = match self.scan.peek() {
            Some('(') => self.nested(|parser| parser.parentheses(None))?,
            Some('[') => self.nested(Self::list)?,
            Some('{') => self.nested(Self::map)?,
            _ => match self.scan.name() {
                Some(text) => {
                    let name = Name { text: text.into(), span: self.span(start) };
                    self.behind_name(name)?
                }
                None => self.scan.literal()?,
            },
        };
        Ok(Node { span: self.span(start), kind })
    }

    /// Parses the rest of a value that begins with a name: a bare name, a named struct or tuple, or
    /// a literal such as `true`.
    fn behind_name(&mut self, name: Name) -> Parsed<Kind> {
        match name.text.as_str() {
            "true" | "false" => return Ok(Kind::Bool),
            "inf" | "inff32" | "inff64" | "NaN" | "NaNf32" | "NaNf64" => {
                if self.scan.peek() == Some('.') {
                    self.scan.at -= name.text.len();
                    return self.scan.number();
                }
                return Ok(Kind::Number);
            }
            _ => {}
        }
        let end = self.scan.at;
        self.scan.skip_blanks()?;
        if self.scan.peek() == Some('(') {
            return self.nested(|parser| parser.parentheses(Some(name)));
        }
        self.scan.at = end;
        Ok(Kind::Name(name))
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Parsed<Kind>) -> Parsed<Kind> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.scan.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let kind = read(self);
        self.depth -= 1;
        kind
    }

    fn parentheses(&mut self, name: Option<Name>) -> Parsed<Kind> {
        let opened = self.scan.at;
        self.scan.eat("(");
        if self.field_ahead()? {
            let fields = self.separated(opened, ")", Self::field)?;
            return Ok(Kind::Struct { name, fields });
        }
        let items = self.separated(opened, ")", Self::value)?;
        Ok(Kind::Tuple { name, items })
    }

    /// Returns true if `name:` comes next.
    fn field_ahead(&mut self) -> Parsed<bool> {
        self.scan.skip_blanks()?;
        let start = self.scan.at;
        let named = self.scan.name().is_some() && {
            self.scan.skip_blanks()?;
            self.scan.peek() == Some(':')
        };
        self.scan.at = start;
        Ok(named)
    }

    fn field(&mut self) -> Parsed<Field> {
        let start = self.scan.at;
        let Some(text) = self.scan.name() else {
            let found = self.scan.found();
            let hint =
                if self.scan.peek() == Some('"') { "; it stands without quotes" } else { "" };
            return Err(self
                .scan
                .error(format!("expected the name of a field, found {found}{hint}")));
        };
        let name = Name { text: text.into(), span: self.span(start) };
        self.colon()?;
        Ok(Field { name, value: self.value()? })
    }

    fn list(&mut self) -> Parsed<Kind> {
        let opened = self.scan.at;
        self.scan.eat("[");
        self.separated(opened, "]", Self::value).map(Kind::List)
    }

    fn map(&mut self) -> Parsed<Kind> {
        let opened = self.scan.at;
        self.scan.eat("{");
        let entry = |parser: &mut Self| {
            let key = parser.value()?;
            parser.colon()?;
            Ok((key, parser.value()?))
        };
        self.separated(opened, "}", entry).map(Kind::Map)
    }

    fn colon(&mut self) -> Parsed<()> {
        self.scan.skip_blanks()?;
        if self.scan.eat(":") {
            return Ok(());
        }
        let found = self.scan.found();
        let hint = if self.scan.peek() == Some('=') { "; write `name: value`" } else { "" };
        Err(self.scan.error(format!("expected `:`, found {found}{hint}")))
    }

    /// Returns the error about an item that is followed neither by a comma nor by the closing
    /// bracket.
    fn not_separated(&self, opened: usize, close: &str) -> SyntaxError {
        let found = self.scan.found();
        let in_parentheses = close == ")";
        let what = match self.scan.peek() {
            Some('=') if in_parentheses => {
                format!("expected `:` between the name of a field and its value, found {found}")
            }
            Some(':') if in_parentheses => format!(
                "expected `,` or `{close}`, found {found}; the name of a field stands without \
                 quotes: `name: \"capture\"`"
            ),
            Some(')' | ']' | '}') => {
                let (line, column) = self.scan.line_and_column(opened);
                format!(
                    "expected `{close}`, which closes the bracket at {line}:{column}, found {found}"
                )
            }
            _ => format!("expected `,` or `{close}`, found {found}"),
        };
        self.scan.error(what)
    }

    /// Parses items separated by commas, with an optional trailing comma, up to and including the
    /// closing bracket.
    fn separated<T>(
        &mut self,
        opened: usize,
        close: &str,
        item: impl Fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.scan.skip_blanks()?;
            if self.scan.eat(close) {
                return Ok(items);
            }
            if self.scan.peek().is_none() {
                let what = format!("this bracket is never closed: expected `{close}`");
                return Err(SyntaxError { start: opened, end: opened + 1, what });
            }
            items.push(item(self)?);
            self.scan.skip_blanks()?;
            if !self.scan.eat(",")
                && !self.scan.rest().starts_with(close)
                && self.scan.peek().is_some()
            {
                return Err(self.not_separated(opened, close));
            }
        }
    }
}

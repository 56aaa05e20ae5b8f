//! Parses RON and keeps the place of each value. The `ron` crate stops at the first error and
//! forgets places, so the loader reads the text into a tree of its own. A test checks that both
//! accept the same syntax.

mod parse;
mod scan;

pub(super) use parse::parse;

use super::source::Span;

/// The deepest nesting that is accepted, so that no later walk over the tree overflows the stack.
pub(super) const DEPTH_MAX: usize = 128;

/// An error that says why a text isn't RON.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub start: usize,
    pub end: usize,
    pub what: String,
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub kind: Kind,
}

/// An identifier and its place.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub text: String,
    pub span: Span,
}

/// A field: `name: value`.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: Name,
    pub value: Node,
}

/// The kind of a value. Numbers and other literals keep only their span, which has their spelling.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    Number,
    Bool,
    Char,
    Bytes,
    /// A bare identifier, such as `Off`.
    Name(Name),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// `Name(a: 1)` or `(a: 1)`.
    Struct {
        name: Option<Name>,
        fields: Vec<Field>,
    },
    /// `Name(1, 2)`, `(1, 2)`, `Name()` or `()`.
    Tuple {
        name: Option<Name>,
        items: Vec<Node>,
    },
}

impl Node {
    /// Returns the text, if the value is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the name in front of the parentheses, or the bare name.
    pub(crate) fn name(&self) -> Option<&Name> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            Kind::Struct { name, .. } | Kind::Tuple { name, .. } => name.as_ref(),
            _ => None,
        }
    }

    /// Returns the span to mark if the value as a whole is wrong: its name, or the whole value.
    pub(crate) fn head(&self) -> Span {
        self.name().map_or(self.span, |name| name.span)
    }

    /// Returns the fields of a struct; an empty list for `Name()` and `Name`; `None` for lists,
    /// positional values and literals.
    pub(crate) fn fields(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Struct { fields, .. } => Some(fields),
            Kind::Tuple { items, .. } if items.is_empty() => Some(&[]),
            Kind::Name(_) => Some(&[]),
            _ => None,
        }
    }

    /// Describes the value for "expected …, found …".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Text(_) => "text".into(),
            Kind::Number => "a number".into(),
            Kind::Bool => "true or false".into(),
            Kind::Char => "a character".into(),
            Kind::Bytes => "bytes".into(),
            Kind::Name(name) => format!("`{}`", name.text),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
            Kind::Struct { name: Some(name), .. } | Kind::Tuple { name: Some(name), .. } => {
                format!("`{}(…)`", name.text)
            }
            Kind::Struct { name: None, .. } => "fields without a name in front".into(),
            Kind::Tuple { name: None, .. } => "a tuple".into(),
        }
    }
}

//! RON with places: the `ron` crate stops at the first error and forgets where values stood, so the
//! loader reads the text into a tree of its own. A test holds the two to the same syntax.

mod parse;
mod scan;

pub(super) use parse::parse;

use super::source::Span;

/// Nesting deeper than this is refused, so that no later walk over the tree can use up the stack.
pub(super) const DEPTH_MAX: usize = 128;

/// Why a text isn't RON.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub start: usize,
    pub end: usize,
    pub what: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub span: Span,
    pub kind: Kind,
}

/// An identifier and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub text: String,
    pub span: Span,
}

/// `name: value`.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: Name,
    pub value: Node,
}

/// What a value is. Numbers and the like keep their spelling only, in the span.
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
    /// The text, if this is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The name in front of the parentheses, or the bare name.
    pub(crate) fn name(&self) -> Option<&Name> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            Kind::Struct { name, .. } | Kind::Tuple { name, .. } => name.as_ref(),
            _ => None,
        }
    }

    /// What to mark when the value as a whole is wrong: its name, or all of it.
    pub(crate) fn head(&self) -> Span {
        self.name().map_or(self.span, |name| name.span)
    }

    /// The named fields: those of a struct, and none of `Name()` and `Name`. A list, positional
    /// values and the like have no answer.
    pub(crate) fn fields(&self) -> Option<&[Field]> {
        match &self.kind {
            Kind::Struct { fields, .. } => Some(fields),
            Kind::Tuple { items, .. } if items.is_empty() => Some(&[]),
            Kind::Name(_) => Some(&[]),
            _ => None,
        }
    }

    /// What this is, for "expected …, found …".
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

//! Prints a tree as text: on one line for `ron`, with a map back to the original places, or laid
//! out for people.

use std::collections::{HashMap, HashSet};

use unicode_ident::{is_xid_continue, is_xid_start};

use super::source::{Sources, Span};
use super::syntax::{Field, Kind, Name, Node};

/// The width beyond which a line of an explained topology is broken.
const LINE_CHARS_MAX: usize = 100;

/// Returns text as a RON string, always on one line.
pub(super) fn quote(text: &str) -> String {
    format!("{text:?}")
}

/// Differences between a tree and its printed text.
#[derive(Default)]
pub(super) struct Changes {
    /// The names of fields to leave out together with their values.
    pub left_out: HashSet<Span>,
    /// RON that replaces values.
    pub instead: HashMap<Span, String>,
}

/// A printed tree, and the position of each of its nodes in the text.
#[derive(Default)]
pub(super) struct Printed {
    pub text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
    node: Span,
    head: Span,
    leaf: bool,
}

impl Printed {
    /// Returns the smallest node that extends to a byte of the printed text: its span and the part
    /// of it to mark. If `leaves` is false, only nodes that contain others are searched, because a
    /// missing field concerns the node that should contain it.
    pub(crate) fn node_at(&self, offset: usize, leaves: bool) -> Option<(Span, Span)> {
        self.pieces
            .iter()
            .filter(|piece| piece.start <= offset && offset <= piece.end && (leaves || !piece.leaf))
            .min_by_key(|piece| piece.end - piece.start)
            .map(|piece| (piece.node, piece.head))
    }
}

/// Prints a tree on one line.
pub(super) fn print(sources: &Sources, node: &Node, changes: &Changes) -> Printed {
    let mut printer = Printer { sources, changes, out: Printed::default() };
    printer.node(node);
    printer.out
}

/// Lays a tree out for people. The outermost `levels` levels are always broken into lines, and so
/// is everything too long for one line.
pub(super) fn layout(sources: &Sources, node: &Node, levels: usize) -> String {
    let mut out = String::new();
    lay_out(sources, node, 0, levels, &mut out);
    out
}

struct Printer<'a> {
    sources: &'a Sources,
    changes: &'a Changes,
    out: Printed,
}

impl Printer<'_> {
    fn node(&mut self, node: &Node) {
        let start = self.out.text.len();
        let instead = self.changes.instead.get(&node.span);
        let mut leaf = true;
        match (&node.kind, instead) {
            (_, Some(text)) => self.out.text.push_str(text),
            (Kind::Text(text), _) => self.out.text.push_str(&quote(text)),
            (Kind::Number | Kind::Bool | Kind::Char | Kind::Bytes, _) => {
                self.out.text.push_str(self.sources.text(node.span));
            }
            (Kind::Name(name), _) => self.name(Some(name)),
            (Kind::List(items), _) => {
                self.items("[", items, "]", |printer, item| printer.node(item))
            }
            (Kind::Map(entries), _) => self.items("{", entries, "}", |printer, (key, value)| {
                printer.node(key);
                printer.out.text.push_str(": ");
                printer.node(value);
            }),
            (Kind::Struct { name, fields }, _) => {
                leaf = false;
                self.name(name.as_ref());
                let kept = |field: &&Field| !self.changes.left_out.contains(&field.name.span);
                let fields: Vec<_> = fields.iter().filter(kept).collect();
                self.items("(", &fields, ")", |printer, field| {
                    printer.name(Some(&field.name));
                    printer.out.text.push_str(": ");
                    printer.node(&field.value);
                });
            }
            (Kind::Tuple { name, items }, _) => {
                leaf = false;
                self.name(name.as_ref());
                self.items("(", items, ")", |printer, item| printer.node(item));
            }
        }
        let end = self.out.text.len();
        self.out.pieces.push(Piece { start, end, node: node.span, head: node.head(), leaf });
    }

    fn name(&mut self, name: Option<&Name>) {
        if let Some(name) = name {
            self.out.text.push_str(&identifier(&name.text));
        }
    }

    fn items<T>(
        &mut self,
        open: &str,
        items: &[T],
        close: &str,
        mut print: impl FnMut(&mut Self, &T),
    ) {
        self.out.text.push_str(open);
        for (i, item) in items.iter().enumerate() {
            self.out.text.push_str(if i > 0 { ", " } else { "" });
            print(self, item);
        }
        self.out.text.push_str(close);
    }
}

/// Returns a name as RON accepts it: a name with unusual characters needs `r#`.
fn identifier(name: &str) -> String {
    let plain =
        name.starts_with(|c| c == '_' || is_xid_start(c)) && name.chars().all(is_xid_continue);
    format!("{}{name}", if plain { "" } else { "r#" })
}

fn lay_out(sources: &Sources, node: &Node, indent: usize, levels: usize, out: &mut String) {
    let line = print(sources, node, &Changes::default()).text;
    let column = out.len() - out.rfind('\n').map_or(0, |end| end + 1);
    let (open, parts, close) = parts(node);
    if parts.is_empty() || (levels == 0 && column + line.len() < LINE_CHARS_MAX) {
        out.push_str(&line);
        return;
    }
    out.push_str(&open);
    for (label, value) in parts {
        out.push('\n');
        out.push_str(&" ".repeat(indent + 4));
        if let Some(label) = label {
            match label {
                Label::Field(name) => out.push_str(&identifier(&name.text)),
                Label::Key(key) => out.push_str(&print(sources, key, &Changes::default()).text),
            }
            out.push_str(": ");
        }
        lay_out(sources, value, indent + 4, levels.saturating_sub(1), out);
        out.push(',');
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push_str(close);
}

enum Label<'n> {
    Field(&'n Name),
    Key(&'n Node),
}

type Parts<'n> = Vec<(Option<Label<'n>>, &'n Node)>;

/// Returns the brackets of a node and the parts between them.
fn parts(node: &Node) -> (String, Parts<'_>, &'static str) {
    let open = |name: &Option<Name>| {
        format!("{}(", name.as_ref().map_or(String::new(), |name| identifier(&name.text)))
    };
    match &node.kind {
        Kind::List(items) => ("[".into(), items.iter().map(|item| (None, item)).collect(), "]"),
        Kind::Map(entries) => (
            "{".into(),
            entries.iter().map(|(key, value)| (Some(Label::Key(key)), value)).collect(),
            "}",
        ),
        Kind::Struct { name, fields } => {
            let parts = fields.iter().map(|field| (Some(Label::Field(&field.name)), &field.value));
            (open(name), parts.collect(), ")")
        }
        Kind::Tuple { name, items } => {
            (open(name), items.iter().map(|item| (None, item)).collect(), ")")
        }
        _ => (String::new(), Vec::new(), ""),
    }
}

//! A topology as a picture: boxes for components, arrows for streams with their rates.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::frame::count;
use super::layout::{Cell, lay_out};
use crate::watch::report::{Report, Row};

/// The size of a box, and the room between boxes, in the picture's own units.
const BOX_WIDTH: usize = 172;
const BOX_HEIGHT: usize = 64;
const GAP_X: usize = 128;
const GAP_Y: usize = 26;
const MARGIN: usize = 12;

/// The length of an arrow's straight beginning, above which its rate stands.
const RATE_WIDTH: usize = 62;

/// The share of its time from which on a component counts as busy.
const BUSY: f64 = 0.5;

/// The longest text in a box, in characters.
const LABEL_CHARS_MAX: usize = 20;

/// Returns the load of a component, which the picture shows by a colour and in words.
pub(crate) fn load_of(row: &Row) -> &'static str {
    match row.state.as_str() {
        "blocked" => "held back",
        _ if row.capacity >= BUSY => "busy",
        _ => "idle",
    }
}

/// Draws the picture.
pub(crate) fn graph(report: &Report, flow: &[(String, String)]) -> Markup {
    let rows = &report.components;
    let index: BTreeMap<&str, usize> =
        rows.iter().enumerate().map(|(number, row)| (row.id.as_str(), number)).collect();
    let ends = |(from, to): &(String, String)| {
        Some((*index.get(from.as_str())?, *index.get(to.as_str())?))
    };
    let mut edges: Vec<(usize, usize)> = flow.iter().filter_map(ends).collect();
    edges.sort_unstable();
    edges.dedup();
    let cells = lay_out(rows.len(), &edges);
    let layers = cells.iter().map(|cell| cell.layer + 1).max().unwrap_or(1);
    let height_of = cells.iter().map(|cell| cell.position + 1).max().unwrap_or(1);
    let width = 2 * MARGIN + layers * BOX_WIDTH + (layers - 1) * GAP_X;
    let height = 2 * MARGIN + height_of * BOX_HEIGHT + (height_of - 1) * GAP_Y;
    html! {
        div.wide tabindex="0" role="region" aria-label="The graph" {
            svg.graph xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}"))
                width=(width) height=(height) role="img" aria-labelledby="graph-text" {
                title #graph-text { (in_words(rows, &edges)) }
                defs {
                    marker #arrow viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
                        orient="auto" { path.tip d="M0 0 L8 4 L0 8 z" {} }
                }
                @for (from, to) in &edges { (arrow(cells[*from], cells[*to])) }
                @for (from, row) in rows.iter().enumerate() {
                    // All arrows of a component begin at one point.
                    @if edges.iter().any(|(begin, _)| *begin == from) { (rate(cells[from], row)) }
                }
                @for (row, cell) in rows.iter().zip(&cells) { (component(row, *cell)) }
            }
        }
    }
}

/// Describes the picture for screen readers.
fn in_words(rows: &[Row], edges: &[(usize, usize)]) -> String {
    let parts = edges.iter().map(|(from, to)| {
        format!(
            "{} sends {} tuples per second to {}",
            rows[*from].id,
            count(rows[*from].out_per_s),
            rows[*to].id
        )
    });
    parts.collect::<Vec<_>>().join("; ")
}

fn corner(cell: Cell) -> (usize, usize) {
    (MARGIN + cell.layer * (BOX_WIDTH + GAP_X), MARGIN + cell.position * (BOX_HEIGHT + GAP_Y))
}

fn arrow(from: Cell, to: Cell) -> Markup {
    let ((x1, y1), (x2, y2)) = (corner(from), corner(to));
    let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
    let bend = x1 + RATE_WIDTH;
    let middle = bend.midpoint(x2);
    let path = format!("M{x1} {y1} H{bend} C{middle} {y1} {middle} {y2} {x2} {y2}");
    html! { path.edge d=(path) marker-end="url(#arrow)" {} }
}

/// Draws the number of tuples that a component emits per second, above the beginning of its arrows.
fn rate(from: Cell, row: &Row) -> Markup {
    let (x, y) = corner(from);
    let (x, y) = (x + BOX_WIDTH + 6, y + BOX_HEIGHT / 2 - 6);
    html! { text.rate x=(x) y=(y) { (count(row.out_per_s)) "/s" } }
}

fn component(row: &Row, cell: Cell) -> Markup {
    let (x, y) = corner(cell);
    let load = load_of(row);
    let tasks = if row.tasks == 1 { "1 task".to_owned() } else { format!("{} tasks", row.tasks) };
    let note = if row.bottleneck { "bottleneck" } else { load };
    html! {
        g.component data-load=(load) data-bottleneck=(row.bottleneck) {
            title { (row.id) ": " (row.state) ", " (load) }
            rect x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="6" {}
            text.name x=(x + 10) y=(y + 25) { (shortened(&row.id)) }
            text.note x=(x + 10) y=(y + 48) { (tasks) " · " (note) }
        }
    }
}

fn shortened(id: &str) -> String {
    if id.chars().count() <= LABEL_CHARS_MAX {
        return id.to_owned();
    }
    id.chars().take(LABEL_CHARS_MAX - 1).chain(['…']).collect()
}

//! Small curves beside numbers.

use maud::{Markup, html};

/// The size of a curve, in its own units.
const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 22.0;

/// Draws a curve of some values, oldest first; nothing if there are too few.
pub(crate) fn curve(values: &[f64], label: &str) -> Markup {
    let highest = values.iter().copied().fold(0.0, f64::max);
    if values.len() < 2 {
        return html! { span.quiet { "–" } };
    }
    let scale = if highest > 0.0 { (HEIGHT - 2.0) / highest } else { 0.0 };
    let step = WIDTH / (values.len() - 1) as f64;
    let point = |(number, value): (usize, &f64)| {
        format!("{:.1},{:.1}", number as f64 * step, HEIGHT - 1.0 - value * scale)
    };
    let points: Vec<String> = values.iter().enumerate().map(point).collect();
    html! {
        svg.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH) height=(HEIGHT) role="img"
            aria-label=(label) {
            polyline points=(points.join(" ")) {}
        }
    }
}

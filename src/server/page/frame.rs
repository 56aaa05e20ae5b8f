//! The frame of all pages, and the forms of numbers and tables in them.

use std::fmt::Write;

use maud::{DOCTYPE, Markup, html};

/// Makes a whole page.
pub(crate) fn page(title: &str, is_known: bool, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Waterspout" }
                link rel="stylesheet" href="/static/page.css";
                link rel="icon" type="image/svg+xml" href="/static/sign.svg";
                script src="/static/page.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    a.brand href="/" { "Waterspout" }
                    @if is_known {
                        nav aria-label="Pages" {
                            a href="/" { "Topologies" }
                            a href="/new" { "Submit" }
                            form method="post" action="/logout" {
                                button.plain type="submit" { "Log out" }
                            }
                        }
                    }
                }
                main #content { (content) }
            }
        }
    }
}

/// The head of a column: of numbers, which are aligned to the right, or of anything else.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// A column of numbers.
    Number(&'static str),
    /// Any other column.
    Text(&'static str),
}

/// Makes a table that scrolls by itself if its window is too narrow; `rows` has its `tr` elements.
pub(crate) fn table(label: &str, columns: &[Column], rows: &Markup) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label=(label) {
            table {
                thead {
                    tr {
                        @for column in columns {
                            @match column {
                                Column::Number(name) => { th.number scope="col" { (name) } },
                                Column::Text(name) => { th scope="col" { (name) } },
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

/// Quotes a text as a part of an address.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                quoted.push(char::from(byte));
            }
            // Writing into a text can't fail.
            _ => drop(write!(quoted, "%{byte:02X}")),
        }
    }
    quoted
}

/// Returns the address of a topology's page.
pub(crate) fn address(name: &str, operation: &str) -> String {
    let tail = if operation.is_empty() { String::new() } else { format!("/{operation}") };
    format!("/topology/{}{tail}", quoted(name))
}

/// Formats a number for people: `1,234`, `12.3 k`, `4.5 M`.
pub(crate) fn count(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.1} G", n / 1e9),
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n if n >= 1e4 => format!("{:.1} k", n / 1e3),
        n if n >= 10.0 || n == 0.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

/// Formats a number of bytes for people.
pub(crate) fn bytes(number: u64) -> String {
    let number = number as f64;
    match number {
        n if n >= 1e9 => format!("{:.1} GB", n / 1e9),
        n if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        n if n >= 1e3 => format!("{:.0} kB", n / 1e3),
        n => format!("{n:.0} B"),
    }
}

/// Formats seconds for people: `320 ms`, `12 s`, `3 min`, `2 h`, `4 d`.
pub(crate) fn span(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 0.25, 9.0, 10.4, 9_999.0, 12_345.0, 4_500_000.0].map(count);
        assert_eq!(counts, ["0", "0.2", "9.0", "10", "9999", "12.3 k", "4.5 M"]);
        let spans = [0.000_5, 0.32, 12.0, 180.0, 7_200.0, 400_000.0].map(span);
        assert_eq!(spans, ["500 µs", "320 ms", "12 s", "3 min", "2 h", "5 d"]);
        assert_eq!(address("a b/ü", "live"), "/topology/a%20b%2F%C3%BC/live");
    }
}

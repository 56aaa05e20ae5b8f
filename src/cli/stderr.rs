//! Standard error, for text for people: escapes what would steer a terminal or forge a line.
//! Nothing else in `cli` writes to standard error (`tests/house.rs`).
//!
//! Where standard error is closed there is nobody to tell, and the work goes on: no function here
//! fails.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::log;
use crate::clock::SystemClock;
use crate::log_level::LogLevel;
use crate::printable::{printable_line, printable_text};
use crate::secret::hide_in_addresses;

/// The width of a window that doesn't tell its own.
const WIDTH_UNKNOWN: u16 = 80;

/// True once lines of JSON are written: from then on every line is one.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Marks that a program reads: texts become lines of JSON from here on, so that no text stands
/// between them.
pub(crate) fn begin_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// A text as lines of JSON: each of its lines is one, whose level its beginning tells.
fn as_json(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        let (level, line) = match line.strip_prefix("error: ") {
            Some(line) => (LogLevel::Error, line),
            None => (LogLevel::Info, line),
        };
        lines.push_str(&log::json_line(level, None, Some(SystemClock::shared().now()), line));
        lines.push('\n');
    }
    lines
}

/// Prints a sentence on a line of its own.
pub(crate) fn say(line: &str) {
    if IS_JSON.load(Ordering::Relaxed) {
        return write(&printable_text(&as_json(&hide_in_addresses(line))));
    }
    write(&format!("{}\n", printable_line(&hide_in_addresses(line))));
}

/// Prints a text of several lines, whose line breaks are the caller's, or lines of JSON.
pub(crate) fn print(text: &str) {
    if IS_JSON.load(Ordering::Relaxed) && !text.starts_with('{') {
        return write(&printable_text(&as_json(&hide_in_addresses(text.trim_end()))));
    }
    write(&format!("{}\n", printable_text(&hide_in_addresses(text.trim_end()))));
}

/// Draws a frame: control sequences of ours around texts that are printable already.
pub(crate) fn draw(frame: &[u8]) {
    let _ = io::stderr().lock().write_all(frame);
}

/// Prints why printable arguments aren't taken, in colours where there are any.
pub(crate) fn usage(error: &clap::Error) {
    let _ = error.print();
}

/// Returns true if a person reads it.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// How wide the window is that it is shown in, in characters.
pub(crate) fn width() -> usize {
    let size = crossterm::terminal::size().ok().filter(|(width, _)| *width > 0);
    usize::from(size.map_or(WIDTH_UNKNOWN, |(width, _)| width))
}

fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

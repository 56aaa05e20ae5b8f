//! Standard error, for text for people: escapes what would steer a terminal or forge a line.
//! Nothing else in `cli` writes to standard error (`tests/house.rs`).
//!
//! Where standard error is closed there is nobody to tell, and the work goes on: no function here
//! fails.

use std::io::{self, IsTerminal, Write};

use crate::printable::{printable_line, printable_text};
use crate::secret::hide_in_addresses;

/// Prints a sentence on a line of its own.
pub fn say(line: &str) {
    write(&format!("{}\n", printable_line(&hide_in_addresses(line))));
}

/// Prints a text of several lines, whose line breaks are the caller's, or lines of JSON.
pub fn print(text: &str) {
    write(&format!("{}\n", printable_text(&hide_in_addresses(text.trim_end()))));
}

/// Draws a frame: control sequences of ours around texts that are printable already.
pub fn draw(frame: &[u8]) {
    let _ = io::stderr().lock().write_all(frame);
}

/// Prints why printable arguments aren't taken, in colours where there are any.
pub fn usage(error: &clap::Error) {
    let _ = error.print();
}

/// Returns true if a person reads it.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

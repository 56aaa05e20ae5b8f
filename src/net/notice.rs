//! Short notes for a person who waits for a server. A command for people sets their destination; a
//! running topology doesn't, since its table and log show the same.

use std::sync::OnceLock;
use std::time::Duration;

/// The time that a request may take before a note says what the program waits for.
pub const NOTICE_AFTER: Duration = Duration::from_secs(2);

static TELL: OnceLock<fn(&str)> = OnceLock::new();

/// Sets the destination of notes, for the whole process. The first call counts.
pub fn tell_by(tell: fn(&str)) {
    // A second caller sets the same destination.
    let _ = TELL.set(tell);
}

/// Sends a note, if somebody waits for it.
pub fn tell(text: &str) {
    if let Some(tell) = TELL.get() {
        tell(text);
    }
}

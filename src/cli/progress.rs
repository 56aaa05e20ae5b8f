//! Progress of long work, on a terminal: a bar with the rate and the time left, and a line for each
//! finished part above it. Nothing where standard error is piped.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::exit::Outcome;
use super::run::summary::plural;
use super::run::units;
use super::{stderr, stdout};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::printable::printable_line;
use crate::progress;

/// The time between two drawings of the bar. What changes faster can't be read.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The length of the bar itself, in characters.
const BAR_CHARS: usize = 20;

/// The unit of what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes that are read.
    Bytes,
    /// Partitions.
    Partitions,
}

/// The line at the end of a terminal that is drawn again and again.
#[derive(Debug, Default)]
pub(crate) struct StatusLine {
    is_drawn: bool,
}

impl StatusLine {
    /// Draws it, if a person reads standard error.
    pub(crate) fn draw(&mut self, text: &str) {
        if stderr::is_terminal() {
            self.is_drawn = true;
            stderr::draw(format!("\r\x1b[K{}", printable_line(text)).as_bytes());
        }
    }

    /// Takes it away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            stderr::draw(b"\r\x1b[K");
        }
    }

    /// Says something that stays, above it.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear();
        stderr::say(line);
    }
}

/// A bar that shows how far the work of this process has come, until it is dropped.
pub(crate) struct ProgressBar {
    shown: Option<Shown>,
}

struct Shown {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    what: &'static str,
    unit: Unit,
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    line: StatusLine,
    is_over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProgressBar {
    /// Begins to show it, if a person reads standard error; only then the total is found out.
    ///
    /// # Errors
    /// If the total can't be found out.
    pub(crate) fn begin(
        what: &'static str,
        unit: Unit,
        total: impl FnOnce() -> Result<u64>,
    ) -> Result<Self> {
        if !stderr::is_terminal() {
            return Ok(Self { shown: None });
        }
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { what, unit, total: total()?, state, changed });
        progress::begin();
        let drawer = Arc::clone(&shared);
        let draw = move || draw_until_over(&drawer);
        // Without a thread the work is done as well.
        let thread = thread::Builder::new().name("progress".into()).spawn(draw).ok();
        Ok(Self { shown: Some(Shown { shared, thread }) })
    }

    /// Prints on standard output, which may be the same terminal.
    pub(crate) fn print(&self, text: &str) -> Outcome {
        let Some(Shown { shared, .. }) = &self.shown else { return stdout::print(text) };
        let mut state = shared.state();
        show_lines(&mut state);
        state.line.clear();
        stdout::print(text)
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        let Some(Shown { shared, thread }) = &mut self.shown else { return };
        shared.state().is_over = true;
        shared.changed.notify_all();
        if let Some(thread) = thread.take() {
            // It has nothing to tell.
            let _ = thread.join();
        }
        progress::end();
        let mut state = shared.state();
        show_lines(&mut state);
        state.line.clear();
    }
}

fn show_lines(state: &mut State) {
    for line in progress::take_lines() {
        state.line.say(&line);
    }
}

fn draw_until_over(shared: &Shared) {
    let clock = SystemClock::shared();
    let mut state = shared.state();
    while !state.is_over {
        show_lines(&mut state);
        let elapsed = clock.monotonic();
        let text = line(
            shared.what,
            shared.unit,
            (progress::done(), shared.total),
            elapsed,
            stderr::width(),
        );
        state.line.draw(&text);
        let waited = shared.changed.wait_timeout(state, DRAW_EVERY);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// `verify [#####---------------]  25%, 128.0 MiB of 512.0 MiB, 64.0 MiB/s, 6.0 s left`, as much of
/// it as fits the window.
pub(crate) fn line(
    what: &str,
    unit: Unit,
    (done, total): (u64, u64),
    elapsed: Duration,
    width: usize,
) -> String {
    let done = done.min(total);
    let part = if total == 0 { 0.0 } else { done as f64 / total as f64 };
    let filled = (part * BAR_CHARS as f64) as usize;
    let bar = format!("[{}{}]", "#".repeat(filled), "-".repeat(BAR_CHARS - filled));
    let percent = format!("{:>3.0}%", (part * 100.0).floor());
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
    let (amount, speed) = match unit {
        Unit::Bytes => (
            format!("{} of {}", units::bytes(done), units::bytes(total)),
            format!("{}/s", units::bytes(rate as u64)),
        ),
        Unit::Partitions => (
            format!("{done} of {}", plural(total, "partition")),
            format!("{}/s", units::rate(rate)),
        ),
    };
    let left = match rate {
        rate if rate > 0.0 => format!("{} left", units::seconds((total - done) as f64 / rate)),
        _ => String::new(),
    };
    let mut text = format!("{what} {bar} {percent}");
    for more in [amount, speed, left] {
        // The cursor stands behind it.
        if !more.is_empty() && text.chars().count() + 2 + more.chars().count() < width {
            text = format!("{text}, {more}");
        }
    }
    if text.chars().count() >= width {
        text = format!("{what} {percent}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unit: Unit, counts: (u64, u64), seconds: u64, width: usize, expected: &str) {
        let text = line("verify", unit, counts, Duration::from_secs(seconds), width);
        assert_eq!(text, expected);
        assert!(text.chars().count() < width, "{text}");
    }

    #[test]
    fn the_bar_has_the_rate_and_the_time_left_as_far_as_the_window_is_wide() {
        const MIB: u64 = 1 << 20;
        check(
            Unit::Bytes,
            (128 * MIB, 512 * MIB),
            2,
            100,
            "verify [#####---------------]  25%, 128.0 MiB of 512.0 MiB, 64.0 MiB/s, 6.0 s left",
        );
        check(
            Unit::Bytes,
            (128 * MIB, 512 * MIB),
            2,
            60,
            "verify [#####---------------]  25%, 128.0 MiB of 512.0 MiB",
        );
        check(Unit::Bytes, (128 * MIB, 512 * MIB), 2, 30, "verify  25%");
        check(
            Unit::Partitions,
            (0, 3),
            0,
            80,
            "verify [--------------------]   0%, 0 of 3 partitions, 0/s",
        );
        check(
            Unit::Partitions,
            (3, 3),
            1,
            80,
            "verify [####################] 100%, 3 of 3 partitions, 3.0/s, 0.0 s left",
        );
    }
}

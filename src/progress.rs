//! The progress of long work, written by the threads that work and read by the one that shows it.
//! There is one count for the whole process, because a command does one piece of long work.
//!
//! ```text
//! piece(planned) … advance(bytes), from any thread … end_piece()
//!                                  the finished piece counts as `planned`, whatever was read
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The maximum number of lines about finished parts that wait to be shown. Nobody reads more.
const LINES_MAX: usize = 10_000;

static IS_WATCHED: AtomicBool = AtomicBool::new(false);
/// The amount of work in finished pieces.
static FINISHED: AtomicU64 = AtomicU64::new(0);
/// The planned amount of work of the current piece.
static PLANNED: AtomicU64 = AtomicU64::new(0);
/// The amount of work done of the current piece.
static ADVANCED: AtomicU64 = AtomicU64::new(0);
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Starts counting from 0, for a reader that shows the progress.
pub fn begin() {
    for counter in [&FINISHED, &PLANNED, &ADVANCED] {
        counter.store(0, Ordering::Relaxed);
    }
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// Stops counting.
pub fn end() {
    IS_WATCHED.store(false, Ordering::Relaxed);
}

/// Returns true if the progress is shown. Otherwise, planned amounts aren't computed.
pub fn is_watched() -> bool {
    IS_WATCHED.load(Ordering::Relaxed)
}

/// Begins a piece of the work with this planned amount.
///
/// # Errors
/// If `planned` fails.
pub fn piece<E>(planned: impl FnOnce() -> Result<u64, E>) -> Result<(), E> {
    if is_watched() {
        ADVANCED.store(0, Ordering::Relaxed);
        PLANNED.store(planned()?, Ordering::Relaxed);
    }
    Ok(())
}

/// Adds to the amount of work done of the current piece.
pub fn advance(amount: u64) {
    if is_watched() {
        ADVANCED.fetch_add(amount, Ordering::Relaxed);
    }
}

/// Finishes the current piece, which then counts with its planned amount.
pub fn end_piece() {
    if is_watched() {
        FINISHED.fetch_add(PLANNED.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        ADVANCED.store(0, Ordering::Relaxed);
    }
}

/// Returns the amount of work that is done.
pub fn done() -> u64 {
    let piece = ADVANCED.load(Ordering::Relaxed).min(PLANNED.load(Ordering::Relaxed));
    FINISHED.load(Ordering::Relaxed).saturating_add(piece)
}

/// Adds a line about a finished part.
pub fn tell(line: impl FnOnce() -> String) {
    if !is_watched() {
        return;
    }
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() < LINES_MAX {
        lines.push(line());
    }
}

/// Returns the lines added since the last call.
pub fn take_lines() -> Vec<String> {
    std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn a_piece_counts_as_planned_whatever_was_read_for_it() {
        let plan = |bytes: u64| move || Ok::<_, Infallible>(bytes);
        begin();
        piece(plan(100)).unwrap();
        advance(40);
        assert_eq!(done(), 40);
        advance(80);
        assert_eq!(done(), 100);
        end_piece();
        piece(plan(50)).unwrap();
        assert_eq!(done(), 100);
        end_piece();
        assert_eq!(done(), 150);
        tell(|| "a part".into());
        end();
        tell(|| unreachable!("nobody watches"));
        assert!(take_lines().contains(&"a part".to_owned()));
    }
}

//! The progress of long work: counted by whoever works, read by whoever shows it. The work is one
//! for the whole process, as a command line has one.
//!
//! ```text
//! piece(planned) … advance(bytes), from any thread … end_piece()   counts as `planned`, whatever was read
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most lines about finished parts that wait to be shown. More would only be missed.
const LINES_MAX: usize = 10_000;

static IS_WATCHED: AtomicBool = AtomicBool::new(false);
/// The count of the finished pieces.
static FINISHED: AtomicU64 = AtomicU64::new(0);
/// The count of the piece under way once it is finished.
static PLANNED: AtomicU64 = AtomicU64::new(0);
/// The part of the piece under way that is done.
static ADVANCED: AtomicU64 = AtomicU64::new(0);
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Begins to count from 0, for somebody who watches.
pub fn begin() {
    for counter in [&FINISHED, &PLANNED, &ADVANCED] {
        counter.store(0, Ordering::Relaxed);
    }
    IS_WATCHED.store(true, Ordering::Relaxed);
}

/// Nobody watches any more.
pub fn end() {
    IS_WATCHED.store(false, Ordering::Relaxed);
}

/// True if somebody watches: only then what is planned has to be found out.
pub fn is_watched() -> bool {
    IS_WATCHED.load(Ordering::Relaxed)
}

/// Begins a piece of the work, which counts this much.
///
/// # Errors
/// If `planned` can't be found out.
pub fn piece<E>(planned: impl FnOnce() -> Result<u64, E>) -> Result<(), E> {
    if is_watched() {
        ADVANCED.store(0, Ordering::Relaxed);
        PLANNED.store(planned()?, Ordering::Relaxed);
    }
    Ok(())
}

/// Some more of the piece is done.
pub fn advance(amount: u64) {
    if is_watched() {
        ADVANCED.fetch_add(amount, Ordering::Relaxed);
    }
}

/// The piece is finished.
pub fn end_piece() {
    if is_watched() {
        FINISHED.fetch_add(PLANNED.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        ADVANCED.store(0, Ordering::Relaxed);
    }
}

/// Returns the count of everything that is done.
pub fn done() -> u64 {
    let piece = ADVANCED.load(Ordering::Relaxed).min(PLANNED.load(Ordering::Relaxed));
    FINISHED.load(Ordering::Relaxed).saturating_add(piece)
}

/// Tells that a part is finished, in a line.
pub fn tell(line: impl FnOnce() -> String) {
    if !is_watched() {
        return;
    }
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() < LINES_MAX {
        lines.push(line());
    }
}

/// The lines since the last call.
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

//! Large posts are read one at a time, whatever reads them in this process: a few megabytes of a packed file can
//! stand for a post at the bound of length, and several files are read at once. So the memory that growing posts
//! take has one bound for the process, and not one for each reader.
//!
//! Only who makes a post longer has the turn, and gives it back with the post, before anybody does something with
//! it. So nobody who has the turn waits for another reader, and no merge can stand still.

use std::sync::{Condvar, Mutex, PoisonError};

/// The part of a post that is read without the turn, in bytes. Below it as many posts grow at once as there are
/// readers; more would raise the bound by so much for each of them, less would make readers of usual posts wait.
pub const LARGE_POST_BYTES: usize = 32 << 20;

/// The one turn there is.
static PROCESS: Turns = Turns::new();

/// Gives out one turn at a time.
struct Turns {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

/// The turn, until this is dropped.
#[must_use]
pub struct Turn<'a>(&'a Turns);

impl Turns {
    const fn new() -> Self {
        Self { is_taken: Mutex::new(false), given_back: Condvar::new() }
    }

    fn take(&self) -> Turn<'_> {
        let is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_taken =
            self.given_back.wait_while(is_taken, |is_taken| *is_taken).unwrap_or_else(PoisonError::into_inner);
        *is_taken = true;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.given_back.notify_one();
    }
}

/// Waits for the process's turn to make a post longer.
pub fn take_turn() -> Turn<'static> {
    PROCESS.take()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn one_has_the_turn_at_a_time_and_everybody_gets_it() {
        let (turns, having, had) = (Turns::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let turn = turns.take();
                        assert_eq!(having.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        having.fetch_sub(1, Ordering::SeqCst);
                        had.fetch_add(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert_eq!(had.into_inner(), 800);
    }
}

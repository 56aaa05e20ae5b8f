//! Large posts are read one at a time, whatever reads them in this process: a few megabytes of a
//! packed file can stand for a post at the bound of length, and several files are read at once. So
//! the memory that growing posts take has one bound for the process, and not one for each reader.
//!
//! Only who makes a post longer has the turn, and gives it back with the post, before anybody does
//! something with it. So nobody who has the turn waits for another reader, and no merge can stand
//! still.

use std::sync::{Condvar, Mutex, PoisonError};

/// The part of a post that is read without the turn, in bytes. Below it as many posts grow at once
/// as there are readers; more would raise the bound by so much for each of them, less would make
/// readers of usual posts wait.
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
        let mut is_taken = self
            .given_back
            .wait_while(is_taken, |is_taken| *is_taken)
            .unwrap_or_else(PoisonError::into_inner);
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
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use bytes::Bytes;

    use super::*;
    use crate::lake::form::Form;
    use crate::lake::reader::{CHUNK_BYTES, Chunks, Input};
    use crate::lake::scan::Trouble;

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

    /// A file of one large post, which is made as it is read. It looks whether another reader makes
    /// one longer meanwhile.
    struct Endless<'a> {
        read: usize,
        /// How many readers are making a post longer than what needs no turn.
        growing: &'a AtomicUsize,
        is_growing: bool,
    }

    impl Input for Endless<'_> {
        fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
            const PART: usize = 4 << 20;
            const POST: usize = LARGE_POST_BYTES * 2;
            if to.len() > LARGE_POST_BYTES + PART && !self.is_growing {
                self.is_growing = true;
                assert_eq!(
                    self.growing.fetch_add(1, Ordering::SeqCst),
                    0,
                    "two large posts grow at once"
                );
            }
            if self.read == 0 {
                to.extend_from_slice(b"[{\"a\":\"");
            }
            to.resize(to.len() + PART, b'x');
            self.read += PART;
            let ends = self.read >= POST;
            if ends {
                to.extend_from_slice(b"\"}]");
                // It is handed over next, without another look at this.
                self.growing.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(!ends)
        }

        fn length(&mut self) -> Result<u64, Trouble> {
            unreachable!("text is read to its end")
        }

        fn range(&mut self, _: Range<u64>) -> Result<Bytes, Trouble> {
            unreachable!("text is read to its end")
        }
    }

    #[test]
    fn of_four_readers_one_at_a_time_makes_a_large_post_longer() {
        let growing = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut input = Endless { read: 0, growing: &growing, is_growing: false };
                    let mut chunks = Chunks::of(Form::ARRAY, CHUNK_BYTES);
                    let posts = chunks.next_posts(&mut input).unwrap().unwrap();
                    assert!(posts.len() == 1 && posts[0].len() > LARGE_POST_BYTES);
                    assert!(chunks.next_posts(&mut input).unwrap().is_none());
                });
            }
        });
    }
}

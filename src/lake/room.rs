//! Limits the memory for large pieces of lakes, with one bound for all readers of the process. A
//! few megabytes of a compressed file can expand to a post of the maximum length, and several files
//! are read at once.
//!
//! A reader takes room before it holds more than [`LARGE_BYTES`] of one post, page or index, and
//! the room is given back when the last slice of that piece is dropped. Other readers wait until
//! there is room. A merge may hold large posts while it waits for one more, so a reader doesn't
//! wait for ever: after 20 s it fails, with the advice to increase the bound.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::mm::{Advice, madvise};

use super::store::{Store, length};
use crate::error::{Error, Result};
use crate::units::ByteSize;

/// The size in bytes of the largest piece that needs no room. Each reader may hold two such pieces
/// in addition to the bound; with a smaller value, readers of usual posts would need room.
pub const LARGE_BYTES: usize = 8 << 20;

/// The default room of a process, in bytes: the default of `memory`.
pub const TOTAL_DEFAULT: u64 = 256 << 20;

/// The minimum room, in bytes. It ensures that a post of 16 MiB, the longest that a social source
/// accepts, can always be read.
pub const TOTAL_MIN: u64 = 32 << 20;

/// The time that a reader waits if no room is given back. A merge that needs more room than exists
/// stands still for this time; a shorter time could fail while a slow sink still writes a large
/// post.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The maximum number of bytes per byte of JSON: its parsed form and the byte itself.
const PARSED_FACTOR: u64 = 4;

/// The room of this process.
static PROCESS: Room = Room::new(TOTAL_DEFAULT);

/// Memory of a limited size, which is given out in parts.
#[derive(Debug)]
pub struct Room {
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Debug)]
struct State {
    total: u64,
    used: u64,
    /// The number of times that room was given back. A waiting reader sees by a change that other
    /// readers make progress.
    returns: u64,
}

/// A part of the room that is taken until this value is dropped.
#[derive(Debug)]
#[must_use]
pub struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Room {
    /// Creates a room of this many bytes.
    pub const fn new(total: u64) -> Self {
        Self { state: Mutex::new(State { total, used: 0, returns: 0 }), given_back: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes this many bytes, and waits as long as other readers give some back.
    ///
    /// # Errors
    /// If the room is smaller than that, or if no room was given back for `wait_max`.
    fn take(&self, bytes: u64, wait_max: Duration) -> Result<Taken<'_>> {
        let mut state = self.state();
        if bytes > state.total {
            return Err(Error::fatal(format!(
                "a piece of {} of a lake has to be in memory at once, but only {} are allowed: {ADVICE}",
                ByteSize(bytes),
                ByteSize(state.total)
            )));
        }
        while state.used + bytes > state.total {
            let returns = state.returns;
            let (after, waited) = self
                .given_back
                .wait_timeout_while(state, wait_max, |state| state.returns == returns)
                .unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return Err(Error::fatal(format!(
                    "{} more of a lake have to be in memory at once, beside {} that stay in use, but only {} are allowed in \
                     all: {ADVICE}",
                    ByteSize(bytes),
                    ByteSize(after.used),
                    ByteSize(after.total)
                )));
            }
            state = after;
        }
        state.used += bytes;
        Ok(Taken { room: self, bytes })
    }
}

/// The advice for the case that the room isn't enough.
const ADVICE: &str = "increase `memory` in the topology, or --memory";

impl Taken<'_> {
    /// Gives back the bytes beyond this number.
    pub fn shrink_to(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        self.give_back(less);
    }

    fn give_back(&self, bytes: u64) {
        let mut state = self.room.state();
        state.used -= bytes;
        state.returns += 1;
        self.room.given_back.notify_all();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// Sets the room of this process, to at least [`TOTAL_MIN`].
pub fn set_total(bytes: u64) {
    PROCESS.state().total = bytes.max(TOTAL_MIN);
}

/// Returns the room of this process, in bytes.
pub fn total() -> u64 {
    PROCESS.state().total
}

/// Takes room of this process. Pieces up to [`LARGE_BYTES`] need none.
///
/// # Errors
/// If the room is smaller than that, or if no room is given back.
pub fn take(bytes: u64) -> Result<Taken<'static>> {
    PROCESS.take(bytes, WAIT_MAX)
}

/// Takes room of this process for a large piece; returns `None` for a small piece.
///
/// # Errors
/// As [`take`].
pub fn take_if_large(bytes: u64) -> Result<Option<Arc<Taken<'static>>>> {
    if bytes <= LARGE_BYTES as u64 {
        return Ok(None);
    }
    take(bytes).map(Arc::new).map(Some)
}

/// A buffer together with its room.
struct Roomed<T> {
    bytes: T,
    _room: Arc<Taken<'static>>,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Roomed<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A large buffer whose memory goes back to the operating system as soon as it is dropped. The
/// allocator alone would keep it for up to a second, while the next reader already fills the same
/// room.
pub struct Pages(pub Vec<u8>);

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        clear_pages(&mut self.0);
    }
}

/// Returns the memory of all whole pages of a buffer to the operating system, which makes them
/// zero.
fn clear_pages(buffer: &mut [u8]) {
    let page = rustix::param::page_size();
    let begin = buffer.as_ptr().align_offset(page).min(buffer.len());
    let pages = buffer[begin..].chunks_exact_mut(page).len();
    if pages == 0 {
        return;
    }
    let first = buffer[begin..].as_mut_ptr().cast();
    // SAFETY: the range lies within the buffer, which is borrowed, and zero is a valid value of
    // its bytes.
    #[allow(unsafe_code, reason = "std has no way to return memory that is still allocated")]
    let returned = unsafe { madvise(first, pages * page, Advice::LinuxDontNeed) };
    if let Err(error) = returned {
        // The allocator returns the memory later.
        tracing::debug!("can't return {} to the system: {error}", ByteSize((pages * page) as u64));
    }
}

/// Returns bytes that give the room back when their last slice is dropped.
pub fn bytes_in(
    bytes: impl AsRef<[u8]> + Send + 'static,
    room: Option<Arc<Taken<'static>>>,
) -> Bytes {
    match room {
        Some(room) => Bytes::from_owner(Roomed { bytes, _room: room }),
        None => Bytes::from_owner(bytes),
    }
}

/// Passes a whole JSON object of the store to `read`: a note of a lake, not one of its files.
/// Returns `None` if no such object exists. A long object takes room for itself and its parsed form
/// until `read` returns.
///
/// # Errors
/// If the object can't be read, or there is no room for it.
pub fn read_note<T>(
    store: &dyn Store,
    key: &str,
    read: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>> {
    const FIRST: u64 = 1 << 20;
    let Some(first) = store.get_range(key, 0..FIRST)? else { return Ok(None) };
    if (first.len() as u64) < FIRST {
        return Ok(Some(read(&first)));
    }
    drop(first);
    let Some(bytes) = length(store, key)? else { return Ok(None) };
    let room = take(bytes.saturating_mul(PARSED_FACTOR)).map_err(|error| {
        Error::fatal(format!("\"{}\" is too long", store.address(key))).because(error)
    })?;
    let note = store.get_range(key, 0..bytes)?.map(|note| read(&note));
    drop(room);
    Ok(note)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;
    use crate::lake::form::Form;
    use crate::lake::reader::{CHUNK_BYTES, Chunks, Input};
    use crate::lake::scan::Trouble;
    use crate::lake::store::memory::MemoryStore;

    #[test]
    fn no_more_is_taken_than_there_is_and_everybody_gets_some() {
        let (room, having, had) = (Room::new(100), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for worker in 0..8 {
                let (room, having, had) = (&room, &having, &had);
                scope.spawn(move || {
                    for turn in 0..100 {
                        let bytes = 1 + (worker * 37 + turn * 11) % 100;
                        let mut taken = room.take(bytes, WAIT_MAX).unwrap();
                        assert!(having.fetch_add(bytes, Ordering::SeqCst) + bytes <= 100);
                        thread::yield_now();
                        having.fetch_sub(bytes, Ordering::SeqCst);
                        taken.shrink_to(bytes / 2);
                        had.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((had.into_inner(), room.state().used), (800, 0));
    }

    #[test]
    fn who_asks_for_too_much_is_told_what_helps() {
        let room = Room::new(100);
        let told = |error: Error| error.chain();
        assert_eq!(
            told(room.take(101, Duration::ZERO).unwrap_err()),
            "a piece of 101B of a lake has to be in memory at once, but only 100B are allowed: increase `memory` in \
             the topology, or --memory"
        );
        let taken = room.take(60, Duration::ZERO).unwrap();
        assert_eq!(
            told(room.take(50, Duration::ZERO).unwrap_err()),
            "50B more of a lake have to be in memory at once, beside 60B that stay in use, but only 100B are allowed in \
             all: increase `memory` in the topology, or --memory"
        );
        drop(taken);
        drop(room.take(100, Duration::ZERO).unwrap());
    }

    /// A file of one large post, which is generated while it is read.
    struct Endless(usize);

    const POST_BYTES: usize = 40 << 20;

    impl Input for Endless {
        fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
            const PART: usize = 4 << 20;
            if self.0 == 0 {
                to.extend_from_slice(b"[{\"a\":\"");
            }
            to.resize(to.len() + PART, b'x');
            self.0 += PART;
            let ends = self.0 >= POST_BYTES;
            if ends {
                to.extend_from_slice(b"\"}]");
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
    fn whole_pages_are_returned_and_come_back_as_zeros() {
        let page = rustix::param::page_size();
        let mut buffer = vec![1; 5 * page];
        for (from, to) in [(0, 0), (7, 8), (0, page), (1, 2 * page), (page, 5 * page), (9, page)] {
            buffer.fill(1);
            let part = &mut buffer[from..to];
            clear_pages(part);
            let begin = part.as_ptr().align_offset(page).min(part.len());
            let zeros = (part.len() - begin) / page * page;
            let is_zero = |at: &usize| (begin..begin + zeros).contains(at);
            assert!((0..part.len()).all(|at| part[at] == u8::from(!is_zero(&at))), "{from}..{to}");
        }
    }

    #[test]
    fn a_large_post_has_its_room_until_it_is_dropped() {
        let used = || PROCESS.state().used;
        // Other tests of this process may read large posts at the same time, so the exact number
        // isn't known.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut input = Endless(0);
                    let mut chunks = Chunks::of(Form::ARRAY, CHUNK_BYTES);
                    let mut posts = chunks.next_posts(&mut input).unwrap().unwrap();
                    assert!(posts.len() == 1 && posts[0].len() > POST_BYTES);
                    let post = posts.pop().unwrap();
                    drop(posts);
                    assert!(used() > POST_BYTES as u64 && used() <= total());
                    drop(post);
                    assert!(chunks.next_posts(&mut input).unwrap().is_none());
                });
            }
        });
    }

    #[test]
    fn a_note_is_read_whole_whatever_its_length() {
        let store = MemoryStore::default();
        for bytes in [0, 5, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20] {
            store.replace("note", vec![b'x'; bytes].into()).unwrap();
            assert_eq!(read_note(&store, "note", <[u8]>::len).unwrap(), Some(bytes));
        }
        assert_eq!(read_note(&store, "none", <[u8]>::len).unwrap(), None);
        let error = {
            store.replace("note", vec![b'x'; 65 << 20].into()).unwrap();
            read_note(&store, "note", <[u8]>::len).unwrap_err()
        };
        assert!(error.chain().contains("\" is too long: a piece of 260MiB"), "{error:?}");
    }
}

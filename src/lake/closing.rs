//! Decides when a micro-batch closes, as a pure function.

use time::OffsetDateTime;

use crate::epoch::{Barrier, MicroBatch};

/// The properties of an open micro-batch that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The number of posts in it.
    pub posts: u64,
    /// Its length in bytes after it closes.
    pub length: u64,
    /// The time at which it was begun.
    pub since: OffsetDateTime,
    /// The boundary at which its partition ends.
    pub boundary: OffsetDateTime,
}

/// The decision about an open micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The micro-batch stays open.
    Keep,
    /// The micro-batch closes.
    Close(Reason),
}

/// The reason for closing a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The micro-batch holds the maximum number of posts.
    Posts,
    /// The next post would make it larger than the maximum.
    Bytes,
    /// The micro-batch has reached the maximum age.
    Age,
    /// Its partition ends.
    Rollover,
    /// No more posts will come.
    Last,
}

/// Decides before a post of `bytes` bytes is written. A post that is larger than a whole
/// micro-batch gets its own micro-batch.
pub fn before_post(open: &Open, bytes: u64, limits: &MicroBatch) -> Decision {
    if open.posts >= limits.posts {
        Decision::Close(Reason::Posts)
    } else if open.length + bytes + 1 > limits.bytes {
        // The 1 is the comma between two posts.
        Decision::Close(Reason::Bytes)
    } else {
        Decision::Keep
    }
}

/// Decides at a barrier. Age is measured by the barrier's clock, so that all tasks agree.
pub fn at_barrier(open: &Open, barrier: &Barrier, limits: &MicroBatch) -> Decision {
    if barrier.last {
        Decision::Close(Reason::Last)
    } else if open.boundary != barrier.boundary {
        Decision::Close(Reason::Rollover)
    } else if open.posts >= limits.posts {
        Decision::Close(Reason::Posts)
    } else if open.length >= limits.bytes {
        Decision::Close(Reason::Bytes)
    } else if barrier.now - open.since >= limits.age {
        Decision::Close(Reason::Age)
    } else {
        Decision::Keep
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-02-03 12:00:00 UTC);
    const LIMITS: MicroBatch = MicroBatch { posts: 3, bytes: 100, age: Duration::from_secs(60) };

    fn open(posts: u64, length: u64) -> Open {
        Open { posts, length, since: NOON, boundary: NOON }
    }

    fn barrier(seconds: i64) -> Barrier {
        let now = NOON + time::Duration::seconds(seconds);
        Barrier { epoch: 1, now, boundary: NOON, last: false, durable: true }
    }

    #[test]
    fn posts_and_bytes_close_before_the_post_that_is_too_many() {
        assert_eq!(before_post(&open(2, 50), 10, &LIMITS), Decision::Keep);
        assert_eq!(before_post(&open(3, 50), 10, &LIMITS), Decision::Close(Reason::Posts));
        assert_eq!(before_post(&open(1, 50), 49, &LIMITS), Decision::Keep);
        assert_eq!(before_post(&open(1, 50), 50, &LIMITS), Decision::Close(Reason::Bytes));
    }

    #[test]
    fn what_is_full_closes_at_the_next_barrier() {
        assert_eq!(at_barrier(&open(3, 50), &barrier(0), &LIMITS), Decision::Close(Reason::Posts));
        assert_eq!(at_barrier(&open(1, 250), &barrier(0), &LIMITS), Decision::Close(Reason::Bytes));
    }

    #[test]
    fn age_is_told_by_the_barrier() {
        assert_eq!(at_barrier(&open(1, 50), &barrier(59), &LIMITS), Decision::Keep);
        assert_eq!(at_barrier(&open(1, 50), &barrier(60), &LIMITS), Decision::Close(Reason::Age));
        assert_eq!(at_barrier(&open(1, 50), &barrier(-3600), &LIMITS), Decision::Keep);
    }

    #[test]
    fn a_new_boundary_and_the_end_close_whatever_is_open() {
        let rolled = Barrier { boundary: NOON + time::Duration::HOUR, ..barrier(1) };
        assert_eq!(at_barrier(&open(1, 50), &rolled, &LIMITS), Decision::Close(Reason::Rollover));
        let last = Barrier { last: true, ..barrier(1) };
        assert_eq!(at_barrier(&open(1, 50), &last, &LIMITS), Decision::Close(Reason::Last));
    }
}

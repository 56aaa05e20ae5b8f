//! The set of the newest posts that were seen; the oldest post is forgotten first.

use std::collections::VecDeque;

use hashbrown::HashSet;

/// The number of posts that are remembered. Each takes about 40 bytes. A larger number recognises
/// repetitions that come later: at 250 posts/s this number covers a quarter of an hour.
pub(super) const SEEN_MAX: usize = 250_000;

/// A set with a bound.
#[derive(Default)]
pub(super) struct Seen {
    order: VecDeque<u128>,
    known: HashSet<u128>,
}

impl Seen {
    /// Remembers a post; returns false if the post was known.
    pub(crate) fn insert(&mut self, identity: u128) -> bool {
        if !self.known.insert(identity) {
            return false;
        }
        if self.order.len() == SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(identity);
        true
    }

    /// Returns true if a post is known.
    pub(crate) fn contains(&self, identity: u128) -> bool {
        self.known.contains(&identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut seen = Seen::default();
        for identity in 0..=SEEN_MAX as u128 {
            assert!(seen.insert(identity));
        }
        assert!(!seen.insert(1));
        assert!(seen.insert(0));
        assert!(seen.insert(1), "it made room for the one before");
    }
}

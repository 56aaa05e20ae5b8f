//! Which posts were seen: the newest so many, forgotten in the order in which they came.

use std::collections::VecDeque;

use hashbrown::HashSet;

/// How many posts are remembered. Each costs about 40 bytes, and each one more lets a repetition
/// that comes later be recognised: at 250 posts/s this is a quarter of an hour.
pub(super) const SEEN_MAX: usize = 250_000;

/// A set with a bound.
#[derive(Default)]
pub(super) struct Seen {
    order: VecDeque<u128>,
    known: HashSet<u128>,
}

impl Seen {
    /// Remembers a post; false if it was known.
    pub fn insert(&mut self, identity: u128) -> bool {
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
    pub fn contains(&self, identity: u128) -> bool {
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

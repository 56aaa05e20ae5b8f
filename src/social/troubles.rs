//! The failing parts of a source, and the number of failures.

use std::collections::BTreeMap;

/// The most parts that are shown; further parts are only counted.
const PARTS_MAX: usize = 16;

/// The results of a capture's attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// The cause of the last failed attempt, by part.
    pub causes: BTreeMap<String, String>,
    /// The number of failed attempts since the last call of `take_failures`.
    failures: u64,
    /// True if anything has ever worked.
    pub has_worked: bool,
}

impl Troubles {
    /// Notes a failed attempt.
    pub(crate) fn failed(&mut self, part: &str, cause: String) {
        self.failures += 1;
        if self.causes.len() < PARTS_MAX || self.causes.contains_key(part) {
            self.causes.insert(part.to_owned(), cause);
        }
    }

    /// Notes that a part works. Returns true if the part had failed, or if nothing had worked
    /// before.
    pub(crate) fn works(&mut self, part: &str) -> bool {
        let is_first = !std::mem::replace(&mut self.has_worked, true);
        self.causes.remove(part).is_some() || is_first
    }

    /// Returns the number of failed attempts since the last call.
    pub(crate) fn take_failures(&mut self) -> u64 {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_fails_until_it_works() {
        let mut troubles = Troubles::default();
        troubles.failed("search", "no route".into());
        troubles.failed("stream", "refused".into());
        troubles.failed("stream", "reset".into());
        assert_eq!((troubles.take_failures(), troubles.take_failures()), (3, 0));
        assert!(!troubles.has_worked);
        assert!(troubles.works("search") && !troubles.works("search"));
        assert!(troubles.has_worked);
        assert_eq!(troubles.causes, [("stream".to_owned(), "reset".to_owned())].into());
    }

    #[test]
    fn only_so_many_parts_are_kept() {
        let mut troubles = Troubles::default();
        (0..100).for_each(|part| troubles.failed(&part.to_string(), "no".into()));
        assert_eq!((troubles.causes.len(), troubles.take_failures()), (PARTS_MAX, 100));
    }
}

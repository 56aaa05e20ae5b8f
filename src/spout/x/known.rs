//! What this source knows of its rules from one look at them to the next, also over restarts: which were in force,
//! and until when for certain, and which it made itself.

use std::collections::BTreeSet;

use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use super::source::{from_unix_ms, unix_ms};

/// The part of the cursor that it is kept in.
pub(super) const RULES: &str = "rules";

/// A rule as far as it is remembered: its text and tag.
pub(super) fn name(value: &str, tag: &str) -> u64 {
    xxh3_64([value, "\0", tag].concat().as_bytes())
}

/// What is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// When all rules of the topics were there for the last time; none if they never were.
    pub complete: Option<OffsetDateTime>,
    /// Whether some were found to be gone since, which isn't in the gap ledger yet.
    pub gone: bool,
    /// The rules of the topics at that time: only these were promised.
    pub promised: BTreeSet<u64>,
    /// The rules that this source made, or was about to make: only these are its own to delete.
    pub made: BTreeSet<u64>,
}

impl Known {
    /// As it was [saved](Self::save); nothing if it wasn't.
    pub fn read(saved: Option<&str>) -> Self {
        let mut parts = saved.unwrap_or_default().split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let (complete, gone) = (from_unix_ms(next()), next() == "gone");
        let (promised, made) = (names(next()), names(next()));
        Self { complete, gone, promised, made }
    }

    /// As text.
    pub fn save(&self) -> String {
        let list = |names: &BTreeSet<u64>| names.iter().map(|name| format!("{name:x}")).collect::<Vec<_>>().join(",");
        let complete = self.complete.map(unix_ms).unwrap_or_default();
        let gone = if self.gone { "gone" } else { "" };
        format!("{complete} {gone} {} {}", list(&self.promised), list(&self.made))
    }
}

fn names(list: &str) -> BTreeSet<u64> {
    list.split(',').filter_map(|name| u64::from_str_radix(name, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_saved() {
        let (promised, made) = ([name("a", "b"), name("ab", "")].into(), [name("a", "b")].into());
        let complete = Some(datetime!(2026-11-25 12:00:00.25 UTC));
        for known in [Known::default(), Known { complete, gone: true, promised, made }] {
            assert_eq!(Known::read(Some(&known.save())), known);
        }
        assert_eq!(Known::read(None), Known::default());
        assert_ne!(name("a", "b"), name("ab", ""));
    }
}

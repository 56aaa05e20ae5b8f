//! The source's memory of its rules from one look at them to the next, also over restarts: the
//! rules that were in force, until when that is certain, and the rules that the source made itself.

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use super::source::{from_unix_ms, unix_ms};

/// The part of the cursor that keeps this memory.
pub(super) const RULES: &str = "rules";

/// Returns the hash by which a rule is remembered, made of its text and tag.
pub(super) fn name(value: &str, tag: &str) -> u64 {
    xxh3_64([value, "\0", tag].concat().as_bytes())
}

/// The remembered state of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The last time when all rules of the topics were there; `None` if they never were.
    pub complete: Option<OffsetDateTime>,
    /// True if some were found to be missing since then, and the gap ledger hasn't this yet.
    pub gone: bool,
    /// The rules of the topics at that time: only these were promised. Each has its id, if the id
    /// is known: a rule with another id was deleted and made again by somebody.
    pub promised: BTreeMap<u64, Option<u64>>,
    /// The rules that this source made, or was about to make: only these may it delete.
    pub made: BTreeSet<u64>,
}

impl Known {
    /// Reads the state that [`save`](Self::save) returned; without one, nothing is remembered.
    pub(crate) fn read(saved: Option<&str>) -> Self {
        let mut parts = saved.unwrap_or_default().split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let (complete, gone) = (from_unix_ms(next()), next() == "gone");
        let promised = next().split(',').filter_map(|rule| {
            let (name, id) = rule.split_once(':').unwrap_or((rule, ""));
            Some((hex(name)?, hex(id)))
        });
        let promised = promised.collect();
        let made = next().split(',').filter_map(hex).collect();
        Self { complete, gone, promised, made }
    }

    /// Returns the state as text.
    pub(crate) fn save(&self) -> String {
        let promised = self.promised.iter().map(|(name, id)| match id {
            Some(id) => format!("{name:x}:{id:x}"),
            None => format!("{name:x}"),
        });
        let made = self.made.iter().map(|name| format!("{name:x}"));
        let (promised, made): (Vec<_>, Vec<_>) = (promised.collect(), made.collect());
        let complete = self.complete.map(unix_ms).unwrap_or_default();
        let gone = if self.gone { "gone" } else { "" };
        format!("{complete} {gone} {} {}", promised.join(","), made.join(","))
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn it_is_read_as_it_was_saved() {
        let promised =
            [(name("a", "b"), Some(1_800_000_000_000_000_000)), (name("ab", ""), None)].into();
        let made = [name("a", "b")].into();
        let complete = Some(datetime!(2026-11-25 12:00:00.25 UTC));
        for known in [Known::default(), Known { complete, gone: true, promised, made }] {
            assert_eq!(Known::read(Some(&known.save())), known);
        }
        assert_eq!(Known::read(None), Known::default());
        assert_ne!(name("a", "b"), name("ab", ""));
    }
}

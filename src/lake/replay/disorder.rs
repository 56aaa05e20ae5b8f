//! Posts out of order: how many of a replay stand behind newer ones, where their times are read.

use super::mark::Nanos;
use super::merge::Handed;

/// Tells which posts of a partition are older than one before them. A single post that is newer
/// than those on both sides of it (from 2099, say) counts by itself, and not all that follow it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disorder {
    newest: Option<Nanos>,
    /// The newest before that, if the newest stands alone so far.
    before: Option<Nanos>,
}

impl Disorder {
    /// Takes the time of the next post; true if the post is out of order, or shows that the one
    /// before it was.
    pub fn is_out_of_order(&mut self, time: Nanos) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(time);
            return false;
        };
        if time >= newest {
            self.before = Some(newest);
            self.newest = Some(time);
            return false;
        }
        // The newest was alone: the others go on from where they were.
        if let Some(before) = self.before.take().filter(|before| time >= *before) {
            self.newest = Some(before.max(time));
        }
        true
    }
}

/// What a replay counts for people.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Posts out of order.
    pub out_of_order: u64,
    /// Posts without a time of their own, where only some times are wanted.
    pub untimed: u64,
}

impl Counts {
    /// Adds what was handed over.
    pub fn add(&mut self, handed: &Handed) {
        self.out_of_order += handed.out_of_order;
        self.untimed += handed.untimed;
    }

    /// What a person should know at the end.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.out_of_order > 0 {
            let posts = posts(self.out_of_order);
            notes.push(format!(
                "{posts} came out of order, behind newer ones (see order, disorder and buffer)"
            ));
        }
        if self.untimed > 0 {
            let posts = posts(self.untimed);
            notes.push(format!(
                "{posts} without a time of their own were left out: they lie in no range of times"
            ));
        }
        notes
    }
}

fn posts(number: u64) -> String {
    if number == 1 { "1 post".into() } else { format!("{number} posts") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(times: &[Nanos], out_of_order: usize) {
        let mut disorder = Disorder::default();
        assert_eq!(
            times.iter().filter(|time| disorder.is_out_of_order(**time)).count(),
            out_of_order,
            "{times:?}"
        );
    }

    #[test]
    fn a_post_behind_a_newer_one_counts_and_a_stray_counts_alone() {
        check(&[], 0);
        check(&[1, 2, 2, 3], 0);
        check(&[1, 2, 1, 3], 1);
        check(&[0, 2025, 2026], 0);
        check(&[2025, 0, 2026, 2027], 1);
        check(&[2025, 2099, 2026, 2027, 2028], 1);
        check(&[10, 30, 31, 20, 21, 22, 32], 3);
    }
}

//! Counts the posts of a replay that come after newer ones, if their times are read.

use super::mark::Nanos;
use super::merge::Handed;

/// A detector of posts in a partition that are older than one before them. A single post that is
/// newer than those on both sides of it (from 2099, say) counts as one post out of order; the posts
/// after it don't count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disorder {
    newest: Option<Nanos>,
    /// The newest time before that, if only one post has the newest time so far.
    before: Option<Nanos>,
}

impl Disorder {
    /// Takes the time of the next post. Returns true if the post is out of order, or shows that the
    /// previous one was.
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
        // Only one post was that new: the following posts continue from the time before it.
        if let Some(before) = self.before.take().filter(|before| time >= *before) {
            self.newest = Some(before.max(time));
        }
        true
    }
}

/// The counts that a replay reports to the user.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Posts out of order.
    pub out_of_order: u64,
    /// Posts without their own time, which are left out because only a range of times is selected.
    pub untimed: u64,
}

impl Counts {
    /// Adds the counts of some posts.
    pub fn add(&mut self, handed: &Handed) {
        self.out_of_order += handed.out_of_order;
        self.untimed += handed.untimed;
    }

    /// Returns the notes for the user at the end of a replay.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.out_of_order > 0 {
            let posts = posts(self.out_of_order);
            notes.push(format!(
                "{posts} came out of order, after newer ones (see order, disorder and buffer)"
            ));
        }
        if self.untimed > 0 {
            let posts = posts(self.untimed);
            notes.push(format!(
                "{posts} without their own time were left out: they can't be in a range of times"
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

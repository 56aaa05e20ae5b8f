//! The authors of a key in one bucket, with how much each of them wrote.

use crate::bolt::bytes::{Reader, Writer};

/// The number of authors of one key and bucket that are known exactly. If there are more, the
/// authors with the smallest hashes are kept as a sample; numbers are then right to within 0.4 %
/// (one part in √65,536). A larger limit costs 16 bytes for each author.
pub(crate) const AUTHORS_MAX: usize = 65_536;

/// Up to this number, authors are searched one by one; beyond it, a hash table is used.
const LISTED_MAX: usize = 8;

/// Authors by hashes, with open addressing and linear probing: an author is found in one line of
/// the processor's cache. (A table of the standard library looks at two, and a bucket's tables
/// don't fit into the cache.)
#[derive(Clone, Debug)]
struct Table {
    /// The number of slots is a power of two. A slot with 0 posts is free.
    slots: Box<[(u64, u32)]>,
    authors: usize,
}

impl Table {
    /// Creates a table that has room for some authors more.
    fn of(listed: impl ExactSizeIterator<Item = (u64, u32)>) -> Self {
        let slots = (listed.len() * 2).next_power_of_two();
        let mut table = Self { slots: vec![(0, 0); slots].into(), authors: 0 };
        listed.for_each(|(author, posts)| table.add(author, posts));
        table
    }

    fn add(&mut self, author: u64, more: u32) {
        let mask = self.slots.len() - 1;
        // Samples keep small hashes only, so the low bits are used.
        let mut at = author as usize & mask;
        loop {
            let (known, posts) = &mut self.slots[at];
            if *posts == 0 {
                break;
            }
            if *known == author {
                *posts = posts.saturating_add(more);
                return;
            }
            at = (at + 1) & mask;
        }
        self.slots[at] = (author, more);
        self.authors += 1;
        if self.authors > self.slots.len() / 4 * 3 {
            *self = Self::of(self.each().collect::<Vec<_>>().into_iter());
        }
    }

    fn each(&self) -> impl Iterator<Item = (u64, u32)> {
        self.slots.iter().copied().filter(|(_, posts)| *posts > 0)
    }
}

/// Authors by the hashes of their ids, each with a number of posts. The result doesn't depend on
/// the order in which the posts came.
#[derive(Clone, Debug)]
enum Known {
    Listed(Vec<(u64, u32)>),
    Table(Table),
}

/// The authors of a key in one bucket.
#[derive(Clone, Debug)]
pub(crate) struct Authors {
    known: Known,
    /// The bound from which on hashes aren't kept; `u64::MAX` while all authors are known.
    limit: u64,
}

impl Authors {
    /// Creates the entry for one author with one post.
    pub(crate) fn one(author: u64) -> Self {
        Self { known: Known::Listed(vec![(author, 1)]), limit: u64::MAX }
    }

    /// Counts a post of an author.
    pub(crate) fn add(&mut self, author: u64) {
        if author >= self.limit && self.limit < u64::MAX {
            return;
        }
        match &mut self.known {
            Known::Listed(listed) => {
                if let Some((_, posts)) = listed.iter_mut().find(|(known, _)| *known == author) {
                    *posts = posts.saturating_add(1);
                    return;
                }
                // Most keys have two authors at most.
                if listed.len() < 4 {
                    listed.reserve_exact(1);
                }
                listed.push((author, 1));
                if listed.len() > LISTED_MAX {
                    self.known = Known::Table(Table::of(listed.drain(..)));
                }
            }
            Known::Table(table) => {
                table.add(author, 1);
                // The limit is twice the number that is kept, so that the pruning is rare.
                if table.authors >= 2 * AUTHORS_MAX {
                    self.keep_smallest();
                }
            }
        }
    }

    /// Keeps only the authors with the smallest hashes. An author among these was never removed
    /// before, so all of the author's posts are known.
    fn keep_smallest(&mut self) {
        let Known::Table(table) = &mut self.known else { return };
        if table.authors <= AUTHORS_MAX {
            return;
        }
        let mut smallest: Vec<(u64, u32)> = table.each().collect();
        let (_, (limit, _), _) = smallest.select_nth_unstable(AUTHORS_MAX);
        self.limit = *limit;
        smallest.truncate(AUTHORS_MAX);
        *table = Table::of(smallest.into_iter());
    }

    fn each_known(&self) -> impl Iterator<Item = (u64, u32)> {
        let (listed, table) = match &self.known {
            Known::Listed(listed) => (Some(listed), None),
            Known::Table(table) => (None, Some(table)),
        };
        listed.into_iter().flatten().copied().chain(table.into_iter().flat_map(Table::each))
    }

    fn known(&self) -> usize {
        match &self.known {
            Known::Listed(listed) => listed.len(),
            Known::Table(table) => table.authors,
        }
    }

    /// Returns the hash of an author, if one is known.
    pub(crate) fn first(&self) -> Option<u64> {
        self.each_known().next().map(|(author, _)| author)
    }

    /// Returns the number of authors, and the number of posts of which each author counts for at
    /// most `per_author`.
    pub(crate) fn numbers(&mut self, per_author: u32) -> (u64, u64) {
        self.keep_smallest();
        let capped = self.each_known().map(|(_, posts)| u64::from(posts.min(per_author)));
        let (known, capped) = (self.known() as u64, capped.sum::<u64>());
        if self.limit == u64::MAX {
            return (known, capped);
        }
        // The known hashes are this share of all possible ones, and so of all authors.
        let part = self.limit as f64 / u64::MAX as f64;
        ((known as f64 / part).round() as u64, (capped as f64 / part).round() as u64)
    }

    /// Appends the authors to a saved state.
    pub(crate) fn encode(&self, into: &mut Writer<'_>) {
        into.hash(self.limit);
        into.number(self.known() as u64);
        for (author, posts) in self.each_known() {
            into.hash(author);
            into.number(posts.into());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(crate) fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let limit = from.hash()?;
        let count = usize::try_from(from.number()?).ok()?;
        let mut listed = Vec::new();
        for _ in 0..count {
            listed.push((from.hash()?, from.number_u32()?));
        }
        let known = if count <= LISTED_MAX {
            Known::Listed(listed)
        } else {
            Known::Table(Table::of(listed.into_iter()))
        };
        Some(Self { known, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::stable_hash;
    use crate::value::Value;

    fn author(number: u64) -> u64 {
        stable_hash([&Value::Int(number.cast_signed())])
    }

    #[test]
    fn one_author_counts_up_to_the_cap_and_posts_come_in_any_order() {
        let posts: Vec<u64> = (0..200).map(|post| post % 40).chain([7; 500]).collect();
        let mut forward = Authors::one(author(posts[0]));
        posts[1..].iter().for_each(|post| forward.add(author(*post)));
        let mut backward = Authors::one(author(posts[699]));
        posts[..699].iter().rev().for_each(|post| backward.add(author(*post)));
        assert_eq!(forward.numbers(3), (40, 120));
        assert_eq!(backward.numbers(3), (40, 120));
        assert_eq!(forward.numbers(u32::MAX), (40, 700));
    }

    #[test]
    fn of_very_many_authors_a_sample_stands_for_all_in_any_order() {
        const COUNT: u64 = 300_000;
        let mut forward = Authors::one(author(0));
        (1..COUNT).for_each(|number| forward.add(author(number)));
        let mut backward = Authors::one(author(COUNT - 1));
        (0..COUNT - 1).rev().for_each(|number| backward.add(author(number)));
        assert_eq!(forward.numbers(3), backward.numbers(3));
        let (authors, posts) = forward.numbers(3);
        assert!(authors.abs_diff(COUNT) < COUNT / 100, "{authors}");
        assert_eq!(authors, posts);
        assert!(forward.known() <= AUTHORS_MAX);
    }

    #[test]
    fn what_is_saved_reads_back() {
        for count in [1, 16, 17, 100] {
            let mut authors = Authors::one(author(0));
            (1..count).for_each(|number| authors.add(author(number)));
            let mut bytes = Vec::new();
            authors.encode(&mut Writer(&mut bytes));
            let mut reader = Reader(&bytes);
            let mut read = Authors::decode(&mut reader).unwrap();
            assert_eq!(reader.end(), Some(()));
            assert_eq!(read.numbers(1), authors.numbers(1));
            assert!(Authors::decode(&mut Reader(&bytes[..bytes.len() - 1])).is_none());
        }
    }
}

//! What posts said when they were last taken: so an edit is noticed where a platform tells of none.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::post::{Post, PostStream};

use super::seen::SEEN_MAX;

/// The text of the newest version of each post, as a hash, for as many posts as are remembered as
/// seen. Each costs about 30 bytes. Only of kinds whose edits don't say that they are edits.
#[derive(Default)]
pub(super) struct Versions {
    order: VecDeque<u64>,
    texts: HashMap<u64, u64>,
}

/// Which post it is, and what it says; `None` where that is of no interest.
fn version(post: &Post) -> Option<(u64, u64)> {
    let noted =
        !post.tells_edits() && matches!(post.stream(), PostStream::Default | PostStream::Edits);
    let id = noted.then(|| post.id()).flatten()?;
    Some((xxh3_64(id.as_bytes()), xxh3_64(post.text().unwrap_or_default().as_bytes())))
}

impl Versions {
    /// Takes note of what a post says now.
    pub fn note(&mut self, post: &Post) {
        let Some((id, text)) = version(post) else { return };
        if self.texts.insert(id, text).is_none() {
            if self.order.len() == SEEN_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.texts.remove(&oldest);
            }
            self.order.push_back(id);
        }
    }

    /// Returns true if a post is known, and said something else.
    pub fn differs(&self, post: &Post) -> bool {
        version(post)
            .is_some_and(|(id, text)| self.texts.get(&id).is_some_and(|known| *known != text))
    }
}

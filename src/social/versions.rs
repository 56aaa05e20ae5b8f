//! The last known text of each post, to detect edits on platforms that don't report them.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::post::{Post, PostStream};

use super::seen::SEEN_MAX;

/// The text of the newest version of each post, as a hash, for as many posts as are remembered as
/// seen. Each takes about 30 bytes. Only posts of kinds whose edits don't say that they are edits
/// are kept.
#[derive(Default)]
pub(super) struct Versions {
    order: VecDeque<u64>,
    texts: HashMap<u64, u64>,
}

/// Returns the hashes of a post's id and of its text; `None` if its edits needn't be detected.
fn version(post: &Post) -> Option<(u64, u64)> {
    let noted =
        !post.tells_edits() && matches!(post.stream(), PostStream::Default | PostStream::Edits);
    let id = noted.then(|| post.id()).flatten()?;
    Some((xxh3_64(id.as_bytes()), xxh3_64(post.text().unwrap_or_default().as_bytes())))
}

impl Versions {
    /// Remembers the current text of a post.
    pub(crate) fn note(&mut self, post: &Post) {
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

    /// Returns true if a post is known with another text.
    pub(crate) fn differs(&self, post: &Post) -> bool {
        version(post)
            .is_some_and(|(id, text)| self.texts.get(&id).is_some_and(|known| *known != text))
    }
}

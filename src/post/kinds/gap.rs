//! An entry of a gap ledger, which says that posts may be missing. It is stored among posts, and
//! has no text and no author.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::facts::PostFacts;
use super::{PostKind, dated, platform_of, received_at};
use crate::post::fields::{get, id_text, text_at};
use crate::post::stream::PostStream;

pub(super) struct Gap;

impl PostKind for Gap {
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        if key == b"created_at" { dated(json) } else { None }
    }

    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        get(body, "id").and_then(id_text)
    }

    fn text<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    fn stream(&self, _body: &[u8]) -> PostStream {
        PostStream::Gaps
    }

    /// Sets the facts. The platform is that of the posts which may be missing.
    fn gather<'a>(&self, body: &'a [u8], facts: &mut PostFacts<'a>) {
        facts.id = self.id(body);
        facts.stream = PostStream::Gaps;
        facts.received_at = received_at(body);
        if let Some(kind) = text_at(body, &["kind"]) {
            facts.platform = platform_of(kind);
        }
    }

    /// Returns the revision: an entry is written again when its gap is filled.
    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let filled = get(body, "filled")?;
        String::from_utf8_lossy(filled).into()
    }
}

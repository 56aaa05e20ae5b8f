//! An entry of a gap ledger: what may be missing. It stands among posts, and has no text and no
//! author.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::{PostKind, dated};
use crate::post::fields::{get, id_text};
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

    /// An entry comes again when its gap is filled.
    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        let filled = get(body, "filled")?;
        String::from_utf8_lossy(filled).into()
    }
}

//! An entry of a gap ledger: what may be missing. It stands among posts, and has no text and no
//! author.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::PostKind;
use crate::post::fields::{date, get, id_text, text_at};
use crate::post::stream::PostStream;

pub(super) struct Gap;

impl PostKind for Gap {
    fn created_at(&self, body: &[u8]) -> Option<OffsetDateTime> {
        text_at(body, &["created_at"]).and_then(|text| date(&text))
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

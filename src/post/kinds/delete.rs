//! A deletion: a post that says that another post was deleted, as captures write it
//! (`{"delete": {"kind": "tweet", "id": "…"}}`), or as the old streams of Twitter did
//! (`{"delete": {"status": {"id_str": "…"}}}`). It has no content.

use std::borrow::Cow;

use time::OffsetDateTime;

use super::facts::PostFacts;
use super::{PostKind, dated, of_kind, platform_of, received_at, time_of};
use crate::post::fields::{
    find_member, get, id_text, leading_value, pick, string, text_at, unix_time,
};
use crate::post::stream::PostStream;

/// The key of this kind.
pub(super) const KIND: &[u8] = b"delete";

/// The kind of the posts that the old streams' notices are about.
const NOTICES_KIND: &str = "tweet";

pub(super) struct Delete;

impl PostKind for Delete {
    /// Returns the time of the deletion, if the source knows it.
    fn time_in(&self, key: &[u8], json: &[u8]) -> Option<OffsetDateTime> {
        match key {
            b"created_at" => dated(json),
            b"timestamp_ms" => leading_value(json).and_then(|value| unix_time(value, 1_000_000)),
            _ => None,
        }
    }

    /// Returns the id of the deleted post.
    fn id<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        find_member(body, |key, json| match key {
            b"id" => leading_value(json).and_then(id_text),
            b"status" => notice_id(json),
            _ => None,
        })
    }

    fn text<'a>(&self, _body: &'a [u8]) -> Option<Cow<'a, str>> {
        None
    }

    fn stream(&self, _body: &[u8]) -> PostStream {
        PostStream::Deletes
    }

    /// Sets the facts. The platform is that of the deleted post.
    fn gather<'a>(&self, body: &'a [u8], facts: &mut PostFacts<'a>) {
        facts.id = self.id(body);
        facts.stream = PostStream::Deletes;
        facts.received_at = received_at(body);
        if let Some(deletion) = Deletion::read(body) {
            facts.platform = platform_of(deletion.kind);
        }
    }

    /// Returns true if the facts are complete. The old streams' notices don't always have a time.
    fn is_as_expected(&self, body: &[u8], _facts: &PostFacts<'_>) -> bool {
        Deletion::read(body).is_some()
    }

    /// Returns the revision: a record may be created and deleted again under the same name.
    fn revision<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, str>> {
        Deletion::read(body)?.revision
    }
}

/// Returns the id in a notice of the old streams.
fn notice_id(status: &[u8]) -> Option<Cow<'_, str>> {
    let [text, number] = pick(status, ["id_str", "id"]);
    text.and_then(string).or_else(|| number.and_then(id_text))
}

/// The posts that a deletion names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion<'a> {
    /// The kind of the deleted post.
    pub kind: Cow<'a, str>,
    /// Its id, or its other id.
    pub id: Cow<'a, str>,
    /// The server that gave the number in `id`, if ids are unique per server only.
    pub server: Option<Cow<'a, str>>,
    /// The selection of the posts with that id.
    pub reach: DeletionReach,
    /// The revision of the deletion itself, to be compared with
    /// [`Post::revision`](crate::post::Post::revision) of the posts.
    pub revision: Option<Cow<'a, str>>,
    /// The time at which the platform saw the deletion, to be compared with the own times of the
    /// posts.
    pub seen_at: Option<OffsetDateTime>,
}

/// The selection among the posts with the id that a deletion names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionReach {
    /// All posts with the id.
    AllOfId,
    /// The posts from the server of the deletion: the id is a number of that server.
    OfServer,
    /// The posts that are no newer than the deletion: the same id may be used again.
    UntilDeletion,
}

impl<'a> Deletion<'a> {
    /// Parses a deletion's body; `None` if it can't be understood.
    pub(super) fn read(body: &'a [u8]) -> Option<Self> {
        if let Some(status) = get(body, "status") {
            return Some(Self {
                kind: NOTICES_KIND.into(),
                id: notice_id(status)?,
                server: None,
                reach: DeletionReach::AllOfId,
                revision: None,
                seen_at: None,
            });
        }
        let kind = text_at(body, &["kind"])?;
        let id = text_at(body, &["id"])?;
        let of_kind = of_kind(kind.as_bytes());
        let raw = get(body, "raw").unwrap_or_default();
        Some(Self {
            reach: of_kind.deletion_reach(&id),
            server: text_at(body, &["instance"]),
            revision: of_kind.revision(raw),
            seen_at: time_of(of_kind, raw),
            kind,
            id,
        })
    }
}

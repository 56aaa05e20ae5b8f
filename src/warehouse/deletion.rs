//! Deletions: decides which of the posts with an id a deletion refers to. The rules are those of
//! `lake erase`.

use crate::post::{Deletion, DeletionReach, Post};

use super::months::{Micros, micros};

/// A deletion as the table `deletions` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletionRow {
    /// The platform.
    pub platform: String,
    /// The id of the deleted post.
    pub post_id: String,
    /// The selection among the posts with that id.
    pub reach: DeletionReach,
    /// The server to which the id belongs; empty if the server is unknown or irrelevant.
    pub server: String,
    /// The deletion's own revision; empty if it has none.
    pub revision: String,
    /// The time at which the post was deleted.
    pub deleted_at: Micros,
    /// The time at which the deletion was received.
    pub received_at: Option<Micros>,
    /// The time at which the platform recorded the deletion.
    pub seen_at: Option<Micros>,
}

/// The facts of a post that are compared with deletions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletionFacts {
    /// Another id by which a deletion may name it.
    pub other_id: Option<String>,
    /// The revision that distinguishes versions with the same id.
    pub revision: Option<String>,
    /// The servers that the post names as its own.
    pub servers: Vec<String>,
    /// Its own time.
    pub own_time: Option<Micros>,
}

const NUL: char = '\0';
const REPLACED: &str = "\u{fffd}";

impl DeletionFacts {
    /// Returns the facts of a post.
    pub fn of(post: &Post, own_time: Option<Micros>) -> Self {
        let text = |text: std::borrow::Cow<'_, str>| text.replace(NUL, REPLACED);
        Self {
            other_id: post.other_id().map(text),
            revision: post.revision().map(text),
            servers: post.servers(),
            own_time,
        }
    }
}

impl DeletionRow {
    /// Returns the content of a deletion.
    pub fn of(
        deletion: &Deletion<'_>,
        platform: String,
        deleted_at: Micros,
        received_at: Option<Micros>,
    ) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().replace(NUL, REPLACED);
        Self {
            platform,
            post_id: text(Some(&deletion.id)),
            reach: deletion.reach,
            server: text(deletion.server.as_deref()).to_ascii_lowercase(),
            revision: text(deletion.revision.as_deref()),
            deleted_at,
            received_at,
            seen_at: deletion.seen_at.map(micros),
        }
    }

    /// Merges another entry of the same deletion: the earliest time counts, and the latest limit of
    /// deletions that cover posts up to a time.
    pub(super) fn join(&mut self, other: &Self) {
        self.deleted_at = self.deleted_at.min(other.deleted_at);
        self.received_at = earlier(self.received_at, other.received_at);
        self.seen_at = self.seen_at.max(other.seen_at);
    }

    /// Returns true if the deletion names posts by another id than their own.
    pub fn names_other_id(&self) -> bool {
        self.reach != DeletionReach::AllOfId && !self.post_id.contains("://")
    }

    /// Returns true if the deletion covers a post with its id. A post of an unknown server stays.
    pub fn means(&self, post: &DeletionFacts) -> bool {
        match self.reach {
            DeletionReach::AllOfId => true,
            DeletionReach::OfServer => {
                !self.server.is_empty() && post.servers.contains(&self.server)
            }
            DeletionReach::UntilDeletion => {
                // Revisions of accounts and of records are separate sequences, so only revisions of
                // the same kind are compared.
                let revision = post.revision.as_deref().filter(|made| !made.is_empty());
                if let Some(made) = revision
                    && !self.revision.is_empty()
                    && self.post_id.starts_with("at://")
                {
                    return *made <= *self.revision;
                }
                let times = post.own_time.zip(self.seen_at);
                times.is_none_or(|(made, deleted)| made <= deleted)
            }
        }
    }
}

fn earlier(a: Option<Micros>, b: Option<Micros>) -> Option<Micros> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Returns the name of a reach in the table.
pub(crate) fn reach_name(reach: DeletionReach) -> &'static str {
    match reach {
        DeletionReach::AllOfId => "all",
        DeletionReach::OfServer => "server",
        DeletionReach::UntilDeletion => "until",
    }
}

/// Returns the reach with this name.
pub(crate) fn reach_of_name(name: &str) -> DeletionReach {
    match name {
        "server" => DeletionReach::OfServer,
        "until" => DeletionReach::UntilDeletion,
        _ => DeletionReach::AllOfId,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deletion(post_id: &str, reach: DeletionReach, server: &str, revision: &str) -> DeletionRow {
        DeletionRow {
            platform: "p".into(),
            post_id: post_id.into(),
            reach,
            server: server.into(),
            revision: revision.into(),
            deleted_at: 10,
            received_at: None,
            seen_at: Some(10),
        }
    }

    fn post(revision: &str, server: &str, own_time: Micros) -> DeletionFacts {
        DeletionFacts {
            other_id: None,
            revision: Some(revision.into()),
            servers: vec![server.into()],
            own_time: Some(own_time),
        }
    }

    #[test]
    fn a_deletion_means_what_lake_erase_would_delete() {
        let all = deletion("1", DeletionReach::AllOfId, "", "");
        assert!(all.means(&post("", "", 99)) && !all.names_other_id());
        let of_server = deletion("1", DeletionReach::OfServer, "a.example", "");
        assert!(of_server.means(&post("", "a.example", 1)) && of_server.names_other_id());
        assert!(!of_server.means(&post("", "b.example", 1)));
        assert!(!deletion("1", DeletionReach::OfServer, "", "").means(&post("", "", 1)));
        let until = deletion("at://d/c/r", DeletionReach::UntilDeletion, "", "5");
        assert!(until.means(&post("5", "", 99)) && !until.means(&post("6", "", 1)));
        assert!(!until.names_other_id());
        let account = deletion("did:plc:a", DeletionReach::UntilDeletion, "", "5");
        assert!(account.means(&post("9", "", 10)) && !account.means(&post("1", "", 11)));
        assert!(account.names_other_id());
    }

    #[test]
    fn a_reach_keeps_its_name() {
        for reach in [DeletionReach::AllOfId, DeletionReach::OfServer, DeletionReach::UntilDeletion]
        {
            assert_eq!(reach_of_name(reach_name(reach)), reach);
        }
    }
}

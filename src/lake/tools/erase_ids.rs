//! The ids of the posts that must be erased, from a file, or from the deletes that a lake holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use time::OffsetDateTime;

use super::passes::{self, Fresh, Passes};
use crate::error::{Error, Result};
use crate::lake::scan::each_post;
use crate::lake::store::Store;
use crate::lake::{parallel, view};
use crate::post::{Deletion, DeletionReach, Post};

/// The ids of the posts that are to be erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Ids of posts of any kind.
    any: HashSet<String>,
    /// Ids of posts of a kind, each with the selection of the posts that have it.
    of_kind: HashMap<String, HashMap<String, BTreeSet<Which>>>,
    /// The last parts of those ids that are addresses of records. In an event of Bluesky the parts
    /// of an address are separate.
    record_keys: HashSet<String>,
    /// The number of captured deletes that couldn't be understood.
    pub not_understood: u64,
}

/// The posts of an id that are to be erased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    /// All posts.
    All,
    /// The posts of this server. `None` if the deletion doesn't name its server.
    OfServer(Option<String>),
    /// The posts that are no newer than the deletion, since a record may be created again under the
    /// same address.
    Until(Version),
}

/// The version of a record of Bluesky.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    /// The revision of its repository, which sorts as text.
    revision: Option<String>,
    /// The time at which the server saw it.
    seen_at: Option<OffsetDateTime>,
}

/// The decision about a post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The ids because of which it is erased, `kind id` or `id`.
    pub by: Vec<String>,
    /// The deleted ids for which it isn't known if the post is on the server of the deletion. The
    /// post stays, unless it is erased because of another id.
    pub doubtful: Vec<String>,
}

impl Ids {
    /// Parses one `kind id` or `id` per line. Ignores empty lines, lines that begin with `#`, a
    /// byte order mark, and quotes around a word.
    ///
    /// # Errors
    /// If a line is malformed: the error has its number, and what to do.
    pub fn parse(text: &str) -> Result<Self> {
        let mut ids = Self::default();
        for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let bad = |what: String| Error::fatal(format!("line {}: {what}", number + 1));
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.contains(|c: char| {
                c.is_control() && c != '\t' || "\u{feff}\u{200b}\u{200e}\u{200f}".contains(c)
            }) {
                let what = "a character that isn't visible: save the list as plain text in UTF-8, with one id per line";
                return Err(bad(what.into()));
            }
            match line
                .split_whitespace()
                .map(|word| plain(word).map_err(&bad))
                .collect::<Result<Vec<_>>>()?[..]
            {
                [] => {}
                [id] => {
                    ids.add_record_key(id);
                    ids.any.insert(id.into());
                }
                [kind, _] if kind.bytes().all(|byte| byte.is_ascii_digit()) => {
                    return Err(bad(format!(
                        "\"{kind}\" isn't a kind of post: write one id per line"
                    )));
                }
                [kind, id] => ids.add(kind, id, Which::All),
                _ => return Err(bad("expected \"kind id\" or \"id\"".into())),
            }
        }
        Ok(ids)
    }

    /// Returns the ids that captured deletes name: `{"delete": {"kind": "tweet", "id": "…"}}`, and
    /// the notices of Twitter's old streams, `{"delete": {"status": {"id_str": "…"}}}`.
    ///
    /// # Errors
    /// If a file can't be read, or is damaged.
    pub fn from_deletes(store: &Arc<dyn Store>) -> Result<Self> {
        let (mut ids, mut passes) = (Self::default(), Passes::default());
        loop {
            let fresh = passes.fresh(store.as_ref(), &passes::partitions(store.as_ref())?)?;
            if !fresh.iter().any(|fresh| fresh.is_new) {
                return Ok(ids);
            }
            for Fresh { partition, .. } in fresh {
                ids.add_deletes_of(store, &partition)?;
            }
        }
    }

    fn add_deletes_of(&mut self, store: &Arc<dyn Store>, partition: &str) -> Result<()> {
        let deletes = |(_, key): &(_, String)| {
            let (mut deletes, mut not_understood) = (Vec::new(), 0);
            each_post(store, std::slice::from_ref(key), |post| {
                match post.deletion() {
                    Some(deletion) => deletes.push(deleted(deletion)),
                    None if post.is_deletion() => not_understood += 1,
                    None => {}
                }
                Ok(())
            })?;
            Ok((deletes, not_understood))
        };
        for found in parallel::map(&view::files(store.as_ref(), partition)?, deletes) {
            let (deletes, not_understood): (Vec<_>, u64) = found?;
            deletes.into_iter().for_each(|(kind, id, which)| self.add(&kind, &id, which));
            self.not_understood += not_understood;
        }
        Ok(())
    }

    fn add_record_key(&mut self, id: &str) {
        let key = id.strip_prefix("at://").and_then(|address| address.rsplit('/').next());
        self.record_keys.extend(key.map(str::to_owned));
    }

    fn add(&mut self, kind: &str, id: &str, which: Which) {
        self.add_record_key(id);
        self.of_kind.entry(kind.into()).or_default().entry(id.into()).or_default().insert(which);
    }

    /// Decides about a post.
    pub fn fate(&self, post: &Post) -> Fate {
        let (kind, mut fate) = (post.kind(), Fate::default());
        let of_kind = self.of_kind.get(kind);
        // Deletions have no content, and stay.
        if post.is_deletion() || self.any.is_empty() && of_kind.is_none() {
            return fate;
        }
        // A deletion on Mastodon names the number that the toot has on that server, and not its
        // URI.
        for id in [post.id(), post.other_id()].into_iter().flatten() {
            if self.any.contains(&*id) {
                fate.by.push(id.to_string());
            }
            let which = of_kind.and_then(|ids| ids.get(&*id)).into_iter().flatten();
            let answers: Vec<_> = which.map(|which| which.has(post, &id)).collect();
            if answers.contains(&Some(true)) {
                fate.by.push(format!("{kind} {id}"));
            }
            if answers.contains(&None) {
                fate.doubtful.push(format!("{kind} {id}"));
            }
        }
        fate
    }

    /// Returns true if a post is to be erased.
    pub fn has(&self, post: &Post) -> bool {
        !self.fate(post).by.is_empty()
    }

    /// Returns true if bytes that may not be whole posts may hold one that is to be erased, because
    /// one of the ids occurs in them as a word or a string.
    pub fn may_be_in(&self, bytes: &[u8]) -> bool {
        let is_id = |word: &str| {
            let is_of_kind = || self.of_kind.values().any(|ids| ids.contains_key(word));
            self.any.contains(word) || self.record_keys.contains(word) || is_of_kind()
        };
        let text = String::from_utf8_lossy(bytes).replace("\\/", "/");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        text.split(|c| !is_word(c)).chain(text.split('"')).any(is_id)
    }

    /// Returns the number of ids.
    pub fn len(&self) -> usize {
        self.any.len() + self.of_kind.values().map(HashMap::len).sum::<usize>()
    }

    /// Returns true if there are no ids.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a hash of each id, `kind id` or `id`, for the record.
    pub(super) fn hashes(&self) -> BTreeSet<String> {
        let of_kind = self
            .of_kind
            .iter()
            .flat_map(|(kind, ids)| ids.keys().map(move |id| format!("{kind} {id}")));
        self.any.iter().cloned().chain(of_kind).map(|id| hash(&id)).collect()
    }
}

/// Returns the hash of an id for the record, which never contains the id itself.
pub(super) fn hash(id: &str) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(id.as_bytes()))
}

/// Returns a word of a line without its quotes, if it can be an id or a kind.
fn plain(word: &str) -> std::result::Result<&str, String> {
    let unquote = |quote| word.strip_prefix(quote).and_then(|word| word.strip_suffix(quote));
    let plain = unquote('"').or_else(|| unquote('\'')).unwrap_or(word);
    let is_number = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.,eE".contains(&byte));
    if is_number && plain.contains(['.', '+']) {
        return Err(format!(
            "\"{plain}\" is a rounded number, whose digits are lost: export the ids as text from their source"
        ));
    }
    // The address of a toot or a record may have characters that other ids don't have.
    let is_address = plain.contains("://") && !plain.ends_with([',', ';']);
    if plain.is_empty()
        || plain.contains(['"', '\''])
        || !is_address && plain.contains([',', ';', '[', ']', '{', '}'])
    {
        return Err(format!(
            "\"{word}\" isn't an id: expected \"kind id\" or \"id\", not CSV or JSON (cut -d, -f1, or jq -r '.[]', \
             makes such a list)"
        ));
    }
    Ok(plain)
}

/// Returns the kind and id of a deletion, and the selection of the posts with that id.
fn deleted(deletion: Deletion<'_>) -> (String, String, Which) {
    let Deletion { kind, id, server, reach, revision, seen_at } = deletion;
    let which = match reach {
        DeletionReach::AllOfId => Which::All,
        DeletionReach::OfServer => Which::OfServer(server.map(Into::into)),
        DeletionReach::UntilDeletion => {
            Which::Until(Version { revision: revision.map(Into::into), seen_at })
        }
    };
    (kind.into(), id.into(), which)
}

impl Which {
    /// Returns true if a post with this id is selected; `None` if that can't be decided.
    fn has(&self, post: &Post, id: &str) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::OfServer(server) => post.is_of_server(server.as_ref()?),
            Self::Until(deleted) => {
                // Only revisions of records are compared: the revision of an account belongs to
                // another sequence.
                if let (Some(made), Some(deleted)) = (post.revision(), &deleted.revision)
                    && id.starts_with("at://")
                {
                    return Some(*made <= **deleted);
                }
                Some(
                    post.created_at()
                        .zip(deleted.seen_at)
                        .is_none_or(|(made, deleted)| made <= deleted),
                )
            }
        }
    }
}

/// The posts and ids that were found.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// The number of posts that are to be erased.
    pub posts: u64,
    /// The number of posts that can't be decided.
    pub doubtful: u64,
    /// The hashes of the ids that posts have, including those of undecided posts.
    pub ids: BTreeSet<String>,
}

impl Met {
    /// Counts the posts of an object.
    pub(crate) fn of(store: &Arc<dyn Store>, key: &String, ids: &Ids) -> Result<Self> {
        let (mut met, mut by) = (Self::default(), BTreeSet::new());
        each_post(store, std::slice::from_ref(key), |post| {
            let fate = ids.fate(post);
            met.posts += u64::from(!fate.by.is_empty());
            met.doubtful += u64::from(fate.by.is_empty() && !fate.doubtful.is_empty());
            by.extend(fate.by.into_iter().chain(fate.doubtful));
            Ok(())
        })?;
        met.ids = by.iter().map(|id| hash(id)).collect();
        Ok(met)
    }
}

//! Which posts must go: ids from a file, or from the deletes that a lake holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use time::OffsetDateTime;

use super::passes::{self, Fresh, Passes};
use crate::error::{Error, Result};
use crate::lake::scan::each_post;
use crate::lake::store::Store;
use crate::lake::{parallel, view};
use crate::post::{Deletion, DeletionReach, Post};

/// Which posts go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Ids of posts of any kind.
    any: HashSet<String>,
    /// Ids of posts of a kind, and which posts of that id.
    of_kind: HashMap<String, HashMap<String, BTreeSet<Which>>>,
    /// The last parts of the addresses of records among them: in an event the parts stand apart.
    record_keys: HashSet<String>,
    /// Captured deletes that couldn't be understood.
    pub not_understood: u64,
}

/// Which of the posts of an id are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    /// All.
    All,
    /// Those of this server; of an unknown one where it isn't named.
    OfServer(Option<String>),
    /// Those that are no newer than the deletion: a record may be made again under the same
    /// address.
    Until(Version),
}

/// How new a record of Bluesky is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    /// The revision of its repository, which sorts as text.
    revision: Option<String>,
    /// When the server saw it.
    seen_at: Option<OffsetDateTime>,
}

/// What becomes of a post.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The ids that it goes by, `kind id` or `id`.
    pub by: Vec<String>,
    /// The ids that were deleted, and nothing tells whether on its server; it stays, unless it goes
    /// by another.
    pub doubtful: Vec<String>,
}

impl Ids {
    /// One `kind id` or `id` a line; empty lines and those that begin with `#` don't count. A byte
    /// order mark and quotes around a word are passed over.
    ///
    /// # Errors
    /// If a line is anything else: its number, and what to do.
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
                let what = "a character that isn't visible: save the list as plain text in UTF-8, with one id a line";
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
                        "\"{kind}\" is no kind of posts: write one id a line"
                    )));
                }
                [kind, id] => ids.add(kind, id, Which::All),
                _ => return Err(bad("expected \"kind id\" or \"id\"".into())),
            }
        }
        Ok(ids)
    }

    /// Those that captured deletes name: `{"delete": {"kind": "tweet", "id": "…"}}`, and the
    /// notices of Twitter's old streams, `{"delete": {"status": {"id_str": "…"}}}`.
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

    /// What becomes of a post.
    pub fn fate(&self, post: &Post) -> Fate {
        let (kind, mut fate) = (post.kind(), Fate::default());
        let of_kind = self.of_kind.get(kind);
        // Deletions hold no content, and stay.
        if post.is_deletion() || self.any.is_empty() && of_kind.is_none() {
            return fate;
        }
        // A deletion on Mastodon gives the number that the toot has on that server, and not its
        // uri.
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

    /// Whether a post goes.
    pub fn has(&self, post: &Post) -> bool {
        !self.fate(post).by.is_empty()
    }

    /// Whether bytes that aren't known to be posts may hold one that goes: one of the ids stands in
    /// them as a word, or as a string.
    pub fn may_be_in(&self, bytes: &[u8]) -> bool {
        let is_id = |word: &str| {
            let is_of_kind = || self.of_kind.values().any(|ids| ids.contains_key(word));
            self.any.contains(word) || self.record_keys.contains(word) || is_of_kind()
        };
        let text = String::from_utf8_lossy(bytes).replace("\\/", "/");
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        text.split(|c| !is_word(c)).chain(text.split('"')).any(is_id)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.any.len() + self.of_kind.values().map(HashMap::len).sum::<usize>()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hash of each, `kind id` or `id`, for the record.
    pub(super) fn hashes(&self) -> BTreeSet<String> {
        let of_kind = self
            .of_kind
            .iter()
            .flat_map(|(kind, ids)| ids.keys().map(move |id| format!("{kind} {id}")));
        self.any.iter().cloned().chain(of_kind).map(|id| hash(&id)).collect()
    }
}

/// The hash of an id for the record, which never names it.
pub(super) fn hash(id: &str) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(id.as_bytes()))
}

/// A word of a line without its quotes, if it can be an id or a kind.
fn plain(word: &str) -> std::result::Result<&str, String> {
    let unquote = |quote| word.strip_prefix(quote).and_then(|word| word.strip_suffix(quote));
    let plain = unquote('"').or_else(|| unquote('\'')).unwrap_or(word);
    let is_number = plain.bytes().all(|byte| byte.is_ascii_digit() || b"+-.,eE".contains(&byte));
    if is_number && plain.contains(['.', '+']) {
        return Err(format!(
            "\"{plain}\" is a rounded number, whose digits are lost: take the ids as text from where they come"
        ));
    }
    // The address of a toot or a record may hold more than the ids of others.
    let is_address = plain.contains("://") && !plain.ends_with([',', ';']);
    if plain.is_empty()
        || plain.contains(['"', '\''])
        || !is_address && plain.contains([',', ';', '[', ']', '{', '}'])
    {
        return Err(format!(
            "\"{word}\" is no id: expected \"kind id\" or \"id\", and no CSV or JSON (cut -d, -f1, or jq -r '.[]', \
             makes such a list)"
        ));
    }
    Ok(plain)
}

/// The kind and id of what was deleted, and which of the posts of that id go.
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
    /// Whether a post of the id is meant; `None` if nothing tells.
    fn has(&self, post: &Post, id: &str) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::OfServer(server) => post.is_of_server(server.as_ref()?),
            Self::Until(deleted) => {
                // An account's revision is another sequence than a record's time: only like is
                // compared.
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

/// The ids that were found, over several passes.
#[derive(Clone, Debug, Default)]
pub(super) struct Met {
    /// How many posts go.
    pub posts: u64,
    /// How many can't be decided.
    pub doubtful: u64,
    /// The hashes of the ids that posts have, those that can't be decided too.
    pub ids: BTreeSet<String>,
}

impl Met {
    /// Counts the posts of an object.
    pub fn of(store: &Arc<dyn Store>, key: &String, ids: &Ids) -> Result<Self> {
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

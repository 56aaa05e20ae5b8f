//! Finds copies of posts that must be erased, in places that no reader sees: among dead letters,
//! and in staged files. They are reported and never rewritten, since their owners still need them
//! unchanged.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::erase_ids::Ids;
use crate::dead_letter::{Letter, Refused};
use crate::error::{Error, Kind, Result};
use crate::lake::form::Form;
use crate::lake::names::FileName;
use crate::lake::parallel;
use crate::lake::room;
use crate::lake::scan::{ObjectReader, Trouble};
use crate::lake::staging::STAGING;
use crate::lake::store::{Object, Store, list_all};
use crate::post::Post;
use crate::value::Value;

/// The kind of dead letters, and the folder of their lake within a lake.
const DEAD: (&str, &str) = ("dead", "_dead/");

/// The maximum length of a staged file that is searched as bytes, in memory. A longer one is
/// reported without a search.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;

/// Returns the files of dead letters that have such a post.
///
/// # Errors
/// If one can't be listed or read.
pub(super) fn dead_letters(store: &dyn Store, ids: &Ids) -> Result<BTreeSet<String>> {
    let is_file =
        |key: &str| key.rsplit('/').next().is_some_and(|name| name.parse::<FileName>().is_ok());
    matching(store, DEAD.1, |object| {
        if is_file(&object.key) { may_have(store, object, ids) } else { Ok(false) }
    })
}

/// Returns the staged files that have such a post, or can't be searched.
///
/// # Errors
/// If one can't be listed or read.
pub(super) fn staged(store: &dyn Store, ids: &Ids) -> Result<BTreeSet<String>> {
    matching(store, &format!("{STAGING}/"), |object| may_have(store, object, ids))
}

fn matching(
    store: &dyn Store,
    prefix: &str,
    has: impl Fn(&Object) -> Result<bool> + Sync,
) -> Result<BTreeSet<String>> {
    let found = |object: &Object| Ok(has(object)?.then(|| object.key.clone()));
    let found: Result<Vec<Option<String>>> =
        parallel::map(&list_all(store, prefix)?, found).into_iter().collect();
    Ok(found?.into_iter().flatten().collect())
}

/// Returns true if a file has such a post, as far as it can be read, or may have one.
fn may_have(store: &dyn Store, object: &Object, ids: &Ids) -> Result<bool> {
    let mut reader = ObjectReader::new(store, &object.key);
    loop {
        match reader.next_posts() {
            Ok(Some(posts)) if posts.iter().any(|post| goes(post, ids)) => return Ok(true),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            // The file was published or deleted after it was listed.
            Err(Trouble::Gone) => return Ok(false),
            // Something that isn't a file has no post.
            Err(Trouble::Store(error)) if error.kind() == Kind::Rejected => return Ok(false),
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::Damage { .. } | Trouble::Unsupported(_)) => {
                return bytes_may_have(store, object, ids);
            }
        }
    }
}

/// Like `may_have`, for a file that isn't finished, or isn't what its name says.
fn bytes_may_have(store: &dyn Store, object: &Object, ids: &Ids) -> Result<bool> {
    if object.bytes > SEARCHED_BYTES_MAX || !Form::of(&object.key).is_plain() {
        return Ok(true);
    }
    let _room = room::take_if_large(object.bytes)?;
    let Some(bytes) = store.get(&object.key)? else { return Ok(false) };
    let is_packed = [&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"PAR1"]
        .iter()
        .any(|magic| bytes.starts_with(magic));
    Ok(is_packed || ids.may_be_in(&bytes))
}

/// Returns true if a post is to be erased, or is a dead letter with a post that is to be erased.
fn goes(post: &Post, ids: &Ids) -> bool {
    if post.kind() != DEAD.0 {
        return ids.has(post);
    }
    match Letter::read(post) {
        Some(Letter { refused: Refused::Tuple { values, .. }, .. }) => {
            values.iter().any(|value| value_goes(value, ids))
        }
        Some(Letter { refused: Refused::Raw { bytes, .. }, .. }) => {
            Post::check(bytes.clone()).map_or_else(|_| ids.may_be_in(&bytes), |post| ids.has(&post))
        }
        None => ids.may_be_in(post),
    }
}

fn value_goes(value: &Value, ids: &Ids) -> bool {
    match value {
        Value::Post(post) => ids.has(post),
        Value::Json(json) => ids.may_be_in(json),
        Value::List(values) => values.iter().any(|value| value_goes(value, ids)),
        _ => false,
    }
}

/// A note of a topology that writes into the lake.
#[derive(Deserialize)]
struct Writer {
    state: PathBuf,
}

/// Returns the folders of the states that have written into the lake, as far as they left notes.
///
/// # Errors
/// If the notes can't be listed or read.
pub(super) fn states(store: &dyn Store) -> Result<BTreeSet<String>> {
    let notes = list_all(store, "_index/writers/")?;
    let state = |note: &Object| {
        let writer =
            store.get(&note.key)?.and_then(|bytes| serde_json::from_slice::<Writer>(&bytes).ok());
        Ok::<_, Error>(writer.map(|writer| writer.state.display().to_string()))
    };
    notes.iter().filter_map(|note| state(note).transpose()).collect()
}

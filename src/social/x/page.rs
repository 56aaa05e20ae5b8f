//! The parser of a page of the search or of a lookup: it makes posts, each with the objects that
//! the post refers to beside it.

use std::borrow::Cow;

use time::OffsetDateTime;

use crate::post::fields::{elements, id_text, members, pick, string};
use crate::post::{Post, REFRESHED};
use crate::social::post;

/// A parsed answer.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The posts of the page, the newest first.
    pub posts: Vec<Post>,
    /// The elements that can't be made into posts, each with the reason.
    pub refused: Vec<(Vec<u8>, String)>,
    /// The id of the newest post.
    pub newest: Option<String>,
    /// The token of the next page.
    pub next: Option<String>,
    /// True if the page describes itself by `meta`, as each whole page of the search does.
    pub is_whole: bool,
}

/// An object that a page has once for all its posts.
struct Beside<'a> {
    /// `users`, `tweets`; empty for errors.
    list: &'a str,
    /// The texts by which posts refer to the object, in quotes.
    keys: Vec<&'a [u8]>,
    raw: &'a [u8],
    used: bool,
}

/// The reason why a page was requested.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked<'a> {
    /// By the query of this topic, if posts that the query finds certainly match the topic.
    For(Option<&'a str>),
    /// For the counts of posts, at this time after their receipt.
    Again(&'a str),
}

impl Asked<'_> {
    /// Returns the member that is added to each post.
    fn member(self) -> Option<(&'static str, String)> {
        match self {
            Self::For(topic) => {
                Some(("matching_rules", serde_json::json!([{ "tag": topic? }]).to_string()))
            }
            Self::Again(after) => Some((REFRESHED, serde_json::json!(after).to_string())),
        }
    }
}

/// Parses an answer that is a JSON object.
pub(super) fn read(body: &[u8], asked: Asked<'_>, now: OffsetDateTime) -> Page {
    let [data, meta, includes, errors] = pick(body, ["data", "meta", "includes", "errors"]);
    let [newest, next] = pick(meta.unwrap_or_default(), ["newest_id", "next_token"]);
    let mut beside = beside(includes.unwrap_or_default(), errors.unwrap_or_default());
    let added = asked.member();
    let items: Vec<_> = elements(data.unwrap_or_default()).collect();
    // Objects that no post refers to go with the first post.
    let own: Vec<_> = items.iter().map(|item| references(item, &mut beside)).collect();
    let stray: Vec<_> = (0..beside.len()).filter(|at| !beside[*at].used).collect();
    let is_whole = meta.is_some_and(|meta| meta.trim_ascii_start().starts_with(b"{"));
    let mut page =
        Page { next: text(next).filter(|token| !token.is_empty()), is_whole, ..Page::default() };
    for (number, (item, mut own)) in items.iter().zip(own).enumerate() {
        own.extend(stray.iter().filter(|_| number == 0));
        own.sort_unstable();
        let more = laid(&own, &beside);
        let mut more: Vec<_> = more.iter().map(|(name, raw)| (*name, raw.as_slice())).collect();
        more.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));
        match post("tweet", item, &more, now) {
            Ok(post) => page.posts.push(post),
            Err(why) => page.refused.push((item.to_vec(), why)),
        }
    }
    page.newest = text(newest).filter(|id| is_id(id)).or_else(|| newest_of(&page.posts));
    page
}

fn text(value: Option<&[u8]>) -> Option<String> {
    value.and_then(id_text).map(Cow::into_owned)
}

/// Returns true if an id is a whole number, with any number of digits.
pub(super) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn newest_of(posts: &[Post]) -> Option<String> {
    let ids = posts.iter().filter_map(|post| post.id().map(Cow::into_owned)).filter(|id| is_id(id));
    ids.max_by(|a, b| (a.len(), a).cmp(&(b.len(), b)))
}

fn beside<'a>(includes: &'a [u8], errors: &'a [u8]) -> Vec<Beside<'a>> {
    let included = members(includes)
        .filter_map(|(list, values)| Some((std::str::from_utf8(list).ok()?, values)));
    let included = included.flat_map(|(list, values)| elements(values).map(move |raw| (list, raw)));
    let errors = elements(errors).map(|raw| ("", raw));
    let keys = |raw| {
        pick(raw, ["id", "media_key", "resource_id", "value"])
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    included
        .chain(errors)
        .map(|(list, raw)| {
            let keys = keys(raw)
                .into_iter()
                .filter(|key| string(key).is_some_and(|key| !key.is_empty()))
                .collect();
            Beside { list, keys, raw, used: false }
        })
        .collect()
}

/// Returns the objects that a post refers to, and those that these refer to.
fn references(item: &[u8], beside: &mut [Beside<'_>]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut from = vec![item];
    while let Some(text) = from.pop() {
        for (at, one) in beside.iter_mut().enumerate() {
            let is_meant = |key: &&[u8]| memchr::memmem::find(text, key).is_some();
            if !found.contains(&at) && one.keys.iter().any(is_meant) {
                one.used = true;
                found.push(at);
                from.push(one.raw);
            }
        }
    }
    found
}

/// Returns `includes` and `errors` of one post.
fn laid<'a>(own: &[usize], beside: &[Beside<'a>]) -> Vec<(&'static str, Vec<u8>)> {
    let list = |name: &str| -> Vec<&'a [u8]> {
        own.iter()
            .map(|at| &beside[*at])
            .filter(|one| one.list == name)
            .map(|one| one.raw)
            .collect()
    };
    let mut names: Vec<_> =
        own.iter().map(|at| beside[*at].list).filter(|list| !list.is_empty()).collect();
    names.dedup();
    let lists = names
        .iter()
        .map(|name| [b"\"", name.as_bytes(), b"\":[", &list(name).join(&b","[..]), b"]"].concat());
    let includes = lists.collect::<Vec<_>>().join(&b","[..]);
    let errors = list("").join(&b","[..]);
    let mut more = Vec::new();
    if !includes.is_empty() {
        more.push(("includes", [b"{", &includes[..], b"}"].concat()));
    }
    if !errors.is_empty() {
        more.push(("errors", [b"[", &errors[..], b"]"].concat()));
    }
    more
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    fn bodies(page: &Page) -> Vec<Value> {
        page.posts
            .iter()
            .map(|post| serde_json::from_slice::<Value>(post).unwrap()["tweet"].clone())
            .collect()
    }

    #[test]
    fn each_post_gets_what_it_refers_to_and_the_first_what_nobody_does() {
        let body = json!({
            "data": [{"id": "30", "author_id": "7"}, {"id": "20", "author_id": "8", "referenced_tweets": [{"id": "10"}]}],
            "includes": {
                "users": [{"id": "7"}, {"id": "8"}, {"id": "9", "name": "author of 10"}, {"id": "6", "name": "nobody's"}],
                "tweets": [{"id": "10", "author_id": "9", "attachments": {"media_keys": ["3_1"]}}],
                "media": [{"media_key": "3_1"}],
            },
            "errors": [{"resource_id": "30", "title": "x"}],
            "meta": {"newest_id": "30", "oldest_id": "20", "next_token": "abc", "result_count": 2},
        });
        let page = read(body.to_string().as_bytes(), Asked::For(Some("a \"b\"")), NOW);
        assert_eq!((page.newest.as_deref(), page.next.as_deref()), (Some("30"), Some("abc")));
        let found = bodies(&page);
        let users = json!([{"id": "7"}, {"id": "6", "name": "nobody's"}]);
        assert_eq!(found[0]["includes"], json!({ "users": users }));
        assert_eq!(found[0]["errors"], json!([{"resource_id": "30", "title": "x"}]));
        assert_eq!(found[0]["matching_rules"], json!([{"tag": "a \"b\""}]));
        assert_eq!(
            found[1]["includes"]["users"],
            json!([{"id": "8"}, {"id": "9", "name": "author of 10"}])
        );
        assert_eq!(found[1]["includes"]["media"], json!([{"media_key": "3_1"}]));
        assert_eq!(found[1].get("errors"), None);
    }

    #[test]
    fn a_page_without_posts_has_no_data() {
        let page = read(br#"{"meta":{"result_count":0}}"#, Asked::For(None), NOW);
        assert!(page.posts.is_empty() && page.newest.is_none() && page.next.is_none());
        let page =
            read(br#"{"data":[{"id":"9"},{"id":"10"},7],"meta":null}"#, Asked::For(None), NOW);
        assert_eq!(
            (page.newest.as_deref(), page.posts.len(), page.refused.len()),
            (Some("10"), 2, 1)
        );
    }

    proptest! {
        #[test]
        fn no_field_that_is_of_another_type_loses_a_post(kinds in prop::collection::vec(0..6usize, 5)) {
            let others = |kind: usize, own: Value| match kind {
                0 => Value::Null,
                1 => json!(7),
                2 => json!("x"),
                3 => json!([[], {"id": 1}]),
                4 => json!({"x": [null]}),
                _ => own,
            };
            let mut post = json!({"id": others(kinds[0], json!("1")), "text": others(kinds[1], json!("x"))});
            post["author_id"] = others(kinds[2], json!("7"));
            let body = json!({
                "data": [post], "includes": others(kinds[3], json!({"users": [{"id": "7"}]})),
                "meta": others(kinds[4], json!({"newest_id": "1"})), "errors": others(kinds[3], json!([])),
            });
            prop_assert_eq!(read(body.to_string().as_bytes(), Asked::For(Some("t")), NOW).posts.len(), 1);
        }
    }
}

//! Recent search, and posts by their ids.

use serde_json::{Map, Value, json};

use super::super::errors::{x_invalid, x_problem};
use super::super::http::{Request, Response};
use super::super::query::Query;
use super::super::shared::Inner;
use super::super::world::{Kind, now_us, parse_us};
use super::shape::{self, Asked, Shaped, Words};

/// Returns X's error about a post that was deleted or never existed.
pub(crate) fn not_found(id: &str) -> Value {
    json!({
        "value": id, "resource_id": id, "parameter": "ids", "resource_type": "tweet",
        "title": "Not Found Error", "detail": format!("Could not find tweet with ids: [{id}]."),
        "type": "https://api.x.com/2/problems/resource-not-found",
    })
}

/// Joins the objects that several posts include, each once.
pub(crate) fn unite(all: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, values) in more {
        let list = all
            .entry(key.as_str())
            .or_insert_with(|| json!([]))
            .as_array_mut()
            .expect("it is a list");
        for value in values.as_array().into_iter().flatten() {
            if !list.contains(value) {
                list.push(value.clone());
            }
        }
    }
}

/// Returns a time of a request, or an answer with the error.
fn time(request: &Request, name: &str) -> Result<Option<i64>, Response> {
    match request.query(name) {
        None => Ok(None),
        Some(text) if text.ends_with('Z') => match parse_us(text) {
            Some(us) => Ok(Some(us)),
            None => Err(x_invalid(&format!("Invalid '{name}':'{text}'"))),
        },
        Some(text) => {
            Err(x_invalid(&format!("Invalid '{name}':'{text}', expected YYYY-MM-DDTHH:mm:ssZ")))
        }
    }
}

fn id(request: &Request, name: &str) -> Result<Option<u64>, Response> {
    match request.query(name) {
        None => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| x_invalid(&format!("Invalid '{name}':'{text}'")))
        }
    }
}

/// Reads the requested fields. Only one name of their parameter is accepted.
pub(super) fn asked(inner: &Inner, request: &Request) -> Result<Asked, Response> {
    let (is, other) = match inner.settings.x_post_fields {
        true => ("post.fields", "tweet.fields"),
        false => ("tweet.fields", "post.fields"),
    };
    match request.query(other) {
        Some(_) => {
            Err(x_invalid(&format!("The query parameter [{other}] is not one of those known")))
        }
        None => Ok(Asked::of(request, is)),
    }
}

pub(crate) fn recent(inner: &mut Inner, request: &Request, number: usize) -> Response {
    search(inner, request, number).unwrap_or_else(|refused| refused)
}

/// The parameters of a search.
struct Search {
    query: Query,
    asked: Asked,
    /// The bounds of ids, both exclusive.
    ids: (u64, u64),
    /// The bounds of times, the first inclusive, the second exclusive.
    times: (i64, i64),
    size: usize,
}

fn read(inner: &Inner, request: &Request) -> Result<Search, Response> {
    let text = request
        .query("query")
        .ok_or_else(|| x_invalid("The `query` query parameter can not be empty"))?;
    if text.chars().count() > inner.settings.x_query_chars {
        return Err(x_invalid(&format!(
            "The query is longer than {} characters",
            inner.settings.x_query_chars
        )));
    }
    let query = Query::x(text, true).map_err(|message| x_invalid(&message))?;
    let size = request.number("max_results").unwrap_or(10);
    if !(10..=100).contains(&size) {
        return Err(x_invalid("The `max_results` query parameter value is not between 10 and 100"));
    }
    let now = now_us();
    let settings = &inner.settings;
    let oldest = now - settings.x_search_reach.as_micros() as i64;
    let (start, end) = (time(request, "start_time")?, time(request, "end_time")?);
    if start.is_some_and(|start| start < oldest) {
        return Err(x_invalid(
            "Invalid 'start_time'. 'start_time' must be on or after 7 days ago.",
        ));
    }
    let (since, until) = (id(request, "since_id")?, id(request, "until_id")?);
    let id_us = |id: u64| ((id >> 22) as i64 + 1_288_834_974_657) * 1000;
    if since.is_some_and(|since| id_us(since) < oldest) {
        return Err(x_invalid(
            "Invalid 'since_id'. 'since_id' must be a tweet id created after 7 days ago.",
        ));
    }
    // If both are given, only `since_id` counts.
    let start = start.filter(|_| since.is_none());
    let fresh = now - settings.x_search_lag.as_micros() as i64 + 1;
    let end = end.unwrap_or(fresh).min(fresh);
    let ids = (since.unwrap_or(0), until.unwrap_or(u64::MAX));
    Ok(Search {
        query,
        asked: asked(inner, request)?,
        ids,
        times: (start.unwrap_or(oldest), end),
        size,
    })
}

fn search(inner: &mut Inner, request: &Request, number: usize) -> Result<Response, Response> {
    let search = read(inner, request)?;
    // A token has the id below which the page continues, so new posts don't move pages.
    let token = request.query("next_token").or_else(|| request.query("pagination_token"));
    let below = match token {
        None => u64::MAX,
        Some(token) => token
            .strip_prefix("b26v89c19zqg8o3")
            .and_then(|id| u64::from_str_radix(id, 16).ok())
            .ok_or_else(|| x_invalid("Invalid 'next_token'"))?,
    };
    let words = Words { new: inner.settings.x_new_words };
    let mut found: Vec<(usize, Shaped)> = Vec::new();
    let mut more = false;
    for (at, item) in inner.world.of(Kind::Tweet).rev() {
        let id: u64 = item.id.parse().expect("an id of X is a number");
        if item.created_us() < search.times.0 || id <= search.ids.0 {
            break;
        }
        let inside =
            id < search.ids.1.min(below) && item.created_us() < search.times.1 && !item.deleted();
        if !inside || !shape::subject(&inner.world, item, |subject| search.query.matches(subject)) {
            continue;
        }
        if found.len() == search.size {
            more = true;
            break;
        }
        found.push((at, shape::shape(&inner.world, item, &search.asked, words)));
    }
    Ok(page(inner, number, found, more))
}

fn page(inner: &mut Inner, number: usize, found: Vec<(usize, Shaped)>, more: bool) -> Response {
    let mut body = json!({"meta": {"result_count": found.len()}});
    if let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) {
        let (newest, oldest) = (&inner.world.items[*first].id, &inner.world.items[*last].id);
        body["meta"]["newest_id"] = newest.as_str().into();
        body["meta"]["oldest_id"] = oldest.as_str().into();
        if more {
            let oldest: u64 = oldest.parse().expect("an id of X is a number");
            body["meta"]["next_token"] = format!("b26v89c19zqg8o3{oldest:x}").into();
        }
    }
    give(inner, number, &found, &mut body);
    Response::json(200, &body)
}

/// Puts posts into a body, and notes them as offered.
fn give(inner: &mut Inner, number: usize, found: &[(usize, Shaped)], body: &mut Value) {
    let mut includes = Map::new();
    for (item, shaped) in found {
        unite(&mut includes, &shaped.includes);
        inner.world.offer(*item, number, &shape::laid(shaped, None));
    }
    // An empty list is left out.
    if !found.is_empty() {
        body["data"] = found.iter().map(|(_, shaped)| shaped.data.clone()).collect();
    }
    if !includes.is_empty() {
        body["includes"] = Value::Object(includes);
    }
}

/// Returns up to 100 posts by their ids.
pub(crate) fn lookup(inner: &mut Inner, request: &Request, number: usize) -> Response {
    let ids: Vec<_> =
        request.query("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || ids.len() > 100 {
        return x_invalid("The `ids` query parameter needs 1 to 100 ids");
    }
    let asked = match asked(inner, request) {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let words = Words { new: inner.settings.x_new_words };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for id in ids {
        match inner.world.get(Kind::Tweet, id).filter(|item| !inner.world.items[*item].deleted()) {
            Some(item) => found
                .push((item, shape::shape(&inner.world, &inner.world.items[item], &asked, words))),
            None => errors.push(not_found(id)),
        }
    }
    let mut body = json!({});
    give(inner, number, &found, &mut body);
    if !errors.is_empty() {
        body["errors"] = errors.into();
    }
    Response::json(200, &body)
}

/// Returns the problem of a stream without rules.
pub(super) fn no_rules() -> Response {
    let mut body = x_problem(
        "rule-configuration-issue",
        "ConnectionException",
        "You must define rules to connect to this stream",
        409,
    );
    body["connection_issue"] = "RuleConfigurationIssue".into();
    Response::problem(409, &body)
}

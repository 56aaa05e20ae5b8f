//! Facebook's Graph API: a page's posts and feed, in both styles of paging, and reads by id.

use serde_json::{Map, Value, json};

use super::super::random::Random;
use super::errors;
use super::http::{Request, Response, encode};
use super::shared::Inner;
use super::text::ascii;
use super::world::{Item, Kind, World, now_us, page_id, parse_us, seconds};

/// The use of this hour's calls.
#[derive(Default)]
pub(crate) struct Usage {
    pub calls: u64,
}

/// Returns a page's posts, the newest first.
pub(crate) fn posts(inner: &mut Inner, request: &Request, number: usize) -> Response {
    listed(inner, request, number).unwrap_or_else(|refused| refused)
}

/// Returns the number of a page by its id or its name.
fn page(world: &World, name: &str) -> Option<usize> {
    (0..world.authors())
        .find(|author| page_id(*author).to_string() == name || world.name(*author) == name)
}

/// Checks the required parameters of a request, and counts the call.
fn pass(inner: &mut Inner, request: &Request) -> Result<(), Response> {
    inner.facebook.calls += 1;
    if inner.settings.facebook_proof
        && request.query("appsecret_proof").is_none_or(|proof| proof.len() != 64)
    {
        let message =
            "(#100) Pages Public Content Access requires either app secret proof or an app token";
        return Err(errors::facebook(400, 100, None, message, false));
    }
    if inner.facebook.calls > inner.settings.facebook_calls {
        let refused = match inner.settings.facebook_business {
            true => {
                errors::facebook(400, 32, Some(2_446_079), "(#32) Page request limit reached", true)
            }
            false => errors::facebook(403, 4, None, "(#4) Application request limit reached", true),
        };
        return Err(usage(inner, refused));
    }
    Ok(())
}

/// Adds the headers that tell the use of the limits, in percent.
fn usage(inner: &Inner, answer: Response) -> Response {
    let percent = inner.facebook.calls * 100 / inner.settings.facebook_calls.max(1);
    let over = inner.facebook.calls > inner.settings.facebook_calls;
    if !inner.settings.facebook_business {
        let usage =
            json!({"call_count": percent, "total_time": percent / 2, "total_cputime": percent / 3});
        return answer.with("X-App-Usage", usage);
    }
    let usage = json!({"100200300400500": [{
        "type": "pages", "call_count": percent, "total_cputime": percent / 3, "total_time": percent / 2,
        "estimated_time_to_regain_access": if over { 1 } else { 0 },
    }]});
    answer.with("X-Business-Use-Case-Usage", usage)
}

fn listed(inner: &mut Inner, request: &Request, number: usize) -> Result<Response, Response> {
    pass(inner, request)?;
    let name = request.path.split('/').nth(2).unwrap_or_default().to_owned();
    let author = page(&inner.world, &name).ok_or_else(|| {
        let message = format!("Unsupported get request. Object with ID '{name}' does not exist, cannot be loaded due to missing permissions");
        errors::facebook(400, 100, Some(33), &message, false)
    })?;
    let limit: usize = request.number("limit").unwrap_or(25);
    if limit > 100 {
        return Err(errors::facebook(
            400,
            100,
            None,
            "(#100) An invalid limit: the maximum is 100",
            false,
        ));
    }
    if limit > inner.settings.facebook_limit {
        let message = "Please reduce the amount of data you're asking for, then retry your request";
        return Err(errors::facebook(500, 1, None, message, false));
    }
    let (since, until) =
        (request.query("since").and_then(parse_us), request.query("until").and_then(parse_us));
    let after = request.query("after").or_else(|| request.query("__paging_token"));
    let below = match after {
        None => i64::MAX,
        Some(cursor) => position(&inner.world, cursor).ok_or_else(|| {
            errors::facebook(400, 100, None, "(#100) Invalid cursor: its object is gone", false)
        })?,
    };
    let mut found = Vec::new();
    let mut more = false;
    for (at, item) in inner.world.of(Kind::Post).rev() {
        let us = item.created_us();
        // `since` and `until` count whole seconds.
        let inside = since.is_none_or(|since| us >= since)
            && until.is_none_or(|until| us < until + 1_000_000)
            && us < below;
        if item.author() != author || item.deleted() || !inside {
            continue;
        }
        if found.len() == limit {
            more = true;
            break;
        }
        found.push((at, shape(&inner.world, item, request.query("fields"))));
    }
    for (item, body) in &found {
        inner.world.offer(*item, number, body);
    }
    let mut body = json!({"data": found.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>()});
    if let (Some((first, _)), Some((last, _))) = (found.first(), found.last()) {
        body["paging"] = paging(inner, request, [*first, *last], limit, more);
    }
    Ok(usage(inner, text(&body)))
}

/// Writes a body as Facebook does: every character beyond ASCII is escaped.
fn text(body: &Value) -> Response {
    Response::text(200, "application/json; charset=UTF-8", ascii(&body.to_string()))
}

/// Returns the cursor of an item. It becomes invalid when the item is deleted.
fn cursor(item: &Item) -> String {
    format!("QVFI{}ZD", item.created_us())
}

fn position(world: &World, cursor: &str) -> Option<i64> {
    let us = cursor.strip_prefix("QVFI")?.strip_suffix("ZD")?.parse().ok()?;
    world.of(Kind::Post).any(|(_, item)| item.created_us() == us && !item.deleted()).then_some(us)
}

fn paging(inner: &Inner, request: &Request, ends: [usize; 2], limit: usize, more: bool) -> Value {
    let [first, last] = ends.map(|at| &inner.world.items[at]);
    let token = inner.tokens.good.get(&Kind::Post).map_or("", String::as_str);
    let mut base = format!("{}{}?access_token={token}&limit={limit}", inner.address, request.path);
    for name in ["fields", "since", "pretty", "appsecret_proof"] {
        if let Some(value) = request.query(name) {
            base += &format!("&{name}={}", encode(value));
        }
    }
    let mut paging = Map::new();
    let (before, after) = (cursor(first), cursor(last));
    if inner.settings.facebook_time_paging {
        let until = last.created_us() / 1_000_000;
        if more {
            paging.insert(
                "next".into(),
                format!("{base}&until={until}&__paging_token={after}").into(),
            );
        }
        let since = first.created_us() / 1_000_000;
        paging.insert(
            "previous".into(),
            format!("{base}&since={since}&__paging_token={before}&__previous=1").into(),
        );
    } else {
        if more {
            paging.insert("next".into(), format!("{base}&after={after}").into());
        }
        paging.insert("cursors".into(), json!({"before": before, "after": after}));
    }
    paging.into()
}

/// Returns the posts of `?ids=a,b`, or one by its path.
pub(crate) fn read(inner: &mut Inner, request: &Request, number: usize) -> Response {
    if let Err(refused) = pass(inner, request) {
        return refused;
    }
    let one = request.path.split('/').nth(2).filter(|name| !name.is_empty()).map(str::to_owned);
    let ids: Vec<String> = match (&one, request.query("ids")) {
        (Some(one), _) => vec![one.clone()],
        (None, Some(ids)) => ids.split(',').map(str::to_owned).collect(),
        (None, None) => {
            return errors::facebook(400, 100, None, "(#100) The parameter ids is required", false);
        }
    };
    let mut all = Map::new();
    for id in ids {
        let Some(item) =
            inner.world.get(Kind::Post, &id).filter(|item| !inner.world.items[*item].deleted())
        else {
            if let Some(author) = page(&inner.world, &id) {
                all.insert(
                    id,
                    json!({"id": page_id(author).to_string(), "name": inner.world.name(author)}),
                );
                continue;
            }
            // A post that is gone fails all of them.
            let message = format!("(#803) Some of the aliases you requested do not exist: {id}");
            return errors::facebook(404, 803, None, &message, false);
        };
        let body = shape(&inner.world, &inner.world.items[item], request.query("fields"));
        inner.world.offer(item, number, &body);
        all.insert(id, body);
    }
    let body = match one.and_then(|one| all.remove(&one)) {
        Some(body) => body,
        None => Value::Object(all),
    };
    usage(inner, text(&body))
}

/// Returns the names at the top of a list of fields: names in braces and in calls belong to the
/// field before. `reactions.type(LIKE).as(like)` is named `like`.
fn names(fields: &str) -> Vec<String> {
    let (mut names, mut name, mut depth) = (Vec::new(), String::new(), 0);
    for c in fields.chars().chain([',']) {
        match c {
            '{' | '(' => depth += 1,
            '}' | ')' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                continue;
            }
            _ => {}
        }
        name.push(c);
    }
    let short = |name: &String| match name.split_once(".as(") {
        Some((_, rest)) => rest.trim_end_matches(')').to_owned(),
        None => name.split(['.', '{']).next().unwrap_or_default().trim().to_owned(),
    };
    names.iter().map(short).filter(|name| !name.is_empty()).collect()
}

fn shape(world: &World, item: &Item, fields: Option<&str>) -> Value {
    let whole = whole(world, item);
    let asked =
        fields.map_or_else(|| vec!["created_time".into(), "message".into(), "story".into()], names);
    let kept = whole
        .into_iter()
        .filter(|(name, _)| *name == "id" || asked.iter().any(|asked| asked == name));
    Value::Object(kept.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn whole(world: &World, item: &Item) -> Vec<(&'static str, Value)> {
    let mut random = Random(item.number ^ 0xface);
    let (author, created) = (item.author(), item.created_us());
    let page = page_id(author).to_string();
    let last = item.last();
    let post = item.id.split_once('_').map_or("", |(_, post)| post);
    let url = format!("https://www.facebook.com/{page}/posts/{post}/");
    let count = |n: u64| json!({"data": [], "summary": {"total_count": n * item.heat}});
    let mut whole = vec![
        ("id", json!(item.id)),
        ("message", json!(last.draft.text)),
        ("created_time", json!(seconds(created, "+0000"))),
        ("updated_time", json!(seconds(last.at_us, "+0000"))),
        ("permalink_url", json!(url)),
        ("status_type", json!("added_photos")),
        ("from", json!({"id": page, "name": world.name(author)})),
        (
            "attachments",
            json!({"data": [{
                "media_type": "photo", "title": "Hafen & Brücke — 港", "description": "What the boats did, told at length for all who were not there to see it.",
                "url": format!("{url}?type=3"), "unshimmed_url": format!("{url}?type=3"),
            }]}),
        ),
        (
            "comments",
            json!({"data": [], "summary": {"order": "chronological", "total_count": random.below(50) * item.heat, "can_comment": true}}),
        ),
        (
            "reactions",
            json!({"data": [], "summary": {"total_count": random.below(900) * item.heat, "viewer_reaction": "NONE"}}),
        ),
    ];
    for name in ["like", "love", "wow", "haha", "sad", "angry"] {
        whole.push((name, count(random.below(200))));
    }
    // The field is absent if there are no shares.
    let shares = random.below(8) * item.heat;
    if shares > 0 {
        whole.push(("shares", json!({"count": shares})));
    }
    if let Some(tag) = last.draft.tags.first() {
        let offset = last.draft.text.encode_utf16().count().saturating_sub(tag.len());
        whole.push(("message_tags", json!([{"id": "600700800900", "name": format!("#{tag}"), "offset": offset, "length": tag.chars().count() + 1}])));
    }
    whole
}

/// Returns Unix time in s, for tests that use it in requests.
pub(crate) fn now_s() -> i64 {
    now_us() / 1_000_000
}

//! YouTube's Data API v3, with its quotas, repeating pages and inexact results.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::super::random::Random;
use super::errors;
use super::http::{Request, Response};
use super::place::Place;
use super::query::{Query, Subject};
use super::shared::Inner;
use super::world::{Item, Kind, World, channel_id, parse_us, seconds};

/// The use of today's quotas.
#[derive(Default)]
pub(crate) struct Quota {
    pub searches: u64,
    pub units: u64,
    /// Videos that are listed but that `videos` doesn't return: deleted or made private since.
    pub missing: Vec<String>,
}

pub(crate) fn answer(
    inner: &mut Inner,
    request: &Request,
    place: Place,
    number: usize,
) -> Response {
    if let Err(refused) = pay(inner, place) {
        return refused;
    }
    if request.query("part").is_none() {
        return errors::youtube(
            400,
            "missingRequiredParameter",
            "global",
            "No filter selected. Expected one of: part",
        );
    }
    let answer = match place {
        Place::YouTubeSearch => search(inner, request),
        Place::YouTubeVideos => videos(inner, request, number),
        Place::YouTubePlaylist => playlist(inner, request),
        _ => channels(inner, request),
    };
    let body = answer.unwrap_or_else(|refused| refused);
    let etag = body.headers.iter().find(|(name, _)| name == "ETag").map(|(_, etag)| etag.clone());
    match etag {
        Some(etag) if request.header("if-none-match") == Some(&etag) => {
            Response { status: 304, headers: vec![("ETag".into(), etag)], body: vec![] }
        }
        _ => body,
    }
}

/// Counts a call, even one that is wrong.
fn pay(inner: &mut Inner, place: Place) -> Result<(), Response> {
    let (used, most) = match place {
        Place::YouTubeSearch => (&mut inner.youtube.searches, inner.settings.youtube_searches),
        _ => (&mut inner.youtube.units, inner.settings.youtube_units),
    };
    *used += 1;
    if *used > most { Err(errors::quota(Kind::Video)) } else { Ok(()) }
}

fn etag(body: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    format!("\"j6xRfake/{:016x}\"", hasher.finish())
}

/// Returns a list, with its etag in the body and in the head.
fn list(
    kind: &str,
    items: Vec<Value>,
    total: usize,
    size: usize,
    tokens: [Option<String>; 2],
) -> Response {
    let mut body = json!({"kind": kind, "pageInfo": {"totalResults": total, "resultsPerPage": size}, "items": items});
    for (name, token) in ["nextPageToken", "prevPageToken"].into_iter().zip(tokens) {
        if let Some(token) = token {
            body[name] = token.into();
        }
    }
    let etag = etag(&body);
    body["etag"] = etag.as_str().into();
    // The body is indented, as YouTube's is.
    let text = serde_json::to_string_pretty(&body).expect("a value is JSON");
    Response::text(200, "application/json; charset=UTF-8", text).with("ETag", etag)
}

/// Returns the first position of a page, and the tokens of its neighbours.
fn page(
    request: &Request,
    total: usize,
    size: usize,
    loops: bool,
) -> Result<(usize, [Option<String>; 2]), Response> {
    let invalid = || {
        errors::youtube(
            400,
            "invalidPageToken",
            "youtube.parameter",
            "The request specifies an invalid page token.",
        )
    };
    let from = match request.query("pageToken") {
        None => 0,
        Some(token) => token
            .strip_prefix("CFAKE")
            .and_then(|rest| rest.strip_suffix("AA")?.parse().ok())
            .ok_or_else(invalid)?,
    };
    let name = |at: usize| format!("CFAKE{at}AA");
    // In a loop, the last page leads to the first, whose token wasn't seen before.
    let next = if from + size < total {
        Some(name(from + size))
    } else {
        (loops && total > 0).then(|| name(0))
    };
    Ok((from, [next, (from > 0).then(|| name(from.saturating_sub(size)))]))
}

fn size(request: &Request) -> Result<usize, Response> {
    match request.number("maxResults").unwrap_or(5) {
        size @ 0..=50 => Ok(size),
        size => Err(errors::youtube(
            400,
            "invalidParameter",
            "youtube.parameter",
            &format!("Invalid value '{size}'. Values must be within the range: [0, 50]"),
        )),
    }
}

/// Returns the videos that aren't deleted.
fn there(world: &World) -> impl Iterator<Item = (usize, &Item)> {
    world.of(Kind::Video).rev().filter(|(_, item)| !item.deleted())
}

fn search(inner: &mut Inner, request: &Request) -> Result<Response, Response> {
    let size = size(request)?;
    let text = request.query("q").unwrap_or_default();
    let query = match text {
        "" => None,
        text => Some(
            Query::youtube(text)
                .map_err(|m| errors::youtube(400, "invalidSearchFilter", "youtube.search", &m))?,
        ),
    };
    if request.query("type") != Some("video") && request.query("eventType").is_some() {
        return Err(errors::youtube(
            400,
            "incompatibleParameters",
            "youtube.search",
            "The request contains an invalid combination of filters.",
        ));
    }
    let time = |name: &str| match request.query(name) {
        None => Ok(None),
        Some(text) => parse_us(text).filter(|_| text.contains('T')).map(Some).ok_or_else(|| {
            errors::youtube(
                400,
                "invalidParameter",
                "youtube.parameter",
                &format!("Invalid value for {name}"),
            )
        }),
    };
    let (after, before) = (time("publishedAfter")?, time("publishedBefore")?);
    let wild = inner.settings.youtube_disorder;
    let hit = |item: &Item| {
        let us = item.created_us();
        let inside = wild
            || after.is_none_or(|after| us >= after) && before.is_none_or(|before| us < before);
        let channel = request.query("channelId").is_none_or(|id| id == channel_id(item.author()));
        inside && channel && query.as_ref().is_none_or(|query| matches(&inner.world, item, query))
    };
    let mut found: Vec<_> = there(&inner.world).filter(|(_, item)| hit(item)).collect();
    if wild {
        // The order is arbitrary, but always the same.
        found.sort_by_key(|(_, item)| item.id.clone());
    }
    // The results end after about 500, though `totalResults` may be larger.
    found.truncate(500);
    let (from, tokens) = page(request, found.len(), size, inner.settings.youtube_loops)?;
    let items: Vec<_> =
        found.iter().skip(from).take(size).map(|(_, item)| result(&inner.world, item)).collect();
    Ok(list("youtube#searchListResponse", items, found.len(), size, tokens))
}

fn matches(world: &World, item: &Item, query: &Query) -> bool {
    let draft = &item.last().draft;
    let author = world.name(item.author());
    query.matches(&Subject {
        text: &draft.text,
        tags: &draft.tags,
        author: &author,
        lang: draft.lang,
        traits: &[],
    })
}

/// Returns the title, which has the beginning of the text; the description has all of it.
fn title(item: &Item) -> String {
    item.last().draft.text.chars().take(100).collect::<String>().replace('\n', " ")
}

fn thumbnails(id: &str) -> Value {
    let size = |name: &str, width: u64, height: u64| json!({"url": format!("https://i.ytimg.example/vi/{id}/{name}.jpg"), "width": width, "height": height});
    json!({"default": size("default", 120, 90), "medium": size("mqdefault", 320, 180), "high": size("hqdefault", 480, 360)})
}

/// Formats a time in one of two forms, which both occur.
fn published(item: &Item) -> String {
    let zone = if item.number.is_multiple_of(4) { ".000Z" } else { "Z" };
    seconds(item.created_us(), zone)
}

fn snippet(world: &World, item: &Item, description: &str) -> Value {
    json!({
        "publishedAt": published(item), "channelId": channel_id(item.author()), "title": title(item), "description": description,
        "thumbnails": thumbnails(&item.id), "channelTitle": world.name(item.author()), "liveBroadcastContent": "none",
    })
}

fn result(world: &World, item: &Item) -> Value {
    let short: String = item.last().draft.text.chars().take(60).collect::<String>() + " ...";
    let id = json!({"kind": "youtube#video", "videoId": item.id});
    let mut result =
        json!({"kind": "youtube#searchResult", "id": id, "snippet": snippet(world, item, &short)});
    result["etag"] = etag(&result).into();
    result
}

/// Returns up to 50 videos by their ids. A deleted video is missing, without a notice.
fn videos(inner: &mut Inner, request: &Request, number: usize) -> Result<Response, Response> {
    let ids: Vec<_> =
        request.query("id").unwrap_or_default().split(',').filter(|id| !id.is_empty()).collect();
    if ids.is_empty() || ids.len() > 50 {
        return Err(errors::youtube(
            400,
            "invalidFilters",
            "youtube.parameter",
            "The request specifies an invalid filter parameter.",
        ));
    }
    let parts: Vec<_> =
        request.query("part").unwrap_or_default().split(',').map(str::trim).collect();
    let mut items = Vec::new();
    for id in ids.iter().filter(|id| !inner.youtube.missing.iter().any(|missing| missing == *id)) {
        let Some(at) =
            inner.world.get(Kind::Video, id).filter(|at| !inner.world.items[*at].deleted())
        else {
            continue;
        };
        let body = video(&inner.world, &inner.world.items[at], &parts);
        inner.world.offer(at, number, &body);
        items.push(body);
    }
    let total = items.len();
    Ok(list("youtube#videoListResponse", items, total, total, [None, None]))
}

fn video(world: &World, item: &Item, parts: &[&str]) -> Value {
    let mut random = Random(item.number ^ 0xbeef);
    let draft = &item.last().draft;
    let mut video = json!({"kind": "youtube#video", "id": item.id});
    if parts.contains(&"snippet") {
        let mut snippet = snippet(
            world,
            item,
            &format!("{}\n\nMore of it → https://example.org/{}", draft.text, item.number),
        );
        snippet["tags"] = draft.tags.iter().map(String::as_str).chain(["harbour", "波"]).collect();
        snippet["categoryId"] = "28".into();
        snippet["defaultAudioLanguage"] = draft.lang.into();
        snippet["localized"] = json!({"title": title(item), "description": draft.text});
        video["snippet"] = snippet;
    }
    if parts.contains(&"statistics") {
        let mut count = |most: u64| (random.below(most) * item.heat).to_string();
        let mut statistics = json!({"viewCount": count(2_000_000), "favoriteCount": "0"});
        // The counts are absent if the channel hides them.
        if !item.number.is_multiple_of(5) {
            statistics["likeCount"] = count(40_000).into();
            statistics["commentCount"] = count(900).into();
        }
        video["statistics"] = statistics;
    }
    if parts.contains(&"contentDetails") {
        video["contentDetails"] = json!({"duration": if item.number.is_multiple_of(11) { "P0D" } else { "PT4M13S" }, "dimension": "2d", "definition": "hd", "caption": "false", "licensedContent": true, "contentRating": {}, "projection": "rectangular"});
    }
    video["etag"] = etag(&video).into();
    video
}

/// Returns a channel's uploads, whose id is the channel's with `UU` for `UC`.
fn playlist(inner: &mut Inner, request: &Request) -> Result<Response, Response> {
    let size = size(request)?;
    let id = request
        .query("playlistId")
        .ok_or_else(|| errors::youtube(400, "missingRequiredParameter", "global", "playlistId"))?;
    let author = (0..inner.world.authors())
        .find(|author| channel_id(*author).replacen("UC", "UU", 1) == id)
        .ok_or_else(|| {
            errors::youtube(
                404,
                "playlistNotFound",
                "youtube.playlistItem",
                "The playlist identified with the request's playlistId parameter cannot be found.",
            )
        })?;
    let found: Vec<_> = there(&inner.world).filter(|(_, item)| item.author() == author).collect();
    let (from, tokens) = page(request, found.len(), size, inner.settings.youtube_loops)?;
    let item = |(at, (_, item)): (usize, &(usize, &Item))| {
        let mut snippet = snippet(&inner.world, item, &item.last().draft.text);
        snippet["playlistId"] = id.into();
        snippet["position"] = (from + at).into();
        snippet["resourceId"] = json!({"kind": "youtube#video", "videoId": item.id});
        let details = json!({"videoId": item.id, "videoPublishedAt": published(item)});
        json!({"kind": "youtube#playlistItem", "etag": "fake", "id": format!("UEwfake{}", item.id), "snippet": snippet, "contentDetails": details})
    };
    let items = found.iter().skip(from).take(size).enumerate().map(item).collect();
    Ok(list("youtube#playlistItemListResponse", items, found.len(), size, tokens))
}

/// Returns channels by id, or one by its handle or name.
fn channels(inner: &mut Inner, request: &Request) -> Result<Response, Response> {
    let ids: Vec<_> = request.query("id").unwrap_or_default().split(',').collect();
    let name = request
        .query("forHandle")
        .or_else(|| request.query("forUsername"))
        .map(|name| name.trim_start_matches('@'));
    let hit = |author: &usize| {
        ids.contains(&channel_id(*author).as_str()) || name == Some(&inner.world.name(*author))
    };
    let item = |author: usize| {
        let (id, name) = (channel_id(author), inner.world.name(author));
        json!({
            "kind": "youtube#channel", "etag": "fake", "id": id,
            "snippet": {"title": name, "customUrl": format!("@{name}"), "publishedAt": "2011-01-02T03:04:05Z"},
            "contentDetails": {"relatedPlaylists": {"likes": "", "uploads": id.replacen("UC", "UU", 1)}},
            "statistics": {"viewCount": "1000", "subscriberCount": "10", "hiddenSubscriberCount": false, "videoCount": "3"},
        })
    };
    let items: Vec<_> = (0..inner.world.authors()).filter(hit).map(item).collect();
    let total = items.len();
    let mut answer = list("youtube#channelListResponse", items, total, total, [None, None]);
    if total == 0 {
        // An empty list `items` is left out.
        answer.body = String::from_utf8_lossy(&answer.body)
            .replace(",\n  \"items\": []", "")
            .replace("\"items\": [],", "")
            .into_bytes();
    }
    Ok(answer)
}

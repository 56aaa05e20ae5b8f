//! A Mastodon instance: streams by SSE and WebSocket, timelines, statuses.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::random::Random;
use super::http::{Request, Response, encode};
use super::shared::Inner;
use super::stream::{Feed, Frame};
use super::text::{escape, spans};
use super::world::{Change, Item, Kind, World, iso};

/// The settings of the instance.
#[derive(Default)]
pub(crate) struct Instance {
    /// The streaming host that the instance names; by default itself.
    pub streaming: Option<String>,
}

/// A timeline that is streamed or listed.
#[derive(Clone, Debug, PartialEq)]
enum Line {
    Public,
    /// Posts of this instance's own users.
    Local,
    Remote,
    Tag(String, bool),
}

impl Line {
    fn parse(name: &str, tag: Option<&str>) -> Option<Self> {
        // The name has no `#`, and any case of letters.
        let tag = tag.filter(|tag| !tag.is_empty() && !tag.starts_with('#')).map(str::to_owned);
        match name {
            "public" => Some(Self::Public),
            "public/local" | "public:local" => Some(Self::Local),
            "public/remote" | "public:remote" => Some(Self::Remote),
            "hashtag" => tag.map(|tag| Self::Tag(tag, false)),
            "hashtag/local" | "hashtag:local" => tag.map(|tag| Self::Tag(tag, true)),
            _ => None,
        }
    }

    fn has(&self, item: &Item) -> bool {
        let tagged = |tag: &String| {
            item.last().draft.tags.iter().any(|t| t.to_lowercase() == tag.to_lowercase())
        };
        match self {
            Self::Public => true,
            Self::Local => is_local(item),
            Self::Remote => !is_local(item),
            Self::Tag(tag, local) => tagged(tag) && (!local || is_local(item)),
        }
    }

    /// Returns the timeline's names in WebSocket messages.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Public => vec!["public".into()],
            Self::Local => vec!["public:local".into()],
            Self::Remote => vec!["public:remote".into()],
            Self::Tag(tag, local) => {
                vec![if *local { "hashtag:local" } else { "hashtag" }.into(), tag.to_lowercase()]
            }
        }
    }
}

fn is_local(item: &Item) -> bool {
    item.author().is_multiple_of(3)
}

/// A client that listens.
struct Listener {
    lines: Vec<Line>,
    socket: bool,
    /// The number of the client's request.
    number: usize,
    /// The next event.
    at: usize,
    /// The frames of the last event for further timelines.
    also: Vec<Frame>,
}

/// Begins a stream.
pub(crate) fn begin(
    inner: &mut Inner,
    request: &Request,
    number: usize,
) -> Result<Box<dyn Feed>, Response> {
    let at = inner.world.events.get(&Kind::Toot).expect("all kinds have their list").len();
    let unknown = || Response::json(400, &json!({"error": "Unknown stream type requested"}));
    let socket = super::socket::key(request).is_some();
    let rest = request.path.trim_start_matches("/api/v1/streaming").trim_matches('/').to_owned();
    // A redirect to the streaming host, which clients are to follow.
    if !socket && rest.is_empty() {
        let own = inner
            .mastodon
            .streaming
            .clone()
            .unwrap_or_else(|| inner.address.clone())
            .replacen("ws", "http", 1);
        return Err(Response::text(301, "text/plain", String::new())
            .with("Location", format!("{own}/api/v1/streaming")));
    }
    let lines = match (socket, request.query("stream")) {
        (true, None) => vec![],
        (true, Some(name)) => vec![Line::parse(name, request.query("tag")).ok_or_else(unknown)?],
        (false, _) => vec![Line::parse(&rest, request.query("tag")).ok_or_else(unknown)?],
    };
    Ok(Box::new(Listener { lines, socket, number, at, also: Vec::new() }))
}

impl Listener {
    fn frame(
        &self,
        line: &Line,
        event: &str,
        payload: &str,
        offer: Option<(usize, Value)>,
    ) -> Frame {
        let text = match self.socket {
            true => json!({"stream": line.names(), "event": event, "payload": payload}).to_string(),
            false => format!("event: {event}\ndata: {payload}\n\n"),
        };
        Frame { text, offer }
    }
}

impl Feed for Listener {
    fn next(&mut self, inner: &mut Inner) -> Option<Frame> {
        loop {
            if let Some(frame) = self.also.pop() {
                return Some(frame);
            }
            let event = *inner.world.events.get(&Kind::Toot)?.get(self.at)?;
            self.at += 1;
            let item = &inner.world.items[event.item];
            let (name, payload, body) = match item.versions[event.version].change {
                Change::Deleted => {
                    ("delete", item.id.clone(), Some((event.item, json!({"deleted": item.id}))))
                }
                change => {
                    let status = shape(&inner.world, item, event.version);
                    let name = if change == Change::Created { "update" } else { "status.update" };
                    (name, status.to_string(), Some((event.item, status)))
                }
            };
            // A delete is sent to every client that may have seen the post.
            let lines = self.lines.iter().filter(|line| line.has(item));
            self.also = lines.map(|line| self.frame(line, name, &payload, body.clone())).collect();
        }
    }

    fn keep_alive(&self, inner: &Inner) -> (Duration, &'static str) {
        (inner.settings.mastodon_thump, ":thump\n")
    }

    fn disconnect(&self) -> String {
        match self.socket {
            true => json!({"error": "Server is going down"}).to_string(),
            false => ":going down\n".into(),
        }
    }

    fn unknown(&self) -> String {
        match self.socket {
            true => json!({"stream": ["public"], "event": "novelty", "payload": "{}"}).to_string(),
            // This event is known, and its data isn't JSON.
            false => {
                "event: filters_changed\ndata: undefined\n\nevent: novelty\ndata: {}\n\n".into()
            }
        }
    }

    fn garbage(&self) -> String {
        match self.socket {
            true => {
                json!({"stream": ["public"], "event": "update", "payload": "{\"id\":"}).to_string()
            }
            false => "event: update\ndata: {\"id\":\n\n".into(),
        }
    }

    fn gives(&self) -> bool {
        !self.lines.is_empty()
    }

    fn told(&mut self, inner: &mut Inner, text: &str) -> Result<(), u16> {
        // A message that isn't understood is ignored, as by Mastodon.
        let Ok(told) = serde_json::from_str::<Value>(text) else { return Ok(()) };
        let line = Line::parse(told["stream"].as_str().unwrap_or_default(), told["tag"].as_str());
        match (told["type"].as_str(), line) {
            (Some("subscribe"), Some(line)) if !self.lines.contains(&line) => {
                self.lines.push(line);
                inner.gives(self.number);
            }
            (Some("unsubscribe"), Some(line)) => self.lines.retain(|other| *other != line),
            (Some("subscribe"), None) => {
                let error =
                    json!({"error": "Unknown stream type requested", "status": 400}).to_string();
                self.also.push(Frame { text: error, offer: None });
            }
            _ => {}
        }
        Ok(())
    }
}

pub(crate) fn instance(inner: &Inner) -> Response {
    let own = inner.address.replacen("http", "ws", 1);
    let streaming = inner.mastodon.streaming.as_ref().unwrap_or(&own);
    Response::json(
        200,
        &json!({
            "domain": "fake.example", "title": "A fake instance", "version": "4.6.0", "source_url": "https://example.org/source",
            "description": "", "languages": ["en"], "usage": {"users": {"active_month": 40}},
            "configuration": {
                "urls": {"streaming": streaming, "status": null, "about": null, "privacy_policy": null, "terms_of_service": null},
                "vapid": {"public_key": "none"},
                "accounts": {"max_featured_tags": 10, "max_pinned_statuses": 5},
                "statuses": {"max_characters": 500, "max_media_attachments": 4, "characters_reserved_per_url": 23},
                "media_attachments": {"supported_mime_types": ["image/png"], "image_size_limit": 16_777_216, "image_matrix_limit": 33_177_600,
                    "video_size_limit": 103_809_024, "video_frame_rate_limit": 120, "video_matrix_limit": 8_294_400, "description_limit": 1500},
                "polls": {"max_options": 4, "max_characters_per_option": 50, "min_expiration": 300, "max_expiration": 2_629_746},
                "translation": {"enabled": false},
            },
            "thumbnail": {"url": "https://fake.example/thumbnail.png"}, "icon": [], "api_versions": {"mastodon": 7},
            "contact": {"email": "nobody@fake.example", "account": null},
            "registrations": {"enabled": false, "approval_required": false, "message": null, "url": null, "min_age": null, "reason_required": false}, "rules": [],
        }),
    )
}

/// Returns the timeline `public`, or `tag/…`.
pub(crate) fn timeline(inner: &mut Inner, request: &Request, number: usize) -> Response {
    let rest = request.path.trim_start_matches("/api/v1/timelines/");
    let on = |name: &str| matches!(request.query(name), Some("true" | "1" | "t" | "on"));
    let line = match rest.split_once('/') {
        None if rest == "public" && on("local") => Line::Local,
        None if rest == "public" && on("remote") => Line::Remote,
        None if rest == "public" => Line::Public,
        Some(("tag", tag)) if !tag.is_empty() => Line::Tag(tag.to_owned(), on("local")),
        _ => return Response::json(404, &json!({"error": "Record not found"})),
    };
    let (min, since, max): (Option<u64>, Option<u64>, Option<u64>) =
        (request.number("min_id"), request.number("since_id"), request.number("max_id"));
    let limit = request.number("limit").unwrap_or(20).min(inner.settings.mastodon_page);
    let above = min.or(since).unwrap_or(0);
    let inside = |item: &Item| {
        let id: u64 = item.id.parse().expect("an id here is a number");
        id > above && id < max.unwrap_or(u64::MAX) && !item.deleted() && line.has(item)
    };
    let all = inner.world.of(Kind::Toot).filter(|(_, item)| inside(item));
    // Pages go upwards from `min_id`, or downwards from the newest status; in both cases the newest
    // comes first.
    let mut found: Vec<_> = match min {
        Some(_) => all.take(limit).collect(),
        None => all.rev().take(limit).collect(),
    };
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let page: Vec<_> = found
        .iter()
        .map(|(at, item)| {
            (*at, item.id.clone(), shape(&inner.world, item, item.versions.len() - 1))
        })
        .collect();
    for (at, _, status) in &page {
        inner.world.offer(*at, number, status);
    }
    let body = page.iter().map(|(_, _, status)| status.clone()).collect::<Vec<_>>();
    let answer = Response::json(200, &Value::Array(body));
    match (page.first(), page.last()) {
        (Some((_, newest, _)), Some((_, oldest, _))) => {
            answer.with("Link", link(inner, request, newest, oldest))
        }
        _ => answer,
    }
}

fn link(inner: &Inner, request: &Request, newest: &str, oldest: &str) -> String {
    let mut base = format!(
        "{}{}?",
        inner.address,
        request.path.split('/').map(encode).collect::<Vec<_>>().join("/")
    );
    for (name, value) in request
        .query
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "limit" | "local" | "remote" | "only_media"))
    {
        base += &format!("{name}={}&", encode(value));
    }
    format!("<{base}max_id={oldest}>; rel=\"next\", <{base}min_id={newest}>; rel=\"prev\"")
}

pub(crate) fn status(inner: &mut Inner, request: &Request, number: usize) -> Response {
    let id = request.path.rsplit('/').next().unwrap_or_default();
    let Some(at) = inner.world.get(Kind::Toot, id).filter(|at| !inner.world.items[*at].deleted())
    else {
        return Response::json(404, &json!({"error": "Record not found"}));
    };
    let status =
        shape(&inner.world, &inner.world.items[at], inner.world.items[at].versions.len() - 1);
    inner.world.offer(at, number, &status);
    Response::json(200, &status)
}

/// Returns a text as HTML with its hashtags as links, each with its `#` outside the inner element.
fn html(text: &str) -> String {
    let (mut html, mut from) = (String::from("<p>"), 0);
    for (at, len) in spans(text) {
        let tag = &text[at + 1..at + len];
        html += &escape(&text[from..at]).replace("\n\n", "</p><p>");
        html += &format!(
            "<a href=\"https://fake.example/tags/{}\" class=\"mention hashtag\" rel=\"tag\">#<span>{tag}</span></a>",
            encode(tag)
        );
        from = at + len;
    }
    html + &escape(&text[from..]).replace("\n\n", "</p><p>") + "</p>"
}

fn shape(world: &World, item: &Item, version: usize) -> Value {
    let (random, version) = (&mut Random(item.number ^ 0x7007), &item.versions[version]);
    let (draft, name) = (&version.draft, world.name(item.author()));
    let mut count = |most: u64| random.below(most) * item.heat;
    let tags: Vec<_> = draft
        .tags
        .iter()
        .map(|tag| json!({"name": tag.to_lowercase(), "url": format!("https://fake.example/tags/{}", encode(&tag.to_lowercase()))}))
        .collect();
    let (local, picture) = (is_local(item), "https://fake.example/missing.png");
    let account = json!({
        "id": (109_000_000_000_000_000 + item.author() as u64).to_string(), "username": name,
        "acct": if local { name.clone() } else { format!("{name}@elsewhere.example") },
        "display_name": format!("{name} 🌊"), "locked": false, "bot": item.author() % 8 == 1, "group": false,
        "created_at": "2022-11-05T00:00:00.000Z", "note": "<p>Sieht aufs Wasser</p>", "url": format!("https://fake.example/@{name}"),
        "uri": format!("https://fake.example/users/{name}"), "indexable": true, "avatar": picture, "avatar_static": picture,
        "header": picture, "header_static": picture,
        "followers_count": item.author() * 17, "following_count": 12, "statuses_count": 400, "emojis": [], "fields": [],
    });
    json!({
        "id": item.id, "created_at": iso(item.created_us()), "in_reply_to_id": null, "in_reply_to_account_id": null,
        "sensitive": item.number.is_multiple_of(17), "spoiler_text": "", "visibility": "public", "language": draft.lang,
        "uri": format!("https://fake.example/users/{name}/statuses/{}", item.id), "url": format!("https://fake.example/@{name}/{}", item.id),
        "replies_count": count(9), "reblogs_count": count(40), "favourites_count": count(90),
        "edited_at": if version.change == Change::Edited { Value::from(iso(version.at_us)) } else { Value::Null },
        "content": html(&draft.text), "reblog": null, "account": account, "media_attachments": [], "mentions": [], "tags": tags,
        "emojis": [], "card": null, "poll": null,
    })
}

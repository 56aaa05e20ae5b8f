//! The filtered stream, and its clients.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::errors::{too_many_connections, x_invalid, x_problem};
use super::super::http::{Request, Response};
use super::super::shared::Inner;
use super::super::stream::{Feed, Frame};
use super::super::world::{Change, Kind, iso, now_us};
use super::search::no_rules;
use super::shape::{self, Asked, Words};

/// A client on the stream.
struct Held {
    number: u64,
    since_us: i64,
    /// The time when the client left, if it has.
    left_us: Option<i64>,
}

/// The present clients, and those that X holds though they have left.
#[derive(Default)]
pub(crate) struct Streams {
    held: Vec<Held>,
    given: u64,
}

impl Streams {
    fn forget(&mut self, held: Duration) {
        let now = now_us();
        let held = held.as_micros() as i64;
        self.held.retain(|stream| stream.left_us.is_none_or(|left| now - left < held));
    }

    /// Returns the number of present clients.
    pub(crate) fn open(&self) -> usize {
        self.held.iter().filter(|stream| stream.left_us.is_none()).count()
    }
}

/// The stream of one client.
struct Stream {
    asked: Asked,
    words: Words,
    number: u64,
    /// The next event.
    at: usize,
}

/// Begins a stream.
pub(crate) fn begin(inner: &mut Inner, request: &Request) -> Result<Box<dyn Feed>, Response> {
    if inner.rules.list.is_empty() {
        return Err(no_rules());
    }
    inner.streams.forget(inner.settings.x_held);
    if inner.streams.held.len() >= inner.settings.x_connections {
        return Err(too_many_connections());
    }
    // X's newer specification has the old name here, though search has the new one.
    if request.query("post.fields").is_some() {
        return Err(x_invalid("The query parameter [post.fields] is not one of those known"));
    }
    let events = inner.world.events.get(&Kind::Tweet).expect("all kinds have their list");
    let minutes: Option<i64> = request.number("backfill_minutes");
    let at = match minutes {
        None | Some(0) => events.len(),
        Some(_) if !inner.settings.x_backfill => {
            let detail = "backfill_minutes needs Enterprise access";
            return Err(Response::problem(
                403,
                &x_problem("client-forbidden", "Client Forbidden", detail, 403),
            ));
        }
        Some(minutes @ 1..=5) => {
            let from = now_us() - minutes * 60_000_000;
            events.partition_point(|event| event.at_us < from)
        }
        Some(_) => {
            return Err(x_invalid(
                "The `backfill_minutes` query parameter value is not between 0 and 5",
            ));
        }
    };
    inner.streams.given += 1;
    let number = inner.streams.given;
    inner.streams.held.push(Held { number, since_us: now_us(), left_us: None });
    let words = Words { new: inner.settings.x_new_words };
    Ok(Box::new(Stream { asked: Asked::of(request, "tweet.fields"), words, number, at }))
}

impl Feed for Stream {
    fn next(&mut self, inner: &mut Inner) -> Option<Frame> {
        loop {
            let event = *inner.world.events.get(&Kind::Tweet)?.get(self.at)?;
            self.at += 1;
            let item = &inner.world.items[event.item];
            // X's stream reports no deletes.
            if item.versions[event.version].change == Change::Deleted {
                continue;
            }
            let rules: Vec<_> = shape::subject(&inner.world, item, |subject| {
                let hit = inner.rules.list.iter().filter(|rule| rule.query.matches(subject));
                hit.map(|rule| match &rule.tag {
                    Some(tag) => json!({"id": rule.id, "tag": tag}),
                    None => json!({"id": rule.id}),
                })
                .collect()
            });
            if rules.is_empty() {
                continue;
            }
            let rules = Value::Array(rules);
            let shaped = shape::shape(&inner.world, item, &self.asked, self.words);
            let mut line = json!({"data": shaped.data, "matching_rules": rules});
            if !shaped.includes.is_empty() {
                line["includes"] = Value::Object(shaped.includes.clone());
            }
            let offer = Some((event.item, shape::laid(&shaped, Some(&rules))));
            return Some(Frame { text: format!("{line}\r\n"), offer });
        }
    }

    fn keep_alive(&self, inner: &Inner) -> (Duration, &'static str) {
        (inner.settings.x_keep_alive, "\r\n")
    }

    fn disconnect(&self) -> String {
        let error = json!({
            "title": "operational-disconnect", "disconnect_type": "UpstreamOperationalDisconnect",
            "detail": "This stream has been disconnected upstream for operational reasons.",
            "type": "https://api.x.com/2/problems/operational-disconnect",
        });
        format!("{}\r\n", json!({ "errors": [error] }))
    }

    fn unknown(&self) -> String {
        "{\"system\":{\"note\":\"no document names this\"}}\r\n".into()
    }

    fn partial(&self, text: String) -> String {
        let errors = json!([super::not_found("1")]);
        match serde_json::from_str::<Value>(&text) {
            Ok(mut line) => {
                line["errors"] = errors;
                format!("{line}\r\n")
            }
            Err(_) => text,
        }
    }

    fn is_ended(&self, inner: &Inner) -> bool {
        let events = inner.world.events.get(&Kind::Tweet).map_or(0, Vec::len);
        let slow = events - self.at > inner.settings.x_buffer;
        slow || !inner.streams.held.iter().any(|stream| stream.number == self.number)
    }

    fn ended(&mut self, inner: &mut Inner) {
        if let Some(stream) =
            inner.streams.held.iter_mut().find(|stream| stream.number == self.number)
        {
            stream.left_us = Some(now_us());
        }
        inner.streams.forget(inner.settings.x_held);
    }
}

/// Lists or ends all streams.
pub(crate) fn connections(inner: &mut Inner, request: &Request) -> Response {
    inner.streams.forget(inner.settings.x_held);
    if request.method == "DELETE" {
        let ended = inner.streams.held.len();
        inner.streams.held.clear();
        return Response::json(
            200,
            &json!({"data": {"successful_kills": ended, "failed_kills": 0}}),
        );
    }
    let list: Vec<_> = inner
        .streams
        .held
        .iter()
        .map(|held| json!({"id": held.number.to_string(), "endpoint_name": "filtered_stream", "connected_at": iso(held.since_us), "client_ip": "127.0.0.1"}))
        .collect();
    let mut body = json!({"meta": {"result_count": list.len()}});
    if !list.is_empty() {
        body["data"] = list.into();
    }
    Response::json(200, &body)
}

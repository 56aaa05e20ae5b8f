//! A connection of either kind, and the events that come on it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::post::fields::{pick, string};
use crate::social::{Body, Message, Socket};

use super::sse::{Event, Events};

/// An open stream.
pub(super) enum Wire {
    Events { body: Body, parser: Events, ready: VecDeque<Event> },
    Socket(Socket),
}

/// A result of reading a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A sign of life.
    Alive,
    /// An event; `stream` names its stream, if a connection has several.
    Event { stream: Option<Bytes>, name: String, data: Bytes },
    /// A message that isn't an event.
    Refused(Bytes, String),
    /// The connection ends, for this reason; `status` is as in HTTP, if there is one.
    End { status: Option<u16>, why: String },
}

impl Wire {
    pub(crate) fn events(body: Body) -> Self {
        Self::Events { body, parser: Events::default(), ready: VecDeque::new() }
    }

    /// Returns the next result. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Heard {
        match self {
            Self::Events { body, parser, ready } => {
                if let Some(Event { name, data }) = ready.pop_front() {
                    return Heard::Event { stream: None, name, data: data.into() };
                }
                match body.chunk().await {
                    Ok(Some(chunk)) => {
                        let pushed = parser.push(&chunk, |event| ready.push_back(event));
                        if !ready.is_empty() {
                            body.message_came();
                        }
                        match pushed {
                            Ok(()) => Heard::Alive,
                            Err(why) => Heard::End { status: None, why },
                        }
                    }
                    Ok(None) => end("the stream ended"),
                    Err(failure) => end(failure.to_string()),
                }
            }
            Self::Socket(socket) => match socket.next().await {
                Ok(Some(Message::Text(message) | Message::Binary(message))) => message_of(message),
                Ok(Some(Message::Alive)) => Heard::Alive,
                Ok(Some(Message::Close(code, why))) => {
                    end(format!("it closed with {code} {why}").trim())
                }
                Ok(None) => end("the stream ended"),
                Err(failure) => end(failure.to_string()),
            },
        }
    }
}

fn end(why: impl Into<String>) -> Heard {
    Heard::End { status: None, why: why.into() }
}

/// Parses a message of a WebSocket. Its payload is JSON inside a JSON string.
fn message_of(message: Bytes) -> Heard {
    if message.trim_ascii().is_empty() {
        return Heard::Alive;
    }
    if message.trim_ascii().first() != Some(&b'{') {
        return Heard::Refused(message, "expected an object".into());
    }
    let [stream, event, payload, error, status] =
        pick(&message, ["stream", "event", "payload", "error", "status"]);
    let Some(name) = event.and_then(string) else {
        return match error.and_then(string) {
            Some(why) => {
                let status = status
                    .and_then(|status| std::str::from_utf8(status).ok())
                    .and_then(|text| text.parse().ok());
                Heard::End { status, why: why.into_owned() }
            }
            None => Heard::Refused(message.clone(), "a message without an event".into()),
        };
    };
    let data = match payload.map(|payload| (payload, string(payload))) {
        Some((_, Some(text))) => Bytes::from(text.into_owned()),
        Some((raw, None)) => message.slice_ref(raw),
        None => Bytes::new(),
    };
    Heard::Event {
        stream: stream.map(|stream| message.slice_ref(stream)),
        name: name.into_owned(),
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &'static str, expected: Heard) {
        assert_eq!(message_of(Bytes::from_static(message.as_bytes())), expected, "{message}");
    }

    fn event(name: &str, data: &'static str) -> Heard {
        let stream = Some(Bytes::from_static(br#"["hashtag","a"]"#));
        Heard::Event { stream, name: name.into(), data: Bytes::from_static(data.as_bytes()) }
    }

    #[test]
    fn a_payload_is_json_inside_a_string() {
        check(
            r#"{"stream":["hashtag","a"],"event":"update","payload":"{\"id\":\"1\",\"x\":\"\\u00e9\\n\\\"\"}"}"#,
            event("update", r#"{"id":"1","x":"\u00e9\n\""}"#),
        );
        check(
            r#"{"stream":["hashtag","a"],"event":"delete","payload":"17"}"#,
            event("delete", "17"),
        );
        check(
            r#"{"stream":["hashtag","a"],"event":"update","payload":{"id":1}}"#,
            event("update", r#"{"id":1}"#),
        );
        check(
            r#"{"stream":["hashtag","a"],"event":"filters_changed"}"#,
            event("filters_changed", ""),
        );
    }

    #[test]
    fn what_is_no_event_is_told_apart() {
        let error = r#"{"error":"Invalid access token","status":401}"#;
        check(error, Heard::End { status: Some(401), why: "Invalid access token".into() });
        check(" ", Heard::Alive);
        check("{}", Heard::Refused(Bytes::from_static(b"{}"), "a message without an event".into()));
        check("[]", Heard::Refused(Bytes::from_static(b"[]"), "expected an object".into()));
    }
}

//! Subscriptions, which are hashtags or timelines, in the terms of the three interfaces.

use crate::post::fields::{elements, string};
use crate::social::{Term, Topic};

use super::{Mastodon, Timeline};

/// A stream to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subscription {
    /// A hashtag in lower case, without its sign.
    Hashtag(String),
    Timeline(Timeline),
}

impl Subscription {
    /// Returns the subscriptions of a configuration, which are at least one.
    pub(crate) fn all(config: &Mastodon) -> Vec<Self> {
        if let Some(timeline) = config.stream {
            return vec![Self::Timeline(timeline)];
        }
        let tags: Option<Vec<_>> = config.topics.iter().map(hashtag).collect();
        let mut tags = tags.unwrap_or_default();
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() {
            return vec![Self::Timeline(Timeline::Public)];
        }
        tags.into_iter().map(Self::Hashtag).collect()
    }

    /// Returns the subscription's name in cursors, gaps and messages.
    pub(crate) fn part(&self) -> String {
        match self {
            Self::Hashtag(tag) => format!("#{tag}"),
            Self::Timeline(_) => self.stream().into(),
        }
    }

    /// Returns the subscription's name on a WebSocket.
    fn stream(&self) -> &'static str {
        match self {
            Self::Hashtag(_) => "hashtag",
            Self::Timeline(Timeline::Public) => "public",
            Self::Timeline(Timeline::Local) => "public:local",
            Self::Timeline(Timeline::Remote) => "public:remote",
        }
    }

    /// Returns the path and the query of the subscription's server-sent events.
    pub(crate) fn events(&self) -> (&'static str, Vec<(&str, &str)>) {
        match self {
            Self::Hashtag(tag) => ("/api/v1/streaming/hashtag", vec![("tag", tag)]),
            Self::Timeline(Timeline::Public) => ("/api/v1/streaming/public", vec![]),
            Self::Timeline(Timeline::Local) => ("/api/v1/streaming/public/local", vec![]),
            Self::Timeline(Timeline::Remote) => ("/api/v1/streaming/public/remote", vec![]),
        }
    }

    /// Returns the path and the query of the subscription's timeline.
    pub(crate) fn timeline(&self) -> (String, Vec<(&'static str, &'static str)>) {
        let public = || "/api/v1/timelines/public".to_owned();
        match self {
            Self::Hashtag(tag) => (format!("/api/v1/timelines/tag/{tag}"), vec![]),
            Self::Timeline(Timeline::Public) => (public(), vec![]),
            Self::Timeline(Timeline::Local) => (public(), vec![("local", "true")]),
            Self::Timeline(Timeline::Remote) => (public(), vec![("remote", "true")]),
        }
    }

    /// Returns the query for the subscription in the address of a WebSocket.
    pub(crate) fn query(&self) -> String {
        match self {
            Self::Hashtag(tag) => format!("stream=hashtag&tag={}", encoded(tag)),
            Self::Timeline(_) => format!("stream={}", self.stream()),
        }
    }

    /// Returns the message for the subscription on a WebSocket.
    pub(crate) fn request(&self) -> String {
        match self {
            Self::Hashtag(tag) => {
                serde_json::json!({ "type": "subscribe", "stream": "hashtag", "tag": tag })
            }
            Self::Timeline(_) => {
                serde_json::json!({ "type": "subscribe", "stream": self.stream() })
            }
        }
        .to_string()
    }

    /// Returns true if a message's `stream`, such as `["hashtag", "foo"]`, is this subscription.
    pub(crate) fn is(&self, stream: &[u8]) -> bool {
        let mut names = elements(stream).map(string);
        let first = names.next().flatten();
        match self {
            Self::Hashtag(tag) => {
                first.as_deref() == Some("hashtag")
                    && names.next().flatten().is_some_and(|name| name.to_lowercase() == *tag)
            }
            Self::Timeline(_) => first.as_deref() == Some(self.stream()),
        }
    }
}

/// Encodes text for a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn hashtag(topic: &Topic) -> Option<String> {
    topic.terms().iter().find_map(|term| match term {
        Term::Hashtag(tag) => Some(tag.clone()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(topics: &[&str], stream: Option<Timeline>, parts: &[&str]) {
        let topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
        let base: Mastodon =
            serde_json::from_str(r#"{"instance":"i.example","access_token":"t"}"#).unwrap();
        let all = Subscription::all(&Mastodon { topics, stream, ..base });
        assert_eq!(all.iter().map(Subscription::part).collect::<Vec<_>>(), parts);
    }

    #[test]
    fn hashtags_are_subscribed_to_if_every_topic_has_one() {
        check(&["#Storm", "rust #storm", "lang:en #rain -#sun"], None, &["#rain", "#storm"]);
        check(&["#storm", "rain"], None, &["public"]);
        check(&["-#storm rain"], None, &["public"]);
        check(&[], None, &["public"]);
        check(&["#storm"], Some(Timeline::Local), &["public:local"]);
    }

    #[test]
    fn an_address_asks_for_one_stream() {
        let tag = |tag: &str| Subscription::Hashtag(tag.into()).query();
        assert_eq!(
            (tag("storm"), tag("größe&x=1")),
            (
                "stream=hashtag&tag=storm".into(),
                "stream=hashtag&tag=gr%C3%B6%C3%9Fe%26x%3D1".into()
            )
        );
        assert_eq!(Subscription::Timeline(Timeline::Local).query(), "stream=public:local");
    }

    #[test]
    fn a_message_tells_whose_it_is() {
        let (storm, local) =
            (Subscription::Hashtag("storm".into()), Subscription::Timeline(Timeline::Local));
        assert!(storm.is(br#"["hashtag","Storm"]"#) && !storm.is(br#"["hashtag","rain"]"#));
        assert!(
            local.is(br#"["public:local"]"#) && !local.is(br#"["public"]"#) && !local.is(b"null")
        );
    }
}

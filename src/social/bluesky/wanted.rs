//! The filter of a subscription, as an address and, if the address would be too long, as a message.

use std::collections::BTreeSet;

use crate::social::{Term, Topic};

use super::Bluesky;

/// The most collections and authors that Jetstream accepts.
pub(super) const COLLECTIONS_MAX: usize = 100;
pub(super) const DIDS_MAX: usize = 10_000;

/// The most authors in the address. More would make it longer than servers accept; they are sent in
/// a message that the server waits for.
const DIDS_IN_ADDRESS_MAX: usize = 50;

/// The filter of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    collections: Vec<String>,
    /// The authors whose posts are wanted; empty if all authors are wanted.
    dids: BTreeSet<String>,
}

impl Wanted {
    /// Returns the filter of a configuration. Authors are left to the server only if every topic
    /// names one.
    pub(crate) fn of(config: &Bluesky) -> Self {
        let authors: Option<BTreeSet<String>> = config.topics.iter().map(author).collect();
        Self { collections: config.collections.clone(), dids: authors.unwrap_or_default() }
    }

    /// Returns the number of authors in the filter.
    pub(crate) fn authors(&self) -> usize {
        self.dids.len()
    }

    /// Returns true if only some authors' events come, so that silence means nothing.
    pub(crate) fn is_by_author(&self) -> bool {
        !self.dids.is_empty()
    }

    /// Returns the filter without the parts that are left out. Returns `None` if no author or no
    /// collection would remain where there are some now: a server takes an empty list for all.
    pub(crate) fn without(&self, is_left_out: impl Fn(&str) -> bool) -> Option<Self> {
        let mut wanted = self.clone();
        wanted.collections.retain(|collection| !is_left_out(collection));
        wanted.dids.retain(|did| !is_left_out(did));
        let has_all = wanted.collections.is_empty() == self.collections.is_empty()
            && wanted.dids.is_empty() == self.dids.is_empty();
        has_all.then_some(wanted)
    }

    /// Returns the author or collection that a server's error names.
    pub(crate) fn named_in(&self, error: &str) -> Option<&str> {
        let words: Vec<_> =
            error.split(|c: char| c.is_whitespace() || "\"'`,;()[]{}".contains(c)).collect();
        let is_named = |name: &&String| {
            words.iter().any(|word| word.trim_end_matches(['.', ':']) == name.as_str())
        };
        self.dids.iter().chain(&self.collections).find(is_named).map(String::as_str)
    }

    fn needs_hello(&self) -> bool {
        self.dids.len() > DIDS_IN_ADDRESS_MAX
    }

    /// Returns the address at a host, from a time in µs on.
    pub(crate) fn address(&self, host: &str, cursor: Option<i64>) -> String {
        let mut parameters: Vec<_> = self
            .collections
            .iter()
            .map(|name| format!("wantedCollections={}", encoded(name)))
            .collect();
        if self.needs_hello() {
            parameters.push("requireHello=true".into());
        } else {
            parameters.extend(self.dids.iter().map(|did| format!("wantedDids={}", encoded(did))));
        }
        parameters.extend(cursor.map(|cursor| format!("cursor={cursor}")));
        let path = format!("{}/subscribe", websocket(host).unwrap_or_default());
        if parameters.is_empty() { path } else { format!("{path}?{}", parameters.join("&")) }
    }

    /// Returns the message that is sent first, if the address doesn't have the whole filter.
    pub(crate) fn hello(&self) -> Option<String> {
        let payload = serde_json::json!({
            "wantedCollections": self.collections, "wantedDids": self.dids, "maxMessageSizeBytes": 0,
        });
        let hello = serde_json::json!({ "type": "options_update", "payload": payload });
        self.needs_hello().then(|| hello.to_string())
    }
}

/// Returns the author that a topic asks for.
fn author(topic: &Topic) -> Option<String> {
    topic.terms().iter().find_map(|term| match term {
        Term::From(did) => Some(did.clone()),
        _ => None,
    })
}

/// Returns a host's WebSocket address, if the host has one; `http` is replaced by `ws`, and `https`
/// by `wss`.
pub(super) fn websocket(host: &str) -> Option<String> {
    let (scheme, rest) = host.trim_end_matches('/').split_once("://")?;
    let scheme = match scheme {
        "ws" | "http" => "ws",
        "wss" | "https" => "wss",
        _ => return None,
    };
    let plain = !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']);
    plain.then(|| format!("{scheme}://{rest}"))
}

/// Returns a host's name, for display.
pub(super) fn name(host: &str) -> &str {
    let rest = host.split_once("://").map_or(host, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// Encodes text for a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:*".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(topics: &[&str]) -> Wanted {
        let topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
        let json = r#"{"collections":["app.bsky.feed.post","app.bsky.graph.*"]}"#;
        Wanted::of(&Bluesky { topics, ..serde_json::from_str(json).unwrap() })
    }

    #[test]
    fn authors_are_left_to_the_server_if_every_topic_names_one() {
        let both = "wantedCollections=app.bsky.feed.post&wantedCollections=app.bsky.graph.*";
        let check = |topics: &[&str], cursor, expected: &str| {
            assert_eq!(
                wanted(topics).address("https://h.example/", cursor),
                format!("wss://h.example/subscribe?{both}{expected}")
            );
        };
        check(&[], None, "");
        check(&["rust", "from:did:plc:a"], Some(7), "&cursor=7");
        check(
            &["rust from:did:plc:a", "from:did:web:a%3A1"],
            None,
            "&wantedDids=did:plc:a&wantedDids=did:web:a%253A1",
        );
        check(&["rust -from:did:plc:a"], None, "");
    }

    #[test]
    fn what_a_server_refuses_is_found_in_its_error_and_left_out() {
        let two = wanted(&["from:did:plc:a", "from:did:web:b"]);
        assert_eq!(two.named_in("invalid DID: did:web:b"), Some("did:web:b"));
        assert_eq!(two.named_in("bad collection \"app.bsky.graph.*\"."), Some("app.bsky.graph.*"));
        assert_eq!(two.named_in("invalid DID: did:web:bb"), None);
        let one = two.without(|part| part == "did:web:b").unwrap();
        assert_eq!(one, wanted(&["from:did:plc:a"]));
        assert_eq!(one.without(|part| part == "did:plc:a"), None, "no author would be all authors");
    }

    #[test]
    fn many_authors_are_sent_in_a_message() {
        let topics: Vec<_> = (0..51).map(|n| format!("from:did:plc:{n}")).collect();
        let wanted = wanted(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(wanted.address("ws://h", None).ends_with("app.bsky.graph.*&requireHello=true"));
        let hello: serde_json::Value = serde_json::from_str(&wanted.hello().unwrap()).unwrap();
        assert_eq!(hello["type"], "options_update");
        assert_eq!(hello["payload"]["wantedDids"].as_array().unwrap().len(), 51);
    }

    #[test]
    fn a_host_is_an_address_of_the_web() {
        assert_eq!(websocket("ws://127.0.0.1:80/a/").as_deref(), Some("ws://127.0.0.1:80/a"));
        for bad in ["jetstream", "ftp://h", "wss://", "wss://h?x=1", "wss://a:b@h"] {
            assert_eq!(websocket(bad), None, "{bad}");
        }
    }
}

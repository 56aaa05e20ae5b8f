//! The hosts that may get the token.

/// A host, with or without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    secure: bool,
    /// The name, the port, and the path before all others.
    rest: String,
}

impl Host {
    /// Parses an address of HTTP or WebSocket, without `/api/v1/streaming` and the text behind it.
    pub(crate) fn parse(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://")?;
        let secure = match scheme {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let rest = rest.split("/api/v1/streaming").next().unwrap_or_default().trim_end_matches('/');
        let plain =
            !rest.is_empty() && !rest.starts_with([':', '/']) && !rest.contains(['@', ' ', '\\']);
        plain.then(|| Self { secure, rest: rest.into() })
    }

    /// Returns true if this host may get the token of another host that named it: only with TLS, if
    /// the other host has TLS.
    pub(crate) fn may_have_token_of(&self, other: &Self) -> bool {
        self.secure || !other.secure
    }

    /// Returns true if both are the same host, port included; case doesn't matter.
    pub(crate) fn is_same_host(&self, other: &Self) -> bool {
        let name = |host: &Self| {
            let name = host.name().to_ascii_lowercase();
            let default = if host.secure { ":443" } else { ":80" };
            name.strip_suffix(default).map_or(name.clone(), str::to_owned)
        };
        name(self) == name(other)
    }

    /// Returns the host's address for HTTP.
    pub(crate) fn http(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.rest)
    }

    /// Returns the host's address for WebSocket.
    pub(crate) fn websocket(&self) -> String {
        format!("{}://{}", if self.secure { "wss" } else { "ws" }, self.rest)
    }

    /// Returns the host's name and port.
    pub(crate) fn name(&self) -> &str {
        self.rest.split('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_the_same_by_http_and_websocket() {
        let host = Host::parse("wss://s.example/api/v1/streaming?stream=public").unwrap();
        assert_eq!(
            (host.http(), host.websocket(), host.name()),
            ("https://s.example".into(), "wss://s.example".into(), "s.example")
        );
        let local = Host::parse("http://127.0.0.1:4000/").unwrap();
        assert_eq!(local.websocket(), "ws://127.0.0.1:4000");
        for bad in
            ["s.example", "ftp://s.example", "https://", "https:///a", "https://u:p@s.example"]
        {
            assert_eq!(Host::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_port_makes_another_host_and_the_way_of_writing_does_not() {
        let same = |a, b| Host::parse(a).unwrap().is_same_host(&Host::parse(b).unwrap());
        assert!(same("https://S.example/x", "wss://s.example:443"));
        assert!(!same("https://s.example", "https://s.example:444"));
        assert!(!same("https://s.example", "https://evil.s.example"));
        assert!(!same("https://s.example", "https://s.example.evil"));
    }

    #[test]
    fn a_token_never_goes_from_tls_to_plain_text() {
        let host = |address| Host::parse(address).unwrap();
        assert!(host("wss://b").may_have_token_of(&host("https://a")));
        assert!(!host("ws://b").may_have_token_of(&host("https://a")));
        assert!(host("ws://b").may_have_token_of(&host("http://a")));
    }
}

//! The log of requests, for assertions, without secrets.

use std::time::Duration;

use super::http::Request;
use super::place::Place;
use super::world::Kind;

/// The replacement for a token.
pub(crate) const SECRET: &str = "<secret>";

/// A request in the log.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Unix time in µs.
    pub at_us: i64,
    pub place: Place,
    pub method: String,
    pub path: String,
    /// The decoded parameters, in their order.
    pub query: Vec<(String, String)>,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// The time since when the answer gives posts, in µs: a WebSocket of Mastodon needs a
    /// subscription first.
    pub gives_us: Option<i64>,
    /// True if the request had a valid token.
    pub authorized: bool,
}

impl Seen {
    pub(crate) fn new(at_us: i64, place: Place, request: &Request, secrets: &[String]) -> Self {
        let hide = |text: &str| {
            secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, SECRET))
        };
        let pairs =
            |pairs: &[(String, String)]| pairs.iter().map(|(k, v)| (k.clone(), hide(v))).collect();
        Self {
            at_us,
            place,
            method: request.method.clone(),
            path: hide(&request.path),
            query: pairs(&request.query),
            headers: pairs(&request.headers),
            body: hide(&String::from_utf8_lossy(&request.body)),
            status: 0,
            gives_us: None,
            authorized: false,
        }
    }

    /// Returns the first value of a parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns a header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A copy of the requests so far.
#[derive(Clone, Debug)]
pub(crate) struct Requests(pub Vec<Seen>);

impl Requests {
    /// Returns the requests to one platform.
    pub(crate) fn of(&self, kind: Kind) -> Self {
        Self(self.0.iter().filter(|seen| seen.place.kind() == kind).cloned().collect())
    }

    /// Returns the requests to one endpoint.
    pub(crate) fn at(&self, place: Place) -> Self {
        Self(self.0.iter().filter(|seen| seen.place == place).cloned().collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the most requests within any `window`, to detect a storm of new connections.
    pub(crate) fn busiest(&self, window: Duration) -> usize {
        let times: Vec<_> = self.0.iter().map(|seen| seen.at_us).collect();
        let window = window.as_micros() as i64;
        (0..times.len())
            .map(|from| times[from..].iter().take_while(|at| **at - times[from] < window).count())
            .max()
            .unwrap_or(0)
    }

    /// Returns the times between each request and the next.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        let between =
            |two: &[Seen]| Duration::from_micros((two[1].at_us - two[0].at_us).max(0) as u64);
        self.0.windows(2).map(between).collect()
    }
}

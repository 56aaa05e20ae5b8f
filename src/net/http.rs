//! HTTP for sources and sinks: one base address, one way to authenticate, and errors that never
//! show a URL, since a URL may contain a token.

mod address;
mod body;

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::secret::Secret;

use super::limits::{ANSWER_TIME_MAX, CONNECT_MAX};

use self::address::without_secrets;

pub use self::address::{hidden_parts, is_address, pairs_of};
pub use self::body::Body;

/// The reason why there is no answer: a sentence without any address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answered, or the connection was lost: another attempt may succeed.
    Network(String),
    /// The answer took too long.
    Timeout,
    /// The answer is larger than 64 MiB.
    TooLarge,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Network(what) => f.write_str(what),
            Self::Timeout => f.write_str("no answer in time"),
            Self::TooLarge => f.write_str("the answer is larger than 64 MiB"),
        }
    }
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::Network(text)
    }
}

/// An answer with any status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, by names in lower case.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// Returns true if the status is one of the 200s.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Returns a header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Headers of a request. Nothing prints their values.
#[derive(Clone, Default)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Sets a header.
    ///
    /// # Errors
    /// If the name or the value can't be used; the text says why, and doesn't repeat the value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| "expected a name of letters, digits and hyphens")?;
        let bad =
            "expected a value of ASCII characters without a line break, which a header can carry";
        let ascii = Some(value).filter(|value| value.is_ascii()).ok_or(bad)?;
        let mut value = HeaderValue::from_str(ascii).map_err(|_| bad)?;
        value.set_sensitive(true);
        self.0.insert(name, value);
        Ok(())
    }

    /// Returns true if there is a header of this name, in any case.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// A client for one platform.
#[derive(Clone)]
pub struct Http {
    client: Client,
    base: Url,
    clock: SharedClock,
    /// The value of the header `Authorization`, if the client has one.
    bearer: Option<HeaderValue>,
    /// A parameter with a secret that every query gets.
    parameter: Option<(&'static str, Secret)>,
}

impl Http {
    /// Makes a client for a base address such as `https://api.x.com`. The path of each request is
    /// appended to the base's path.
    ///
    /// # Errors
    /// Fatal if the address isn't valid, or if there is no TLS on this machine.
    pub fn new(base_url: &str, clock: SharedClock) -> Result<Self> {
        let bad = || {
            Error::fatal(format!(
                "bad base_url \"{}\": expected an address such as \"https://host\"",
                without_secrets(base_url)
            ))
        };
        let base = Url::parse(base_url).map_err(|_| bad())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(bad());
        }
        // If a provider is installed already, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("waterspout/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_keepalive(Duration::from_secs(30))
            .build()
            .map_err(|error| {
                Error::fatal("can't create the HTTP client").because(error.without_url())
            })?;
        Ok(Self { client, base, clock, bearer: None, parameter: None })
    }

    /// Authenticates by `Authorization: Bearer`.
    ///
    /// # Errors
    /// Fatal if the token has characters that a header can't have.
    pub fn with_bearer(mut self, token: &Secret) -> Result<Self> {
        let value = HeaderValue::from_str(&format!("Bearer {}", token.reveal()));
        let mut value = value.map_err(|_| {
            Error::fatal("the token has a line break or another character that a header can't have")
        })?;
        value.set_sensitive(true);
        self.bearer = Some(value);
        Ok(self)
    }

    /// Authenticates by a parameter of the query.
    #[must_use]
    pub fn with_parameter(mut self, name: &'static str, secret: &Secret) -> Self {
        self.parameter = Some((name, secret.clone()));
        self
    }

    /// Returns the scheme, host and port, which may be shown of an address whose path is a secret.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Returns the base address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Returns true if a link from the platform leads to the host of the base address. Other links
    /// aren't followed.
    pub fn is_ours(&self, link: &str) -> bool {
        Url::parse(link).is_ok_and(|link| {
            link.scheme() == self.base.scheme()
                && link.host_str() == self.base.host_str()
                && link.port_or_known_default() == self.base.port_or_known_default()
        })
    }

    fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        {
            let mut pairs = url.query_pairs_mut();
            pairs.clear().extend_pairs(query);
            if let Some((name, secret)) = &self.parameter {
                pairs.append_pair(name, secret.reveal());
            }
        }
        if url.query() == Some("") {
            url.set_query(None);
        }
        url
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
    ) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(path, query));
        match &self.bearer {
            Some(bearer) => request.header(AUTHORIZATION, bearer.clone()),
            None => request,
        }
    }

    /// Sends a GET request, and reads the whole answer.
    ///
    /// # Errors
    /// If there is no answer. Any status is an answer.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.get_with(path, query, &[]).await
    }

    /// Does the same with headers.
    ///
    /// # Errors
    /// If [`get`](Self::get) would fail.
    pub async fn get_with(
        &self,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Reply, Failure> {
        let request = headers
            .iter()
            .fold(self.request(Method::GET, path, query), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.in_time(async { self.body(request.send().await.map_err(Failure::of)?).whole().await })
            .await
    }

    /// Sends JSON, and reads the whole answer.
    ///
    /// # Errors
    /// If [`get`](Self::get) would fail.
    pub async fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        json: String,
    ) -> Result<Reply, Failure> {
        let request = self
            .request(Method::POST, path, query)
            .header("content-type", "application/json")
            .body(json);
        self.in_time(async { self.body(request.send().await.map_err(Failure::of)?).whole().await })
            .await
    }

    /// Sends a body to the base address itself, with the address's own query, and reads the
    /// beginning of the answer. `method` is a name such as `POST`.
    ///
    /// # Errors
    /// If there is no status. Any status is an answer.
    pub async fn send(
        &self,
        method: &str,
        headers: &Headers,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| Failure::Network("the HTTP method isn't valid".into()))?;
        let request = self.client.request(method, self.base.clone());
        let request = request.headers(headers.0.clone()).body(body);
        let answer = async { request.send().await.map_err(Failure::of) };
        Ok(self.body(self.in_time(answer).await?).beginning().await)
    }

    /// Sends a DELETE request, and reads the whole answer.
    ///
    /// # Errors
    /// If [`get`](Self::get) would fail.
    pub async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Reply, Failure> {
        let request = self.request(Method::DELETE, path, query);
        self.in_time(async { self.body(request.send().await.map_err(Failure::of)?).whole().await })
            .await
    }

    /// Opens a body that doesn't end by itself. The answer may have any status.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn open(
        &self,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Result<Body, Failure> {
        let request = headers
            .iter()
            .fold(self.request(Method::GET, path, query), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.in_time(async {
            request.send().await.map(|response| self.body(response)).map_err(Failure::of)
        })
        .await
    }

    fn body(&self, response: reqwest::Response) -> Body {
        Body::new(response, self.clock.clone())
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = self.clock.monotonic();
        let answer = match select(std::pin::pin!(answer), self.clock.sleep(ANSWER_TIME_MAX)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => Err(Failure::Timeout),
        };
        // The host alone: paths and queries may have secrets.
        let host = self.base.host_str().unwrap_or_default();
        let ms = self.clock.monotonic().saturating_sub(began).as_millis() as u64;
        tracing::debug!(host, ms, answered = answer.is_ok(), "asked a server");
        answer
    }
}

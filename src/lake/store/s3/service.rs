//! Sends the requests of the S3 client to the server: within the bounds of [`crate::net`], and
//! without following redirects. An answer is read completely here, so that no later code trusts a
//! length that the server only claims.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    ClientConfigKey, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest,
    HttpResponse, HttpService,
};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, LOCATION, RANGE};

use crate::error::{Error, Result};
use crate::net::limits::{
    ANSWER_TIME_MAX, CONNECT_MAX, ERROR_BYTES_MAX, LISTING_BYTES_MAX, OBJECT_BYTES_MAX,
    OBJECT_TIME_MAX, in_time,
};

/// The size of the parts in which a body is sent. A part that is taken counts as progress.
const PART_BYTES: usize = 64 << 10;

/// The size of the blocks in which a received body is stored.
const BLOCK_BYTES: usize = 1 << 20;

/// A factory of clients for the store and for the services that give out its credentials.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let option = |key: ClientConfigKey| options.get_config_value(&key);
        let plain = option(ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let client = client(plain).map_err(|error| object_store::Error::Generic {
            store: "S3",
            source: error.chain().into(),
        })?;
        Ok(HttpClient::new(Bounded(client)))
    }
}

/// Creates a client that follows no redirect.
///
/// # Errors
/// If TLS can't be set up.
pub(super) fn client(plain: bool) -> Result<reqwest::Client> {
    // If another provider was installed before, it works as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("waterspout/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_MAX)
        .https_only(!plain)
        .build()
        .map_err(|cause| Error::fatal("can't create the HTTP client").because(cause.without_url()))
}

/// A client that sends requests and reads answers within bounds.
#[derive(Debug)]
pub(super) struct Bounded(pub reqwest::Client);

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let bound = Bound::of(&request);
        let moved = Arc::new(AtomicU64::new(0));
        let request = watched(request, &moved)?;
        let answer = async {
            let answer = self.0.execute(request).await.map_err(network)?;
            whole(answer, &bound, &moved).await
        };
        match in_time(answer, &moved, bound.time).await {
            Ok(answer) => answer,
            // An error of a kind that isn't repeated at once, since a repetition would take as long
            // again.
            Err(late) => Err(HttpError::new(HttpErrorKind::Unknown, late)),
        }
    }
}

/// The limits of the answer to a request.
struct Bound {
    bytes: u64,
    time: Duration,
    /// True if the answer has no body, whatever its length says.
    head: bool,
    /// True if a range was requested.
    part: bool,
}

impl Bound {
    fn of(request: &HttpRequest) -> Self {
        let (head, is_get) = (request.method() == "HEAD", request.method() == "GET");
        let lists = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let part =
            request.headers().get(RANGE).and_then(|range| length_of_range(range.to_str().ok()?));
        let (bytes, time) = match part {
            Some(bytes) => (bytes.saturating_add(ERROR_BYTES_MAX), OBJECT_TIME_MAX),
            None if lists => (LISTING_BYTES_MAX, ANSWER_TIME_MAX),
            None if is_get => (OBJECT_BYTES_MAX, OBJECT_TIME_MAX),
            None if head => (0, ANSWER_TIME_MAX),
            None => (ERROR_BYTES_MAX, OBJECT_TIME_MAX),
        };
        Self { bytes, time, head, part: request.headers().contains_key(RANGE) }
    }
}

/// Parses the length of `bytes=0-9`, or of the range in an answer, `bytes 0-9/100`.
fn length_of_range(text: &str) -> Option<u64> {
    let (from, to) = text.strip_prefix("bytes")?.trim_start_matches(['=', ' ']).split_once('-')?;
    let to = to.split('/').next()?.parse::<u64>().ok()?;
    to.checked_sub(from.parse().ok()?)?.checked_add(1)
}

/// Reads a whole answer. If an error's body is too long, it is cut.
async fn whole(
    mut answer: reqwest::Response,
    bound: &Bound,
    moved: &AtomicU64,
) -> Result<HttpResponse, HttpError> {
    moved.fetch_add(1, Ordering::Relaxed);
    let good = answer.status().is_success();
    let bytes_max = if good { bound.bytes } else { ERROR_BYTES_MAX };
    let claimed = answer
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|text| text.to_str().ok()?.parse::<u64>().ok());
    if let Some(claimed) = claimed.filter(|claimed| good && !bound.head && *claimed > bytes_max) {
        return Err(too_large(&format!(
            "the answer has {claimed} bytes, expected at most {bytes_max}"
        )));
    }
    let (mut blocks, mut length) = (Blocks::default(), 0_u64);
    while let Some(mut part) = answer.chunk().await.map_err(network)? {
        moved.fetch_add(1, Ordering::Relaxed);
        let room = usize::try_from(bytes_max - length).unwrap_or(usize::MAX);
        if part.len() > room && good {
            return Err(too_large(&format!("the answer has more than {bytes_max} bytes")));
        }
        let is_cut = part.len() > room;
        part.truncate(room);
        length += part.len() as u64;
        blocks.add(&part);
        if is_cut {
            break;
        }
    }
    let body = blocks.joined();
    let status = answer.status();
    if bound.part
        && status.as_u16() == 206
        && range_sent(answer.headers()) != Some(body.len() as u64)
    {
        return Err(too_large("the answer has another length than it says"));
    }
    let body = if good { body } else { String::from_utf8_lossy(&body).into_owned().into() };
    let mut response = HttpResponse::new(body.into());
    *response.status_mut() = status;
    std::mem::swap(response.headers_mut(), answer.headers_mut());
    if status.is_redirection() && status.as_u16() != 304 {
        // Without this header the client doesn't report the status, which distinguishes a wrong
        // region from a new bucket.
        response.headers_mut().entry(LOCATION).or_insert(HeaderValue::from_static("/"));
    }
    Ok(response)
}

/// A received body, in blocks that are joined at the end: a single growing buffer would be held
/// twice while it is moved, and the parts as received may be only a byte long.
#[derive(Default)]
struct Blocks(Vec<Vec<u8>>);

impl Blocks {
    fn add(&mut self, mut part: &[u8]) {
        while !part.is_empty() {
            let room = self.0.last().map_or(0, |block| BLOCK_BYTES - block.len());
            if room == 0 {
                self.0.push(Vec::with_capacity(BLOCK_BYTES.min(part.len().max(PART_BYTES))));
            }
            let Some(block) = self.0.last_mut() else { return };
            let (now, later) = part.split_at(part.len().min(BLOCK_BYTES - block.len()));
            block.extend_from_slice(now);
            part = later;
        }
    }

    fn joined(mut self) -> Bytes {
        if self.0.len() == 1 { self.0.remove(0).into() } else { self.0.concat().into() }
    }
}

fn range_sent(headers: &HeaderMap) -> Option<u64> {
    length_of_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)
}

/// Converts a request for the other client, and counts the parts of its body that are sent.
fn watched(request: HttpRequest, moved: &Arc<AtomicU64>) -> Result<reqwest::Request, HttpError> {
    let (parts, body) = request.into_parts();
    let url = parts.uri.to_string().parse::<reqwest::Url>();
    let url = url.map_err(|cause| HttpError::new(HttpErrorKind::Unknown, cause))?;
    let mut request = reqwest::Request::new(parts.method, url);
    *request.headers_mut() = parts.headers;
    let left = http_body::Body::size_hint(&body).lower();
    let body = Watched { body, part: Bytes::new(), left, moved: Arc::clone(moved) };
    *request.body_mut() = (left > 0).then(|| reqwest::Body::wrap(body));
    Ok(request)
}

/// A body that is sent in small parts, each of which counts as progress.
struct Watched<B> {
    body: B,
    part: Bytes,
    left: u64,
    moved: Arc<AtomicU64>,
}

impl<B> http_body::Body for Watched<B>
where
    B: http_body::Body<Data = Bytes, Error = HttpError> + Unpin,
{
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, HttpError>>> {
        while self.part.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => self.part = frame.into_data().unwrap_or_default(),
                other => return other,
            }
        }
        let bytes = PART_BYTES.min(self.part.len());
        let part = self.part.split_to(bytes);
        self.left = self.left.saturating_sub(bytes as u64);
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(http_body::Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.left)
    }
}

fn too_large(what: &str) -> HttpError {
    HttpError::new_boxed(HttpErrorKind::Unknown, what.into())
}

fn network(error: reqwest::Error) -> HttpError {
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Unknown
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_came_however_it_came() {
        for bytes in [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES + 7] {
            let wanted: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            for part in [7, PART_BYTES, 2 * BLOCK_BYTES] {
                let mut blocks = Blocks::default();
                wanted.chunks(part).for_each(|part| blocks.add(part));
                assert!(blocks.joined() == wanted, "{bytes} bytes in parts of {part}");
            }
        }
    }

    #[test]
    fn a_range_has_a_length() {
        assert_eq!(length_of_range("bytes=0-9"), Some(10));
        assert_eq!(length_of_range("bytes 5-5/100"), Some(1));
        for odd in
            ["bytes=5-", "bytes */7", "bytes=9-0", "lines=0-9", "bytes=0-18446744073709551615", ""]
        {
            assert_eq!(length_of_range(odd), None, "{odd}");
        }
    }
}

//! Sends the requests of rusoto to the server, and provides its keys.
//!
//! rusoto includes its own HTTP client, with a TLS library that is no longer maintained. That
//! client is never used: requests are sent by the same client as everywhere else, and the keys have
//! the same source as those of the other client for S3.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::stream;
use http02::header::{HeaderMap, HeaderName};
use object_store::aws::AmazonS3;
use rusoto_core::credential::{AwsCredentials, CredentialsError, ProvideAwsCredentials};
use rusoto_core::request::{DispatchSignedRequestFuture, HttpResponse};
use rusoto_core::signature::{SignedRequest, SignedRequestPayload};
use rusoto_core::{ByteStream, DispatchSignedRequest, HttpDispatchError};

use crate::error::{Error, Result};
use crate::net::limits::{CONNECT_MAX, OBJECT_BYTES_MAX, OBJECT_TIME_MAX, SILENCE_MAX};

/// The keys that the other client would sign with.
pub(super) struct Keys(pub Arc<AmazonS3>);

#[async_trait]
impl ProvideAwsCredentials for Keys {
    async fn credentials(&self) -> Result<AwsCredentials, CredentialsError> {
        let found = self.0.credentials().get_credential().await.map_err(CredentialsError::new)?;
        Ok(AwsCredentials::new(
            found.key_id.as_str(),
            found.secret_key.as_str(),
            found.token.clone(),
            None,
        ))
    }
}

/// A dispatcher that sends the requests of rusoto.
pub(super) struct Dispatcher(reqwest::Client);

impl Dispatcher {
    /// Creates a dispatcher without connections.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub(crate) fn new() -> Result<Self> {
        let builder = reqwest::Client::builder()
            .timeout(OBJECT_TIME_MAX)
            .read_timeout(SILENCE_MAX)
            .connect_timeout(CONNECT_MAX);
        let client = builder.redirect(reqwest::redirect::Policy::none()).build();
        client
            .map(Self)
            .map_err(|cause| Error::fatal("can't set up a client for HTTP").because(cause))
    }
}

impl DispatchSignedRequest for Dispatcher {
    fn dispatch(
        &self,
        request: SignedRequest,
        _timeout: Option<Duration>,
    ) -> DispatchSignedRequestFuture {
        let client = self.0.clone();
        // The error's text contains the address, which the caller describes better.
        let failed =
            |error: reqwest::Error| HttpDispatchError::new(innermost(&error.without_url()));
        Box::pin(async move {
            let mut response =
                client.execute(to_http(client.clone(), request)?).await.map_err(failed)?;
            let headers = std::mem::take(response.headers_mut());
            let status = response
                .status()
                .as_u16()
                .try_into()
                .map_err(|_| HttpDispatchError::new("no status".into()))?;
            let mut whole = BytesMut::new();
            while let Some(part) = response.chunk().await.map_err(failed)? {
                if (whole.len() + part.len()) as u64 > OBJECT_BYTES_MAX {
                    return Err(HttpDispatchError::new(format!(
                        "the answer has more than {OBJECT_BYTES_MAX} bytes"
                    )));
                }
                whole.extend_from_slice(&part);
            }
            let body = whole.freeze();
            let body = ByteStream::new(stream::once(async move { Ok(body) }));
            let known = headers.iter().filter_map(|(name, value)| {
                Some((
                    HeaderName::from_bytes(name.as_str().as_bytes()).ok()?,
                    value.to_str().ok()?.to_owned(),
                ))
            });
            Ok(HttpResponse { status, body, headers: known.collect::<HeaderMap<String>>() })
        })
    }
}

fn to_http(
    client: reqwest::Client,
    request: SignedRequest,
) -> Result<reqwest::Request, HttpDispatchError> {
    let wrong = |what: String| HttpDispatchError::new(format!("can't make a request: {what}"));
    let method = request.method().parse().map_err(|_| wrong(request.method().into()))?;
    let query = request.canonical_query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!(
        "{}://{}{}{mark}{query}",
        request.scheme(),
        request.hostname(),
        request.canonical_path()
    );
    let mut http = client.request(method, url);
    for (name, values) in request.headers() {
        http = values.iter().fold(http, |http, value| http.header(name, value.as_slice()));
    }
    match request.payload {
        None => {}
        Some(SignedRequestPayload::Buffer(bytes)) => http = http.body(bytes),
        Some(SignedRequestPayload::Stream(_)) => {
            return Err(wrong("only whole bodies are sent".into()));
        }
    }
    http.build().map_err(|error| wrong(error.without_url().to_string()))
}

/// Returns the innermost cause, which says what happened.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

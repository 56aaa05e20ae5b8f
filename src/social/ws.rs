//! WebSocket as the sources need it, over the same TLS as HTTP.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError};

use crate::clock::SharedClock;

use super::http::Failure;

/// The largest message that is taken, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How long it may take to connect.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// A stream of either kind.
trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, as its bytes, which are UTF-8.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
    /// A ping, which was answered, or a pong: a sign of life.
    Alive,
    /// The server closes, with its code and reason.
    Close(u16, String),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The server answered with another status, and this body.
    Status(u16, Bytes),
    /// There was no answer.
    Failure(Failure),
}

/// An open connection.
pub struct Socket(WebSocketStream<Box<dyn Io>>, SharedClock);

impl Socket {
    /// Connects to `ws://…` or `wss://…` with headers of one's own.
    ///
    /// # Errors
    /// If nobody answers, or with something else.
    pub async fn connect(url: &str, headers: &[(&str, &str)], clock: &SharedClock) -> Result<Self, Refused> {
        match select(std::pin::pin!(connect(url, headers, clock)), clock.sleep(CONNECT_TIMEOUT)).await {
            Either::Left((socket, _)) => socket,
            Either::Right(_) => Err(Refused::Failure(Failure::Timeout)),
        }
    }

    /// The next message; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the connection was lost or the server broke the protocol.
    pub async fn next(&mut self) -> Result<Option<Message>, Failure> {
        let message = match self.0.next().await {
            None | Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => return Ok(None),
            Some(message) => message.map_err(|error| network(&error))?,
        };
        Ok(Some(match message {
            tungstenite::Message::Text(text) => Message::Text(text.into()),
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Close(Some(frame)) => Message::Close(frame.code.into(), frame.reason.to_string()),
            tungstenite::Message::Close(None) => Message::Close(1005, String::new()),
            tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_) => {
                Message::Alive
            }
        }))
    }

    /// Sends text.
    ///
    /// # Errors
    /// If the connection was lost.
    pub async fn send(&mut self, text: String) -> Result<(), Failure> {
        let late = self.1.sleep(CONNECT_TIMEOUT);
        match select(std::pin::pin!(self.0.send(tungstenite::Message::text(text))), late).await {
            Either::Left((sent, _)) => sent.map_err(|error| network(&error)),
            Either::Right(_) => Err(Failure::Timeout),
        }
    }

    /// Sends a ping, which a server that lives answers.
    ///
    /// # Errors
    /// If the connection was lost.
    pub async fn ping(&mut self) -> Result<(), Failure> {
        self.0.send(tungstenite::Message::Ping(Bytes::new())).await.map_err(|error| network(&error))
    }
}

fn network(error: &WsError) -> Failure {
    Failure::Network(error.to_string())
}

async fn connect(url: &str, headers: &[(&str, &str)], clock: &SharedClock) -> Result<Socket, Refused> {
    let failure = |what: String| Refused::Failure(Failure::Network(what));
    let mut request = url.into_client_request().map_err(|_| failure("the address is none of a WebSocket".into()))?;
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(*name).ok(), HeaderValue::try_from(*value).ok());
        let (name, value) =
            name.zip(value).ok_or_else(|| failure("a header has a character that none takes".into()))?;
        request.headers_mut().insert(name, value);
    }
    let agent = HeaderValue::from_static(concat!("waterspout/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert("user-agent", agent);
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tcp =
        TcpStream::connect((host.as_str(), port)).await.map_err(|error| failure(format!("can't connect: {error}")))?;
    // It only delays small messages.
    let _ = tcp.set_nodelay(true);
    let io: Box<dyn Io> = if secure { Box::new(tls(&host, tcp).await.map_err(failure)?) } else { Box::new(tcp) };
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    match tokio_tungstenite::client_async_with_config(request, io, Some(config)).await {
        Ok((socket, _)) => Ok(Socket(socket, clock.clone())),
        Err(WsError::Http(response)) => {
            Err(Refused::Status(response.status().as_u16(), response.body().clone().unwrap_or_default().into()))
        }
        Err(error) => Err(failure(error.to_string())),
    }
}

async fn tls(host: &str, tcp: TcpStream) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map_err(|error| error.to_string())
}

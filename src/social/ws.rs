//! WebSocket connections of the sources: over the same TLS as HTTP, through the same proxies, and
//! within bounds that no server can exceed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Error as WsError};

use crate::clock::SharedClock;
use crate::net::http::Failure;
use crate::net::idle::IdleBytes;
use crate::net::limits::{ERROR_BYTES_MAX, said};
use crate::net::proxy::{Proxy, proxy_of};

/// The largest message that is accepted, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The bytes of pongs and of our own messages that are buffered for a server that reads nothing.
/// Beyond the maximum, all pongs but the last are dropped; the last pong is all that a server
/// needs.
const WRITE_BUFFER_BYTES: usize = 16 << 10;
const WRITE_BUFFER_BYTES_MAX: usize = 256 << 10;

/// The longest time for connecting, proxy and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// A stream with or without TLS.
trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// A stream that counts the bytes read since the last whole message, and fails beyond the bound.
/// Nothing else inside the protocol's loop could stop a server whose frames never complete a
/// message.
struct Bounded {
    io: Box<dyn Io>,
    clock: SharedClock,
    idle: IdleBytes,
}

impl Bounded {
    fn new(io: Box<dyn Io>, clock: SharedClock) -> Self {
        Self { io, idle: IdleBytes::new(clock.monotonic()), clock }
    }

    fn message_came(&mut self) {
        let now = self.clock.monotonic();
        self.idle.message_came(now);
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let now = self.clock.monotonic();
        if self.idle.is_too_much(now) {
            let what = "the server sends pings or parts of messages without end, and no message";
            return Poll::Ready(Err(std::io::Error::other(what)));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.idle.add(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// A message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text, as its bytes, which are UTF-8.
    Text(Bytes),
    /// Binary data.
    Binary(Bytes),
    /// A ping, which was answered, or a pong: a sign of life.
    Alive,
    /// The server closes the connection, with its code and reason.
    Close(u16, String),
}

/// The reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The server answered with another HTTP status, and this body.
    Status(u16, Bytes),
    /// There was no answer.
    Failure(Failure),
}

/// An open connection.
pub struct Socket(WebSocketStream<Bounded>, SharedClock);

impl Socket {
    /// Connects to `ws://…` or `wss://…` with additional headers.
    ///
    /// # Errors
    /// If there is no answer, or if the answer isn't a WebSocket handshake.
    pub async fn connect(
        url: &str,
        headers: &[(&str, &str)],
        clock: &SharedClock,
    ) -> Result<Self, Refused> {
        match select(std::pin::pin!(connect(url, headers, clock)), clock.sleep(CONNECT_TIMEOUT))
            .await
        {
            Either::Left((socket, _)) => socket,
            Either::Right(_) => Err(Refused::Failure(Failure::Timeout)),
        }
    }

    /// Returns the next message; `None` at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the connection was lost or the server broke the protocol.
    pub async fn next(&mut self) -> Result<Option<Message>, Failure> {
        let message = match self.0.next().await {
            None | Some(Err(WsError::ConnectionClosed | WsError::AlreadyClosed)) => {
                return Ok(None);
            }
            Some(message) => message.map_err(|error| network(&error))?,
        };
        if !matches!(message, tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_)) {
            self.0.get_mut().message_came();
        }
        Ok(Some(match message {
            tungstenite::Message::Text(text) => Message::Text(text.into()),
            tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
            tungstenite::Message::Close(Some(frame)) => {
                Message::Close(frame.code.into(), said(&frame.reason))
            }
            tungstenite::Message::Close(None) => Message::Close(1005, String::new()),
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Frame(_) => Message::Alive,
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

    /// Sends a ping, which a live server answers.
    ///
    /// # Errors
    /// If the connection was lost.
    pub async fn ping(&mut self) -> Result<(), Failure> {
        let late = self.1.sleep(CONNECT_TIMEOUT);
        match select(std::pin::pin!(self.0.send(tungstenite::Message::Ping(Bytes::new()))), late)
            .await
        {
            Either::Left((sent, _)) => sent.map_err(|error| network(&error)),
            Either::Right(_) => Err(Failure::Timeout),
        }
    }
}

fn network(error: &WsError) -> Failure {
    Failure::Network(error.to_string())
}

async fn connect(
    url: &str,
    headers: &[(&str, &str)],
    clock: &SharedClock,
) -> Result<Socket, Refused> {
    let failure = |what: String| Refused::Failure(Failure::Network(what));
    let mut request = url
        .into_client_request()
        .map_err(|_| failure("not a WebSocket address: expected ws:// or wss://".into()))?;
    for (name, value) in headers {
        let (name, value) = (HeaderName::try_from(*name).ok(), HeaderValue::try_from(*value).ok());
        let (name, value) = name.zip(value).ok_or_else(|| {
            failure("a header has a character that HTTP headers can't have".into())
        })?;
        request.headers_mut().insert(name, value);
    }
    let agent = HeaderValue::from_static(concat!("waterspout/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert("user-agent", agent);
    let uri = request.uri();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("wss");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let io = match proxy_of(secure, &host, port).map_err(failure)? {
        None => tcp(&host, port).await.map_err(failure)?,
        Some(proxy) => through(&proxy, &host, port).await.map_err(failure)?,
    };
    let io =
        if secure { Box::new(tls(&host, io).await.map_err(failure)?) as Box<dyn Io> } else { io };
    let io = Bounded::new(io, clock.clone());
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX);
    match tokio_tungstenite::client_async_with_config(request, io, Some(config)).await {
        Ok((socket, _)) => Ok(Socket(socket, clock.clone())),
        Err(WsError::Http(response)) => {
            let mut body: Bytes = response.body().clone().unwrap_or_default().into();
            body.truncate(usize::try_from(ERROR_BYTES_MAX).unwrap_or(usize::MAX));
            Err(Refused::Status(response.status().as_u16(), body))
        }
        Err(error) => Err(failure(error.to_string())),
    }
}

async fn tcp(host: &str, port: u16) -> Result<Box<dyn Io>, String> {
    let tcp = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("can't connect: {error}"))?;
    // Without this option, the kernel would delay small messages.
    let _ = tcp.set_nodelay(true);
    Ok(Box::new(tcp))
}

/// Opens a tunnel to a host through a proxy.
async fn through(proxy: &Proxy, host: &str, port: u16) -> Result<Box<dyn Io>, String> {
    let (name, to) = (&proxy.host, proxy.port);
    let io = tcp(name, to)
        .await
        .map_err(|error| format!("can't reach the proxy {name}:{to}: {error}"))?;
    let mut io = if proxy.secure { Box::new(tls(name, io).await?) as Box<dyn Io> } else { io };
    proxy.tunnel(&mut io, host, port).await?;
    Ok(io)
}

async fn tls(
    host: &str,
    io: Box<dyn Io>,
) -> Result<tokio_rustls::client::TlsStream<Box<dyn Io>>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| error.to_string())?
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, io)
        .await
        .map_err(|error| error.to_string())
}

//! HTTP/1.1 for the tests, written directly to the socket, so that bytes can be cut, stalled and
//! reset.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client's request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    /// The decoded parameters, in their order.
    pub query: Vec<(String, String)>,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the first value of a parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns all values of a parameter that may be repeated; `name[]` counts too.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let fits = |key: &str| key == name || key.strip_suffix("[]") == Some(name);
        self.query.iter().filter(|(key, _)| fits(key)).map(|(_, value)| value.as_str()).collect()
    }

    /// Returns a parameter that is a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.query(name)?.parse().ok()
    }

    /// Returns a header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        value
            .get(..7)
            .filter(|scheme| scheme.eq_ignore_ascii_case("bearer "))
            .map(|_| value[7..].trim())
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json; charset=utf-8", body.to_string())
    }

    /// Makes a problem of X, which clients recognise by its type (RFC 9457).
    pub(crate) fn problem(status: u16, body: &Value) -> Self {
        Self::text(status, "application/problem+json", body.to_string())
    }

    pub(crate) fn text(status: u16, content: &str, body: String) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), content.into())],
            body: body.into_bytes(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }

    /// Returns the whole answer as it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().into_bytes();
        // A 304 has neither a body nor a length.
        if self.status != 304 {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// Returns the head of an answer that doesn't end.
    pub(crate) fn endless(&self) -> Vec<u8> {
        (self.head() + "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n\r\n").into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

/// Returns a part of an endless answer.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend(bytes);
    chunk.extend(b"\r\n");
    chunk
}

/// A client's connection.
pub(crate) struct Wire {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Small frames are sent at once.
        let _ = stream.set_nodelay(true);
        Self { stream, read: Vec::new() }
    }

    /// Returns the next request; `None` if the client is gone.
    pub(crate) async fn request(&mut self) -> io::Result<Option<Request>> {
        let head = loop {
            if let Some(at) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if !self.more().await? {
                return Ok(None);
            }
        };
        let text = String::from_utf8_lossy(&self.read[..head]).into_owned();
        self.read.drain(..head + 4);
        let mut request = parse(&text).ok_or(io::ErrorKind::InvalidData)?;
        let length =
            request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.read.len() < length {
            if !self.more().await? {
                return Ok(None);
            }
        }
        request.body = self.read.drain(..length).collect();
        Ok(Some(request))
    }

    /// Returns the bytes that were read and not used.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.read
    }

    /// Reads more; returns false at the end.
    pub(crate) async fn more(&mut self) -> io::Result<bool> {
        let mut part = [0; 16 << 10];
        let bytes = self.stream.read(&mut part).await?;
        self.read.extend(&part[..bytes]);
        Ok(bytes > 0)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Ends the connection by RST.
    pub(crate) fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// Returns when the client has ended the connection. Bytes until then are ignored.
    pub(crate) async fn ended(&mut self) {
        while matches!(self.more().await, Ok(true)) {}
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Some(Request {
        method,
        path: decode(path, false),
        query: pairs(query),
        headers: lines.filter_map(header).collect(),
        body: Vec::new(),
    })
}

/// Returns the parameters of a query.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

fn decode(text: &str, plus: bool) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = || u8::from_str_radix(std::str::from_utf8(after.get(..2)?).ok()?, 16).ok();
        match (first, hex()) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
                continue;
            }
            (b'+', _) if plus => bytes.push(b' '),
            _ => bytes.push(first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes a value for a query.
pub(crate) fn encode(text: &str) -> String {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| if good(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

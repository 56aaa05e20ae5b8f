//! WebSocket frames (RFC 6455), on the server's side.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::http::{Request, Wire};

/// A message of a client.
pub(crate) enum Message {
    Text(String),
    Ping(Vec<u8>),
    Close,
    Other,
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Returns the key of a client that requests a WebSocket.
pub(crate) fn key(request: &Request) -> Option<&str> {
    let upgrade = request.header("upgrade")?;
    upgrade.eq_ignore_ascii_case("websocket").then(|| request.header("sec-websocket-key")).flatten()
}

/// Returns the answer that begins a WebSocket. The client's protocol is accepted.
pub(crate) fn accept(key: &str, request: &Request) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    let protocol = request
        .header("sec-websocket-protocol")
        .map(|p| format!("Sec-WebSocket-Protocol: {p}\r\n"));
    let protocol = protocol.unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{protocol}\r\n"
    )
    .into_bytes()
}

pub(crate) fn text(body: &[u8]) -> Vec<u8> {
    frame(TEXT, body)
}

pub(crate) fn binary(body: &[u8]) -> Vec<u8> {
    frame(BINARY, body)
}

pub(crate) fn ping() -> Vec<u8> {
    frame(PING, b"")
}

pub(crate) fn pong(body: &[u8]) -> Vec<u8> {
    frame(PONG, body)
}

pub(crate) fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind];
    match body.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..65_536 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(body);
    frame
}

impl Wire {
    /// Returns the client's next message; `None` if the client is gone. Cancelling the future loses
    /// nothing.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        loop {
            if let Some((kind, body)) = take_frame(self.buffer()) {
                return Some(match kind {
                    TEXT => Message::Text(String::from_utf8_lossy(&body).into_owned()),
                    PING => Message::Ping(body),
                    CLOSE => Message::Close,
                    _ => Message::Other,
                });
            }
            if !self.more().await.ok()? {
                return None;
            }
        }
    }
}

/// Takes a whole frame from the beginning of the bytes that were read. Clients mask their frames.
fn take_frame(read: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, &second) = (read.first()?, read.get(1)?);
    let (length, at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(read.get(2..4)?.try_into().ok()?)), 4),
        127 => (u64::from_be_bytes(read.get(2..10)?.try_into().ok()?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let mask: [u8; 4] = read.get(at..at + 4)?.try_into().ok()?;
    let body = read.get(at + 4..at + 4 + length)?;
    let body = body.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
    read.drain(..at + 4 + length);
    Some((first & 0x0f, body))
}

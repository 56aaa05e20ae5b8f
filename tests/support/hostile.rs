//! A server that behaves as no good server does, for clients of HTTP, WebSocket and S3: each
//! behaviour for every request.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// The behaviour towards a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// The server takes the request and sends nothing.
    Silent,
    /// `Content-Length: 100000000000`, and some bytes of it.
    HugeLength,
    /// A chunked body that doesn't end.
    EndlessChunks,
    /// A chunked body that doesn't end, with an error's status.
    EndlessError,
    /// A head of an answer that doesn't end.
    EndlessHead,
    /// A part of an object of another length than its head says.
    LyingRange,
    /// A page of a listing that names itself as the next, without an end.
    RepeatedPage,
    /// A page of a listing without keys and with a new token, without an end.
    EmptyPages,
    /// An error with 5 MB of text and escape sequences.
    LongError,
    /// A redirect to this address, with this status.
    Redirect(u16, String),
    /// Bytes that aren't HTTP.
    Garbage,
    /// The connection ends after the request.
    Ends,
    /// A WebSocket that sends pings as fast as it can and reads nothing.
    Pings,
    /// A WebSocket that sends empty fragments of a message without end.
    EmptyFragments,
    /// A WebSocket that sends one message in fragments without end.
    EndlessMessage,
    /// A WebSocket that announces a frame of 2^62 bytes.
    HugeFrame,
    /// A stream over HTTP that repeats this text without end.
    Repeats(&'static str),
    /// A stream over HTTP that begins, sends half a line and then nothing.
    Hangs,
}

/// The requests that a behaviour is for; all others get the answer of a good server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    All,
    /// The objects of a bucket, whose listing has one file.
    Objects,
    /// The streams of Mastodon and of X.
    Streams,
}

/// The key of the one file in the listing of [`For::Objects`].
const KEY: &str = "root/2026-01-01T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000";

/// A running server; its threads end with the test's process.
pub(crate) struct Hostile {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hostile {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::only_for(For::All, behaviour)
    }

    pub(crate) fn only_for(requests: For, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (behaviour, heads) = (behaviour.clone(), Arc::clone(&heads));
                // A client that leaves ends the thread.
                thread::spawn(move || drop(serve(stream.unwrap(), requests, &behaviour, &heads)));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn websocket(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Returns the heads of all requests.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Returns an answer in XML.
fn xml(status: &str, body: &str) -> String {
    let length = body.len();
    let head = format!("Content-Type: application/xml\r\nContent-Length: {length}");
    format!("HTTP/1.1 {status}\r\n{head}\r\n\r\n{body}")
}

/// Returns a page of a listing that another page follows.
fn listing(keys: &str, token: &str) -> String {
    let body = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated>{keys}\
         <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
    );
    xml("200 OK", &body)
}

/// Sends an answer without an end.
fn chunks(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = [&b"100000\r\n"[..], &vec![b' '; 1 << 20], b"\r\n"].concat();
    loop {
        stream.write_all(&chunk)?;
    }
}

fn serve(
    mut stream: TcpStream,
    requests: For,
    behaviour: &Behaviour,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut number = 0;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        asked.lock().unwrap().push(head.clone());
        let header = |name: &str| {
            let line =
                head.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body)?;
        if let Some((status, answer)) = good_answer(requests, &head, &body) {
            let length = answer.len();
            write!(stream, "HTTP/1.1 {status} Good\r\nContent-Length: {length}\r\n\r\n{answer}")?;
            continue;
        }
        number += 1;
        match behaviour {
            Behaviour::Silent => loop {
                thread::park();
            },
            Behaviour::HugeLength => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")?;
                loop {
                    stream.write_all(&[b' '; 1 << 16])?;
                }
            }
            Behaviour::EndlessChunks => chunks(&mut stream, "200 OK")?,
            Behaviour::EndlessError => chunks(&mut stream, "403 Forbidden")?,
            Behaviour::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    stream.write_all(b"X-More: and more\r\n")?;
                }
            }
            Behaviour::LyingRange => stream.write_all(
                b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-99999999999/100000000000\r\n\
                  Content-Length: 4\r\nETag: \"e\"\r\nLast-Modified: Thu, 26 Nov 2026 12:00:00 GMT\r\n\r\n[{}]",
            )?,
            Behaviour::RepeatedPage => stream.write_all(listing(&contents(), "again").as_bytes())?,
            Behaviour::EmptyPages => stream.write_all(listing("", &format!("token-{number}")).as_bytes())?,
            Behaviour::LongError => {
                let text = "\x1b[2Jno ".repeat(700_000);
                let body = format!("<Error><Code>AccessDenied</Code><Message>{text}</Message></Error>");
                stream.write_all(xml("403 Forbidden", &body).as_bytes())?;
            }
            Behaviour::Redirect(status, to) => {
                let path = head.split(' ').nth(1).unwrap_or_default();
                write!(stream, "HTTP/1.1 {status} Elsewhere\r\nLocation: {to}{path}\r\nContent-Length: 0\r\n\r\n")?;
            }
            Behaviour::Garbage => {
                stream.write_all(b"\x00\xff no HTTP at all \r\n\r\n")?;
                return Ok(());
            }
            Behaviour::Ends => return Ok(()),
            Behaviour::Repeats(text) => {
                let kind = "Content-Type: text/event-stream";
                write!(stream, "HTTP/1.1 200 OK\r\n{kind}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let body = text.repeat(1 + (64 << 10) / text.len());
                let chunk = format!("{:x}\r\n{body}\r\n", body.len());
                loop {
                    stream.write_all(chunk.as_bytes())?;
                }
            }
            Behaviour::Hangs => {
                let head = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked";
                write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\n{{\"a\":\r\n")?;
                loop {
                    thread::park();
                }
            }
            _ => return websocket(&mut stream, behaviour, &header("sec-websocket-key").unwrap_or_default()),
        }
    }
}

fn contents() -> String {
    format!("<Contents><Key>{KEY}</Key><Size>4</Size></Contents>")
}

/// Returns the status and body of a good server's answer, for a request that the behaviour isn't
/// for.
fn good_answer(requests: For, head: &str, body: &[u8]) -> Option<(u16, String)> {
    let (method, target) = head.split_once(' ')?;
    let target = target.split(' ').next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match requests {
        For::All => None,
        For::Objects if query.contains("list-type=2") => Some((200, good_listing(query))),
        // The lake has no index and no journal.
        For::Objects if path.contains("/_") => {
            Some((404, "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>".into()))
        }
        For::Objects => None,
        For::Streams if path.ends_with("/rules") && method == "GET" => {
            Some((200, r#"{"meta":{}}"#.into()))
        }
        For::Streams if path.ends_with("/rules") => {
            let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let mut rules = asked["add"].as_array().cloned().unwrap_or_default();
            for (number, rule) in rules.iter_mut().enumerate() {
                rule["id"] = (number + 1).to_string().into();
            }
            Some((
                201,
                serde_json::json!({"data": rules, "meta": {"summary": {"created": rules.len()}}})
                    .to_string(),
            ))
        }
        For::Streams if path.contains("/search/recent") => {
            Some((200, r#"{"meta":{"result_count":0}}"#.into()))
        }
        For::Streams if path.contains("/timelines/") => Some((200, "[]".into())),
        For::Streams if path.ends_with("/search/stream") || path.contains("/streaming/") => None,
        // A WebSocket has the same path as the request for the streaming host.
        For::Streams
            if query.contains("stream=") || head.to_lowercase().contains("upgrade: websocket") =>
        {
            None
        }
        For::Streams => Some((404, r#"{"error":"Record not found"}"#.into())),
    }
}

/// Returns a listing of a bucket that has the one file.
fn good_listing(query: &str) -> String {
    let value = |name: &str| {
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().replace("%2F", "/").replace("%3A", ":")
    };
    let (prefix, after) = (value("prefix"), value("start-after"));
    let is_listed = KEY.starts_with(&prefix) && after.as_str() < KEY;
    let folder =
        KEY[prefix.len().min(KEY.len())..].split_once('/').filter(|_| value("delimiter") == "/");
    let found = match folder {
        _ if !is_listed => String::new(),
        Some((name, _)) => {
            format!("<CommonPrefixes><Prefix>{prefix}{name}/</Prefix></CommonPrefixes>")
        }
        None => contents(),
    };
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>")
}

fn websocket(stream: &mut TcpStream, behaviour: &Behaviour, key: &str) -> std::io::Result<()> {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = BASE64
        .encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let ping = [&[0x89, 125][..], &[b'p'; 125]].concat();
    let (first, rest) = match behaviour {
        Behaviour::Pings => (vec![], ping.repeat(512)),
        Behaviour::EmptyFragments => (vec![0x01, 0], [0x00, 0].repeat(32 << 10)),
        Behaviour::EndlessMessage => {
            (vec![0x01, 0], [&[0x00, 126, 0x40, 0][..], &[b'a'; 0x4000]].concat())
        }
        _ => ([&[0x81, 127][..], &(1_u64 << 62).to_be_bytes()].concat(), vec![b'a'; 1 << 16]),
    };
    stream.write_all(&first)?;
    loop {
        stream.write_all(&rest)?;
    }
}

//! Platforms on loopback that send made-up posts as fast as they are taken, or at a rate: so what
//! is measured is the source.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What threads of the platform are called: their time on the processor isn't the source's.
pub(crate) const THREAD: &str = "platform";

/// About how much is written at once, in bytes, where there is no rate.
const WRITE_BYTES: usize = 64 << 10;

/// The interval of writes if there is a rate.
const TICK: Duration = Duration::from_millis(20);

/// The posts that a platform sends.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The number of posts.
    pub posts: u64,
    /// The number of posts a second; without it, posts are sent as fast as they are taken.
    pub rate: Option<f64>,
}

/// A platform that is there until the process ends.
pub(crate) struct Live {
    /// `http://127.0.0.1:PORT`, or `ws://…`
    pub url: String,
    sent: Arc<AtomicU64>,
}

impl Live {
    /// X: rules that fit the topic `storm`, a stream, and a search that finds nothing.
    pub(crate) fn x(plan: Plan) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        Self::serve(listener, url, plan, answer)
    }

    /// Bluesky's Jetstream: a WebSocket of events.
    pub(crate) fn jetstream(plan: Plan) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let url = format!("ws://{}", listener.local_addr().expect("it is bound"));
        Self::serve(listener, url, plan, events)
    }

    fn serve(
        listener: TcpListener,
        url: String,
        plan: Plan,
        answer: fn(&TcpStream, Plan, &AtomicU64) -> std::io::Result<()>,
    ) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let accept = move || {
            for client in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                // A client that goes away ends its connection.
                named(move || drop(answer(&client, plan, &count)));
            }
        };
        named(accept);
        Self { url, sent }
    }

    /// The number of posts that were written so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

fn named(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().name(THREAD.into()).spawn(work).expect("a thread");
}

fn answer(mut client: &TcpStream, plan: Plan, sent: &AtomicU64) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = match path.split('?').next().unwrap_or_default() {
            "/2/tweets/search/stream" => return stream(client, plan, sent),
            "/2/tweets/search/stream/rules" => {
                "{\"data\":[{\"id\":\"1\",\"value\":\"storm\",\"tag\":\"waterspout:storm\"}],\"meta\":{}}"
            }
            _ => "{\"meta\":{\"result_count\":0}}",
        };
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
    }
}

/// Lets a client in, and sends it events of 550 bytes, which is about the mean of Jetstream's.
fn events(mut client: &TcpStream, plan: Plan, sent: &AtomicU64) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let (mut reader, mut key) = (BufReader::new(client), String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                key = value.trim().into()
            }
            None if line == "\r\n" || line.is_empty() => break,
            _ => {}
        }
    }
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let head = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n";
    write!(client, "{head}sec-websocket-accept: {accept}\r\n\r\n")?;
    let (mut buffer, mut count) = (Vec::new(), 0);
    while count < plan.posts {
        buffer.clear();
        while count < plan.posts && buffer.len() < WRITE_BYTES {
            let event = event(count);
            buffer.extend_from_slice(&[0x81, 126]);
            buffer.extend_from_slice(&(event.len() as u16).to_be_bytes());
            buffer.extend_from_slice(event.as_bytes());
            count += 1;
        }
        client.write_all(&buffer)?;
        sent.store(count, Ordering::Relaxed);
    }
    loop {
        thread::sleep(Duration::from_secs(10));
        // A ping.
        client.write_all(&[0x89, 0])?;
    }
}

/// An event of a post about a storm.
fn event(number: u64) -> String {
    let time_us = 1_795_608_000_000_000 + number;
    format!(
        "{{\"did\":\"did:plc:abcdefghijklmnopqrstuvwx\",\"time_us\":{time_us},\"kind\":\"commit\",\"commit\":{{\"rev\":\"3m{number:011}\",\
         \"operation\":\"create\",\"collection\":\"app.bsky.feed.post\",\"rkey\":\"3k{number:011}\",\"record\":{{\"$type\":\"app.bsky.feed.post\",\
         \"createdAt\":\"2026-11-25T12:00:00.000Z\",\"langs\":[\"en\"],\"text\":\"a storm is on its way to the coast, and the harbour is closed \
         until the morning; nobody knows yet whether the ferries go #weather\",\"facets\":[{{\"index\":{{\"byteStart\":127,\"byteEnd\":135}},\
         \"features\":[{{\"$type\":\"app.bsky.richtext.facet#tag\",\"tag\":\"weather\"}}]}}]}},\
         \"cid\":\"bafyreiabcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst\"}}}}"
    )
}

fn stream(mut client: &TcpStream, plan: Plan, sent: &AtomicU64) -> std::io::Result<()> {
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )?;
    let (before, behind) = post();
    let (began, mut buffer, mut count) = (Instant::now(), Vec::new(), 0);
    while count < plan.posts {
        buffer.clear();
        let due =
            plan.rate.map(|rate| ((began.elapsed().as_secs_f64() * rate) as u64).min(plan.posts));
        while count < due.unwrap_or(plan.posts) && (due.is_some() || buffer.len() < WRITE_BYTES) {
            buffer.extend_from_slice(before.as_bytes());
            write!(buffer, "{:019}", 1_900_000_000_000_000_000 + count)?;
            buffer.extend_from_slice(behind.as_bytes());
            count += 1;
        }
        if !buffer.is_empty() {
            write!(client, "{:x}\r\n", buffer.len())?;
            client.write_all(&buffer)?;
            client.write_all(b"\r\n")?;
            sent.store(count, Ordering::Relaxed);
        }
        if plan.rate.is_some() {
            thread::sleep(TICK);
        }
    }
    loop {
        thread::sleep(Duration::from_secs(10));
        client.write_all(b"2\r\n\r\n\r\n")?;
    }
}

/// A line of the stream, before and behind the post's id: 2.7 KB, of the shape that X gives it.
fn post() -> (String, String) {
    let words = "a storm is on its way to the coast, and the harbour is closed until the morning; ";
    let domain = |n: u32| {
        serde_json::json!({
            "domain": {"id": n.to_string(), "name": "Unified Twitter Taxonomy", "description": words},
            "entity": {"id": (n * 7919).to_string(), "name": "weather"},
        })
    };
    let rest = serde_json::json!({
        "text": words.repeat(3), "author_id": "1400000000000007919", "lang": "en",
        "created_at": "2026-11-25T12:00:00.000Z", "conversation_id": "1900000000000000000",
        "edit_history_tweet_ids": ["1900000000000000000"],
        "public_metrics": {"retweet_count": 1, "reply_count": 2, "like_count": 3, "quote_count": 0},
        "entities": {"hashtags": [{"start": 2, "end": 7, "tag": "weather"}], "urls": [{"url": "https://t.co/abcdefghij"}]},
        "context_annotations": (0..8).map(domain).collect::<Vec<_>>(),
    });
    let rest = rest.to_string();
    let behind = format!(
        "\",{},\"matching_rules\":[{{\"id\":\"1\",\"tag\":\"waterspout:storm\"}}]}}\r\n",
        &rest[1..]
    );
    ("{\"data\":{\"id\":\"".into(), behind)
}

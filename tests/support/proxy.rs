//! A proxy between the program and a server, which does to requests what networks and busy servers
//! do: by seed, so that a failure can be repeated.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::random::Random;

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends in the middle of the request's body: the server sees nothing.
    Reset,
    /// 500 InternalError, without asking the server.
    Internal,
    /// 503 SlowDown, without asking the server.
    SlowDown,
    /// The server executes the request, and the answer is dropped.
    Swallowed,
    /// The server executes the request, and half of its answer arrives.
    Truncated,
    /// The answer is delayed.
    Delayed,
    /// 400 ExpiredToken, without asking the server.
    Expired,
    /// A byte of the request's body is changed on the way.
    Damaged,
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::Reset,
    Fault::Internal,
    Fault::SlowDown,
    Fault::Swallowed,
    Fault::Truncated,
    Fault::Delayed,
    Fault::Expired,
    Fault::Damaged,
];

/// The additional time of a delayed answer.
const DELAY: Duration = Duration::from_millis(30);

/// The treatment of a PUT with a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conditions {
    /// Conditional PUTs are treated like other requests.
    Passed,
    /// 501 NotImplemented.
    Refused,
    /// The server executes the request; the first such PUT is answered by 500, as if it had failed.
    FirstFails,
}

pub(crate) struct Proxy {
    port: u16,
    refused: Arc<AtomicUsize>,
    server: Arc<AtomicU16>,
    counts: Arc<[AtomicUsize; FAULTS.len()]>,
}

/// The state that all connections share.
#[derive(Clone)]
struct Shared {
    /// The server's port; 0 while there is no server.
    server: Arc<AtomicU16>,
    random: Arc<Mutex<Random>>,
    one_in: u64,
    counts: Arc<[AtomicUsize; FAULTS.len()]>,
    /// The treatment of a PUT with a condition.
    conditions: Conditions,
    /// The number of conditional PUTs with a special treatment.
    refused: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts a proxy before the server at this port. One request in `one_in` has a fault.
    pub(crate) fn start(server: u16, seed: u64, one_in: u64) -> Self {
        Self::with(server, seed, one_in, Conditions::Passed)
    }

    /// Starts a proxy that answers 501 to a PUT with a condition.
    pub(crate) fn without_conditions(server: u16) -> Self {
        Self::with(server, 0, u64::MAX, Conditions::Refused)
    }

    /// Starts a proxy that answers 500 to the first PUT with a condition, which the server has
    /// executed.
    pub(crate) fn losing_the_first_answer(server: u16) -> Self {
        Self::with(server, 0, u64::MAX, Conditions::FirstFails)
    }

    fn with(server: u16, seed: u64, one_in: u64, conditions: Conditions) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts: Arc<[AtomicUsize; FAULTS.len()]> = Arc::default();
        let server = Arc::new(AtomicU16::new(server));
        let to = Arc::clone(&server);
        let (random, refused) = (Arc::new(Mutex::new(Random(seed))), Arc::new(AtomicUsize::new(0)));
        let (counted, counts_shared) = (Arc::clone(&refused), Arc::clone(&counts));
        let shared = Shared {
            server: to,
            random,
            one_in,
            counts: counts_shared,
            conditions,
            refused: counted,
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                // A broken connection is intended.
                thread::spawn(move || shared.serve(&client));
            }
        });
        Self { port, refused, server, counts }
    }

    /// Starts a proxy without a server: each connection ends without an answer.
    pub(crate) fn down() -> Self {
        Self::start(0, 0, u64::MAX)
    }

    /// Connects the proxy to a server at this port.
    pub(crate) fn up(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the number of PUTs with a condition, if they have a special treatment.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns the number of times that each fault happened.
    pub(crate) fn met(&self) -> Vec<(Fault, usize)> {
        FAULTS
            .into_iter()
            .zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Shared {
    /// Serves each request of a connection, until the connection ends.
    fn serve(&self, client: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(client);
        loop {
            let (head, length) = read_head(&mut reader)?;
            let fault = self.draw(length);
            if fault == Some(Fault::Reset) {
                std::io::copy(&mut reader.by_ref().take(length / 2), &mut std::io::sink()).ok()?;
                return end(client);
            }
            let mut body = vec![0; length as usize];
            reader.read_exact(&mut body).ok()?;
            if fault == Some(Fault::Damaged) {
                body[length as usize / 2] ^= 1;
            }
            let mut client = client;
            // moto doesn't check checksums, as S3 does. So the proxy checks those of all requests.
            if !body.is_empty() && !is_as_signed(&head, &body) {
                client.write_all(&refusal("400 Bad Request", "BadDigest")).ok()?;
                continue;
            }
            if self.conditions != Conditions::Passed
                && head.to_ascii_lowercase().contains("\r\nif-none-match:")
            {
                let before = self.refused.fetch_add(1, Ordering::Relaxed);
                let answer = match self.conditions {
                    Conditions::FirstFails if before == 0 => {
                        self.ask(&head, &body)?;
                        refusal("500 Internal Server Error", "InternalError")
                    }
                    Conditions::Passed | Conditions::FirstFails => self.ask(&head, &body)?,
                    Conditions::Refused => refusal("501 Not Implemented", "NotImplemented"),
                };
                client.write_all(&answer).ok()?;
                continue;
            }
            match fault {
                Some(Fault::Expired) => {
                    client.write_all(&refusal("400 Bad Request", "ExpiredToken")).ok()?
                }
                Some(Fault::Internal) => {
                    client.write_all(&refusal("500 Internal Server Error", "InternalError")).ok()?
                }
                Some(Fault::SlowDown) => {
                    client.write_all(&refusal("503 Slow Down", "SlowDown")).ok()?
                }
                other => {
                    let answer = self.ask(&head, &body)?;
                    match other {
                        Some(Fault::Swallowed) => return end(client),
                        Some(Fault::Truncated) => {
                            client.write_all(&answer[..answer.len() / 2]).ok()?;
                            return end(client);
                        }
                        Some(Fault::Delayed) => thread::sleep(DELAY),
                        _ => {}
                    }
                    // The server ends each connection, and so does the proxy.
                    client.write_all(&answer).ok()?;
                    return end(client);
                }
            }
        }
    }

    fn draw(&self, length: u64) -> Option<Fault> {
        let mut random = self.random.lock().unwrap();
        let hit = random.below(self.one_in) == 0;
        let which = random.below(FAULTS.len() as u64) as usize;
        // A request without a body can't be damaged.
        (hit && (FAULTS[which] != Fault::Damaged || length > 0)).then(|| {
            self.counts[which].fetch_add(1, Ordering::Relaxed);
            FAULTS[which]
        })
    }

    /// Returns the whole answer of the server.
    fn ask(&self, head: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut server =
            TcpStream::connect(("127.0.0.1", self.server.load(Ordering::Relaxed))).ok()?;
        let last = head.trim_end_matches("\r\n");
        server.write_all(format!("{last}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        server.write_all(body).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(answer)
    }
}

/// Reads the head of a request, and the length of its body.
fn read_head(reader: &mut impl BufRead) -> Option<(String, u64)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let from = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        let line = head[from..].trim().to_ascii_lowercase();
        if let Some(bytes) = line.strip_prefix("content-length:") {
            length = bytes.trim().parse().ok()?;
        }
        if line.is_empty() {
            return Some((head, length));
        }
    }
}

/// Returns true if a body has the SHA-256 that its request names, as the checksum to keep and as
/// the signed one.
fn is_as_signed(head: &str, body: &[u8]) -> bool {
    let sum = ring::digest::digest(&ring::digest::SHA256, body);
    let named = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let signed =
        named("x-amz-content-sha256").is_some_and(|found| found == super::sign::hex(sum.as_ref()));
    let kept = named("x-amz-checksum-sha256");
    signed
        && kept.is_some_and(|found| BASE64.decode(found).is_ok_and(|found| found == sum.as_ref()))
}

fn refusal(status: &str, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>Not now.</Message></Error>"
    );
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn end(client: &TcpStream) -> Option<()> {
    client.shutdown(Shutdown::Both).ok()
}

//! Answers without an end: chunked HTTP and WebSocket, in one loop, with all their faults.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::random::Random;
use super::faults::Fault;
use super::http::{Wire, chunk};
use super::place::Place;
use super::shared::{Inner, Shared};
use super::socket::{self, Message};

/// Something to send.
pub(crate) struct Frame {
    /// The text, with its line ends if the protocol has any.
    pub text: String,
    /// The item that this offers, and its form in the lake.
    pub offer: Option<(usize, Value)>,
}

/// The content of a stream, in which the protocols differ.
pub(crate) trait Feed: Send {
    /// Returns the next frame, if there is one by now.
    fn next(&mut self, inner: &mut Inner) -> Option<Frame>;

    /// Returns the time without a post after which something is sent, and its text; on a WebSocket
    /// a ping is sent instead.
    fn keep_alive(&self, inner: &Inner) -> (Duration, &'static str);

    /// Returns the text by which the platform announces the stream's end.
    fn disconnect(&self) -> String;

    /// Returns an undocumented message.
    fn unknown(&self) -> String;

    /// Returns a text that isn't JSON where JSON is expected.
    fn garbage(&self) -> String {
        "{\"data\":{\"id\":\r\n".into()
    }

    /// Returns a post's text with errors beside the post.
    fn partial(&self, text: String) -> String {
        text
    }

    /// Returns true if the stream gives posts in its present state.
    fn gives(&self) -> bool {
        true
    }

    /// Takes a client's message on a WebSocket. An error closes the WebSocket with this code.
    fn told(&mut self, _inner: &mut Inner, _text: &str) -> Result<(), u16> {
        Ok(())
    }

    /// Returns true if the platform has ended the stream.
    fn is_ended(&self, _inner: &Inner) -> bool {
        false
    }

    /// Ends the stream, when its client has left.
    fn ended(&mut self, _inner: &mut Inner) {}
}

/// The transport of a stream.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Transport {
    Chunked,
    Socket,
}

impl Transport {
    /// Encodes a text. From time to time a line is split into two chunks, at any byte.
    fn encode(self, text: &str, random: &mut Random) -> Vec<u8> {
        let bytes = text.as_bytes();
        match self {
            Self::Socket => socket::text(bytes),
            Self::Chunked if random.below(4) == 0 && bytes.len() > 1 => {
                let (first, second) =
                    bytes.split_at(1 + random.below(bytes.len() as u64 - 1) as usize);
                [chunk(first), chunk(second)].concat()
            }
            Self::Chunked => chunk(bytes),
        }
    }

    /// Encodes the first `length` bytes of a text, and nothing of the rest.
    fn cut(self, text: &str, length: usize) -> Vec<u8> {
        match self {
            Self::Socket => {
                let whole = socket::text(text.as_bytes());
                whole[..whole.len() - (text.len() - length)].to_vec()
            }
            Self::Chunked => chunk(&text.as_bytes()[..length]),
        }
    }

    fn end(self) -> Vec<u8> {
        match self {
            Self::Socket => socket::close(1001),
            Self::Chunked => b"0\r\n\r\n".to_vec(),
        }
    }
}

/// The next step of a stream.
enum Step {
    /// There is nothing to send.
    Wait,
    Write(Vec<u8>, Vec<(usize, Value)>),
    Dribble(Vec<u8>, Duration, Vec<(usize, Value)>),
    /// These bytes are sent, and then none for this time.
    Stall(Vec<u8>, Duration, Vec<(usize, Value)>),
    /// These bytes are sent, then the stream ends; true if it ends properly.
    End(Vec<u8>, bool),
    Reset,
}

/// The most bytes of one write.
const WRITE_BYTES: usize = 64 << 10;

/// The longest time for which a post is held back until the next one.
const REORDER: Duration = Duration::from_millis(500);

/// An open stream.
pub(crate) struct Running {
    pub shared: Arc<Shared>,
    pub feed: Box<dyn Feed>,
    pub transport: Transport,
    pub place: Place,
    /// The number of the stream's request.
    pub request: usize,
    /// The number of times that the platform had ended all streams at the beginning of this one: if
    /// the number changes, this stream ends.
    pub ends: u64,
    /// The frames that come after the next one, or at their times if none comes.
    pub held: Vec<(Frame, Instant)>,
}

impl Running {
    /// Runs the stream to its end. Returns the connection if it can be used again.
    pub(crate) async fn run(mut self, wire: Wire) -> Option<Wire> {
        let shared = Arc::clone(&self.shared);
        let again = self.send(wire).await;
        shared.change(|inner| self.feed.ended(inner));
        again
    }

    async fn send(&mut self, mut wire: Wire) -> Option<Wire> {
        let shared = Arc::clone(&self.shared);
        let mut changes = shared.changes();
        let mut last = Instant::now();
        loop {
            changes.borrow_and_update();
            let (step, (idle, alive)) = {
                let mut inner = shared.lock();
                let ends = inner.ended.get(&self.place.kind()).copied().unwrap_or_default();
                let over = ends != self.ends || self.feed.is_ended(&inner);
                let step = if over {
                    Step::End(self.transport.end(), true)
                } else {
                    self.step(&mut inner)
                };
                (step, self.feed.keep_alive(&inner))
            };
            // An hour is longer than any test.
            let due = self
                .held
                .iter()
                .map(|(_, due)| *due)
                .min()
                .unwrap_or(last + Duration::from_secs(3600));
            match step {
                Step::Wait => {
                    tokio::select! {
                        _ = changes.changed() => {}
                        () = sleep_until(last + idle) => {
                            let ping = if self.transport == Transport::Socket { socket::ping() } else { chunk(alive.as_bytes()) };
                            wire.write(&ping).await.ok()?;
                            last = Instant::now();
                        }
                        () = sleep_until(due) => {}
                        told = self.hear(&mut wire) => told?,
                    }
                }
                Step::Write(bytes, offers) => {
                    wire.write(&bytes).await.ok()?;
                    self.offered(&shared, offers);
                    last = Instant::now();
                }
                Step::Dribble(bytes, pause, offers) => {
                    for byte in bytes {
                        wire.write(&[byte]).await.ok()?;
                        sleep(pause).await;
                    }
                    self.offered(&shared, offers);
                }
                Step::Stall(bytes, time, offers) => {
                    wire.write(&bytes).await.ok()?;
                    self.offered(&shared, offers);
                    tokio::select! {
                        () = sleep(time) => {}
                        () = wire.ended() => return None,
                    }
                }
                Step::End(bytes, good) => {
                    wire.write(&bytes).await.ok()?;
                    // After the last chunk the connection can take another request.
                    return (good && self.transport == Transport::Chunked).then_some(wire);
                }
                Step::Reset => {
                    wire.reset();
                    return None;
                }
            }
        }
    }

    fn offered(&self, shared: &Shared, offers: Vec<(usize, Value)>) {
        let mut inner = shared.lock();
        for (item, body) in offers {
            inner.world.offer(item, self.request, &body);
        }
    }

    /// Takes the client's next message; returns `None` if the client has left.
    async fn hear(&mut self, wire: &mut Wire) -> Option<()> {
        if self.transport == Transport::Chunked {
            wire.ended().await;
            return None;
        }
        match wire.message().await? {
            Message::Text(text) => {
                let told = self.shared.change(|inner| self.feed.told(inner, &text));
                if let Err(code) = told {
                    wire.write(&socket::close(code)).await.ok()?;
                    return None;
                }
            }
            Message::Ping(body) => wire.write(&socket::pong(&body)).await.ok()?,
            Message::Close => {
                let _ = wire.write(&socket::close(1000)).await;
                return None;
            }
            Message::Other => {}
        }
        Some(())
    }

    fn step(&mut self, inner: &mut Inner) -> Step {
        let (mut bytes, mut offers) = (Vec::new(), Vec::new());
        while bytes.len() < WRITE_BYTES {
            let frame = self.feed.next(inner);
            match inner.faults.for_stream(self.place, frame.is_some()) {
                None => {
                    let now = Instant::now();
                    let (mut all, later): (Vec<_>, Vec<_>) =
                        self.held.drain(..).partition(|(_, due)| *due <= now);
                    // Frames that were held back for the next one are sent with it.
                    match frame {
                        Some(frame) => all.extend([(frame, now)].into_iter().chain(later)),
                        None => self.held = later,
                    }
                    if all.is_empty() {
                        break;
                    }
                    for (frame, _) in all {
                        bytes.extend(self.transport.encode(&frame.text, &mut inner.random));
                        offers.extend(frame.offer);
                    }
                }
                Some(fault) => return self.fault(inner, fault, frame, bytes, offers),
            }
        }
        if bytes.is_empty() { Step::Wait } else { Step::Write(bytes, offers) }
    }

    /// Executes a fault. `bytes` are sent before the fault, and their offers count as made.
    fn fault(
        &mut self,
        inner: &mut Inner,
        fault: Fault,
        frame: Option<Frame>,
        mut bytes: Vec<u8>,
        mut offers: Vec<(usize, Value)>,
    ) -> Step {
        let transport = self.transport;
        let mut put = |text: &str, bytes: &mut Vec<u8>| {
            bytes.extend(transport.encode(text, &mut inner.random))
        };
        let frame = match (fault, frame) {
            (Fault::Duplicate, Some(frame)) => {
                put(&frame.text, &mut bytes);
                offers.extend(frame.offer.clone());
                Some(frame)
            }
            (Fault::Reorder, Some(frame)) => {
                self.held.push((frame, Instant::now() + REORDER));
                None
            }
            (Fault::Partial, Some(frame)) => {
                Some(Frame { text: self.feed.partial(frame.text), ..frame })
            }
            (Fault::Unknown, frame) => {
                put(&self.feed.unknown(), &mut bytes);
                frame
            }
            (Fault::Garbage, frame) => {
                put(&self.feed.garbage(), &mut bytes);
                frame
            }
            (Fault::Dribble(pause), Some(frame)) => {
                put(&frame.text, &mut bytes);
                offers.extend(frame.offer);
                return Step::Dribble(bytes, pause, offers);
            }
            (Fault::CutCharacter, Some(frame)) => match inside_a_character(&frame.text) {
                Some(at) => {
                    return self.end(
                        inner,
                        [bytes, transport.cut(&frame.text, at)].concat(),
                        offers,
                        false,
                    );
                }
                // This text has only ASCII characters, so the fault waits for the next text.
                None => {
                    inner.faults.met.pop();
                    inner.faults.push(self.place, Fault::CutCharacter);
                    put(&frame.text, &mut bytes);
                    offers.extend(frame.offer);
                    return Step::Write(bytes, offers);
                }
            },
            (Fault::CutLine, Some(frame)) => {
                let half = (frame.text.len() / 2..)
                    .find(|at| frame.text.is_char_boundary(*at))
                    .unwrap_or(0);
                return self.end(
                    inner,
                    [bytes, transport.cut(&frame.text, half)].concat(),
                    offers,
                    false,
                );
            }
            (Fault::Disconnect, _) => {
                put(&self.feed.disconnect(), &mut bytes);
                return self.end(inner, [bytes, transport.end()].concat(), offers, true);
            }
            (Fault::Close, _) => {
                return self.end(inner, [bytes, transport.end()].concat(), offers, true);
            }
            (Fault::Reset, _) => return Step::Reset,
            (Fault::Stall(time), frame) => {
                // The frame comes after the stall, if the client still waits.
                if let Some(frame) = frame {
                    self.held.push((frame, Instant::now()));
                }
                return Step::Stall(bytes, time, offers);
            }
            (_, frame) => frame,
        };
        if let Some(frame) = frame {
            put(&frame.text, &mut bytes);
            offers.extend(frame.offer);
        }
        Step::Write(bytes, offers)
    }

    fn end(
        &mut self,
        inner: &mut Inner,
        bytes: Vec<u8>,
        offers: Vec<(usize, Value)>,
        good: bool,
    ) -> Step {
        for (item, body) in offers {
            inner.world.offer(item, self.request, &body);
        }
        Step::End(bytes, good)
    }
}

/// Returns the first position within the bytes of one character.
fn inside_a_character(text: &str) -> Option<usize> {
    (0..text.len()).find(|at| !text.is_char_boundary(*at))
}

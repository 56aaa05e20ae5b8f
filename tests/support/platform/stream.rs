//! Answers that have no end: chunked HTTP and WebSocket, in one loop, with all that befalls them.

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

/// One thing to send.
pub struct Frame {
    /// With its line ends, if the protocol has any.
    pub text: String,
    /// The item that it offers, and what the lake should have of it.
    pub offer: Option<(usize, Value)>,
}

/// What a stream sends: the protocols differ in this.
pub trait Feed: Send {
    /// The next thing, if there is one by now.
    fn next(&mut self, inner: &mut Inner) -> Option<Frame>;

    /// After how long without a post, and what is sent then; on a WebSocket a ping goes instead.
    fn keep_alive(&self, inner: &Inner) -> (Duration, &'static str);

    /// What says that the platform ends it.
    fn disconnect(&self) -> String;

    /// What no document names.
    fn unknown(&self) -> String;

    /// What is no JSON where JSON is due.
    fn garbage(&self) -> String {
        "{\"data\":{\"id\":\r\n".into()
    }

    /// What goes with a post in a body that has errors too.
    fn partial(&self, text: String) -> String {
        text
    }

    /// Whether it gives posts as it is.
    fn gives(&self) -> bool {
        true
    }

    /// The client says something on a WebSocket. An error closes it with this code.
    fn told(&mut self, _inner: &mut Inner, _text: &str) -> Result<(), u16> {
        Ok(())
    }

    /// Whether the platform has ended it.
    fn is_ended(&self, _inner: &Inner) -> bool {
        false
    }

    /// It is over, when its client has left.
    fn ended(&mut self, _inner: &mut Inner) {}
}

/// How it goes on the wire.
#[derive(Clone, Copy, PartialEq)]
pub enum Transport {
    Chunked,
    Socket,
}

impl Transport {
    /// Now and then what a line has is in two chunks, cut anywhere.
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

    /// The first `length` bytes of it, and nothing of the rest.
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

/// How it goes on.
enum Step {
    /// Nothing to send.
    Wait,
    Write(Vec<u8>, Vec<(usize, Value)>),
    Dribble(Vec<u8>, Duration, Vec<(usize, Value)>),
    /// These bytes, and then none for so long.
    Stall(Vec<u8>, Duration, Vec<(usize, Value)>),
    /// These bytes, then the end; in good order if so said.
    End(Vec<u8>, bool),
    Reset,
}

/// At most so much goes in one write.
const WRITE_BYTES: usize = 64 << 10;

/// The longest that a post is kept back for the next one.
const REORDER: Duration = Duration::from_millis(500);

/// A stream that stands.
pub struct Running {
    pub shared: Arc<Shared>,
    pub feed: Box<dyn Feed>,
    pub transport: Transport,
    pub place: Place,
    /// The number of its request.
    pub request: usize,
    /// How often its platform had ended all streams when it was let in: from then on it hears of
    /// another end.
    pub ends: u64,
    /// What comes after the next one, or at this time if none comes.
    pub held: Vec<(Frame, Instant)>,
}

impl Running {
    /// Until somebody ends it. Gives the connection back if it can be used again.
    pub async fn run(mut self, wire: Wire) -> Option<Wire> {
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
            // An hour is never.
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
                    // After its last chunk the connection can take another request.
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

    /// What the client says; none if it has gone.
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
                    // What is kept back for the next one goes out with it.
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

    /// What is in `bytes` goes out before the fault, and its offers count as made.
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
                // This text has none: it is met at the next one.
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
                // It comes when the time is over, if the client still waits.
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

/// The first place within the bytes of one character.
fn inside_a_character(text: &str) -> Option<usize> {
    (0..text.len()).find(|at| !text.is_char_boundary(*at))
}

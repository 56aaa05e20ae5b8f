//! The sink of a socket's only task.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;

use super::chunk::Chunk;
use super::deliver::{Delivery, Ledger};
use super::format::LineMaker;
use super::hub::{Hub, Offered};
use super::live::{Live, LiveChunks};
use super::{CHUNK_BYTES, OnNoReader, Socket, listener};
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::Result;
use crate::sink::outbox::{Outbox, OutboxBound, OutboxReader};
use crate::sink::{Delivered, OnFull, Sink, SinkContext, SinkCounts};
use crate::tuple::Tuple;
use crate::value::Value;

/// The time that the end of a task waits for readers to get the rest of their lines.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The time that the end of a topology waits for readers to empty their queues.
const FAREWELL_MAX: Duration = Duration::from_secs(5);

/// The destination of a task's lines.
enum Way {
    /// Directly to the readers.
    Direct {
        /// The gathered lines.
        lines: Vec<u8>,
    },
    /// To the readers at once while they keep up, and otherwise to the outbox.
    Outbox { outbox: Box<Outbox>, live: Live },
}

pub(super) struct SocketSink {
    maker: LineMaker,
    pub(super) hub: Arc<Hub>,
    listener: Option<JoinHandle<()>>,
    way: Way,
    /// For segments of an earlier configuration, also if lines now go directly to the readers.
    ledger: Arc<Ledger>,
    on_no_reader: OnNoReader,
    /// The segments that the last barrier closed, once they are known.
    last_closed: Arc<OnceLock<Vec<String>>>,
    /// True once the commits of the last epoch have begun.
    is_last: bool,
}

impl SocketSink {
    pub(crate) fn open(config: &Socket, context: &SinkContext) -> Result<Self> {
        let maker = LineMaker::new(
            &config.format,
            config.jq.as_deref(),
            config.max_steps,
            &context.inputs,
        )?;
        let way = if config.has_outbox() {
            let bound = OutboxBound { bytes_max: config.outbox.0, on_full: OnFull::Pause };
            Way::Outbox { outbox: Box::new(Outbox::open(context, bound)?), live: Live::new() }
        } else {
            Way::Direct { lines: Vec::with_capacity(CHUNK_BYTES) }
        };
        let (listener, address) = listener::bind(config.listen.0)?;
        let hub = Arc::new(Hub::new(config.options(), address, Arc::clone(&context.clock)));
        let listener = listener::start(listener, Arc::clone(&hub), config.allow_remote.clone())?;
        Ok(Self {
            maker,
            hub,
            listener: Some(listener),
            way,
            ledger: Arc::default(),
            on_no_reader: config.on_no_reader,
            last_closed: Arc::default(),
            is_last: false,
        })
    }

    /// Returns true if no more promises follow those of a commit. Commits of earlier epochs may
    /// begin after the last barrier, before its checkpoint is complete.
    fn is_last_commit(&mut self, promises: &[Promise]) -> bool {
        let is_last = |closed: &Vec<String>| {
            closed.is_empty() || promises.iter().any(|promise| closed.contains(&promise.segment))
        };
        self.is_last |= self.last_closed.get().is_some_and(is_last);
        self.is_last
    }

    /// Hands over the gathered lines.
    ///
    /// # Errors
    /// If the lines must go to the outbox and can't be written.
    fn flush(&mut self) -> Result<()> {
        let lines = match &mut self.way {
            Way::Direct { lines } => lines,
            Way::Outbox { outbox, live } => return live.flush(&self.hub, outbox),
        };
        if lines.is_empty() {
            return Ok(());
        }
        let chunk = Chunk::new(std::mem::replace(lines, Vec::with_capacity(CHUNK_BYTES)));
        // A reader without room is reported at once: nothing here waits for readers.
        if self.hub.offer(&chunk, &mut Some(Duration::ZERO)) == Offered::NoReader {
            self.hub.drop_lines(chunk.lines());
        }
        Ok(())
    }
}

impl Sink for SocketSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        match &mut self.way {
            Way::Direct { lines } => {
                if self.hub.count() == 0 && lines.is_empty() {
                    self.hub.drop_lines(1);
                    return Ok(());
                }
                self.maker.append(tuple, lines)?;
                if lines.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
            }
            Way::Outbox { outbox, live } => {
                if live.is_on() {
                    live.make_room(&self.hub, outbox)?;
                }
                if live.is_on() {
                    return self.maker.append(tuple, live.lines());
                }
                // The outbox itself makes the only copy of a post.
                if let Some(post) = self.maker.whole_post(tuple) {
                    return outbox.write(Tuple { values: std::slice::from_ref(post), ..tuple });
                }
                let mut lines = Vec::new();
                self.maker.append(tuple, &mut lines)?;
                if lines.is_empty() {
                    return Ok(());
                }
                let row = Value::Json(Bytes::from(lines));
                outbox.write(Tuple { values: std::slice::from_ref(&row), ..tuple })
            }
        }
    }

    fn counts(&self) -> Option<Arc<SinkCounts>> {
        Some(Arc::clone(&self.hub.counts))
    }

    fn says(&self) -> Option<String> {
        Some(self.hub.says())
    }

    fn idle(&mut self) -> Result<()> {
        self.flush()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.flush()?;
        let mut job: Job<Prepared> = match &mut self.way {
            Way::Direct { .. } => Box::new(|| Ok(Prepared::default())),
            Way::Outbox { outbox, live } => {
                live.barrier(&self.hub, outbox)?;
                outbox.prepare(barrier)?
            }
        };
        if !barrier.last {
            return Ok(job);
        }
        let last_closed = Arc::clone(&self.last_closed);
        Ok(Box::new(move || {
            let prepared = job()?;
            let closed = prepared.promises.iter().map(|promise| promise.segment.clone());
            // A repeated prepare closes the same segments.
            let _ = last_closed.set(closed.collect());
            Ok(prepared)
        }))
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let (hub, is_last) = (Arc::clone(&self.hub), self.is_last_commit(&promises));
        let (reader, live) = match &self.way {
            Way::Outbox { outbox, live } => (outbox.reader(&promises), live.chunks()),
            Way::Direct { .. } => (OutboxReader::default(), Arc::<LiveChunks>::default()),
        };
        let delivery = Delivery {
            hub: Arc::clone(&self.hub),
            ledger: Arc::clone(&self.ledger),
            live,
            outbox: reader,
            on_no_reader: self.on_no_reader,
        };
        Box::new(move || {
            let delivered = delivery.deliver(&promises)?;
            if is_last && delivered.segments.len() == promises.len() {
                hub.drain(FAREWELL_MAX);
                hub.close(CLOSE_MAX);
            }
            Ok(delivered)
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        self.ledger.forget(&segments);
        match &self.way {
            Way::Outbox { outbox, .. } => outbox.forgotten(segments),
            // The files of an earlier configuration are deleted at the next start.
            Way::Direct { .. } => Box::new(|| Ok(())),
        }
    }
}

impl Drop for SocketSink {
    fn drop(&mut self) {
        self.hub.close(CLOSE_MAX);
        // The address must be free when this returns: the next task listens there again.
        if let Some(listener) = self.listener.take() {
            // A panic of the thread was reported already.
            let _ = listener.join();
        }
    }
}

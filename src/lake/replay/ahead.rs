//! Reads ahead from a store on a network: requests several parts of objects at once, and returns
//! them in order.
//!
//! ```text
//! Files ─▶ [file][part][part][part][end][file][part]…  ─▶ next, fill
//!                  ▲ at most `parts_max` parts are requested
//!                  └── threads of the pool ── Store::get_range
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;

use super::Position;
use super::feed::{Feed, Files, Found, Step};
use crate::error::{Error, Result};
use crate::lake::reader::Input;
use crate::lake::scan::Trouble;
use crate::lake::store::Store;

/// The maximum number of requests under way at once, over all splits of a task.
const REQUESTS_MAX: usize = 8;

/// The number of bytes per request. More would use more memory, fewer would cost more requests.
pub(crate) const PART_BYTES: u64 = 4 << 20;

/// The number of parts that are read ahead. Together with [`PART_BYTES`] it bounds the memory for
/// them.
pub(crate) const PARTS_AHEAD: usize = REQUESTS_MAX;

/// The number of steps without a part that are listed ahead.
const STEPS_AHEAD: usize = 64;

type Job = Box<dyn FnOnce() + Send>;
type Answer = Result<Option<Bytes>>;

/// Threads that wait for answers. They end when the last sender is dropped.
pub(crate) struct Pool(Sender<Job>);

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If a thread can't be started.
    pub(crate) fn start() -> Result<Arc<Self>> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..REQUESTS_MAX {
            let jobs = Arc::clone(&jobs);
            let work = move || {
                while let Some(job) = next_job(&jobs) {
                    job();
                }
            };
            thread::Builder::new().name("replay-ahead".into()).spawn(work).map_err(|cause| {
                Error::transient("can't start a thread that reads ahead").because(cause)
            })?;
        }
        Ok(Arc::new(Self(sender)))
    }

    fn get(&self, store: &Arc<dyn Store>, key: &str, range: Range<u64>) -> Receiver<Answer> {
        let (sender, answer) = mpsc::channel();
        let (store, key) = (Arc::clone(store), key.to_owned());
        let job = move || {
            // The caller may have ended.
            let _ = sender.send(store.get_range(&key, range));
        };
        // If the threads have ended, the receiver reports that no answer comes.
        let _ = self.0.send(Box::new(job));
        answer
    }
}

fn next_job(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

enum Item {
    Step(Step),
    Part { answer: Receiver<Answer>, last: bool },
    Failed(Error),
}

/// A feed of objects in a store, which are read ahead.
pub(crate) struct StoreFeed {
    store: Arc<dyn Store>,
    pool: Arc<Pool>,
    files: Files,
    ahead: VecDeque<Item>,
    parts: usize,
    parts_max: usize,
    part_bytes: u64,
    /// The part of the newest listed file that isn't requested yet.
    left: Option<(String, Range<u64>)>,
    /// The file that is being read.
    current: Option<Found>,
    ended: bool,
}

impl StoreFeed {
    /// Reads at most `parts_max` parts of `part_bytes` bytes ahead.
    pub(crate) fn new(
        store: &Arc<dyn Store>,
        pool: &Arc<Pool>,
        files: Files,
        parts_max: usize,
        part_bytes: u64,
    ) -> Self {
        let (store, pool) = (Arc::clone(store), Arc::clone(pool));
        let ahead = VecDeque::new();
        Self {
            store,
            pool,
            files,
            ahead,
            parts: 0,
            parts_max,
            part_bytes,
            left: None,
            current: None,
            ended: false,
        }
    }

    /// Requests more parts while the bounds allow it.
    fn top_up(&mut self) {
        while self.parts < self.parts_max
            && (self.left.is_some() || !self.ended && self.ahead.len() < STEPS_AHEAD)
        {
            match self.left.take() {
                Some((key, range)) => self.ask(key, range),
                None => self.list(),
            }
        }
    }

    fn ask(&mut self, key: String, Range { start, end }: Range<u64>) {
        let part = start..end.min(start + self.part_bytes);
        let last = part.end == end;
        self.parts += 1;
        let rest = part.end..end;
        self.ahead.push_back(Item::Part { answer: self.pool.get(&self.store, &key, part), last });
        self.left = (!last).then_some((key, rest));
    }

    fn list(&mut self) {
        let item = match self.files.next() {
            Ok(Some(step)) => {
                if let Step::File { file, .. } = &step {
                    self.left = Some((file.key.clone(), 0..file.bytes));
                }
                Item::Step(step)
            }
            Ok(None) => return self.ended = true,
            Err(error) => {
                self.ended = true;
                Item::Failed(error)
            }
        };
        self.ahead.push_back(item);
    }

    /// Skips the rest of the current file.
    fn pass_over(&mut self) {
        while let Some(Item::Part { .. }) = self.ahead.front() {
            self.ahead.pop_front();
            self.parts -= 1;
        }
        if self.ahead.is_empty() {
            // The part that isn't requested yet belongs to the current file, too.
            self.left = None;
        }
    }
}

impl Feed for StoreFeed {
    fn next(&mut self) -> Result<Option<Step>> {
        self.pass_over();
        self.top_up();
        match self.ahead.pop_front() {
            Some(Item::Step(step)) => {
                self.current =
                    if let Step::File { file, .. } = &step { Some(file.clone()) } else { None };
                Ok(Some(step))
            }
            Some(Item::Failed(error)) => Err(error),
            Some(Item::Part { .. }) | None => Ok(None),
        }
    }

    /// Parts that were read ahead may belong to the same partition, so all of them are requested
    /// again.
    fn look_again(&mut self, split: usize, read: Option<Position>) -> Result<()> {
        self.ahead.clear();
        (self.parts, self.left, self.current, self.ended) = (0, None, None, false);
        self.files.look_again(split, read)
    }
}

impl Input for StoreFeed {
    fn fill(&mut self, chunk: &mut Vec<u8>) -> Result<bool, Trouble> {
        self.top_up();
        let Some(Item::Part { .. }) = self.ahead.front() else { return Ok(false) };
        let Some(Item::Part { answer, last }) = self.ahead.pop_front() else { return Ok(false) };
        let answer = answer
            .recv()
            .unwrap_or_else(|_| Err(Error::fatal("a thread that reads ahead panicked")));
        self.parts -= 1;
        let bytes = answer.map_err(Trouble::Store)?.ok_or(Trouble::Gone)?;
        chunk.extend_from_slice(&bytes);
        Ok(!last)
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        Ok(self.current.as_ref().map_or(0, |file| file.bytes))
    }

    fn range(&mut self, range: Range<u64>) -> Result<Bytes, Trouble> {
        let Some(file) = &self.current else { return Ok(Bytes::new()) };
        self.store.get_range(&file.key, range).map_err(Trouble::Store)?.ok_or(Trouble::Gone)
    }
}

//! The emitter and the cursors, which a spout's loop and its actor share. The loop hands tuples
//! over in one step without an await, so the actor may send a barrier between any two steps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::dead_letter::{CUT_RAW_BYTES_MAX, DeadLetter, LetterLimits, Letters};
use crate::epoch::{Cursor, Mark, Split};
use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::flow::{Emitter, Need, SplitClock, TaskHandle};
use crate::protocol::{Alive, Doing, Messages, Meter};
use crate::tuple::StreamId;
use crate::value::Value;

/// Makes the data before the cursors of a barrier survive a power loss.
pub type Secure = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// The part of a spout's task that both its loop and its actor use.
pub struct Port {
    /// The emitter of its tuples.
    pub emitter: Emitter,
    /// The splits of this task, each with the cursor of the last emit.
    pub splits: Vec<Split>,
    /// For each split, true if its cursor moved since the last barrier.
    moved: Vec<bool>,
    /// The event time of the splits, if a bolt of the topology uses it.
    pub split_clock: Option<SplitClock>,
    handle: Arc<TaskHandle>,
    meter: Arc<Meter>,
    /// The waker of the loop, while it waits for room.
    loop_waits: Option<Waker>,
    /// True if the spout is paused.
    paused: bool,
    /// True if a later run may continue the splits from their cursors.
    stays_open: bool,
    /// All cursors at the barrier of the epoch in progress.
    injected: Option<(u64, Vec<Cursor>)>,
    /// The cursors of the newest complete epoch, for subscribers.
    complete: watch::Sender<Vec<Cursor>>,
    /// The action to take before cursors are reported.
    secure: Option<Secure>,
}

impl Port {
    /// Creates the port of a task that has emitted nothing yet.
    pub fn new(
        emitter: Emitter,
        splits: Vec<Split>,
        split_clock: Option<SplitClock>,
        handle: Arc<TaskHandle>,
        meter: Arc<Meter>,
    ) -> Self {
        let moved = vec![false; splits.len()];
        let complete =
            watch::Sender::new(splits.iter().map(|split| split.cursor.clone()).collect());
        Self {
            emitter,
            splits,
            moved,
            split_clock,
            handle,
            meter,
            loop_waits: None,
            paused: false,
            stays_open: false,
            injected: None,
            complete,
            secure: None,
        }
    }

    /// Sends the event time if it has changed: at the start, before a barrier, and while the source
    /// is silent.
    pub fn tell_event_time(&mut self, now: Duration) {
        let is_held_up = self.paused || self.loop_waits.is_some();
        let Some(clock) = &mut self.split_clock else { return };
        if is_held_up {
            clock.held_up(now);
        }
        if let Some(watermark) = clock.next(now) {
            self.emitter.broadcast_watermark(watermark);
            self.meter.set_watermark(clock.watermark());
            if self.loop_waits.is_none() {
                self.settle();
            }
        }
    }

    /// Returns the event times that changed since the last barrier, by split.
    pub fn moved_times(&mut self) -> Vec<(String, EventTime)> {
        let moved = self.split_clock.as_mut().map(SplitClock::take_moved).unwrap_or_default();
        moved.into_iter().map(|(split, time)| (self.splits[split].id.clone(), time)).collect()
    }

    /// Sends a barrier, and returns the cursors that changed since the last one.
    pub fn inject(&mut self, mark: &Arc<Mark>, now: Duration) -> Vec<(String, Cursor)> {
        // Event time is sent first, so that the checkpoint and all bolts have the same event time.
        self.tell_event_time(now);
        self.emitter.broadcast(mark);
        if self.settle()
            && let Some(waker) = self.loop_waits.take()
        {
            waker.wake();
        }
        if self.complete.receiver_count() > 0 {
            let cursors = self.splits.iter().map(|split| split.cursor.clone()).collect();
            self.injected = Some((mark.barrier.epoch, cursors));
        }
        let moved = self.moved.iter_mut().map(std::mem::take);
        let changed = self.splits.iter().zip(moved).filter(|(_, moved)| *moved);
        changed.map(|(split, _)| (split.id.clone(), split.cursor.clone())).collect()
    }

    /// Returns the action to take before the cursors of a barrier are reported, which may block.
    pub fn secure(&self) -> Option<Secure> {
        self.secure.clone()
    }

    /// Records that an epoch is complete, so that posts before its cursors are never read again.
    pub fn completed(&mut self, epoch: u64) {
        if let Some((injected, cursors)) = self.injected.take() {
            assert_eq!(injected, epoch, "one epoch at a time");
            // There may be no subscribers.
            let _ = self.complete.send(cursors);
        }
    }

    /// Stops the loop at its next emit, or lets it continue.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.woken();
        }
    }

    /// Records that the source has ended, and with it all its splits, unless they stay open.
    pub fn end(&mut self, now: Duration) {
        let ended = if self.stays_open { 0 } else { self.splits.len() };
        for (split, moved) in self.splits[..ended].iter_mut().zip(&mut self.moved) {
            *moved |= split.cursor != Cursor::End;
            split.cursor = Cursor::End;
        }
        if let Some(clock) = &mut self.split_clock {
            clock.end_all();
        }
        self.tell_event_time(now);
        self.flush();
    }

    /// Sends gathered tuples. The loop isn't waiting for room: it waits for its source, or was
    /// stopped.
    pub fn flush(&mut self) {
        self.loop_waits = None;
        self.emitter.flush();
        self.settle();
    }

    /// Handles a wake because there is room: the loop continues, or the items after a barrier are
    /// sent.
    pub fn woken(&mut self) {
        match self.loop_waits.take() {
            Some(waker) => waker.wake(),
            None => {
                self.settle();
            }
        }
    }

    /// Sends the items for which there is room. If some are left, arranges a wake when there is
    /// more room.
    fn settle(&mut self) -> bool {
        while !self.emitter.drain() {
            if self.handle.sleep_unless(Need::Room, || self.emitter.has_drained()) {
                return false;
            }
        }
        true
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.settle() && !self.paused {
            self.meter.set_doing(Doing::Running);
            return Poll::Ready(());
        }
        self.meter.set_doing(Doing::Blocked);
        self.loop_waits = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The interface of a spout's loop: the splits to read, and the methods that emit tuples.
pub struct SpoutOutput {
    port: Rc<RefCell<Port>>,
    splits: Vec<Split>,
    arities: Vec<usize>,
    dead: StreamId,
    component: String,
    messages: Arc<Messages>,
    meter: Arc<Meter>,
    clock: SharedClock,
    /// True while the loop waits for the engine and not for its source.
    in_engine: Rc<Cell<bool>>,
    staged: Vec<Value>,
    /// The event time of each staged tuple, if a bolt of the topology uses event time.
    staged_times: Option<Vec<EventTime>>,
    /// The event time that the spout has set for the following tuples.
    time: Option<EventTime>,
    /// The streams of the staged tuples, as runs of tuples of one stream.
    staged_runs: Vec<(StreamId, usize)>,
    /// Cursors of other splits, for the next emit.
    staged_cursors: Vec<(usize, Cursor)>,
    dead_letters: usize,
    /// True if there was a dead letter, whose reason was reported.
    has_dead_letters: bool,
    letters: Letters,
    fault: Option<String>,
    /// Dropped with the loop, which tells the census that the loop has ended.
    _alive: Arc<Alive>,
}

impl SpoutOutput {
    pub(crate) fn new(
        port: Rc<RefCell<Port>>,
        (component, messages): (String, Arc<Messages>),
        arities: Vec<usize>,
        meter: Arc<Meter>,
        clock: SharedClock,
        in_engine: Rc<Cell<bool>>,
        alive: Arc<Alive>,
    ) -> Self {
        let splits = port.borrow().splits.clone();
        let staged_times = port.borrow().split_clock.is_some().then(Vec::new);
        let dead = StreamId(arities.len() - 1);
        let now = clock.monotonic();
        let (said, counted) = (Arc::clone(&messages), Arc::clone(&meter));
        let letters = Letters::new(component.clone(), LetterLimits::default(), said, counted, now);
        Self {
            port,
            splits,
            arities,
            dead,
            component,
            messages,
            meter,
            clock,
            in_engine,
            staged: Vec::new(),
            staged_times,
            time: None,
            staged_runs: Vec::new(),
            staged_cursors: Vec::new(),
            dead_letters: 0,
            has_dead_letters: false,
            letters,
            fault: None,
            _alive: alive,
        }
    }

    /// Returns the splits that this task reads, each with the cursor from which to continue.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// Returns a receiver of the cursors of all splits in the newest complete checkpoint. Posts
    /// before them are never read again, and may be trimmed.
    pub fn completed(&self) -> watch::Receiver<Vec<Cursor>> {
        self.port.borrow().complete.subscribe()
    }

    /// Declares that the end of this source isn't the end of its splits: a later run may continue
    /// from their cursors.
    pub fn stay_open(&mut self) {
        self.port.borrow_mut().stays_open = true;
    }

    /// Sets an action for a source that is resumed from a log of its own. The action is called
    /// after each barrier, on a thread that may block, and a checkpoint is complete only after it
    /// has returned. A checkpoint survives a power loss, so the action must make the log durable up
    /// to the cursors.
    pub fn secure_by(&mut self, secure: impl Fn() -> Result<()> + Send + Sync + 'static) {
        self.port.borrow_mut().secure = Some(Arc::new(secure));
    }

    /// Returns the number of fields of a stream.
    pub fn arity(&self, stream: StreamId) -> usize {
        self.arities.get(stream.0).copied().unwrap_or_default()
    }

    /// Returns the clock of the topology.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Returns true if a bolt of the topology uses event times. A spout of posts need not do
    /// anything, because the time of a tuple is that of the post that is its first value. Other
    /// spouts call [`set_event_time`](Self::set_event_time).
    pub fn wants_event_time(&self) -> bool {
        self.staged_times.is_some()
    }

    /// Sets the event time of the tuples that are pushed from here on; `None` for that of their
    /// posts.
    pub fn set_event_time(&mut self, time: Option<EventTime>) {
        self.time = time;
    }

    /// Reports the event time immediately, without waiting for a watermark to be due. With
    /// `no_older_than`, no older post comes from any split of the task.
    pub fn tell_event_time(&mut self, no_older_than: Option<EventTime>) {
        let mut port = self.port.borrow_mut();
        if let (Some(clock), Some(time)) = (&mut port.split_clock, no_older_than) {
            clock.raise_floor(time);
        }
        port.tell_event_time(self.clock.monotonic());
    }

    /// Declares that no more tuples come from a split in this run, so that the split doesn't hold
    /// event time back.
    pub fn end_event_time(&mut self, split: usize) {
        if let Some(clock) = &mut self.port.borrow_mut().split_clock {
            clock.end(split);
        }
    }

    /// Adds a tuple of the stream `default` to the next [`emit`](Self::emit).
    pub fn push(&mut self, values: impl IntoIterator<Item = Value>) {
        self.push_to(StreamId::DEFAULT, values);
    }

    /// Adds a tuple to the next [`emit`](Self::emit).
    #[inline]
    pub fn push_to(&mut self, stream: StreamId, values: impl IntoIterator<Item = Value>) {
        let before = self.staged.len();
        self.staged.extend(values);
        let arity = self.staged.len() - before;
        if self.arities.get(stream.0) != Some(&arity) {
            self.fault = Some(format!(
                "it emitted {arity} values on stream number {}, which declares others",
                stream.0
            ));
            self.staged.truncate(before);
            return;
        }
        if let Some(times) = &mut self.staged_times {
            times.push(self.time.unwrap_or_else(|| time_of(&self.staged[before..])));
        }
        match self.staged_runs.last_mut() {
            Some((last, tuples)) if *last == stream => *tuples += 1,
            _ => self.staged_runs.push((stream, 1)),
        }
    }

    /// Adds a dead letter to the next [`emit`](Self::emit). Letters that come too fast are counted
    /// and not kept.
    pub fn push_dead_letter(&mut self, letter: &DeadLetter) {
        if !std::mem::replace(&mut self.has_dead_letters, true) {
            self.say(&format!("the first dead letter since the start: {}", letter.error));
        }
        self.dead_letters += 1;
        let mut letter = letter.clone();
        if letter.cut {
            letter.raw.truncate(CUT_RAW_BYTES_MAX);
        }
        let letter = letter.to_json(&self.component, self.clock.now());
        if self.letters.take(letter.len(), self.clock.monotonic()) {
            self.push_to(self.dead, [Value::Json(letter)]);
        }
    }

    /// Sets the cursor of another split at the next [`emit`](Self::emit), when tuples of several
    /// splits are handed over together.
    pub fn advance(&mut self, split: usize, cursor: Cursor) {
        self.staged_cursors.push((split, cursor));
    }

    /// Hands over all pushed tuples together with this cursor, atomically: a checkpoint has all of
    /// them or none. Then waits until there is room for more. `split` is a position in
    /// [`splits`](Self::splits). A good size is some hundred tuples, or about a mebibyte.
    ///
    /// # Errors
    /// If the number of a tuple's values differs from that of its stream's fields.
    pub async fn emit(&mut self, split: usize, cursor: Cursor) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(Error::fatal(fault));
        }
        self.in_engine.set(true);
        if self.port.borrow().paused {
            // While the topology begins inactive, nothing is sent.
            std::future::poll_fn(|cx| self.port.borrow_mut().poll_room(cx)).await;
        }
        self.hand_over(split, cursor);
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| self.port.borrow_mut().poll_room(cx)).await;
        self.in_engine.set(false);
        Ok(())
    }

    /// Hands over all pushed tuples and one more, as [`emit`](Self::emit) does, and adds the
    /// numbers in the plan of the tasks that get the last one. This call doesn't wait for room, so
    /// an `emit` must follow. `direct_to` is for bolts that take the stream by direct grouping.
    ///
    /// # Errors
    /// If the number of a tuple's values differs from that of its stream's fields.
    pub fn emit_told(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: Vec<Value>,
        (split, cursor): (usize, Cursor),
        tasks: &mut Vec<usize>,
    ) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(Error::fatal(fault));
        }
        self.hand_over(split, cursor);
        let mut port = self.port.borrow_mut();
        let time = self.time.unwrap_or_else(|| time_of(&values));
        port.emitter.set_time(time);
        port.emitter.emit_told(stream, direct_to, values, tasks);
        port.emitter.commit().map_err(Error::fatal)?;
        self.meter.set_emitted(port.emitter.emitted());
        Ok(())
    }

    fn hand_over(&mut self, split: usize, cursor: Cursor) {
        let mut port = self.port.borrow_mut();
        let port = &mut *port;
        let times = self.staged_times.as_mut().map(std::mem::take).unwrap_or_default();
        let newest = times.iter().copied().max().unwrap_or(EventTime::UNKNOWN);
        let mut values = self.staged.drain(..);
        let mut each_time = times.into_iter();
        for (stream, tuples) in self.staged_runs.drain(..) {
            port.emitter.emit_all(stream, tuples, &mut values, &mut each_time);
        }
        if let Some(clock) = &mut port.split_clock {
            let now = self.clock.monotonic();
            clock.emitted(split, newest, now);
            if let Some(watermark) = clock.next_after_emit(now) {
                port.emitter.broadcast_watermark(watermark);
                self.meter.set_watermark(clock.watermark());
            }
            self.meter.set_newest(clock.newest());
        }
        for (split, cursor) in self.staged_cursors.drain(..).chain([(split, cursor)]) {
            port.splits[split].cursor = cursor;
            port.moved[split] = true;
        }
        self.meter.set_emitted(port.emitter.emitted());
        self.meter.add_dead_letters(std::mem::take(&mut self.dead_letters));
    }

    /// Reports a message for people, once.
    pub fn say(&self, message: &str) {
        self.messages.say(format!("{}: {message}", self.component));
    }

    /// Sets the number of posts that came out of order so far.
    pub fn set_out_of_order(&self, posts: u64) {
        self.meter.set_out_of_order(posts);
    }

    /// Sets a short text about the source's state (`429 until 23:59:10`), for people who watch. An
    /// empty text removes it.
    pub fn set_state(&mut self, state: &str) {
        self.meter.set_says((!state.is_empty()).then(|| state.to_owned()));
    }

    /// Reports the parts of the source that fail at present, each with the cause and with `true` if
    /// it has ever worked, and the number of failed attempts since the last report.
    pub fn set_troubles(
        &mut self,
        troubles: BTreeMap<String, String>,
        failures: u64,
        has_worked: bool,
    ) {
        self.meter.add_failures(failures);
        self.meter.set_troubles(troubles, has_worked);
    }
}

/// Returns the event time of a tuple: that of the post that is its first value.
fn time_of(values: &[Value]) -> EventTime {
    match values.first() {
        Some(Value::Post(post)) => post.created_at().map_or(EventTime::UNKNOWN, EventTime::from),
        _ => EventTime::UNKNOWN,
    }
}

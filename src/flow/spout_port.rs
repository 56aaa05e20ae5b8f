//! What a spout's loop and its actor share: the emitter and the cursors. The loop hands tuples over
//! in one step without an await, so the actor may send a barrier at any moment between.

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

/// Brings what was emitted where its cursors lead to, also after a power loss.
pub type Secure = Arc<dyn Fn() -> Result<()> + Send + Sync>;

/// The part of a spout's task that both its loop and its actor use.
pub struct Port {
    /// Where the tuples go.
    pub emitter: Emitter,
    /// The splits of this task, each with the cursor of the last emit.
    pub splits: Vec<Split>,
    /// Which of them moved since the last barrier.
    moved: Vec<bool>,
    /// The event time of the splits, where a bolt of the topology asks for it.
    pub split_clock: Option<SplitClock>,
    handle: Arc<TaskHandle>,
    meter: Arc<Meter>,
    /// The loop, while it waits for room.
    loop_waits: Option<Waker>,
    /// Nothing is emitted for now.
    paused: bool,
    /// The splits may go on in a later run, behind their cursors.
    stays_open: bool,
    /// All cursors at the barrier of the epoch in progress.
    injected: Option<(u64, Vec<Cursor>)>,
    /// The cursors of the newest complete epoch, for whoever wants to know.
    complete: watch::Sender<Vec<Cursor>>,
    /// What has to be done before cursors are told.
    secure: Option<Secure>,
}

impl Port {
    /// Of a task that has emitted nothing yet.
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

    /// Says how far event time has come, if that is new: at the start, before a barrier, and while
    /// the source is silent.
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

    /// The event times that changed since the last barrier, by split.
    pub fn moved_times(&mut self) -> Vec<(String, EventTime)> {
        let moved = self.split_clock.as_mut().map(SplitClock::take_moved).unwrap_or_default();
        moved.into_iter().map(|(split, time)| (self.splits[split].id.clone(), time)).collect()
    }

    /// Sends a barrier, and gives the cursors that changed since the last one.
    pub fn inject(&mut self, mark: &Arc<Mark>, now: Duration) -> Vec<(String, Cursor)> {
        // What a checkpoint knows of event time is then what every bolt knows.
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

    /// What has to be done before the cursors of a barrier are told; it may block.
    pub fn secure(&self) -> Option<Secure> {
        self.secure.clone()
    }

    /// An epoch is complete: what its cursors cover is never read again.
    pub fn completed(&mut self, epoch: u64) {
        if let Some((injected, cursors)) = self.injected.take() {
            assert_eq!(injected, epoch, "one epoch at a time");
            // Nobody has to listen.
            let _ = self.complete.send(cursors);
        }
    }

    /// Holds the loop at its next emit, or lets it go on.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.woken();
        }
    }

    /// The source has ended: so has each of its splits, unless they stay open.
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

    /// Sends what was gathered. The loop isn't waiting for room any more: it waits for its source,
    /// or was stopped.
    pub fn flush(&mut self) {
        self.loop_waits = None;
        self.emitter.flush();
        self.settle();
    }

    /// Room was made: the loop goes on, or what a barrier left over goes out.
    pub fn woken(&mut self) {
        match self.loop_waits.take() {
            Some(waker) => waker.wake(),
            None => {
                self.settle();
            }
        }
    }

    /// Sends what there is room for; if something is left, sees to it that room wakes the task.
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

/// What a spout's loop talks to: the splits to read, and where the tuples go.
pub struct SpoutOutput {
    port: Rc<RefCell<Port>>,
    splits: Vec<Split>,
    arities: Vec<usize>,
    dead: StreamId,
    component: String,
    messages: Arc<Messages>,
    meter: Arc<Meter>,
    clock: SharedClock,
    /// Set while the loop waits for the engine and not for its source.
    in_engine: Rc<Cell<bool>>,
    staged: Vec<Value>,
    /// The event time of each staged tuple, where a bolt of the topology asks for it.
    staged_times: Option<Vec<EventTime>>,
    /// What the spout has said to be the event time of the next tuples.
    time: Option<EventTime>,
    /// Which streams the staged tuples are for: runs of tuples of one stream.
    staged_runs: Vec<(StreamId, usize)>,
    /// Cursors of other splits, for the next emit.
    staged_cursors: Vec<(usize, Cursor)>,
    dead_letters: usize,
    /// True if there was one, whose reason was said.
    has_dead_letters: bool,
    letters: Letters,
    fault: Option<String>,
    /// Gone with the loop.
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

    /// The splits that this task reads, each with the cursor to go on from.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// The cursors of all splits in the newest complete checkpoint, now and whenever that changes:
    /// what lies before them is never read again, and may be trimmed.
    pub fn completed(&self) -> watch::Receiver<Vec<Cursor>> {
        self.port.borrow().complete.subscribe()
    }

    /// When this source ends, its splits are not at their ends: they may go on behind their cursors
    /// in a later run.
    pub fn stay_open(&mut self) {
        self.port.borrow_mut().stays_open = true;
    }

    /// For a source that is resumed from a log of its own: this is called, on a thread that may
    /// block, whenever a barrier has passed, and no checkpoint covers what was emitted before it
    /// has returned. A checkpoint survives a power loss, so the log has to do so too up to where
    /// the cursors lead.
    pub fn secure_by(&mut self, secure: impl Fn() -> Result<()> + Send + Sync + 'static) {
        self.port.borrow_mut().secure = Some(Arc::new(secure));
    }

    /// The number of fields of a stream.
    pub fn arity(&self, stream: StreamId) -> usize {
        self.arities.get(stream.0).copied().unwrap_or_default()
    }

    /// The clock that the topology runs by.
    pub fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// True if a bolt of the topology asks for event times. A spout of posts has nothing to do for
    /// that, since the time of a tuple is that of the post that is its first value; another spout
    /// says it by [`set_event_time`](Self::set_event_time).
    pub fn wants_event_time(&self) -> bool {
        self.staged_times.is_some()
    }

    /// Says what the event time of the tuples is that are pushed from here on; `None` for that of
    /// their posts.
    pub fn set_event_time(&mut self, time: Option<EventTime>) {
        self.time = time;
    }

    /// Says how far event time has come, without waiting for a watermark to be due. With
    /// `no_older_than`, no older post comes from any split of the task.
    pub fn tell_event_time(&mut self, no_older_than: Option<EventTime>) {
        let mut port = self.port.borrow_mut();
        if let (Some(clock), Some(time)) = (&mut port.split_clock, no_older_than) {
            clock.raise_floor(time);
        }
        port.tell_event_time(self.clock.monotonic());
    }

    /// Says that nothing comes from a split any more in this run: it doesn't hold event time back.
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

    /// Adds a dead letter to the next [`emit`](Self::emit). Letters that come too fast are counted,
    /// and not kept.
    pub fn push_dead_letter(&mut self, letter: &DeadLetter) {
        if !std::mem::replace(&mut self.has_dead_letters, true) {
            self.say(&format!("dead letters begin, of which this is the first: {}", letter.error));
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

    /// Says where another split stands with the next [`emit`](Self::emit), where tuples of several
    /// splits are handed over as one.
    pub fn advance(&mut self, split: usize, cursor: Cursor) {
        self.staged_cursors.push((split, cursor));
    }

    /// Hands over everything that was pushed, as one: a checkpoint has all of it, with this cursor,
    /// or nothing of it. Then waits until there is room for more. `split` is a position in
    /// [`splits`](Self::splits). A good size is some hundred tuples, or about a mebibyte.
    ///
    /// # Errors
    /// If a tuple had another number of values than its stream declares.
    pub async fn emit(&mut self, split: usize, cursor: Cursor) -> Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(Error::fatal(fault));
        }
        self.in_engine.set(true);
        if self.port.borrow().paused {
            // Of a topology that begins inactive, nothing goes out.
            std::future::poll_fn(|cx| self.port.borrow_mut().poll_room(cx)).await;
        }
        self.hand_over(split, cursor);
        tokio::task::yield_now().await;
        std::future::poll_fn(|cx| self.port.borrow_mut().poll_room(cx)).await;
        self.in_engine.set(false);
        Ok(())
    }

    /// Hands over everything that was pushed and one tuple more, as [`emit`](Self::emit) does, and
    /// adds the numbers of the tasks that get that tuple, as they stand in the plan. It doesn't wait
    /// for room: an `emit` has to follow. `direct_to` is for bolts that take the stream by direct
    /// grouping.
    ///
    /// # Errors
    /// If a tuple has another number of values than its stream declares.
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

    /// Says something that a person should know, once.
    pub fn say(&self, message: &str) {
        self.messages.say(format!("{}: {message}", self.component));
    }

    /// The number of posts that came out of order so far.
    pub fn set_out_of_order(&self, posts: u64) {
        self.meter.set_out_of_order(posts);
    }

    /// Says in a word or two what the source is doing (`429 until 23:59:10`), for people who watch;
    /// an empty text takes it back.
    pub fn set_state(&mut self, state: &str) {
        self.meter.set_says((!state.is_empty()).then(|| state.to_owned()));
    }

    /// Says what of the source fails at the moment, by part with the cause, and whether anything
    /// has ever worked; and how many attempts have failed since this was last said.
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

/// The event time of a tuple: that of the post that is its first value.
fn time_of(values: &[Value]) -> EventTime {
    match values.first() {
        Some(Value::Post(post)) => post.created_at().map_or(EventTime::UNKNOWN, EventTime::from),
        _ => EventTime::UNKNOWN,
    }
}

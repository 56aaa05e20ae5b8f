//! The work of a bolt's task, without any actor: batches in, batches out, barriers passed on.

mod failures;

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use super::jobs::{JobThread, run_job};
use super::policy::{Decision, decide};
use super::refused_rows::RefusedRowsWriter;
use crate::bolt::Bolt;
use crate::clock::SharedClock;
use crate::dead_letter::Letters;
use crate::epoch::{Job, Mark, Promise};
use crate::error::{Error, Kind, Result};
use crate::event_time::{EventTime, Watermark};
use crate::flow::{Batch, BoltWaker, Inbox, Need, Output, Received};
use crate::keys::stable_hash;
use crate::panics::caught;
use crate::protocol::{Alive, Doing, Meter, Report, Reporter};
use crate::sink::{Sink, SinkCounts};
use crate::topology::OnError;
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// How many batches a task works on before others on its thread get their turn. More would gain
/// nothing (a batch is far more work than a turn) and cost the others latency.
const BATCHES_PER_TURN_MAX: usize = 8;

/// From so many tuples in a turn on, a task is busy: it looks for more a while before it sleeps.
/// What trickles lets the machine rest.
const BUSY_TUPLES: usize = 256;

/// How often a busy task looks for more before it sleeps: about 50 µs, which is what a core of a
/// virtual machine takes to wake up. More would take time from others on its executor.
const LOOKS_BEFORE_SLEEP: u8 = 64;

/// From so many retries of a tuple on, people are told: what passes sooner is no trouble.
const RETRIES_UNTIL_SAID: u32 = 4;

/// What fails where a sink is left with a part of what it was to deliver.
const DELIVERY: &str = "delivery";

/// What fails where tuples are tried again.
const INPUT: &str = "a tuple";

/// What runs in a bolt's task.
pub(crate) enum Worker {
    /// A bolt.
    Bolt(Box<dyn Bolt>),
    /// A sink, with the threads for what it prepares and what it commits; without them if it
    /// doesn't block.
    Sink(Box<dyn Sink>, Option<SinkThreads>),
}

/// The threads of a blocking sink. Two, so that a commit that waits for a server delays no
/// checkpoint.
pub(crate) struct SinkThreads {
    /// Syncs what the sink wrote.
    pub prepare: JobThread,
    /// Makes it visible.
    pub commit: JobThread,
}

/// One input of a task: its fields, and where it comes from, for the dead letters.
#[derive(Clone, Debug)]
pub(crate) struct TaskInput {
    /// `component` or `component:stream`.
    pub from: String,
    /// The fields of its tuples.
    pub fields: Fields,
}

/// A bolt's task.
pub(crate) struct BoltTask {
    /// The component's id.
    pub component: String,
    /// The bolt or sink.
    pub worker: Worker,
    /// Its inputs.
    pub inputs: Vec<TaskInput>,
    /// What happens to a tuple that fails.
    pub on_error: OnError,
    /// How long tuples wait for their batch to fill up.
    pub linger: Option<Duration>,
    /// Where tuples come from.
    pub inbox: Inbox,
    /// Where they go.
    pub output: Output,
    /// Rung by the bolt's own threads.
    pub waker: BoltWaker,
    /// Makes dead letters of what the outside of a sink refuses.
    pub refused_rows: RefusedRowsWriter,
    /// The bound on its dead letters.
    pub letters: Letters,
    /// The counters.
    pub meter: Arc<Meter>,
    /// The clock.
    pub clock: SharedClock,
    /// The coordinator.
    pub reporter: Reporter,
    /// What the task is in the middle of.
    pub current: Option<Current>,
    /// What the task looks for before it sleeps.
    pub looks: Looks,
    /// The watermark that waits for the next barrier.
    pub held: HeldWatermark,
    /// All sources have ended, and with them event time.
    pub is_past_end: bool,
    /// True if its configuration says that it has state.
    pub keeps_state: bool,
    /// The group that all of its state is kept in, where that belongs to the task and not to keys.
    pub state_group: Option<u16>,
    /// Tuples that made this component panic again and again, by hash: what it said.
    pub poison: Arc<HashMap<u64, String>>,
    /// The hash of the tuple that made it panic.
    pub panicked_on: Option<u64>,
    /// Gone with the task.
    pub _alive: Arc<Alive>,
}

/// What a task is in the middle of while it waits for another try.
pub(crate) struct Current {
    work: Work,
    retries: u32,
}

enum Work {
    Tuples { input: usize, batch: Batch, next: usize },
    Watermark(Watermark),
    Mark(Arc<Mark>, BarrierStep),
}

/// The next call of a bolt at a barrier. Each call has its emits to itself, and isn't repeated after
/// it succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BarrierStep {
    End,
    Finish,
    Barrier,
    Done,
}

/// Event time that a task has not passed on, since its bolt may have work under way. It goes out
/// behind the next barrier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeldWatermark {
    time: Option<EventTime>,
    is_idle: bool,
}

/// How a busy task looks for more, instead of going to sleep at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    /// What it looks for, while it does.
    need: Option<Need>,
    /// The number of looks that are left.
    left: u8,
    /// The tuples of the current turn.
    tuples: usize,
}

/// What a task wants after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn.
    Turn,
    /// To be woken when something is there.
    Sleep(Need),
    /// To be woken when something is there, and after this time anyway.
    SleepAtMost(Duration),
    /// Another turn after this time, and none before.
    Pause(Duration),
    /// Nothing: it failed for good, and has reported that.
    End,
}

/// What became of one piece of work.
enum Step {
    Done,
    Again(Current, Duration),
    Failed,
}

impl BoltTask {
    /// Works for one turn, or looks whether there is work.
    pub(crate) fn turn(&mut self) -> Next {
        if let Some(need) = self.looks.need.take()
            && !self.finds(need)
        {
            return self.look_again(need);
        }
        self.meter.begin_turn(self.clock.monotonic());
        self.looks.tuples = 0;
        let next = self.work();
        self.meter.end_turn(self.clock.monotonic());
        self.meter.set_emitted(self.output.emitter.emitted());
        self.meter.set_inbox(self.inbox.fill());
        if !self.is_past_end {
            self.meter.set_watermark(self.inbox.time());
        }
        match &mut self.worker {
            Worker::Sink(sink, _) => {
                match sink.counts() {
                    Some(counts) => show_counts(&counts, &self.meter),
                    None => self.meter.set_dropped(sink.dropped()),
                }
                if let Some(words) = sink.says() {
                    self.meter.set_says(Some(words));
                }
            }
            Worker::Bolt(bolt) => {
                if let Some(words) = bolt.says() {
                    self.meter.set_says(Some(words).filter(|words| !words.is_empty()));
                }
                self.meter.set_late(bolt.late());
                self.meter.set_drifted(bolt.drifted());
                self.meter.set_dropped(bolt.dropped());
                if let Some(size) = bolt.state_size() {
                    self.meter.set_state_size(size);
                }
            }
        }
        self.meter.set_doing(match next {
            Next::Turn => Doing::Running,
            Next::Sleep(Need::Input) | Next::SleepAtMost(_) => Doing::Idle,
            Next::Sleep(Need::Room) => Doing::Blocked,
            Next::Pause(_) => Doing::Retrying,
            Next::End => Doing::Failed,
        });
        if self.looks.tuples >= BUSY_TUPLES {
            self.looks.left = LOOKS_BEFORE_SLEEP;
        }
        if let Next::Sleep(need) = next { self.look_again(need) } else { next }
    }

    /// Another look for this, or sleep. A sender needs not wake a task that looks.
    fn look_again(&mut self, need: Need) -> Next {
        if self.looks.left == 0 {
            return Next::Sleep(need);
        }
        self.looks.left -= 1;
        self.looks.need = Some(need);
        Next::Turn
    }

    /// Returns true if a task that is about to sleep for this would find it after all.
    pub(crate) fn finds(&self, need: Need) -> bool {
        match need {
            Need::Input => !self.inbox.is_empty() || self.waker.is_rung(),
            Need::Room => self.output.emitter.has_drained(),
        }
    }

    fn work(&mut self) -> Next {
        if !self.output.emitter.drain() {
            return Next::Sleep(Need::Room);
        }
        for _ in 0..BATCHES_PER_TURN_MAX {
            let Some(current) = self.current.take().or_else(|| self.receive()) else {
                return self.rest();
            };
            match self.step(current) {
                Step::Done => {}
                Step::Again(current, wait) => {
                    self.current = Some(current);
                    return Next::Pause(wait);
                }
                Step::Failed => return Next::End,
            }
            if self.output.emitter.is_blocked() {
                return Next::Sleep(Need::Room);
            }
        }
        Next::Turn
    }

    fn receive(&mut self) -> Option<Current> {
        let work = match self.inbox.receive() {
            Received::Batch { input, batch } => {
                self.meter.add_received(batch.tuples);
                self.looks.tuples += batch.tuples;
                Work::Tuples { input, batch, next: 0 }
            }
            Received::Watermark(watermark) => Work::Watermark(watermark),
            Received::Aligned(mark) => {
                let first = if mark.finish { BarrierStep::End } else { BarrierStep::Barrier };
                Work::Mark(mark, first)
            }
            Received::Empty => return None,
        };
        Some(Current { work, retries: 0 })
    }

    /// There is nothing to do: what was gathered goes out, unless it may linger.
    fn rest(&mut self) -> Next {
        self.waker.answer();
        let idle = match &mut self.worker {
            Worker::Bolt(bolt) => {
                self.output.emitter.set_time(self.inbox.time());
                let idle = bolt.idle(&mut self.output);
                self.output.end_call(idle)
            }
            // What the outside doesn't take for now is written again before the next barrier.
            Worker::Sink(sink, _) => sink.idle().or_else(|error| match error.kind() {
                Kind::Fatal => Err(error),
                _ => Ok(()),
            }),
        };
        if let Err(error) = idle {
            match error.kind() {
                Kind::Lost => self.report_broken(&error),
                _ => self.reporter.send(Report::Failed(error.chain())),
            }
            return Next::End;
        }
        self.settle_late();
        match self.linger {
            Some(linger) if self.output.emitter.is_gathering() => return Next::SleepAtMost(linger),
            _ => self.output.emitter.flush(),
        }
        Next::Sleep(if self.output.emitter.is_blocked() { Need::Room } else { Need::Input })
    }

    /// The linger time is over.
    pub(crate) fn flush(&mut self) {
        self.output.emitter.flush();
    }

    fn step(&mut self, mut current: Current) -> Step {
        loop {
            let result = match &mut current.work {
                Work::Tuples { input, batch, next } => self.execute_watched(*input, batch, next),
                Work::Watermark(watermark) => self.pass_watermark(*watermark),
                Work::Mark(mark, step) => self.pass(&Arc::clone(mark), step),
            };
            let Err(error) = result else { return Step::Done };
            self.meter.add_failed();
            match (
                decide(&self.on_error, error.kind(), current.retries, rand::random()),
                &mut current.work,
            ) {
                (Decision::Retry(wait), _) => {
                    current.retries += 1;
                    if current.retries >= RETRIES_UNTIL_SAID {
                        self.meter.set_trouble(INPUT, Some(error.chain()));
                    }
                    return Step::Again(current, wait);
                }
                (Decision::Wait(wait), _) => {
                    self.meter.set_trouble(INPUT, Some(error.chain()));
                    return Step::Again(current, wait);
                }
                (Decision::DeadLetter, Work::Tuples { input, batch, next }) => {
                    self.bury(*input, batch, *next, &error);
                    *next += 1;
                    current.retries = 0;
                }
                (Decision::RollBack, _) => {
                    self.report_broken(&error);
                    return Step::Failed;
                }
                (Decision::Stop, _)
                | (Decision::DeadLetter, Work::Watermark(_) | Work::Mark(..)) => {
                    self.reporter.send(Report::Failed(error.chain()));
                    return Step::Failed;
                }
            }
        }
    }

    /// Executes the tuples of a batch; remembers the one that makes the component panic.
    fn execute_watched(&mut self, input: usize, batch: &Batch, next: &mut usize) -> Result<()> {
        if !self.poison.is_empty() {
            return self.execute_but_poison(input, batch, next);
        }
        let all = batch.tuples;
        match caught(|| self.execute_until(all, input, batch, next)) {
            Ok(result) => result,
            Err(panic) => {
                self.panicked_on = Some(stable_hash(self.values(input, batch, *next)));
                resume_unwind(panic)
            }
        }
    }

    /// Looks at every tuple before it is executed, and sends those that are known to make the
    /// component panic to the dead letters.
    fn execute_but_poison(&mut self, input: usize, batch: &Batch, next: &mut usize) -> Result<()> {
        while *next < batch.tuples {
            let hash = stable_hash(self.values(input, batch, *next));
            if let Some(said) = self.poison.get(&hash) {
                let error = Error::rejected(format!(
                    "the component panicked on it again and again: {said}"
                ));
                self.bury(input, batch, *next, &error);
                *next += 1;
                continue;
            }
            self.panicked_on = Some(hash);
            self.execute_until(*next + 1, input, batch, next)?;
        }
        self.panicked_on = None;
        Ok(())
    }

    /// The values of a tuple of a batch.
    fn values<'a>(&self, input: usize, batch: &'a Batch, at: usize) -> &'a [Value] {
        let arity = self.inputs[input].fields.len();
        &batch.values[at * arity..(at + 1) * arity]
    }

    /// Executes the tuples of a batch from `next` to `end`; after an error `next` is the one that
    /// failed.
    fn execute_until(
        &mut self,
        end: usize,
        input: usize,
        batch: &Batch,
        next: &mut usize,
    ) -> Result<()> {
        let arity = self.inputs[input].fields.len();
        // One execution of each batch is timed: a clock read costs as much as a small bolt.
        let timed = *next;
        while *next < end {
            let time = batch.times.get(*next).copied().unwrap_or(EventTime::UNKNOWN);
            self.output.emitter.set_time(time);
            let tuple =
                Tuple { values: &batch.values[*next * arity..(*next + 1) * arity], input, time };
            if *next == timed {
                let started = self.clock.monotonic();
                self.execute(tuple)?;
                self.meter.add_execute(self.clock.monotonic().saturating_sub(started));
            } else {
                self.execute(tuple)?;
            }
            *next += 1;
        }
        Ok(())
    }

    #[inline]
    fn execute(&mut self, tuple: Tuple<'_>) -> Result<()> {
        match &mut self.worker {
            Worker::Sink(sink, _) => sink.write(tuple),
            Worker::Bolt(bolt) => {
                let executed = bolt.execute(tuple, &mut self.output);
                self.output.end_call(executed)?;
                self.settle_late();
                Ok(())
            }
        }
    }

    /// No tuple older than this comes any more: the bolt emits what waited for that, and the
    /// watermark goes on.
    fn pass_watermark(&mut self, watermark: Watermark) -> Result<()> {
        let Worker::Bolt(bolt) = &mut self.worker else { return Ok(()) };
        if let Watermark::At(time) = watermark {
            self.output.emitter.set_time(time);
            let passed = bolt.watermark(time, &mut self.output);
            self.output.end_call(passed)?;
            self.settle_late();
        }
        match watermark {
            // A bolt isn't asked, and may have answers to earlier tuples under way.
            Watermark::Idle => self.held.is_idle = true,
            Watermark::At(time) if std::mem::take(&mut self.output.holds_watermark) => {
                self.held = HeldWatermark { time: Some(time), is_idle: false };
            }
            Watermark::At(_) => {
                self.held = HeldWatermark::default();
                self.output.emitter.broadcast_watermark(watermark);
            }
        }
        Ok(())
    }

    /// Sends what was kept back until a barrier.
    fn pass_held_watermark(&mut self) {
        self.output.holds_watermark = false;
        let HeldWatermark { time, is_idle } = std::mem::take(&mut self.held);
        if let Some(time) = time {
            self.output.emitter.broadcast_watermark(Watermark::At(time));
        }
        if is_idle {
            self.output.emitter.broadcast_watermark(Watermark::Idle);
        }
    }

    /// Everything before the barrier was received: what it changed is reported, and the barrier
    /// goes on.
    fn pass(&mut self, mark: &Arc<Mark>, step: &mut BarrierStep) -> Result<()> {
        let epoch = mark.barrier.epoch;
        if mark.finish {
            self.is_past_end = true;
            self.meter.set_watermark(EventTime::END);
        }
        match &mut self.worker {
            Worker::Bolt(bolt) => {
                self.output.emitter.set_time(self.inbox.time());
                while *step != BarrierStep::Done {
                    *step = barrier_step(bolt.as_mut(), *step, epoch, &mut self.output)?;
                }
                self.settle_late();
                let Worker::Bolt(bolt) = &mut self.worker else { return Ok(()) };
                let mut changes = bolt.snapshot();
                if !self.keeps_state && !changes.is_empty() {
                    return Err(Error::fatal(
                        "the bolt has state, but its configuration's keeps_state() says no",
                    ));
                }
                if let Some(group) = self.state_group {
                    changes.iter_mut().for_each(|change| change.key_group = group);
                }
                // With the barrier the bolt has ended the work that kept a watermark back.
                self.pass_held_watermark();
                self.reporter.send(Report::State { epoch, changes, watermark: self.inbox.time() });
            }
            Worker::Sink(sink, threads) => {
                let job = sink.prepare(&mark.barrier)?;
                let done = move |prepared| Some(Report::Prepared { epoch, prepared });
                run_job(
                    threads.as_ref().map(|threads| &threads.prepare),
                    job,
                    &self.reporter,
                    done,
                );
            }
        }
        self.meter.set_trouble(INPUT, None);
        self.output.emitter.broadcast(mark);
        Ok(())
    }

    /// The checkpoint with these promises is complete.
    pub(crate) fn commit(&mut self, promises: Vec<Promise>) {
        let Worker::Sink(sink, threads) = &mut self.worker else { return };
        let mut deliver = sink.commit(promises);
        let (refused_rows, meter) = (self.refused_rows.clone(), Arc::clone(&self.meter));
        let counts = sink.counts();
        let job: Job<Vec<String>> = Box::new(move || {
            let delivered = deliver()?;
            // Behind the last barrier there is no turn any more.
            if let Some(counts) = &counts {
                show_counts(counts, &meter);
            }
            let rows = refused_rows.write(&delivered.refused)?;
            meter.add_dead_letters(usize::try_from(rows).unwrap_or(usize::MAX));
            meter.set_trouble(DELIVERY, delivered.waits);
            Ok(delivered.segments)
        });
        let thread = threads.as_ref().map(|threads| &threads.commit);
        run_job(thread, job, &self.reporter, |segments| Some(Report::Committed { segments }));
    }

    /// No checkpoint names these delivered segments any more.
    pub(crate) fn forget(&mut self, segments: Vec<String>) {
        let Worker::Sink(sink, threads) = &mut self.worker else { return };
        let job = sink.forgotten(segments);
        run_job(threads.as_ref().map(|threads| &threads.commit), job, &self.reporter, |()| None);
    }
}

fn show_counts(counts: &SinkCounts, meter: &Meter) {
    meter.set_emitted(counts.emitted());
    meter.set_dropped(counts.dropped());
}

/// Makes one call of a bolt at a barrier, and returns the step behind it.
fn barrier_step(
    bolt: &mut dyn Bolt,
    step: BarrierStep,
    epoch: u64,
    out: &mut Output,
) -> Result<BarrierStep> {
    let (called, next) = match step {
        BarrierStep::End if out.emitter.is_timed() => {
            (bolt.watermark(EventTime::END, out), BarrierStep::Finish)
        }
        BarrierStep::End => (Ok(()), BarrierStep::Finish),
        BarrierStep::Finish => (bolt.finish(out), BarrierStep::Barrier),
        BarrierStep::Barrier => (bolt.barrier(epoch, out), BarrierStep::Done),
        BarrierStep::Done => (Ok(()), BarrierStep::Done),
    };
    out.end_call(called)?;
    Ok(next)
}

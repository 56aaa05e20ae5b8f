//! The work of a bolt's task, without any actor: it takes batches, emits batches and passes
//! barriers on.

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

/// The number of batches that a task processes before other tasks on its thread get their turn. A
/// larger number would gain nothing, because a batch is far more work than a turn, and would cost
/// the others latency.
const BATCHES_PER_TURN_MAX: usize = 8;

/// The number of tuples in a turn from which a task counts as busy. A busy task looks for more
/// input for a while before it sleeps. With few tuples the task sleeps immediately, which saves CPU
/// time.
const BUSY_TUPLES: usize = 256;

/// The number of times that a busy task looks for input before it sleeps: about 50 µs, the time
/// that a core of a virtual machine takes to wake up. More would take time from other tasks on the
/// executor.
const LOOKS_BEFORE_SLEEP: u8 = 64;

/// The number of retries of a tuple from which on its failure is reported. Failures that end sooner
/// aren't worth a message.
const RETRIES_UNTIL_SAID: u32 = 4;

/// The name of the failing operation in messages about data that a sink couldn't deliver
/// completely.
const DELIVERY: &str = "delivery";

/// The name of the failing operation in messages about tuples that are tried again.
const INPUT: &str = "a tuple";

/// The component that a bolt's task runs.
pub(crate) enum Worker {
    /// A bolt.
    Bolt(Box<dyn Bolt>),
    /// A sink, with its threads for preparing and committing, or without threads if it doesn't
    /// block.
    Sink(Box<dyn Sink>, Option<SinkThreads>),
}

/// The threads of a blocking sink. There are two, so that a commit that waits for a server doesn't
/// delay checkpoints.
pub(crate) struct SinkThreads {
    /// Syncs the data that the sink wrote.
    pub prepare: JobThread,
    /// Makes the data visible.
    pub commit: JobThread,
}

/// An input of a task: its fields, and its origin for dead letters.
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
    /// The reaction to a tuple that fails.
    pub on_error: OnError,
    /// The longest time that tuples wait for their batch to fill up.
    pub linger: Option<Duration>,
    /// The inbox from which tuples are taken.
    pub inbox: Inbox,
    /// The output to which tuples are emitted.
    pub output: Output,
    /// The waker that the bolt's own threads use.
    pub waker: BoltWaker,
    /// The writer of dead letters for rows that a sink couldn't deliver.
    pub refused_rows: RefusedRowsWriter,
    /// The bound on its dead letters.
    pub letters: Letters,
    /// The counters.
    pub meter: Arc<Meter>,
    /// The clock.
    pub clock: SharedClock,
    /// The line to the coordinator.
    pub reporter: Reporter,
    /// The work in progress.
    pub current: Option<WorkInProgress>,
    /// The looks for more input before the task sleeps.
    pub looks: Looks,
    /// The watermark that is held back until the next barrier.
    pub held: HeldWatermark,
    /// True if all sources have ended, and event time with them.
    pub is_past_end: bool,
    /// True if the component's configuration says that it has state.
    pub keeps_state: bool,
    /// The key group that holds all of its state, if the state belongs to the task and not to keys.
    pub state_group: Option<u16>,
    /// Tuples that repeatedly made this component panic: the panic message by the tuple's hash.
    pub poison: Arc<HashMap<u64, String>>,
    /// The hash of the tuple over which the component panicked.
    pub panicked_on: Option<u64>,
    /// Dropped with the task, which tells the census that the task has ended.
    pub _alive: Arc<Alive>,
}

/// The work in progress of a task, kept while the task waits for another attempt.
pub(crate) struct WorkInProgress {
    work: Work,
    retries: u32,
}

enum Work {
    Tuples { input: usize, batch: Batch, next: usize },
    Watermark(Watermark),
    Mark(Arc<Mark>, BarrierStep),
}

/// The next call of a bolt at a barrier. The emits of each call are separate, and a call that
/// succeeded isn't repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BarrierStep {
    End,
    Finish,
    Barrier,
    Done,
}

/// A watermark that a task hasn't passed on, because its bolt may still have work in progress. It
/// is sent after the next barrier.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeldWatermark {
    time: Option<EventTime>,
    is_idle: bool,
}

/// The state of a busy task that looks for more input before it sleeps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looks {
    /// The need for which the task is looking, if it is.
    need: Option<Need>,
    /// The remaining number of looks.
    left: u8,
    /// The number of tuples in the current turn.
    tuples: usize,
}

/// The task's request after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn.
    Turn,
    /// To be woken when the need is met.
    Sleep(Need),
    /// To be woken when input arrives, or after this time.
    SleepAtMost(Duration),
    /// Another turn after this time, and none before.
    Pause(Duration),
    /// Nothing: the task failed for good, and has reported the failure.
    End,
}

/// The result of one piece of work.
enum Step {
    Done,
    Again(WorkInProgress, Duration),
    Failed,
}

impl BoltTask {
    /// Works for one turn, or checks whether there is work.
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

    /// Asks for another turn to look for this need, or for sleep. A sender need not wake a task
    /// that looks.
    fn look_again(&mut self, need: Need) -> Next {
        if self.looks.left == 0 {
            return Next::Sleep(need);
        }
        self.looks.left -= 1;
        self.looks.need = Some(need);
        Next::Turn
    }

    /// Returns true if a task that is about to sleep for this need would find it met.
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

    fn receive(&mut self) -> Option<WorkInProgress> {
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
        Some(WorkInProgress { work, retries: 0 })
    }

    /// Handles an empty inbox: gathered tuples are sent, unless they may linger.
    fn rest(&mut self) -> Next {
        self.waker.answer();
        let idle = match &mut self.worker {
            Worker::Bolt(bolt) => {
                self.output.emitter.set_time(self.inbox.time());
                let idle = bolt.idle(&mut self.output);
                self.output.end_call(idle)
            }
            // Data that can't be written for now is written again before the next barrier.
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

    /// Sends gathered tuples when the linger time is over.
    pub(crate) fn flush(&mut self) {
        self.output.emitter.flush();
    }

    fn step(&mut self, mut current: WorkInProgress) -> Step {
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

    /// Executes the tuples of a batch, and remembers a tuple that makes the component panic.
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

    /// Executes the tuples of a batch, but sends those that are known to make the component panic
    /// to the dead letters.
    fn execute_but_poison(&mut self, input: usize, batch: &Batch, next: &mut usize) -> Result<()> {
        while *next < batch.tuples {
            let hash = stable_hash(self.values(input, batch, *next));
            if let Some(said) = self.poison.get(&hash) {
                let error = Error::rejected(format!(
                    "the component panicked on this tuple repeatedly: {said}"
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

    /// Returns the values of a tuple of a batch.
    fn values<'a>(&self, input: usize, batch: &'a Batch, at: usize) -> &'a [Value] {
        let arity = self.inputs[input].fields.len();
        &batch.values[at * arity..(at + 1) * arity]
    }

    /// Executes the tuples of a batch from `next` to `end`. After an error, `next` is the tuple
    /// that failed.
    fn execute_until(
        &mut self,
        end: usize,
        input: usize,
        batch: &Batch,
        next: &mut usize,
    ) -> Result<()> {
        let arity = self.inputs[input].fields.len();
        // One execution of each batch is timed, because reading the clock takes as long as a small
        // bolt.
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

    /// Handles a watermark: no older tuple will arrive. The bolt emits results that waited for this
    /// time, and the watermark is passed on.
    fn pass_watermark(&mut self, watermark: Watermark) -> Result<()> {
        let Worker::Bolt(bolt) = &mut self.worker else { return Ok(()) };
        if let Watermark::At(time) = watermark {
            self.output.emitter.set_time(time);
            let passed = bolt.watermark(time, &mut self.output);
            self.output.end_call(passed)?;
            self.settle_late();
        }
        match watermark {
            // The bolt isn't called, and may still have answers to earlier tuples in progress.
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

    /// Sends the watermark that was held back until a barrier.
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

    /// Handles a barrier after everything before it was received: reports the changes of state, and
    /// passes the barrier on.
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
                // At the barrier the bolt has finished the work for which a watermark was held
                // back.
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

    /// Commits these promises, whose checkpoint is complete.
    pub(crate) fn commit(&mut self, promises: Vec<Promise>) {
        let Worker::Sink(sink, threads) = &mut self.worker else { return };
        let mut deliver = sink.commit(promises);
        let (refused_rows, meter) = (self.refused_rows.clone(), Arc::clone(&self.meter));
        let counts = sink.counts();
        let job: Job<Vec<String>> = Box::new(move || {
            let delivered = deliver()?;
            // After the last barrier the task gets no more turns.
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

    /// Forgets these delivered segments, which no checkpoint refers to.
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

/// Makes one call of a bolt at a barrier, and returns the following step.
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

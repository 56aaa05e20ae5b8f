//! A process, or one start of all tasks in it: the state that a crash destroys.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::World;
use super::disk::Disk;
use super::event_time::{self, TaskTime};
use super::graph::Graph;
use super::oracle::Oracle;
use super::tasks::{Body, Channel, Commit, Counts, Sink, Spout, Surroundings, Task};
use crate::checkpoint::{Changes, StateStore};
use crate::coordinator::{Action, Event, Machine, Outbox, Outcome, Policy, TaskRole};
use crate::epoch::Cursor;
use crate::protocol::{Control, FromTask, Report};
use crate::topology::Checkpoint;

const AGE: Duration = Duration::from_secs(20);
pub(super) const PARTITION: Duration = Duration::from_secs(120);
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// A possible step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Work(usize),
    Mail(usize),
    Prepare(usize),
    Commit(usize),
    Report(usize),
    Save,
    Land,
    Timer,
}

pub(crate) struct Process {
    machine: Machine,
    oracle: Oracle,
    pub tasks: Vec<Task>,
    channels: Vec<Channel>,
    reports: Vec<FromTask>,
    /// The changes being saved, and the time at which they are durable.
    saving: Option<(Duration, Changes)>,
    timer: Duration,
    pub outcome: Option<Outcome>,
}

impl Process {
    /// Recovers the data on the disk, and starts all tasks.
    pub(crate) fn launch(world: &mut World) -> Self {
        world.runs += 1;
        let mut first = 0;
        let tasks_of: Vec<Vec<usize>> = world
            .hints
            .iter()
            .map(|tasks| {
                first += tasks;
                (first - tasks..first).collect()
            })
            .collect();
        // The process may crash during recovery, several times.
        while world.random.one_in(8) {
            let (_, places) = world.disk.recover(&world.graph, &tasks_of);
            if world.random.one_in(2) {
                world.disk.start(places);
            }
        }
        let (resumed, mut places) = world.disk.recover(&world.graph, &tasks_of);
        world.say(|| format!("run {} from {resumed:?} with {:?} tasks", world.runs, world.hints));
        let outboxes = outboxes(&world.graph, &tasks_of);
        // A run without checkpoints can't be resumed, so it must reach its end.
        let is_off = world.habits.checkpoint == Checkpoint::Off;
        let policy = Policy {
            flushes: true,
            checkpoint: world.habits.checkpoint,
            micro_batch_age: AGE,
            partition_every: PARTITION,
            drain_deadline: if is_off {
                Duration::from_secs(u64::from(u32::MAX))
            } else {
                DRAIN_DEADLINE
            },
            outboxes: outboxes.clone(),
        };
        let roles = tasks_of.iter().zip(&world.graph.0).flat_map(|(tasks, component)| {
            (0..tasks.len()).map(|index| (format!("{}[{index}]", component.name), component.role))
        });
        let machine = Machine::new(policy, roles.collect(), resumed.clone(), world.wall, world.now);
        let mut oracle =
            Oracle::new(&resumed, machine.partition().0, world.now, world.habits.every);
        oracle.outboxes = outboxes;
        let (mut tasks, mut channels) = tasks(world, &tasks_of, &machine);
        for task in &mut tasks {
            task.begin(&mut channels, world.now);
            if let Body::Sink(sink) = &task.body {
                let sink_id = world.graph.0[task.component].name.clone();
                places.entry(sink_id).or_default().insert(sink.place.clone());
            }
        }
        world.disk.start(places);
        let (reports, saving, outcome) = (vec![], None, None);
        let mut process =
            Self { machine, oracle, tasks, channels, reports, saving, timer: world.now, outcome };
        process.happens(world, Event::Tick { emitted: 0 });
        process
    }

    fn emitted(&self) -> u64 {
        let of = |task: &Task| if let Body::Spout(spout) = &task.body { spout.emitted } else { 0 };
        self.tasks.iter().map(of).sum()
    }

    /// Passes an event to the machine, and performs its actions.
    pub(crate) fn happens(&mut self, world: &mut World, event: Event) {
        if self.outcome.is_some() {
            return;
        }
        let mut due = false;
        match &event {
            Event::Tick { emitted } => due = self.oracle.is_due(*emitted, world.now),
            Event::Task(report) => self.oracle.task_reports(report),
            Event::Stop | Event::Rebalance => self.oracle.draining = true,
            Event::Saved { .. }
            | Event::Broken(_)
            | Event::SetInactive(_)
            | Event::DrainWithin(_) => {}
        }
        world.say(|| format!("{event:?}"));
        let actions = self.machine.handle(event, world.wall, world.now);
        assert!(!due || Oracle::has_begun(&actions), "a barrier is due and doesn't come");
        for action in actions {
            assert_eq!(self.outcome, None, "nothing follows the end");
            world.say(|| format!("          {action:?}"));
            self.act(world, action);
        }
        if self.outcome.is_none() {
            self.oracle.check_pauses();
        }
        self.timer = self.machine.next_tick(world.wall, world.now);
        assert!(self.timer > world.now, "the timer spins");
    }

    fn act(&mut self, world: &mut World, action: Action) {
        match action {
            Action::Inject(mark) => {
                let emitted = self.emitted();
                self.oracle.injects(&mark, emitted, world.now);
                self.tell_spouts(|_| Control::Inject(mark.clone()));
            }
            Action::Save(changes) => {
                self.oracle.saves(&changes);
                event_time::check_saved(&world.disk.store, &changes);
                assert!(self.saving.is_none(), "two saves at once");
                self.saving = Some((world.now + world.random.millis(world.habits.answer), changes));
            }
            Action::Commit { task, promises } => {
                self.oracle.commits(task, &promises);
                self.tasks[task].mailbox.push_back(Control::Commit(promises));
            }
            Action::Forget { task, segments } => {
                self.tasks[task].mailbox.push_back(Control::Forget(segments));
            }
            Action::Complete(epoch) => {
                self.oracle.saved();
                trim(&mut world.disk, epoch);
            }
            Action::StopSources => self.tell_spouts(|_| Control::StopSource),
            Action::Pause(paused) => {
                self.oracle.pauses(&paused);
                self.tell_spouts(|task| Control::Pause(paused.contains(&task)));
            }
            Action::End(outcome) => self.outcome = Some(outcome),
        }
    }

    fn tell_spouts(&mut self, control: impl Fn(usize) -> Control) {
        let spouts =
            self.tasks.iter_mut().enumerate().filter(|(_, task)| task.role() == TaskRole::Spout);
        spouts.for_each(|(number, task)| task.mailbox.push_back(control(number)));
    }

    pub(crate) fn loses(&mut self, task: usize, report: Report) {
        self.tasks[task].gone = true;
        self.reports.push(FromTask { task, report });
    }

    pub(crate) fn save_later(&mut self, time: Duration) {
        if let Some((ready_at, _)) = &mut self.saving {
            *ready_at += time;
        }
    }

    /// Returns all steps that are possible now, and the time of the next one if none is.
    fn steps(&self, world: &World) -> (Vec<Step>, Duration) {
        let (mut steps, mut next) = (Vec::new(), self.timer);
        let mut at = |ready_at: Duration, step: Step| {
            if ready_at <= world.now { steps.push(step) } else { next = next.min(ready_at) }
        };
        for (number, task) in self.tasks.iter().enumerate().filter(|(_, task)| !task.gone) {
            if task.can_work(&self.channels, task.hung_until.max(world.now).max(ready(task))) {
                at(task.hung_until.max(ready(task)), Step::Work(number));
            }
            if !task.mailbox.is_empty() {
                at(task.hung_until, Step::Mail(number));
            }
            if let Body::Sink(sink) = &task.body {
                sink.preparing
                    .iter()
                    .for_each(|(ready_at, ..)| at(*ready_at, Step::Prepare(number)));
                let dead_until = world.dead_until[task.component];
                if let Some(commit) = &sink.committing {
                    at(dead_until.max(commit.ready_at), Step::Commit(number));
                }
            }
        }
        (0..self.reports.len()).for_each(|report| at(Duration::ZERO, Step::Report(report)));
        self.saving.iter().for_each(|(ready_at, _)| at(*ready_at, Step::Save));
        if !world.disk.zombies.is_empty() {
            at(Duration::ZERO, Step::Land);
        }
        at(self.timer, Step::Timer);
        (steps, next)
    }

    /// Performs one of the possible steps.
    pub(crate) fn next(&mut self, world: &mut World) -> Step {
        let (mut steps, next) = self.steps(world);
        if steps.is_empty() {
            world.pass(next.saturating_sub(world.now));
            steps = self.steps(world).0;
        }
        let step = steps[world.random.below(steps.len())];
        match step {
            Step::Work(task) => self.with(world, task, |task, around| task.work(around)),
            Step::Mail(task) => self.with(world, task, |task, around| {
                let control = task.mailbox.pop_front()?;
                task.told(control, around)
            }),
            Step::Prepare(task) => self.with(world, task, prepare),
            Step::Commit(task) => self.with(world, task, commit),
            Step::Report(report) => self.deliver(world, report),
            Step::Save => self.save(world),
            Step::Land => world.disk.land(),
            Step::Timer => {
                let emitted = self.emitted();
                self.happens(world, Event::Tick { emitted });
            }
        }
        step
    }

    fn with(
        &mut self,
        world: &mut World,
        task: usize,
        work: impl FnOnce(&mut Task, &mut Surroundings<'_>) -> Option<Report>,
    ) {
        let (choice, takes) = (world.random.below(60), world.random.millis(world.habits.answer));
        let (wall, now, disk) = (world.wall, world.now, &mut world.disk);
        let mut around =
            Surroundings { channels: &mut self.channels, disk, wall, now, choice, takes };
        if let Some(report) = work(&mut self.tasks[task], &mut around) {
            if let Report::State { epoch, watermark, .. } = &report {
                event_time::check_barrier(&world.graph, &self.tasks, task, (*epoch, *watermark));
            }
            self.reports.push(FromTask { task, report });
        }
    }

    /// Delivers a report. The reports of a task arrive in order, except those of its thread that
    /// commits.
    fn deliver(&mut self, world: &mut World, report: usize) {
        let key =
            |report: &FromTask| (report.task, matches!(report.report, Report::Committed { .. }));
        let chosen = key(&self.reports[report]);
        let first = self.reports.iter().position(|report| key(report) == chosen).unwrap_or(report);
        let report = self.reports.remove(first);
        self.happens(world, Event::Task(report));
    }

    fn save(&mut self, world: &mut World) {
        if let Some((_, changes)) = self.saving.take() {
            world.disk.store.save(&changes).expect("a store in memory can be written");
            self.happens(world, Event::Saved { epoch: changes.epoch });
        }
    }

    /// Ends the process at once: data in transit may have arrived or not.
    pub(crate) fn crash(&mut self, world: &mut World) {
        if world.random.one_in(2) {
            self.leave(world);
        }
        for task in &mut self.tasks {
            if let Body::Sink(Sink { committing: Some(commit), .. }) = &mut task.body
                && let Some(next) = commit.left.pop_front()
                && let Some(staged) = world.disk.staged.get(&next.segment)
            {
                world.disk.zombies.push((task.component, next.segment, staged.items.clone()));
            }
        }
        if world.random.one_in(2) {
            world.disk.lose_power(&mut world.random);
        }
    }

    /// Ends all tasks after they have finished the work that they began.
    pub(crate) fn leave(&mut self, world: &mut World) {
        if let Some((_, changes)) = self.saving.take() {
            world.disk.store.save(&changes).expect("a store in memory can be written");
        }
        for task in &mut self.tasks {
            if let Body::Sink(Sink { committing: Some(commit), .. }) = &mut task.body {
                let done = world.random.below(commit.left.len() + 1);
                commit
                    .left
                    .drain(..done)
                    .for_each(|promise| world.disk.publish(task.component, &promise));
            }
        }
    }
}

/// Returns the time at which a spout has something to read.
fn ready(task: &Task) -> Duration {
    if let Body::Spout(spout) = &task.body { spout.ready_at } else { Duration::ZERO }
}

fn prepare(task: &mut Task, around: &mut Surroundings<'_>) -> Option<Report> {
    let Body::Sink(sink) = &mut task.body else { return None };
    let (_, epoch, prepared) = sink.preparing.take()?;
    around.disk.sync(&prepared.promises);
    Some(Report::Prepared { epoch, prepared })
}

/// Makes one more segment visible, occasionally twice. Reports after the last segment, and
/// sometimes before.
fn commit(task: &mut Task, around: &mut Surroundings<'_>) -> Option<Report> {
    let Body::Sink(sink) = &mut task.body else { return None };
    let Commit { mut left, mut delivered, .. } = sink.committing.take()?;
    let gathers = around.choice >= 55;
    let Some(next) = left.front().filter(|_| !gathers) else {
        return Some(Report::Committed { segments: delivered });
    };
    around.disk.publish(task.component, next);
    sink.committed(&next.segment);
    if around.choice > 5
        && let Some(done) = left.pop_front()
    {
        delivered.push(done.segment);
    }
    sink.committing = Some(Commit { ready_at: around.now + around.takes, left, delivered });
    None
}

/// Trims the sources to the cursors of a complete epoch.
fn trim(disk: &mut Disk, epoch: u64) {
    let saved = disk.store.saved().expect("a store in memory can be read");
    if saved.epoch == 0 {
        return;
    }
    assert_eq!(saved.epoch, epoch, "an epoch is complete once it is saved");
    for (split, cursor) in saved.cursors {
        if let Cursor::At(at) = cursor {
            disk.trimmed.insert(split, at.parse().expect("a cursor is a number"));
        }
    }
}

fn outboxes(graph: &Graph, tasks_of: &[Vec<usize>]) -> BTreeMap<usize, Outbox> {
    let mut outboxes = BTreeMap::new();
    for (sink, component) in graph.of_role(TaskRole::Sink) {
        let ways = graph.ways_to(sink);
        let upstream: BTreeSet<_> =
            ways.iter().flat_map(|(spout, _)| tasks_of[*spout].iter().copied()).collect();
        for (bytes_max, task) in component
            .outbox
            .into_iter()
            .flat_map(|max| tasks_of[sink].iter().map(move |t| (max, *t)))
        {
            let upstream = upstream.clone();
            outboxes.insert(task, Outbox { bytes_max, upstream, waits_for_readers: false });
        }
    }
    outboxes
}

/// Returns all tasks, and the channels between them.
fn tasks(world: &World, tasks_of: &[Vec<usize>], machine: &Machine) -> (Vec<Task>, Vec<Channel>) {
    let mut tasks: Vec<Task> = Vec::new();
    let mut channels = Vec::new();
    let watermarks = world.disk.store.saved().expect("a store in memory can be read").watermarks;
    for (component, spec) in world.graph.0.iter().enumerate() {
        let count = tasks_of[component].len();
        for index in 0..count {
            let place = format!("r{}-{component}-{index}", world.runs);
            let body = match spec.role {
                TaskRole::Spout => {
                    Body::Spout(Spout::resume(spec, (index, count), &world.disk, world.now))
                }
                TaskRole::Bolt => Body::Bolt(Counts::restore(spec, index, count, &world.disk)),
                TaskRole::Sink => {
                    Body::Sink(Sink::new(place, machine.partition().0, spec.posts_max, AGE))
                }
            };
            let name = format!("{}[{index}]", spec.name);
            let (inputs, outputs, mailbox) = (vec![], vec![], VecDeque::new());
            tasks.push(Task {
                component,
                name,
                inputs,
                outputs,
                mailbox,
                hung_until: Duration::ZERO,
                gone: false,
                time: TaskTime::resume(
                    &world.graph,
                    component,
                    watermarks.get(&spec.name).copied(),
                ),
                body,
            });
        }
        for from in spec.inputs.iter().flat_map(|input| &tasks_of[*input]) {
            let mut edge = Vec::new();
            for to in &tasks_of[component] {
                tasks[*to].inputs.push(channels.len());
                tasks[*to].time.add_channel();
                edge.push(channels.len());
                channels.push(Channel::default());
            }
            tasks[*from].outputs.push((spec.shuffled, edge));
        }
    }
    (tasks, channels)
}

//! Tests of the machine, without actors, clocks or disks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

use super::boundary::says_ahead;
use super::event::{Action, Event, Outcome};
use super::machine::{Machine, Outbox, Policy, Resumed, TaskRole};
use crate::epoch::{Mark, Prepared, Promise};
use crate::event_time::EventTime;
use crate::metrics::Phase;
use crate::protocol::{FromTask, Report};
use crate::topology::Checkpoint;

const START: OffsetDateTime = datetime!(2015-12-18 00:10:00 UTC);
const EVERY: u64 = 10;
const AGE: u64 = 60;
const HOUR: u64 = 3600;
const DEADLINE: u64 = 30;

/// The number of each task in most tests.
const SPOUT: usize = 0;
const BOLT: usize = 1;
const LAKE: usize = 2;
const SLOW: usize = 3;

/// A machine and its clocks.
struct Rig {
    machine: Machine,
    wall: OffsetDateTime,
    now: Duration,
    emitted: u64,
}

impl Rig {
    fn new() -> Self {
        Self::with(Checkpoint::Every(Duration::from_secs(EVERY)))
    }

    fn with(checkpoint: Checkpoint) -> Self {
        Self::with_outboxes(checkpoint, BTreeMap::new())
    }

    fn with_outboxes(checkpoint: Checkpoint, outboxes: BTreeMap<usize, Outbox>) -> Self {
        let roles = [TaskRole::Spout, TaskRole::Bolt, TaskRole::Sink, TaskRole::Sink];
        let names = ["lines[0]", "words[0]", "lake[0]", "slow[0]"].map(String::from);
        let policy = Policy {
            checkpoint,
            micro_batch_age: Duration::from_secs(AGE),
            partition_every: Duration::from_secs(HOUR),
            drain_deadline: Duration::from_secs(DEADLINE),
            flushes: true,
            outboxes,
        };
        let tasks = names.into_iter().zip(roles).collect();
        Self {
            machine: Machine::new(policy, tasks, Resumed::default(), START, Duration::ZERO),
            wall: START,
            now: Duration::ZERO,
            emitted: 0,
        }
    }

    /// Handles an event. Returns the actions, except the news of complete epochs.
    fn happens(&mut self, event: Event) -> Vec<Action> {
        let mut actions = self.machine.handle(event, self.wall, self.now);
        actions.retain(|action| !matches!(action, Action::Complete(_)));
        actions
    }

    fn tick_after(&mut self, seconds: u64) -> Vec<Action> {
        self.wall += Duration::from_secs(seconds);
        self.now += Duration::from_secs(seconds);
        let emitted = self.emitted;
        self.happens(Event::Tick { emitted })
    }

    fn reports(&mut self, task: usize, report: Report) -> Vec<Action> {
        self.happens(Event::Task(FromTask { task, report }))
    }

    /// Emits posts, and returns the next barrier.
    fn next_barrier(&mut self) -> Arc<Mark> {
        self.emitted += 1;
        let actions = self.tick_after(EVERY);
        injected(&actions)
    }

    fn prepares(
        &mut self,
        task: usize,
        epoch: u64,
        promises: &[Promise],
        open: Option<OffsetDateTime>,
    ) -> Vec<Action> {
        let prepared = Prepared { promises: promises.to_vec(), open_since: open };
        self.reports(task, Report::Prepared { epoch, prepared })
    }

    /// Reports that all tasks passed a barrier. Returns the actions after the last report.
    fn all_report(&mut self, epoch: u64, lake: &[Promise], slow: &[Promise]) -> Vec<Action> {
        assert_eq!(
            self.reports(SPOUT, Report::Cursors { epoch, cursors: vec![], times: vec![] }),
            []
        );
        assert_eq!(
            self.reports(
                BOLT,
                Report::State { epoch, changes: vec![], watermark: EventTime::UNKNOWN }
            ),
            []
        );
        assert_eq!(self.prepares(LAKE, epoch, lake, None), []);
        self.prepares(SLOW, epoch, slow, None)
    }

    /// Reports and saves an epoch. Returns the actions that follow.
    fn completes(&mut self, epoch: u64, lake: &[Promise], slow: &[Promise]) -> Vec<Action> {
        let actions = self.all_report(epoch, lake, slow);
        assert!(
            matches!(&actions[..], [Action::Save(changes)] if changes.epoch == epoch),
            "{actions:?}"
        );
        self.happens(Event::Saved { epoch })
    }
}

fn injected(actions: &[Action]) -> Arc<Mark> {
    match actions {
        [Action::Inject(mark)] => Arc::clone(mark),
        other => panic!("not one barrier: {other:?}"),
    }
}

fn promise(segment: &str, closed: bool) -> Promise {
    Promise {
        place: String::new(),
        segment: segment.into(),
        length: 2,
        posts: 1,
        checksum: 7,
        closed,
    }
}

fn closed(segment: &str) -> Promise {
    promise(segment, true)
}

/// Returns the report of a commit that has delivered these segments.
fn delivered(segments: &[&str]) -> Report {
    Report::Committed { segments: segments.iter().map(|segment| (*segment).to_owned()).collect() }
}

fn forget(task: usize, segments: &[&str]) -> Action {
    Action::Forget {
        task,
        segments: segments.iter().map(|segment| (*segment).to_owned()).collect(),
    }
}

fn commit(task: usize, promises: &[Promise]) -> Action {
    Action::Commit { task, promises: promises.to_vec() }
}

#[test]
fn an_epoch_goes_from_a_barrier_over_all_reports_and_a_save_to_the_commit_of_what_is_closed() {
    let mut rig = Rig::new();
    assert_eq!(rig.next_barrier().barrier.epoch, 1);
    let promises = [closed("a/0"), promise("a/1", false)];
    let actions = rig.all_report(1, &promises, &[]);
    let [Action::Save(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(changes.epoch, 1);
    assert_eq!(changes.promises["lake"], promises, "open segments are promised too");
    assert_eq!(rig.machine.complete(), None, "nothing is complete before it is saved");
    assert_eq!(rig.happens(Event::Saved { epoch: 1 }), [commit(LAKE, &[closed("a/0")])]);
    assert_eq!(rig.machine.complete(), Some((1, Duration::from_secs(EVERY))));
}

#[test]
fn no_epoch_begins_before_the_one_in_progress_is_complete() {
    let mut rig = Rig::new();
    rig.next_barrier();
    rig.emitted += 1;
    assert_eq!(rig.tick_after(5 * EVERY), []);
    rig.all_report(1, &[], &[]);
    assert_eq!(rig.tick_after(2 * HOUR), [], "not while it is being saved either");
    assert_eq!(injected(&rig.happens(Event::Saved { epoch: 1 })).barrier.epoch, 2);
}

#[test]
fn nothing_is_due_while_nothing_moved_except_a_rollover() {
    let mut rig = Rig::new();
    assert_eq!(rig.tick_after(EVERY), []);
    assert_eq!(rig.tick_after(49 * 60), []);
    let mark = injected(&rig.tick_after(60));
    assert_eq!(mark.barrier.boundary, datetime!(2015-12-18 01:00 UTC));
    rig.completes(1, &[], &[]);
    assert_eq!(rig.tick_after(HOUR / 2), []);
}

#[test]
fn the_age_of_an_open_segment_makes_a_barrier_due_while_nothing_moves() {
    let mut rig = Rig::new();
    rig.next_barrier();
    let since = rig.wall;
    rig.reports(SPOUT, Report::Cursors { epoch: 1, cursors: vec![], times: vec![] });
    rig.reports(BOLT, Report::State { epoch: 1, changes: vec![], watermark: EventTime::UNKNOWN });
    rig.prepares(SLOW, 1, &[], None);
    rig.prepares(LAKE, 1, &[promise("a/0", false)], Some(since));
    assert_eq!(rig.happens(Event::Saved { epoch: 1 }), []);
    assert_eq!(rig.tick_after(AGE - 1), []);
    assert_eq!(rig.machine.next_tick(rig.wall, rig.now), rig.now + Duration::from_secs(1));
    assert_eq!(injected(&rig.tick_after(1)).barrier.now, since + Duration::from_secs(AGE));
    assert_eq!(rig.completes(2, &[closed("a/0")], &[]), [commit(LAKE, &[closed("a/0")])]);
}

#[test]
fn a_rollover_that_waits_for_the_epoch_in_progress_does_not_make_the_timer_spin() {
    let mut rig = Rig::new();
    rig.next_barrier();
    assert_eq!(rig.tick_after(HOUR), []);
    assert_eq!(rig.machine.next_tick(rig.wall, rig.now), rig.now + Duration::from_secs(EVERY));
}

#[test]
fn a_wall_clock_that_steps_back_by_a_period_makes_no_older_boundary() {
    let mut rig = Rig::new();
    let boundary = injected(&rig.tick_after(HOUR)).barrier.boundary;
    assert_eq!(boundary, datetime!(2015-12-18 01:00 UTC));
    rig.completes(1, &[], &[]);
    rig.wall -= Duration::from_secs(HOUR);
    assert_eq!(rig.tick_after(EVERY), [], "a clock that steps back is no rollover");
    assert_eq!(rig.next_barrier().barrier.boundary, boundary);
    assert_eq!(rig.machine.partition().0, boundary);
}

#[test]
fn a_wall_clock_that_was_years_ahead_pins_no_boundary() {
    let year = Duration::from_secs(365 * 24 * HOUR);
    let mut rig = Rig::new();
    rig.wall += year;
    let future = injected(&rig.tick_after(HOUR)).barrier.boundary;
    rig.completes(1, &[], &[]);
    rig.wall -= year;
    let now = injected(&rig.tick_after(EVERY)).barrier.boundary;
    assert_eq!((future - now).unsigned_abs(), year, "it is a rollover");
    assert_eq!(rig.machine.partition().0, now);
    assert!(says_ahead(future, rig.wall, Duration::from_secs(HOUR)).is_some());
    assert_eq!(says_ahead(now, rig.wall, Duration::from_secs(HOUR)), None);
}

#[test]
fn a_slow_commit_delays_no_later_epoch_and_its_promises_are_carried_until_it_is_done() {
    let mut rig = Rig::new();
    rig.next_barrier();
    let first = rig.completes(1, &[closed("a/0")], &[closed("s/0")]);
    assert_eq!(first, [commit(LAKE, &[closed("a/0")]), commit(SLOW, &[closed("s/0")])]);
    assert_eq!(rig.reports(LAKE, delivered(&["a/0"])), []);
    rig.next_barrier();
    let both = [closed("s/0"), closed("s/1")];
    let actions = rig.all_report(2, &[closed("a/1")], &both);
    let [Action::Save(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(changes.promises["slow"], both);
    assert_eq!(changes.promises["lake"], [closed("a/1")]);
    let after = [forget(LAKE, &["a/0"]), commit(LAKE, &[closed("a/1")])];
    assert_eq!(rig.happens(Event::Saved { epoch: 2 }), after);
    assert_eq!(rig.reports(LAKE, delivered(&["a/1"])), []);
    // A promise that the sink doesn't repeat is still carried, because it isn't committed yet.
    rig.next_barrier();
    let actions = rig.all_report(3, &[], &[]);
    let [Action::Save(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(changes.promises["slow"], both);
    assert_eq!(changes.promises["lake"], [], "what is committed is not carried");
    let after = [forget(LAKE, &["a/1"])];
    assert_eq!(rig.happens(Event::Saved { epoch: 3 }), after, "one commit at a time for each sink");
    let next = [commit(SLOW, &[closed("s/1")])];
    assert_eq!(rig.reports(SLOW, delivered(&["s/0"])), next, "the next follows at once");
}

#[test]
fn what_a_commit_leaves_stays_promised_and_is_offered_again_with_what_came_since() {
    let mut rig = Rig::new();
    rig.next_barrier();
    let offered = [closed("s/0"), closed("s/1")];
    assert_eq!(rig.completes(1, &[], &offered), [commit(SLOW, &offered)]);
    assert_eq!(
        rig.reports(SLOW, delivered(&["s/0"])),
        [],
        "a sink that gathers isn't asked without a pause"
    );
    assert_eq!(rig.tick_after(1), [commit(SLOW, &[closed("s/1")])]);
    rig.next_barrier();
    let actions = rig.all_report(2, &[], &[closed("s/2")]);
    let [Action::Save(changes)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(changes.promises["slow"], [closed("s/1"), closed("s/2")]);
    assert_eq!(
        rig.happens(Event::Saved { epoch: 2 }),
        [forget(SLOW, &["s/0"])],
        "one commit at a time"
    );
    assert_eq!(rig.reports(SLOW, delivered(&[])), []);
    assert_eq!(rig.tick_after(1), [commit(SLOW, &[closed("s/1"), closed("s/2")])]);
}

#[test]
fn no_end_comes_before_everything_is_delivered() {
    let mut rig = Rig::new();
    rig.reports(SPOUT, Report::SourceEnded);
    let commits = [commit(LAKE, &[]), commit(SLOW, &[closed("s/0")])];
    assert_eq!(rig.completes(1, &[], &[closed("s/0")]), commits);
    assert_eq!(rig.reports(LAKE, delivered(&[])), []);
    assert_eq!(rig.reports(SLOW, delivered(&[])), []);
    assert_eq!(rig.tick_after(1), [commit(SLOW, &[closed("s/0")])]);
    assert_eq!(
        rig.reports(SLOW, delivered(&["s/0"])),
        [Action::End(Outcome::Finished { all: true })]
    );
}

#[test]
fn a_segment_that_a_prepare_promised_beside_its_commit_is_not_forgotten_while_it_is_offered_again()
{
    let mut rig = Rig::new();
    rig.next_barrier();
    assert_eq!(rig.completes(1, &[], &[closed("s/0")]), [commit(SLOW, &[closed("s/0")])]);
    rig.next_barrier();
    assert_eq!(rig.reports(SLOW, delivered(&["s/0"])), []);
    // The promise was prepared before the commit was done, and is reported after it.
    let actions = rig.all_report(2, &[], &[closed("s/0")]);
    let promised = [closed("s/0")];
    assert!(
        matches!(&actions[..], [Action::Save(changes)] if changes.promises["slow"] == promised)
    );
    assert_eq!(rig.happens(Event::Saved { epoch: 2 }), [commit(SLOW, &[closed("s/0")])]);
    assert_eq!(rig.reports(SLOW, delivered(&["s/0"])), []);
    rig.next_barrier();
    assert_eq!(rig.completes(3, &[], &[]), [forget(SLOW, &["s/0"])]);
}

#[test]
fn when_all_sources_have_ended_the_last_barrier_finishes_and_commits_are_awaited() {
    let mut rig = Rig::new();
    let mark = injected(&rig.reports(SPOUT, Report::SourceEnded));
    assert!(mark.barrier.last && mark.finish);
    assert_eq!(rig.machine.phase(), Phase::Draining);
    let commits = [commit(LAKE, &[closed("a/0")]), commit(SLOW, &[])];
    assert_eq!(rig.completes(1, &[closed("a/0")], &[]), commits, "each sink gets a last commit");
    assert_eq!(rig.machine.phase(), Phase::Committing);
    assert_eq!(rig.reports(SLOW, delivered(&[])), []);
    assert_eq!(
        rig.reports(LAKE, delivered(&["a/0"])),
        [Action::End(Outcome::Finished { all: true })]
    );
    assert_eq!(rig.tick_after(HOUR), [], "nothing follows the end");
}

#[test]
fn a_stop_stops_the_sources_and_its_last_barrier_does_not_finish() {
    let mut rig = Rig::new();
    assert_eq!(rig.happens(Event::Stop), [Action::StopSources]);
    assert_eq!(rig.happens(Event::Stop), [], "a second stop changes nothing");
    let mark = injected(&rig.reports(SPOUT, Report::SourceStopped));
    assert!(mark.barrier.last && !mark.finish);
    rig.completes(1, &[], &[]);
    rig.reports(LAKE, delivered(&[]));
    assert_eq!(rig.reports(SLOW, delivered(&[])), [Action::End(Outcome::Finished { all: false })]);
}

#[test]
fn all_spouts_of_an_inactive_topology_pause_until_it_is_active_again() {
    let mut rig = Rig::new();
    assert_eq!(rig.happens(Event::SetInactive(true)), [Action::Pause([SPOUT].into())]);
    assert_eq!(rig.happens(Event::SetInactive(true)), [], "it is so already");
    assert_eq!(rig.happens(Event::SetInactive(false)), [Action::Pause([].into())]);
}

#[test]
fn a_drain_takes_the_time_that_it_is_told() {
    let mut rig = Rig::new();
    assert_eq!(rig.happens(Event::DrainWithin(Duration::from_secs(2 * DEADLINE))), []);
    rig.happens(Event::Stop);
    assert_eq!(rig.tick_after(2 * DEADLINE - 1), []);
    assert!(matches!(&rig.tick_after(1)[..], [Action::End(Outcome::NotClean(_))]));
}

/// Returns the message of a run whose drain deadline passes.
fn late(rig: &mut Rig) -> String {
    assert_eq!(rig.tick_after(DEADLINE - 1), []);
    match &rig.tick_after(1)[..] {
        [Action::End(Outcome::NotClean(waiting))] => waiting.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_that_takes_too_long_names_who_is_missing() {
    let mut rig = Rig::new();
    rig.happens(Event::Stop);
    assert_eq!(late(&mut rig), "lines[0] did not stop within the drain deadline");

    let mut rig = Rig::new();
    rig.happens(Event::Stop);
    rig.reports(SPOUT, Report::SourceStopped);
    rig.reports(SPOUT, Report::Cursors { epoch: 1, cursors: vec![], times: vec![] });
    rig.prepares(LAKE, 1, &[], None);
    let expected =
        "words[0], slow[0] did not pass the barrier of epoch 1 within the drain deadline";
    assert_eq!(late(&mut rig), expected);
}

#[test]
fn commits_that_are_not_done_in_time_are_named() {
    let mut rig = Rig::new();
    rig.reports(SPOUT, Report::SourceEnded);
    rig.completes(1, &[closed("a/0")], &[closed("s/0")]);
    rig.reports(LAKE, delivered(&["a/0"]));
    assert_eq!(late(&mut rig), "commits of slow[0] were not done within the drain deadline");
}

#[test]
fn the_end_of_all_sources_awaits_deliveries_for_as_long_as_they_go_on() {
    let mut rig = Rig::new();
    rig.reports(SPOUT, Report::SourceEnded);
    rig.completes(1, &[closed("a/0")], &[closed("s/0"), closed("s/1")]);
    rig.reports(LAKE, delivered(&["a/0"]));
    assert_eq!(rig.tick_after(DEADLINE - 1), []);
    rig.reports(SLOW, delivered(&["s/0"]));
    assert_eq!(rig.tick_after(1), [commit(SLOW, &[closed("s/1")])]);
    assert_eq!(rig.tick_after(DEADLINE - 2), []);
    let late = "commits of slow[0] were not done within the drain deadline";
    assert_eq!(rig.tick_after(1), [Action::End(Outcome::NotClean(late.into()))]);

    // After a stop the deadline isn't extended.
    let mut rig = Rig::new();
    rig.happens(Event::Stop);
    rig.reports(SPOUT, Report::SourceStopped);
    rig.completes(1, &[], &[closed("s/0"), closed("s/1")]);
    rig.reports(LAKE, delivered(&[]));
    rig.tick_after(DEADLINE - 1);
    rig.reports(SLOW, delivered(&["s/0"]));
    let ended = &rig.tick_after(1)[..];
    assert!(matches!(ended, [.., Action::End(Outcome::NotClean(_))]), "{ended:?}");
}

#[test]
fn the_end_of_all_sources_awaits_readers_without_a_deadline_until_a_stop() {
    let outbox = Outbox { bytes_max: 1 << 20, upstream: [SPOUT].into(), waits_for_readers: true };
    let every = Checkpoint::Every(Duration::from_secs(EVERY));
    let mut rig = Rig::with_outboxes(every, [(SLOW, outbox)].into());
    rig.reports(SPOUT, Report::SourceEnded);
    rig.completes(1, &[closed("a/0")], &[closed("s/0")]);
    rig.reports(LAKE, delivered(&["a/0"]));
    for _ in 0..3 {
        assert_eq!(rig.tick_after(DEADLINE), []);
    }
    assert_eq!(rig.happens(Event::Stop), []);
    assert_eq!(late(&mut rig), "commits of slow[0] were not done within the drain deadline");
}

#[test]
fn a_failure_and_a_panic_end_the_topology_and_name_the_task() {
    let failed = |cause: &str| [Action::End(Outcome::Failed(cause.into()))];
    assert_eq!(
        Rig::new().reports(LAKE, Report::Failed("disk full".into())),
        failed("lake[0] failed: disk full")
    );
    assert_eq!(
        Rig::new().reports(BOLT, Report::Panicked { message: "oh".into(), tuple: Some(7) }),
        [Action::End(Outcome::RollBack {
            task: BOLT,
            cause: "words[0] panicked: oh".into(),
            tuple: Some(7)
        })]
    );
    assert_eq!(Rig::new().happens(Event::Broken("no store".into())), failed("no store"));
}

#[test]
fn without_checkpoints_nothing_is_saved_and_what_is_closed_is_committed_all_the_same() {
    let mut rig = Rig::with(Checkpoint::Off);
    assert!(!rig.next_barrier().barrier.durable);
    assert_eq!(rig.all_report(1, &[closed("a/0")], &[]), [commit(LAKE, &[closed("a/0")])]);
    rig.reports(LAKE, delivered(&["a/0"]));
    assert!(injected(&rig.reports(SPOUT, Report::SourceEnded)).barrier.last);
    let last = [forget(LAKE, &["a/0"]), commit(LAKE, &[]), commit(SLOW, &[])];
    assert_eq!(rig.all_report(2, &[], &[]), last);
}

#[test]
fn at_rest_nothing_is_awaited_but_tuples_of_spouts() {
    let mut rig = Rig::with(Checkpoint::Every(Duration::from_secs(1)));
    assert_eq!(rig.tick_after(3), []);
    let until = |rig: &Rig, emitted| rig.machine.rests_until(emitted, rig.wall, rig.now);
    assert_eq!(until(&rig, 0), Some(rig.now + Duration::from_secs(5)));
    assert_eq!(until(&rig, 1), None, "a spout has emitted");
    assert_eq!(rig.machine.next_tick(rig.wall, rig.now), rig.now + Duration::from_secs(1));
    rig.emitted = 1;
    let epoch = injected(&rig.tick_after(1)).barrier.epoch;
    assert_eq!(until(&rig, 1), None, "an epoch is in progress");
    rig.completes(epoch, &[], &[]);
    assert_eq!(rig.tick_after(2), []);
    assert_eq!(until(&rig, 1), Some(rig.now + Duration::from_secs(5)));
}

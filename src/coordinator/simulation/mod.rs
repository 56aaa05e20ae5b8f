//! Simulates everything around the machine in virtual time, driven by a seed: tasks, channels, a
//! store, staged and visible segments, and their faults.
//!
//! `WATERSPOUT_SEED=n cargo test --lib coordinator::simulation` replays a seed, and prints each
//! step.

mod disk;
mod event_time;
mod graph;
mod oracle;
mod process;
mod tasks;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::datetime;

use self::disk::Disk;
use self::graph::{Graph, Item};
use self::process::{Process, Step};
use super::{Event, Outcome, TaskRole};
use crate::checkpoint::StateStore;
use crate::protocol::Report;
use crate::topology::Checkpoint;

/// The number of seeds of an ordinary test.
const SEEDS: u64 = 3_000;
/// The number of steps after which no more faults are injected.
const FAULTY_STEPS_MAX: u32 = 3_000;
/// The number of steps after which a run counts as stuck.
const STEPS_MAX: u32 = 100_000;
/// The number of successive timers without any other step, after which a run counts as stuck.
const IDLE_TIMERS_MAX: u32 = 3_000;

/// A random number generator with a seed (SplitMix64).
pub(crate) struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn millis(&mut self, below: usize) -> Duration {
        Duration::from_millis(self.below(below) as u64)
    }
}

/// The speed and the fault rate of a run.
struct Habits {
    checkpoint: Checkpoint,
    every: Duration,
    /// The bound on the duration of a step, in milliseconds.
    step: usize,
    /// The bound on the time in which a source yields an item, or a disk or an outside system
    /// answers, in milliseconds.
    answer: usize,
    /// The number of steps for each fault, on average.
    faults: usize,
}

impl Habits {
    fn draw(random: &mut Seeded) -> Self {
        let every = Duration::from_secs([1, 5, 10][random.below(3)]);
        let off = random.one_in(10);
        Self {
            checkpoint: if off { Checkpoint::Off } else { Checkpoint::Every(every) },
            every: if off { Duration::from_secs(1) } else { every },
            step: [20, 100, 400][random.below(3)],
            answer: [1, 500, 3_000][random.below(3)],
            faults: [50, 150, 500][random.below(3)],
        }
    }
}

/// The environment in which processes start and end.
struct World {
    random: Seeded,
    habits: Habits,
    graph: Graph,
    /// The number of tasks of each component.
    hints: Vec<usize>,
    disk: Disk,
    wall: OffsetDateTime,
    now: Duration,
    /// The time until which each component's outside system doesn't answer.
    dead_until: Vec<Duration>,
    /// The numbers of tasks of a requested rebalance.
    asked: Option<Vec<usize>>,
    runs: u32,
    faults_left: usize,
    trace: bool,
}

impl World {
    fn new(seed: u64, trace: bool) -> Self {
        let mut random = Seeded(seed);
        let (habits, graph) = (Habits::draw(&mut random), Graph::draw(&mut random));
        let components = graph.0.len();
        let mut world = Self {
            faults_left: random.below(16),
            random,
            habits,
            graph,
            hints: vec![],
            disk: Disk::default(),
            wall: datetime!(2015-12-18 00:10:00 UTC),
            now: Duration::ZERO,
            dead_until: vec![Duration::ZERO; components],
            asked: None,
            runs: 0,
            trace,
        };
        world.hints = world.draw_hints();
        world
    }

    fn draw_hints(&mut self) -> Vec<usize> {
        (0..self.graph.0.len()).map(|_| 1 + self.random.below(3)).collect()
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>9.3} {} {}", self.now.as_secs_f64(), self.wall.time(), what());
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
    }

    /// Runs until all sources have ended and everything is delivered.
    fn run(&mut self) {
        let mut process = Process::launch(self);
        let mut idle = 0;
        for step in 0..STEPS_MAX {
            if let Some(outcome) = process.outcome.take() {
                self.say(|| format!("{outcome:?}"));
                match self.ended(&mut process, outcome) {
                    Some(next) => process = next,
                    None => return self.check_all(),
                }
            }
            if step >= FAULTY_STEPS_MAX || self.faults_left == 0 {
                self.heal(&mut process);
            } else if self.random.one_in(self.habits.faults) {
                self.faults_left -= 1;
                self.goes_wrong(&mut process);
                continue;
            }
            let time = self.random.millis(self.habits.step);
            self.pass(time);
            idle = match process.next(self) {
                Step::Timer => idle + 1,
                _ => 0,
            };
            assert!(idle < IDLE_TIMERS_MAX, "nothing happens any more");
        }
        panic!("it comes to no end");
    }

    fn heal(&mut self, process: &mut Process) {
        self.faults_left = 0;
        // From here on a drain must take less than its deadline.
        self.habits.step = self.habits.step.min(20);
        self.habits.answer = self.habits.answer.min(50);
        self.dead_until.fill(Duration::ZERO);
        process.tasks.iter_mut().for_each(|task| task.hung_until = Duration::ZERO);
    }

    /// Acts on an outcome as the supervisor does. Returns the next process, unless the run is over.
    fn ended(&mut self, process: &mut Process, outcome: Outcome) -> Option<Process> {
        let hung =
            process.tasks.iter().any(|task| task.hung_until > self.now + Duration::from_secs(10));
        match outcome {
            Outcome::Finished { all } => {
                self.disk.land();
                assert!(self.disk.staged.is_empty(), "left behind: {:?}", self.disk.staged.keys());
                self.disk
                    .store
                    .end(all.then_some(self.wall))
                    .expect("a store in memory can be written");
                if all {
                    return None;
                }
            }
            Outcome::RollBack { .. } | Outcome::Rebalance if !hung => {
                process.leave(self);
                if let Some(asked) = self.asked.take() {
                    self.hints = asked;
                }
                return Some(Process::launch(self));
            }
            _ => {
                process.crash(self);
                self.asked = None;
            }
        }
        self.hints = self.draw_hints();
        Some(Process::launch(self))
    }

    fn goes_wrong(&mut self, process: &mut Process) {
        let durable = self.habits.checkpoint != Checkpoint::Off;
        let (task, component) =
            (self.random.below(process.tasks.len()), self.random.below(self.graph.0.len()));
        let time = self.random.millis(90_000);
        match self.random.below(12) {
            0 if durable => {
                self.say(|| "the process crashes".into());
                process.crash(self);
                self.asked = None;
                self.hints = self.draw_hints();
                *process = Process::launch(self);
            }
            1 if durable => process.loses(task, Report::Lost),
            2 if durable => {
                process.loses(task, Report::Panicked { message: "oh".into(), tuple: None })
            }
            3 if durable => process.loses(task, Report::Failed("no".into())),
            4 if durable => process.happens(self, Event::Broken("the store is broken".into())),
            5 | 6 if durable => {
                let asked = self.draw_hints();
                self.say(|| format!("asked for {asked:?} tasks"));
                self.asked = Some(asked);
                process.happens(self, Event::Rebalance);
            }
            7 if durable => {
                self.say(|| "stop".into());
                process.happens(self, Event::Stop);
            }
            8 => process.tasks[task].hung_until = self.now + time,
            9 => self.dead_until[component] = self.now + 3 * time,
            10 => {
                let hours = if self.random.one_in(2) {
                    time::Duration::HOUR
                } else {
                    -time::Duration::HOUR
                };
                self.say(|| format!("the wall clock jumps by {hours}"));
                self.wall += hours;
            }
            _ => process.save_later(time),
        }
    }

    /// Checks that each item arrived where it belongs, once.
    fn check_all(&self) {
        for (sink, component) in self.graph.of_role(TaskRole::Sink) {
            let segments = self.disk.visible.iter().filter(|((of, _), _)| *of == sink);
            let mut all = Vec::new();
            for ((_, segment), items) in segments {
                check_order(segment, items);
                all.extend_from_slice(items);
            }
            all.sort_unstable();
            assert_eq!(all, self.graph.items_of(sink), "what {} has made visible", component.name);
        }
        if self.habits.checkpoint != Checkpoint::Off {
            self.check_state();
        }
    }

    fn check_state(&self) {
        for (bolt, component) in self.graph.of_role(TaskRole::Bolt) {
            let mut expected = std::collections::BTreeMap::<u8, u32>::new();
            self.graph
                .items_of(bolt)
                .iter()
                .for_each(|item| *expected.entry(item.key() as u8).or_default() += 1);
            let mut found = std::collections::BTreeMap::new();
            let mut take = |key: &[u8], value: &[u8]| {
                found
                    .insert(key[0], value.iter().fold(0, |sum, byte| sum * 256 + u32::from(*byte)));
                Ok(())
            };
            self.disk
                .store
                .restore(&component.name, 0..1024, &mut take)
                .expect("a store in memory can be read");
            assert_eq!(found, expected, "what {} has counted", component.name);
        }
    }
}

/// Checks that items of one split and key that took the same path are in order.
fn check_order(segment: &str, items: &[Item]) {
    let mut last = std::collections::BTreeMap::new();
    for item in items {
        let before = last.insert((item.spout, item.split, item.way, item.key()), item.number);
        assert!(before.is_none_or(|before| before < item.number), "{segment} is out of order");
    }
}

fn run(seed: u64, trace: bool) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| World::new(seed, trace).run())) {
        eprintln!(
            "replay this with WATERSPOUT_SEED={seed} cargo test --lib coordinator::simulation"
        );
        resume_unwind(panic);
    }
}

#[test]
fn whatever_goes_wrong_each_item_becomes_visible_once_and_every_run_comes_to_its_end() {
    if let Some(seed) = std::env::var("WATERSPOUT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, true);
    }
    let seeds = if std::env::var_os("WATERSPOUT_LONG").is_some() { 10 * SEEDS } else { SEEDS };
    (0..seeds).for_each(|seed| run(seed, false));
}

//! Chooses the task that gets a tuple.

use crate::keys::{key_group, stable_hash, task_of_group};
use crate::value::Value;

/// The rule by which a stream's tuples are distributed over a bolt's tasks. Keys are positions of
/// fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Evenly.
    Shuffle,
    /// To the nearest tasks, and to others while the nearest ones have no room. The nearest task is
    /// the one on the same executor. If fewer tasks emit than take, the tasks that take are divided
    /// among those that emit, and the next batch goes to the one with the fewest waiting batches.
    LocalOrShuffle,
    /// Tuples with the same key go to the same task.
    Fields(Vec<usize>),
    /// Tuples with the same key go to the less loaded of two tasks (Nasir et al., "The power of
    /// both choices", ICDE 2015).
    PartialKey(Vec<usize>),
    /// To every task.
    All,
    /// To the first task.
    Global,
    /// To the task that the emitter names.
    Direct,
}

impl Grouping {
    /// Returns the name in RON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shuffle => "Shuffle",
            Self::LocalOrShuffle => "LocalOrShuffle",
            Self::Fields(_) => "Fields",
            Self::PartialKey(_) => "PartialKey",
            Self::All => "All",
            Self::Global => "Global",
            Self::Direct => "Direct",
        }
    }
}

/// A distributor of one stream over the tasks of one bolt.
pub struct Router {
    grouping: Grouping,
    tasks: usize,
    emitter: EmitterTask,
    /// The task for the next tuple or batch.
    next: usize,
    /// For `PartialKey`: the number of tuples sent to each task.
    sent: Vec<u64>,
}

/// The emitting task, as one of its component's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmitterTask {
    /// Its number.
    pub index: usize,
    /// The number of tasks of its component.
    pub of: usize,
}

/// The destination of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To one task.
    One(usize),
    /// To all tasks.
    All,
    /// To no task: the stream is taken by direct grouping, and the emitter named no task of this
    /// bolt.
    Nowhere,
}

impl Router {
    /// Creates the router for a bolt with `tasks` tasks.
    pub fn new(grouping: Grouping, tasks: usize, emitter: EmitterTask) -> Self {
        let sent =
            if matches!(grouping, Grouping::PartialKey(_)) { vec![0; tasks] } else { Vec::new() };
        // Emitters begin with different tasks, so that even a few tuples are distributed evenly.
        Self { grouping, tasks, emitter, next: emitter.index % tasks, sent }
    }

    /// Chooses the destination of a tuple. `room` returns the number of batches that wait for a
    /// task, or `None` if there is no room for another. `gathering` returns true if a batch for the
    /// task has been begun.
    #[inline]
    pub fn choose(
        &mut self,
        values: &[Value],
        direct_to: Option<usize>,
        room: impl Fn(usize) -> Option<usize>,
        gathering: impl Fn(usize) -> bool,
    ) -> Target {
        if matches!(self.grouping, Grouping::Direct) {
            return direct_to
                .filter(|task| *task < self.tasks)
                .map_or(Target::Nowhere, Target::One);
        }
        if self.tasks == 1 {
            return Target::One(0);
        }
        match &self.grouping {
            Grouping::Shuffle => {
                let task = self.next;
                self.next = if task + 1 == self.tasks { 0 } else { task + 1 };
                Target::One(task)
            }
            Grouping::LocalOrShuffle => Target::One(self.choose_batch(room, gathering)),
            Grouping::Fields(key) => {
                let group = key_group(key.iter().map(|field| &values[*field]));
                Target::One(task_of_group(group, self.tasks))
            }
            Grouping::PartialKey(key) => {
                let hash = stable_hash(key.iter().map(|field| &values[*field]));
                Target::One(self.less_loaded(hash))
            }
            Grouping::All => Target::All,
            Grouping::Global => Target::One(0),
            Grouping::Direct => Target::Nowhere,
        }
    }

    /// Returns the task for a one-value tuple whose value is the key, if the tuple is grouped by
    /// key and there are several tasks.
    #[inline]
    pub fn task_of_only_value(&self, value: &Value) -> Option<usize> {
        match &self.grouping {
            Grouping::Fields(key) if self.tasks > 1 && key[..] == [0] => {
                Some(task_of_group(key_group([value]), self.tasks))
            }
            _ => None,
        }
    }

    /// Returns true if the choice of the task doesn't depend on a tuple's values, so that
    /// [`choose_batch`](Self::choose_batch) can distribute whole batches.
    pub fn is_free(&self) -> bool {
        match self.grouping {
            Grouping::Global | Grouping::LocalOrShuffle => true,
            Grouping::Direct | Grouping::All => false,
            Grouping::Shuffle | Grouping::Fields(_) | Grouping::PartialKey(_) => self.tasks == 1,
        }
    }

    /// Chooses the task for the next tuple when the values don't matter. A batch that was begun is
    /// filled first; the task may change only between batches.
    pub fn choose_batch(
        &mut self,
        room: impl Fn(usize) -> Option<usize>,
        gathering: impl Fn(usize) -> bool,
    ) -> usize {
        if self.tasks == 1 || matches!(self.grouping, Grouping::Global) {
            return 0;
        }
        if !gathering(self.next) {
            self.next = self.nearest(room);
        }
        self.next
    }

    /// Returns the nearest task with the fewest waiting batches; else the next other task with
    /// room; else, if there is no room anywhere, the task on the same executor.
    fn nearest(&self, room: impl Fn(usize) -> Option<usize>) -> usize {
        let local = self.emitter.index % self.tasks;
        let near = if self.emitter.of < self.tasks {
            // Tasks with equally few waiting batches take turns.
            let order = |task: usize| Some((room(task)?, task <= self.next, task));
            let near = (local..self.tasks).step_by(self.emitter.of);
            near.filter_map(order).min().map(|(_, _, task)| task)
        } else {
            room(local).map(|_| local)
        };
        let others = || (1..=self.tasks).map(|step| (self.next + step) % self.tasks);
        near.or_else(|| others().find(|task| room(*task).is_some())).unwrap_or(local)
    }

    fn less_loaded(&mut self, hash: u64) -> usize {
        let tasks = self.tasks as u64;
        let first = (hash % tasks) as usize;
        // The second choice is a different task, from hash bits that the first choice didn't use.
        let second = (first + 1 + ((hash >> 32) % (tasks - 1)) as usize) % self.tasks;
        let task = if self.sent[first] <= self.sent[second] { first } else { second };
        self.sent[task] += 1;
        task
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::KEY_GROUPS;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| {
            proptest::collection::vec(inner, 0..4).prop_map(|values| Value::List(values.into()))
        })
    }

    fn chosen(router: &mut Router, tuple: &[Value]) -> Target {
        router.choose(tuple, None, |_| Some(0), |_| false)
    }

    proptest! {
        #[test]
        fn the_same_key_has_the_same_task_from_every_emitter_under_any_parallelism(
            key in proptest::collection::vec(value(), 1..4),
            rest in value(),
            tasks in 1..=1024_usize,
            emitters in (0..1024_usize, 0..1024_usize),
        ) {
            let fields: Vec<_> = (0..key.len()).collect();
            let tuple: Vec<_> = key.iter().cloned().chain([rest]).collect();
            let target = |index, tuple: &[Value]| {
                let emitter = EmitterTask { index, of: 1024 };
                chosen(&mut Router::new(Grouping::Fields(fields.clone()), tasks, emitter), tuple)
            };
            prop_assert_eq!(target(emitters.0, &tuple), target(emitters.1, &key));
            let task = task_of_group(key_group(&key), tasks);
            prop_assert!(task < tasks);
            prop_assert_eq!(target(0, &key), Target::One(task));
        }

        #[test]
        fn key_groups_are_shared_out_evenly_and_in_order(tasks in 1..=1024_usize) {
            let owners: Vec<_> = (0..KEY_GROUPS).map(|group| task_of_group(group, tasks)).collect();
            prop_assert!(owners.is_sorted());
            let share = |task| owners.iter().filter(|owner| **owner == task).count();
            let shares: Vec<_> = (0..tasks).map(share).collect();
            prop_assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }

        #[test]
        fn a_partial_key_has_at_most_two_tasks(key in value(), tasks in 2..64_usize) {
            let emitter = EmitterTask { index: 0, of: 1 };
            let mut router = Router::new(Grouping::PartialKey(vec![0]), tasks, emitter);
            let targets: std::collections::BTreeSet<_> = (0..100)
                .map(|_| match chosen(&mut router, std::slice::from_ref(&key)) {
                    Target::One(task) => task,
                    other => panic!("{other:?}"),
                })
                .collect();
            prop_assert!(targets.len() <= 2 && targets.iter().all(|task| *task < tasks));
        }
    }

    /// Returns the tasks that get ten batches, given the numbers of batches waiting for each task,
    /// of which four find room.
    fn ten_batches(emitter: EmitterTask, mut waiting: Vec<usize>) -> Vec<usize> {
        let mut router = Router::new(Grouping::LocalOrShuffle, waiting.len(), emitter);
        let mut tasks = Vec::new();
        for _ in 0..10 {
            let room = |task: usize| Some(waiting[task]).filter(|waiting| *waiting < 4);
            let task = router.choose_batch(room, |_| false);
            waiting[task] += 1;
            tasks.push(task);
        }
        tasks
    }

    #[test]
    fn a_task_with_another_on_its_executor_keeps_to_it_until_it_is_full() {
        let emitter = EmitterTask { index: 1, of: 2 };
        assert_eq!(ten_batches(emitter, vec![0, 0]), [1, 1, 1, 1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(ten_batches(EmitterTask { index: 2, of: 3 }, vec![9]), [0; 10]);
    }

    #[test]
    fn where_fewer_tasks_emit_than_take_all_that_take_get_something() {
        let only = EmitterTask { index: 0, of: 1 };
        assert_eq!(ten_batches(only, vec![0, 0]), [1, 0, 1, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(ten_batches(only, vec![3, 0, 9]), [1, 1, 1, 0, 1, 0, 0, 0, 0, 0]);
        let second = EmitterTask { index: 1, of: 2 };
        assert_eq!(ten_batches(second, vec![0; 5])[..8], [3, 1, 3, 1, 3, 1, 3, 1]);
    }

    #[test]
    fn the_hash_of_a_key_never_changes() {
        // State that is saved today must belong to the same task in later versions.
        let keys: [&[Value]; 4] = [
            &[Value::from("storm")],
            &[Value::Int(-1)],
            &[Value::from("a"), Value::from("b")],
            &[Value::Null],
        ];
        let hashes: Vec<_> = keys.iter().map(|key| format!("{:016x}", stable_hash(*key))).collect();
        expect_test::expect!["8a5e0a9570a5cbef 1a93142d97356126 34746b959137b167 34499569f0391857"]
            .assert_eq(&hashes.join(" "));
    }

    #[test]
    fn values_that_are_equal_have_equal_hashes() {
        assert_eq!(stable_hash(&[Value::Float(0.0)]), stable_hash(&[Value::Float(-0.0)]));
        assert_eq!(stable_hash(&[Value::Float(f64::NAN)]), stable_hash(&[Value::Float(-f64::NAN)]));
        assert_ne!(
            stable_hash(&[Value::from("ab"), Value::from("c")]),
            stable_hash(&[Value::from("a"), Value::from("bc")])
        );
    }
}

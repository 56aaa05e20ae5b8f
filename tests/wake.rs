//! The wake protocol under loom: the engine's own file, compiled with loom's atomics.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU8, Ordering, fence};
}

#[allow(unreachable_pub, reason = "the file is a module of the library, which exports it")]
#[path = "../src/flow/wake.rs"]
mod wake;

use std::sync::Arc as StdArc;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use wake::{Need, Wake};

/// A queue and a mailbox, as far as the protocol can see them: counts.
struct World {
    wake: Wake,
    queued: AtomicUsize,
    wakes_sent: AtomicUsize,
}

impl World {
    fn shared() -> Arc<Self> {
        Arc::new(Self {
            wake: Wake::new(),
            queued: AtomicUsize::new(0),
            wakes_sent: AtomicUsize::new(0),
        })
    }

    fn provide(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
        if self.wake.claim(Need::Input) {
            self.wakes_sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes all there is, then goes to sleep. True if it sleeps and no wake has to be on its way.
    fn work_until_asleep(&self) -> usize {
        let mut taken = 0;
        loop {
            taken += self.queued.swap(0, Ordering::Relaxed);
            self.wake.will_sleep(Need::Input);
            if self.queued.load(Ordering::Relaxed) == 0 || !self.wake.take_back() {
                return taken;
            }
        }
    }
}

/// After everybody is done: what is still queued has a wake that brings the task back for it.
fn check(producers: usize, items_each: usize) {
    let explored = StdArc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = StdArc::clone(&explored);
    let mut model = loom::model::Builder::new();
    // Every interleaving with at most this many switches away from a thread that could go on: bugs
    // of such protocols need two (Musuvathi and Qadeer, "Iterative Context Bounding", PLDI 2007).
    model.preemption_bound = Some(3);
    model.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let world = World::shared();
        let threads: Vec<_> = (0..producers)
            .map(|_| {
                let world = Arc::clone(&world);
                thread::spawn(move || (0..items_each).for_each(|_| world.provide()))
            })
            .collect();
        let mut taken = world.work_until_asleep();
        threads.into_iter().for_each(|thread| thread.join().expect("a producer doesn't panic"));
        let mut wakes = world.wakes_sent.load(Ordering::Relaxed);
        assert!(wakes <= 1, "one sleep, {wakes} wakes");
        if wakes == 1 {
            taken += world.work_until_asleep();
            wakes -= 1;
        }
        assert_eq!(
            (taken, wakes),
            (producers * items_each, 0),
            "an item was left in the queue of a sleeping task"
        );
    });
    assert!(explored.load(std::sync::atomic::Ordering::Relaxed) > 10, "loom explored nothing");
}

#[test]
fn no_wake_is_lost_and_none_is_sent_twice_with_one_producer() {
    check(1, 2);
}

#[test]
fn no_wake_is_lost_and_none_is_sent_twice_with_two_producers() {
    check(2, 1);
}

#[test]
fn a_task_that_waits_for_room_is_not_woken_by_input() {
    loom::model(|| {
        let wake = Wake::new();
        wake.will_sleep(Need::Room);
        assert!(!wake.claim(Need::Input));
        assert!(wake.claim(Need::Room));
        assert!(!wake.claim(Need::Room));
        assert!(!wake.take_back());
    });
}

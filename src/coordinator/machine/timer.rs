//! The times at which the machine wants its next `Tick`.

use std::time::Duration;

use time::OffsetDateTime;

use super::Machine;
use crate::clock::later;
use crate::metrics::Phase;

/// The interval after which promises that a commit left are offered to the sink again.
const OFFER_AGAIN: Duration = Duration::from_secs(1);

/// The longest rest of the coordinator. A shorter one wakes idle topologies more often; a longer
/// one delays a tuple whose report was missed, and a partition after a change of the clock.
const REST_MAX: Duration = Duration::from_secs(5);

impl Machine {
    /// Returns the latest monotonic time for the next `Tick`.
    pub fn next_tick(&self, wall: OffsetDateTime, now: Duration) -> Duration {
        let offered_again = if self.deliveries.left_some() { OFFER_AGAIN } else { self.every() };
        self.tick_within(self.every().min(offered_again), wall, now)
    }

    /// Returns the latest monotonic time for the next `Tick` if nothing is awaited but tuples of
    /// spouts, which have emitted this many. `None` if anything else is awaited.
    pub fn rests_until(
        &self,
        emitted: u64,
        wall: OffsetDateTime,
        now: Duration,
    ) -> Option<Duration> {
        let is_at_work = self.epoch.is_some()
            || self.dirty
            || emitted != self.emitted_at_barrier
            || self.deliveries.left_some()
            || self.stopping
            || self.rebalancing
            || self.phase != Phase::Running;
        (!is_at_work).then(|| self.tick_within(self.every().max(REST_MAX), wall, now))
    }

    fn tick_within(&self, longest: Duration, wall: OffsetDateTime, now: Duration) -> Duration {
        let age = self.oldest_open().map(|since| later(since, self.policy.micro_batch_age) - wall);
        let rollover = later(self.boundary, self.policy.partition_every) - wall;
        // A due barrier waits for the epoch in progress, whose end is an event and needs no timer.
        let is_open =
            self.epoch.is_none() && !self.last_sent && !self.stopping && !self.rebalancing;
        let wall_waits = age
            .into_iter()
            .chain([rollover])
            .filter(|_| is_open)
            .map(|wait| now.saturating_add(wait.max(time::Duration::ZERO).unsigned_abs()));
        let waits = [self.started_at + self.every(), now + longest];
        let next =
            wall_waits.chain(waits.into_iter().filter(|at| *at > now)).chain(self.deadline).min();
        // A due barrier that waits for the epoch mustn't make the timer fire continuously.
        next.unwrap_or(now + self.every()).max(now + Duration::from_millis(1))
    }
}

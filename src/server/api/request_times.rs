//! The durations of requests, as metrics of the server itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the histogram, in seconds.
pub(crate) const BOUNDS_S: [f64; 8] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

/// The classes of statuses that are counted by themselves.
pub(crate) const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The durations of requests, and the classes of their answers. All workers share it.
#[derive(Clone, Default)]
pub(crate) struct RequestTimes(Arc<Counters>);

#[derive(Default)]
struct Counters {
    buckets: [AtomicU64; BOUNDS_S.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
    classes: [AtomicU64; CLASSES.len()],
}

impl RequestTimes {
    /// Counts a request with this status and duration.
    pub(crate) fn add(&self, status: u16, took: Duration) {
        let counters = &self.0;
        let one = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        one(&counters.count);
        counters.sum_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        for (bound, bucket) in BOUNDS_S.iter().zip(&counters.buckets) {
            if took.as_secs_f64() <= *bound {
                one(bucket);
            }
        }
        let class = usize::from(status / 100).saturating_sub(2);
        if let Some(counter) = counters.classes.get(class) {
            one(counter);
        }
    }

    /// Returns the number of requests that took at most as long as each bound.
    pub(crate) fn buckets(&self) -> Vec<u64> {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// Returns the number of requests, and the sum of their durations in seconds.
    pub(crate) fn count_and_sum_s(&self) -> (u64, f64) {
        let sum_us = self.0.sum_us.load(Ordering::Relaxed);
        (self.0.count.load(Ordering::Relaxed), sum_us as f64 * 1e-6)
    }

    /// Returns the number of answers with a status of each class.
    pub(crate) fn classes(&self) -> Vec<u64> {
        self.0.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect()
    }
}

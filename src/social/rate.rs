//! The rate at which posts come, for estimates of the number of missing posts.

use std::time::Duration;

/// The time over which the rate is averaged.
const AVERAGED_OVER: Duration = Duration::from_secs(600);

/// The time over which posts are counted before the average changes, in seconds.
const WINDOW_S: f64 = 10.0;

/// Posts per second, averaged.
pub(super) struct Rate {
    pub per_s: f64,
    counted: u64,
    since: Duration,
}

impl Rate {
    /// Opens a rate with the text that [`save`](Self::save) returned, at this monotonic time.
    pub(crate) fn open(saved: Option<&str>, now: Duration) -> Self {
        Self {
            per_s: saved.and_then(|saved| saved.parse().ok()).unwrap_or(0.0),
            counted: 0,
            since: now,
        }
    }

    /// Returns the text from which a restart restores the rate.
    pub(crate) fn save(&self) -> String {
        format!("{:.3}", self.per_s)
    }

    /// Counts a post.
    pub(crate) fn count(&mut self, now: Duration) {
        self.counted += 1;
        let window = now.saturating_sub(self.since).as_secs_f64();
        if window >= WINDOW_S {
            let weight = if self.per_s == 0.0 {
                1.0
            } else {
                1.0 - (-window / AVERAGED_OVER.as_secs_f64()).exp()
            };
            self.per_s += weight * (self.counted as f64 / window - self.per_s);
            (self.counted, self.since) = (0, now);
        }
    }

    /// Returns the expected number of posts in a time, if the rate is known.
    pub(crate) fn over(&self, time: time::Duration) -> Option<u64> {
        (self.per_s > 0.0).then(|| (self.per_s * time.as_seconds_f64().max(0.0)).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_what_comes_and_outlives_a_restart() {
        let mut rate = Rate::open(None, Duration::ZERO);
        assert_eq!(rate.over(time::Duration::minutes(1)), None, "it isn't known yet");
        (0..=1_000).for_each(|tenth| rate.count(Duration::from_millis(100 * tenth)));
        let minute = rate.over(time::Duration::minutes(1)).unwrap();
        assert!((590..=610).contains(&minute), "{minute}");
        let rate = Rate::open(Some(&rate.save()), Duration::ZERO);
        assert_eq!(rate.over(time::Duration::minutes(1)), Some(minute));
        assert_eq!(rate.over(time::Duration::minutes(-1)), Some(0));
    }
}

//! How many posts come, for estimates of how many are missing.

use std::time::Duration;

/// Over how long the rate is averaged.
const AVERAGED_OVER: Duration = Duration::from_secs(600);

/// How long is counted before the average changes, in seconds.
const WINDOW_S: f64 = 10.0;

/// Posts per second, averaged.
pub(super) struct Rate {
    pub per_s: f64,
    counted: u64,
    since: Duration,
}

impl Rate {
    /// With what was [saved](Self::save), at this monotonic time.
    pub fn open(saved: Option<&str>, now: Duration) -> Self {
        Self {
            per_s: saved.and_then(|saved| saved.parse().ok()).unwrap_or(0.0),
            counted: 0,
            since: now,
        }
    }

    /// What a restart needs to know.
    pub fn save(&self) -> String {
        format!("{:.3}", self.per_s)
    }

    /// Counts a post.
    pub fn count(&mut self, now: Duration) {
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

    /// How many posts there are in a time, if the rate is known.
    pub fn over(&self, time: time::Duration) -> Option<u64> {
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

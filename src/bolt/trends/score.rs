//! The statistics of trends: an exponentially weighted mean and variance of a share, the z-score,
//! and the tail of Poisson's distribution.
//!
//! Sources: the EWMA z-score and its guards follow Schubert, Weiler and Kriegel, "SigniTrend"
//! (KDD 2014), who score a value before they update with it, and bound the deviation from below;
//! counts as Poisson's, and a baseline of the same hour of other weeks, follow Gnip's "Trend
//! Detection in Social Data" (2014). All of it is in shares of everything that was posted in a
//! bucket, as "expected = share of the baseline × total now", so that a change of all traffic moves
//! the expectation with it.

/// The smallest expectation for which a p-value is computed. A key that was never seen isn't
/// impossible; with a smaller value, rare keys would look more surprising than the data supports.
const EXPECTED_MIN: f64 = 0.1;

/// The smallest p-value that is reported. Smaller ones say no more, and some readers take them for
/// 0.
const P_VALUE_MIN: f64 = 1e-300;

/// The rate at which a baseline forgets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decay {
    /// The weight of a new value: 1 − 2^(−1 / half-life).
    alpha: f64,
    /// The bucket number from which on the weight is constant; before it, the mean is that of all
    /// buckets so far.
    average_until: u64,
}

impl Decay {
    /// Creates a rate at which the weight of a value halves every `half_life` buckets.
    pub(crate) fn of_half_life(half_life: f64) -> Self {
        let alpha = 1.0 - 0.5_f64.powf(half_life.max(0.1).recip());
        Self { alpha, average_until: (1.0 / alpha).ceil() as u64 }
    }

    /// Returns the weight of the value of the bucket with this number, counted from the first one.
    fn weight(self, ordinal: u64) -> f64 {
        if ordinal < self.average_until { 1.0 / (ordinal + 1) as f64 } else { self.alpha }
    }

    /// Returns the remaining share of a mean after the buckets `from..to`, in all of which the
    /// value was 0.
    fn left(self, from: u64, to: u64) -> f64 {
        if from >= to {
            return 1.0;
        }
        let mut left = 1.0;
        if from < self.average_until {
            // t / (t + 1) over all t: what stands between the ends cancels out.
            left = from as f64 / to.min(self.average_until) as f64;
        }
        let decayed = to - from.max(self.average_until).min(to);
        left * power(1.0 - self.alpha, decayed)
    }
}

/// A power by squaring: the same bits on every machine.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}

/// The mean and the variance of a key's share, over the buckets since it was first seen. A bucket
/// without the key has the share 0; such buckets are accounted for when the baseline is read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Baseline {
    /// The mean share.
    pub mean: f64,
    /// The variance of the share.
    pub variance: f64,
    /// The number of the first bucket that isn't included yet.
    pub until: u64,
}

impl Baseline {
    /// Returns the baseline before the bucket with this number.
    pub(crate) fn before(self, ordinal: u64, decay: Decay) -> Self {
        let left = decay.left(self.until, ordinal);
        Self {
            mean: left * self.mean,
            variance: left * self.variance + left * (1.0 - left) * self.mean * self.mean,
            until: ordinal.max(self.until),
        }
    }

    /// Returns the baseline updated with the share of the next bucket.
    pub(crate) fn and(self, share: f64, decay: Decay) -> Self {
        let alpha = decay.weight(self.until);
        let deviation = share - self.mean;
        Self {
            mean: self.mean + alpha * deviation,
            variance: (1.0 - alpha) * (self.variance + alpha * deviation * deviation),
            until: self.until + 1,
        }
    }

    /// Returns the same baseline with the next bucket skipped.
    pub(crate) fn skip_one(self) -> Self {
        Self { until: self.until + 1, ..self }
    }
}

/// The score of a count: a measure of how unusual it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Score {
    /// The expected count.
    pub expected: f64,
    /// The z-score: (count − expected) / max(deviation, √expected, 1).
    pub z: f64,
    /// P(X ≥ count), where X has Poisson's distribution with the expected count as its mean.
    pub p_value: f64,
}

impl Score {
    /// Scores a count among `total` posts. `share` is the expected share of the key, `variance` the
    /// variance of that share.
    pub(crate) fn new(count: f64, total: f64, share: f64, variance: f64) -> Self {
        let expected = share * total;
        let deviation = (variance.sqrt() * total).max(expected.sqrt()).max(1.0);
        Self {
            expected,
            z: (count - expected) / deviation,
            p_value: poisson_tail(count, expected.max(EXPECTED_MIN)),
        }
    }
}

/// P(X ≥ count) for Poisson's distribution: its terms from `count` on, the first one by logarithms.
pub(crate) fn poisson_tail(count: f64, expected: f64) -> f64 {
    if count <= 0.0 {
        return 1.0;
    }
    // Below the mean the terms rise first; they fall fast enough from here on.
    const TERMS_MAX: u32 = 100_000;
    let first = count * expected.ln() - expected - ln_factorial(count);
    let (mut term, mut sum) = (1.0, 1.0);
    for step in 1..TERMS_MAX {
        term *= expected / (count + f64::from(step));
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    (first + f64::ln(sum)).exp().clamp(P_VALUE_MIN, 1.0)
}

/// ln(n!), by its sum or by Stirling's series, which from 32 on is exact to the last digits.
fn ln_factorial(n: f64) -> f64 {
    const SUM_MAX: f64 = 32.0;
    if n < SUM_MAX {
        let (mut sum, mut factor) = (0.0, 2.0);
        while factor <= n {
            sum += f64::ln(factor);
            factor += 1.0;
        }
        return sum;
    }
    let inverse = 1.0 / n;
    let series = inverse / 12.0 - inverse.powi(3) / 360.0 + inverse.powi(5) / 1260.0;
    n * n.ln() - n + 0.5 * (std::f64::consts::TAU * n).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, relative: f64) {
        assert!((found - expected).abs() <= relative * expected.abs(), "{found}, not {expected}");
    }

    #[test]
    fn the_tail_is_what_sixty_digits_say() {
        // The sum of the distribution's terms, in decimals of 60 digits.
        for (count, expected, tail) in [
            (1.0, 0.1, 0.095_162_581_964_040_43),
            (10.0, 2.0, 4.649_807_501_726_335e-5),
            (20.0, 4.0, 1.020_052_210_596_835e-8),
            (58.0, 6.1, 3.767_587_672_139_339e-36),
            (5.0, 5.0, 0.559_506_714_934_787_6),
            (100.0, 50.0, 3.200_065_324_585_125e-10),
            (3.0, 40.0, 0.999_999_999_999_996_4),
        ] {
            near(poisson_tail(count, expected), tail, 1e-6);
        }
        assert_eq!(poisson_tail(0.0, 3.0), 1.0);
        assert_eq!(poisson_tail(1e7, 0.1), P_VALUE_MIN);
    }

    #[test]
    fn buckets_without_a_key_are_made_up_for_when_its_baseline_is_read() {
        let decay = Decay::of_half_life(10.0);
        for (before, zeros) in [(0, 3), (3, 1), (5, 40), (40, 1), (40, 100), (13, 2), (2, 12)] {
            let mut baseline = Baseline { mean: 0.2, variance: 0.01, until: before };
            if before == 0 {
                baseline = Baseline::default();
            }
            let mut stepwise = baseline;
            for _ in 0..zeros {
                stepwise = stepwise.and(0.0, decay);
            }
            let at_once = baseline.before(before + zeros, decay);
            assert_eq!(at_once.until, stepwise.until);
            near(at_once.mean, stepwise.mean, 1e-9);
            near(at_once.variance, stepwise.variance, 1e-9);
        }
    }

    #[test]
    fn the_first_buckets_count_alike_and_later_ones_fade() {
        let decay = Decay::of_half_life(10.0);
        let mut baseline = Baseline::default();
        for share in [0.1, 0.2, 0.3, 0.4] {
            baseline = baseline.and(share, decay);
        }
        near(baseline.mean, 0.25, 1e-12);
        near(baseline.variance, 0.0125, 1e-12);
        let mut later = Baseline { mean: 1.0, variance: 0.0, until: 1_000 };
        for _ in 0..10 {
            later = later.and(0.0, decay);
        }
        near(later.mean, 0.5, 1e-9);
    }

    #[test]
    fn a_score_follows_what_is_expected_of_the_share() {
        let one = Score::new(58.0, 1_000.0, 0.0061, 0.0);
        near(one.expected, 6.1, 1e-12);
        near(one.z, (58.0 - 6.1) / 6.1_f64.sqrt(), 1e-12);
        let of_more = Score::new(61.0, 10_000.0, 0.0061, 0.0);
        assert!(of_more.z.abs() < 1e-9);
        assert!(Score::new(3.0, 10.0, 0.0, 0.0).z == 3.0, "the deviation is at least 1");
    }
}

//! The state of one key: its baseline, its open buckets, and its current trend.

use super::bucket::{Observed, OpenBuckets};
use super::score::{Baseline, Decay, Score};
use super::season::Season;
use crate::bolt::KeyState;
use crate::bolt::bytes::{Reader, Writer};

/// The expected number of posts per bucket below which a key is forgotten, since it then scores
/// like a key that was never seen. A smaller number keeps rare keys in memory for longer.
const FORGOTTEN_BELOW: f64 = 0.01;

/// The time for which a key with a season is kept after its last post: a season covers two weeks.
const SEASON_KEPT_MS: i64 = 15 * 86_400_000;

/// The part of the configuration that decides if a key is in a trend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub bucket_ms: i64,
    pub decay: Decay,
    pub enter: f64,
    pub exit: f64,
    pub p_value: f64,
    pub min_count: u64,
    pub min_authors: u64,
    pub warm_up: u64,
    pub freeze: u64,
    pub seasonal: bool,
}

/// One bucket at its scoring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub bucket: i64,
    /// The number of earlier buckets with posts.
    pub ordinal: u64,
    /// The number of all posts in the bucket.
    pub total: u64,
}

impl Moment {
    fn time_ms(self, rules: &Rules) -> i64 {
        self.bucket.saturating_mul(rules.bucket_ms)
    }
}

/// The current trend of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trend {
    /// The trend's first bucket, and the number of buckets with posts before it.
    pub started: i64,
    pub started_ordinal: u64,
    /// The bucket with most posts so far, and the number of its posts.
    pub peak: i64,
    pub peak_count: u64,
}

/// The state of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTrend {
    baseline: Baseline,
    /// The counts of the buckets that aren't over.
    pub open: OpenBuckets,
    rare: Option<Box<Rare>>,
}

/// The parts that few keys have.
#[derive(Clone, Debug, Default)]
struct Rare {
    trend: Option<Trend>,
    season: Option<Season>,
}

impl KeyTrend {
    /// Returns the key's current trend.
    pub(crate) fn trend(&self) -> Option<Trend> {
        self.rare.as_ref()?.trend
    }

    /// Scores a count against the baseline before its bucket, or against the usual count in this
    /// hour of the week if that is larger.
    pub(crate) fn score(&self, count: u64, moment: Moment, rules: &Rules) -> Score {
        let before = self.baseline.before(moment.ordinal, rules.decay);
        let season = self.rare.as_ref().and_then(|rare| rare.season.as_ref());
        let usual = season.map_or(0.0, |season| season.share(moment.time_ms(rules)));
        let total = moment.total.max(count) as f64;
        Score::new(count as f64, total, before.mean.max(usual), before.variance)
    }

    /// Returns true if a count with this score begins or continues a trend.
    pub(crate) fn trends(
        &self,
        observed: &Observed,
        score: &Score,
        moment: Moment,
        rules: &Rules,
    ) -> bool {
        if moment.ordinal < rules.warm_up {
            return false;
        }
        if self.trend().is_some() {
            return score.z >= rules.exit;
        }
        observed.count >= rules.min_count
            && observed.authors >= rules.min_authors
            && score.z >= rules.enter
            && score.p_value <= rules.p_value
    }

    /// Returns the trend that a bucket begins or continues.
    pub(crate) fn trend_with(&self, count: u64, moment: Moment) -> Trend {
        let mut trend = self.trend().unwrap_or(Trend {
            started: moment.bucket,
            started_ordinal: moment.ordinal,
            peak: moment.bucket,
            peak_count: count,
        });
        if count > trend.peak_count {
            (trend.peak, trend.peak_count) = (moment.bucket, count);
        }
        trend
    }

    /// Takes the numbers of a bucket that is over. `None` if the key neither occurred in it nor is
    /// in a trend, or if a restored state has closed the bucket before.
    pub(crate) fn observe(&mut self, moment: Moment, per_author: u32) -> Option<Observed> {
        let observed = self.open.take(moment.bucket, per_author);
        let ends_trend = self.trend().is_some() && !self.has_closed(moment);
        observed.or_else(|| ends_trend.then_some(Observed::NOTHING))
    }

    /// Ends a bucket: scores it, and then updates the baseline. Returns the score and the trend if
    /// the key is in a trend.
    pub(crate) fn close(
        &mut self,
        observed: &Observed,
        moment: Moment,
        rules: &Rules,
    ) -> Option<(Score, Trend)> {
        let score = self.score(observed.count, moment, rules);
        let trends = self.trends(observed, &score, moment, rules);
        let trend = trends.then(|| self.trend_with(observed.count, moment));
        self.learn(observed, moment, trend, rules);
        Some((score, trend?))
    }

    fn learn(&mut self, observed: &Observed, moment: Moment, trend: Option<Trend>, rules: &Rules) {
        let share = observed.count as f64 / moment.total.max(observed.count).max(1) as f64;
        if self.has_closed(moment) {
            return;
        }
        let before = self.baseline.before(moment.ordinal, rules.decay);
        // A change that outlasts the freeze is the new level, and no trend.
        let is_frozen =
            trend.is_some_and(|trend| moment.ordinal - trend.started_ordinal < rules.freeze);
        self.baseline = if is_frozen { before.skip_one() } else { before.and(share, rules.decay) };
        let time_ms = moment.time_ms(rules);
        // Only a key that could be in a trend needs a season.
        let begins_season = rules.seasonal && observed.count >= rules.min_count;
        if trend.is_some() || begins_season || self.rare.is_some() {
            let rare = self.rare.get_or_insert_default();
            rare.trend = trend;
            if begins_season && rare.season.is_none() {
                rare.season = Some(Season::new(time_ms));
            }
            if let Some(season) = &mut rare.season
                && observed.count > 0
            {
                season.add(time_ms, share, rules.bucket_ms);
            }
            if rare.trend.is_none() && rare.season.is_none() {
                self.rare = None;
            }
        }
    }

    /// Returns true if the key was scored in this bucket, or in a later one.
    pub(crate) fn has_closed(&self, moment: Moment) -> bool {
        self.baseline.until > moment.ordinal
    }

    /// Returns true if the baseline has faded, so that the key scores like one that was never seen.
    /// The result depends only on closed buckets, and so is the same in each replay.
    pub(crate) fn has_faded(&self, moment: Moment, rules: &Rules) -> bool {
        let unseen = moment.ordinal.saturating_sub(self.baseline.until);
        let unseen_ms = i64::try_from(unseen).unwrap_or(i64::MAX).saturating_mul(rules.bucket_ms);
        let has_season = self.rare.as_ref().is_some_and(|rare| rare.season.is_some());
        if self.trend().is_some() || has_season && unseen_ms < SEASON_KEPT_MS {
            return false;
        }
        let mean = self.baseline.before(moment.ordinal, rules.decay).mean;
        mean * (moment.total as f64) < FORGOTTEN_BELOW
    }

    /// Forgets the baseline, so that the key counts as never seen. Returns true if no state of the
    /// key is left.
    pub(crate) fn forget_baseline(&mut self) -> bool {
        (self.baseline, self.rare) = (Baseline::default(), None);
        self.open.is_empty()
    }
}

impl KeyState for KeyTrend {
    fn encode(&self, into: &mut Vec<u8>) {
        let mut into = Writer(into);
        into.number(self.baseline.until);
        into.float(self.baseline.mean);
        into.float(self.baseline.variance);
        self.open.encode(&mut into);
        let trend = self.trend();
        let season = self.rare.as_ref().and_then(|rare| rare.season.as_ref());
        into.number(u64::from(trend.is_some()) | u64::from(season.is_some()) << 1);
        if let Some(trend) = trend {
            into.signed(trend.started);
            into.number(trend.started_ordinal);
            into.signed(trend.peak);
            into.number(trend.peak_count);
        }
        if let Some(season) = season {
            season.encode(&mut into);
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let until = from.number()?;
        let baseline = Baseline { until, mean: from.float()?, variance: from.float()? };
        let open = OpenBuckets::decode(&mut from)?;
        let parts = from.number()?;
        let mut rare = Rare::default();
        if parts & 1 > 0 {
            rare.trend = Some(Trend {
                started: from.signed()?,
                started_ordinal: from.number()?,
                peak: from.signed()?,
                peak_count: from.number()?,
            });
        }
        if parts & 2 > 0 {
            rare.season = Some(Season::decode(&mut from)?);
        }
        from.end()?;
        let rare = (parts > 0).then(|| Box::new(rare));
        Some(Self { baseline, open, rare })
    }
}

//! The last findings of a running topology's `Trends`, for watchers who come later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::tap::{OpenTap, Passed, TapRequest};
use crate::engine::Running;

/// The type of the components that find trends.
pub(crate) const TRENDS: &str = "Trends";

/// The maximum number of trends that are kept; beyond it the oldest are dropped. A larger one makes
/// each answer larger.
const TRENDS_MAX: usize = 50;

/// The number of buckets of a trend that are kept for its curve.
const CURVE_MAX: usize = 30;

/// The maximum number of watched components. Each costs a thread.
const COMPONENTS_MAX: usize = 8;

/// A trend in the newest bucket in which it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrendNow {
    /// The component that found it.
    #[serde(default)]
    pub component: String,
    /// What kind of key it is, such as `hashtag`.
    #[serde(deserialize_with = "text")]
    pub key_type: String,
    /// The key, such as `#storm`.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// The beginning of the bucket, UTC.
    pub bucket_start: String,
    /// The beginning of the bucket in which the trend began, UTC.
    pub started_at: Option<String>,
    /// The beginning of the bucket with the highest score so far, UTC.
    pub peak_at: Option<String>,
    /// Posts in the bucket.
    pub count: u64,
    /// How many were expected.
    pub baseline: Option<f64>,
    /// How far the count is from what was expected, in standard deviations.
    pub score: Option<f64>,
    /// How many authors wrote the posts.
    pub authors: u64,
    /// The ids of some of the posts.
    pub sample_posts: Vec<String>,
    /// Why it is a trend, for a person.
    pub why: String,
    /// True if the bucket isn't over.
    #[serde(default)]
    pub provisional: bool,
    /// The counts of the buckets in which it was found, oldest first.
    #[serde(default)]
    pub curve: Vec<u64>,
}

/// A line of the tap. The tuple is a row of a trend, which has all members of a [`TrendNow`] that
/// aren't optional. Late tuples are no such rows.
#[derive(Deserialize)]
struct Line {
    tuple: TrendNow,
}

/// A trend, and the counts of its buckets.
struct KeptTrend {
    newest: TrendNow,
    counts: BTreeMap<String, u64>,
}

/// By component, and by type and text of the key.
type Kept = BTreeMap<(String, String, String), KeptTrend>;

/// The newest trends of a topology: at most [`TRENDS_MAX`].
#[derive(Default)]
pub(super) struct TrendList(Mutex<Kept>);

impl TrendList {
    /// Not left half-changed, so a panic elsewhere doesn't matter.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, the newest first, and of one bucket the highest score first.
    pub(super) fn newest(&self) -> Vec<TrendNow> {
        let kept = self.kept();
        let mut all: Vec<TrendNow> = kept.values().map(KeptTrend::now).collect();
        all.sort_by(|a, b| {
            let scores = b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0));
            b.bucket_start.cmp(&a.bucket_start).then(scores)
        });
        all
    }

    /// Takes a line of a tap. A line that is no trend is passed over.
    fn add(&self, component: &str, line: &[u8]) {
        let Ok(Line { tuple: mut row }) = serde_json::from_slice(line) else { return };
        component.clone_into(&mut row.component);
        let id = (row.component.clone(), row.key_type.clone(), row.key.clone());
        let mut kept = self.kept();
        match kept.get_mut(&id) {
            Some(trend) => {
                trend.counts.insert(row.bucket_start.clone(), row.count);
                if trend.counts.len() > CURVE_MAX {
                    trend.counts.pop_first();
                }
                if row.bucket_start >= trend.newest.bucket_start {
                    trend.newest = row;
                }
            }
            None => {
                let counts = [(row.bucket_start.clone(), row.count)].into();
                kept.insert(id, KeptTrend { newest: row, counts });
            }
        }
        if kept.len() > TRENDS_MAX {
            let oldest = kept.iter().min_by(|(_, one), (_, other)| {
                one.newest.bucket_start.cmp(&other.newest.bucket_start)
            });
            if let Some(id) = oldest.map(|(id, _)| id.clone()) {
                kept.remove(&id);
            }
        }
    }
}

impl KeptTrend {
    fn now(&self) -> TrendNow {
        TrendNow { curve: self.counts.values().copied().collect(), ..self.newest.clone() }
    }
}

/// Reads a part of a key as people read it: a key may be any value.
fn text<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(input)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Begins to keep what the `Trends` of a topology find. Those whose rows no component takes emit
/// none.
pub(super) fn watch(running: &Arc<Running>, list: &Arc<TrendList>) {
    let components = running.status().components;
    let found = components.into_iter().filter(|component| component.type_name == TRENDS);
    for component in found.take(COMPONENTS_MAX) {
        let request = TapRequest {
            component: component.id.clone(),
            stream: None,
            condition: None,
            sample: 1,
        };
        let Ok(tap) = OpenTap::open(running, &request) else { continue };
        let (id, list) = (component.id, Arc::downgrade(list));
        // Without a thread nothing is kept, and everything else works.
        let _ = thread::Builder::new().name("trends".into()).spawn(move || keep(tap, &id, &list));
    }
}

/// Keeps what comes, until the list is dropped.
fn keep(mut tap: OpenTap, component: &str, list: &Weak<TrendList>) {
    let mut line = Vec::new();
    loop {
        let passed = tap.next_line(&mut line);
        let Some(list) = list.upgrade() else { return };
        match passed {
            Passed::Tuple => list.add(component, &line),
            Passed::Nothing => {}
            Passed::End => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, minute: usize, count: u64, score: f64) -> Vec<u8> {
        format!(
            "{{\"from\":\"trends\",\"tuple\":{{\"key_type\":\"hashtag\",\"key\":\"{key}\",\
             \"bucket_start\":\"2015-12-18T00:{minute:02}:00.000000Z\",\"started_at\":null,\
             \"peak_at\":null,\"count\":{count},\"baseline\":1.5,\"score\":{score},\
             \"p_value\":0.001,\"authors\":3,\"sample_posts\":[\"1\",\"2\"],\
             \"why\":\"{count} in a minute\"}}}}\n"
        )
        .into_bytes()
    }

    #[test]
    fn the_newest_row_of_each_key_is_kept_with_its_curve() {
        let list = TrendList::default();
        list.add("trends", &line("#storm", 1, 10, 5.0));
        list.add("trends", &line("#storm", 2, 20, 9.0));
        list.add("trends", &line("#rain", 2, 30, 11.0));
        // A correction of an earlier bucket changes the curve only.
        list.add("trends", &line("#storm", 1, 12, 5.0));
        list.add("trends", b"{\"from\":\"trends:late\",\"tuple\":{\"key\":\"#storm\"}}\n");
        let found = list.newest();
        let shown: Vec<_> = found.iter().map(|trend| (&*trend.key, &trend.curve[..])).collect();
        assert_eq!(shown, [("#rain", &[30][..]), ("#storm", &[12, 20][..])]);
        assert_eq!((found[1].count, &*found[1].why), (20, "20 in a minute"));
    }

    #[test]
    fn there_are_never_more_than_the_bounds() {
        let list = TrendList::default();
        for number in 0..TRENDS_MAX * 2 {
            list.add("trends", &line(&format!("#{number}"), number % 60, 1, 1.0));
        }
        assert_eq!(list.newest().len(), TRENDS_MAX);
        for minute in 0..59 {
            list.add("trends", &line("#long", minute, 1, 1.0));
        }
        let long = list.newest().into_iter().find(|trend| trend.key == "#long").unwrap();
        assert_eq!(long.curve.len(), CURVE_MAX);
    }
}

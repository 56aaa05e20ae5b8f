//! The filling of the ledger's gaps by recent search, beside the stream.

use std::time::Duration;

use time::OffsetDateTime;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Result;
use crate::gaps::Gap;
use crate::social::Feed;

use super::X;
use super::api::Api;
use super::source::Shared;
use super::sweep::{REACH, Swept, Window, sweep};
use super::translate::{Rule, rules};

/// The most by which X's stream may deliver a post late: this time before a gap is searched too. A
/// larger value reads more posts twice.
pub(super) const BEFORE: Duration = Duration::from_secs(15);

/// The time behind a gap that is searched too: the stream was connected by then, but X's clocks may
/// differ from ours.
const BEHIND: Duration = Duration::from_secs(5);

/// Gaps that are less apart than this time are searched as one, since each search costs a call for
/// each topic.
const NEAR: Duration = Duration::from_secs(60);

/// The interval at which the ledger is read.
const EVERY: Duration = Duration::from_secs(1);

/// The part of the cursor that has the progress of a fill.
const PROGRESS: &str = "fill";

/// Gaps that are filled together.
#[derive(Debug, PartialEq)]
struct Cluster {
    gaps: Vec<Gap>,
    from: OffsetDateTime,
    to: OffsetDateTime,
}

/// Fills gaps, without an end.
///
/// # Errors
/// Fatal if only a person can help.
pub(super) async fn run(api: &Api, x: &X, feed: &Feed, shared: &Shared) -> Result<()> {
    let (searchable, others): (Vec<_>, Vec<_>) =
        rules(x).into_iter().partition(|rule| rule.is_searchable(x));
    for rule in &others {
        feed.say(format!(
            "topic \"{}\" is too long for a search, so its gaps can't be filled",
            rule.topic
        ));
    }
    loop {
        let open = feed.open_gaps();
        let late = x.search_late.0 + BEHIND;
        let due = open
            .into_iter()
            .filter(|gap| is_due(gap, feed.now(), late) && !shared.repeats(&gap.id));
        match cluster(due.collect()) {
            None => feed.sleep(EVERY).await,
            Some(cluster) => {
                if let Some(why) = fill(api, x, feed, (&searchable, &others), cluster).await? {
                    feed.say(format!("gaps stay open, since this account may not search: {why}"));
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Returns true if a gap is within the search's reach and old enough for the search to have all its
/// posts.
fn is_due(gap: &Gap, now: OffsetDateTime, late: Duration) -> bool {
    gap.part.is_empty() && gap.to + late <= now && gap.to > now - REACH
}

/// Returns the oldest gap with those near behind it. `gaps` has the order of the gaps' beginnings.
fn cluster(gaps: Vec<Gap>) -> Option<Cluster> {
    let mut gaps = gaps.into_iter();
    let first = gaps.next()?;
    let mut cluster = Cluster { from: first.from, to: first.to, gaps: vec![first] };
    for gap in gaps {
        if gap.from <= cluster.to + NEAR {
            cluster.to = cluster.to.max(gap.to);
            cluster.gaps.push(gap);
        }
    }
    Some(cluster)
}

/// Fills gaps. Returns the reason, if the account may not search.
async fn fill(
    api: &Api,
    x: &X,
    feed: &Feed,
    (rules, others): (&[Rule], &[Rule]),
    cluster: Cluster,
) -> Result<Option<String>> {
    let oldest = feed.now() - REACH;
    if cluster.from < oldest {
        // The part of a gap that no search reaches any more stays in the ledger.
        feed.gap("older than the search reaches", cluster.from, oldest, "it is older than 7 days")
            .await?;
    }
    // Filling may take days under a budget: the sweep handles the part that gets out of reach by
    // then.
    let from = (cluster.from - BEFORE).max(oldest);
    let window = Window {
        since_id: None,
        from: Some(from),
        to: Some(cluster.to + BEHIND + Duration::from_secs(1)),
    };
    // A budget that was used up once is likely to be used up again: half of it is left to the
    // stream.
    let by_budget = cluster.gaps.iter().all(|gap| gap.why.contains("budget"));
    let reserve = x
        .budget
        .filter(|_| by_budget)
        .map_or(0, |budget| (budget.posts / 2).min(budget.posts.saturating_sub(20)));
    let mark = mark(&cluster, rules);
    let done = progress(feed.cursor(PROGRESS).as_deref(), &mark);
    let mut posts = done.1;
    for (number, rule) in rules.iter().enumerate().skip(done.0) {
        match sweep(api, feed, rule, &window, reserve).await? {
            Swept::Whole { posts: found, .. } => posts += found,
            Swept::Forbidden(why) => return Ok(Some(why)),
            // The gap stays open for this topic alone.
            Swept::Wrong(why) => drop(feed.gap(&rule.topic, cluster.from, cluster.to, &why).await?),
        }
        feed.set_cursor(PROGRESS, format!("{mark} {} {posts}", number + 1));
    }
    for rule in others {
        feed.gap(&rule.topic, cluster.from, cluster.to, "the topic is too long for a search")
            .await?;
    }
    for (number, gap) in cluster.gaps.iter().enumerate() {
        feed.filled(&gap.id, if number == 0 { posts } else { 0 }).await?;
    }
    Ok(None)
}

/// Returns a hash of a fill's gaps and topics: others make another fill.
fn mark(cluster: &Cluster, rules: &[Rule]) -> String {
    let gaps = cluster.gaps.iter().map(|gap| gap.id.as_str());
    let text: Vec<_> = gaps.chain(rules.iter().map(|rule| rule.value.as_str())).collect();
    format!("{:016x}", xxh3_64(text.join("\0").as_bytes()))
}

/// Returns the number of topics that are done, and the number of posts that they brought.
fn progress(saved: Option<&str>, mark: &str) -> (usize, u64) {
    let parts: Vec<_> = saved.unwrap_or_default().split(' ').collect();
    match parts[..] {
        [known, done, posts] if known == mark => {
            (done.parse().unwrap_or(0), posts.parse().unwrap_or(0))
        }
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00:00 UTC);

    fn gap(from_s: u64, to_s: u64) -> Gap {
        let at = |s| NOON + Duration::from_secs(s);
        Gap {
            id: format!("{from_s}"),
            spout: "x".into(),
            kind: "tweet".into(),
            part: String::new(),
            from: at(from_s),
            to: at(to_s),
            why: "test".into(),
            estimated_posts: None,
            filled: false,
            posts: 0,
            created_at: NOON,
        }
    }

    #[test]
    fn a_gap_is_due_when_the_search_has_all_of_it_and_until_it_reaches_no_more() {
        let (gap, late) = (gap(0, 10), Duration::from_secs(35));
        let due = |after| is_due(&gap, NOON + Duration::from_secs(after), late);
        assert_eq!(
            [due(44), due(45), due(6 * 86_400), due(7 * 86_400)],
            [false, true, true, false]
        );
    }

    #[test]
    fn gaps_that_are_near_each_other_are_filled_together() {
        assert_eq!(cluster(Vec::new()), None);
        let found = cluster(vec![gap(0, 10), gap(70, 80), gap(75, 76), gap(141, 150)]).unwrap();
        assert_eq!(found.gaps.len(), 3);
        assert_eq!((found.from, found.to), (NOON, NOON + Duration::from_secs(80)));
    }

    #[test]
    fn a_fill_goes_on_where_it_was_only_if_it_is_the_same() {
        assert_eq!(progress(Some("abc 3 40"), "abc"), (3, 40));
        assert_eq!(progress(Some("abc 3 40"), "abd"), (0, 0));
        assert_eq!(progress(None, "abc"), (0, 0));
    }
}

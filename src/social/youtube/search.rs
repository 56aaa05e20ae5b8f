//! Searches for topics, from the newest video that was found before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::later;
use crate::error::Result;
use crate::social::{Feed, Topic, begin, newest, stamp};

use super::client::{Client, Page};
use super::found::{Found, Taker};
use super::{YouTube, language, query};

/// The number of results at which a search counts as full: behind about five hundred results
/// YouTube's pages repeat or are empty. Then the window is split.
const RESULTS_MAX: usize = 450;

/// The most windows into which one sweep is split: half of the searches of a day.
const WINDOWS_MAX: usize = 50;

/// The shortest window.
const WINDOW_MIN: Duration = Duration::from_secs(2);

/// The interval at which left-out topics are looked at, while all of them are left out.
const ALL_OUT: Duration = Duration::from_secs(1);

/// Searches for each topic in turn, whenever the key has a turn.
pub(super) async fn run(client: &Client, config: &YouTube, feed: &Feed) -> Result<()> {
    let topics: Vec<_> = config.topics.iter().filter(|topic| topic.channel().is_none()).collect();
    if topics.is_empty() {
        return std::future::pending().await;
    }
    begin(feed, &topics.iter().map(|topic| part(topic)).collect::<Vec<_>>()).await?;
    let taker = Taker::new(client, feed);
    let mut search =
        Search { client, config, feed, taker, deep: BTreeMap::new(), told: BTreeMap::new() };
    loop {
        if topics.iter().all(|topic| feed.is_left_out(&part(topic))) {
            feed.sleep(ALL_OUT).await;
            continue;
        }
        for topic in topics.iter().filter(|topic| !feed.is_left_out(&part(topic))) {
            client.turn(feed).await;
            search.topic(topic).await?;
        }
    }
}

/// Returns the part of the source for a topic.
fn part(topic: &Topic) -> String {
    format!("search {topic}")
}

/// A period that is searched, up to now if it has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: OffsetDateTime,
    before: Option<OffsetDateTime>,
}

/// The end of a window's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There are no more pages, or all that follow are known.
    Whole,
    /// The pages began to repeat, or the next one was refused: there may be more.
    Broken,
    /// YouTube returns no more results.
    Full,
}

/// The results of a window.
#[derive(Debug)]
struct Pages {
    found: Vec<Found>,
    end: End,
}

struct Search<'a> {
    client: &'a Client,
    config: &'a YouTube,
    feed: &'a Feed,
    taker: Taker<'a>,
    /// The time when each topic's overlap was last searched to its end.
    deep: BTreeMap<String, Duration>,
    /// The end of the last gap that was reported for each topic.
    told: BTreeMap<String, OffsetDateTime>,
}

impl Search<'_> {
    /// Sweeps over a topic once, from `overlap` before the newest video of the last sweep.
    async fn topic(&mut self, topic: &Topic) -> Result<()> {
        let Some(query) = query(topic) else { return Ok(()) };
        let part = part(topic);
        let last = newest(self.feed, &part);
        let from = last - self.config.overlap.0;
        let now = self.feed.clock().monotonic();
        // A page with known videos only ends a sweep, since searches are few. But YouTube finds
        // videos late, also behind such pages, so all of the overlap is searched twice in its
        // length.
        let is_deep = self
            .deep
            .get(&part)
            .is_none_or(|at| now.saturating_sub(*at) >= self.config.overlap.0 / 2);
        let (mut latest, mut ids) = (last, BTreeSet::new());
        let mut windows = vec![Window { from, before: None }];
        let mut lost = Vec::new();
        let mut searched = 0;
        while let Some(window) = windows.pop() {
            if searched == WINDOWS_MAX {
                lost.push(window);
                continue;
            }
            searched += 1;
            let Pages { found, end } = match self.pages(&query, topic, window, is_deep).await? {
                Ok(pages) => pages,
                // The cursor stays: once YouTube accepts the topic again, the videos since then are
                // searched for.
                Err(why) => {
                    self.feed.leave_out(&part, &why);
                    return Ok(());
                }
            };
            // YouTube keeps neither to the window nor to the order.
            let wanted: Vec<_> = found.into_iter().filter(|found| found.is_since(from)).collect();
            latest =
                wanted.iter().filter_map(|found| found.published).fold(latest, OffsetDateTime::max);
            let before = ids.len();
            ids.extend(wanted.iter().filter_map(|found| found.id.clone()));
            match rest(window, &wanted, end, ids.len() > before, self.feed.now()) {
                Rest::None => {}
                Rest::Windows(more) => windows.extend(more),
                Rest::Lost(window) => lost.push(window),
            }
            self.taker.take(wanted, Some(topic)).await?;
        }
        for window in lost {
            self.tell(&part, window).await?;
        }
        if is_deep {
            self.deep.insert(part.clone(), now);
        }
        self.feed.take_back(&part);
        // Only a whole sweep counts: a crash in the middle repeats the sweep.
        self.feed.set_cursor(&part, stamp(latest.min(self.feed.now())));
        self.feed.save().await
    }

    /// Reports a gap without the part that earlier sweeps reported, since sweeps overlap.
    async fn tell(&mut self, part: &str, window: Window) -> Result<()> {
        let to = window.before.unwrap_or_else(|| self.feed.now());
        let from = self.told.get(part).map_or(window.from, |told| window.from.max(*told));
        if from < to {
            self.feed
                .gap(part, from, to, "YouTube gives no more than about 500 videos of a search")
                .await?;
            self.told.insert(part.into(), to);
        }
        Ok(())
    }

    /// Returns all pages of one window, or the reason if YouTube refuses the topic.
    async fn pages(
        &self,
        q: &str,
        topic: &Topic,
        window: Window,
        is_deep: bool,
    ) -> Result<std::result::Result<Pages, String>> {
        let (after, before) = (second(window.from), window.before.map(second));
        let mut fixed = vec![("q", q), ("publishedAfter", after.as_str())];
        fixed.extend(before.as_deref().map(|before| ("publishedBefore", before)));
        fixed.extend(language(topic).map(|lang| ("relevanceLanguage", lang)));
        let (mut found, mut ids, mut tokens) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut token = None::<String>;
        loop {
            self.feed.await_budget().await;
            let query: Vec<_> = fixed
                .iter()
                .copied()
                .chain(token.as_deref().map(|token| ("pageToken", token)))
                .collect();
            let reply = match self.client.search(&query, self.feed).await? {
                Page::Is(reply) => reply,
                Page::Missing(why) if token.is_none() => return Ok(Err(why)),
                Page::Missing(_) | Page::Same | Page::Gone => {
                    return Ok(Ok(Pages { found, end: End::Broken }));
                }
            };
            let list = self.taker.search(&reply);
            let all_known =
                !list.found.is_empty() && list.found.iter().all(|found| found.is_known(self.feed));
            let before = (ids.len(), found.len());
            for one in list.found {
                // A result without an id is identified by its whole text.
                let key = one.id.clone().map_or_else(|| one.raw.clone(), String::into_bytes);
                if ids.insert(key) {
                    found.push(one);
                }
            }
            let is_full = ids.len() >= RESULTS_MAX;
            let Some(next) = list.next else {
                return Ok(Ok(Pages { found, end: if is_full { End::Full } else { End::Whole } }));
            };
            if all_known && !is_deep {
                return Ok(Ok(Pages { found, end: End::Whole }));
            }
            if ids.len() == before.0 || !tokens.insert(next.clone()) {
                return Ok(Ok(Pages { found, end: if is_full { End::Full } else { End::Broken } }));
            }
            token = Some(next);
        }
    }
}

/// The rest of a window behind its results.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    None,
    Windows(Vec<Window>),
    Lost(Window),
}

/// Returns the rest of a window. If the results came in order, the rest is the time before the
/// oldest of them; else it is both halves. `is_new` is true if a result was found that no earlier
/// window had: if YouTube ignores windows, the search ends by this.
fn rest(window: Window, found: &[Found], end: End, is_new: bool, now: OffsetDateTime) -> Rest {
    if end == End::Whole || (end == End::Broken && !is_new) {
        return Rest::None;
    }
    let before = window.before.unwrap_or(now);
    if !is_new || before - window.from <= WINDOW_MIN {
        return Rest::Lost(window);
    }
    let times: Vec<_> = found.iter().filter_map(|found| found.published).collect();
    let is_sorted = times.len() == found.len() && times.is_sorted_by(|a, b| a >= b);
    match times.last().filter(|_| is_sorted) {
        // The window includes the whole second of the oldest result, of which there may be more.
        Some(oldest) if later(*oldest, Duration::from_secs(1)) < before => {
            Rest::Windows(vec![Window {
                from: window.from,
                before: Some(later(*oldest, Duration::from_secs(1))),
            }])
        }
        _ => {
            let middle = window.from + (before - window.from) / 2;
            let halves = [(window.from, Some(middle)), (middle, window.before)];
            Rest::Windows(
                halves.into_iter().map(|(from, before)| Window { from, before }).collect(),
            )
        }
    }
}

/// Formats a time in whole seconds, as YouTube requires.
fn second(time: OffsetDateTime) -> String {
    stamp(time.replace_nanosecond(0).unwrap_or(time))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    fn at(hour: i64) -> OffsetDateTime {
        NOON + time::Duration::hours(hour)
    }

    fn window(from: i64, before: Option<i64>) -> Window {
        Window { from: at(from), before: before.map(at) }
    }

    fn check(window: Window, hours: &[i64], end: End, is_new: bool, expected: Rest) {
        let one = |hour: &i64| Found {
            id: Some(hour.to_string()),
            published: Some(at(*hour)),
            raw: Vec::new(),
        };
        let found: Vec<_> = hours.iter().map(one).collect();
        assert_eq!(rest(window, &found, end, is_new, NOON), expected, "{hours:?} {end:?}");
    }

    #[test]
    fn what_is_behind_the_last_page_is_searched_in_a_shorter_window() {
        let behind =
            |hour| Window { before: Some(at(hour) + Duration::from_secs(1)), ..window(-9, None) };
        check(window(-9, None), &[-1, -2, -4], End::Full, true, Rest::Windows(vec![behind(-4)]));
        check(window(-9, None), &[-1, -2, -4], End::Broken, true, Rest::Windows(vec![behind(-4)]));
        check(window(-9, None), &[-1, -2, -4], End::Whole, true, Rest::None);
        // Without an order there may be more results anywhere.
        let halves = vec![window(-8, Some(-4)), window(-4, None)];
        check(window(-8, None), &[-4, -1, -2], End::Full, true, Rest::Windows(halves));
    }

    #[test]
    fn a_window_that_gives_nothing_new_ends() {
        check(window(-9, None), &[-1], End::Broken, false, Rest::None);
        check(window(-9, None), &[-1], End::Full, false, Rest::Lost(window(-9, None)));
        let short = Window { from: NOON - Duration::from_secs(1), before: None };
        check(short, &[0], End::Full, true, Rest::Lost(short));
    }
}

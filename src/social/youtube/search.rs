//! Searching for topics, from the newest video that was found before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::later;
use crate::error::Result;
use crate::social::{Feed, Topic, begin, newest, stamp};

use super::client::{Client, Page};
use super::found::{Found, Taker};
use super::{YouTube, language, query};

/// How many results YouTube gives for one search at most, nearly: behind about five hundred its
/// pages repeat or are empty. Then the window is split.
const RESULTS_MAX: usize = 450;

/// How many windows one sweep is split into at most: half of the searches of a day.
const WINDOWS_MAX: usize = 50;

/// The shortest window.
const WINDOW_MIN: Duration = Duration::from_secs(2);

/// How often it is looked whether a topic is to be searched for again, while all of them are left
/// out.
const ALL_OUT: Duration = Duration::from_secs(1);

/// Searches for each topic in turn, whenever it is the key's turn.
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

/// The part of the source that a topic is.
fn part(topic: &Topic) -> String {
    format!("search {topic}")
}

/// A time that is searched, up to now if it has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: OffsetDateTime,
    before: Option<OffsetDateTime>,
}

/// How the pages of a window ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// There are no more, or all that follow are known.
    Whole,
    /// They began to repeat, or the next one was refused: there may be more.
    Broken,
    /// YouTube gives no more.
    Full,
}

/// What a window gave.
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
    /// When each topic's overlap was last searched to its end.
    deep: BTreeMap<String, Duration>,
    /// Until when each topic's gaps were told.
    told: BTreeMap<String, OffsetDateTime>,
}

impl Search<'_> {
    /// One sweep over a topic, from `overlap` before the newest video of the last one.
    async fn topic(&mut self, topic: &Topic) -> Result<()> {
        let Some(query) = query(topic) else { return Ok(()) };
        let part = part(topic);
        let last = newest(self.feed, &part);
        let from = last - self.config.overlap.0;
        let now = self.feed.clock().monotonic();
        // A page of which all is known ends a sweep, since searches are few; but YouTube finds
        // videos late, also behind such pages, so twice in an overlap all of it is searched.
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
                // The cursor stays: what is published meanwhile is searched for when YouTube takes
                // the topic again.
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
        // Only a whole sweep counts: a crash in its middle begins it again.
        self.feed.set_cursor(&part, stamp(latest.min(self.feed.now())));
        self.feed.save().await
    }

    /// Tells a gap, but for what was told by the sweeps before: they overlap.
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

    /// All pages of one window; why, if YouTube doesn't take the topic.
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
                // What has no id is told apart by all that it has.
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

/// What is left of a window behind what it gave.
#[derive(Debug, PartialEq, Eq)]
enum Rest {
    None,
    Windows(Vec<Window>),
    Lost(Window),
}

/// Where results came in order, the rest is what is older than the oldest of them; else it is both
/// halves. `is_new` says that something was found that no window before gave: where windows are
/// ignored it ends at that.
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
        // The whole second of the oldest, of which there may be more.
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

/// YouTube takes whole seconds.
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
        // Without order there may be more anywhere.
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

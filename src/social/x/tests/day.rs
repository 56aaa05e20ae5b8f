//! A day of a stream in seconds: the clock is moved, and the bytes come at its times.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use time::OffsetDateTime;
use time::macros::datetime;

use super::super::answer::Verdict;
use super::super::repeating::{QUIET, Repeating, SETTLES};
use super::super::source::{Shared, life};
use super::super::stream::{End, Pieces, read};
use super::super::tests::configuration;
use super::super::*;
use crate::clock::{Clock, ManualClock};
use crate::social::tests::trial::Trial;
use crate::social::{Failure, Feed};

const MIDNIGHT: OffsetDateTime = datetime!(2026-11-25 00:00:00 UTC);

/// Bytes at their times, in seconds from the beginning. After the last of them nothing comes, or
/// the connection ends.
struct Script<I: Iterator<Item = (f64, Vec<u8>)>> {
    clock: Arc<ManualClock>,
    pieces: std::iter::Peekable<I>,
    ends: bool,
}

impl<I: Iterator<Item = (f64, Vec<u8>)>> Pieces for Script<I> {
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some((at, _)) = self.pieces.peek() else {
            return if self.ends { Ok(None) } else { std::future::pending().await };
        };
        let wait = Duration::from_secs_f64(*at).saturating_sub(self.clock.monotonic());
        self.clock.sleep(wait).await;
        Ok(self.pieces.next().map(|(_, bytes)| bytes.into()))
    }
}

/// The result of a connection.
struct Read {
    end: End,
    after: Duration,
    trial: Trial,
}

impl Read {
    fn count(&self) -> usize {
        self.trial.posts("tweet").len()
    }
}

/// Reads a script to its end, and moves the clock whenever nothing else happens.
fn play(x: &X, ends: bool, step: Duration, pieces: impl Iterator<Item = (f64, Vec<u8>)>) -> Read {
    let trial = Trial::start("tweet", Platform::common(x), MIDNIGHT);
    let end = play_on(&trial, x, ends, step, pieces, &Shared::default());
    Read { end, after: trial.clock.monotonic(), trial }
}

fn play_on(
    trial: &Trial,
    x: &X,
    ends: bool,
    step: Duration,
    pieces: impl Iterator<Item = (f64, Vec<u8>)>,
    shared: &Shared,
) -> End {
    let mut script = Script { clock: Arc::clone(&trial.clock), pieces: pieces.peekable(), ends };
    run(&trial.feed, &trial.clock, step, async |feed| {
        read(&mut script, x, feed, shared, &mut false).await.unwrap()
    })
}

fn run<T>(
    feed: &Feed,
    clock: &ManualClock,
    step: Duration,
    work: impl AsyncFnOnce(&Feed) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let time = async {
            loop {
                // The work continues as far as it can before the next step.
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                clock.advance(step);
            }
        };
        match select(pin!(work(feed)), pin!(time)).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => unreachable!("time has no end"),
        }
    })
}

fn line(id: u64) -> Vec<u8> {
    line_of(id, "2026-11-25T00:00:00.000Z")
}

fn line_of(id: u64, created: &str) -> Vec<u8> {
    format!("{{\"data\":{{\"id\":\"{id}\",\"text\":\"a storm\",\"created_at\":\"{created}\"}},\"matching_rules\":[{{\"id\":\"1\",\"tag\":\"waterspout:storm\"}}]}}\r\n")
        .into_bytes()
}

fn keep_alives(from_s: u32, to_s: u32) -> impl Iterator<Item = (f64, Vec<u8>)> {
    (from_s..to_s).step_by(20).map(|at| (f64::from(at), b"\r\n".to_vec()))
}

#[test]
fn a_day_of_keep_alives_is_one_connection() {
    let read =
        play(&configuration(&["storm"]), true, Duration::from_secs(10), keep_alives(0, 86_400));
    assert_eq!(read.end, End::Lost("X ended the connection".into()));
    assert!(read.after >= Duration::from_secs(86_380), "{:?}", read.after);
    assert_eq!(read.count(), 0);
    // The cursor has the last time of the connection, so the next start knows from when on posts
    // may be missing.
    assert_eq!(life(&read.trial.feed), Some(MIDNIGHT + Duration::from_secs(86_380)));
}

#[test]
fn a_stream_that_says_nothing_is_given_up_after_half_more_than_its_keep_alives_take() {
    let read = play(&configuration(&["storm"]), false, Duration::from_secs(1), keep_alives(0, 600));
    assert!(
        matches!(&read.end, End::Lost(why) if why.contains("not even a keep-alive")),
        "{:?}",
        read.end
    );
    assert_eq!(read.after, Duration::from_secs(580 + 30));
}

#[test]
fn bursts_at_x_s_full_rate_between_quiet_hours_lose_nothing() {
    // Each hour has 60 s at 250 posts/s in 10 pieces a second; at night there are keep-alives only.
    let burst = |hour: u32| {
        (0..600_u32).map(move |tick| {
            let id = u64::from(hour) * 1_000_000 + u64::from(tick) * 25;
            (
                f64::from(hour * 3_600) + f64::from(tick) / 10.0,
                (id..id + 25).flat_map(line).collect(),
            )
        })
    };
    let day = (0..4)
        .flat_map(|hour| burst(hour).chain(keep_alives(hour * 3_600 + 60, (hour + 1) * 3_600)));
    let day = day.chain(keep_alives(4 * 3_600, 86_400));
    let read = play(&configuration(&["storm"]), true, Duration::from_millis(2_500), day);
    assert_eq!(read.count(), 4 * 15_000);
    assert!(read.after >= Duration::from_secs(86_380), "{:?}", read.after);
}

#[test]
fn a_post_that_trickles_in_byte_by_byte_is_whole_and_one_that_is_cut_is_none() {
    let slow = line(1).into_iter().enumerate().map(|(at, byte)| (at as f64 * 15.0, vec![byte]));
    let end = line(1).len() as f64 * 15.0;
    let cut = std::iter::once((end, line(2)[..40].to_vec()));
    let read = play(&configuration(&["storm"]), true, Duration::from_secs(5), slow.chain(cut));
    assert_eq!(
        (read.end, read.trial.posts("tweet").len()),
        (End::Lost("X ended the connection".into()), 1)
    );
}

#[test]
fn what_x_says_ends_the_connection_and_what_it_sent_before_is_kept() {
    let told =
        b"{\"errors\":[{\"title\":\"operational-disconnect\",\"disconnect_type\":\"InvalidRules\"}]}\r\n".to_vec();
    let pieces = [(0.0, [line(1), told, line(2)].concat()), (1.0, line(3))];
    let read = play(&configuration(&["storm"]), true, Duration::from_secs(1), pieces.into_iter());
    assert_eq!((&read.end, read.count()), (&End::Told(Verdict::NoRules), 2));
}

#[test]
fn what_is_no_post_is_refused_and_harms_nothing() {
    let strange = b"{\"system\":{}}\r\nno json\r\n{\"data\":[]}\r\n".to_vec();
    let pieces = [(0.0, [strange, line(1), line(1)].concat())];
    let read = play(&configuration(&["storm"]), true, Duration::from_secs(1), pieces.into_iter());
    assert_eq!((read.count(), read.trial.posts("_refused").len()), (1, 3));
}

#[test]
fn a_stream_ends_before_its_budget_is_exceeded() {
    let mut x = configuration(&["storm"]);
    x.budget = Some(Budget { posts: 100, per: "1d".parse().unwrap() });
    let pieces = (0..1_000_u32).map(|at| (f64::from(at), line(u64::from(at))));
    let read = play(&x, true, Duration::from_millis(500), pieces);
    assert_eq!(read.end, End::Budget);
    assert!((80..=90).contains(&read.count()), "{}", read.count());
}

/// Plays a connection that repeats a gap, which ends a second after midnight.
fn repeat(pieces: Vec<(f64, Vec<u8>)>) -> (Trial, Shared) {
    let x = configuration(&["storm"]);
    let trial = Trial::start("tweet", Platform::common(&x), MIDNIGHT);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gap = runtime.block_on(trial.feed.gap("", MIDNIGHT, MIDNIGHT, "test")).unwrap();
    let repeating = Repeating::new(gap, MIDNIGHT + Duration::from_secs(1), trial.clock.monotonic());
    let shared = Shared { repeating: Some(repeating).into() };
    play_on(&trial, &x, true, Duration::from_secs(1), pieces.into_iter(), &shared);
    (trial, shared)
}

#[test]
fn what_the_stream_repeats_fills_its_gap_when_it_has_caught_up() {
    let newer = line_of(3, "2026-11-25T00:00:01.000Z");
    // Old posts come first as a rule; keep-alives in between mean nothing.
    let (lull, late, newer_at) = (b"\r\n".to_vec(), 4.0, 3.0);
    let begin = vec![
        (0.0, line(1)),
        (1.0, lull.clone()),
        (2.0, line(2)),
        (newer_at, newer),
        (late, line(4)),
        (5.0, lull.clone()),
    ];
    let (trial, shared) = repeat(begin.clone());
    assert!(shared.repeating.borrow().is_some() && trial.feed.open_gaps().len() == 1);
    let settled = [begin, vec![(late + SETTLES.as_secs_f64() + 1.0, lull)]].concat();
    let (trial, shared) = repeat(settled);
    assert!(shared.repeating.borrow().is_none() && trial.feed.open_gaps().is_empty());
    assert!(
        trial.messages().iter().any(|message| message.contains("4 posts")),
        "{:?}",
        trial.messages()
    );
}

#[test]
fn a_stream_too_quiet_to_tell_whether_it_has_caught_up_leaves_its_gap_to_the_search() {
    let quiet = keep_alives(0, QUIET.as_secs() as u32 + 40).collect();
    let (trial, shared) = repeat(quiet);
    assert!(shared.repeating.borrow().is_none() && trial.feed.open_gaps().len() == 1);
}

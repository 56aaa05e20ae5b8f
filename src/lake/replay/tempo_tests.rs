//! Tests that a replay with a tempo, a filter or another order hands over what the lake holds, even
//! if posts have wrong times.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::disorder::Counts;
use super::*;
use crate::lake::replay::Split;

/// 2025-11-24, in seconds since 1970.
const DAY: i64 = 1_763_942_400;

/// Generates the times of posts: mostly within one hour, some of other eras, some missing.
fn times() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        10 => (DAY..DAY + 3_600).prop_map(Some),
        1 => Just(Some(0)),
        1 => Just(Some(4_070_908_800)),
        1 => Just(Some(253_402_300_799)),
        1 => Just(Some(-62_167_219_200)),
        2 => Just(None),
    ]
}

fn post(id: usize, time: Option<i64>) -> String {
    let text =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap();
    let created_at =
        time.map_or(String::new(), |time| format!(",\"created_at\":\"{}\"", text(time)));
    format!("{{\"tweet\":{{\"id\":\"{id}\"{created_at}}}}}")
}

/// Writes a lake of partitions of files of posts with these times; returns all posts.
fn write(
    root: &std::path::Path,
    partitions: &[Vec<Vec<Option<i64>>>],
) -> Vec<(String, Option<i64>)> {
    let mut all = Vec::new();
    for (hour, files) in partitions.iter().enumerate() {
        let folder =
            root.join(format!("2025-11-24T{hour:02}:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7"));
        fs::create_dir_all(&folder).unwrap();
        for (number, times) in files.iter().enumerate() {
            let first = all.len();
            all.extend(times.iter().enumerate().map(|(i, time)| (post(first + i, *time), *time)));
            let posts: Vec<_> = all[first..].iter().map(|(post, _)| post.as_str()).collect();
            fs::write(folder.join(format!("{number:07}")), format!("[{}]", posts.join(",")))
                .unwrap();
        }
    }
    all
}

/// The posts that a replay hands over. Only its pauses move the clock.
struct Played {
    posts: Vec<String>,
    counts: Counts,
    pauses: Vec<Duration>,
}

fn play(root: &std::path::Path, replay: impl FnOnce(Place) -> Replay) -> Played {
    let place = Place::Folder(root.to_path_buf());
    let names = place.partitions(&Choice::glob("*")).unwrap();
    let splits: Vec<_> =
        names.into_iter().map(|partition| Split { partition, mark: None, ended: false }).collect();
    let replay = replay(place);
    let (mut pace, mut now) = (Pace::new(replay.tempo), Duration::ZERO);
    let mut played = Played { posts: Vec::new(), counts: Counts::default(), pauses: Vec::new() };
    replay
        .run(&splits, &mut |event| {
            let Event::Handed(handed, anew) = event else { panic!("nothing is damaged") };
            let pause = pace.wait(handed.time, anew, now).wait;
            now += pause;
            played.pauses.push(pause);
            played.counts.add(&handed);
            played
                .posts
                .extend(handed.posts.iter().map(|post| String::from_utf8(post.to_vec()).unwrap()));
            true
        })
        .unwrap();
    played
}

fn sorted(mut posts: Vec<String>) -> Vec<String> {
    posts.sort();
    posts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_posts_are_handed_over_and_no_pause_is_longer_than_the_bound(
        partitions in prop::collection::vec(prop::collection::vec(prop::collection::vec(times(), 1..20), 1..4), 1..4),
        by_time in any::<bool>(),
        factor in prop::sample::select(vec![1e-6, 0.5, 60.0, 1e9]),
        max_pause in 0u64..100,
        range in (prop::option::of(DAY..DAY + 3_600), prop::option::of(DAY..DAY + 3_600)),
    ) {
        let root = tempfile::tempdir().unwrap();
        let all = write(root.path(), &partitions);
        let moment = |seconds: i64| {
            OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap().parse().unwrap()
        };
        let times = PostTimes { from: range.0.map(moment), to: range.1.map(moment) };
        let tempo = Tempo { speed: Speed::Times(factor), max_pause: Duration::from_secs(max_pause) };
        let order = if by_time { Order::Time } else { Order::Partition };
        let played = play(root.path(), |place| Replay {
            place,
            order,
            tempo,
            times,
            sorting: Sorting::default(),
            on_damage: OnDamage::Stop,
        });
        let meant = |time: &Option<i64>| match (range, time) {
            ((None, None), _) => true,
            (_, None) => false,
            ((from, to), Some(time)) => from.is_none_or(|from| from <= *time) && to.is_none_or(|to| *time < to),
        };
        let expected: Vec<_> = all.iter().filter(|(_, time)| meant(time)).map(|(post, _)| post.clone()).collect();
        if by_time {
            prop_assert_eq!(sorted(played.posts), sorted(expected));
        } else {
            prop_assert_eq!(played.posts, expected);
        }
        prop_assert!(played.pauses.iter().all(|pause| *pause <= tempo.max_pause), "{:?}", played.pauses);
        let untimed = if range == (None, None) { 0 } else { all.iter().filter(|(_, time)| time.is_none()).count() };
        prop_assert_eq!(played.counts.untimed, untimed as u64);
    }
}

#[test]
fn posts_behind_newer_ones_are_counted_and_a_stray_moves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let t = Some(DAY);
    let after = |seconds: i64| Some(DAY + seconds);
    write(
        root.path(),
        &[vec![
            vec![Some(0), t, after(1)],
            vec![Some(4_070_908_800), after(2), after(1), after(4)],
        ]],
    );
    let played = play(root.path(), |place| Replay {
        place,
        order: Order::Partition,
        tempo: Tempo { speed: Speed::Times(1.0), max_pause: Duration::from_secs(10) },
        times: PostTimes::default(),
        sorting: Sorting::default(),
        on_damage: OnDamage::Stop,
    });
    assert_eq!((played.posts.len(), played.counts.out_of_order), (7, 2));
    let pauses: Vec<_> =
        played.pauses.iter().map(Duration::as_secs).filter(|pause| *pause > 0).collect();
    assert_eq!(pauses, [10, 1, 10, 2]);
}

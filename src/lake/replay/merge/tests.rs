//! Tests the merge over splits in memory, ended and begun again at every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60;

/// The posts of some splits: each is a list of files, each of which is a list of times in seconds;
/// `None` for a post without one.
type Lake = Vec<Vec<Vec<Option<i64>>>>;

fn post(split: usize, place: Position, time: Option<i64>) -> Post {
    let time = time.map_or(String::new(), |time| {
        let time = time::OffsetDateTime::from_unix_timestamp(time).unwrap();
        let time = time.format(&time::format_description::well_known::Rfc3339).unwrap();
        format!("\"created_at\":\"{time}\",")
    });
    Post::check(format!("{{\"toot\":{{{time}\"id\":\"{split} {place}\"}}}}").into_bytes().into())
        .unwrap()
}

/// A split in memory, which returns some posts at a time.
struct InMemory {
    runs: VecDeque<Run>,
}

impl InMemory {
    fn of(lake: &Lake, split: usize, from: Option<Position>, size: usize) -> Self {
        let mut runs = VecDeque::new();
        for (file, times) in lake[split].iter().enumerate() {
            let file = format!("{file:07}").parse().unwrap();
            let place = |index: usize| Position { file, posts: index as u64 + 1 };
            let posts = times
                .iter()
                .enumerate()
                .map(|(index, time)| (place(index), post(split, place(index), *time)));
            let left: Vec<_> =
                posts.filter(|(place, _)| from.is_none_or(|from| *place > from)).collect();
            for part in left.chunks(size) {
                runs.push_back(Run {
                    posts: part.iter().map(|(_, post)| post.clone()).collect(),
                    behind: part[part.len() - 1].0,
                });
            }
        }
        Self { runs }
    }
}

impl Source for InMemory {
    fn next(&mut self) -> Result<Option<Run>> {
        Ok(self.runs.pop_front())
    }
}

/// The progress of each split: `None` at its end.
type Marks = BTreeMap<usize, Option<Mark>>;

/// Merges the splits of a task from these marks on, until `steps` pieces were handed over. Returns
/// the posts, the number of late ones, and true if that was everything.
fn merge(
    lake: &Lake,
    task: &[usize],
    marks: &mut Marks,
    limits: Limits,
    (size, steps): (usize, usize),
) -> (Vec<String>, u64, bool) {
    let entry = |split: &usize| match marks.get(split) {
        Some(None) => None,
        mark => Some(Entry { mark: mark.copied().flatten(), begins: None }),
    };
    let open = |lane: usize, from| Ok(InMemory::of(lake, task[lane], from, size));
    let mut merge = Merge::new(task.iter().map(entry).collect(), open, limits);
    let (mut posts, mut late) = (Vec::new(), 0);
    for _ in 0..steps {
        let Some(handed) = merge.next_handed().unwrap() else { return (posts, late, true) };
        late += handed.out_of_order;
        posts.extend(handed.posts.iter().map(|post| post.id().unwrap().into_owned()));
        for (lane, mark) in handed.marks {
            // A checkpoint stores marks as text.
            marks.insert(task[lane], mark.map(|mark| mark.to_string().parse().unwrap()));
        }
    }
    (posts, late, false)
}

fn limits(disorder: i64, buffer: usize, posts_max: usize) -> Limits {
    Limits { disorder: Nanos::from(disorder) * 1_000_000_000, buffer, posts_max, span: None }
}

fn all_ids(lake: &Lake) -> Vec<String> {
    let mut ids: Vec<String> = (0..lake.len())
        .flat_map(|split| InMemory::of(lake, split, None, usize::MAX).runs)
        .flat_map(|run| run.posts)
        .map(|post| post.id().unwrap().into_owned())
        .collect();
    ids.sort();
    ids
}

#[test]
fn splits_that_overlap_come_out_by_time() {
    let lake = vec![
        vec![vec![Some(1), Some(4), Some(3)], vec![Some(9)]],
        vec![vec![Some(2), Some(5), Some(5)]],
    ];
    let (ids, late, all) =
        merge(&lake, &[0, 1], &mut Marks::new(), limits(2, 1 << 20, 100), (1, 100));
    assert_eq!(
        ids,
        [
            "0 0000000:1",
            "1 0000000:1",
            "0 0000000:3",
            "0 0000000:2",
            "1 0000000:2",
            "1 0000000:3",
            "0 0000001:1"
        ]
    );
    assert_eq!((late, all), (0, true));
}

#[test]
fn what_is_late_goes_on_at_once_and_is_counted() {
    let lake = vec![vec![vec![Some(100), Some(200), Some(150), None, Some(201)]]];
    let (ids, late, _) = merge(&lake, &[0], &mut Marks::new(), limits(60, 1 << 20, 9), (1, 100));
    assert_eq!(ids, ["0 0000000:1", "0 0000000:4", "0 0000000:3", "0 0000000:2", "0 0000000:5"]);
    assert_eq!(late, 0);
    let (ids, late, _) = merge(&lake, &[0], &mut Marks::new(), limits(0, 0, 1), (1, 100));
    assert_eq!(ids, ["0 0000000:1", "0 0000000:2", "0 0000000:3", "0 0000000:4", "0 0000000:5"]);
    assert_eq!(late, 1);
}

fn any_lake() -> impl Strategy<Value = Lake> {
    let time = prop_oneof![8 => (0..20 * MINUTE).prop_map(Some), 1 => Just(None)];
    let file = prop::collection::vec(time, 0..12);
    prop::collection::vec(prop::collection::vec(file, 0..4), 1..5)
}

/// Returns the same posts with this much disorder in each split.
fn nearly_sorted(mut lake: Lake, disorder: i64) -> Lake {
    for split in &mut lake {
        let mut times: Vec<i64> =
            split.iter().flatten().copied().map(|time| time.unwrap_or(7)).collect();
        times.sort_by_key(|time| time + (time * 7919) % (disorder + 1));
        let mut times = times.into_iter();
        split.iter_mut().flatten().for_each(|time| *time = times.next());
    }
    lake
}

proptest! {
    #[test]
    fn each_post_comes_once_wherever_it_is_ended(
        lake in any_lake(),
        ends in prop::collection::vec((0..6_usize, 0..3_usize, 1..6_usize), 0..12),
        disorder in 0..10 * MINUTE,
        buffer in 0..3000_usize,
    ) {
        let (mut marks, mut found) = (Marks::new(), Vec::new());
        let unbroken = [(usize::MAX, 0, 3)];
        for (steps, tasks, size) in ends.iter().chain(&unbroken) {
            // The splits are distributed anew each time, and a task that was ahead continues from
            // its position.
            for task in 0..=*tasks {
                let splits: Vec<usize> = (0..lake.len()).filter(|split| split % (tasks + 1) == task).collect();
                let limits = limits(disorder, buffer, *size);
                found.extend(merge(&lake, &splits, &mut marks, limits, (*size, *steps)).0);
            }
        }
        found.sort();
        prop_assert_eq!(found, all_ids(&lake));
        prop_assert!(marks.values().all(Option::is_none));
    }

    #[test]
    fn what_is_within_the_disorder_is_sorted(lake in any_lake(), disorder in 0..10 * MINUTE, size in 1..6_usize) {
        let lake = nearly_sorted(lake, disorder);
        let splits: Vec<usize> = (0..lake.len()).collect();
        let (ids, late, _) = merge(&lake, &splits, &mut Marks::new(), limits(disorder, 1 << 20, 5), (size, usize::MAX));
        prop_assert_eq!(late, 0);
        let time = |id: &String| {
            let (split, place) = id.split_once(' ').unwrap();
            let place: Position = place.parse().unwrap();
            let file: usize = place.file.to_string().parse().unwrap();
            lake[split.parse::<usize>().unwrap()][file][place.posts as usize - 1]
        };
        prop_assert!(ids.iter().map(time).is_sorted());
    }

    #[test]
    fn memory_is_bounded(lake in any_lake(), buffer in 0..3000_usize) {
        let open = |lane: usize, from| Ok(InMemory::of(&lake, lane, from, 2));
        let entries = lake.iter().map(|_| Some(Entry { mark: None, begins: Some(0) })).collect();
        let mut merge = Merge::new(entries, open, limits(100_000, buffer, 4));
        while merge.next_handed().unwrap().is_some() {
            // The two posts that one read adds are handed over before the next read.
            prop_assert!(merge.used <= buffer + 2 * (200 + HELD_BYTES + SLOT_BYTES) || merge.all == Nanos::MAX);
        }
        prop_assert_eq!(merge.used, 0);
        prop_assert!(merge.heap.is_empty());
    }
}

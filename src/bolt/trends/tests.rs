//! The configuration, and the detector on posts of its own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::detector::TrendRow;
use super::*;
use crate::keys::{SHARED_GROUP, key_group, task_of_group};
use crate::tuple::to_json;

fn config(given: &str) -> Trends {
    crate::registry::ron_options().from_str(given).unwrap()
}

fn keys() -> Fields {
    Fields::new(["key_type", "key", "platform", "post_id", "author_id"])
}

fn posts() -> Fields {
    Fields::new(["post", "post_id", "stream"])
}

#[track_caller]
fn check_problems(given: &str, inputs: &[Fields], expected: &[&str]) {
    let problems = config(given).streams(inputs).unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| problem.what.as_str()).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn problems_say_what_was_expected() {
    let inputs = [keys(), posts()];
    assert!(config("()").streams(&inputs).is_ok());
    check_problems("(bucket: \"100ms\")", &inputs, &["from 1s to 1d, found 100ms"]);
    check_problems("(enter: 2)", &inputs, &["at least that of exit, 3, found 2"]);
    check_problems("(exit: 0)", &inputs, &["a z-score above 0, found 0"]);
    check_problems("(p_value: 1.5)", &inputs, &["above 0 and up to 1, found 1.5"]);
    check_problems("()", &[keys()], &["`All(\"features\")`"]);
    check_problems("()", &[posts()], &["expected an input of keys"]);
    check_problems(
        "()",
        &[Fields::new(["key", "post_id"]), posts()],
        &["to have \"key_type\", found \"key\", \"post_id\""],
    );
}

#[test]
fn every_task_needs_its_keys_and_all_posts() {
    assert_eq!(config("()").input_share(&keys()), InputShare::ByKey);
    assert_eq!(config("()").input_share(&posts()), InputShare::Whole);
    assert_eq!(config("()").state_key(), Some(vec!["key_type".into(), "key".into()]));
}

/// A post of a key.
#[derive(Clone, Debug)]
struct KeyedPost {
    time_ms: i64,
    key: u8,
    author: u64,
    number: u64,
}

/// The tasks of a bolt, which share the keys, with their saved state.
struct Tasks {
    config: Trends,
    tasks: Vec<Detector>,
    saved: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    watermark: EventTime,
    rows: Vec<String>,
}

fn key_values(key: u8) -> [Value; 2] {
    ["hashtag".into(), Value::from(format!("#{key}"))]
}

fn json(row: &TrendRow) -> String {
    let mut json = Vec::new();
    to_json(&row::fields(), &row::values(row, 1_000), &mut json);
    String::from_utf8(json).unwrap()
}

impl Tasks {
    fn new(config: Trends, tasks: usize) -> Self {
        let saved = BTreeMap::new();
        let mut this =
            Self { config, tasks: Vec::new(), saved, watermark: EventTime::UNKNOWN, rows: vec![] };
        this.start(tasks);
        this
    }

    /// Continues with another number of tasks, from the saved state.
    fn start(&mut self, tasks: usize) {
        self.tasks = (0..tasks)
            .map(|_| Detector::new(self.config.rules(), self.config.per_author.get(), None))
            .collect();
        for ((group, key), value) in &self.saved {
            for (number, task) in self.tasks.iter_mut().enumerate() {
                if *group == SHARED_GROUP || task_of_group(*group, tasks) == number {
                    task.restore(key, value).unwrap();
                }
            }
        }
        let watermark = self.watermark;
        if watermark != EventTime::UNKNOWN {
            self.advance(watermark);
        }
    }

    fn save(&mut self) {
        for (number, task) in self.tasks.iter_mut().enumerate() {
            for change in task.snapshot(number == 0) {
                let place = (change.key_group, change.key);
                match change.value {
                    Some(value) => drop(self.saved.insert(place, value)),
                    None => drop(self.saved.remove(&place)),
                }
            }
        }
    }

    fn take(&mut self, post: &KeyedPost) {
        let time = EventTime::from_unix_millis(post.time_ms);
        let [key_type, key] = key_values(post.key);
        let owner = task_of_group(key_group([&key_type, &key]), self.tasks.len());
        for (number, task) in self.tasks.iter_mut().enumerate() {
            let bucket = task.open_bucket(time).expect("no post is late");
            task.add_posts(bucket, 1);
            if number == owner {
                let (key_type, key) = (&key_type, &key);
                let text = Text::new(post.number.to_string());
                task.count(bucket, KeyPost { key_type, key, author: post.author, post: text });
            }
        }
    }

    /// Ends all sources; the sources of the next run continue at the same place.
    fn end(&mut self) {
        let watermark = self.watermark;
        self.advance(EventTime::END);
        self.watermark = watermark;
    }

    fn advance(&mut self, time: EventTime) {
        self.watermark = time;
        for task in &mut self.tasks {
            self.rows.extend(task.advance(time).iter().map(json));
        }
    }
}

#[test]
fn a_bucket_that_is_cut_off_is_told_again_with_all_of_its_posts() {
    let posts = posts_with_burst(&[1]);
    let mut tasks = Tasks::new(quick(), 1);
    let cut = posts.iter().position(|post| post.time_ms > 130_400).unwrap();
    let rows_of = |tasks: &mut Tasks| std::mem::take(&mut tasks.rows);
    posts[..cut].iter().for_each(|post| tasks.take(post));
    tasks.end();
    tasks.save();
    let cut_off = rows_of(&mut tasks);
    // A run without more posts has nothing to report.
    for _ in 0..2 {
        tasks.start(1);
        tasks.end();
        tasks.save();
        assert_eq!(rows_of(&mut tasks), [""; 0]);
    }
    tasks.start(2);
    posts[cut..].iter().for_each(|post| tasks.take(post));
    tasks.end();
    let rest = rows_of(&mut tasks);
    assert_eq!(
        cut_off.last().unwrap().split("\"started").next(),
        rest[0].split("\"started").next()
    );
    assert_eq!(last_rows(&[cut_off, rest].concat()), in_order(&posts));
}

/// Returns the last of the rows with the same key and bucket, sorted, like the table of a
/// warehouse.
fn last_rows(rows: &[String]) -> Vec<String> {
    let mut table = BTreeMap::new();
    for row in rows {
        let (key, _) = row.split_once("\"started_at\"").unwrap();
        table.insert(key.to_owned(), row.clone());
    }
    let mut rows: Vec<String> = table.into_values().collect();
    rows.sort();
    rows
}

/// Posts of 200 s with a burst, in the order of their times.
fn posts_with_burst(noise: &[u8]) -> Vec<KeyedPost> {
    let mut posts = Vec::new();
    for second in 0..200_i64 {
        let drawn = u64::from(noise[second as usize % noise.len()]);
        for at in 0..12 + drawn % 5 {
            let number = second as u64 * 100 + at;
            let author = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 50;
            let key = if (120..150).contains(&second) && at > 3 { 7 } else { (at % 4) as u8 };
            posts.push(KeyedPost { time_ms: second * 1_000 + at as i64 * 50, key, author, number });
        }
    }
    posts
}

const LATENESS_MS: i64 = 5_000;

fn quick() -> Trends {
    config(
        "(bucket: \"1s\", min_count: 5, min_authors: 3, warm_up: 20, half_life: 20, per_author: 2, \
            freeze: 25)",
    )
}

fn in_order(posts: &[KeyedPost]) -> Vec<String> {
    let mut tasks = Tasks::new(quick(), 1);
    posts.iter().for_each(|post| tasks.take(post));
    tasks.advance(EventTime::END);
    tasks.rows.sort();
    tasks.rows
}

#[test]
fn a_burst_is_one_trend_with_a_row_for_each_bucket() {
    let rows = in_order(&posts_with_burst(&[0, 1, 2, 3, 4]));
    assert!(rows.iter().all(|row| row.contains("\"key\":\"#7\"")), "{rows:#?}");
    assert!(rows.iter().all(|row| row.contains("\"started_at\":\"1970-01-01T00:02:00.000000Z\"")));
    assert!((25..=30).contains(&rows.len()), "{}", rows.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn neither_order_nor_tasks_nor_restarts_change_a_row(
        noise in prop::collection::vec(any::<u8>(), 50),
        shuffle in prop::collection::vec(0..LATENESS_MS, 97),
        steps in prop::collection::vec((1_usize..400, 1_usize..9, any::<bool>(), any::<bool>()), 1..8),
    ) {
        let posts = posts_with_burst(&noise);
        let expected = in_order(&posts);
        prop_assert!(!expected.is_empty());
        let mut late = posts;
        let mut at = 0;
        late.sort_by_cached_key(|post| {
            at += 1;
            post.time_ms + shuffle[at % shuffle.len()]
        });
        let mut tasks = Tasks::new(quick(), 3);
        let mut newest = i64::MIN;
        let mut left = &late[..];
        let mut step = 0;
        while !left.is_empty() {
            let (length, count, restarts, ends) = steps[step % steps.len()];
            step += 1;
            let (now, later) = left.split_at(length.min(left.len()));
            left = later;
            for post in now {
                tasks.take(post);
                newest = newest.max(post.time_ms);
            }
            tasks.advance(EventTime::from_unix_millis(newest - LATENESS_MS));
            if ends {
                // The sources end, and the next run has more of them.
                tasks.end();
            }
            tasks.save();
            if ends || restarts {
                tasks.start(count);
            }
        }
        tasks.end();
        let told = last_rows(&tasks.rows);
        if steps.iter().take(step).any(|(.., ends)| *ends) {
            // The row of an unfinished bucket stays even if the whole bucket isn't a trend.
            let missing: Vec<_> = expected.iter().filter(|row| !told.contains(row)).collect();
            prop_assert!(missing.is_empty(), "{:?}", missing);
        } else {
            prop_assert_eq!(told, expected);
        }
    }
}

#[test]
fn one_authors_spam_makes_no_trend() {
    let mut posts = posts_with_burst(&[1]);
    for post in posts.iter_mut().filter(|post| post.key == 7) {
        post.author = 1;
    }
    assert_eq!(in_order(&posts), [""; 0]);
}

#[test]
fn a_key_that_fades_is_forgotten_and_one_that_trends_is_not() {
    let mut tasks = Tasks::new(quick(), 1);
    for second in 0..400_i64 {
        // In each second, a key that never comes again, beside four that do.
        for at in 0..20 {
            let key = if at == 19 { 10 + (second % 200) as u8 } else { (at % 4) as u8 };
            let number = second as u64 * 20 + at;
            tasks.take(&KeyedPost { time_ms: second * 1_000, key, author: number % 37, number });
        }
        tasks.advance(EventTime::from_unix_millis(second * 1_000));
    }
    let keys = tasks.tasks[0].size();
    assert!(keys.keys < 4 + 2 * 64 + 80, "{keys:?}");
    assert_eq!(keys.forgotten, 0, "fading is no loss");
    assert_eq!(tasks.rows, [""; 0]);
}

#[test]
fn provisional_rows_come_before_a_bucket_is_over() {
    let mut detector = Detector::new(quick().rules(), 2, None);
    let [key_type, key] = key_values(7);
    for bucket in 0..40 {
        detector.add_posts(bucket, 100);
    }
    detector.advance(EventTime::from_unix_millis(39_000));
    let mut provisional = Vec::new();
    for author in 0..20 {
        let post = Text::new(author.to_string());
        let (key_type, key) = (&key_type, &key);
        provisional.extend(detector.count(39, KeyPost { key_type, key, author, post }));
    }
    let counts: Vec<_> = provisional.iter().map(|row| row.observed.count).collect();
    assert_eq!(counts, [6, 7, 8, 10, 12, 15, 18]);
    let rows = detector.advance(EventTime::END);
    assert_eq!(rows.iter().map(|row| row.observed.count).collect::<Vec<_>>(), [20]);
}

mod evaluation_tests;

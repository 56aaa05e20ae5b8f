//! Compares windows with a naive reference, in which each window collects its own tuples from all.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keys::{key_group, task_of_group};

fn config(given: &str) -> Window {
    crate::registry::ron_options().from_str(given).unwrap()
}

fn input() -> Fields {
    Fields::new(["key", "n", "tags"])
}

/// A tuple of the input.
#[derive(Clone, Debug)]
struct Given {
    time: i64,
    values: [Value; 3],
}

fn given(time: i64, key: u8, n: i64) -> Given {
    let tags = [Value::Int(n % 3), Value::Int(n % 5)];
    let n = if n % 4 == 0 { Value::Float(n as f64 / 8.0) } else { Value::Int(n) };
    let n = if n == Value::Int(7) { Value::Null } else { n };
    Given { time, values: [Value::from(key.to_string()), n, Value::List(tags.into())] }
}

const AGGREGATES: &str = "aggregates: [Count, Sum(\"n\"), Min(\"n\"), Max(\"n\"), Mean(\"n\"), \
    Distinct(\"tags\"), \
     Top(\"tags\", 2), Quantiles(\"n\", [0.5])]";

/// The tasks of a bolt, which share the keys, with their saved state.
struct Tasks {
    config: Window,
    tasks: Vec<Windowing>,
    saved: BTreeMap<(u16, Vec<u8>), Vec<u8>>,
    watermark: EventTime,
    rows: Vec<String>,
    late: usize,
}

fn text(row: &Row) -> String {
    format!("{:?} {} {} {:?}", row.by, row.start_ms, row.end_ms, row.values)
}

impl Tasks {
    fn new(config: Window, tasks: usize) -> Self {
        let mut this = Self {
            config,
            tasks: Vec::new(),
            saved: BTreeMap::new(),
            watermark: EventTime::UNKNOWN,
            rows: Vec::new(),
            late: 0,
        };
        this.start(tasks);
        this
    }

    fn start(&mut self, tasks: usize) {
        let context = BoltContext { inputs: vec![input()], ..BoltContext::default() };
        self.tasks = (0..tasks).map(|_| self.config.task(&context).unwrap()).collect();
        for ((group, key), value) in &self.saved {
            self.tasks[task_of_group(*group, tasks)].restore(key, value).unwrap();
        }
        if self.watermark != EventTime::UNKNOWN {
            self.advance(self.watermark);
        }
    }

    fn save(&mut self) {
        for task in &mut self.tasks {
            for change in task.snapshot() {
                let place = (change.key_group, change.key);
                match change.value {
                    Some(value) => drop(self.saved.insert(place, value)),
                    None => drop(self.saved.remove(&place)),
                }
            }
        }
    }

    fn take(&mut self, given: &Given) {
        let tasks = self.tasks.len();
        let task = &mut self.tasks[task_of_group(key_group([&given.values[0]]), tasks)];
        let time = EventTime::from_unix_millis(given.time);
        let tuple = Tuple { values: &given.values, input: 0, time };
        match task.add(&tuple) {
            Ok(row) => self.rows.extend(row.iter().map(text)),
            Err(()) => self.late += 1,
        }
    }

    fn advance(&mut self, time: EventTime) {
        self.watermark = time;
        for task in &mut self.tasks {
            task.watermark = time;
            self.rows.extend(task.advance().iter().map(text));
        }
    }

    fn end(mut self) -> Vec<String> {
        self.advance(EventTime::END);
        assert_eq!(self.late, 0);
        assert!(self.tasks.iter().all(|task| task.keys.is_empty() && task.due.is_empty()));
        self.rows.sort();
        self.rows
    }
}

/// The windows of one key by the definition of each kind: first and last time, and the tuples.
fn windows_of<'a>(config: &Window, tuples: &[&'a Given]) -> Vec<(i64, i64, Vec<&'a Given>)> {
    let mut windows: Vec<(i64, i64, Vec<&'a Given>)> = Vec::new();
    match config.over.checked().unwrap() {
        Windows::Paned { pane_ms, panes } => {
            let length = pane_ms * panes;
            for start in (-length..4_000 + length).step_by(pane_ms as usize) {
                let start = start.div_euclid(pane_ms) * pane_ms;
                let within = |given: &&&Given| (start..start + length).contains(&given.time);
                windows.push((
                    start,
                    start + length,
                    tuples.iter().filter(within).copied().collect(),
                ));
            }
            windows.sort_by_key(|(start, ..)| *start);
            windows.dedup_by_key(|(start, ..)| *start);
        }
        Windows::Session { gap_ms } => {
            let mut sorted = tuples.to_vec();
            sorted.sort_by_key(|given| given.time);
            for given in sorted {
                match windows.last_mut() {
                    Some((_, end, within)) if given.time < *end => {
                        *end = given.time + gap_ms;
                        within.push(given);
                    }
                    _ => windows.push((given.time, given.time + gap_ms, vec![given])),
                }
            }
        }
        Windows::Count(_) => unreachable!("count windows depend on the order"),
    }
    windows.retain(|(.., within)| !within.is_empty());
    windows
}

fn naive(config: &Window, tuples: &[Given]) -> Vec<String> {
    let mut by_key: BTreeMap<String, Vec<&Given>> = BTreeMap::new();
    for given in tuples {
        by_key.entry(format!("{:?}", given.values[0])).or_default().push(given);
    }
    let mut rows = Vec::new();
    for tuples in by_key.values() {
        for (start_ms, end_ms, within) in windows_of(config, tuples) {
            let by = vec![within[0].values[0].clone()];
            rows.push(text(&Row { by, start_ms, end_ms, values: naive_values(&within) }));
        }
    }
    rows.sort();
    rows
}

fn naive_values(within: &[&Given]) -> Vec<Value> {
    let numbers: Vec<&Value> =
        within.iter().map(|given| &given.values[1]).filter(|n| **n != Value::Null).collect();
    let float = |value: &&Value| match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        other => panic!("{other:?}"),
    };
    // Eighths add up exactly in any order.
    let sum: f64 = numbers.iter().map(float).sum();
    let is_whole = numbers.iter().all(|number| number.as_int().is_some());
    let extreme = |sign: f64| {
        let best = numbers.iter().max_by(|a, b| {
            let [x, y] = [a, b].map(|number| sign * float(number));
            let whole = |value: &&&Value| value.as_int().is_some();
            // Of equal numbers, the least is a whole one, and the greatest a float.
            x.total_cmp(&y)
                .then((sign * f64::from(whole(b))).total_cmp(&(sign * f64::from(whole(a)))))
        });
        best.map_or(Value::Null, |value| (*value).clone())
    };
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for given in within {
        let Value::List(tags) = &given.values[2] else { panic!("a list") };
        tags.iter().for_each(|tag| *counts.entry(tag.as_int().unwrap()).or_default() += 1);
    }
    let mut top: Vec<(i64, i64)> = counts.iter().map(|(tag, count)| (-count, *tag)).collect();
    top.sort_unstable();
    let top = top
        .iter()
        .take(2)
        .map(|(count, tag)| Value::List([*tag, -count, 0].map(Value::Int).into()));
    let mut quantiles = sketch::Quantiles::default();
    numbers.iter().for_each(|number| quantiles.add(float(number)));
    let median = quantiles.quantile(0.5).map(|number| {
        let rounded: f64 = format!("{number:.3e}").parse().unwrap();
        Value::List([Value::Float(rounded)].into())
    });
    let mean = sum / numbers.len() as f64;
    vec![
        Value::Int(within.len() as i64),
        if is_whole { Value::Int(sum as i64) } else { Value::Float(sum) },
        extreme(-1.0),
        extreme(1.0),
        if numbers.is_empty() { Value::Null } else { Value::Float(mean) },
        Value::Int(counts.len() as i64),
        Value::List(top.collect()),
        median.unwrap_or(Value::Null),
    ]
}

const LATENESS: i64 = 300;

fn any_over() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "Tumbling(\"100ms\")",
        "Tumbling(\"1s\")",
        "Sliding(\"400ms\", \"100ms\")",
        "Sliding(\"1s\", \"500ms\")",
        "Session(\"50ms\")",
        "Session(\"200ms\")",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn windows_are_those_of_the_definition_in_any_order_with_any_tasks_and_restarts(
        over in any_over(),
        tuples in prop::collection::vec((0_i64..3_000, 0_u8..4, 0_i64..40, 0..LATENESS), 1..120),
        steps in prop::collection::vec((1_usize..30, 1_usize..9, any::<bool>()), 1..8),
    ) {
        let config = config(&format!("(over: {over}, by: [\"key\"], {AGGREGATES})"));
        let mut tuples = tuples;
        tuples.sort_by_key(|(time, _, _, delay)| time + delay);
        let tuples: Vec<Given> =
            tuples.into_iter().map(|(time, key, n, _)| given(time, key, n)).collect();
        let mut tasks = Tasks::new(config.clone(), 2);
        let (mut newest, mut step) = (i64::MIN, 0);
        let mut left = &tuples[..];
        while !left.is_empty() {
            let (length, count, restarts) = steps[step % steps.len()];
            step += 1;
            let (now, later) = left.split_at(length.min(left.len()));
            left = later;
            for given in now {
                tasks.take(given);
                newest = newest.max(given.time);
            }
            tasks.advance(EventTime::from_unix_millis(newest - LATENESS));
            tasks.save();
            if restarts {
                tasks.start(count);
            }
        }
        prop_assert_eq!(tasks.end(), naive(&config, &tuples));
    }
}

#[test]
fn a_tuple_is_late_once_all_its_windows_are_over() {
    let late_at = |over: &str, time: i64, watermark: i64| {
        let mut tasks = Tasks::new(config(&format!("(over: {over}, by: [\"key\"])")), 1);
        tasks.take(&given(500, 0, 1));
        tasks.advance(EventTime::from_unix_millis(watermark));
        tasks.take(&given(time, 0, 1));
        tasks.late > 0
    };
    assert!(!late_at("Tumbling(\"100ms\")", 500, 599));
    assert!(late_at("Tumbling(\"100ms\")", 599, 600));
    assert!(!late_at("Sliding(\"300ms\", \"100ms\")", 500, 799));
    assert!(late_at("Sliding(\"300ms\", \"100ms\")", 599, 800));
    // The session from 500 on is open, and includes the tuple that came before.
    assert!(!late_at("Session(\"100ms\")", 450, 580));
    assert!(late_at("Session(\"100ms\")", 450, 600));
}

#[test]
fn a_window_that_is_over_stays_so_for_a_key_that_was_not_in_it() {
    let mut tasks = Tasks::new(config("(over: Sliding(\"300ms\", \"100ms\"), by: [\"key\"])"), 1);
    tasks.take(&given(500, 0, 1));
    tasks.advance(EventTime::from_unix_millis(720));
    tasks.take(&given(510, 1, 1));
    let rows = tasks.end();
    let of_key = |key: &str| rows.iter().filter(|row| row.contains(key)).count();
    assert_eq!((of_key("\"0\""), of_key("\"1\"")), (3, 1), "{rows:#?}");
}

#[test]
fn count_windows_come_as_they_fill_and_the_rest_at_the_end() {
    let mut tasks = Tasks::new(config("(over: Count(3), by: [\"key\"])"), 1);
    (0..7).for_each(|at| tasks.take(&given(at * 10, 0, at)));
    assert_eq!(tasks.rows.len(), 2);
    let rows = tasks.end();
    let expected = [
        "[Text(\"0\")] 0 20 [Int(3)]",
        "[Text(\"0\")] 30 50 [Int(3)]",
        "[Text(\"0\")] 60 60 [Int(1)]",
    ];
    assert_eq!(rows, expected);
}

#[test]
fn without_a_field_there_is_one_window_over_everything() {
    let mut tasks = Tasks::new(config("(over: Tumbling(\"1s\"))"), 1);
    (0..10).for_each(|at| tasks.take(&given(at, at as u8, at)));
    assert_eq!(tasks.end(), ["[Null] 0 1000 [Int(10)]"]);
    let names = config("(over: Tumbling(\"1s\"))").names();
    assert_eq!(names, ["window_start", "window_end", "count"]);
}

#[test]
fn problems_say_what_was_expected() {
    for (given, expected) in [
        ("(over: Sliding(\"10s\", \"3s\"))", "1 to 10000 times 3s, found 10s"),
        ("(over: Tumbling(\"0s\"))", "at least 1ms"),
        ("(over: Tumbling(\"1s\"), aggregates: [])", "at least one aggregate"),
        ("(over: Tumbling(\"1s\"), aggregates: [Sum(\"likes\")])", "uses \"likes\", but an input"),
        ("(over: Tumbling(\"1s\"), by: [\"kye\"])", "uses \"kye\", but an input"),
        (
            "(over: Tumbling(\"1s\"), aggregates: [Count, Count])",
            "\"count\" would be emitted twice",
        ),
        ("(over: Tumbling(\"1s\"), aggregates: [Quantiles(\"n\", [1.5])])", "0 to 1, found 1.5"),
    ] {
        let problems = config(given).streams(&[input()]).unwrap_err();
        assert!(problems[0].what.contains(expected), "{problems:?}");
    }
    assert!(config("(over: Session(\"30m\"), by: [\"key\"])").streams(&[input()]).is_ok());
}

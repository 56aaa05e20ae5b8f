//! Tests the timetable, with and without posts that have a wrong time.

use super::*;

const SECOND: Nanos = 1_000_000_000;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pace(factor: f64, max_pause: u64) -> Pace {
    Pace::new(Tempo { speed: Speed::Times(factor), max_pause: at(max_pause) })
}

/// Checks the pauses, in seconds, before posts of one partition with these times, in seconds.
#[track_caller]
fn check(max_pause: u64, times: &[Nanos], pauses: &[u64]) {
    let (mut pace, mut now) = (pace(1.0, max_pause), at(5));
    let mut found = Vec::new();
    for time in times {
        let pause = pace.wait(Some(*time * SECOND), false, now);
        now += pause.wait;
        found.push(pause.wait.as_secs());
    }
    assert_eq!(found, pauses, "{times:?}");
}

const YEAR_2025: Nanos = 1_763_942_400;
const YEAR_2099: Nanos = 4_070_908_800;

#[test]
fn no_pause_is_longer_than_the_bound_and_the_tempo_goes_on() {
    let t = YEAR_2025;
    check(10, &[t, t + 3, t + 5_000, t + 5_002], &[0, 3, 10, 2]);
    check(10, &[0, t, t + 1, t + 3], &[0, 10, 1, 2]);
    check(10, &[t, YEAR_2099, t + 1, t + 3], &[0, 10, 0, 2]);
    check(10, &[t, 0, t + 1, t + 3], &[0, 0, 1, 2]);
    check(0, &[t, t + 3, t + 5_000, t], &[0, 0, 0, 0]);
    check(10, &[Nanos::MIN / SECOND, Nanos::MAX / SECOND, t], &[0, 10, 0]);
}

#[test]
fn strays_of_the_future_are_waited_for_once() {
    let t = YEAR_2025;
    check(
        10,
        &[t, YEAR_2099, t + 1, YEAR_2099 + 50, t + 3, YEAR_2099 + 99, t + 4],
        &[0, 10, 0, 0, 2, 0, 1],
    );
    check(10, &[t, YEAR_2099, 0, t + 1, t + 3], &[0, 10, 0, 0, 2]);
}

#[test]
fn many_posts_elsewhere_move_the_timetable() {
    let (mut times, mut pauses) = (vec![YEAR_2025], vec![0]);
    for i in 0..Nanos::from(STRAYS_MAX) {
        times.push(100 + i);
        pauses.push(0);
    }
    times.push(100 + Nanos::from(STRAYS_MAX));
    pauses.push(1);
    check(10, &times, &pauses);
}

#[test]
fn a_pause_says_how_long_it_would_have_been() {
    let mut pace = pace(60.0, 10);
    pace.wait(Some(0), true, at(0));
    let pause = pace.wait(Some(YEAR_2025 * SECOND), false, at(0));
    assert_eq!(
        pause.to_string(),
        "pauses for 10s before the next post, which is due in 340d (see max_pause)"
    );
}

#[test]
fn posts_are_due_at_their_distance_from_the_first() {
    let mut pace = pace(60.0, 3600);
    assert_eq!(pace.wait(Some(1000 * SECOND), true, at(7)).wait, at(0));
    assert_eq!(pace.wait(Some(1120 * SECOND), false, at(7)).wait, at(2));
    assert_eq!(pace.wait(Some(1120 * SECOND), false, at(8)).wait, at(1));
    assert_eq!(
        pace.wait(Some(1120 * SECOND), false, at(30)).wait,
        at(0),
        "who was held up catches up"
    );
    assert_eq!(
        pace.wait(Some(3000 * SECOND), false, at(30)).wait,
        at(7 + 33) - at(30) + Duration::from_nanos(333_333_333)
    );
    assert_eq!(pace.wait(None, false, at(30)).wait, at(0));
    assert_eq!(
        pace.wait(Some(500 * SECOND), false, at(30)).wait,
        at(0),
        "what is late doesn't wait"
    );
    assert_eq!(Pace::new(Tempo::default()).wait(Some(9), true, at(0)).wait, at(0));
}

#[test]
fn a_partition_further_back_begins_the_timetable_anew() {
    let mut pace = pace(1.0, 3600);
    assert_eq!(pace.wait(Some(100 * SECOND), true, at(0)).wait, at(0));
    assert_eq!(pace.wait(Some(110 * SECOND), false, at(10)).wait, at(0));
    assert_eq!(
        pace.wait(Some(120 * SECOND), true, at(10)).wait,
        at(10),
        "the next hour is waited for"
    );
    assert_eq!(pace.wait(Some(90 * SECOND), true, at(20)).wait, at(0));
    assert_eq!(pace.wait(Some(95 * SECOND), false, at(20)).wait, at(5));
}

#[test]
fn a_speed_is_max_or_a_factor() {
    let read = |text: &str| crate::registry::ron_options().from_str::<Speed>(text);
    assert_eq!(read("Max").unwrap(), Speed::Max);
    assert_eq!(read("60.0").unwrap(), Speed::Times(60.0));
    assert_eq!(read("2").unwrap(), Speed::Times(2.0));
    for bad in ["0.0", "-1", "\"fast\"", "1e99"] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert_eq!("max".parse(), Ok(Speed::Max));
    for bad in ["NaN", "inf", "fast", "0", "-1", "1e-300", "1e300", ""] {
        let error = bad.parse::<Speed>().unwrap_err();
        assert!(
            error.contains(
                "expected Max, or a factor of the original tempo from 0.000001 to 1000000000"
            ),
            "{error}"
        );
    }
}

//! Tests of the joins of connections to captured events, one event after another.

use std::time::Duration;

use super::cursor::{Mark, Position, at};
use super::join::{Joining, Resume, Step};

const S: i64 = 1_000_000;
const T: i64 = 1_800_000_000 * S;

fn mark(name: u64, second: i64) -> Mark {
    Mark { hash: name, time_us: T + second * S, seq: 0 }
}

/// Returns a position behind the events 1 to 100, one in each second, on the host `a`.
fn position() -> Position {
    let mut position = Position::default();
    position.set_host("a");
    for name in 1..=100 {
        position.event(mark(name, name as i64), at(T + 200 * S), name > 1);
    }
    position
}

fn steps(joining: &mut Joining, events: impl IntoIterator<Item = (Mark, bool)>) -> Vec<Step> {
    let steps = events.into_iter().map(|(event, known)| joining.step(event, known, Duration::ZERO));
    steps.collect()
}

#[test]
fn the_same_host_repeats_any_number_of_events_and_none_is_taken() {
    let position = position();
    let resume = Resume::plan(&position, "a", T + 200 * S);
    assert_eq!(resume, Resume::Same { asked_us: T + 95 * S });
    let mut joining = Joining::new(resume, &position, false, 0);
    let long_ago =
        (0..300_000).map(|n| (Mark { hash: 1_000_000 + n, time_us: T - S, seq: 0 }, false));
    let repeated = long_ago.chain((1..100).map(|name| (mark(name, name as i64), false)));
    assert!(steps(&mut joining, repeated).iter().all(|step| *step == Step::Skip));
    assert_eq!(steps(&mut joining, [(mark(100, 100), false)]), [Step::Joined]);
}

#[test]
fn the_same_host_that_begins_later_leaves_a_gap_however_short() {
    let position = position();
    let mut joining = Joining::new(Resume::Same { asked_us: T + 95 * S }, &position, false, 0);
    let gap = Step::Gap { from_us: T + 100 * S, to_us: T + 103 * S };
    assert_eq!(steps(&mut joining, [(mark(103, 103), false)]), [Step::Compare]);
    assert_eq!(joining.overdue(Duration::ZERO), Some(gap));
    let mut joining = Joining::new(Resume::Same { asked_us: T + 95 * S }, &position, false, 0);
    let later = (103..111).map(|name| (mark(name, name as i64), false));
    let steps = steps(&mut joining, later);
    assert!(steps[..7].iter().all(|step| *step == Step::Compare) && steps[7] == gap, "{steps:?}");
}

#[test]
fn a_new_event_that_overtakes_the_repeated_ones_leaves_no_gap() {
    let position = position();
    let mut joining = Joining::new(Resume::Same { asked_us: T + 95 * S }, &position, false, 0);
    let overtaking = (mark(101, 101), false);
    let repeated = (95..100).map(|name| (mark(name, name as i64), false));
    let steps = steps(
        &mut joining,
        [overtaking].into_iter().chain(repeated).chain([(mark(100, 100), false)]),
    );
    assert_eq!(steps.first(), Some(&Step::Compare));
    assert!(
        steps[1..6].iter().all(|step| *step == Step::Skip) && steps[6] == Step::Joined,
        "{steps:?}"
    );
    assert_eq!(joining.overdue(Duration::ZERO), None);
}

#[test]
fn a_host_of_the_same_name_with_other_times_is_another_one() {
    let position = position();
    let mut joining = Joining::new(Resume::Same { asked_us: T + 95 * S }, &position, false, 0);
    let other = (96..=101).map(|name| (mark(name, name as i64 - 1), false));
    let other = other.chain((102..110).map(|name| (mark(name, name as i64 - 1), false)));
    let resume = Resume::Other { asked_us: T - 20 * S, assumed: false };
    assert_eq!(steps(&mut joining, other).last(), Some(&Step::Again { resume, gap: None }));
}

#[test]
fn a_number_is_good_if_it_gives_the_same_event() {
    let mut position = position();
    position.event(Mark { seq: 7_000, ..mark(101, 101) }, at(T + 200 * S), true);
    let resume = Resume::plan(&position, "a", T + 200 * S);
    assert_eq!(resume.cursor(), Some(7_000));
    let joining = || Joining::new(resume, &position, false, 0);
    let same = Mark { seq: 7_000, ..mark(101, 101) };
    assert_eq!(steps(&mut joining(), [(same, false)]), [Step::Joined]);
    let others = Mark { seq: 7_000, ..mark(55, 55) };
    let next = Mark { seq: 7_001, ..mark(56, 56) };
    let again = Step::Again { resume: Resume::Same { asked_us: T + 96 * S }, gap: None };
    assert_eq!(steps(&mut joining(), [(others, false), (next, false)]), [Step::Skip, again]);
}

#[test]
fn another_host_is_compared_from_the_overlap_on() {
    let position = position();
    let resume = Resume::plan(&position, "b", T + 200 * S);
    assert_eq!(resume, Resume::Other { asked_us: T - 20 * S, assumed: false });
    let mut joining = Joining::new(resume, &position, false, 0);
    // The host's times are 30 s earlier, so the last captured events have earlier times here.
    let old = [(mark(900, -600), false), (mark(901, -21), false)];
    assert_eq!(steps(&mut joining, old), [Step::Skip, Step::Skip]);
    let overlap = (10..=100).map(|name| (mark(name, name as i64 - 30), true));
    assert!(steps(&mut joining, overlap).iter().all(|step| *step == Step::Compare));
    assert_eq!(steps(&mut joining, [(mark(101, 71), false)]), [Step::Live]);
}

#[test]
fn a_host_that_lags_is_compared_until_the_newest_captured_events_have_passed() {
    let position = position();
    let resume = Resume::plan(&position, "b", T + 200 * S);
    let mut joining = Joining::new(resume, &position, false, 0);
    // The host's times are 30 s later, so the last captured events have later times here, and still
    // cost nothing.
    let overlap = (10..=100).map(|name| (mark(name, name as i64 + 30), true));
    assert!(steps(&mut joining, overlap).iter().all(|step| *step == Step::Compare));
    assert_eq!(steps(&mut joining, [(mark(101, 131), false)]), [Step::Live]);
}

#[test]
fn a_host_that_is_further_ahead_than_the_overlap_is_asked_further_back() {
    let position = position();
    let other = Resume::Other { asked_us: T - 20 * S, assumed: false };
    let mut joining = Joining::new(other, &position, false, 0);
    // The host's times are 500 s earlier, so that no event within the overlap is known.
    let events = (480..).map(|name| (mark(name, name as i64 - 500), false)).take(300);
    let search = Resume::Search { asked_us: T + (100 - 3600) * S };
    let gap = Some((T - 20 * S, T + 100 * S));
    assert!(steps(&mut joining, events).contains(&Step::Again { resume: search, gap }));
    let mut joining = Joining::new(search, &position, false, 1);
    let events = (1..=608).map(|name| (mark(name, name as i64 - 500), name <= 100));
    let found = Resume::Other { asked_us: T + (-400 - 120) * S, assumed: false };
    assert_eq!(steps(&mut joining, events).last(), Some(&Step::Again { resume: found, gap: None }));
    let mut joining = Joining::new(found, &position, false, 2);
    let events = (1..=101).map(|name| (mark(name, name as i64 - 500), name <= 100));
    let steps = steps(&mut joining, events);
    assert!(steps[..100].iter().all(|step| *step == Step::Compare) && steps[100] == Step::Live);
}

#[test]
fn another_host_that_begins_later_leaves_a_gap() {
    let position = position();
    let other = Resume::Other { asked_us: T - 20 * S, assumed: false };
    let mut joining = Joining::new(other, &position, false, 0);
    assert_eq!(steps(&mut joining, [(mark(140, 110), false)]), [Step::Compare]);
    let gap = Step::Gap { from_us: T - 20 * S, to_us: T + 110 * S };
    assert_eq!(joining.overdue(Duration::ZERO), Some(gap));
}

#[test]
fn what_is_older_than_the_start_is_skipped_but_not_for_ever() {
    let mut position = Position::default();
    position.connected(at(T));
    let resume = Resume::plan(&position, "b", T + 5 * S);
    assert_eq!((resume, resume.cursor()), (Resume::Since { began_us: T }, Some(T - 5 * S)));
    let mut joining = Joining::new(resume, &position, false, 0);
    assert_eq!(joining.step(mark(1, -900), false, Duration::from_secs(1)), Step::Skip);
    let late = joining.step(mark(2, -840), false, Duration::from_secs(61));
    assert_eq!(late, Step::Gap { from_us: T - 901 * S, to_us: T - 840 * S });
    assert_eq!(joining.step(mark(3, 0), false, Duration::ZERO), Step::Live);
    assert_eq!(Resume::plan(&Position::default(), "a", T), Resume::Start);
}

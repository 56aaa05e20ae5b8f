use expect_test::{Expect, expect};

use super::*;
use crate::watch::made_up;

fn report() -> Report {
    Report::between(Some(&made_up::before()), &made_up::after(), &made_up::flow(), Some(39_845_888))
}

fn check(report: &Report, width: usize, height: usize, expected: Expect) {
    let lines = render(report, width, height);
    expected.assert_eq(&lines.iter().map(|line| format!("{}\n", line.text)).collect::<String>());
}

#[test]
fn a_wide_window_shows_everything() {
    check(
        &report(),
        140,
        24,
        expect![[r#"
            quickstart: running, 12.0 s | partition 2015-12-18T00:00:00, rolls over 01:00:00 UTC | epoch 11, 0.4 s ago | RSS 38.0 MiB
            component  tasks   in/s  out/s  failed  dead letters      p50      p99  capacity  inbox  state
            posts          1      -   2000       0             0        -        -        4%      -  blocked
            split          2   1990  24.0k      12             3  16.4 µs   3.5 ms       96%   100%  running   bottleneck
            words          1  24.0k      -       0             0  16.4 µs   3.5 ms        8%    12%  idle
        "#]],
    );
}

#[test]
fn keys_and_what_is_saved_of_them_are_shown_where_there_are_any() {
    let mut report = report();
    let split = &mut report.components[1];
    (split.keys, split.state_bytes, split.forgotten) = (Some(1_000_000), Some(31 << 20), 62_500);
    report.state_file_bytes = Some(96 << 20);
    check(
        &report,
        170,
        24,
        expect![[r#"
        quickstart: running, 12.0 s | partition 2015-12-18T00:00:00, rolls over 01:00:00 UTC | epoch 11, 0.4 s ago | RSS 38.0 MiB | state file 96.0 MiB
        component  tasks   in/s  out/s  failed  dead letters      p50      p99  capacity  inbox   keys     saved  state
        posts          1      -   2000       0             0        -        -        4%      -      -         -  blocked
        split          2   1990  24.0k      12             3  16.4 µs   3.5 ms       96%   100%  1.00M  31.0 MiB  62500 forgotten, running  bottleneck
        words          1  24.0k      -       0             0  16.4 µs   3.5 ms        8%    12%      -         -  idle
    "#]],
    );
    check(
        &report,
        80,
        24,
        expect![[r#"
        quickstart: running, 12.0 s
        partition 2015-12-18T00:00:00, rolls over 01:00:00 UTC | epoch 11, 0.4 s ago
        RSS 38.0 MiB | state file 96.0 MiB
        component  in/s out/s failed dead     p99  cap inbox  keys    saved state
        posts         -  2000      0    0       -   4%     -     -        - blocked
        split      1990 24.0k     12    3  3.5 ms  96%  100% 1.00M 31.0 MiB bottleneck
        words     24.0k     -      0    0  3.5 ms   8%   12%     -        - idle
    "#]],
    );
}

#[test]
fn eighty_columns_are_enough_for_all_of_it() {
    check(
        &report(),
        80,
        24,
        expect![[r#"
            quickstart: running, 12.0 s
            partition 2015-12-18T00:00:00, rolls over 01:00:00 UTC | epoch 11, 0.4 s ago
            RSS 38.0 MiB
            component tasks  in/s out/s failed dead     p50     p99  cap inbox state
            posts         1     -  2000      0    0       -       -   4%     - blocked
            split         2  1990 24.0k     12    3 16.4 µs  3.5 ms  96%  100% bottleneck
            words         1 24.0k     -      0    0 16.4 µs  3.5 ms   8%   12% idle
        "#]],
    );
}

#[test]
fn sixty_columns_leave_out_what_matters_least() {
    check(
        &report(),
        60,
        24,
        expect![[r#"
        quickstart: running, 12.0 s
        partition 2015-12-18T00:00:00, rolls over 01:00:00 UTC
        epoch 11, 0.4 s ago | RSS 38.0 MiB
        component  in/s out/s failed dead  cap inbox state
        posts         -  2000      0    0   4%     - blocked
        split      1990 24.0k     12    3  96%  100% bottleneck
        words     24.0k     -      0    0   8%   12% idle
    "#]],
    );
}

#[test]
fn a_narrow_window_still_names_the_bottleneck() {
    check(
        &report(),
        30,
        24,
        expect![[r#"
            quickstart: running, 12.0 s
            partition 2015-12-18T00:00:00~
            epoch 11, 0.4 s ago
            RSS 38.0 MiB
            component  in/s state
            posts         - blocked
            split      1990 bottleneck
            words     24.0k idle
        "#]],
    );
}

#[test]
fn a_low_window_leaves_out_rows_but_not_the_bottleneck() {
    let mut report = report();
    let idle = Row { id: "idle".into(), bottleneck: false, ..report.components[2].clone() };
    report.components.splice(0..0, vec![idle; 9]);
    check(
        &report,
        80,
        6,
        expect![[r#"
            component tasks  in/s out/s failed dead     p50     p99  cap inbox state
            idle          1 24.0k     -      0    0 16.4 µs  3.5 ms   8%   12% idle
            idle          1 24.0k     -      0    0 16.4 µs  3.5 ms   8%   12% idle
            idle          1 24.0k     -      0    0 16.4 µs  3.5 ms   8%   12% idle
            split         2  1990 24.0k     12    3 16.4 µs  3.5 ms  96%  100% bottleneck
            ... 8 more
        "#]],
    );
}

#[test]
fn before_the_first_checkpoint_it_says_so() {
    let mut report = report();
    report.checkpoint_age_s = None;
    report.rss_bytes = None;
    report.rolls_over += time::Duration::DAY;
    assert_eq!(
        facts(&report, 200, Layout::Wide),
        [
            "quickstart: running, 12.0 s | partition 2015-12-18T00:00:00, rolls over 2015-12-19T01:00:00 UTC | no checkpoint yet | RSS ?"
        ]
    );
}

#[test]
fn what_a_sink_drops_stands_before_its_state() {
    let row = Row { dropped: 1234, ..report().components[2].clone() };
    assert_eq!(state(&row), "1234 dropped, idle");
}

#[test]
fn no_line_is_ever_wider_or_higher_than_the_window() {
    let mut report = report();
    report.components[0].state = "429 until 23:59:10, and a long story\u{1b}[31m".into();
    for (width, height) in (0..150).flat_map(|width| (0..12).map(move |height| (width, height))) {
        let lines = render(&report, width, height);
        assert!(lines.len() <= height, "{width}x{height}");
        assert!(lines.iter().all(|line| chars(&line.text) <= width), "{width}x{height}");
        assert!(
            lines.iter().all(|line| !line.text.chars().any(char::is_control)),
            "{width}x{height}"
        );
    }
}

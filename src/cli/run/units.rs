//! Numbers as people read them: three or four digits and a unit.

/// A rate per second: `0.5`, `1990`, `24.0k`, `1.25M`.
pub(crate) fn rate(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 9_999.5 => format!("{n:.0}"),
        n if n < 999_950.0 => format!("{:.1}k", n / 1e3),
        n if n < 999_995_000.0 => format!("{:.2}M", n / 1e6),
        n => format!("{:.2}G", n / 1e9),
    }
}

/// A count: exact up to six digits.
pub(crate) fn count(number: u64) -> String {
    if number < 1_000_000 { number.to_string() } else { rate(number as f64) }
}

/// A time that is given in microseconds: `40 ns`, `16.4 µs`, `3.5 ms`, `1.2 s`.
pub(crate) fn micros(us: f64) -> String {
    match us {
        us if us < 0.9995 => format!("{:.0} ns", us * 1e3),
        us if us < 999.95 => format!("{us:.1} µs"),
        us if us < 999_950.0 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// A time that is given in seconds: `0.4 s`, `12.0 s`, `3 m 20 s`, `26 h 3 m`.
pub(crate) fn seconds(s: f64) -> String {
    let whole = s.round() as u64;
    match s {
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3_599.5 => format!("{} m {} s", whole / 60, whole % 60),
        _ => format!("{} h {} m", whole / 3_600, whole % 3_600 / 60),
    }
}

/// A part of a whole: `95%`, `0.4%`.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if (0.05..0.95).contains(&percent) {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// A size in the unit that fits: `812 B`, `1.5 KiB`, `38.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64 / 1024.0;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        if size < 1023.95 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

/// Text from outside with one column for each character: a source's own words may hold anything,
/// and must neither steer the terminal nor be wider than they count.
pub(crate) fn plain(text: &str) -> String {
    let safe = |c: char| match c {
        c if c.is_control() => ' ',
        // Up to here every character is one column wide, but for the soft hyphen.
        c if c < '\u{300}' && c != '\u{ad}' => c,
        _ => '?',
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Copy>(print: fn(T) -> String, cases: &[(T, &str)]) {
        for (number, expected) in cases {
            assert_eq!(print(*number), *expected);
        }
    }

    #[test]
    fn numbers_read_well_on_both_sides_of_each_unit() {
        check(
            rate,
            &[
                (0.0, "0"),
                (0.5, "0.5"),
                (9.96, "10"),
                (1990.0, "1990"),
                (9_999.6, "10.0k"),
                (24e6, "24.00M"),
            ],
        );
        check(count, &[(0, "0"), (999_999, "999999"), (1_250_000, "1.25M")]);
        check(
            micros,
            &[
                (0.04, "40 ns"),
                (16.4, "16.4 µs"),
                (999.96, "1.0 ms"),
                (3_512.0, "3.5 ms"),
                (1.2e6, "1.2 s"),
            ],
        );
        check(
            seconds,
            &[(0.412, "0.4 s"), (59.96, "1 m 0 s"), (200.0, "3 m 20 s"), (93_780.0, "26 h 3 m")],
        );
        check(
            percent,
            &[(0.0, "0%"), (0.0004, "0%"), (0.004, "0.4%"), (0.955, "96%"), (1.0, "100%")],
        );
        check(
            bytes,
            &[
                (0, "0 B"),
                (1_023, "1023 B"),
                (1_536, "1.5 KiB"),
                (39_845_888, "38.0 MiB"),
                (3 << 30, "3.0 GiB"),
                (5 << 40, "5.0 TiB"),
            ],
        );
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{9b}é漢\u{200b}"), "a [31mb c é??");
    }
}

//! What fails, in full: the lines below the table, and what a run's end says of it.

use super::table::STATE_WIDTH_MAX;
use super::units::plain;
use crate::watch::report::{Report, Row};

/// The lines below the table: a component and its state where the table cuts that, and each of its
/// troubles, with their whole texts wrapped to the window.
pub(crate) fn trouble_lines(report: &Report, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &report.components {
        for text in texts(row) {
            lines.extend(wrapped(&plain(&format!("{}: {text}", row.id)), width));
        }
    }
    lines
}

/// What has to be said of a component beside its row. A state that names the cause of a trouble
/// says it too.
fn texts(row: &Row) -> Vec<String> {
    let is_cut = row.state.chars().count() > STATE_WIDTH_MAX;
    let mut texts: Vec<String> = is_cut.then(|| row.state.clone()).into_iter().collect();
    for trouble in &row.troubles {
        if !texts.iter().any(|text| text.contains(&trouble.cause)) {
            texts.push(format!("{}: {}", trouble.part, trouble.cause));
        }
    }
    texts
}

/// The indent of the second line of a text, where there is room for it.
const INDENT: usize = 4;

/// Breaks a line at spaces, and a word that is wider than a line anywhere.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let indent = if width > 4 * INDENT { INDENT } else { 0 };
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        let is_first = room == width || room + indent == width && lines.len() > 1;
        if word.len() + usize::from(!is_first) > room && !is_first {
            lines.push(" ".repeat(indent));
            room = width - indent;
        } else if !is_first {
            lines.last_mut().expect("there is one from the beginning").push(' ');
            room -= 1;
        }
        while word.len() > room {
            let rest = word.split_off(room);
            lines.last_mut().expect("there is one from the beginning").extend(word);
            lines.push(" ".repeat(indent));
            (word, room) = (rest, width - indent);
        }
        room -= word.len();
        lines.last_mut().expect("there is one from the beginning").extend(word);
    }
    lines.retain(|line| !line.trim().is_empty());
    lines
}

/// The last causes of all troubles on one line: `lake: commit: no route to host`.
pub(crate) fn last_causes(report: &Report) -> Option<String> {
    let mut causes = Vec::new();
    for row in &report.components {
        causes.extend(
            row.troubles
                .iter()
                .map(|trouble| format!("{}: {}: {}", row.id, trouble.part, trouble.cause)),
        );
    }
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// The sources that never got anything, with the last cause of each.
pub(crate) fn only_failed(report: &Report) -> Vec<String> {
    let rows = report.components.iter().filter(|row| row.only_failed);
    let cause = |row: &Row| {
        row.troubles.first().map_or_else(|| row.state.clone(), |trouble| trouble.cause.clone())
    };
    rows.map(|row| format!("spout \"{}\" never got anything: {}", row.id, cause(row))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Trouble;
    use crate::watch::bottleneck::Flow;
    use crate::watch::made_up;

    fn report(state: &str, causes: &[&str]) -> Report {
        let mut report = Report::between(None, &made_up::after(), &Flow::default(), None);
        let row = &mut report.components[0];
        row.state = state.into();
        row.troubles = causes
            .iter()
            .map(|&cause| Trouble { part: "stream".into(), cause: cause.into() })
            .collect();
        report
    }

    #[test]
    fn a_state_that_is_cut_and_each_trouble_stand_below_in_full() {
        let check = |state: &str, causes: &[&str], width, expected: &[&str]| {
            assert_eq!(trouble_lines(&report(state, causes), width), expected);
        };
        check("running", &[], 80, &[]);
        check("budget used until 23:59:10", &[], 80, &["posts: budget used until 23:59:10"]);
        let refused =
            "jetstream1.us-west.bsky.network: can't connect: Connection refused (os error 111)";
        let state = format!("{refused}; connects again in 5 s");
        check(&state, &[refused], 200, &[&format!("posts: {state}")]);
        check(
            &state,
            &[refused],
            40,
            &[
                "posts: jetstream1.us-west.bsky.network:",
                "    can't connect: Connection refused",
                "    (os error 111); connects again in 5",
                "    s",
            ],
        );
        check("running", &["no", "also no"], 80, &["posts: stream: no", "posts: stream: also no"]);
        check(
            "running",
            &["averylongwordthatfitsnowhere"],
            10,
            &["posts:", "stream:", "averylongw", "ordthatfit", "snowhere"],
        );
    }

    #[test]
    fn a_source_that_never_got_anything_is_named_with_its_cause() {
        let mut report = report("again", &["refused"]);
        assert_eq!(last_causes(&report).as_deref(), Some("posts: stream: refused"));
        assert!(only_failed(&report).is_empty());
        report.components[0].only_failed = true;
        assert_eq!(only_failed(&report), ["spout \"posts\" never got anything: refused"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_line_is_too_wide(text in "([a-z]{0,30} {0,2}){0,12}", width in 0..60_usize) {
            let lines = wrapped(&text, width);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= width.max(1)), "{:?}", lines);
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}

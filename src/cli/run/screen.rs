//! Standard error, as a terminal with a table that is redrawn in place, or as lines of JSON.

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::Duration;

use crossterm::cursor::{Hide, MoveToColumn, MoveUp, Show};
use crossterm::queue;
use crossterm::style::{Attribute, Color, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, Clear, ClearType};

use super::table::{self, Line, Style};
use crate::cli::log::{self, LogFormat};
use crate::cli::progress as bar;
use crate::cli::{color, stderr, stdout};
use crate::error::Result;
use crate::printable::{printable_line, printable_text};
use crate::progress;
use crate::protocol::Message;
use crate::secret::hide_in_addresses;
use crate::watch::report::Report;

/// The size of a terminal that doesn't tell its own.
const SIZE_UNKNOWN: (u16, u16) = (80, 24);

/// Where the reports go.
pub(crate) enum View {
    /// To a person.
    Screen(Screen),
    /// To a program: one line of JSON each.
    Json(JsonLines),
    /// To the server that keeps this topology: one line of JSON for each message.
    Messages,
    /// To a file that people read: messages only, a line each.
    Plain,
}

/// Lines of JSON.
#[derive(Default)]
pub(crate) struct JsonLines {
    /// True if a report is written at each interval, also if it says nothing new.
    writes_all: bool,
    /// The facts of the last report that was written, and the uptime that it had.
    written: Option<(serde_json::Value, f64)>,
}

/// A report that says nothing new is written this often all the same, as a sign of life. Shorter
/// fills a disk: a line has a kilobyte or more.
const IDLE_LINE_EVERY_S: f64 = 30.0;

/// What changes in a report although nothing happens.
const IDLE_CHANGES: [&str; 3] = ["uptime_s", "checkpoint_age_s", "rss_bytes"];

/// The same of a component.
const IDLE_CHANGES_OF_COMPONENT: [&str; 4] = ["in_per_s", "out_per_s", "capacity", "bottleneck"];

impl JsonLines {
    /// The line of a report; nothing if it says what the last one has said.
    fn line(&mut self, report: &Report, last: bool) -> Vec<u8> {
        let mut facts = serde_json::to_value(report).unwrap_or_default();
        for name in IDLE_CHANGES {
            facts[name] = serde_json::Value::Null;
        }
        for component in facts["components"].as_array_mut().into_iter().flatten() {
            for name in IDLE_CHANGES_OF_COMPONENT {
                component[name] = serde_json::Value::Null;
            }
        }
        let is_regular = report.message.is_none() && !last;
        let is_known = !self.writes_all
            && self.written.as_ref().is_some_and(|(written, uptime)| {
                *written == facts && report.uptime_s - uptime < IDLE_LINE_EVERY_S
            });
        if is_regular && is_known {
            return Vec::new();
        }
        if is_regular {
            self.written = Some((facts, report.uptime_s));
        }
        json_line(report)
    }
}

/// A terminal with a table at its end.
pub(crate) struct Screen {
    /// Whether the table is redrawn in place, and not only printed at the end.
    live: bool,
    colours: bool,
    /// The widths of the lines that were drawn last.
    drawn: Vec<usize>,
    /// The bytes that a replay reads, if a bar shows how far it is.
    replay_bytes: Option<u64>,
}

impl View {
    /// What fits standard error. With `prints_data` the topology writes to standard output: on the
    /// same terminal a table would be torn by the data, and would overwrite it. With `writes_all` a
    /// program gets a report at each interval, also if it says nothing new.
    pub(crate) fn of_process(prints_data: bool, writes_all: bool) -> Self {
        if log::format() == LogFormat::Json {
            stderr::begin_json();
            return Self::Json(JsonLines { writes_all, written: None });
        }
        if !stderr::is_terminal() {
            return Self::Plain;
        }
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let torn = prints_data && stdout::is_terminal();
        Self::Screen(Screen {
            live: !torn && !dumb,
            colours: color::is_wanted_on_terminal(),
            drawn: Vec::new(),
            replay_bytes: None,
        })
    }

    /// Shows above the table how far a replay is, on a terminal with a live table.
    ///
    /// # Errors
    /// If it can't be found out how much the replay reads.
    pub(crate) fn begin_replay(&mut self, bytes: impl FnOnce() -> Result<u64>) -> Result<()> {
        if let Self::Screen(screen) = self
            && screen.live
        {
            progress::begin();
            let bytes = bytes()?;
            progress::piece(|| Ok::<_, Infallible>(bytes)).unwrap_or_else(|never| match never {});
            screen.replay_bytes = Some(bytes);
        }
        Ok(())
    }

    /// Shows a step, which only a log at the level of debugging has.
    pub(crate) fn show_step(&mut self, report: &Report, message: &Message) {
        match self {
            Self::Json(_) => {
                let Message { level, at, text, .. } = message;
                let line = log::json_line(*level, Some(&report.topology), *at, text);
                stderr::print(&line);
            }
            Self::Messages => stderr::draw(&message_line(report, &message.text)),
            Self::Screen(_) | Self::Plain => self.show(report, false),
        }
    }

    /// Shows a report, and the last one so that it stays.
    pub(crate) fn show(&mut self, report: &Report, last: bool) {
        let bytes = match self {
            Self::Screen(screen) => screen.frame(report, last, window_size()),
            Self::Json(lines) => lines.line(report, last),
            Self::Messages => match &report.message {
                Some(message) => message_line(report, message),
                None => return,
            },
            Self::Plain => plain_message(report),
        };
        // Where standard error is closed the topology runs on: nobody watches, but it works.
        stderr::draw(&bytes);
    }
}

/// The message of a report as a line; nothing if it has none.
fn plain_message(report: &Report) -> Vec<u8> {
    let Some(message) = &report.message else { return Vec::new() };
    let line = log::plain_line(report.level.unwrap_or_default(), message);
    format!("{}\n", printable_line(&hide_in_addresses(&line))).into_bytes()
}

/// The window's columns and rows. Some terminals say that they have none, such as those of some
/// containers.
fn window_size() -> (u16, u16) {
    terminal::size()
        .ok()
        .filter(|(width, height)| *width > 0 && *height > 0)
        .unwrap_or(SIZE_UNKNOWN)
}

fn json_line(report: &Report) -> Vec<u8> {
    let line = serde_json::to_string(report).expect("a report has text keys and no failing types");
    format!("{}\n", printable_text(&hide_in_addresses(&line))).into_bytes()
}

fn message_line(report: &Report, message: &str) -> Vec<u8> {
    let level = if report.phase == "failed" { "error" } else { "info" };
    let line = serde_json::json!({ "level": level, "phase": report.phase, "message": message });
    format!("{}\n", printable_text(&hide_in_addresses(&line.to_string()))).into_bytes()
}

impl Screen {
    /// What is written to go from the last frame to this one, as one piece so that nothing
    /// flickers.
    fn frame(&mut self, report: &Report, last: bool, (width, height): (u16, u16)) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_frame(&mut out, report, last, (width, height))
            .expect("bytes are written into memory");
        out
    }

    fn write_frame(
        &mut self,
        out: &mut Vec<u8>,
        report: &Report,
        last: bool,
        size: (u16, u16),
    ) -> io::Result<()> {
        let (width, height) = (size.0, usize::from(size.1));
        let message = report
            .message
            .as_ref()
            .map(|message| log::plain_line(report.level.unwrap_or_default(), message))
            .map(|message| format!("{}\n", printable_line(&hide_in_addresses(&message))))
            .unwrap_or_default();
        self.erase(out, width)?;
        if !last {
            write!(out, "{message}")?;
        }
        if self.live || last {
            // The last line of the window is the cursor's.
            let mut height = height.saturating_sub(1);
            if let Some(bytes) = self.replay_bytes.filter(|_| !last) {
                height = height.saturating_sub(1);
                self.draw(out, &[replay_line(report, bytes, width.into())])?;
            }
            let lines = table::render(report, width.into(), height);
            self.draw(out, &lines)?;
        }
        if last {
            write!(out, "{message}")?;
        }
        // In the same frame: the cursor must never stay hidden, however the process ends.
        queue!(out, Show)
    }

    fn erase(&mut self, out: &mut Vec<u8>, width: u16) -> io::Result<()> {
        queue!(out, Hide)?;
        let up = rows(&self.drawn, width.into());
        self.drawn.clear();
        if up == 0 {
            return Ok(());
        }
        // A signal's key (^C) may have been echoed behind the table.
        queue!(out, MoveToColumn(0), MoveUp(up), Clear(ClearType::FromCursorDown))
    }

    fn draw(&mut self, out: &mut Vec<u8>, lines: &[Line]) -> io::Result<()> {
        for line in lines {
            self.drawn.push(line.text.chars().count());
            match line.style {
                _ if !self.colours => writeln!(out, "{}", line.text)?,
                Style::Plain => writeln!(out, "{}", line.text)?,
                Style::Heading => styled(out, &line.text, None)?,
                Style::Bottleneck => styled(out, &line.text, Some(Color::Yellow))?,
            }
        }
        Ok(())
    }
}

/// The bar of a replay.
fn replay_line(report: &Report, bytes: u64, width: usize) -> Line {
    let elapsed = Duration::try_from_secs_f64(report.uptime_s).unwrap_or_default();
    let done = (progress::done(), bytes);
    let text = bar::line("replay", bar::Unit::Bytes, done, elapsed, width);
    Line { text, style: Style::Plain }
}

fn styled(out: &mut Vec<u8>, text: &str, colour: Option<Color>) -> io::Result<()> {
    queue!(out, SetAttribute(Attribute::Bold))?;
    if let Some(colour) = colour {
        queue!(out, SetForegroundColor(colour))?;
    }
    write!(out, "{text}")?;
    queue!(out, SetAttribute(Attribute::Reset))?;
    writeln!(out)
}

/// How many rows lines of these widths take, in a window that may have become narrower since.
fn rows(widths: &[usize], window: usize) -> u16 {
    let rows: usize = widths.iter().map(|width| width.div_ceil(window.max(1)).max(1)).sum();
    u16::try_from(rows).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Trouble;
    use crate::printable::is_unprintable;
    use crate::watch::made_up;

    fn report() -> Report {
        Report::between(Some(&made_up::before()), &made_up::after(), &made_up::flow(), None)
    }

    fn frame(screen: &mut Screen, report: &Report, last: bool, width: u16) -> String {
        String::from_utf8(screen.frame(report, last, (width, 24))).unwrap()
    }

    #[test]
    fn the_second_frame_takes_the_place_of_the_first() {
        let mut screen =
            Screen { live: true, colours: false, drawn: Vec::new(), replay_bytes: None };
        let first = frame(&mut screen, &report(), false, 140);
        assert!(first.starts_with("\u{1b}[?25lquickstart: running"), "{first:?}");
        assert!(first.ends_with("\n\u{1b}[?25h"));
        let second = frame(&mut screen, &report(), false, 140);
        assert!(
            second.starts_with("\u{1b}[?25l\u{1b}[1G\u{1b}[5A\u{1b}[Jquickstart: running"),
            "{second:?}"
        );
    }

    #[test]
    fn a_message_stays_above_the_table() {
        let mut screen =
            Screen { live: true, colours: false, drawn: Vec::new(), replay_bytes: None };
        frame(&mut screen, &report(), false, 140);
        let stopping = Report { message: Some("stopping".into()), ..report() };
        let text = frame(&mut screen, &stopping, false, 140);
        assert!(text.contains("\u{1b}[Jstopping\nquickstart: running"), "{text:?}");
        assert_eq!(screen.drawn.len(), 5);
    }

    #[test]
    fn without_colours_there_are_no_styles() {
        let styles = |colours| {
            let mut screen = Screen { live: true, colours, drawn: Vec::new(), replay_bytes: None };
            frame(&mut screen, &report(), false, 140).matches("\u{1b}[0m").count()
        };
        assert_eq!((styles(true), styles(false)), (2, 0));
    }

    #[test]
    fn beside_data_only_the_last_table_is_drawn() {
        let mut screen =
            Screen { live: false, colours: false, drawn: Vec::new(), replay_bytes: None };
        assert!(!frame(&mut screen, &report(), false, 140).contains("component"));
        assert!(frame(&mut screen, &report(), true, 140).contains("component"));
    }

    #[test]
    fn a_piped_report_that_says_nothing_new_is_left_out_for_half_a_minute() {
        let mut lines = JsonLines::default();
        let at = |uptime_s: f64, emitted: u64| {
            let mut report = Report { uptime_s, ..report() };
            report.components[0].emitted = emitted;
            report
        };
        let mut is_written = |report: &Report, last: bool| !lines.line(report, last).is_empty();
        assert!(is_written(&at(1.0, 5), false), "the first");
        assert!(!is_written(&at(2.0, 5), false), "nothing new");
        assert!(is_written(&at(3.0, 6), false), "one post more");
        assert!(!is_written(&at(32.9, 6), false), "less than half a minute later");
        assert!(is_written(&at(33.0, 6), false), "a sign of life");
        assert!(is_written(&at(34.0, 6), true), "the last");
        let stopping = Report { message: Some("stopping".into()), ..at(35.0, 6) };
        assert!(is_written(&stopping, false), "a message");
        let mut all = JsonLines { writes_all: true, written: None };
        assert!((0..3).all(|_| !all.line(&at(1.0, 5), false).is_empty()));
    }

    #[test]
    fn a_replay_has_a_bar_above_its_table_until_its_end() {
        let mut screen =
            Screen { live: true, colours: false, drawn: Vec::new(), replay_bytes: Some(1 << 20) };
        for (width, part) in [(80, "of 1.0 MiB, "), (200, "of 1.0 MiB, "), (30, "%\n")] {
            let text = frame(&mut screen, &report(), false, width);
            let line = text.lines().find(|line| line.contains("replay ")).unwrap();
            assert!(format!("{line}\n").contains(part), "{text:?}");
            assert_eq!(screen.drawn.len(), text.matches('\n').count(), "all of it is erased");
        }
        assert!(!frame(&mut screen, &report(), true, 80).contains("replay "));
    }

    #[test]
    fn lines_that_a_narrower_window_has_wrapped_are_erased_whole() {
        assert_eq!(rows(&[100, 0, 40], 140), 3);
        assert_eq!(rows(&[100, 0, 40], 40), 5);
        assert_eq!(rows(&[], 0), 0);
    }

    proptest! {
        #[test]
        fn no_text_and_no_window_breaks_the_screen(
            texts in prop::collection::vec(any::<String>(), 5),
            numbers in prop::collection::vec(any::<u64>(), 4),
            size in (0..300_u16, 0..60_u16),
            seconds in 0..u64::MAX,
        ) {
            let mut status = made_up::after();
            (status.topology, status.uptime) = (texts[0].clone(), Duration::from_secs(seconds));
            let component = &mut status.components[0];
            (component.id, component.state) = (texts[1].clone(), texts[2].clone());
            component.troubles = vec![Trouble { part: texts[3].clone(), cause: texts[4].clone() }];
            (component.failed, component.emitted, component.dropped) = (numbers[0], numbers[1], numbers[2]);
            let mut report = Report::between(Some(&made_up::before()), &status, &made_up::flow(), Some(numbers[3]));
            report.message = Some(texts[3].clone());
            let mut screen = Screen { live: true, colours: false, drawn: Vec::new(), replay_bytes: None };
            for last in [false, true] {
                let drawn = String::from_utf8(screen.frame(&report, last, size)).unwrap();
                // Ours begin with a control sequence introducer, and steer nothing but the cursor.
                let drawn = drawn.replace("\u{1b}[", "");
                prop_assert!(!drawn.chars().any(|c| c != '\n' && is_unprintable(c)), "{:?}", drawn);
            }
            let line = String::from_utf8(json_line(&report)).unwrap();
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}

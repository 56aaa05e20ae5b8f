//! The log: how much of it there is, and in which form it goes to standard error.

use std::sync::atomic::{AtomicU8, Ordering};

use clap::ValueEnum;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::exit::{Code, Failure};
use super::stderr;
use crate::clock::SystemClock;
use crate::log_level::LogLevel;
use crate::protocol::log;

/// The variable of the environment with the level, for where no option says it.
const LEVEL_VARIABLE: &str = "WATERSPOUT_LOG";

/// Options of every command.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Level of the log on standard error: off, error, warn, info, debug or trace [default: info,
    /// or what WATERSPOUT_LOG says]
    #[arg(long, global = true, value_name = "LEVEL", hide_short_help = true)]
    log_level: Option<LogLevel>,
    /// Form of the log [default: plain on a terminal, json otherwise]
    #[arg(long, global = true, value_name = "FORMAT", value_enum, hide_short_help = true)]
    log_format: Option<LogFormat>,
}

/// The form of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[repr(u8)]
pub(crate) enum LogFormat {
    /// Lines for people
    Plain = 1,
    /// A JSON object a line
    Json = 2,
}

/// The form that was asked for; 0 for none.
static FORMAT: AtomicU8 = AtomicU8::new(0);

impl Args {
    /// Makes this process tell as much as the options and the environment say.
    ///
    /// # Errors
    /// If the variable has no level.
    pub(crate) fn install(&self) -> Result<(), Failure> {
        FORMAT.store(self.log_format.map_or(0, |format| format as u8), Ordering::Relaxed);
        let level = match self.log_level {
            Some(level) => level,
            None => level_of_environment()?,
        };
        log::install(level, tell);
        Ok(())
    }
}

fn level_of_environment() -> Result<LogLevel, Failure> {
    let Some(value) = std::env::var_os(LEVEL_VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(LogLevel::default());
    };
    value.to_string_lossy().parse().map_err(|error| {
        Failure::new(Code::Usage, format!("the environment variable {LEVEL_VARIABLE}: {error}"))
    })
}

/// The form of the log: as asked for, else as it fits standard error.
pub(crate) fn format() -> LogFormat {
    match FORMAT.load(Ordering::Relaxed) {
        1 => LogFormat::Plain,
        2 => LogFormat::Json,
        _ if stderr::is_terminal() => LogFormat::Plain,
        _ => LogFormat::Json,
    }
}

/// Tells an event that belongs to no topology.
fn tell(level: LogLevel, text: &str) {
    match format() {
        LogFormat::Plain => stderr::say(&plain_line(level, text)),
        LogFormat::Json => {
            let line = json_line(level, None, Some(SystemClock::shared().now()), text);
            stderr::print(&line);
        }
    }
}

/// A message as people read it: a plain one without its level, and others with it.
pub(crate) fn plain_line(level: LogLevel, text: &str) -> String {
    match level {
        LogLevel::Info | LogLevel::Off => text.to_owned(),
        LogLevel::Warn => format!("warning: {text}"),
        level => format!("{level}: {text}"),
    }
}

/// A message as a line of JSON.
pub(crate) fn json_line(
    level: LogLevel,
    topology: Option<&str>,
    at: Option<OffsetDateTime>,
    text: &str,
) -> String {
    let mut line = json!({ "level": level, "message": text });
    if let Some(time) = at.and_then(|at| at.format(&Rfc3339).ok()) {
        line["time"] = time.into();
    }
    if let Some(topology) = topology {
        line["topology"] = topology.into();
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_line_says_its_level_and_its_topology() {
        let at = Some(datetime!(2026-11-27 01:02:03 UTC));
        assert_eq!(
            json_line(LogLevel::Warn, Some("capture"), at, "a \"b\""),
            r#"{"level":"warn","message":"a \"b\"","time":"2026-11-27T01:02:03Z","topology":"capture"}"#
        );
        assert_eq!(plain_line(LogLevel::Info, "started"), "started");
        assert_eq!(plain_line(LogLevel::Warn, "fails"), "warning: fails");
        assert_eq!(plain_line(LogLevel::Debug, "step"), "debug: step");
    }
}

//! `log-level TOPOLOGY [LEVEL]`: how much the log of a running topology has.

use std::path::PathBuf;

use super::control::{self, LogLevels, Request};
use super::exit::Outcome;
use super::stdout;
use crate::log_level::LogLevel;
use crate::registry::Registry;

/// Show or change how much the log of a running topology has
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "waterspout log-level <TOPOLOGY|--state DIR> [LEVEL]",
    after_help = "\
Levels: off, error, warn, info, debug, trace; each has what those before it have. The change lasts
until the topology ends; `run --log-level LEVEL` or WATERSPOUT_LOG sets the level to begin with."
)]
pub(crate) struct Args {
    /// The topology file that runs (unless --state is given), and the new level
    #[arg(value_name = "TOPOLOGY|LEVEL", num_args = 0..=2)]
    arguments: Vec<String>,
    /// The state folder that it was started with, if that was given to `run`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Asks for it, and prints the level.
pub(crate) fn run(args: &Args, registry: &Registry) -> Outcome {
    let (file, level) = read(&args.arguments, args.state.is_some())
        .map_err(|what| super::exit::Failure::new(super::exit::Code::Usage, what))?;
    let file = file.map(PathBuf::from);
    let state = control::state_folder(file.as_deref(), args.state.as_deref(), registry)?;
    let LogLevels { before, now } = control::ask(&state, &Request::Log { level })?;
    match level {
        Some(_) => stdout::print(&format!("{before} → {now}\n")),
        None => stdout::print(&format!("{now}\n")),
    }
}

/// The file and the level. With `--state` there is no file.
fn read(arguments: &[String], has_state: bool) -> Result<(Option<&str>, Option<LogLevel>), String> {
    let (file, level) = match arguments {
        [file] if !has_state => (Some(file.as_str()), None),
        [file, level] if !has_state => (Some(file.as_str()), Some(level)),
        [] if has_state => (None, None),
        [level] if has_state => (None, Some(level)),
        _ if has_state => return Err("expected one level at most beside --state".into()),
        _ => return Err("expected a topology file, or --state DIR".into()),
    };
    Ok((file, level.map(|level| level.parse()).transpose()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_is_the_file_unless_the_state_is_given() {
        let read_all = |arguments: &[&str], has_state| {
            let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            read(&arguments, has_state).map(|(file, level)| (file.map(str::to_owned), level))
        };
        let file = Some("x.ron".to_owned());
        assert_eq!(read_all(&["x.ron"], false), Ok((file.clone(), None)));
        assert_eq!(read_all(&["x.ron", "debug"], false), Ok((file, Some(LogLevel::Debug))));
        assert_eq!(read_all(&["WARN"], true), Ok((None, Some(LogLevel::Warn))));
        assert_eq!(read_all(&[], true), Ok((None, None)));
        assert!(read_all(&[], false).is_err());
        assert!(read_all(&["x.ron", "loud"], false).unwrap_err().contains("found \"loud\""));
    }
}

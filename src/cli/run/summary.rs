//! How a run ended: the last line, and the exit code.

use std::path::{Path, PathBuf};

use crate::cli::exit::{Code, Failure, Outcome};
use crate::engine::Exit;
use crate::registry::{Config, Role};
use crate::topology::Topology;

use super::report::Report;
use super::units::{plain, seconds};

/// How a run ended, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All sources ended.
    Finished,
    /// A signal stopped it, and the drain is complete.
    Stopped,
    /// A component or the engine failed; the text says which, and why.
    Failed(String),
    /// The drain took too long; the text says what wasn't done.
    NotClean(String),
}

impl Ending {
    /// What the engine says, and whether a signal came before.
    pub fn of(exit: Exit, stop_asked: bool) -> Self {
        match exit {
            Exit::Finished if stop_asked => Self::Stopped,
            Exit::Finished => Self::Finished,
            Exit::Failed(cause) => Self::Failed(cause),
            Exit::NotClean(left) => Self::NotClean(left),
        }
    }

    /// The word for it.
    pub fn phase(&self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::NotClean(_) => "not clean",
        }
    }

    /// What the process ends with.
    pub fn outcome(self, last: &Report) -> Outcome {
        match self {
            Self::Finished | Self::Stopped if last.dead_letters() > 0 => Ok(Code::Findings),
            Self::Finished | Self::Stopped => Ok(Code::Success),
            Self::Failed(cause) => Err(Failure::new(Code::Runtime, cause)),
            Self::NotClean(left) => Err(Failure::new(Code::NotClean, left)),
        }
    }
}

/// Where a topology's posts and dead letters end up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lakes {
    roots: Vec<PathBuf>,
    dead: PathBuf,
}

impl Lakes {
    /// Of a topology with its state in this folder.
    pub fn of(topology: &Topology, state: &Path) -> Self {
        let mut sinks: Vec<(&str, PathBuf)> = Vec::new();
        for component in topology.components.iter().filter(|component| component.role == Role::Sink) {
            if let Config::Sink(config) = &component.config {
                sinks.extend(config.lake_root().map(|root| (component.id.as_str(), root)));
            }
        }
        sinks.sort();
        let mut roots: Vec<PathBuf> = sinks.into_iter().map(|(_, root)| root).collect();
        let dead = roots.first().map_or(state, PathBuf::as_path).join("_dead");
        roots.dedup();
        Self { roots, dead }
    }
}

/// `finished in 3.2 s: 100000 tuples from 1 spout, 0 failed, 0 dead letters; lake: lake`.
pub fn line(report: &Report, ending: &Ending, lakes: &Lakes) -> String {
    let spouts: Vec<_> = report.components.iter().filter(|row| row.role == Role::Spout.name()).collect();
    let tuples: u64 = spouts.iter().map(|row| row.emitted).sum();
    let failed: u64 = report.components.iter().map(|row| row.failed).sum();
    let preposition = if *ending == Ending::Finished { "in" } else { "after" };
    let mut text = format!(
        "{} {preposition} {}: {} from {}, {failed} failed, {}",
        ending.phase(),
        seconds(report.uptime_s),
        plural(tuples, "tuple"),
        plural(spouts.len() as u64, "spout"),
        plural(report.dead_letters(), "dead letter"),
    );
    if report.dead_letters() > 0 {
        text.push_str(&format!(" in {}", plain(&lakes.dead.to_string_lossy())));
    }
    for row in report.components.iter().filter(|row| row.dropped > 0) {
        text.push_str(&format!("; {} dropped {}", plain(&row.id), plural(row.dropped, "tuple")));
    }
    let roots: Vec<String> = lakes.roots.iter().map(|root| plain(&root.to_string_lossy())).collect();
    if !roots.is_empty() {
        text.push_str(&format!("; lake: {}", roots.join(", ")));
    }
    text
}

/// `1 tuple`, `2 tuples`.
pub fn plural(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::bottleneck::Flow;
    use super::super::made_up;
    use super::*;

    fn report(dead_letters: u64) -> Report {
        let mut report = Report::between(None, &made_up::after(), &Flow::default(), None);
        report.components[1].dead_letters = dead_letters;
        report
    }

    fn check(exit: Exit, dead_letters: u64, stop_asked: bool, expected: Code) {
        let outcome = Ending::of(exit, stop_asked).outcome(&report(dead_letters));
        assert_eq!(outcome.unwrap_or_else(|failure| failure.print()), expected);
    }

    #[test]
    fn the_exit_code_follows_from_the_end_and_the_dead_letters() {
        for stop_asked in [false, true] {
            check(Exit::Finished, 0, stop_asked, Code::Success);
            check(Exit::Finished, 1, stop_asked, Code::Findings);
            check(Exit::Failed("a cause".into()), 1, stop_asked, Code::Runtime);
            check(Exit::NotClean("commits of \"lake\"".into()), 1, stop_asked, Code::NotClean);
        }
    }

    #[test]
    fn the_last_line_sums_it_up() {
        let lakes = Lakes { roots: vec!["lake".into()], dead: "lake/_dead".into() };
        assert_eq!(
            line(&report(0), &Ending::Finished, &lakes),
            "finished in 12.0 s: 12000 tuples from 1 spout, 12 failed, 0 dead letters; lake: lake"
        );
        assert_eq!(
            line(&report(1), &Ending::Stopped, &Lakes { roots: Vec::new(), dead: "/state/_dead".into() }),
            "stopped after 12.0 s: 12000 tuples from 1 spout, 12 failed, 1 dead letter in /state/_dead"
        );
        let mut report = report(0);
        report.components[2].dropped = 7;
        assert_eq!(
            line(&report, &Ending::Finished, &lakes),
            "finished in 12.0 s: 12000 tuples from 1 spout, 12 failed, 0 dead letters; words dropped 7 tuples; lake: lake"
        );
    }
}
